"""MV-Adapter: bottleneck adapters after the MLP of every block, with temporal adaptation and cross-modality tying.

Paper: Jin et al., MV-Adapter, CVPR 2024 (arXiv:2301.07868), section 3, equations 1 to 4; specification: mv_adapter.md 1 to 3.
Differs from the paper: activation, LayerNorm and positions in the bottleneck, the bias of the CMT projections and the "1 +" of
the calibration are those of the released code (mv_adapter.md 7.1); without them the published parameter counts do not come out.
Where attention over all tokens reads the tower and not CLS, the mean of a frame's patches takes the place of its CLS (`anchor`), and what
comes of it is added to all tokens, which are read: the parameters are the same.
Shapes: B videos or captions, T frames, L tokens, P patches, D width, M bottleneck.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.clip import FrozenClip
from pipeline.clip.kept_once import quick_gelu
from pipeline.clip.tower import BranchHook, Site, Tower
from pipeline.config.parse import choose, chosen, later
from pipeline.methods import Shape
from pipeline.methods.parts.anchor import Anchor
from pipeline.methods.parts.bottleneck import Bottleneck
from pipeline.methods.parts.gate import Gate, gated
from pipeline.methods.parts.mixer import Mixer
from pipeline.methods.parts.temporal import Temporal
from pipeline.methods.parts.tensors import upper

POSITIONS = ("none", "down_in", "down_out", "up_in", "up_out")
TEMPORAL = ("none", "transformer", "calibrated")
CALIBRATED = {"cls": ("cls",), "patches": ("patches",), "both": ("cls", "patches")}


@dataclass(frozen=True)
class MvAdapter:
    """`middle` is M, `heads` those of the small transformers, `scale` the factor s of the adapter's output.

    - `video`, `text`: which towers have adapters (table 6b).
    - `temporal`: what the video adapter has between down and up (table 6a): none, a transformer over the frames, or that and
      calibration. `text_transformer`: the causal transformer of the text adapter. Without them an adapter is down, QuickGELU, up.
    - `calibrate`: whose up-projection the gains weigh, that of cls (default), patches, or both. `cc`: the learned token beside the frames.
    - `cmt_position`: which side of which weight the shared factor gates (table 7), in the last `cmt_layers` blocks (table 8), with a
      factor of `cmt_dim` (table 9); `down_in` is equation 4, `none` is without.
    - `norm_input`: a LayerNorm before the bottleneck (the released ActivityNet setting).
    - `clip_biases`: train CLIP's biases in the adapted towers too, which the published percentages include (mv_adapter.md 4).
    - `last_blocks`: only the last so many blocks of each tower have adapters, and biases only these and the norm behind; None is all.
    - `anchor`: what stands for a frame (`Anchor`), and takes what comes of the frames: its CLS, or for the mean of patches all tokens.
    """

    paper: ClassVar[str] = "arXiv:2301.07868"
    identity_at_init: ClassVar[bool] = True

    middle: int = 64
    heads: int = 2
    scale: float = 0.1
    video: bool = True
    text: bool = True
    temporal: str = "calibrated"
    text_transformer: bool = True
    calibrate: str = "cls"
    cc: bool = True
    cmt_position: str = "down_in"
    cmt_layers: int = 2
    cmt_dim: int = 32
    norm_input: bool = False
    clip_biases: bool = True
    last_blocks: int | None = None
    anchor: str = later(chosen("auto", "cls", "patches"))

    @property
    def sees_time(self) -> bool:
        return self.video and self.temporal != "none"

    def attach(self, clip: FrozenClip, shape: Shape) -> nn.Module:
        self._check(clip)
        towers = [tower for tower, wanted in ((clip.vision, self.video), (clip.text, self.text)) if wanted]
        changed = [upper(tower, self.last_blocks) for tower in towers]
        tied = self._tied()
        if self.clip_biases:
            clip.unfreeze(lambda name: "bias" in name and any(has(name) for has in changed))
        modules = nn.ModuleDict({"anchor": Anchor(clip, self.anchor, method="mv_adapter")} if self.video else {})
        factors = nn.ParameterList(nn.Parameter(torch.zeros(self.cmt_dim)) for _ in range(tied))
        spread = self.video and modules["anchor"].kind == "patches"
        for tower in towers:
            adapters = nn.ModuleDict()
            for layer, _, hooks in tower.last(self.last_blocks):
                # Towers of different depth are tied from the top, where the paper ties them.
                rank = layer - (len(tower.hooks) - tied)
                adapter = adapters[str(layer)] = self._adapter(tower, shape, gated=rank >= 0, spread=spread)
                hooks.mlp.append(_hook(adapter, scale=self.scale, factor=factors[rank] if rank >= 0 else None))
            modules[tower.name] = adapters
        modules["factors"] = factors
        return modules

    def _tied(self) -> int:
        """How many layers are tied, which must be changed ones. ValueError if they are not."""
        tied = self.cmt_layers if self.cmt_position != "none" else 0
        if self.last_blocks is not None and tied > self.last_blocks:
            raise ValueError(
                f"mv_adapter: cmt_layers is {tied}, but only the last_blocks {self.last_blocks} have adapters to tie; "
                f"set cmt_layers to at most {self.last_blocks}"
            )
        return tied

    def _check(self, clip: FrozenClip) -> None:
        depth = min(len(clip.vision.blocks), len(clip.text.blocks))
        choose(self.cmt_position, POSITIONS, what="mv_adapter: cmt_position")
        choose(self.temporal, TEMPORAL, what="mv_adapter: temporal")
        choose(self.calibrate, CALIBRATED, what="mv_adapter: calibrate")
        if not 0 <= self.cmt_layers <= depth:
            raise ValueError(f"mv_adapter: cmt_layers is {self.cmt_layers}; {clip.name} has {depth} layers to tie")
        if self.middle % self.heads:
            raise ValueError(f"mv_adapter: middle {self.middle} cannot be split among {self.heads} heads")
        if not (self.video or self.text):
            raise ValueError("mv_adapter: video and text are both false; adapt one of them, or use zero_shot")

    def _adapter(self, tower: Tower, shape: Shape, *, gated: bool, spread: bool) -> "VideoAdapter | TextAdapter":
        gate = Gate(self.cmt_position, self.cmt_dim, tower.width, self.middle) if gated else None
        if tower.name == "text":
            return TextAdapter(
                tower.width, length=shape.num_words, middle=self.middle, heads=self.heads, gate=gate,
                norm_input=self.norm_input, transformer=self.text_transformer,
            )  # fmt: skip
        return VideoAdapter(
            tower.width, length=shape.num_frames, middle=self.middle, heads=self.heads, gate=gate, norm_input=self.norm_input,
            temporal=self.temporal, calibrate=CALIBRATED[self.calibrate], cc=self.cc, spread=spread,
        )  # fmt: skip


def _hook(adapter: "VideoAdapter | TextAdapter", *, scale: float, factor: Tensor | None) -> BranchHook:
    """Mode `seq`: the adapter reads the MLP's output m, and m + s A(m) is added to the stream."""

    def change(branch: Tensor, site: Site) -> Tensor:
        if isinstance(adapter, TextAdapter):
            said: Tensor = branch + scale * adapter(branch, factor=factor)
            return said
        by_video = branch.unflatten(0, (-1, site.flow.num_frames))
        seen: Tensor = adapter(by_video, mask=site.flow.frames, factor=factor, patches=site.flow.patches)
        return branch + scale * seen.flatten(0, 1)

    return change


