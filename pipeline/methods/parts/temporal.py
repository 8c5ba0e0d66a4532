"""Temporal adaptation of MV-Adapter: a transformer over the frames' CLS tokens, and gains for each frame and channel.

Paper: Jin et al., MV-Adapter, CVPR 2024 (arXiv:2301.07868), section 3.2, equations 1 and 2; specification: mv_adapter.md 1.
Shapes: B videos, T frames, P patches, M bottleneck.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.clip.kept_once import quick_gelu
from pipeline.methods.parts.mixer import Mixer


class Calibration(nn.Module):
    """Per-frame, per-channel gains from the frame and, with `cc`, the CC token (equation 2, variant v1); all ones at the start."""

    hidden = 16

    def __init__(self, middle: int, *, cc: bool) -> None:
        super().__init__()
        self.cc = nn.Linear(middle, middle) if cc else None
        self.fc1 = nn.Linear(2 * middle if cc else middle, self.hidden)
        self.fc2 = nn.Linear(self.hidden, middle, bias=False)
        nn.init.zeros_(self.fc2.weight)

    def forward(self, frames: Tensor, cc: Tensor, *, mask: Tensor) -> Tensor:
        """Frame vectors (B, T, M), CC outputs (B, 1, M) or (B, 0, M) without one, mask (B, T) -> gains (B, T, M)."""
        pair = frames if self.cc is None else torch.cat([frames, self.cc(cc).expand_as(frames)], dim=-1)
        gains: Tensor = 1 + self.fc2(F.relu(self.fc1(pair * mask[..., None])))
        return gains


class Temporal(nn.Module):
    """Temporal mixing of the CLS tokens of a video's frames between down and up (section 3.2): a transformer, and gains for the way up."""

    def __init__(self, width: int, *, length: int, middle: int, heads: int, calibrate: tuple[str, ...], cc: bool) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.randn(2 * length + int(cc), middle) * 0.01)
        self.cc = nn.Parameter(torch.randn(middle) * middle**-0.5) if cc else None
        self.norm, self.mixer = nn.LayerNorm(middle), Mixer(middle, heads=heads, std_width=width)
        self.calibration = nn.ModuleDict({branch: Calibration(middle, cc=cc) for branch in calibrate})

    def forward(self, cls: Tensor, patches: Tensor, *, mask: Tensor) -> tuple[Tensor, Tensor]:
        """CLS (B, T, M) and patches (B, T, P, M), both down-projected, and the frame mask (B, T) -> what goes up, same shapes."""
        frames = cls.shape[1]
        first = cls.new_empty(len(cls), 0, cls.shape[2]) if self.cc is None else self.cc.expand(len(cls), 1, -1).to(cls.dtype)
        z = torch.cat([first, cls, patches.mean(dim=2)], dim=1)
        keys = torch.cat([mask.new_ones(len(cls), first.shape[1]), mask, mask], dim=1)
        y = quick_gelu(self.mixer(self.norm(z + self.position[: z.shape[1]]), keys=keys))
        y_cc, y_cls, y_patch = y.split([first.shape[1], frames, frames], dim=1)
        gains = {branch: calibrate(y_cls + y_patch, y_cc, mask=mask) for branch, calibrate in self.calibration.items()}
        up_cls = y_cls * gains["cls"] if "cls" in gains else y_cls
        up_patches = patches * gains["patches"][:, :, None] if "patches" in gains else patches
        return up_cls, up_patches
