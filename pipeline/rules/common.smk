# The configuration as checked dataclasses, and where this Snakemake runs.
import hashlib
import os
import re
import shlex
import signal
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.io import _IOFile

sys.path.insert(0, str(Path(workflow.basedir)))

from pipeline import datasets
from pipeline.config import papers, registry, resolve, settings
from pipeline.config.params import check, known_files
from pipeline.core import contents, layout, locks
from pipeline.core.code import ROOT, prefer, shown, sources
from pipeline.core.stopped import Stopped
from pipeline.datasets import folder
from pipeline.datasets.annotations.matching import is_video

# `resources` is a word of Snakemake's own.
from pipeline.rules import (
    configuration,
    gpus,
    links,
    plan,
    pretrained,
    protected,
    resources as demand,
    slurm,
    transfer,
)
from pipeline.video.command import recipe

if ROOT.resolve() != Path(workflow.basedir).resolve():
    # A profile imports before a Snakefile does.
    raise WorkflowError(
        f"The profile has loaded the code of {ROOT}; start Snakemake in {workflow.basedir}, with --directory for another folder."
    )

try:
    if not workflow.is_main_process:
        config = configuration.kept(config)
    else:
        workflow.config_settings.config_args = [configuration.keep(config)]
    PARAMS = check(config)
    known_files(PARAMS, Path(workflow.basedir, "pipeline"))
    # Before anything runs: your captions.csv is read and checked, and a benchmark knows its number of videos.
    OWN = {
        name: folder.parts(entry, name)
        for name, entry in PARAMS.datasets.items()
        if entry.captions and name in resolve.read(PARAMS)
    }
    COUNTS = {
        name: (
            len(OWN[name])
            if name in OWN
            else datasets.load(name, PARAMS.datasets[name]).count(PARAMS, name)
        )
        for name in resolve.read(PARAMS)
    }
    if "DVC_STAGE" in os.environ:
        datasets.refuse_sharing(PARAMS)
        links.refuse()
        pretrained.refuse(PARAMS.backbone.name)
        transfer.refuse(PARAMS)
    CHOICES = plan.choices(PARAMS)
    if workflow.is_main_process:
        SITE = slurm.read_site(slurm.PROFILE / "site.yaml", os.environ)
except ValueError as error:
    raise WorkflowError(str(error)) from None

protected.allow(_IOFile)
prefer(os.environ)

BACKBONE = PARAMS.backbone.name
RUN = layout.run("{dataset}", BACKBONE, "{run}", "{seed}")
TRIALS = f"{Path(RUN).parent}/search.json"
INDEX = layout.run("{dataset}", BACKBONE, "{run}", "{seed}", below=layout.INDEXES)
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

# Limit on the minutes of a job: Slurm would never start one that asks for more.
LONGEST = slurm.longest(SITE) if workflow.is_main_process and not HERE else 0

if workflow.remote_exec:
    # Slurm's warning before a time limit reaches every process of a job, and would end them. The training listens to it again.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    # So does SIGTERM: bash and tee, which carry a training's last words, wait until it has written down where it is.
    shell.prefix(
        """set -euo pipefail; trap : TERM; tee() {{ trap '' TERM; command tee "$@"; }}; """
    )


# Held until this Snakemake ends. DVC's stages wait for one that outlived the DVC which started it.
try:
    HELD = (
        locks.enter(Path(".snakemake"), wait="DVC_STAGE" in os.environ)
        if workflow.is_main_process
        else None
    )
except (Stopped, OSError) as error:
    raise WorkflowError(str(error)) from None

KNOWN = contents.Known(Path("work/contents.json"))


def compare_contents():
    """Read what has a new time, before anything is planned: raw files and your own videos. Jobs find it written down."""
    for name, videos in OWN.items():
        KNOWN.of(folder.files(PARAMS.datasets[name], videos))
    for raw in map(layout.raw, resolve.read(PARAMS)):
        if other := contents.settle(Path(raw), Path(f"{raw}.sha256")):
            logger.warning(
                f"{raw}: not what {raw}.sha256 says, and made again is what hangs on it: {len(other)} files, {other[0]} first."
            )


if workflow.is_main_process:
    compare_contents()


wildcard_constraints:
    dataset="|".join(map(re.escape, PARAMS.datasets)),
    tested="|".join(map(re.escape, PARAMS.datasets)),
    run="|".join(map(re.escape, PARAMS.methods)),
    seed=r"\d+",
    split="|".join(layout.SPLITS),
    shard=r"\d+",
    tower="|".join(layout.RAW),
    level=rf"\d+|{layout.FEATURES}",
    tiny="|".join(registry.tiny()),
