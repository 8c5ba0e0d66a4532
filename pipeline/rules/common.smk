# The configuration as checked dataclasses, and the functions that rules use for their inputs and settings.
import re
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

sys.path.insert(0, str(Path(workflow.basedir)))

from pipeline import choice, configuration, datasets, params as schema, registry
from pipeline.sources import ROOT, shown, sources
from pipeline.datasets import folder
from pipeline.video import grid
from pipeline.video.command import recipe

try:
    PARAMS = configuration.check(config)
    configuration.known_files(PARAMS, Path(workflow.basedir, "pipeline"))
    for entry in PARAMS.datasets.values():
        grid.pick(entry.frames.grid, num_frames=1, fps=1, number=1)
    # Before anything runs: your captions.csv is read and checked, and a benchmark knows its number of videos.
    OWN = {
        name: folder.parts(entry, name)
        for name, entry in PARAMS.datasets.items()
        if entry.captions and name in PARAMS.run.datasets
    }
    COUNTS = {
        name: (
            len(OWN[name])
            if name in OWN
            else datasets.load(name, PARAMS.datasets[name]).count(PARAMS, name)
        )
        for name in PARAMS.run.datasets
    }
    CHOICES = choice.choices(PARAMS)
except ValueError as error:
    raise WorkflowError(str(error)) from None

BACKBONE = PARAMS.backbone.name
RUN = f"runs/{{dataset}}/{BACKBONE}/{{run}}/{{seed}}"
TRIALS = f"runs/{{dataset}}/{BACKBONE}/{{run}}/search.json"
CONDA = Path(workflow.basedir, "envs/pipeline.yaml")


wildcard_constraints:
    dataset="|".join(map(re.escape, PARAMS.datasets)),
    run="|".join(map(re.escape, PARAMS.methods)),
    seed=r"\d+",
    split="train|val|test",
    shard=r"\d+",
    tower="vision|text",
    level=r"\d+|all",


def dataset_of(wildcards):
    return PARAMS.datasets[wildcards.dataset]


def shards(dataset):
    """The names of a dataset's shards, which transcode its videos by one job each."""
    size = PARAMS.datasets[dataset].clips.shard
    return [f"{number:03d}" for number in range(-(-COUNTS[dataset] // size))]


def settings(*fields):
    """The part of a dataset's settings that a rule reads, so that another value elsewhere does not run it again."""
    return lambda w: schema.to_json(schema.only(dataset_of(w), *fields))


def video_root(wildcards):
    """The folder of video files that a dataset's table names them in."""
    return dataset_of(wildcards).videos or f"data/{wildcards.dataset}/raw"


def state(wildcards):
    """Changes when a video of the shard does; only your own are expected to."""
    entry = dataset_of(wildcards)
    first = int(wildcards.shard) * entry.clips.shard
    videos = OWN.get(wildcards.dataset, [])[first : first + entry.clips.shard]
    return folder.fingerprint(entry, videos)


def annotation_files(wildcards):
    """What is read besides the downloaded files: what the user has of a dataset, where params.yaml says so."""
    entry = dataset_of(wildcards)
    return [
        path
        for path in (entry.annotations, entry.captions, entry.exclude, entry.videos)
        if path
    ]


def backbone_weights(wildcards):
    """The weights are an input when they are a file; open_clip fetches named ones itself."""
    weights = PARAMS.backbone.weights
    return [weights] if Path(weights).suffix else []


def clip_folders(wildcards):
    return expand(
        "data/{dataset}/clips/{shard}",
        dataset=wildcards.dataset,
        shard=shards(wildcards.dataset),
    )


def chosen(wildcards):
    """The stores of a run. It was checked before if params.yaml asks for the run."""
    found = CHOICES[wildcards.run, wildcards.dataset]
    if found.problem:
        raise WorkflowError(found.problem)
    return found


def split_files(wildcards, split):
    """What a run reads of a split, by the names of its stage's arguments: the one store of videos that it may use, and captions."""
    stores = chosen(wildcards).of(split)
    folder = f"work/{wildcards.dataset}/{split}"
    raw = {
        choice.FRAMES: f"{folder}/frames.h5",
        choice.CLIPS: f"{folder}/videos.parquet",
    }
    files = {
        "videos": raw.get(
            stores.video, f"{folder}/{BACKBONE}/vision@{stores.video}.h5"
        ),
        "captions": f"{folder}/captions.parquet",
    }
    if stores.text != choice.CAPTIONS:
        files["text"] = f"{folder}/{BACKBONE}/text@{stores.text}.h5"
    return files


def decoded(wildcards, splits):
    """Whether a run decodes the clips of one of these splits itself."""
    stores = chosen(wildcards)
    return any(stores.of(split).video == choice.CLIPS for split in splits)


def split_inputs(*splits):
    def files(wildcards):
        found = {
            f"{split}_{name}": path
            for split in splits
            for name, path in split_files(wildcards, split).items()
        }
        return found | (
            {"clips": clip_folders(wildcards)} if decoded(wildcards, splits) else {}
        )

    return files


def split_arguments(*splits):
    """The same as arguments; those of a single split have no prefix."""

    def arguments(wildcards):
        words = [
            f"--{f'{split}-' if len(splits) > 1 else ''}{name} {path}"
            for split in splits
            for name, path in split_files(wildcards, split).items()
        ]
        if decoded(wildcards, splits):
            words.append(f"--clips data/{wildcards.dataset}/clips")
        return " ".join(words)

    return arguments


def method_code(wildcards):
    return sources(registry.module_of(wildcards.run))


def dataset_code(wildcards):
    return sources(datasets.module(wildcards.dataset, dataset_of(wildcards)))


def searches(wildcards):
    """The trials of each run's rate, where params.yaml asks for a search."""
    runs = PARAMS.run.methods if PARAMS.search.gains else []
    return expand(TRIALS, dataset=wildcards.dataset, run=runs)


def finished_runs(wildcards):
    return [
        folder
        for run in PARAMS.run.methods
        for folder in expand(
            RUN,
            dataset=wildcards.dataset,
            run=run,
            seed=PARAMS.methods[run].seeds or PARAMS.run.seeds,
        )
    ]
