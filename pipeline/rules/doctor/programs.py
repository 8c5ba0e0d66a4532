"""The programs that a run calls: git, ffmpeg, and Slurm's."""

import getpass
import os
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import imageio_ffmpeg

from pipeline.config.dataset import ClipFormat
from pipeline.core.code import ROOT
from pipeline.core.programs import ask, first_line
from pipeline.rules import slurm
from pipeline.rules.doctor.line import FINE, STOP, WARNING, Case, Line
from pipeline.video.command import Cut, command

WITHOUT = "records name no commit, and DVC does not work"


def git(case: Case) -> Iterator[Line]:
    """The repository of the code that runs: what records and DVC ask."""
    if not shutil.which("git"):
        yield Line("git", WARNING, f"there is no git here, so {WITHOUT}; install it, or load its module")
        return
    head = ask(["git", "-C", str(ROOT), "rev-parse", "--verify", "HEAD"], seconds=case.patience)
    if head is None:
        yield Line("git", WARNING, f"git does not answer in {case.patience:g} s; look at the file system of {ROOT}")
    elif not head.returncode:
        yield Line("git", FINE, f"commit {head.stdout[:12]}")
    elif "dubious ownership" in head.stderr:
        remedy = f"git config --global --add safe.directory {shlex.quote(str(ROOT))}"
        yield Line("git", WARNING, f"git does not read {ROOT}, which another user owns, so {WITHOUT}; {remedy}")
    elif "not a git repository" in head.stderr and not Path(ROOT, ".git").exists():
        yield Line("git", WARNING, f"{ROOT} is no git repository, so {WITHOUT}; clone it, or: git init; git add --all; git commit -m start")
    elif "Needed a single revision" in head.stderr:
        yield Line("git", WARNING, f"{ROOT} has no commit yet, so {WITHOUT}; git add --all; git commit -m start")
    else:
        remedy = "`git fsck` says what is damaged, and a new clone mends it"
        yield Line("git", WARNING, f"git does not read {ROOT} ({first_line(head.stderr)}), so {WITHOUT}; {remedy}")


def ffmpeg(case: Case) -> Iterator[Line]:
    """The ffmpeg that makes clips, with the encoder and the filters of its command."""
    remedy = "make setup, or export IMAGEIO_FFMPEG_EXE=<an ffmpeg that has it>"
    bad = case.bad("transcode")
    try:
        program = imageio_ffmpeg.get_ffmpeg_exe()
        said = [ask([program, "-hide_banner", word], seconds=case.patience) for word in ("-version", "-encoders", "-filters")]
    except (RuntimeError, OSError) as error:
        yield Line("ffmpeg", bad, f"ffmpeg does not run ({first_line(str(error))}); {remedy}")
        return
    if silent := [answer for answer in said if answer is None or answer.returncode]:
        why = f"code {silent[0].returncode}: {first_line(silent[0].stderr)}" if silent[0] else "no answer"
        yield Line("ffmpeg", bad, f"{program} does not run ({why}); {remedy}")
        return
    version, encoders, filters = (answer.stdout for answer in said if answer)
    words = command(Path("in"), Path("out"), index=0, cut=Cut(seconds=1, origin=1), settings=ClipFormat(), strict=True)
    graph = words[words.index("-filter_complex") + 1]
    lacks = [name for name in dict.fromkeys(re.findall(r"\](\w+)=", graph)) if not _has(filters, name)]
    lacks += [name for name in [words[words.index("-c:v") + 1]] if not _has(encoders, name)]
    if lacks:
        yield Line("ffmpeg", bad, f"{program} lacks {', '.join(lacks)}, which clips are made with; {remedy}")
    else:
        yield Line("ffmpeg", FINE, f"{' '.join(version.split()[:3])}, {program}")


def _has(table: str, name: str) -> bool:
    """Whether ffmpeg lists a name, which follows its flags."""
    return bool(re.search(rf"^ *[A-Z.|]+ +{name} ", table, flags=re.MULTILINE))


