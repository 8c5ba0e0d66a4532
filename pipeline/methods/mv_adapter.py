"""MV-Adapter: bottleneck adapters after the MLP of every block, with temporal adaptation and cross-modality tying.

Paper: Jin et al., MV-Adapter, CVPR 2024 (arXiv:2301.07868), section 3, equations 1 to 4; specification: mv_adapter.md 1 to 3.
Differs from the paper: activation, LayerNorm and positions in the bottleneck, the bias of the CMT projections and the "1 +" of
the calibration are those of the released code (mv_adapter.md 7.1); without them the published parameter counts do not come out.
Shapes: B videos or captions, T frames, L tokens, P patches, D width, M bottleneck.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.clip import FrozenClip
from pipeline.methods import Shape
from pipeline.tower import BranchHook, Site

POSITIONS = ("none", "down_in", "down_out", "up_in", "up_out")


@dataclass(frozen=True)
class MvAdapter:
    """`middle` is M, `heads` those of the small transformer, `scale` the factor s of the adapter's output.

    `cmt_position` says which side of which weight the shared factor gates (table 7 of the paper), in the last `cmt_layers`
    blocks, with a factor of `cmt_dim`; `down_in` is equation 4. `norm_input` adds a LayerNorm before the bottleneck (the released
    ActivityNet setting). `clip_biases` trains CLIP's biases too, which the published percentages include (mv_adapter.md 4).
    """

    paper: ClassVar[str] = "arXiv:2301.07868"
    identity_at_init: ClassVar[bool] = True

    middle: int = 64
    heads: int = 2
    scale: float = 0.1
    cmt_position: str = "down_in"
    cmt_layers: int = 2
    cmt_dim: int = 32
    norm_input: bool = False
    clip_biases: bool = True

    def attach(self, clip: FrozenClip, shape: Shape) -> nn.Module:
        depth = min(len(clip.vision.blocks), len(clip.text.blocks))
        if self.cmt_position not in POSITIONS:
            raise ValueError(f"mv_adapter: cmt_position is {self.cmt_position!r}; choose one of {', '.join(POSITIONS)}")
        if not 0 <= self.cmt_layers <= depth:
            raise ValueError(f"mv_adapter: cmt_layers is {self.cmt_layers}; {clip.name} has {depth} layers to tie")
        if self.middle % self.heads:
            raise ValueError(f"mv_adapter: middle {self.middle} cannot be split among {self.heads} heads")
        if self.clip_biases:
            clip.unfreeze(lambda name: "bias" in name)
        tied = self.cmt_layers if self.cmt_position != "none" else 0
        modules = nn.ModuleDict()
        factors = nn.ParameterList(nn.Parameter(torch.zeros(self.cmt_dim)) for _ in range(tied))
        for tower, kind in ((clip.vision, VideoAdapter), (clip.text, TextAdapter)):
            adapters = nn.ModuleList()
            for layer, hooks in enumerate(tower.hooks):
                # Towers of different depth are tied from the top, where the paper ties them.
                rank = layer - (len(tower.hooks) - tied)
                adapter = kind(
                    tower.width,
                    length=shape.num_frames if kind is VideoAdapter else shape.num_words,
                    middle=self.middle,
                    heads=self.heads,
                    gate=Gate(self.cmt_position, self.cmt_dim, tower.width, self.middle) if rank >= 0 else None,
                    norm_input=self.norm_input,
                )
                adapters.append(adapter)
                hooks.mlp.append(_hook(adapter, scale=self.scale, factor=factors[rank] if rank >= 0 else None))
            modules[tower.name] = adapters
        modules["factors"] = factors
        return modules


def _hook(adapter: "VideoAdapter | TextAdapter", *, scale: float, factor: Tensor | None) -> BranchHook:
    """Mode `seq`: the adapter reads the MLP's output m, and m + s A(m) is added to the stream."""

    def change(branch: Tensor, site: Site) -> Tensor:
        if isinstance(adapter, TextAdapter):
            said: Tensor = branch + scale * adapter(branch, factor=factor)
            return said
        mask = site.flow.frame_mask
        assert mask is not None
        seen: Tensor = adapter(branch.view(-1, site.flow.num_frames, *branch.shape[1:]), mask=mask, factor=factor)
        return branch + scale * seen.flatten(0, 1)

    return change


def quick_gelu(x: Tensor) -> Tensor:
    """CLIP's activation."""
    return x * torch.sigmoid(1.702 * x)


class Gate(nn.Module):
    """Cross-modality tying, one tower's side: the shared factor (d,) -> a gain for one side of one weight (equation 4)."""

    def __init__(self, position: str, dim: int, width: int, middle: int) -> None:
        super().__init__()
        self.position = position
        self.proj = nn.Linear(dim, width if position in ("down_in", "up_out") else middle)

    def forward(self, weight: Tensor, factor: Tensor, *, side: str) -> Tensor:
        """A weight (out, in) of the `side` down or up -> the same, gated if this gate is for that side."""
        if not self.position.startswith(side):
            return weight
        beta: Tensor = self.proj(factor)
        return weight * (beta if self.position.endswith("_in") else beta[:, None])


