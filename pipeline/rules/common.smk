# The configuration as checked dataclasses, and the functions that rules use for their inputs and settings.
import re
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

sys.path.insert(0, str(Path(workflow.basedir)))

from pipeline import datasets, params as schema, registry
from pipeline.sources import ROOT, shown, sources
from pipeline.video import grid
from pipeline.video.transcode import recipe

try:
    PARAMS = schema.check(config)
    schema.known_files(PARAMS, Path(workflow.basedir, "pipeline"))
    for entry in PARAMS.datasets.values():
        grid.pick(entry.frames.grid, num_frames=1, fps=1, number=1)
except ValueError as error:
    raise WorkflowError(str(error)) from None

BACKBONE = PARAMS.backbone.name
RUN = f"runs/{{dataset}}/{BACKBONE}/{{run}}/{{seed}}"
TRIALS = f"runs/{{dataset}}/{BACKBONE}/{{run}}/search.json"
CONDA = Path(workflow.basedir, "envs/pipeline.yaml")


wildcard_constraints:
    dataset="|".join(PARAMS.datasets),
    run="|".join(map(re.escape, PARAMS.methods)),
    seed=r"\d+",
    split="train|val|test",
    shard=r"\d{3}",


def dataset_of(wildcards):
    return PARAMS.datasets[wildcards.dataset]


def shards(dataset):
    """The names of a dataset's shards; the number of videos is known before anything is downloaded."""
    size = PARAMS.datasets[dataset].clips.shard
    return [
        f"{number:03d}"
        for number in range(-(-datasets.load(dataset).count(PARAMS) // size))
    ]


def backbone_weights(wildcards):
    """The weights are an input when they are a file; open_clip fetches named ones itself."""
    weights = PARAMS.backbone.weights
    return [weights] if Path(weights).suffix else []


def method_code(wildcards):
    return sources(registry.module_of(wildcards.run))


def dataset_code(wildcards):
    return sources(f"pipeline.datasets.{wildcards.dataset}")


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
