"""Train some of CLIP's own tensors and attach nothing: the baselines of every paper.

Papers: full fine-tuning as MV-Adapter and VoP count it, and as CLIP4Clip freezes it (arXiv:2104.08860, peers.md A.1); biases
(arXiv:2106.10199), LayerNorms (arXiv:2312.11420), projections and last blocks (VoP, arXiv:2211.12764, table 1; vop.md 7.1 to 7.4).
Differs from the papers: VoP prints the counts of `bias` and `partial` without the attention's input projection, which we train (the
plain reading of "bias" and "block"). The temperature is trained by full fine-tuning only, and its inverse stays at most 100.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from pipeline.clip import FrozenClip
from pipeline.config.parse import choose
from pipeline.methods import Shape
from pipeline.methods.parts.tensors import upper

VARIANTS = {
    "full_finetune": {"which": "all"},
    "clip4clip_full": {"which": "clip4clip"},
    "bias": {"which": "bias"},
    "ln": {"which": "ln"},
    "proj": {"which": "proj"},
    "partial": {"which": "blocks", "last_blocks": 1},
}
PAPERS = {"all": "arXiv:2104.08860", "clip4clip": "arXiv:2104.08860", "bias": "arXiv:2106.10199", "ln": "arXiv:2312.11420"}
# CLIP4Clip's `freeze_layer_num 0` keeps these as they are.
FROZEN_BY_CLIP4CLIP = (
    "visual.conv1.",
    "visual.class_embedding",
    "visual.positional_embedding",
    "visual.ln_pre.",
    "token_embedding.",
    "positional_embedding",
)


@dataclass(frozen=True)
class ClipTensors:
    """`which` tensors: all, all that CLIP4Clip trains (clip4clip), those named bias, LayerNorms (ln), the two projections (proj), or
    the blocks.

    `train_logit_scale`: the temperature too, where `which` is all or clip4clip. `last_blocks`: only the last so many blocks of each tower,
    for bias and ln also the norm behind them, and the pool where one reads the tokens; None is all.
    """

    which: str = "all"
    train_logit_scale: bool = True
    last_blocks: int | None = None

    identity_at_init: ClassVar[bool] = True
    sees_time: ClassVar[bool] = False

    @property
    def paper(self) -> str:
        return PAPERS.get(self.which, "arXiv:2211.12764")

    def attach(self, clip: FrozenClip, shape: Shape) -> nn.Module:
        choose(self.which, ("all", "clip4clip", "bias", "ln", "proj", "blocks"), what="which")
        if self.last_blocks is not None and self.which not in ("bias", "ln", "blocks"):
            raise ValueError(
                f"last_blocks is {self.last_blocks}, but which is {self.which!r}, which is not chosen block by block; "
                "use partial to train the last blocks"
            )
        changed = [upper(tower, self.last_blocks) for tower in (clip.vision, clip.text)]
        clip.unfreeze(lambda name: self._wants(name) and any(has(name) for has in changed))
        if not clip.unfrozen:
            raise ValueError(f"which is {self.which!r}, but {clip.name} has no such tensor; train others of it")
        return nn.Module()

    def _wants(self, name: str) -> bool:
        if name == "logit_scale":
            return self.train_logit_scale and self.which in ("all", "clip4clip")
        return {
            "all": True,
            "clip4clip": not name.startswith(FROZEN_BY_CLIP4CLIP),
            "bias": name.endswith("bias"),
            "ln": name.rsplit(".", 2)[-2].startswith("ln_") if "." in name else False,
            "proj": name.startswith(("visual.proj", "text_projection")),
            "blocks": "transformer.resblocks." in name,
        }[self.which]


METHOD = ClipTensors
