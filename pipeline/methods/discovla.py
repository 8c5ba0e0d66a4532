"""DiscoVLA: LoRA in both towers; in the upper layers the CLS of a frame looks at all frames, and a loss may compare frames with captions.

Paper: Shen et al., DiscoVLA, CVPR 2025 (arXiv:2506.08887); specification: tempme_discovla.md 1, 4 to 6. With `captions_extra` it trains as
released, with a pseudo caption of each frame. Differs from the paper: without them, by default, it trains with the loss of videos alone,
which the release cannot; padded frames and their captions are hidden. As released, the term of distillation is divided by the square of
the batch, and so changes with it, and its teacher is trained too.
Shapes: A, B pairs, T frames or their captions, U frames, L tokens, D width, E embedding.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.clip import FrozenClip
from pipeline.clip.batch import Batch
from pipeline.clip.tower import BlockHooks, BranchHook, Site, Tower
from pipeline.methods import Shape
from pipeline.methods.parts.bottleneck import Bottleneck
from pipeline.methods.parts.heads import look, refuse_other_reads
from pipeline.methods.parts.low_rank import Change, change_towers

HIDDEN = float("-inf")


@dataclass(frozen=True)
class DiscoVla:
    """`rank` of LoRA, and width of the adapters. `vision_layers`, `text_layers`: in how many of the last blocks frames are fused, or all.

    - `captions_extra`: train with a caption of each frame as well, whose captions are fused in the text tower; weighed by `frame_weight`
      is the contrast of frames with these captions, by `distill_weight` what the scores of videos learn from it.
    - `last_blocks`: only the last so many blocks of each tower are changed; None is all.
    """

    rank: int = 8
    vision_layers: int = 4
    text_layers: int = 2
    captions_extra: bool = False
    frame_weight: float = 0.3
    distill_weight: float = 1.0
    last_blocks: int | None = None

    paper: ClassVar[str] = "arXiv:2506.08887"
    identity_at_init: ClassVar[bool] = False
    sees_time: ClassVar[bool] = False

    def attach(self, clip: FrozenClip, shape: Shape) -> nn.Module:
        modules = change_towers(clip, partial(Change, rank=self.rank), last_blocks=self.last_blocks)
        self._check()
        refuse_other_reads(clip, "discovla")
        self._fuse(clip.vision, self.vision_layers, modules["vision"])
        if self.captions_extra:
            self._fuse(clip.text, self.text_layers, modules["text"])
            clip.extra_captions = True
            clip.losses.append(self._loss)
        return modules

    def _check(self) -> None:
        for name, value, least in (("vision_layers", self.vision_layers, 1), ("text_layers", self.text_layers, 1)):
            if value < least:
                raise ValueError(f"discovla: {name} is {value}; the least is {least}")

    def _fuse(self, tower: Tower, number: int, modules: Any) -> None:
        """Fusion in the last blocks of a tower that LoRA changes too."""
        for layer, block, hooks in tower.last(self.last_blocks)[-number:]:
            modules[str(layer)]["fusion"] = adapter = Fusion(tower.width, self.rank)
            hooks.attention.append(_look_around(block, hooks, adapter, captions=tower.name == "text"))

    def _loss(self, batch: Batch) -> Tensor:
        """Frames against captions of frames, and what videos learn from that."""
        assert batch.extra is not None, "it has been asked for"
        frames = frame_scores(batch.extra, batch.frames, mask=batch.mask, scale=batch.scale)
        student, teacher = batch.scale * batch.similarities, batch.scale * frames
        apart = (divergence(teacher, student) + divergence(teacher.T, student.T)) / 2
        return self.frame_weight * batch.contrast(frames) + self.distill_weight * 100 * apart


class Fusion(Bottleneck):
    """The share of a frame's own view that comes back; nothing at the start."""

    def __init__(self, width: int, middle: int) -> None:
        super().__init__(width, middle, activation="quick_gelu")
        nn.init.xavier_uniform_(self.down.weight)
        nn.init.normal_(self.down.bias, std=1e-6)


def _look_around(block: Any, hooks: BlockHooks, adapter: nn.Module, *, captions: bool) -> BranchHook:
    """z + G(y) in the place of what the token that is read has seen; z is its attention over all tokens of all frames of the video."""

    def change(branch: Tensor, site: Site) -> Tensor:
        flow, (number, length) = site.flow, branch.shape[:2]
        if flow.frame_mask is None:  # the caption of a video
            return branch
        rows, places = torch.arange(number, device=branch.device), torch.arange(length, device=branch.device)
        read = flow.read if captions else torch.zeros_like(rows)
        keys = flow.frames[..., None].expand(-1, -1, length)
        if captions:  # what follows the end of a text is no token of it
            keys = keys & (places <= read[:, None]).view_as(keys)
        tokens, own = (part.unflatten(0, flow.frames.shape) for part in (site.normed, site.normed[rows, read]))
        seen = look(block, hooks, own, tokens.flatten(1, 2), keys.flatten(1)).flatten(0, 1) + adapter(branch[rows, read])
        return torch.where((places == read[:, None])[..., None], seen[:, None].to(branch.dtype), branch)

    return change


def frame_scores(captions: Tensor, frames: Tensor, *, mask: Tensor, scale: Tensor) -> Tensor:
    """Captions of frames (A, T, E) against frames (B, U, E), one mask for both -> scores (A, B).

    Of each caption the best frame counts, of each frame the best caption; each of the two is a mean weighed by the scores themselves.
    """
    alike = torch.einsum("ate,bue->abtu", F.normalize(captions, dim=-1), F.normalize(frames, dim=-1))
    of_captions = alike.masked_fill(~mask[:, None], HIDDEN).amax(dim=3)
    of_frames = alike.masked_fill(~mask[:, None, :, None], HIDDEN).amax(dim=2)
    return (_weighed(of_captions, mask[:, None], scale) + _weighed(of_frames, mask, scale)) / 2


def _weighed(scores: Tensor, mask: Tensor, scale: Tensor) -> Tensor:
    """Scores (A, B, T) -> (A, B), the mean of those in the mask, weighed by their softmax."""
    return ((scale * scores).masked_fill(~mask, HIDDEN).softmax(dim=-1) * scores).sum(dim=-1)


def divergence(teacher: Tensor, student: Tensor) -> Tensor:
    """The KL divergence of the softmax of each row of logits (B, B) from that of the teacher's, over B^2."""
    apart = F.kl_div(student.log_softmax(dim=-1), teacher.log_softmax(dim=-1), reduction="sum", log_target=True)
    return apart / student.numel()


METHOD = DiscoVla
