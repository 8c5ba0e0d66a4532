"""Tokenisers: open_clip's own, or one of Hugging Face, which comes with the weights and is read from this machine alone."""

import zlib
from collections.abc import Callable, Mapping
from typing import Any

import open_clip
import torch
from open_clip.tokenizer import HFTokenizer
from torch import Tensor

WORDS = 49408  # of CLIP's own tokeniser
Tokenizer = Callable[..., Tensor]  # (captions, context_length=words) -> token ids (B, words)


def load(text: Mapping[str, Any], *, name: str, folder: str) -> Tokenizer:
    """The tokeniser of an architecture by the `text` part of its configuration; a `folder` holds it where it is not in the hub's cache.

    ValueError if it cannot be had here, or if none is needed and a folder is named.
    """
    wanted = text.get("hf_tokenizer_name")
    if not wanted:
        if folder:
            raise ValueError(f"backbone.tokenizer is {folder!r}, but {name} has CLIP's own tokeniser; leave it out")
        tokenizer: Tokenizer = open_clip.SimpleTokenizer(context_length=text["context_length"])
        return tokenizer
    where = folder or "the cache of the hub"
    try:
        mode, options = text.get("tokenizer_mode"), text.get("tokenizer_kwargs", {})
        foreign: Tokenizer = HFTokenizer(
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
    return foreign


def without_weights(model: Any) -> Tokenizer:
    """For an architecture of which shapes and gradients are asked: CLIP's own tokeniser, or numbers that stand for another one's words."""
    if model.vocab_size == WORDS:
        own: Tokenizer = open_clip.SimpleTokenizer(context_length=model.context_length)
        return own
    eos = int(model.text_eos_id)

    def numbered(captions: list[str], context_length: int) -> Tensor:
        ids = torch.zeros(len(captions), context_length, dtype=torch.long)
        for row, caption in enumerate(captions):
            words = [eos + 1 + zlib.crc32(word.encode()) % (model.vocab_size - eos - 1) for word in caption.split()][: context_length - 1]
            ids[row, : len(words) + 1] = torch.tensor([*words, eos])
        return ids

    return numbered