class Mixer(nn.Module):
    """One pre-norm transformer block of width M without dropout; `std_width` is the tower's D, which sets the initial scale."""

    def __init__(self, middle: int, *, heads: int, std_width: int) -> None:
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(middle), nn.LayerNorm(middle)
        self.qkv, self.out = nn.Linear(middle, 3 * middle), nn.Linear(middle, middle)
        self.fc, self.proj = nn.Linear(middle, 4 * middle), nn.Linear(4 * middle, middle)
        nn.init.normal_(self.qkv.weight, std=std_width**-0.5)
        for linear in (self.out, self.fc, self.proj):
            nn.init.normal_(linear.weight, std=(2 * std_width) ** -0.5)
        for linear in (self.qkv, self.out):
            nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor, *, keys: Tensor | None = None) -> Tensor:
        """(B, L, M) -> (B, L, M); `keys` (B, L) are the visible ones, and None means causal attention."""
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(self.ln_1(x)).chunk(3, dim=-1))
        mask = keys[:, None, None, :] if keys is not None else None
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=keys is None)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        y: Tensor = x + self.proj(quick_gelu(self.fc(self.ln_2(x))))
        return y


class Calibration(nn.Module):
    """Per-frame, per-channel gains from the frame and the CC token (equation 2, variant v1); all ones at the start."""

    hidden = 16

    def __init__(self, middle: int) -> None:
        super().__init__()
        self.cc = nn.Linear(middle, middle)
        self.fc1 = nn.Linear(2 * middle, self.hidden)
        self.fc2 = nn.Linear(self.hidden, middle, bias=False)
        nn.init.zeros_(self.fc2.weight)

    def forward(self, frames: Tensor, cc: Tensor, *, mask: Tensor) -> Tensor:
        """Frame vectors (B, T, M), CC outputs (B, M), mask (B, T) -> gains (B, T, M)."""
        pair = torch.cat([frames, self.cc(cc)[:, None].expand_as(frames)], dim=-1)
        gains: Tensor = 1 + self.fc2(F.relu(self.fc1(pair * mask[..., None])))
        return gains


class VideoAdapter(nn.Module):
    """Bottleneck with temporal adaptation (sections 3.2 and 3.3): CLS tokens of all frames talk, patches pass straight through."""

    def __init__(self, width: int, *, length: int, middle: int, heads: int, gate: Gate | None, norm_input: bool) -> None:
        super().__init__()
        self.norm_input = nn.LayerNorm(width) if norm_input else nn.Identity()
        self.down, self.up = nn.Linear(width, middle), nn.Linear(middle, width)
        self.position = nn.Parameter(torch.randn(2 * length + 1, middle) * 0.01)
        self.cc = nn.Parameter(torch.randn(middle) * middle**-0.5)
        self.norm, self.mixer = nn.LayerNorm(middle), Mixer(middle, heads=heads, std_width=width)
        self.calibration = Calibration(middle)
        self.gate = gate
        nn.init.zeros_(self.down.bias)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, u: Tensor, *, mask: Tensor, factor: Tensor | None = None) -> Tensor:
        """MLP outputs (B, T, 1+P, D), CLS first, and the frame mask (B, T) -> the unscaled change, same shape."""
        down, up = self.down.weight, self.up.weight
        if self.gate is not None and factor is not None:
            down, up = self.gate(down, factor, side="down"), self.gate(up, factor, side="up")
        h = quick_gelu(F.linear(self.norm_input(u), down, self.down.bias))
        frames, patches = h[:, :, 0], h[:, :, 1:]
        num_frames = frames.shape[1]
        cc = self.cc.expand(len(u), 1, -1)
        z = torch.cat([cc, frames, patches.mean(dim=2)], dim=1) + self.position[: 1 + 2 * num_frames]
        seen = torch.cat([mask.new_ones(len(u), 1), mask, mask], dim=1)
        y = quick_gelu(self.mixer(self.norm(z), keys=seen))
        y_cc, y_cls, y_patch = y[:, 0], y[:, 1 : num_frames + 1], y[:, num_frames + 1 :]
        gains = self.calibration(y_cls + y_patch, y_cc, mask=mask)
        # The gates "up" act on the CLS path only, as in the released code.
        cls = F.linear(gains * y_cls, up, self.up.bias)
        return torch.cat([cls[:, :, None], self.up(patches)], dim=2)


class TextAdapter(nn.Module):
    """Bottleneck with a causal transformer block over the words (section 3.1)."""

    def __init__(self, width: int, *, length: int, middle: int, heads: int, gate: Gate | None, norm_input: bool) -> None:
        super().__init__()
        self.norm_input = nn.LayerNorm(width) if norm_input else nn.Identity()
        self.down, self.up = nn.Linear(width, middle), nn.Linear(middle, width)
        self.position = nn.Parameter(torch.randn(length, middle) * 0.01)
        self.norm, self.mixer = nn.LayerNorm(middle), Mixer(middle, heads=heads, std_width=width)
        self.gate = gate
        nn.init.normal_(self.down.weight, std=(2 * width) ** -0.5)
        nn.init.zeros_(self.down.bias)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, u: Tensor, *, factor: Tensor | None = None) -> Tensor:
        """MLP outputs (B, L, D) -> the unscaled change, same shape."""
        down, up = self.down.weight, self.up.weight
        if self.gate is not None and factor is not None:
            down, up = self.gate(down, factor, side="down"), self.gate(up, factor, side="up")
        h = F.linear(self.norm_input(u), down, self.down.bias) + self.position[: u.shape[1]]
        return F.linear(quick_gelu(self.mixer(self.norm(h))), up, self.up.bias)


METHOD = MvAdapter
