"""Architectures as data: the names of a tower's parts in other libraries, where a tower begins, how it is read and where it ends.

Everything outside `clip/` knows open_clip's names alone, as its plain ViT has them: `arrange` gives a tower of timm these names, and
`renamed` a file of its weights. Shapes: N rows, L tokens, P patches, D width, E embedding.
"""

import re
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.clip.blocks import Attention, Block, Gated, Pool, Trunk, mlp
from pipeline.clip.kept_once import LayerNorm
from pipeline.clip.tower import Flow

State = dict[str, Tensor]

# From timm's names, and those of a text tower that is a module of its own, to open_clip's, one after the other.
RENAMED = (
    (r"^text\.", ""),
    (r"^visual\.trunk\.patch_embed\.(proj|backbone)\.", "visual.conv1."),
    (r"^visual\.trunk\.cls_token$", "visual.class_embedding"),
    (r"^visual\.trunk\.pos_embed$", "visual.positional_embedding"),
    (r"^visual\.trunk\.norm_pre\.", "visual.ln_pre."),
    (r"^visual\.trunk\.blocks\.", "visual.transformer.resblocks."),
    (r"^visual\.trunk\.norm\.", "visual.ln_post."),
    (r"^visual\.trunk\.head\.", "visual.proj."),
    (r"^visual\.trunk\.attn_pool\.latent$", "visual.attn_pool.query"),
    (r"^visual\.trunk\.attn_pool\.(q|kv|proj)\.", r"visual.attn_pool.attn.\1."),
    (r"^visual\.trunk\.attn_pool\.norm\.", "visual.attn_pool.ln_2."),
    (r"^visual\.trunk\.attn_pool\.", "visual.attn_pool."),
    (r"^(visual\..*)\.norm([12])\.", r"\1.ln_\2."),
    (r"^(visual\..*)\.(ls([12])\.gamma|gamma_([12]))$", r"\1.ls_\3\4.gamma"),
    (r"^(visual\..*)\.attn\.norm\.", r"\1.attn.ln_inner."),
    (r"^(visual\..*)\.attn\.proj\.", r"\1.attn.out_proj."),
    (r"^(visual\..*)\.attn\.qkv\.(weight|bias)$", r"\1.attn.in_proj_\2"),
    (r"^(visual\..*)\.attn\.(q|kv|[qkv]_proj)\.(weight|bias)$", r"\1.attn.in_proj_\3:\2"),
    (r"^(visual\..*)\.attn\.([qv])_bias$", r"\1.attn.in_proj_bias:\2"),
    (r"^(visual\..*)\.mlp\.norm\.", r"\1.mlp.gelu.ln_inner."),
    (r"^(visual\..*)\.mlp\.fc1\.", r"\1.mlp.c_fc."),
    (r"^(visual\..*)\.mlp\.fc1_([gx])\.(weight|bias)$", r"\1.mlp.c_fc.\3:\2"),
    (r"^(visual\..*)\.mlp\.fc2\.", r"\1.mlp.c_proj."),
)
VECTORS = ("visual.class_embedding", "visual.attn_pool.query")  # which timm keeps as (1, 1, D)
FOREIGN = ("visual.trunk.", "text.")  # what such names begin with


def respelt(name: str, table: tuple[tuple[str, str], ...]) -> str:
    """A name after all replacements of a table, one after the other."""
    return reduce(lambda said, row: re.sub(row[0], row[1], said), table, name)


def renamed(state: State) -> State:
    """Tensors by open_clip's names, those joined that are one tensor there: queries, keys and values; gates and values of a gated MLP."""
    found: dict[str, dict[str, Tensor]] = {}
    for name, value in state.items():
        whole, _, part = respelt(name, RENAMED).partition(":")
        found.setdefault(whole, {})[part] = value
    return {name: _shaped(name, _joined(parts)) for name, parts in found.items()}


def _joined(parts: dict[str, Tensor]) -> Tensor:
    rows = [parts[part] for part in ("", "q", "q_proj", "k_proj", "kv", "v", "v_proj", "g", "x") if part in parts]
    return rows[0] if len(rows) == 1 else torch.cat(rows)


def _shaped(name: str, value: Tensor) -> Tensor:
    if name in VECTORS and value.ndim == 3:
        return value[0, 0]
    return value[0] if name == "visual.positional_embedding" and value.ndim == 3 else value