def cluster(case: Case) -> Iterator[Line]:
    """Partitions, account and quality of service of slurm/site.yaml against what the cluster has."""
    if not (case.slurm or shutil.which("sinfo") or shutil.which("sbatch")):
        return
    bad = STOP if case.slurm and not case.quick else WARNING  # a command line may name another partition
    if case.slurm and not shutil.which("sbatch"):
        yield Line("slurm", STOP, "there is no sbatch here; start on a login node, or load Slurm's module")
        return
    try:
        site = slurm.read_site(slurm.PROFILE / "site.yaml", os.environ)
    except ValueError as error:
        yield Line("slurm", bad, str(error))
        return
    rows, trouble = _rows(["sinfo", "--noheader", "--format=%P %a"], case)
    if not trouble:
        yield from _partitions(site, dict(row.split()[:2] for row in rows if len(row.split()) > 1), bad)
        yield from _accounts(site, case, bad)
    elif not case.quick:
        yield Line("slurm", WARNING, f"{trouble}, so partitions and accounts were not checked; ask your admin whether Slurm is up")


def _partitions(site: slurm.Site, found: dict[str, str], bad: str) -> Iterator[Line]:
    """`found`: states by name, that of the default with a star."""
    states = {name.rstrip("*"): state for name, state in found.items()}
    default = next((name.rstrip("*") for name in found if name.endswith("*")), "")
    for key in ("cpu_partition", "gpu_partition"):
        given = getattr(site, key)
        unknown = [name for name in given.split(",") if name not in states] if given else []
        down = [name for name in given.split(",") if states.get(name, "up") != "up"]
        remedy = f"set {key} in slurm/site.yaml, or PETL_SLURM_{key.upper()}, to one of {', '.join(states)}"
        if unknown:
            yield Line("slurm", bad, f"{key} is {given!r}, and this cluster has no partition {unknown[0]!r}; {remedy}")
        elif down:
            yield Line("slurm", WARNING, f"{key} is {given!r}, which is {states[down[0]]}, so jobs wait; {remedy}")
        elif not given and not default:
            yield Line("slurm", bad, f"{key} is not set, and no partition is the cluster's default; {remedy}")
        else:
            yield Line("slurm", FINE, f"{key}: {given or f'the default, {default}'}")


def _accounts(site: slurm.Site, case: Case, bad: str) -> Iterator[Line]:
    user = getpass.getuser()
    words = ["sacctmgr", "--noheader", "--parsable2", "show", "associations", f"user={user}", "format=account,qos"]
    rows, _ = _rows(words, case)
    known = [row.split("|") for row in rows if row.strip()]
    if not known:
        # No accounting, or none for this user: whatever is set, nobody can say that it is wrong.
        yield Line("slurm", FINE, f"account: not checked, as sacctmgr names none of {user}")
        return
    accounts = sorted({row[0] for row in known})
    services = sorted({name for row in known for name in row[-1].split(",") if name})
    for key, given, there in (("account", site.account, accounts), ("qos", site.qos, services)):
        remedy = f"set {key} in slurm/site.yaml, or PETL_SLURM_{key.upper()}, to one of {', '.join(there)}"
        if given and given not in there:
            yield Line("slurm", bad, f"{key} is {given!r}, which {user} may not use; {remedy}")
        elif given or key == "account":
            yield Line("slurm", FINE, f"{key}: {given or 'the default one of ' + ', '.join(there)}")


def _rows(words: list[str], case: Case) -> tuple[list[str], str]:
    """The lines of an answer of Slurm's, and "" or why there is none."""
    try:
        said = ask(words, seconds=case.patience)
    except OSError as error:
        return [], f"{words[0]} cannot be started ({error.strerror})"
    if said is None:
        return [], f"{words[0]} does not answer in {case.patience:g} s"
    return said.stdout.splitlines(), f"{words[0]} says: {first_line(said.stderr)}" if said.returncode else ""
