"""Differences between one Slurm and the next, for the profile `slurm/` and the Snakefile.

No job is run from here; Snakemake's plugin does that. Where no Slurm is installed everything answers as if its accounting were off.
"""

import argparse
import contextlib
import hashlib
import math
import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from omegaconf import OmegaConf

from pipeline.config.parse import limited, parse
from pipeline.core.code import ROOT, shown

PROFILE = ROOT / "slurm"
RULE = re.compile(r"^rule (\w+):\n((?:    .*\n|\n)+)", flags=re.MULTILINE)

# PETL_SLURM_ACCOUNT=abc on the command line wins over `account` of the file.
VARIABLE = "PETL_SLURM_"

# What to do in site.yaml, by what sbatch says when it refuses a job.
REMEDIES = {
    r"account": "set account, of `sacctmgr -n show user $USER withassoc format=account`,",
    r"qos": "set qos, of `sacctmgr show qos format=name`,",
    r"time ?limit|timelimit": "set max_runtime to the minutes that the partition allows, `sinfo -o '%P %l'`,",
    r"partition": "set cpu_partition and gpu_partition, of `sinfo -o '%P %l %G'`,",
    r"gres|generic resource|gpus?\b": "set gres or gpu_model, of `sinfo -o '%P %G'`, and gpu_partition to one with GPUs",
    r"feature|constraint": "set constraint, of `sinfo -o '%P %f'`,",
    r"memory|node configuration|processors|cpu count": "set gpu_partition and cpu_partition to nodes as large as the jobs ask for,"
    " or ask for less by --set-resources; the keys are",
    r"option|reservation|licen[sc]e": "correct extra",
}


@dataclass
class Site:
    """Settings that differ between clusters (docs/cluster.md). Empty words are not passed on: the cluster's own default holds."""

    account: str = ""  # that jobs are charged to
    cpu_partition: str = ""  # of jobs that use no GPU
    gpu_partition: str = ""  # of jobs that may use one
    gpu_model: str = ""  # of GPUs: `a100` asks for `--gpus=a100:1`
    gres: str = ""  # `gpu:1` asks for `--gres=gpu:1` instead of `--gpus`, where a cluster wants that; it has to agree with machine.gpus
    qos: str = ""  # quality of service
    constraint: str = ""  # features that a node must have
    extra: str = ""  # more words for sbatch, as `--exclude=node7`
    prologue: str = ""  # shell commands before a job's own, as `module load ffmpeg`; no double quotes
    max_runtime: int = limited(0, least=0)  # minutes that no job may ask to exceed; 0: no limit
    warning: int = limited(120, least=30)  # seconds before its time limit that a training is told to stop; Slurm may do it a minute earlier
    jobs: int = limited(100, least=1)  # jobs in the queue at once
    per_minute: int = limited(60, least=1)  # submissions a minute
    poll: int = limited(20, least=1)  # seconds from a job's start or end to the next look at the queue
    retries: int = limited(10, least=0)  # new tries of a job: after a failure, or at a time limit
    latency: int = limited(60, least=0)  # seconds to wait for files that another node wrote

    def warned(self) -> str:
        """Words for sbatch with the signal that makes a training write down where it is, in all of its processes."""
        return f"{self.extra} --signal=USR1@{self.warning}".strip()


def longest(site: Site) -> int:
    """Minutes that no job may ask to exceed: the site's own, or the time limit of its partitions; 0 for no limit.

    A job that asks for more than its partition allows would wait in the queue for ever.
    """
    if site.max_runtime or not shutil.which("sinfo"):
        return site.max_runtime
    shown = subprocess.run(["sinfo", "--noheader", "--format=%P %l"], capture_output=True, text=True, check=False)
    limits: dict[str, str] = {}
    for name, limit in (line.split() for line in shown.stdout.splitlines() if len(line.split()) == 2):
        # A star marks the one that holds where none is named.
        limits |= {name.rstrip("*"): limit} | ({"": limit} if name.endswith("*") else {})
    return min((_minutes(limits.get(name, "")) for name in (site.cpu_partition, site.gpu_partition)), key=lambda limit: limit or math.inf)


def _minutes(limit: str) -> int:
    """Of Slurm's [days-]hours:minutes:seconds; 0 for `infinite`."""
    found = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):\d+", limit)
    days, hours, minutes = (int(part or 0) for part in found.groups()) if found else (0, 0, 0)
    return (24 * days + hours) * 60 + minutes


def refusals(log: str) -> list[str]:
    """One sentence for each reason for which sbatch has refused jobs, by the `log` of a Snakemake: what it said, and which key to set."""
    found = re.findall(r"SLURM sbatch failed\. The error message was '(.*?)'\.\s", log, flags=re.DOTALL)
    said = dict.fromkeys(" ".join(text.split()).replace("sbatch: error: ", "") for text in found)
    return [f"Slurm refused jobs ({text}): {_remedy(text)} in {shown(PROFILE / 'site.yaml')} (docs/cluster.md)" for text in said]


def _remedy(said: str) -> str:
    """The first that fits: an account is refused together with the partition that does not let it in."""
    return next(
        (remedy for pattern, remedy in REMEDIES.items() if re.search(pattern, said, flags=re.IGNORECASE)), "set what your cluster asks for"
    )