def arrange(model: Any, name: str) -> None:
    """Give the vision tower of `model`, which is timm's, open_clip's names. ValueError for one that does more than is arranged here."""
    foreign = model.visual
    if why := _odd(foreign):
        raise ValueError(f"backbone {name}: {why}, which the block loop does not reproduce; use a plain ViT, SigLIP or PE-Core")
    state = renamed({f"visual.{key}": value for key, value in foreign.state_dict().items()})
    with torch.device("meta"):
        visual = _like(foreign)
    visual.load_state_dict({key.removeprefix("visual."): value for key, value in state.items()}, assign=True)
    if getattr(foreign.trunk, "rope", None) is not None:
        visual.rotary = foreign.trunk.rope.get_embed()
    model.visual = visual


def _odd(foreign: Any) -> str:
    """The part of a tower of timm that `_like` does not know, "" for none."""
    trunk = foreign.trunk
    blocks = list(trunk.blocks) if hasattr(trunk, "blocks") else []
    if not blocks or not hasattr(trunk, "attn_pool") or getattr(trunk, "pos_embed", None) is None:
        return f"its vision tower is a {type(trunk).__name__} of timm, no plain ViT"
    if trunk.attn_pool is None and trunk.global_pool != "token":
        return f"its vision tower is read by {trunk.global_pool!r} pooling"
    kinds = {
        "blocks": {type(block).__name__ for block in blocks} - {"Block", "EvaBlock"},
        "attention": {type(block.attn).__name__ for block in blocks} - {"Attention", "AttentionRope", "EvaAttention"},
        "MLPs": {type(block.mlp).__name__ for block in blocks} - {"Mlp", "SwiGLU"},
        "pooling": {type(trunk.attn_pool).__name__} - {"NoneType", "AttentionPoolLatent"},
        "rotary positions": {type(getattr(trunk, "rope", None)).__name__} - {"NoneType", "RotaryEmbeddingCat"},
    }
    for what, names in kinds.items():
        if names:
            return f"its vision tower has {what} of the kind {', '.join(sorted(names))}"
    return _oddities(foreign, blocks)


def _oddities(foreign: Any, blocks: list[Any]) -> str:
    """The same of settings of known modules."""
    trunk = foreign.trunk
    attn = [block.attn for block in blocks]
    odd = {
        "a projection behind its pooling": len(foreign.head) > 0,
        "register tokens": trunk.num_prefix_tokens > 1,
        "a norm behind its pooling": not isinstance(trunk.fc_norm, nn.Identity),
        "norms of queries and keys": any(not isinstance(one.q_norm, nn.Identity) for one in attn),
        "gated attention": any(getattr(one, "gate", None) is not None for one in attn),
        "another order of rotary channels": any(getattr(one, "rotate_half", False) for one in attn),
        "a non-square image": len(set(foreign.image_size)) != 1,
    }
    return next((f"its vision tower has {what}" for what, present in odd.items() if present), "")


def _like(foreign: Any) -> Trunk:
    """An empty tower of the same parts and sizes."""
    trunk = foreign.trunk
    stem = trunk.patch_embed
    visual = Trunk(
        stem.backbone if hasattr(stem, "backbone") else stem.proj,
        [_block(block) for block in trunk.blocks],
        image_size=foreign.image_size,
        positions=trunk.pos_embed.shape[1],
        cls=trunk.cls_token is not None,
    )
    visual.patch_positions = bool(trunk.no_embed_class)
    visual.ln_pre, visual.ln_post = _norm(trunk.norm_pre), _norm(trunk.norm)
    if trunk.attn_pool is not None:
        pool = trunk.attn_pool
        attn = Attention(trunk.embed_dim, heads=pool.num_heads, biases=3 * trunk.embed_dim)
        visual.attn_pool = Pool(attn, _mlp(pool.mlp), norm=_norm(pool.norm))
    if isinstance(trunk.head, nn.Linear):
        visual.proj = nn.Linear(trunk.head.in_features, trunk.head.out_features, bias=trunk.head.bias is not None)
    return visual


def _block(block: Any) -> Block:
    attn = block.attn
    biases = sum(p.numel() for name, p in attn.named_parameters() if re.fullmatch(r"qkv\.bias|[qv]_bias|[qkv]_proj\.bias", name))
    inner = None if isinstance(attn.norm, nn.Identity) else attn.norm.eps
    return Block(
        Attention(attn.proj.out_features, heads=attn.num_heads, biases=biases, inner=inner),
        _mlp(block.mlp),
        norms=(_norm(block.norm1), _norm(block.norm2)),
        scales=(_scaled(block, 1), _scaled(block, 2)),
    )


