"""Backbones that people start from: their sizes and what goes with their weights, as the table of docs/backbones.md."""

from functools import cache

import torch

from pipeline.clip import FrozenClip, build, loading
from pipeline.config.schema import Backbone
from pipeline.core.formatting import markdown, rewritten

CHOSEN = {
    "ViT-B-32-quickgelu": ("openai", "metaclip_fullcc"),
    "ViT-B-32": ("laion2b_s34b_b79k", "datacomp_xl_s13b_b90k"),
    "ViT-B-32-256": ("datacomp_s34b_b86k",),
    "ViT-B-16-quickgelu": ("openai", "metaclip_fullcc", "dfn2b"),
    "ViT-B-16": ("laion2b_s34b_b88k", "datacomp_xl_s13b_b90k"),
    "ViT-L-14-quickgelu": ("openai", "metaclip_fullcc", "dfn2b"),
    "ViT-L-14": ("laion2b_s32b_b82k", "datacomp_xl_s13b_b90k"),
    "ViT-H-14-quickgelu": ("metaclip_fullcc", "dfn5b"),
    "ViT-H-14-worldwide-quickgelu": ("metaclip2_worldwide",),
    "ViT-B-16-SigLIP": ("webli",),
    "ViT-B-32-SigLIP2-256": ("webli",),
    "ViT-B-16-SigLIP2": ("webli",),
    "ViT-L-16-SigLIP2-256": ("webli",),
    "ViT-SO400M-14-SigLIP2": ("webli",),
    "PE-Core-T-16-384": ("meta",),
    "PE-Core-S-16-384": ("meta",),
    "PE-Core-B-16": ("meta",),
    "PE-Core-L-14-336": ("meta",),
    "PE-Core-bigG-14-448": ("meta",),
    "EVA02-B-16": ("merged2b_s8b_b131k",),
    "EVA02-L-14": ("merged2b_s4b_b131k",),
    "MobileCLIP-B": ("datacompdr",),
    "MobileCLIP2-B": ("dfndr2b",),
}
MARKS = ("<!-- backbones: begin -->", "<!-- backbones: end -->")
HEAD = ("name", "weights", "pixels", "pictures", "words", "E", "all, M", "vision", "text", "token table", "fetched from")


def page(text: str) -> str:
    """`text` with the table between its two marks. ValueError if it has not both."""
    return rewritten(text, MARKS, generated())


def generated() -> str:
    """A row for each tag, as Markdown."""
    return markdown(HEAD, (cells(name, tag) for name, tags in CHOSEN.items() for tag in tags))


def cells(name: str, tag: str) -> tuple[str, ...]:
    """Name, weights, side and preprocessing of pictures, tokens of a caption, entries of a feature, parameters in millions, place."""
    pictures = loading.preprocessing(Backbone(name, tag))
    done = f"{pictures.resize}, {pictures.interpolation}, mean {', '.join(dict.fromkeys(f'{one:.2g}' for one in pictures.mean))}"
    place = loading.place(name, tag)
    shown = f"`{place}`" if "://" not in place else place
    size, words, width, *numbers = sizes(name)
    return f"`{name}`", f"`{tag}`", str(size), done, str(words), str(width), *(f"{number / 1e6:.1f}" for number in numbers), shown


@cache
def sizes(name: str) -> tuple[int, ...]:
    """Pixels of a side, words, entries of a feature; parameters of all, of vision, of text without the token table, and of that."""
    with torch.device("meta"):
        clip = FrozenClip(build(name), name=name)
    whole, vision = (sum(p.numel() for p in module.parameters()) for module in (clip.model, clip.model.visual))
    table = clip.model.token_embedding.weight.numel()
    return clip.image_size, clip.context_length, clip.embed_dim, whole, vision, whole - vision - table, table
