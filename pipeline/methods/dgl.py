"""DGL: prompts of every layer of both frozen towers from one latent, and global prompts that see all frames and are what is read.

Paper: Yang et al., DGL, AAAI 2024 (arXiv:2401.10588), sections 3.2 to 3.4; specification: dgl_stop.md 1 and 2. The latent does not depend
on the input. `dgl` is DGL-Linear: the local prompts are the latent. `dgl_transformer` makes them, other ones for each frame, by a block.
Differs from the released code: all text prompts stand before the end of text (`text_layout`), because half of them cannot be seen behind
it; padded frames are hidden, where the code repeats the last frame; nothing is rounded to float16 at the start. The pool of a tower that
attention over all tokens reads, reads the first global prompt alone. Towers of different depth share the latent's rows from the top.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from pipeline.clip import FrozenClip
from pipeline.methods import Shape
from pipeline.methods.parts.latents import prompt_towers

VARIANTS = {"dgl": {}, "dgl_transformer": {"latent": "transformer"}}


@dataclass(frozen=True)
class Dgl:
    """`latent`: linear or transformer. `global_prompts` of a video, `local_prompts` of a frame, `text_prompts` (linear: twice the local).

    - `text_layout`: `fixed` has all text prompts after start-of-text. `release` has half of them behind the text, where a causal
      mask hides them: they are dead, and with `linear` so is the map that makes them.
    - `read`: `first` reads the first global prompt, the paper's. For ablations `globals` reads the mean of all, `frames` each frame's
      CLS as in CLIP, `both` the mean of the globals and CLS; the means are taken before the last norm.
    - `last_blocks`: only the last so many blocks of each tower have prompts, and the global ones begin there; None is all.
    """

    latent: str = "linear"
    global_prompts: int = 4
    local_prompts: int = 4
    text_prompts: int = 8
    text_layout: str = "fixed"
    read: str = "first"
    last_blocks: int | None = None

    paper: ClassVar[str] = "arXiv:2401.10588"
    identity_at_init: ClassVar[bool] = False

    @property
    def sees_time(self) -> bool:
        return self.latent == "transformer"

    def attach(self, clip: FrozenClip, shape: Shape) -> nn.Module:
        numbers = self.global_prompts, self.local_prompts, self.text_prompts
        return prompt_towers(
            clip, self.latent, shape, numbers=numbers, layout=self.text_layout, read=self.read, last_blocks=self.last_blocks
        )


METHOD = Dgl
