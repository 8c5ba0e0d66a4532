# The configuration as checked dataclasses, and the functions that rules use for their inputs and settings.
import os
import re
import shutil
import signal
import sys
import threading
from pathlib import Path

from snakemake.exceptions import WorkflowError

sys.path.insert(0, str(Path(workflow.basedir)))

from pipeline import (
    alone,
    choice,
    cluster,
    configuration,
    datasets,
    demand,
    gpus,
    params as schema,
    registry,
)
from pipeline.sources import ROOT, shown, sources
from pipeline.datasets import folder
from pipeline.video import grid
from pipeline.video.command import recipe

if ROOT.resolve() != Path(workflow.basedir).resolve():
    # A profile imports before a Snakefile does.
    raise WorkflowError(
        f"The profile has loaded the code of {ROOT}; start Snakemake in {workflow.basedir}, with --directory for another folder."
    )

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
    if "DVC_STAGE" in os.environ:
        datasets.refuse_sharing(PARAMS)
    CHOICES = choice.choices(PARAMS)
    SITE = cluster.read_site(cluster.PROFILE / "site.yaml", os.environ)
except ValueError as error:
    raise WorkflowError(str(error)) from None

BACKBONE = PARAMS.backbone.name
RUN = f"runs/{{dataset}}/{BACKBONE}/{{run}}/{{seed}}"
TRIALS = f"runs/{{dataset}}/{BACKBONE}/{{run}}/search.json"
CONDA = Path(workflow.basedir, "envs/pipeline.yaml")
MACHINE = PARAMS.machine
# `snakemake --unlock` is given no number of cores.
CORES = workflow.resource_settings.cores or 1

# Snakemake has a number of nodes where a cluster runs the jobs; the jobs of a cluster are run by a Snakemake of their own.
HERE = workflow.is_main_process and workflow.nodes is None
GPUS_HERE = gpus.count(os.environ) if HERE and PARAMS.device != "cpu" else 0
# A job asks for no GPU where it would find none. A cluster's nodes have GPUs that its login node need not have.
GPU = int(PARAMS.device != "cpu" and (not HERE or GPUS_HERE > 0))
if GPUS_HERE and "gpu" not in workflow.resource_settings.resources:
    # On one machine never more jobs than GPUs; which one each takes, they settle among themselves.
    workflow.global_resources["gpu"] = GPUS_HERE

# What Slurm would never start must not be asked for.
LONGEST = cluster.longest(SITE) if workflow.is_main_process and not HERE else 0

if workflow.remote_exec:
    # Slurm's warning before a time limit reaches every process of a job, and would end them. The training listens to it again.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    # So does SIGTERM: bash and tee, which carry a training's last words, wait until it has written down where it is.
    shell.prefix(
        """set -euo pipefail; trap : TERM; tee() {{ trap '' TERM; command tee "$@"; }}; """
    )


# Held until this Snakemake ends. DVC's stages wait for one that outlived the DVC which started it.
HELD = (
    alone.enter(Path(".snakemake"), wait="DVC_STAGE" in os.environ)
    if workflow.is_main_process
    else None
)


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


def stores(wildcards):
    """The files of frames and tokens of all runs."""
    files = {
        path
        for dataset in PARAMS.run.datasets
        for run in PARAMS.run.methods
        for split in ("train", "val", "test")
        for path in split_files(
            type(wildcards)(fromdict={"dataset": dataset, "run": run}), split
        ).values()
    }
    return sorted(path for path in files if path.endswith(".h5"))


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


def folders(dataset, run):
    """Of all seeds of one run."""
    return expand(
        RUN, dataset=dataset, run=run, seed=configuration.seeds_of(PARAMS, run)
    )


def runs_of(wildcards):
    return folders(wildcards.dataset, wildcards.run)


def finished_runs(wildcards):
    return [
        folder
        for run in PARAMS.run.methods
        for folder in folders(wildcards.dataset, run)
    ]


# The first seed of the selected method, whose learning curves are shown.
SELECTED = (
    folders(PARAMS.run.datasets[0], PARAMS.method)[0] if PARAMS.method else "runs"
)


def run_files(*names):
    return lambda w: expand("{run}/{file}", run=runs_of(w), file=names)


def memory(base):
    """Megabytes of a job, more at each attempt. `base` may be a function of its wildcards."""
    return lambda w, attempt: demand.memory(
        base(w) if callable(base) else base, attempt
    )


def runtime(seconds):
    """Minutes of a job for the work that a function of its wildcards tells, or a number does."""
    return lambda w, attempt: demand.minutes(
        seconds(w) if callable(seconds) else seconds, attempt, longest=LONGEST
    )


def videos_of(wildcards):
    return COUNTS[wildcards.dataset]


def pixels(wildcards):
    """Of a dataset's videos, as a share of those that times and memory were measured with."""
    shape = dataset_of(wildcards).frames
    return demand.share(shape.number, shape.size)


def training_seconds(epochs=None):
    """What a training of a run takes, for its own number of epochs or another."""

    def seconds(wildcards):
        settings = configuration.train_of(PARAMS, wildcards.run, wildcards.dataset)
        return demand.train(
            videos_of(wildcards),
            epochs or settings.epochs,
            share=pixels(wildcards),
            captions=settings.captions,
            gpu=GPU > 0,
            processes=MACHINE.gpus * MACHINE.nodes,
        )

    return seconds


def training_memory(wildcards):
    settings = configuration.train_of(PARAMS, wildcards.run, wildcards.dataset)
    return demand.train_memory(settings.batch, share=pixels(wildcards), gpu=GPU > 0)


def features_seconds(wildcards):
    return demand.features(videos_of(wildcards), share=pixels(wildcards), gpu=GPU > 0)


def cpus(threads, processes=1):
    """Cores of a job on a cluster, where `threads` would be cut to the cores of the login node."""
    return demand.cpus(threads, MACHINE.workers, gpu=GPU, processes=processes)


def mark_stale():
    """Mark what is going to be made anew, as Snakemake does for a job that starts.

    It asks for a missing file only where something else is to be made of it. A run killed after another setting had its training
    started, and its adapter removed, would leave the metrics of the setting before, and they would be taken as up to date.
    """
    for job in workflow.dag.needrun_jobs():
        workflow.persistence.started(job)


def end_orphans():
    """End jobs that a killed Snakemake left in Slurm's queue: this folder is locked for us, so no other is at work in it."""
    if not shutil.which("squeue"):
        return
    try:
        ended = cluster.end_orphans(cluster.name(Path.cwd()))
    except RuntimeError as error:
        if not HERE:
            raise WorkflowError(str(error)) from None
        ended = []
    if ended:
        logger.warning(f"Ended Slurm jobs of an earlier run: {', '.join(ended)}.")


def end_now():
    """Stop the clocks of Snakemake, which after each submission waits for the time when it may submit again: a minute on a cluster.

    Nothing is left to submit, and it would not end before. DVC starts a Snakemake for each group of stages.
    """
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.cancel()
