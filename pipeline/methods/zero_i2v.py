"""ZeroI2V: some heads of each attention look at the frame before or behind, and linear adapters fold into the weights around them.

Paper: Li et al., ECCV 2024 (arXiv:2310.01324), sections 3.2 and 3.3; its code: MCG-NJU/ZeroI2V. Four adapters a block, z + s U(D z),
without an activation: before and behind the attention's maps, before and behind those of the MLP. They are changes of eight tensors and
fold away; the heads stay, since what they read is no weight, and a kernel that reads another frame's keys would make them free.
Differs from the code: a padded neighbour counts as none, as the first and the last frame have it; no dropout between D and U, which a
weight cannot have; the paper has no text tower, `text` says what is done there. Keys get no bias in a tower that has none for them.
Shapes: B videos, T frames, N = B*T, L tokens, D width, d channels of a head.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.clip import FrozenClip
from pipeline.clip.attention import WeightHook, bias_of
from pipeline.clip.blocks import turned
from pipeline.clip.tower import BlockHooks, BranchHook, Flow, Site
from pipeline.methods import Shape
from pipeline.methods.parts.bottleneck import adapt_text
from pipeline.methods.parts.positions import add_positions
from pipeline.methods.parts.prompts import entry

IN, OUT, FC, PROJ = "attn.in_proj_", "attn.out_proj.", "mlp.c_fc.", "mlp.c_proj."
SITES = ("input", "attention", "middle", "output")  # where the adapters of a block stand


@dataclass(frozen=True)
class ZeroI2v:
    """`middle`: width of the adapters (the paper: a quarter of the tower's). `scale`: of what they add.

    - `heads`: how many look at another frame, the first half of them at the one before, the others at the one behind.
    - `text`: adapter (of width `text_middle`) or frozen.
    - `last_blocks`: only the last so many blocks of each tower are changed, and positions are added where they begin; None is all.
    """

    middle: int = 192
    scale: float = 1.0
    heads: int = 2
    text: str = "adapter"
    text_middle: int = 64
    last_blocks: int | None = None

    paper: ClassVar[str] = "arXiv:2310.01324"
    identity_at_init: ClassVar[bool] = False
    sees_time: ClassVar[bool] = True

    def attach(self, clip: FrozenClip, shape: Shape) -> nn.Module:
        vision = clip.vision
        blocks = vision.last(self.last_blocks)
        self._check(clip, blocks[0][1])
        modules = adapt_text(clip.text, text=self.text, middle=self.text_middle, last_blocks=self.last_blocks)
        table = nn.Parameter(torch.zeros(shape.num_frames, vision.width))
        modules["frames"] = nn.ParameterDict({"position": table})
        entry(vision, blocks[0][0]).append(add_positions(table))
        layers = nn.ModuleDict()
        for layer, block, hooks in blocks:
            four = {site: LinearAdapter(vision.width, self.middle, self.scale) for site in SITES}
            _fold(block, hooks, four)
            hooks.attention.append(look_around(block, hooks, heads=self.heads))
            layers[str(layer)] = nn.ModuleDict(four)
        modules["vision"] = layers
        clip.unfreeze(lambda name: name.startswith("visual.ln_post."))
        return modules

    def _check(self, clip: FrozenClip, block: Any) -> None:
        """ValueError for heads that are not there, and for a tower into whose maps the adapters do not fold."""
        there = block.attn.num_heads
        if self.heads == 0:
            raise ValueError("zero_i2v: heads is 0, so that no frame would see another and a change of weights is left; use lora for that")
        if not 1 <= self.heads <= there:
            raise ValueError(f"zero_i2v: heads is {self.heads}; the vision tower of {clip.name} has {there} heads; give 1 to {there}")
        if not isinstance(getattr(block.attn, "ln_inner", nn.Identity()), nn.Identity) or block.attn.in_proj_bias is None:
            raise ValueError(
                f"zero_i2v: the attention of {clip.name} has a norm inside or no bias, which the adapters do not fold into; use a plain ViT"
            )


class LinearAdapter(nn.Module):
    """z (..., D) -> z + s (U (D z + e) + c), the same z at the start, as changes of the maps W before and behind which it stands."""

    def __init__(self, width: int, middle: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.down, self.up = nn.Linear(width, middle), nn.Linear(middle, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def before(self, weight: Tensor) -> Tensor:
        """W (O, D) -> W (I + s U D): z goes through the adapter and then through W. Rows of it by themselves, too."""
        return weight + self.scale * (weight @ self.up.weight) @ self.down.weight

    def constant(self, weight: Tensor) -> Tensor:
        """The adapter's constants through W (O, D), to be added to its bias (O,)."""
        return F.linear(self.scale * self.up(self.down.bias), weight)

    def behind(self, weight: Tensor) -> Tensor:
        """W (D, I) -> (I + s U D) W: what W makes goes through the adapter. Columns of it by themselves, too."""
        return weight + self.scale * self.up.weight @ (self.down.weight @ weight)

    def behind_bias(self, bias: Tensor) -> Tensor:
        """The bias (D,) of that map through the adapter, constants included."""
        out: Tensor = bias + self.scale * self.up(self.down(bias))
        return out


def _fold(block: Any, hooks: BlockHooks, four: dict[str, LinearAdapter]) -> None:
    """The four adapters of a block as changes of eight of its tensors."""
    for name, site in ((IN, "input"), (FC, "middle")):
        hooks.weights[f"{name}weight"] = four[site].before
        hooks.weights[f"{name}bias"] = _constant(four[site], block, f"{name}weight")
    for name, site in ((OUT, "attention"), (PROJ, "output")):
        hooks.weights[f"{name}weight"], hooks.weights[f"{name}bias"] = four[site].behind, four[site].behind_bias


def _constant(adapter: LinearAdapter, block: Any, name: str) -> WeightHook:
    def change(bias: Tensor) -> Tensor:
        more = adapter.constant(block.get_parameter(name))
        if name.startswith(IN):
            more = _of_keys_none(block, more, entries=len(bias))
        return bias + more

    return change


def _of_keys_none(block: Any, more: Tensor, *, entries: int) -> Tensor:
    """The change of the bias of the queries, keys and values (3D,), without that of the keys where these have none.

    Such a bias has 2D entries as a tensor, and `bias_of` gives it with zeros between them.
    """
    if len(block.attn.in_proj_bias) == len(more):
        return more
    query, key, value = more.chunk(3)
    return torch.cat([query, value] if entries < len(more) else [query, torch.zeros_like(key), value])


def look_around(block: Any, hooks: BlockHooks, *, heads: int) -> BranchHook:
    """The branch of attention, as if the first `heads` of it read keys and values of the frame before or behind, and not of their own.

    What these heads see differently goes through the columns of the output map that are theirs.
    """

    def change(branch: Tensor, site: Site) -> Tensor:
        flow, channels = site.flow, heads * (site.normed.shape[-1] // block.attn.num_heads)
        q, k, v = _first_heads(block, hooks, site.normed, heads=heads)
        if (turn := flow.turn(len(q))) is not None:
            q, k = turned(q, turn), turned(k, turn)
        other_k, other_v = (_of_neighbours(part, flow, before=(heads + 1) // 2) for part in (k, v))
        differs = F.scaled_dot_product_attention(q, other_k, other_v) - F.scaled_dot_product_attention(q, k, v)
        weight = block.attn.out_proj.weight[:, :channels]
        if own := hooks.weights.get(f"{OUT}weight"):
            weight = own(weight)
        out: Tensor = branch + block.ls_1(F.linear(differs.transpose(1, 2).flatten(2), weight))
        return out

    return change


def _first_heads(block: Any, hooks: BlockHooks, normed: Tensor, *, heads: int) -> tuple[Tensor, ...]:
    """Queries, keys and values (N, heads, L, d) of the first heads, by the weights that are in force: the changed ones, or folded ones."""
    weight, bias = block.attn.in_proj_weight, bias_of(block, IN)
    if own := hooks.weights.get(f"{IN}bias"):
        bias = own(bias)
    parts = weight.unflatten(0, (3, block.attn.num_heads, -1))[:, :heads], bias.unflatten(0, (3, block.attn.num_heads, -1))[:, :heads]
    rows = parts[0].flatten(0, 2)
    if own := hooks.weights.get(f"{IN}weight"):
        rows = own(rows)
    made = F.linear(normed, rows, parts[1].flatten()).unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    return made[0], made[1], made[2]


def _of_neighbours(own: Tensor, flow: Flow, *, before: int) -> Tensor:
    """Keys or values (N, heads, L, d), the first heads those of the frame before, the others those of the frame behind.

    The first frame and the last real one keep their own.
    """
    frames = own.unflatten(0, (-1, flow.num_frames))
    first, last = frames[:, :, :before], frames[:, :, before:]
    real = flow.frames[:, 1:, None, None, None]
    behind = torch.cat([torch.where(real, last[:, 1:], last[:, :-1]), last[:, -1:]], dim=1)
    return torch.cat([torch.cat([first[:, :1], first[:, :-1]], dim=1), behind], dim=2).flatten(0, 1)


METHOD = ZeroI2v
