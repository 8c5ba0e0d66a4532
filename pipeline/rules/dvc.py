"""DVC and Snakemake in one folder: run ahead of DVC, record for it, adopt from it, and the code that its stages hang on."""

import contextlib
import re
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
from dvc.exceptions import DvcException, NotDvcRepoError
from dvc.repo import Repo, lock_repo
from dvc.scm import SCMError
from dvc.stage import Stage
from ruamel.yaml import YAML

from pipeline import datasets
from pipeline.config.params import FILE, load_params
from pipeline.core.code import ROOT, sources
from pipeline.core.files import whole
from pipeline.rules import links, slurm
from pipeline.rules.doctor import programs as doctor
from pipeline.rules.doctor.line import FINE, Case

# Options of `dvc exp run` that are followed by a value.
VALUED = ("-n", "--name", "-S", "--set-param", "-m", "--message")
NOTHING = "Nothing to be done"
# Inputs that a rule names instead of a module: any file of a folder.
FOLDERS = {"method_code": "pipeline/methods", "dataset_code": "pipeline/datasets"}
# Inputs of which a rule names one by a wildcard: any file of a pattern.
PATTERNS = {"architecture=architecture": "pipeline/clip/*.json"}


def run_ahead(command: Sequence[str], *, stage: str) -> int:
    """The exit code of `command`, which Snakemake runs together with those of the stale stages of the same group.

    DVC runs its stages one by one, and a training uses one core. So the first of a group trains all that `dvc repro` is going to ask
    for, and leaves them in DVC's cache, where DVC finds them when it comes to their stages. Outputs are removed first, as DVC does:
    what is there afterwards was made now. ValueError where params.yaml was edited meanwhile.
    """
    waiting: list[Stage] = []
    planned = FILE.read_bytes()
    if stage and wanted(stage, _words_of_dvc()):
        with _repository() as repo:
            waiting = [other for other in repo.stage.collect(stage.split("@")[0]) if other.addressing != stage and _ready(repo, other)]
            for other in waiting:
                other.remove_outs()
    targets = {other.addressing: shlex.split(other.cmd)[-1] for other in waiting}
    code = subprocess.run([*command, *targets.values()], check=False).returncode
    if code > 0 and targets:
        # Whatever failed, DVC asks for it again and names its stage.
        code = subprocess.run(command, check=False).returncode
    if FILE.read_bytes() != planned:
        # DVC would note the new values beside results of the old ones.
        raise ValueError(f"{FILE} was edited while DVC ran {stage or 'a stage'} with what it said before; `dvc repro` again")
    if targets:
        with _repository() as repo:
            for name, target in targets.items():
                if Path(target).exists():
                    repo.commit(name, force=True)
    return code


def wanted(stage: str, words: Sequence[str]) -> bool:
    """Whether a command line of DVC is going to run the whole group of `stage`."""
    if "repro" in words:
        rest = list(words[words.index("repro") + 1 :])
    elif "exp" in words and "run" in words:
        rest = list(words[words.index("run") + 1 :])
    else:
        return False
    values = [number + 1 for number, word in enumerate(rest) if word in VALUED]
    targets = [word for number, word in enumerate(rest) if not word.startswith("-") and number not in values]
    return not targets or stage.split("@")[0] in targets


def record() -> None:
    """Let DVC record what Snakemake has made. ValueError unless all of it is up to date, and may go where `dvc push` would send it."""
    datasets.refuse_sharing(load_params(FILE))
    _nothing_left("`snakemake -n` says what, and `snakemake --cores all` does it")
    with _repository() as repo:
        repo.commit(force=True)
    print("DVC has recorded the workspace; now: git add --all; git commit")


