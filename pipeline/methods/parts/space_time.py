"""Convolutions over the frames of a video. B videos, T frames, P = H*W patches, D width, M bottleneck."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.clip.tower import Flow, TokenHook
from pipeline.methods.parts.bottleneck import ACTIVATIONS


def side(patches: int) -> int:
    """The patches along one side of a square frame."""
    length = math.isqrt(patches)
    assert length**2 == patches, f"{patches} patches are no square"
    return length


class SpaceTime(nn.Module):
    """Patches (B, T, P, D) -> a change of them: down, depthwise convolution over (T, H, W), activation, up.

    Padded frames are zero before the convolution, which pads with zeros too: a video's last frames see what they would see without.
    """

    def __init__(self, width: int, middle: int, *, kernel: tuple[int, int, int], bias: bool, activation: str) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(width, middle), nn.Linear(middle, width)
        around = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        self.conv = nn.Conv3d(middle, middle, kernel, padding=around, groups=middle, bias=bias)
        self.activation: Callable[[Tensor], Tensor] = ACTIVATIONS[activation] if activation != "none" else nn.Identity()
        nn.init.zeros_(self.down.bias)
        nn.init.zeros_(self.up.bias)

    def forward(self, patches: Tensor, *, mask: Tensor) -> Tensor:
        """`mask` (B, T) is True for real frames."""
        length = side(patches.shape[2])
        h = self.down(patches) * mask[:, :, None, None]
        grid = h.unflatten(2, (length, length)).permute(0, 4, 1, 2, 3)
        mixed = self.conv(grid).permute(0, 2, 3, 4, 1).flatten(2, 3)
        out: Tensor = self.up(self.activation(mixed))
        return out


class FramesConv(nn.Conv3d):
    """Conv3d of odd kernels over (T, H, W) that keeps their sizes, for frames (B, T, C, H, W) with their mask (B, T): padded ones are zero.

    A 2-D convolution makes what each tap over time adds, and the taps are added up. For so few channels torch's own on a CPU takes a
    hundred times as long, and one whose channels do not come last twice as long.
    """

    def __init__(self, channels: int, out: int, kernel: tuple[int, int, int]) -> None:
        super().__init__(channels, out, kernel)

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        (taps, height, width), number = self.kernel_size, frames.shape[1]
        shown = (frames * mask[:, :, None, None, None]).flatten(0, 1).contiguous(memory_format=torch.channels_last)
        kernels = self.weight.transpose(1, 2).flatten(0, 1).contiguous(memory_format=torch.channels_last)
        each = F.conv2d(shown, kernels, padding=(height // 2, width // 2))
        each = F.pad(each.unflatten(0, (-1, number)).unflatten(2, (-1, taps)), (*[0] * 8, taps // 2, taps // 2))
        added = torch.stack([each[:, tap : tap + number, :, tap] for tap in range(taps)]).sum(dim=0)
        assert self.bias is not None
        return added + self.bias[:, None, None]


def at_entry(change: Callable[[Tensor, Flow], Tensor]) -> TokenHook:
    """A hook for the start of a vision block; `change` sees the tokens by video (B, T, L, D)."""

    def hook(tokens: Tensor, flow: Flow) -> Tensor:
        return change(tokens.unflatten(0, (-1, flow.num_frames)), flow).flatten(0, 1)

    return hook
