"""The schema of params.yaml: its keys, types, defaults and meaning.

A key that is not here is an error with a suggestion. A comment at a field is its documentation, a docstring that of its section:
`make docs` makes docs/configuration.md and the schema for editors of them. There is no second list.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from omegaconf import MISSING

from pipeline.config.parse import chosen, limited
from pipeline.core.layout import AUTO, CAPTIONS, CLIPS, FEATURES, FRAMES


@dataclass
class Run:
    """The runs to make: each method on each dataset, with each seed."""

    datasets: list[str] = MISSING  # `motion`, benchmarks (MSR-VTT, MSVD, LSMDC, DiDeMo, ActivityNet), and other names under `datasets`
    methods: list[str] = MISSING  # names under `methods`; those that are not listed are checked and not run
    seeds: list[int] = MISSING  # of initialisation, order and captions drawn; one training each


@dataclass
class Motion:
    """The embedded dataset `motion`: how many videos of which kind are rendered."""

    seed: int = 7  # from which all scenes are drawn
    train: int = limited(1500, least=2)  # videos
    val: int = limited(200, least=1)  # videos
    test: int = limited(300, least=1)  # videos
    objects: list[float] = field(default_factory=lambda: [0.6, 0.3, 0.1])  # shares of videos with one, two and three objects


@dataclass
class ClipFormat:
    """The canonical clip that every video is transcoded to: H.264 at a constant rate, a keyframe each second, no sound."""

    short_side: int = limited(224, least=16)  # pixels of the shorter side; an even number
    fps: int = limited(3, least=1)  # frames a second
    crf: int = 20  # x264's quality: 0 loses nothing, 51 is the worst; larger files with smaller numbers
    seconds: float = limited(0.0, least=0)  # at most the first so many seconds of a video or of its part; 0: all
    pixels: str = chosen(  # what becomes of pixels that are not square
        square="the picture is stretched to the shape that players show",
        stored="they are taken as if they were square, as the papers' code does",
    )


@dataclass
class Clips(ClipFormat):
    """The canonical clip that every video is transcoded to: H.264 at a constant rate, a keyframe each second, no sound."""

    shard: int = limited(200, least=1)  # videos that one job transcodes; changes no clip


@dataclass
class Frames:
    """The frames of a clip that every method sees."""

    number: int = limited(12, least=1)  # frames a video; a video with fewer is padded, and the padding masked
    size: int = limited(224, least=1)  # pixels a side: the backbone's image size
    grid: str = chosen(  # which frames of a clip (pipeline/video/grid.py)
        centres="the middle of each of `number` equal parts of the clip",
        clip4clip="one a second, then evenly from the first to the last of them",
        mv_adapter="one a second, then the first of each of `number` equal parts of them",
        xpool="the middle of `number` intervals of whole frames; the last frame is repeated, and nothing masked, where there are too few",
        tempme="one a second, thinned evenly; where there are too few, evenly from all frames",
    )


@dataclass
class Missing:
    """The largest share of a split's videos, from 0 to 1, that may be missing or broken; more stops the workflow."""

    train: float = 0.01  # of the training videos
    val: float = 0.0  # of the validation videos
    test: float = 0.0  # of the test videos


@dataclass
class Own:
    """The split of your own videos where captions.csv leaves it open: by a hash of `seed` and the name of the file."""

    seed: int = 0  # another one draws another split
    shares: list[float] = field(default_factory=lambda: [0.8, 0.1, 0.1])  # of training, validation and test videos


