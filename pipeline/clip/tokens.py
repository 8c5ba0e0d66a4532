"""Tokenisers: open_clip's own, or one of Hugging Face, which comes with the weights and is read from this machine alone."""

import functools
import hashlib
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import open_clip
import torch
from open_clip.tokenizer import HFTokenizer
from torch import Tensor

WORDS = 49408  # of CLIP's own tokeniser
OWN = "CLIP's tokeniser"
# By their token ids one tokeniser is told from another.
PROBE = ["A dog's 12 red balls roll by - quickly, past 3 na\u00efve cats!", "\u4e00\u53ea\u72d7", ""]


@dataclass(frozen=True)
class Tokenizer:
    """A tokeniser, called with captions and `context_length`, gives token ids (B, context_length).

    `lengths`: the tokens of each caption, start and end included, before any is cut off. `folder`: where it was read from, "" for CLIP's
    own and for the hub's cache.
    """

    name: str
    encode: Callable[..., Tensor]
    lengths: Callable[[list[str]], list[int]]
    folder: str = ""

    def __call__(self, captions: list[str], *, context_length: int) -> Tensor:
        return self.encode(captions, context_length=context_length)

    def described(self) -> dict[str, str]:
        """The note that an adapter carries of it: none of CLIP's own, which older ones do not name, else what tells it from another."""
        if self.name == OWN:
            return {}
        ids = self(PROBE, context_length=32).to(torch.int64)
        return {"name": self.name, "folder": self.folder, "digest": hashlib.sha256(ids.numpy().tobytes()).hexdigest()[:16]}


def load(text: Mapping[str, Any], *, name: str, folder: str) -> Tokenizer:
    """The tokeniser of an architecture by the `text` part of its configuration; a `folder` holds it where it is not in the hub's cache.

    ValueError if it cannot be had here, or if none is needed and a folder is named.
    """
    wanted = text.get("hf_tokenizer_name")
    if not wanted:
        if folder:
            raise ValueError(f"backbone.tokenizer is {folder!r}, but {name} has CLIP's own tokeniser; leave it out")
        return _own(text["context_length"])
    where = folder or "the cache of the hub"
    try:
        mode, options = text.get("tokenizer_mode"), text.get("tokenizer_kwargs", {})
        foreign = HFTokenizer(
            folder or wanted, context_length=text["context_length"], tokenizer_mode=mode, local_files_only=True, **options
        )
    except ImportError as error:
        raise ValueError(
            f"backbone {name} needs the tokeniser {wanted}, and for it the package {error.name}: pip install 'petl-vtr[tokenizers]'"
        ) from error
    except Exception as error:  # the package raises what its many readers do
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(
            f"the tokeniser {wanted} of {name} cannot be read from {where} ({reason}); fetch it with `hf download {wanted}`, "
            "or put its files into a folder and set backbone.tokenizer to it"
        ) from error
    return Tokenizer(str(wanted), foreign, lambda captions: _lengths(foreign, captions), folder)


@functools.cache  # each reads 49,000 merges: a tenth of a second
def _own(context_length: int) -> Tokenizer:
    own = open_clip.SimpleTokenizer(context_length=context_length)
    return Tokenizer(OWN, own, lambda captions: [len(own.encode(caption)) + 2 for caption in captions])


def _lengths(foreign: HFTokenizer, captions: list[str]) -> list[int]:
    return [len(ids) for ids in foreign.tokenizer([foreign.clean_fn(caption) for caption in captions]).input_ids] if captions else []


def without_weights(model: Any) -> Tokenizer:
    """For an architecture of which shapes and gradients are asked: CLIP's own tokeniser, or numbers that stand for another one's words."""
    if model.vocab_size == WORDS:
        return _own(model.context_length)
    eos = int(model.text_eos_id)

    def numbered(captions: list[str], context_length: int) -> Tensor:
        ids = torch.zeros(len(captions), context_length, dtype=torch.long)
        for row, caption in enumerate(captions):
            words = [eos + 1 + zlib.crc32(word.encode()) % (model.vocab_size - eos - 1) for word in caption.split()][: context_length - 1]
            ids[row, : len(words) + 1] = torch.tensor([*words, eos])
        return ids

    return Tokenizer("numbers", numbered, lambda captions: [len(caption.split()) + 1 for caption in captions])
