"""VoP: trainable prompt tokens in every layer of both frozen encoders.

Paper: Huang et al., VoP, CVPR 2023 (arXiv:2211.12764), section 3.1, equations 2 to 4; specification: vop.md 2.
Differs from the paper: the text prompts stand after the start-of-text token, where the released code has them, not before it.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from pipeline.clip import FrozenClip
from pipeline.methods import Shape
from pipeline.tower import Flow, TokenHook

LAYOUTS = ("prefix", "release")


@dataclass(frozen=True)
class Vop:
    """`visual_prompts`, `text_prompts`: tokens a layer. `std` of their normal initialisation. `text_layout`:

    - `prefix` (default): all text prompts after start-of-text, the end-of-text token is read (the paper's equation 3).
    - `release`: half of them there, half before the last slot of the padded row, and the token `text_prompts` after the
      caption's end-of-text index is read, as the released code does. The second half is dead for captions that do not fill the row.
    """

    paper: ClassVar[str] = "arXiv:2211.12764"
    identity_at_init: ClassVar[bool] = False

    visual_prompts: int = 8
    text_prompts: int = 8
    text_layout: str = "prefix"
    std: float = 0.02

    def attach(self, clip: FrozenClip, shape: Shape) -> nn.Module:
        if self.text_layout not in LAYOUTS:
            raise ValueError(f"vop: text_layout is {self.text_layout!r}; choose one of {', '.join(LAYOUTS)}")
        if self.text_layout == "release" and self.text_prompts % 2:
            raise ValueError(f"vop: text_prompts is {self.text_prompts}; the release layout needs an even number")
        room = clip.context_length - self.text_prompts
        if shape.num_words > room:
            raise ValueError(
                f"vop: {shape.num_words} words and {self.text_prompts} text prompts do not fit the {clip.context_length} tokens of "
                f"{clip.name}; set dataset.words to at most {room}"
            )
        prompts = nn.ParameterDict()
        prompts["visual_prompts"] = _normal(len(clip.vision.blocks), self.visual_prompts, clip.vision.width, std=self.std)
        prompts["text_prompts"] = _normal(len(clip.text.blocks), self.text_prompts, clip.text.width, std=self.std)
        _prompt_vision(clip, prompts["visual_prompts"])
        head = self.text_prompts if self.text_layout == "prefix" else self.text_prompts // 2
        _prompt_text(clip, prompts["text_prompts"], head=head)
        return prompts


def _normal(layers: int, number: int, width: int, *, std: float) -> nn.Parameter:
    return nn.Parameter(torch.empty(layers, number, width).normal_(std=std))


def _prompt_vision(clip: FrozenClip, prompts: Tensor) -> None:
    """Prompts (layers, P, D) after CLS; the first layer's pass through ln_pre; outputs are discarded after each block."""
    number = prompts.shape[1]

    def insert(layer: int) -> TokenHook:
        return lambda tokens, flow: torch.cat([tokens[:, :1], prompts[layer].expand(len(tokens), -1, -1), tokens[:, 1:]], dim=1)

    def discard(tokens: Tensor, flow: Flow) -> Tensor:
        return torch.cat([tokens[:, :1], tokens[:, 1 + number :]], dim=1)

    clip.vision.embedding.append(insert(0))
    for layer, hooks in enumerate(clip.vision.hooks):
        if layer > 0:
            hooks.before.append(insert(layer))
        hooks.after.append(discard)


def _prompt_text(clip: FrozenClip, prompts: Tensor, *, head: int) -> None:
    """Prompts (layers, P, D): `head` of them after start-of-text, the rest before the last slot of the row.

    The first layer's prompts receive CLIP's positions, so the words move up by `head`. The last layer's outputs stay, and the
    token read is P after the caption's end-of-text index: the end of text itself when all prompts are at the head.
    """
    number = prompts.shape[1]
    tail = number - head

    def insert(layer: int) -> TokenHook:
        def change(tokens: Tensor, flow: Flow) -> Tensor:
            chosen = prompts[layer].expand(len(tokens), -1, -1)
            return torch.cat([tokens[:, :1], chosen[:, :head], tokens[:, 1:-1], chosen[:, head:], tokens[:, -1:]], dim=1)

        return change

    def move_read(tokens: Tensor, flow: Flow) -> Tensor:
        flow.read = flow.read + number
        return tokens

    def discard(tokens: Tensor, flow: Flow) -> Tensor:
        end = tokens.shape[1] - 1
        return torch.cat([tokens[:, :1], tokens[:, 1 + head : end - tail], tokens[:, end:]], dim=1)

    clip.text.embedding += [move_read, insert(0)]
    for layer, hooks in enumerate(clip.text.hooks):
        if layer > 0:
            hooks.before.append(insert(layer))
        if layer < len(clip.text.hooks) - 1:
            hooks.after.append(discard)


METHOD = Vop