class VideoAdapter(nn.Module):
    """Bottleneck with temporal adaptation (sections 3.2 and 3.3): CLS tokens of all frames talk, patches pass straight through.

    `spread`: the mean of the patches talks for them, and all tokens take what comes of it.
    """

    def __init__(
        self,
        width: int,
        *,
        length: int,
        middle: int,
        heads: int,
        gate: Gate | None,
        norm_input: bool,
        temporal: str = "calibrated",
        calibrate: tuple[str, ...] = ("cls",),
        cc: bool = True,
        spread: bool = False,
    ) -> None:
        super().__init__()
        self.spread = spread
        self.norm_input = nn.LayerNorm(width) if norm_input else nn.Identity()
        self.bottleneck = Bottleneck(width, middle, activation="quick_gelu")
        weighed = calibrate if temporal == "calibrated" else ()
        mixed = temporal != "none"
        self.temporal = Temporal(width, length=length, middle=middle, heads=heads, calibrate=weighed, cc=cc) if mixed else None
        self.gate = gate

    def forward(self, u: Tensor, *, mask: Tensor, factor: Tensor | None = None, patches: int = 0) -> Tensor:
        """MLP outputs (B, T, L, D), the `patches` last, and the frame mask (B, T) -> the unscaled change, same shape."""
        down, up = self.bottleneck.down, self.bottleneck.up
        gated_down, gated_up = gated(self.gate, factor, down.weight, up.weight)
        h = quick_gelu(F.linear(self.norm_input(u), gated_down, down.bias))
        if self.spread:
            return F.linear(self._spread(h, patches, mask), gated_up, up.bias)
        cls, grid = h[:, :, 0], h[:, :, 1:]
        if self.temporal is not None:
            cls, grid = self.temporal(cls, grid, mask=mask)
        # The gates "up" act on the CLS path only, as in the released code.
        return torch.cat([F.linear(cls, gated_up, up.bias)[:, :, None], up(grid)], dim=2)

    def _spread(self, h: Tensor, patches: int, mask: Tensor) -> Tensor:
        """Down-projected tokens (B, T, L, M) with the change of their frame, made from the mean of its patches, added to all of them."""
        if self.temporal is None:
            return h
        before, grid = h[:, :, :-patches], h[:, :, -patches:]
        change, grid = self.temporal(grid.mean(dim=2), grid, mask=mask)
        spread: Tensor = torch.cat([before, grid], dim=2) + change[:, :, None]
        return spread


