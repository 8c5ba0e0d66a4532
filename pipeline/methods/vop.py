"""VoP: trainable prompt tokens in every layer of both frozen encoders, and what its video prompts may know.

Paper: Huang et al., VoP, CVPR 2023 (arXiv:2211.12764), equations 2 to 9; specification: vop.md 2 to 6. `vop` (3.1) has the same prompts
for all frames; `vop_p` adds prompts for each position of a frame (equation 5), `vop_c` prompts made from what the frames show
(equations 6 to 8), `vop_f` joins all frames in the upper layers (equation 9); `vop_fp` and `vop_fc` are F with P or C below.
Differs from the paper: the text prompts stand after the start-of-text token, where the released code has them, not before it. Sizes
of P, C and F are those that give the printed parameter counts; starts that no source states are named in `Context` and below.
Where attention over all tokens reads the tower, C takes the mean of a frame's patches for its CLS (`anchor`), and the pool reads no
prompts; where a text has no end, prompts of the first layer have no positions.
Shapes: B videos, T frames, P patches, D width.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from pipeline.clip import FrozenClip
from pipeline.clip.tower import Flow, TokenHook
from pipeline.config.parse import choose, chosen, later
from pipeline.methods import Shape
from pipeline.methods.parts.anchor import Anchor
from pipeline.methods.parts.context import MODELS, Context
from pipeline.methods.parts.joined import see_all_frames
from pipeline.methods.parts.prompts import drop, entry, insert, normal, prompt_text, prompt_upper_text

VARIANTS = {
    "vop": {},
    "vop_p": {"specific": "position"},
    "vop_c": {"specific": "context"},
    "vop_f": {"function": True},
    "vop_fp": {"specific": "position", "function": True},
    "vop_fc": {"specific": "context", "function": True},
}


@dataclass(frozen=True)
class Vop:
    """`visual_prompts`, `text_prompts`: tokens a layer, 0 for none. `std` of their normal initialisation.

    - `specific`: none, position or context. `specific_prompts` of the visual prompts are then made for each frame, the rest is generic.
    - `context`: bilstm, lstm or transformer, which makes the context-specific ones from what stands for each frame (`anchor`).
    - `function`: the layers from `shallow` (K^s) on see all frames of a video at once. None is two thirds of the layers, 8 of 12, or the
      first layer with prompts if that is higher.
    - `depth`: only the first layers have prompts, and the last of these flow on to the top. None is all layers.
    - `last_blocks`: only the last so many blocks of each tower have prompts; None is all.
    - `text_layout`: `prefix` has all text prompts after start-of-text and reads the end of text (the paper's equation 3). `release`
      has half of them there, half before the last slot of the padded row, and reads the token `text_prompts` after the caption's
      end-of-text index, as the released code does. The second half is dead for captions that do not fill the row.
    """

    visual_prompts: int = 8
    text_prompts: int = 8
    specific: str = "none"
    specific_prompts: int = 4
    context: str = "bilstm"
    function: bool = False
    shallow: int | None = None
    depth: int | None = None
    text_layout: str = "prefix"
    std: float = 0.02
    last_blocks: int | None = None
    anchor: str = later(chosen("auto", "cls", "patches", "pool"))

    paper: ClassVar[str] = "arXiv:2211.12764"
    identity_at_init: ClassVar[bool] = False

    @property
    def sees_time(self) -> bool:
        return self.specific != "none" or self.function

    def attach(self, clip: FrozenClip, shape: Shape) -> nn.Module:
        self._check()
        first, shallow, depth = self._layers(clip)
        adapter = nn.Module()
        if self.visual_prompts:
            _Video(self, clip, shape, adapter=adapter, first=first, shallow=shallow, depth=depth)
        if self.text_prompts:
            self._prompt_text(clip, shape, adapter=adapter)
        return adapter

    def _prompt_text(self, clip: FrozenClip, shape: Shape, *, adapter: nn.Module) -> None:
        layers = len(clip.text.last(self.last_blocks))
        rows = layers if self.depth is None else min(self.depth, layers)
        prompts = _table(adapter, "text_prompts", rows, self.text_prompts, clip.text.width, std=self.std)
        if self.last_blocks is not None and layers < len(clip.text.blocks):
            prompt_upper_text(clip, lambda row: prompts[row], number=self.text_prompts, last_blocks=self.last_blocks)
        else:
            head = self.text_prompts if self.text_layout == "prefix" else self.text_prompts // 2
            prompt_text(clip, prompts, head=head, num_words=shape.num_words)

    def _check(self) -> None:
        """ValueError for settings that contradict each other on any CLIP."""
        choose(self.text_layout, ("prefix", "release"), what="vop: text_layout")
        choose(self.specific, ("none", "position", "context"), what="vop: specific")
        choose(self.context, MODELS, what="vop: context")
        if self.text_layout == "release" and self.text_prompts % 2:
            raise ValueError(f"vop: text_prompts is {self.text_prompts}; the release layout needs an even number")
        if self.specific != "none" and not 0 < self.specific_prompts <= self.visual_prompts:
            raise ValueError(f"vop: specific_prompts is {self.specific_prompts} of {self.visual_prompts} visual_prompts")
        if self.function and not self.visual_prompts:
            raise ValueError("vop: function joins frames for its visual prompts, of which there are none; set visual_prompts")

    def _layers(self, clip: FrozenClip) -> tuple[int, int, int]:
        """The first layer of vision with prompts, the first that sees all frames at once, and the first without prompts again.

        It is the number of layers where there is none. ValueError for settings that contradict each other on this CLIP.
        """
        layers, first = len(clip.vision.blocks), clip.vision.last(self.last_blocks)[0][0]
        shallow = layers if not self.function else max(round(layers * 2 / 3), first) if self.shallow is None else self.shallow
        depth = layers if self.depth is None else self.depth
        if not 0 <= shallow <= layers or not 0 < depth <= layers:
            raise ValueError(f"vop: shallow is {self.shallow} and depth {self.depth}; {clip.name} has {layers} layers of vision")
        if depth < layers and (self.function or self.specific != "none"):
            raise ValueError(f"vop: depth {depth} of {layers} layers is defined for plain VoP only; leave it out here")
        if self.last_blocks is not None:
            self._check_last(first, shallow)
        return first, shallow, depth

    def _check_last(self, first: int, shallow: int) -> None:
        """ValueError for what has no meaning where the layers below `first` are plain CLIP."""
        last = f"vop: last_blocks is {self.last_blocks}"
        if self.depth is not None:
            raise ValueError(f"{last} and depth {self.depth}, which counts from the first layer; leave one of them out")
        if self.text_layout == "release":
            raise ValueError(f"{last} and text_layout 'release', which is defined from the first layer on; use prefix")
        if shallow < first:
            raise ValueError(f"{last} and shallow {shallow}, but prompts begin in layer {first}; set shallow to {first} or more")
        if self.specific != "none" and shallow == first:
            raise ValueError(f"{last}, which leaves {self.specific} prompts no layer below shallow {shallow}; raise it, or use vop_f")


def _table(adapter: nn.Module, name: str, *shape: int, std: float) -> nn.Parameter:
    adapter.register_parameter(name, normal(*shape, std=std))
    return adapter.get_parameter(name)


class _Video:
    """The visual prompts: single frames in the layers below `shallow`, all frames of a video at once from there on."""

    def __init__(self, method: Vop, clip: FrozenClip, shape: Shape, *, adapter: nn.Module, first: int, shallow: int, depth: int) -> None:
        width, std, number = clip.vision.width, method.std, method.visual_prompts
        single, layers = min(shallow, depth) - first, len(clip.vision.blocks)
        own = method.specific_prompts if method.specific != "none" and single else 0
        self.generic = self.table = self.context = None
        self.cls = clip.vision.cls
        if single and number > own:
            self.generic = _table(adapter, "visual_prompts", single, number - own, width, std=std)
        if own and method.specific == "position":
            self.table = _table(adapter, "position_prompts", single, shape.num_frames, own, width, std=std)
        if own and method.specific == "context":
            self.context = adapter.context = Context(method.context, width, number=own, num_frames=shape.num_frames)
            self.anchor = adapter.anchor = Anchor(clip, method.anchor, method="vop")
        for row, layer in enumerate(range(first, first + single)):
            entry(clip.vision, layer).append(self._put(row))
            if layer + 1 < depth or depth == layers:
                clip.vision.hooks[layer].after.append(_discard(number, at=self.cls))
        if shallow < layers:
            video = _table(adapter, "video_prompts", layers - shallow, number, width, std=std)
            position = _table(adapter, "frame_position", shape.num_frames, width, std=std)
            see_all_frames(clip, video, position, shallow=shallow)

    def _put(self, row: int) -> TokenHook:
        """Generic prompts, then those of each frame, right before the patches; the first layer's pass through ln_pre."""

        def change(tokens: Tensor, flow: Flow) -> Tensor:
            parts = []
            if self.generic is not None:
                parts.append(self.generic[row].expand(len(tokens), -1, -1))
            if self.table is not None:
                parts.append(self.table[row, : flow.num_frames].repeat(len(flow.frames), 1, 1))
            if self.context is not None:
                frames = self.anchor(tokens, flow).unflatten(0, (-1, flow.num_frames))
                parts.append(self.context(frames, flow).flatten(0, 1))
            return insert(tokens, torch.cat(parts, dim=1), at=self.cls)

        return change


def _discard(number: int, *, at: int) -> TokenHook:
    return lambda tokens, flow: drop(tokens, at=at, number=number)


METHOD = Vop
