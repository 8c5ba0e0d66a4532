"""The schema of params.yaml: its keys, types, defaults and meaning.

A key that is not here is an error with a suggestion. A comment after a field is its documentation; there is no second list.
"""

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import MISSING

from pipeline.config.parse import chosen, limited, parse

T = TypeVar("T")

# What a run reads of videos and captions, as `store` and `text_store` name it; besides, a number of blocks.
AUTO, FRAMES, CLIPS, CAPTIONS, FEATURES = "auto", "frames", "clips", "captions", "all"


@dataclass
class Run:
    """What `snakemake` and `dvc repro` compute."""

    datasets: list[str] = MISSING
    methods: list[str] = MISSING  # keys of `methods` below
    seeds: list[int] = MISSING


@dataclass
class Motion:
    """The embedded dataset: how many clips of which kind to render."""

    seed: int = 7
    train: int = limited(1500, least=2)
    val: int = limited(200, least=1)
    test: int = limited(300, least=1)
    objects: list[float] = field(default_factory=lambda: [0.6, 0.3, 0.1])  # share of clips with one, two, three objects


@dataclass
class Clips:
    """The canonical video: H.264 at a constant rate with a short GOP and no audio."""

    short_side: int = limited(224, least=16)  # pixels
    fps: int = limited(3, least=1)
    crf: int = 20
    seconds: float = limited(0.0, least=0)  # at most the first so many seconds of a video or segment; 0: all
    pixels: str = chosen(  # what becomes of pixels that are not square
        square="the picture is stretched to the shape that players show",
        stored="they are taken as if they were square, as the papers' code does",
    )
    shard: int = limited(200, least=1)  # videos a job


@dataclass
class Frames:
    """The frames every method sees."""

    number: int = limited(12, least=1)
    size: int = limited(224, least=1)  # pixels; the backbone's image size
    grid: str = chosen(  # which frames of a clip (pipeline/video/grid.py)
        centres="the middle of each of `number` equal parts of the clip",
        clip4clip="one a second, then evenly from the first to the last of them",
        mv_adapter="one a second, then the first of each of `number` equal parts of them",
        xpool="the middle of `number` intervals of whole frames; the last frame is repeated, and nothing masked, where there are too few",
        tempme="one a second, thinned evenly; where there are too few, evenly from all frames",
    )


@dataclass
class Missing:
    """The largest share of a split's videos that may be missing or broken before the run stops."""

    train: float = 0.01
    val: float = 0.0
    test: float = 0.0


@dataclass
class Own:
    """How videos of your own are split where captions.csv does not say it: by a hash of `seed` and the name of the file."""

    seed: int = 0
    shares: list[float] = field(default_factory=lambda: [0.8, 0.1, 0.1])  # of train, val, test


@dataclass
class Dataset:
    """How one dataset is got, prepared and read. What params.yaml leaves out is its protocol's (pipeline/config/protocols.yaml)."""

    protocol: str = "default"  # one of pipeline/config/protocols.yaml: frames, words and splits as a paper has them
    variant: str = ""  # of splits or captions: the dataset's file in pipeline/datasets/ names them; "" is its first
    validation: str = chosen(  # what becomes of the official validation videos
        clean="they are held out of training",
        paper="they are trained on as well, as papers do; then nothing may be chosen on them",
    )
    captions_as: str = chosen(  # what one caption is
        published="a sentence as it comes",
        paragraph="all sentences of a video joined in their order, for datasets that have one",
    )
    counts: str = chosen(  # what other numbers of videos and captions than the publisher's do
        **{"assert": "they stop the run"},
        report="they are printed, and the run goes on",
    )
    videos: str = ""  # folder of video files that you have; without it they are fetched where that is possible
    annotations: str = ""  # folder of the publisher's annotation files that you have; without it they are fetched
    captions: str = ""  # captions.csv of your own videos
    exclude: str = ""  # TSV of videos to leave out, reviewed by you: video_id, reason
    mirrors: dict[str, str] = field(default_factory=dict)  # name of a source -> another address
    own: Own = field(default_factory=Own)
    words: int = limited(32, least=3)  # tokens a caption, start and end included
    clips: Clips = field(default_factory=Clips)
    frames: Frames = field(default_factory=Frames)
    missing: Missing = field(default_factory=Missing)


@dataclass
class Backbone:
    """`weights`: a pretrained tag of open_clip, or a file (.pt, .safetensors)."""

    name: str = MISSING
    weights: str = MISSING

    @property
    def file(self) -> Path | None:
        """The weights if they are a file, which has an ending; a tag of open_clip has none."""
        path = Path(self.weights)
        return path if path.suffix else None

    def seen_from(self, folder: Path) -> "Backbone":
        """The same where a file is named as it is in `folder`."""
        return replace(self, weights=str(folder / self.file)) if self.file else self


@dataclass
class Pretrain:
    """Contrastive pretraining of clip-tiny on still pictures of the motion world."""

    seed: int = 11
    pairs: int = limited(80000, least=1)  # pictures with a caption, each seen once
    batch: int = limited(128, least=2)
    words: int = limited(20, least=3)
    lr: float = 1e-3
    weight_decay: float = 0.05
    warmup: float = 0.08  # share of the steps