class TextAdapter(nn.Module):
    """Bottleneck with a causal transformer block over the words (section 3.1)."""

    def __init__(
        self, width: int, *, length: int, middle: int, heads: int, gate: Gate | None, norm_input: bool, transformer: bool = True
    ) -> None:
        super().__init__()
        self.norm_input = nn.LayerNorm(width) if norm_input else nn.Identity()
        self.bottleneck = Bottleneck(width, middle, activation="quick_gelu")
        nn.init.normal_(self.bottleneck.down.weight, std=(2 * width) ** -0.5)
        self.words = Words(width, length=length, middle=middle, heads=heads) if transformer else None
        self.gate = gate

    def forward(self, u: Tensor, *, factor: Tensor | None = None) -> Tensor:
        """MLP outputs (B, L, D) -> the unscaled change, same shape."""
        down, up = self.bottleneck.down, self.bottleneck.up
        gated_down, gated_up = gated(self.gate, factor, down.weight, up.weight)
        h = F.linear(self.norm_input(u), gated_down, down.bias)
        return F.linear(quick_gelu(self.words(h) if self.words is not None else h), gated_up, up.bias)


class Words(nn.Module):
    """(B, L, M) -> (B, L, M): positions, LayerNorm, a causal transformer block."""

    def __init__(self, width: int, *, length: int, middle: int, heads: int) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.randn(length, middle) * 0.01)
        self.norm, self.mixer = nn.LayerNorm(middle), Mixer(middle, heads=heads, std_width=width)

    def forward(self, h: Tensor) -> Tensor:
        out: Tensor = self.mixer(self.norm(h + self.position[: h.shape[1]]))
        return out


METHOD = MvAdapter
