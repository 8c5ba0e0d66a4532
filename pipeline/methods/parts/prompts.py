"""Prompt tokens: learned rows that a tower reads beside its own tokens. P prompts, D width."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pipeline.clip import FrozenClip
from pipeline.clip.tower import Flow, TokenHook, Tower
from pipeline.methods.parts.masks import causal


def normal(*shape: int, std: float) -> nn.Parameter:
    """A table drawn from N(0, std^2)."""
    return nn.Parameter(torch.empty(*shape).normal_(std=std))


def insert(tokens: Tensor, prompts: Tensor, *, at: int) -> Tensor:
    """Tokens (N, L, D) and prompts (P, D) or (N, P, D) -> (N, L+P, D) of the tokens' type, the prompts from position `at` on."""
    rows = prompts.to(tokens.dtype).expand(len(tokens), -1, -1)
    return torch.cat([tokens[:, :at], rows, tokens[:, at:]], dim=1)


def drop(tokens: Tensor, *, at: int, number: int) -> Tensor:
    """The inverse of `insert`: the outputs of prompts are discarded."""
    return torch.cat([tokens[:, :at], tokens[:, at + number :]], dim=1)


def entry(tower: Tower, layer: int) -> list[TokenHook]:
    """The hooks where tokens enter a layer; for the first these are the embedding's, so that what they add is normalised and placed too."""
    return tower.hooks[layer].before if layer else tower.embedding


def prompt_text(clip: FrozenClip, prompts: Tensor, *, head: int, num_words: int) -> None:
    """Prompts (layers, P, D) for the first layers: `head` of them after start-of-text, the rest before the last slot of the row.

    The first layer's prompts receive CLIP's positions, so the words move up by `head`. Outputs of prompts are discarded where the
    next layer has its own; the last ones flow on to the top. The token read is P after the caption's end-of-text index: the end of
    text itself when all prompts are at the head. Where captions always fill the context, the first layer's have no positions either.
    ValueError if words and prompts do not fit the context.
    """
    layers, number = prompts.shape[:2]
    room = clip.context_length - number
    if num_words > room and not clip.text.whole_rows:
        raise ValueError(
            f"{num_words} words and {number} text prompts do not fit the {clip.context_length} tokens of {clip.name}; "
            f"set dataset.words to at most {room}"
        )

    def put(layer: int) -> TokenHook:
        def change(tokens: Tensor, flow: Flow) -> Tensor:
            tokens = insert(tokens, prompts[layer, head:], at=tokens.shape[1] - 1)
            return insert(tokens, prompts[layer, :head], at=1)

        return change

    def move_read(tokens: Tensor, flow: Flow) -> Tensor:
        flow.read = flow.read + number
        return tokens

    def discard(tokens: Tensor, flow: Flow) -> Tensor:
        tokens = drop(tokens, at=1, number=head)
        return drop(tokens, at=tokens.shape[1] - 1 - (number - head), number=number - head)

    clip.text.embedding.append(move_read)
    (clip.text.hooks[0].before if clip.text.whole_rows else clip.text.embedding).append(put(0))
    for layer in range(1, layers):
        clip.text.hooks[layer - 1].after.append(discard)
        clip.text.hooks[layer].before.append(put(layer))


def prompt_upper_text(clip: FrozenClip, prompts: Callable[[int], Tensor], *, number: int, last_blocks: int | None, tail: int = 0) -> None:
    """`number` prompts (P, D) after start-of-text in the last blocks, made for each layer by its row, of which -1 is the last block's.

    The last `tail` of them stand at the end of the row instead. Like all prompts that do not pass the embedding they have no positions,
    so any caption has room. Their outputs are discarded behind every block, the last one too: the token that is read stays where it is.
    """
    head = number - tail

    def put(row: int) -> TokenHook:
        def change(tokens: Tensor, flow: Flow) -> Tensor:
            made = prompts(row)
            tokens = insert(tokens, made[head:], at=tokens.shape[1]) if tail else tokens
            return insert(tokens, made[:head], at=1)

        return change

    def discard(tokens: Tensor, flow: Flow) -> Tensor:
        return drop(tokens[:, : tokens.shape[1] - tail], at=1, number=head)

    blocks = clip.text.last(last_blocks)
    for row, (_, _, hooks) in enumerate(blocks, start=-len(blocks)):
        hooks.before.append(put(row))
        # The flow's has the length of the plain caption.
        hooks.mask = lambda tokens, flow: None if flow.attn_mask is None else causal(tokens)
        hooks.after.append(discard)
