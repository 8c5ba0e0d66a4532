"""STOP: DGL, with a change of the pixels and offsets of each frame's prompts, both made by 3-D convolutions over the video.

Paper: Liu et al., STOP, CVPR 2025 (arXiv:2503.15973), section 3, and its released code, which differs from it; specification:
dgl_stop.md 3, 4 and 8. From the code alone: an adapter beside the MLP of every block of both towers (`mlp_adapters`).
Differs from the code: regions are patches, changes are weighed within a video, text prompts stand before the end of text (`regions`,
`norm`, `text_layout`: each has the code's way too); padded frames are zero before each convolution and hidden in attention. Kernels keep
their size whatever the patch. The 7.53 M that the paper prints fit neither latent; `linear` is the default, as in `dgl`: a third of the
parameters, and what the first release has. `stop_transformer` is that of the released MSR-VTT script.
Shapes: B videos, T frames, P patches, g = sqrt(P), S pixels a side, D width, n local prompts.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.clip import FrozenClip, architecture
from pipeline.clip.tower import Flow, TokenHook, Tower
from pipeline.config.parse import choose
from pipeline.methods import Shape
from pipeline.methods.parts.bottleneck import add
from pipeline.methods.parts.latents import prompt_towers
from pipeline.methods.parts.space_time import FramesConv, side

VARIANTS = {"stop": {}, "stop_transformer": {"latent": "transformer"}}
CHOSEN = 6  # regions of a frame that are changed twice as much
SCALE = 0.05  # of the change of pixels and of the offsets
REGIONS, OFFSETS = "regions", "offsets"  # in the memo of a pass


@dataclass(frozen=True)
class Stop:
    """`latent`, `global_prompts`, `local_prompts`, `text_prompts`, `text_layout`, `read`: as DGL's.

    - `norm`: over what a frame's share of the change is scaled to 0 to 1: the frames of its `video`, or of the whole `batch`. With the
      latter an embedding depends on the videos beside it: it can be compared within one batch only, and is never stored.
    - `regions`: a region of a frame is a `patch`, or all pixels whose row and column have the same remainders (`modulo`).
    - `mlp_adapters`: whether there are any. `dropout`: in the change of the pixels, in training. `kernel`: pixels a side of the
      convolutions over pixels, which with 11 cost more than ViT-B/32 itself.

    Pixels change, so no block is as in CLIP: there is no `last_blocks`.
    """

    latent: str = "linear"
    global_prompts: int = 4
    local_prompts: int = 4
    text_prompts: int = 8
    text_layout: str = "fixed"
    read: str = "first"
    norm: str = "video"
    regions: str = "patch"
    mlp_adapters: bool = True
    dropout: float = 0.5
    kernel: int = 11

    paper: ClassVar[str] = "arXiv:2503.15973"
    identity_at_init: ClassVar[bool] = False
    sees_time: ClassVar[bool] = True

    @property
    def sees_batch(self) -> bool:
        return self.norm == "batch"

    def attach(self, clip: FrozenClip, shape: Shape) -> nn.Module:
        self._check()
        numbers = self.global_prompts, self.local_prompts, self.text_prompts
        adapter = prompt_towers(clip, self.latent, shape, numbers=numbers, layout=self.text_layout, read=self.read, offset=OFFSETS)
        pixels = adapter.vision["intra"] = Intra(self.kernel, modulo=self.regions == "modulo", dropout=self.dropout)
        patches = architecture.patches(clip.model.visual)
        offsets = adapter.vision["inter"] = Inter(clip.vision.width, patches, number=self.local_prompts, batch=self.norm == "batch")
        clip.vision.pixels.append(pixels.change)
        clip.vision.embedding.append(_note_offsets(offsets, clip.model.visual.ln_pre))
        if self.mlp_adapters:
            for tower, modules in ((clip.vision, adapter.vision), (clip.text, adapter.text)):
                modules["mlp"] = _beside_mlps(tower)
        return adapter

    def _check(self) -> None:
        choose(self.norm, ("video", "batch"), what="stop: norm")
        choose(self.regions, ("patch", "modulo"), what="stop: regions")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"stop: dropout is {self.dropout}; give a share from 0 to below 1")
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ValueError(f"stop: kernel is {self.kernel}; give an odd number of pixels")


def _beside_mlps(tower: Tower) -> nn.ModuleDict:
    """A bottleneck of 32 beside each MLP, of the tokens before its norm."""
    adapters = nn.ModuleDict()
    for layer, _, hooks in tower.last(None):
        parts = OrderedDict(down=nn.Linear(tower.width, 32), slope=nn.PReLU(), up=nn.Linear(32, tower.width))
        adapters[str(layer)] = nn.Sequential(parts)
        hooks.mlp.append(add(adapters[str(layer)], placement="stream", scale=0.1))
    return adapters


def _note_offsets(offsets: "Inter", norm: nn.Module) -> TokenHook:
    """The offsets are made of the tokens after `ln_pre`, which the tower makes once more."""

    def note(tokens: Tensor, flow: Flow) -> Tensor:
        patches = norm(tokens)[:, -flow.patches :].unflatten(0, (-1, flow.num_frames))
        flow.memo[OFFSETS] = offsets(patches, flow)
        return tokens

    return note


class Intra(nn.Module):
    """Normalised pixels (B*T, 3, S, S) -> the same with a change that is twice as large in the regions where most is going on.

    No gradient reaches `motion`, which finds these: it stays as it starts, and is stored.
    """

    def __init__(self, kernel: int, *, modulo: bool, dropout: float) -> None:
        super().__init__()
        self.modulo, self.dropout = modulo, dropout
        convs = (FramesConv(*channels, (3, kernel, kernel)) for channels in ((3, 9), (9, 9), (9, 9), (9, 16)))
        self.conv1, self.conv2, self.conv3, self.conv4 = convs
        self.slope1, self.slope2, self.slope3 = nn.PReLU(), nn.PReLU(), nn.PReLU()
        self.lin1, self.lin2 = nn.Linear(16, 16), nn.Linear(16, 3)
        self.motion = FramesConv(3, 1, (5, kernel, kernel))

    def change(self, pixels: Tensor, flow: Flow) -> Tensor:
        frames, real = pixels.unflatten(0, (-1, flow.num_frames)), flow.frames
        place = self._places(frames.shape[-1], flow)
        regions = flow.memo[REGIONS] = self._regions(frames, place, flow)
        y = self.conv1(frames, real)
        y = self.slope1(self.conv2(y, real))
        y = self.slope2(self.conv3(y, real))
        y = self._drop(self.conv4(y, real)).movedim(2, -1)
        y = self._drop(self._drop(self.lin2(self.slope3(self.lin1(y))))).movedim(-1, 2)
        gain = 1 + regions.unflatten(-1, (side(flow.patches), -1))[:, :, None, place][..., place]
        changed: Tensor = pixels + (SCALE * y * gain).flatten(0, 1).to(pixels.dtype)
        return changed

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, training=self.training)

    def _places(self, size: int, flow: Flow) -> Tensor:
        """The region's row of each row of pixels (S,), and so of columns; what is left over beside whole patches belongs to the last."""
        rows, grid = torch.arange(size, device=flow.frames.device), side(flow.patches)
        return rows % grid if self.modulo else (rows // (size // grid)).clamp(max=grid - 1)

    @torch.no_grad()
    def _regions(self, frames: Tensor, place: Tensor, flow: Flow) -> Tensor:
        """(B, T, P), 1 for those above the seventh score of their frame. Half precision would choose others by its rounding."""
        exact = self.motion.weight.dtype
        # Not `F.one_hot`, for which a GPU is waited for.
        mean = (torch.arange(side(flow.patches), device=place.device)[:, None] == place).to(exact)
        mean = mean / mean.sum(dim=1, keepdim=True)
        with torch.autocast(frames.device.type, enabled=False):
            scores = (mean @ self.motion(frames.to(exact), flow.frames)[:, :, 0] @ mean.T).flatten(2)
        least = scores.topk(min(CHOSEN + 1, flow.patches)).values[..., -1:]
        chosen: Tensor = scores > least
        return chosen.to(exact)


class Inter(nn.Module):
    """Patches after `ln_pre` (B, T, P, D) -> offsets of the local prompts of each frame (B, T, n, D), the more the more it changes.

    Neither the bias of `change` nor that of `lin2` has an effect: scaling to 0 to 1 takes away the one, and the first norm of a
    block the other, which moves all channels of a prompt alike.
    """

    def __init__(self, width: int, patches: int, *, number: int, batch: bool) -> None:
        super().__init__()
        self.batch = batch
        self.attention = nn.MultiheadAttention(width, max(width // 64, 1), batch_first=True)
        self.conv1, self.conv2 = FramesConv(1, 9, (3, 15, 25)), FramesConv(9, 1, (3, 15, 25))
        self.lin1, self.lin2 = nn.Linear(patches, 16), nn.Linear(16, number)
        self.slope1, self.slope2 = nn.PReLU(), nn.PReLU()
        self.change = FramesConv(1, 1, (5, 11, 11))

    def forward(self, patches: Tensor, flow: Flow) -> Tensor:
        rows = patches.flatten(1, 2)
        hidden = ~flow.frames.repeat_interleave(patches.shape[2], dim=1) if flow.padded else None
        z = self.attention(rows, rows, rows, key_padding_mask=hidden, need_weights=False)[0].view_as(patches)[:, :, None]
        y = self.conv2(self.slope1(self.conv1(z, flow.frames)), flow.frames)[:, :, 0].transpose(2, 3)
        y = self.lin2(self.slope2(self.lin1(y))).transpose(2, 3)
        offsets: Tensor = SCALE * y * (1 + self._weights(z, flow)[:, :, None, None])
        return offsets

    def _weights(self, z: Tensor, flow: Flow) -> Tensor:
        """(B, T): the change of each frame, scaled to 0 to 1 over the real frames of its video or of the batch; 0 where all are alike."""
        exact = self.change.weight.dtype
        with torch.autocast(z.device.type, enabled=False):
            change = self.change(z.to(exact), flow.frames)[:, :, 0]
            change = (change * (1 + flow.memo[REGIONS])[..., None]).mean(dim=(2, 3))
        over = (0, 1) if self.batch else (1,)
        low = change.masked_fill(~flow.frames, torch.inf).amin(dim=over, keepdim=True)
        spread = change.masked_fill(~flow.frames, -torch.inf).amax(dim=over, keepdim=True) - low
        weights: Tensor = (change - low) / torch.where(spread > 0, spread, torch.inf)
        return weights


METHOD = Stop
