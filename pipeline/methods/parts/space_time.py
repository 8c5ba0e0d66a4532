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

    The taps over time become channels of a 2-D convolution: of what it reads, or of what it makes and then added up, whichever are
    fewer. For so few channels torch's own 3-D one takes a hundred times as long on a CPU, and one whose channels do not come last twice.
    """

    def __init__(self, channels: int, out: int, kernel: tuple[int, int, int]) -> None:
        super().__init__(channels, out, kernel)

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        shown, kernels, taps = frames * mask[:, :, None, None, None], self.weight.transpose(1, 2), self.kernel_size[0]
        assert self.bias is not None
        if self.in_channels <= self.out_channels:
            read = torch.cat(_shifted(shown, taps), dim=2)
            made = self._flat(read, kernels.flatten(1, 2))
        else:
            each = self._flat(shown, kernels.flatten(0, 1)).unflatten(2, (-1, taps))
            made = torch.stack([shifted[:, :, :, tap] for tap, shifted in enumerate(_shifted(each, taps))]).sum(dim=0)
        return made + self.bias[:, None, None]

    def _flat(self, frames: Tensor, kernels: Tensor) -> Tensor:
        """Frames (B, T, C, H, W) through kernels (O, C, h, w), one by one."""
        _, height, width = self.kernel_size
        read, kernels = (part.contiguous(memory_format=torch.channels_last) for part in (frames.flatten(0, 1), kernels))
        made: Tensor = F.conv2d(read, kernels, padding=(height // 2, width // 2)).unflatten(0, (-1, frames.shape[1]))
        return made


def _shifted(frames: Tensor, taps: int) -> list[Tensor]:
    """Frames (B, T, ...) as each tap over time meets them: the one before, the same, the one after, with zeros beside a video."""
    padded = F.pad(frames, (*[0] * 2 * (frames.ndim - 2), taps // 2, taps // 2))
    return [padded[:, tap : tap + frames.shape[1]] for tap in range(taps)]


def at_entry(change: Callable[[Tensor, Flow], Tensor]) -> TokenHook:
    """A hook for the start of a vision block; `change` sees the tokens by video (B, T, L, D)."""

    def hook(tokens: Tensor, flow: Flow) -> Tensor:
        return change(tokens.unflatten(0, (-1, flow.num_frames)), flow).flatten(0, 1)

    return hook