def _scaled(block: Any, branch: int) -> bool:
    """Whether a branch has gains: an Identity where timm's block has none, or None in EVA's."""
    gain = getattr(block, f"ls{branch}", getattr(block, f"gamma_{branch}", None))
    return not (gain is None or isinstance(gain, nn.Identity))


def _norm(norm: nn.Module) -> nn.Module:
    return LayerNorm(norm.normalized_shape, eps=norm.eps) if isinstance(norm, nn.LayerNorm) else nn.Identity()


def _mlp(inside: Any) -> nn.Sequential:
    inner, eps = inside.fc2.in_features, getattr(inside.norm, "eps", None)
    gated = hasattr(inside, "fc1_g")
    return mlp(inside.fc2.out_features, inner, activation=Gated(inner, eps=eps) if gated else inside.act)


def begin(visual: Any, pixels: Tensor) -> Tensor:
    """Normalised pixels (N, 3, H, W) -> tokens (N, L, D) as the hooks of the embedding see them: before `ln_pre`."""
    tokens: Tensor = visual.conv1(pixels).flatten(2).transpose(1, 2)
    positions: Tensor = visual.positional_embedding
    if visual.class_embedding is None:
        return tokens + positions
    first = visual.class_embedding.expand(tokens.shape[0], 1, -1)
    if _patch_positions(visual):
        return torch.cat([first, tokens + positions], dim=1)
    return torch.cat([first, tokens], dim=1) + positions


def read(visual: Any, tokens: Tensor, flow: Flow) -> Tensor:
    """Tokens (N, L, D) after all blocks -> the one vector (N, D) that is read on: CLS, or the pool of the normalised tokens.

    A pool reads what CLIP's own tokens have become; prompts that have come as far stand between CLS and the patches, and are left out.
    """
    if not pooled(visual):
        return tokens[:, 0]
    cls = 0 if visual.class_embedding is None else 1
    if tokens.shape[1] > cls + flow.patches:
        tokens = torch.cat([tokens[:, :cls], tokens[:, -flow.patches :]], dim=1)
    out: Tensor = visual.attn_pool(visual.ln_post(tokens))
    return out


def end(visual: Any, seen: Tensor) -> Tensor:
    """The vectors read from a tower (N, D) -> features (N, E): the last norm, where no pool has applied it, and the projection."""
    return project(seen if pooled(visual) else visual.ln_post(seen), visual.proj)


def project(x: Tensor, projection: Any) -> Tensor:
    """(N, D) -> (N, E) by a matrix (D, E), by a linear map, or not at all."""
    if projection is None:
        return x
    out: Tensor = projection(x) if isinstance(projection, nn.Module) else x @ projection
    return out


def patches(visual: Any) -> int:
    """How many tokens of a frame are its patches, which are the last ones."""
    rows = len(visual.positional_embedding)
    return rows if visual.class_embedding is None or _patch_positions(visual) else rows - 1


def _patch_positions(visual: Any) -> bool:
    """Whether CLS has no position of its own."""
    return bool(getattr(visual, "patch_positions", False))


def embed_dim(model: Any) -> int:
    """E, as the text tower gives it: of its projection, or its width without one."""
    projection = model.text_projection
    if isinstance(projection, nn.Linear):
        return projection.out_features
    return int(model.ln_final.weight.shape[0] if projection is None else projection.shape[1])


def pooled(visual: Any) -> bool:
    """Whether attention over all tokens reads the tower, and not its CLS token."""
    return getattr(visual, "attn_pool", None) is not None


def read_at(ids: Tensor, model: Any) -> Tensor:
    """The place of the token that is read in each caption (B, L): of the largest id, of the first end of text, or the last one."""
    if model.text_pool_type == "last":
        return torch.full((len(ids),), ids.shape[1] - 1, device=ids.device)
    if model.text_pool_type == "eos":
        return (ids == int(model.text_eos_id)).int().argmax(dim=1)
    return ids.argmax(dim=1)


def whole_rows(model: Any) -> bool:
    """Whether what follows a caption is read too, so that texts must be as long as in training: SigLIP's have no mask, and no end."""
    return model.attn_mask is None or model.text_pool_type == "last"