@dataclass
class Train:
    """One trainer for all methods; a method overrides what differs."""

    epochs: int = limited(5, least=1)
    batch: int = limited(32, least=2)
    lr: float = 1e-3  # of attached modules
    clip_lr: float = 1e-5  # of CLIP's own tensors, where a method trains them
    weight_decay: float = 0.2  # of the tensors that `decay` names
    betas: list[float] = field(default_factory=lambda: [0.9, 0.98])
    eps: float = 1e-6
    warmup: float = 0.1  # share of the steps
    clip_norm: float = 1.0  # global norm of the gradient
    captions: str = chosen(one="drawn at random", all="of them, each with its video")  # captions of a video in an epoch
    select: str = chosen(last="the last one", best="the one with the highest R-Sum both ways on validation")  # the epoch that is kept
    validate_every: int = limited(1, least=1)  # epochs; the last one is always validated
    precision: str = chosen(  # what the towers compute in; similarities and loss stay float32
        "float32", "bfloat16", float16="with the loss scaled, and steps that overflow left out"
    )
    chunk: int = limited(0, least=0)  # pairs whose towers are computed at once; 0: all. Less memory, half more time, the same gradient
    compile: bool = False  # torch.compile the towers: the same numbers but for rounding
    tf32: bool = False  # products of float32 matrices in TF32, on GPUs that have it
    deterministic: bool = True  # kernels whose sums have a fixed order, on GPUs
    optimiser: str = chosen(
        adamw="AdamW of torch",
        bert_adam="that of CLIP4Clip: moments not corrected for their start, each tensor's gradient clipped to norm 1 as well",
    )
    schedule: str = chosen(  # the factor on both rates
        cosine="linear warm-up to 1, then a whole cosine to 0",
        bert="the cosine over all steps, with a line from 0 in place of its first `warmup`: the first step moves nothing",
    )
    decay: str = chosen(  # what `weight_decay` applies to
        matrices="weights of linear maps and convolutions",
        all="every trained tensor but the logit scale",
        released="what is attached but its biases, and all trained tensors of CLIP",
    )
    half: bool = False  # weights of linear maps, convolutions, attention rounded to float16, with gradients and moments; bert_adam only
    gradient_gain: float = 1.0  # on every gradient before clipping; 0.125 is what slicing, then averaging over 8 processes leaves
    store: str = chosen(  # what is read of videos: what so many frozen blocks of the vision tower made of them, or one of these words
        number="a number of blocks",
        **{
            AUTO: "the deepest store that the method allows",
            FRAMES: "sampled frames",
            CLIPS: "nothing is stored: clips are decoded anew in each epoch",
            FEATURES: "the features, after all blocks and the projection",
        },
    )
    text_store: str = chosen(  # the same of captions and the text tower
        number="a number of blocks",
        **{
            AUTO: "the deepest store that the method allows",
            CAPTIONS: "captions as text",
            FEATURES: "the features, after all blocks and the projection",
        },
    )
    checkpointing: bool = False  # compute each block again in the backward pass: less memory, more time, the same numbers


@dataclass
class Cache:
    """What frozen towers make of videos and captions is stored once (docs/caches.md)."""

    dtype: str = chosen("float16", "float32", "bfloat16")  # of all tokens below the last block; from it on always float32


@dataclass
class Machine:
    """How a machine gets through it. Nothing here changes a result (`gpus` and `nodes`: but for rounding), or makes a run stale."""

    workers: int = limited(-1, least=-1)  # processes that read ahead; -1: 2 on a GPU, none on a CPU, where they would take its cores
    save_every: int = limited(500, least=0)  # steps between two states to go on from, besides the end of each epoch; 0: none
    gpus: int = limited(1, least=1)  # processes that share a training on a node, a GPU each; `batch` stays what it is, all together
    nodes: int = limited(1, least=1)  # of a cluster that share a training


@dataclass
class Search:
    """A search of learning rates: the same factor on lr and clip_lr."""

    gains: list[float] = field(default_factory=list)  # each tried by one short training scored on validation; empty: no search
    epochs: int = limited(3, least=1)
    seed: int = 100


@dataclass
class Score:
    """How metrics are made certain."""

    bootstrap: int = limited(2000, least=1)  # resamples of the queries
    confidence: float = 0.95
    seed: int = 0


@dataclass
class Remotes:
    """Where `dvc push` sends what."""

    data: str = ""  # the only remote for clips, captions, embeddings, pages with pictures; "": the default one, as for adapters


@dataclass
class Method:
    """One run: the hyper-parameters of its method, and what differs from `train`. Both override its recipe, if it has one."""

    config: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=dict)
    seeds: list[int] | None = None  # of this run, where they are not those of `run`


@dataclass
class Params:
    """The whole of params.yaml."""

    run: Run = field(default_factory=Run)
    motion: Motion = field(default_factory=Motion)
    datasets: dict[str, Dataset] = field(default_factory=dict)  # a benchmark that is run needs no entry
    backbone: Backbone = field(default_factory=Backbone)
    pretrain: Pretrain = field(default_factory=Pretrain)
    train: Train = field(default_factory=Train)
    methods: dict[str, Method] = MISSING
    cache: Cache = field(default_factory=Cache)
    machine: Machine = field(default_factory=Machine)
    search: Search = field(default_factory=Search)
    score: Score = field(default_factory=Score)
    method: str = ""  # one of run.methods, whose metrics are also written to metrics/selected.json
    remotes: Remotes = field(default_factory=Remotes)
    device: str = "auto"  # auto, cpu, cuda, cuda:1 ...


def from_json(schema: type[T], text: str, *, where: str) -> T:
    """The part of the configuration that a rule hands to its stage on the command line."""
    return parse(schema, json.loads(text), where=where)


def only(entry: Dataset, *fields: str) -> Dataset:
    """A dataset's settings with the defaults in all but these fields."""
    return Dataset(**{name: getattr(entry, name) for name in fields})


def to_json(part: Any) -> str:
    """The inverse of `from_json`, with sorted keys, so that equal settings are equal text."""
    return json.dumps(asdict(part), sort_keys=True)
