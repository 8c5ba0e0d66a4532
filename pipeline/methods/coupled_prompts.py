"""MaPLe: prompts of the text tower in its lower layers, and prompts of the vision tower that are linear images of them, layer by layer.

Paper: Khattak et al., CVPR 2023 (arXiv:2210.03117), section 3.2; its code: muzairkhattak/multimodal-prompt-learning. Against `vop` it shows
what the coupling does. `rank` is ours: the images by a product of two narrow maps, without biases. Differs from the code: visual prompts
stand before the patches and not behind them, which is the same to attention. The paper's training is for classification (SGD, batches of
4) and says nothing of retrieval. P prompts, D width.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from pipeline.clip import FrozenClip
from pipeline.clip.tower import Flow, TokenHook, Tower
from pipeline.methods import Shape
from pipeline.methods.parts.prompts import drop, entry, insert, normal, prompt_text, prompt_upper_text

CONTEXT = "a photo of a"


@dataclass(frozen=True)
class CoupledPrompts:
    """`prompts` a layer, in the first `layers` of both towers, or in as many as both have; the last of them flow on to the top.

    - `rank`: of the maps from text to vision, which have biases without it.
    - `context`: the first layer's prompts start as the words "a photo of a", as far as these go; else, as all others, at random.
    - `last_blocks`: each of the last so many blocks of both towers has prompts, and no other; None is from the first one on.
    """

    prompts: int = 2
    layers: int = 9
    rank: int | None = None
    context: bool = True
    last_blocks: int | None = None

    paper: ClassVar[str] = "arXiv:2210.03117"
    identity_at_init: ClassVar[bool] = False
    sees_time: ClassVar[bool] = False

    def attach(self, clip: FrozenClip, shape: Shape) -> nn.Module:
        first, number = self._layers(clip)
        table = normal(number, self.prompts, clip.text.width, std=0.02)
        if self.context and not first["text"]:
            _say(clip, table)
        maps = nn.ModuleDict()
        for row, layer in enumerate(range(first["vision"], first["vision"] + number)):
            maps[str(layer)] = _image(clip.text.width, clip.vision.width, self.rank)
            entry(clip.vision, layer).append(_put(clip.vision, table, row, maps[str(layer)]))
            if row + 1 < number:
                clip.vision.hooks[layer].after.append(_discard(clip.vision, self.prompts))
        if first["text"]:
            prompt_upper_text(clip, lambda row: table[row], number=self.prompts, last_blocks=self.last_blocks)
        else:
            prompt_text(clip, table, head=self.prompts, num_words=shape.num_words)
        return nn.ModuleDict({"shared": nn.ParameterDict({"prompts": table}), "vision": maps})

    def _layers(self, clip: FrozenClip) -> tuple[dict[str, int], int]:
        """The first layer with prompts of each tower, and how many have prompts. ValueError for settings that contradict each other."""
        if self.prompts < 1 or self.layers < 1 or (self.rank is not None and self.rank < 1):
            raise ValueError(f"coupled_prompts: prompts is {self.prompts}, layers {self.layers} and rank {self.rank}; give at least 1 each")
        first = {tower.name: tower.last(self.last_blocks)[0][0] for tower in (clip.vision, clip.text)}
        if self.last_blocks is None:
            return first, min(self.layers, clip.vision.top, clip.text.top)
        if self.layers < self.last_blocks:
            raise ValueError(
                f"coupled_prompts: last_blocks is {self.last_blocks}, which all have prompts, and layers is {self.layers}; set layers to "
                f"{self.last_blocks} or more"
            )
        return first, self.last_blocks


@torch.no_grad()
def _say(clip: FrozenClip, table: Tensor) -> None:
    """Put the words of CONTEXT into the first layer's prompts."""
    start = 0 if clip.text.whole_rows else 1  # behind start-of-text, which a text without end has not either
    words = clip.tokenize([CONTEXT], num_words=clip.context_length)[0, start : start + len(CONTEXT.split())]
    rows = clip.model.token_embedding.weight[words[: table.shape[1]]]
    table[0, : len(rows)] = rows


def _image(text: int, vision: int, rank: int | None) -> nn.Module:
    """The map that makes visual prompts of those of the text."""
    if rank is None:
        return nn.Linear(text, vision)
    return nn.Sequential(nn.Linear(text, rank, bias=False), nn.Linear(rank, vision, bias=False))


def _put(tower: Tower, table: Tensor, row: int, image: nn.Module) -> TokenHook:
    # Not a view: where no gradient is wanted, torch's count of products takes none of a parameter as the argument of a module.
    return lambda tokens, flow: insert(tokens, image(table[row].clone()), at=tower.cls)


def _discard(tower: Tower, number: int) -> TokenHook:
    def change(tokens: Tensor, flow: Flow) -> Tensor:
        return drop(tokens, at=tower.cls, number=number)

    return change


METHOD = CoupledPrompts