@dataclass
class Dataset:
    """One dataset: where it comes from, how it is prepared and read. A benchmark needs no entry. What params.yaml leaves out is its
    protocol's (pipeline/config/protocols.yaml), and only then the default here.
    """

    protocol: str = "default"  # or a paper's words, frames, clips and splits: `clip4clip`, `mv_adapter`, `vop` (docs/protocol.md)
    variant: str = ""  # of splits or captions, such as `1kB` of MSR-VTT (docs/protocol.md); empty: the dataset's first
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
        report="they are reported, and the run goes on",
    )
    videos: str = ""  # folder of video files that you have; empty: they are fetched where that is possible (docs/datasets.md)
    annotations: str = ""  # folder of the publisher's annotation files that you have; empty: they are fetched
    captions: str = ""  # CSV file with the captions of your own videos, which are in the folder `videos` (docs/adding-a-dataset.md)
    exclude: str = ""  # TSV file of videos to leave out, reviewed by you, with the columns `video_id` and `reason`
    mirrors: dict[str, str] = field(default_factory=dict)  # other addresses to fetch from, by the name of the source (docs/datasets.md)
    own: Own = field(default_factory=Own)
    words: int = limited(32, least=3)  # tokens that are read of a caption, start and end included; a longer one is cut
    clips: Clips = field(default_factory=Clips)
    frames: Frames = field(default_factory=Frames)
    missing: Missing = field(default_factory=Missing)


@dataclass
class Backbone:
    """The frozen CLIP that all methods adapt (docs/running.md)."""

    name: str = MISSING  # an architecture of open_clip with plain ViT towers, such as `ViT-B-32-quickgelu`; or `clip-tiny`
    weights: str = MISSING  # a pretrained tag of open_clip, such as `openai`, or a file (.pt, .safetensors)

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
    """The contrastive pretraining of `clip-tiny` on still pictures of the world of `motion`. Other backbones need none."""

    seed: int = 11  # of pictures and initial weights
    pairs: int = limited(80000, least=1)  # pictures with a caption, each seen once
    batch: int = limited(128, least=2)  # pairs a step
    words: int = limited(20, least=3)  # tokens that are read of a caption, start and end included
    lr: float = 1e-3  # the highest learning rate
    weight_decay: float = 0.05  # of weights of linear maps and convolutions
    warmup: float = 0.08  # share of the steps, from 0 to 1, in which the learning rate rises


