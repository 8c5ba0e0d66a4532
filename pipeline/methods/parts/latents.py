"""Prompts of both towers from one latent that does not depend on the input: DGL's, linear or a small transformer.

L layers, T frames, n local prompts a frame, m text prompts, D width of vision, E width of text. Layers are counted from the top of each
tower: row -1 is of the last block of both.
"""

import math

import torch
from torch import Tensor, nn

from pipeline.clip import FrozenClip
from pipeline.clip.kept_once import quick_gelu
from pipeline.clip.tower import Flow
from pipeline.config.parse import choose
from pipeline.methods import Shape
from pipeline.methods.parts.global_prompts import prompt_video
from pipeline.methods.parts.mixer import Mixer
from pipeline.methods.parts.prompts import normal, prompt_upper_text

LATENTS = ("linear", "transformer")
SIDES = ("prefix", "postfix")  # of the text, in the release


def bound(clip: FrozenClip) -> float:
    """Of the uniform start of prompts: sqrt(6 / (values of a patch + D))."""
    return math.sqrt(6 / (clip.model.visual.conv1.weight[0].numel() + clip.vision.width))


def uniform(*shape: int, bound: float) -> nn.Parameter:
    """A table drawn from U(-bound, bound)."""
    return nn.Parameter(torch.empty(*shape).uniform_(-bound, bound))


class Shared(nn.Module):
    """The source of both towers' prompts: a table, and a block that mixes its rows."""

    def __init__(self, prompts: nn.Parameter, block: Mixer | None = None) -> None:
        super().__init__()
        self.prompts, self.block = prompts, block


class LinearLatent(nn.Module):
    """The latent is the local prompts, the same for all frames of a layer; two linear maps make one text prompt each of every one."""

    def __init__(self, clip: FrozenClip, *, layers: int, local: int) -> None:
        super().__init__()
        width = clip.vision.width
        self.vision = nn.ModuleDict()
        self.shared = Shared(uniform(layers, local, width, bound=bound(clip)))
        self.text = nn.ModuleDict({name: nn.Linear(width, clip.text.width) for name in SIDES})

    def frames(self, row: int, num_frames: int) -> Tensor:
        """The local prompts of a layer, the same for all frames (n, D)."""
        return self.shared.prompts[row]

    def words(self, row: int) -> Tensor:
        """The text prompts (m, E) of a layer, those that the release puts behind the text last."""
        # Not a view: where no gradient is wanted, torch's count of products takes none of a parameter as the argument of a module.
        prompts = self.shared.prompts[row].clone()
        return torch.cat([self.text[name](prompts) for name in SIDES])


class TransformerLatent(nn.Module):
    """A table of m rows for the text and n for each frame goes through one transformer block, each layer's rows by themselves."""

    def __init__(self, clip: FrozenClip, *, layers: int, local: int, text: int, num_frames: int) -> None:
        super().__init__()
        width = clip.vision.width
        self.number, self.local = text, local
        self.vision = nn.ModuleDict()
        self.shared = Shared(normal(text + local * num_frames, layers, width, std=1.0), _block(width))
        self.text = nn.ModuleDict({"up": nn.Linear(width, 2 * width), "down": nn.Linear(2 * width, clip.text.width)})

    def _mixed(self, row: int) -> Tensor:
        assert self.shared.block is not None
        x = self.shared.prompts[None, :, row].clone()  # no view, as above
        mixed: Tensor = self.shared.block(x, keys=torch.ones(x.shape[:2], dtype=torch.bool, device=x.device))[0]
        return mixed

    def frames(self, row: int, num_frames: int) -> Tensor:
        """The local prompts of a layer for each frame (T, n, D)."""
        prompts: Tensor = self._mixed(row)[self.number :].unflatten(0, (-1, self.local))[:num_frames]
        return prompts

    def words(self, row: int) -> Tensor:
        """As those of `LinearLatent`."""
        prompts: Tensor = self.text["down"](quick_gelu(self.text["up"](self._mixed(row)[: self.number])))
        return prompts


Latent = LinearLatent | TransformerLatent


def _block(width: int) -> Mixer:
    """With the starts of torch's own attention and linear maps."""
    block = Mixer(width, heads=max(width // 64, 1), std_width=width)
    nn.init.xavier_uniform_(block.qkv.weight)
    for linear in (block.out, block.fc, block.proj):
        linear.reset_parameters()
    nn.init.zeros_(block.out.bias)
    return block


def prompt_towers(
    clip: FrozenClip,
    kind: str,
    shape: Shape,
    *,
    numbers: tuple[int, int, int],
    layout: str,
    read: str,
    last_blocks: int | None = None,
    offset: str | None = None,
) -> Latent:
    """DGL on the last blocks of both towers, with a latent of a kind; `numbers` of global, of local and of text prompts.

    `layout`, `read`: as DGL's. `offset` (B, T, n, D) of the memo is added to the local prompts of every layer. ValueError for
    settings that contradict each other.
    """
    choose(layout, ("fixed", "release"), what="text_layout")
    size, local, text = numbers
    if not (size > 0 and local > 0 and text > 0 and text % 2 == 0):
        raise ValueError(f"global_prompts is {size}, local_prompts {local} and text_prompts {text}; give at least one each, text in pairs")
    layers = max(len(tower.last(last_blocks)) for tower in (clip.vision, clip.text))
    adapter = _latent(clip, kind, layers=layers, local=local, text=text, num_frames=shape.num_frames)
    prompts = uniform(size, clip.vision.width, bound=bound(clip))
    adapter.vision["globals"] = nn.ParameterDict({"prompts": prompts})

    def made(row: int, flow: Flow) -> Tensor:
        own = adapter.frames(row, flow.num_frames)
        own = own.expand(flow.num_frames, -1, -1)
        return (own + flow.memo[offset]).flatten(0, 1) if offset else own.repeat(len(flow.frames), 1, 1)

    prompt_video(clip.vision, prompts, made, number=local, read=read, last_blocks=last_blocks)
    tail = text // 2 if layout == "release" else 0
    prompt_upper_text(clip, lambda row: adapter.words(row), number=text, last_blocks=last_blocks, tail=tail)
    return adapter


def _latent(clip: FrozenClip, kind: str, *, layers: int, local: int, text: int, num_frames: int) -> Latent:
    """ValueError for numbers of prompts that it cannot make."""
    choose(kind, LATENTS, what="latent")
    if kind == "transformer":
        return TransformerLatent(clip, layers=layers, local=local, text=text, num_frames=num_frames)
    if text != 2 * local:
        raise ValueError(
            f"text_prompts is {text} and local_prompts {local}, but a linear latent makes two text prompts of each local one; "
            f"set text_prompts to {2 * local}, or latent to transformer"
        )
    return LinearLatent(clip, layers=layers, local=local)
