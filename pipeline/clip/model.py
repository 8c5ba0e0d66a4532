"""CLIP as two frozen towers, to which a method attaches.

Shapes: B videos or captions, T frames, N = B*T, L tokens, D width, E embedding.
"""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import open_clip
import torch
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from pipeline.clip import architecture, forward, kept_once, table, tokens, weights
from pipeline.clip.batch import Batch
from pipeline.clip.blocks import Trunk
from pipeline.clip.preprocessing import Preprocessing
from pipeline.clip.tower import Tower
from pipeline.config.parse import choose

OPENAI = Preprocessing(open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
LOG_100 = math.log(100)  # where CLIP stops its logit scale
TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# What makes features of the last tokens, and the temperature: little work, of which similarities are made directly.
EXACT = ("visual.ln_post.", "visual.proj", "ln_final.", "text_projection", "logit_scale")


class FrozenClip(nn.Module):
    """CLIP with every tensor frozen, until a method attaches modules or asks for tensors of CLIP to be trained.

    `digest` is the SHA-256 of the weights; adapters carry it, so that they are never loaded onto another backbone. Without a `tokenizer`
    it is CLIP's own, or one that only counts (`tokens.without_weights`).
    """

    def __init__(
        self, model: open_clip.CLIP, *, name: str, preprocessing: Preprocessing = OPENAI, tokenizer: tokens.Tokenizer | None = None
    ) -> None:
        super().__init__()
        _refuse_unknown_towers(model, name)
        kept_once.replace(model)
        self.model = table.in_float32(model).eval()
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        self.name = name
        self.digest = weights.digest(model)
        self.image_size = int(model.visual.image_size[0])
        self.context_length = int(model.context_length)
        visual, whole = model.visual, architecture.whole_rows(model)
        self.embed_dim = architecture.embed_dim(model)
        shape = {"width": visual.positional_embedding.shape[1], "cls": int(visual.class_embedding is not None)}
        self.vision = Tower("vision", transformer=visual.transformer, pooled=architecture.pooled(visual), **shape)
        self.text = Tower("text", transformer=model.transformer, width=model.ln_final.weight.shape[0], whole_rows=whole)
        self.originals: dict[str, Tensor] = {}
        self.precision = "float32"
        self.plain()
        self.mean: Tensor
        self.std: Tensor
        self.preprocessing = str(preprocessing)
        self.resize, self.interpolation = preprocessing.resize, preprocessing.interpolation
        self.tokenizer = tokenizer or tokens.without_weights(model)
        self.register_buffer("mean", torch.tensor(preprocessing.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(preprocessing.std).view(3, 1, 1), persistent=False)

    def train(self, mode: bool = True) -> "FrozenClip":
        """CLIP stays in evaluation mode (it has no dropout to switch on); the attached modules follow `mode`."""
        self.adapter.train(mode)
        self.training = mode
        return self

    def plain(self) -> None:
        """Nothing attached, nothing to train. The tensors from before are in `originals`, by name.

        `frame_head` changes frame features (B, T, E) under their mask (B, T), `text_head` text features (B, E). With a
        `query_temperature` a video's frames are weighed anew by each caption (`similarity.query_scores`), else they are averaged: all
        alike, or by the `frame_weights` of their features and mask, at least 0 and as large as they like (B, T).
        `losses` are added to that of a training; with `extra_captions` it reads a caption of each frame as well.
        """
        self.vision.clear()
        self.text.clear()
        self.adapter: nn.Module = nn.Module()
        self.unfrozen: dict[str, nn.Parameter] = {}
        self.frame_head: list[Callable[[Tensor, Tensor], Tensor]] = []
        self.text_head: list[Callable[[Tensor], Tensor]] = []
        self.query_temperature: float | None = None
        self.frame_weights: Callable[[Tensor, Tensor], Tensor] | None = None
        self.losses: list[Callable[[Batch], Tensor]] = []
        self.extra_captions = False

    @torch.no_grad()
    def compute_in(self, precision: str) -> None:
        """Let the towers compute in another of TYPES from now on. Features stay float32, and so do trained tensors: attach first.

        `bfloat16`: frozen tensors but a large token table are stored so, for good, and so are the tokens between the blocks; norms take
        their statistics in float32. `float16`, whose numbers are too small for that: products alone.
        """
        self.precision = choose(precision, TYPES, what="precision")
        for name, parameter in self.model.named_parameters():
            left = parameter.requires_grad or name.startswith(EXACT) or table.is_large(name, parameter)
            if precision == "bfloat16" and not left:
                parameter.data = parameter.to(torch.bfloat16)

    @property
    def stream(self) -> torch.dtype:
        """The type of the tokens between the blocks."""
        return torch.bfloat16 if self.precision == "bfloat16" else self.mean.dtype

    def _computing(self) -> AbstractContextManager[Any]:
        """Products in the `precision`."""
        return torch.autocast(self.mean.device.type, dtype=TYPES[self.precision], enabled=self.precision != "float32")

    def unfreeze(self, wanted: Callable[[str], bool], *, large_table: bool = False) -> None:
        """Let the tensors of CLIP whose names satisfy `wanted` be trained, in float32; a large token table only with `large_table`."""
        for name, parameter in self.model.named_parameters():
            if wanted(name) and (large_table or not table.is_large(name, parameter)):
                self.originals.setdefault(name, parameter.detach().clone())
                parameter.data = parameter.data.float()
                self.unfrozen[name] = parameter.requires_grad_(True)

    def checkpointing(self, on: bool) -> None:
        """Compute each block again in the backward pass (less memory, more time), or keep what it computed."""
        self.vision.checkpointing = self.text.checkpointing = on

    @torch.no_grad()
    def merge(self) -> None:
        """Fold attached changes of weights (LoRA) into CLIP's own, so that they cost nothing at inference.

        Features stay the same; `detach_all` still gives plain CLIP back.
        """
        for tower, prefix in ((self.vision, "visual.transformer.resblocks"), (self.text, "transformer.resblocks")):
            for layer, hooks in enumerate(tower.hooks):
                block = tower.blocks[layer]
                # All before any is written: a change of a bias may be made of the weight beside it.
                changed = {key: change(block.get_parameter(key)) for key, change in hooks.weights.items()}
                for key, values in changed.items():
                    weight = block.get_parameter(key)
                    self.originals.setdefault(f"{prefix}.{layer}.{key}", weight.clone())
                    weight.copy_(values)
                hooks.weights.clear()

    def trained(self) -> dict[str, nn.Parameter]:
        """Every trainable tensor by its name in the checkpoint: `adapter.*` for attached ones, `clip.*` for CLIP's own."""
        named = {f"adapter.{name}": p for name, p in self.adapter.named_parameters()}
        return named | {f"clip.{name}": p for name, p in self.unfrozen.items()}

    def stored(self) -> dict[str, Tensor]:
        """The tensors of a checkpoint: every trainable one, and the frozen ones of attached modules, which are their persistent buffers."""
        kept = self.adapter.state_dict().keys()
        return {f"adapter.{name}": values for name, values in self.adapter.named_buffers() if name in kept} | self.trained()

    @torch.no_grad()
    def detach_all(self) -> None:
        """Back to plain CLIP, bit for bit."""
        for name, original in self.originals.items():
            self.model.get_parameter(name).copy_(original).requires_grad_(False)
        self.originals = {}
        self.plain()

    @torch.no_grad()
    def limit_logit_scale(self) -> None:
        """Where the temperature is trained, CLIP keeps its inverse at most at 100."""
        if "logit_scale" in self.unfrozen:
            self.model.logit_scale.clamp_(max=LOG_100)

    @property
    def logit_scale(self) -> Tensor:
        scale: Tensor = self.model.logit_scale.exp()
        return scale

    @property
    def logit_bias(self) -> Tensor | None:
        """The bias that a sigmoid loss adds to the scaled similarities; None for weights of a softmax."""
        bias: Tensor | None = self.model.logit_bias
        return bias

    def tokenize(self, captions: list[str], *, num_words: int) -> Tensor:
        """(B, num_words) token ids with start and end of text; longer captions keep their end-of-text token last. ValueError as
        `refuse_words`."""
        self.refuse_words(num_words)
        return self.tokenizer(captions, context_length=num_words)

    def refuse_words(self, number: int) -> None:
        """ValueError for captions of so many tokens, if they are longer than the context, or another length than a tower without end."""
        if number > self.context_length:
            raise ValueError(f"dataset.words is {number}, but {self.name} reads at most {self.context_length} tokens")
        if self.text.whole_rows and number != self.context_length:
            raise ValueError(
                f"dataset.words is {number}, but {self.name} reads padding too, as it was trained with {self.context_length} tokens a "
                f"caption; set it to {self.context_length}"
            )

    def encode_frames(self, seen: Tensor, *, mask: Tensor, start: int = 0) -> Tensor:
        """Frames (B, T, 3, H, W) as uint8 and their mask (B, T) -> frame features (B, T, E), not normalised.

        With a `start` above 0, `seen` is what `frames_at` gives for that level, and the tower runs from there on.
        """
        features = self.frames_at(self.vision.top + 1, seen, mask=mask, start=start)
        with self._computing():
            for head in self.frame_head:
                features = head(features, mask)
        return features.to(self.mean.dtype)

    def frames_at(self, level: int, seen: Tensor, *, mask: Tensor, start: int = 0) -> Tensor:
        """Frames at a level of the vision tower (`forward.frames_at`), computed from those at level `start`."""
        seen = seen if start else (seen.to(self.mean.dtype) / 255 - self.mean) / self.std
        seen = seen.to(self.mean.dtype if start >= self.vision.top else self.stream)
        if level == start:
            return seen
        with self._computing():
            return forward.frames_at(level, seen, self.model.visual, self.vision, mask=mask, start=start)

    def encode_text(self, ids: Tensor, said: Tensor | None = None, *, start: int = 0, mask: Tensor | None = None) -> Tensor:
        """Token ids (B, L), L at most the context length -> text features (B, E), not normalised; from `said` at level `start` on.

        With a `mask` (B, T) the rows are B*T captions of the frames of videos.
        """
        features = self.text_at(self.text.top + 1, ids, said, start=start, mask=mask)
        with self._computing():
            for head in self.text_head:
                features = head(features)
        return features.to(self.mean.dtype)

    def text_at(self, level: int, ids: Tensor, said: Tensor | None = None, *, start: int = 0, mask: Tensor | None = None) -> Tensor:
        """Captions at a level of the text tower (`forward.text_at`), computed from those at level `start`."""
        kind = self.mean.dtype if start >= self.text.top else self.stream
        with self._computing():
            said = None if said is None else said.to(kind)
            return forward.text_at(level, ids, said, self.model, self.text, start=start, kind=kind, mask=mask)


def _refuse_unknown_towers(model: nn.Module, name: str) -> None:
    """ValueError unless both towers are those that `Tower.run` and the two encoders reproduce."""
    visual = getattr(model, "visual", None)
    if not isinstance(model, open_clip.CLIP) or not isinstance(visual, VisionTransformer | Trunk):
        raise ValueError(f"backbone {name}: {type(model).__name__} with {type(visual).__name__} is not a CLIP of two ViTs")
    odd = {
        f"text pooling {model.text_pool_type!r}": model.text_pool_type not in ("argmax", "eos", "last"),
        "a non-square image": len(set(visual.image_size)) != 1,
    }
    if isinstance(visual, VisionTransformer):
        odd |= {
            "attentional pooling": visual.attn_pool is not None,
            f"pooling {visual.pool_type!r}": visual.pool_type != "tok",
            "patch dropout": not isinstance(visual.patch_dropout, nn.Identity),
        }
    found = [what for what, present in odd.items() if present]
    if found:
        raise ValueError(f"backbone {name} has {', '.join(found)}, which the block loop does not reproduce")