def rules() -> dict[str, str]:
    """The text of each rule by its name."""
    return dict(RULE.findall("\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "pipeline/rules").glob("*.smk")))))


def gpu_rules() -> list[str]:
    """The rules that may use a GPU: those whose resources have `gpu=`."""
    return [name for name, text in rules().items() if re.search(r"^ +gpu=", text, flags=re.MULTILINE)]


def trainings() -> list[str]:
    """The rules that write down where they are when a time limit comes: those whose resources have `save_every=`."""
    return [name for name, text in rules().items() if re.search(r"^ +save_every=", text, flags=re.MULTILINE)]


@dataclass(frozen=True)
class Status:
    """How the queue is asked."""

    command: str
    seconds: int


def enter(environment: MutableMapping[str, str]) -> tuple[Site, Status]:
    """Site and status for the profile, and the environment made fit for Snakemake. A wrong site.yaml ends the process with one sentence."""
    try:
        site = read_site(Path(shown(PROFILE / "site.yaml")), environment)
    except ValueError as error:
        raise SystemExit(f"error: {error}") from None
    # Jobs inherit the environment, and must not read a profile again.
    environment.pop("SNAKEMAKE_PROFILE", None)
    # Read by the profile's precommand.
    environment[f"{VARIABLE}PROLOGUE"] = site.prologue
    found = status(site.poll)
    if found.command == "squeue":
        # The plugin turns to sacct whenever slurmctld is silent, and here sacct can never answer: the plugin would forget its jobs.
        environment["PATH"] = f"{PROFILE / 'without-accounting'}{os.pathsep}{environment['PATH']}"
    return site, found


def read_site(path: Path, environment: Mapping[str, str]) -> Site:
    """The file, which may be missing, under the variables of the environment. ValueError names a key that does not exist."""
    values = OmegaConf.to_container(OmegaConf.load(path)) if path.exists() else {}
    if not isinstance(values, dict):
        raise ValueError(f"{path}: it is not made of `key: value` lines")
    given = {name.removeprefix(VARIABLE).lower(): value for name, value in environment.items() if name.startswith(VARIABLE)}
    known = [entry.name for entry in fields(Site)]
    unknown = [VARIABLE + name.upper() for name in given if name not in known]
    if unknown:
        raise ValueError(f"{unknown[0]} is set, but {path} has no key of that name; there are: {', '.join(known)}")
    site = parse(Site, {str(key): value for key, value in values.items()} | given, where=str(path))
    if '"' in site.prologue:
        raise ValueError(f"{path}: prologue has double quotes, and sbatch gets it within double quotes; use single ones")
    return site


def status(seconds: int) -> Status:
    """`sacct` where the cluster keeps accounts, else `squeue`, which forgets a finished job after MinJobAge: look three times in that."""
    settings = _settings()
    if settings.get("AccountingStorageType", "").endswith("slurmdbd"):
        return Status("sacct", seconds)
    age = re.match(r"\d+", settings.get("MinJobAge", ""))
    return Status("squeue", max(1, min(seconds, int(age[0]) // 3)) if age else seconds)


def _settings() -> dict[str, str]:
    """The configuration that slurmctld reports; empty where there is none."""
    if not shutil.which("scontrol"):
        return {}
    shown = subprocess.run(["scontrol", "show", "config"], capture_output=True, text=True, check=False)
    return dict(re.findall(r"^(\w+)\s*= (.*?)\s*$", shown.stdout, flags=re.MULTILINE))


def name(folder: Path) -> str:
    """The beginning of the names of all jobs of the workflow in `folder`, so that those of a killed Snakemake can be found."""
    return f"petl-vtr-{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]}"


def folder_of(words: Sequence[str]) -> Path:
    """The folder that a command line of Snakemake works in. The profile is read before Snakemake has gone there."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("-d", "--directory", type=Path, default=Path())
    folder: Path = parser.parse_known_args(list(words))[0].directory
    return folder


def orphans(name: str) -> list[str]:
    """The numbers of the jobs in the queue, pending or running, whose names begin with `name`. RuntimeError if Slurm does not answer."""
    asked = subprocess.run(["squeue", "--me", "--noheader", "--format=%A %j"], capture_output=True, text=True, check=False)
    if asked.returncode:
        raise RuntimeError(f"squeue does not answer: {asked.stderr.strip()}")
    rows = [line.split(maxsplit=1) for line in asked.stdout.splitlines()]
    return sorted({number for number, job in rows if job.startswith(f"{name}_")})


def end_orphans(name: str, *, seconds: float = 120) -> list[str]:
    """End what a killed Snakemake left in the queue, and wait until it is gone: two jobs must not write one file. Their numbers.

    RuntimeError if Slurm does not answer at first, or the jobs are still there after so many seconds.
    """
    found = left = orphans(name)
    end, pause = time.monotonic() + seconds, 1
    while left:
        # Not once: a slurmctld that is killed before it has noted this has the jobs running or pending again.
        subprocess.run(["scancel", *left], check=False)
        if time.monotonic() > end:
            raise RuntimeError(f"Slurm jobs {', '.join(left)} of an earlier run do not end; wait for them, or ask your admin")
        time.sleep(pause)
        pause = min(2 * pause, 10)
        # Silence is no news of them.
        with contextlib.suppress(RuntimeError):
            left = orphans(name)
    return found
