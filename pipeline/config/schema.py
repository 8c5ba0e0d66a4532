"""The schema of params.yaml: its keys, types, defaults and meaning; those of datasets are in dataset.py.

A key that is not here is an error with a suggestion. A comment at a field is its documentation, a docstring that of its section:
`make docs` makes docs/configuration.md and the schema for editors of them. There is no second list.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from omegaconf import MISSING

from pipeline.config.dataset import Dataset, Motion
from pipeline.config.parse import LATER, chosen, later, limited
from pipeline.core.layout import AUTO, CAPTIONS, CLIPS, FEATURES, FRAMES


@dataclass
class Run:
    """The runs to make: each method on each dataset, with each seed."""

    datasets: list[str] = MISSING  # `motion`, benchmarks (docs/datasets.md), and other names under `datasets`
    methods: list[str] = MISSING  # names under `methods`; those that are not listed are checked and not run
    seeds: list[int] = MISSING  # of initialisation, order and captions drawn; one training each
    transfer: list[str] = field(default_factory=list)  # more datasets that each run is tested on, without training (docs/protocol.md)


@dataclass
class Backbone:
    """The frozen CLIP that all methods adapt (docs/running.md)."""

    name: str = MISSING  # an architecture of open_clip, such as `ViT-B-32-quickgelu`; or `clip-tiny`, `clip-tiny-siglip`, `clip-tiny-pe`
    weights: str = MISSING  # a pretrained tag of open_clip, such as `openai`, or a file: its path, with an ending or a slash
    mean: list[float] | None = field(default=None, metadata=LATER)  # of red, green and blue in training, 0 to 1; none: that of the tag
    std: list[float] | None = field(default=None, metadata=LATER)  # their deviation; none: that of the tag
    resize: str = later(  # what `frames.resize` has to be
        chosen(auto="that of the tag; of a file, what all tags of its architecture say, else `crop`", crop="", squash="")
    )
    interpolation: str = later(  # what `frames.interpolation` has to be
        chosen(auto="as for `resize`, else `bicubic`", bicubic="", bilinear="")
    )
    tokenizer: str = field(default="", metadata=LATER)  # folder of the Hugging Face tokeniser that some need; empty: the hub's cache has it

    @property
    def file(self) -> Path | None:
        """The weights if they are a file, whose path has an ending or a slash; a tag of open_clip has neither."""
        path = Path(self.weights)
        return path if path.suffix or "/" in self.weights else None

    def seen_from(self, folder: Path) -> "Backbone":
        """The same where files are named as they are in `folder`."""
        own = replace(self, tokenizer=str(folder / self.tokenizer)) if self.tokenizer else self
        return replace(own, weights=self.path(folder / self.file)) if self.file else own

    @staticmethod
    def path(file: Path) -> str:
        """A file as `weights` names it: its name alone, without an ending, would be a tag."""
        return str(file) if file.suffix or len(file.parts) > 1 else f"./{file}"


@dataclass
class Pretrain:
    """The contrastive pretraining of `clip-tiny` and its sisters on still pictures of the world of `motion`. Other backbones need none."""

    seed: int = 11  # of pictures and initial weights
    pairs: int = limited(80000, least=1)  # pictures with a caption, each seen once
    batch: int = limited(128, least=2)  # pairs a step
    words: int = limited(20, least=3)  # tokens that are read of a caption, start and end included; all of the context where padding is read
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
    loss: str = later(  # over the similarities of a batch
        chosen(softmax="each caption finds its video among all of the batch, and back", sigmoid="each pair is judged alone, as SigLIP was")
    )
    precision: str = chosen(  # what the towers compute in, to train, to validate and to embed; features, similarities and loss are float32
        auto="bfloat16 on a GPU that has it, float32 elsewhere",
        float32="",
        bfloat16="frozen weights and the tokens between the blocks are stored so, too",
        float16="with the loss scaled, and steps that overflow left out",
    )
    chunk: int = limited(0, least=0)  # pairs that go through the towers at once, also to be embedded; 0: all. The gradient is the same
    compile: bool = False  # compile the towers (torch.compile): the same numbers but for rounding
    tf32: bool = False  # round products of float32 matrices to TF32, on GPUs that have it: less exact, for speed
    deterministic: bool = True  # on GPUs only kernels whose sums have a fixed order: the same bits each time, or an error without one
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
    """Outputs of frozen blocks for videos and captions, stored once (docs/caches.md)."""

    dtype: str = chosen("float16", "float32", "bfloat16")  # the type of all tokens below the last block; from it on it is float32
    precision: str = chosen(  # what frozen blocks compute in, for all runs that read the store
        auto="bfloat16 on a GPU that has it, float32 elsewhere", float32="", bfloat16=""
    )


@dataclass
class Machine:
    """Processes, GPUs and nodes. Nothing here changes a result (`gpus` and `nodes`: but for rounding), or makes a run stale."""

    workers: int = limited(-1, least=-1)  # processes that read ahead; -1: on a GPU its share of the cores, up to 6; none on a CPU
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
class Gallery:
    """A part of one dataset's test set that others rank: a second block of a run's metrics, and a table of its own (docs/protocol.md)."""

    dataset: str = MISSING  # of `run.datasets`, or another one
    file: str = MISSING  # with ids of test videos: one a line, JSON's list, or an object of such lists
    part: str = ""  # the list of an object, such as `debiased`
    ranked: str = chosen(  # what the listed videos are
        queries="their captions ask, and all test videos are the gallery, as in UTD's code; they ask for captions in turn",
        gallery="they are the gallery, and their captions ask, as in subsets such as MVEB's",
    )


@dataclass
class Score:
    """The confidence intervals of the metrics, and what else is scored beside the whole test set (docs/protocol.md)."""

    bootstrap: int = limited(2000, least=1)  # resamples of whole test videos with their captions
    confidence: float = 0.95  # share of the resamples that an interval holds, between 0 and 1
    seed: int = 0  # of the resamples
    transductive: bool = field(default=False, metadata=LATER)  # dual softmax and querybank in a section of their own (docs/protocol.md)
    galleries: dict[str, Gallery] | None = field(default=None, metadata=LATER)  # parts of test sets, by names of yours; none: the whole


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
    captions_extra: dict[str, str] = field(default_factory=dict)  # by dataset: your CSV with a sentence for each frame (docs/training.md)


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