@dataclass
class Train:
    """The training of all methods (docs/training.md). A recipe, and over it `methods.<name>.train`, changes single keys for one run."""

    epochs: int = limited(5, least=1)  # passes over the training videos
    batch: int = limited(32, least=2)  # pairs of a video and a caption a step, over all processes; each has all others as negatives
    lr: float = 1e-3  # the highest learning rate of what a method attaches
    clip_lr: float = 1e-5  # the highest learning rate of CLIP's own tensors, where a method trains them
    weight_decay: float = 0.2  # share by which tensors shrink a step, times the learning rate; `decay` says which
    betas: list[float] = field(default_factory=lambda: [0.9, 0.98])  # of the optimiser: how long its two averages remember, below 1
    eps: float = 1e-6  # of the optimiser: what its step's denominator is raised by
    warmup: float = 0.1  # share of the steps, from 0 to 1, in which the rates rise (`schedule`)
    clip_norm: float = 1.0  # the largest norm of the gradient of all tensors together; a longer one is scaled down to it
    captions: str = chosen(one="a caption drawn at random", all="each of its captions")  # captions of a video that an epoch takes
    select: str = chosen(last="the last one", best="the one with the highest R-Sum on validation")  # the epoch that is kept
    validate_every: int = limited(1, least=1)  # epochs from one validation to the next; the last epoch is always validated
    precision: str = chosen(  # what the towers compute in; similarities and loss stay float32
        "float32", "bfloat16", float16="with the loss scaled, and steps that overflow left out"
    )
    chunk: int = limited(0, least=0)  # pairs that go through the towers at once, for less memory; 0: all. The gradient is the same
    compile: bool = False  # compile the towers (torch.compile): the same numbers but for rounding
    tf32: bool = False  # round products of float32 matrices to TF32, on GPUs that have it: less exact, for speed
    deterministic: bool = True  # on GPUs only kernels whose sums have a fixed order: the same bits each time
    optimiser: str = chosen(  # the rule of a step
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
    half: bool = False  # round weights, gradients and moments of linear maps, convolutions and attention to float16; with bert_adam only
    gradient_gain: float = 1.0  # factor above 0 on every gradient before clipping; 0.125 is what averaging over 8 processes leaves
    store: str = chosen(  # what a run reads of videos (docs/caches.md); a number: what so many blocks of the vision tower made of them
        number="a number of blocks",
        **{
            AUTO: "the deepest store that the method allows",
            FRAMES: "sampled frames",
            CLIPS: "nothing is stored: clips are decoded anew in each epoch",
            FEATURES: "the features, after all blocks and the projection",
        },
    )
    text_store: str = chosen(  # what a run reads of captions; a number: what so many blocks of the text tower made of them
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
    """What frozen blocks make of videos and captions, which is stored once (docs/caches.md)."""

    dtype: str = chosen("float16", "float32", "bfloat16")  # the type of all tokens below the last block; from it on it is float32


@dataclass
class Machine:
    """Processes, GPUs and nodes. Nothing here changes a result (`gpus` and `nodes`: but for rounding), or makes a run stale."""

    workers: int = limited(-1, least=-1)  # processes that read ahead; -1: 2 on a GPU, none on a CPU, where they would take its cores
    save_every: int = limited(500, least=0)  # steps from one state to go on from to the next, besides the end of each epoch; 0: only that
    gpus: int = limited(1, least=1)  # GPUs of a node that share a training, a process each; `batch` counts the pairs of all
    nodes: int = limited(1, least=1)  # nodes of a cluster that share a training (docs/training.md)


@dataclass
class Search:
    """A search of the learning rates of each method: one short training for each gain, scored on validation."""

    gains: list[float] = field(default_factory=list)  # factors, above 0, on both `lr` and `clip_lr`; empty: no search
    epochs: int = limited(3, least=1)  # of each of these trainings
    seed: int = 100  # of these trainings; another one than those of `run`


@dataclass
class Score:
    """The confidence intervals of the metrics (docs/protocol.md)."""

    bootstrap: int = limited(2000, least=1)  # resamples of whole test videos with their captions
    confidence: float = 0.95  # share of the resamples that an interval holds, between 0 and 1
    seed: int = 0  # of the resamples


@dataclass
class Remotes:
    """The remotes that `dvc push` sends to (docs/dvc.md)."""

    data: str = ""  # the only remote for clips, captions, embeddings, pages with pictures; empty: DVC's default one, as for adapters


@dataclass
class Method:
    """One run. Its name is a method, or a method, `@` and a word: a recipe (docs/methods.md), or another setting of yours."""

    config: dict[str, Any] = field(default_factory=dict)  # hyper-parameters of the method, over those of its recipe (docs/methods.md)
    train: dict[str, Any] = field(default_factory=dict, metadata={"keys_of": Train})  # keys of `train`, over those of its recipe
    seeds: list[int] | None = None  # of this run, where they are not those of `run`


@dataclass
class Params:
    """The whole of params.yaml."""

    run: Run = field(default_factory=Run)
    motion: Motion = field(default_factory=Motion)
    datasets: dict[str, Dataset] = field(default_factory=dict)
    backbone: Backbone = field(default_factory=Backbone)
    pretrain: Pretrain = field(default_factory=Pretrain)
    train: Train = field(default_factory=Train)
    methods: dict[str, Method] = MISSING
    cache: Cache = field(default_factory=Cache)
    machine: Machine = field(default_factory=Machine)
    search: Search = field(default_factory=Search)
    score: Score = field(default_factory=Score)
    method: str = ""  # one of `run.methods`, whose metrics `dvc metrics diff` compares between revisions; empty: none
    remotes: Remotes = field(default_factory=Remotes)
    device: str = "auto"  # what computes: `cpu`, `cuda`, one GPU as `cuda:1`, or `auto`: a GPU that is free, the CPU where there is none