def adopt() -> None:
    """Let Snakemake take over what DVC has brought. ValueError unless DVC says that it is what belongs to this revision."""
    with _repository() as repo:
        stale = [stage.addressing for stage in repo.index.stages if stage.changed()]
    if stale:
        raise ValueError(f"{', '.join(stale)} is not what dvc.lock says; `dvc pull` or `dvc checkout` first, or make it with `dvc repro`")
    # DVC does not keep these. Made later they would be newer than every adapter, and all methods would be trained again.
    subprocess.run(["snakemake", "--cores", "all", "--allowed-rules", "stores", "frames", "features", "--", "stores"], check=True)
    touched = _snakemake("--touch", "--forceall")
    if touched.returncode:
        raise ValueError(f"Snakemake cannot take over what is here: {touched.stdout}")
    _nothing_left("`snakemake -n` says what, and `snakemake --cores all` does it")
    print("Snakemake has taken over the workspace")


def write_deps(file: Path = Path("dvc.yaml")) -> None:
    """Put the code of each stage's rules at the end of its `deps`, and leave all else as it is, comments too."""
    yaml = YAML()
    yaml.preserve_quotes, yaml.width = True, 1000
    yaml.indent(mapping=2, sequence=4, offset=2)
    content = yaml.load(file)
    for stage in content["stages"].values():
        kept = [path for path in stage["deps"] if not path.startswith("pipeline/")]
        stage["deps"][:] = kept + code_of(stage["cmd"])
    with whole(file) as part:
        yaml.dump(content, part)


def code_of(command: str) -> list[str]:
    """Files of the package that the rules of a stage's `command` read, and folders where a rule names any file of one."""
    allowed = re.search(r"--allowed-rules ([a-z ]+) --", command)
    assert allowed, command
    rules = allowed[1].split()
    text = "".join(slurm.rules()[rule] for rule in rules)
    folders = [folder for word, folder in FOLDERS.items() if word in text]
    named = [f"{folder}/{path.stem}".replace("/", ".") for folder in folders for path in (ROOT / folder).glob("*.py")]
    code = sources(*(f"pipeline.stages.{rule}" for rule in rules), *named)
    files = {Path(path).absolute().relative_to(ROOT).as_posix() for path in code}
    files |= set(re.findall(r'shown\(ROOT / "([^"]+)"\)', text))
    files |= {path.relative_to(ROOT).as_posix() for word, pattern in PATTERNS.items() if word in text for path in ROOT.glob(pattern)}
    return sorted([path for path in files if not any(path.startswith(f"{folder}/") for folder in folders)] + folders)


def _nothing_left(advice: str) -> None:
    done = _snakemake("-n")
    if done.returncode or NOTHING not in done.stdout:
        raise ValueError(f"Snakemake has something to do here: {advice}")


def _snakemake(*words: str) -> "subprocess.CompletedProcess[str]":
    command = ["snakemake", "--cores", "1", *words]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


def _ready(repo: Repo, stage: Stage) -> bool:
    """Whether a stage is stale, and nothing that it waits for is."""
    before = [other for other in repo.stage.collect(stage.addressing, with_deps=True) if other.addressing != stage.addressing]
    return bool(stage.changed()) and not any(other.changed() for other in before)


def _words_of_dvc() -> list[str]:
    """The command line of the DVC that started this process; nothing where it was not DVC."""
    for parent in psutil.Process().parents():
        with contextlib.suppress(psutil.Error):
            words = parent.cmdline()
            if any(Path(word).name == "dvc" for word in words[:3]):
                return list(words)
    return []


@contextlib.contextmanager
def _repository() -> Iterator[Repo]:
    """DVC's, locked. It lets go of its lock while a stage runs. ValueError for what DVC or git refuses."""
    try:
        links.refuse()
        with Repo() as repo, lock_repo(repo):
            yield repo
    except DvcException as error:
        raise ValueError(_sentence(error)) from error


def _sentence(error: DvcException) -> str:
    """DVC's sentence, with the one that it has from others, and the remedy."""
    said = f"{error}" + (f": {error.__cause__}" if error.__cause__ and str(error.__cause__) not in str(error) else "")
    if isinstance(error, NotDvcRepoError | SCMError):
        (found,) = doctor.git(Case(params=None))
        why = "DVC needs a git repository: work in a clone, or type `git init` and commit" if found.state == FINE else found.text
        return f"{said.rstrip('.')}; {why}"
    return f"DVC: {said}"
