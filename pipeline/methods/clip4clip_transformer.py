"""CLIP4Clip's sequence transformer on the frame features of a frozen CLIP.

Paper: Luo et al., CLIP4Clip (arXiv:2104.08860), section 3.3, `seqTransf`; frozen towers as in MV-Adapter's tables (arXiv:2301.07868),
where its 12,648,960 parameters are 8.45 % of ViT-B/16. Positions: one row for each of CLIP's text positions, as in the paper's code;
rows beyond the number of frames never get a gradient and are reported as dead.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from pipeline.clip import FrozenClip
from pipeline.clip.tower import Tower
from pipeline.config.parse import choose
from pipeline.methods import Shape
from pipeline.methods.parts.mixer import Mixer


@dataclass(frozen=True)
class Clip4clipTransformer:
    """`layers` of the transformer. `start`: its weights are those of CLIP's first text blocks (`clip`, as in the paper) or `random`."""

    layers: int = 4
    start: str = "clip"

    paper: ClassVar[str] = "arXiv:2104.08860"
    identity_at_init: ClassVar[bool] = False
    sees_time: ClassVar[bool] = True

    def attach(self, clip: FrozenClip, shape: Shape) -> nn.Module:
        choose(self.start, ("clip", "random"), what="clip4clip_transformer: start")
        width = clip.embed_dim
        if self.start == "clip" and width != clip.text.width:
            raise ValueError(f"clip4clip_transformer: features of {width} and text blocks of {clip.text.width} differ; set start: random")
        if shape.num_frames > clip.context_length:
            raise ValueError(f"clip4clip_transformer: {shape.num_frames} frames, but {clip.context_length} positions")
        head = SequenceTransformer(width, rows=clip.context_length, layers=self.layers, heads=clip.text.blocks[0].attn.num_heads)
        if self.start == "clip":
            head.copy(clip.text, positions=clip.model.positional_embedding)
        clip.frame_head.append(head)
        return head


class SequenceTransformer(nn.Module):
    """Frame features (B, T, E) under their mask (B, T) -> features + transformer(features + positions)."""

    def __init__(self, width: int, *, rows: int, layers: int, heads: int) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.empty(rows, width).normal_(std=0.02))
        self.blocks = nn.ModuleList(Mixer(width, heads=heads, std_width=width) for _ in range(layers))

    @torch.no_grad()
    def copy(self, text: Tower, *, positions: Tensor) -> None:
        """Start as the first blocks of CLIP's text tower; blocks that it does not have keep their random start."""
        self.position.copy_(positions)
        for ours, theirs in zip(self.blocks, text.blocks, strict=False):
            pairs = {"qkv": "attn.in_proj_", "out": "attn.out_proj.", "fc": "mlp.c_fc.", "proj": "mlp.c_proj."}
            pairs |= {"ln_1": "ln_1.", "ln_2": "ln_2."}
            for own, other in pairs.items():
                for kind in ("weight", "bias"):
                    ours.get_parameter(f"{own}.{kind}").copy_(theirs.get_parameter(f"{other}{kind}"))

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        x = features + self.position[: features.shape[1]]
        for block in self.blocks:
            x = block(x, keys=mask)
        return features + x


METHOD = Clip4clipTransformer
