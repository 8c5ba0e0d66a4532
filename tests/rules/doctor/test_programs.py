"""Git, ffmpeg and Slurm's programs, made up: each sentence with its remedy."""

import re
import subprocess
import time

import pytest

from pipeline.core import programs as asked
from pipeline.rules import slurm
from pipeline.rules.doctor import programs as checks
from pipeline.rules.doctor.line import Case

HERE = Case(None)


def test_a_program_that_does_not_answer_is_ended_with_what_it_started(programs):
    programs(slow="/bin/sleep 60; echo done")
    start = time.monotonic()
    assert asked.ask(["slow"], seconds=0.2) is None
    assert time.monotonic() - start < 2


@pytest.mark.parametrize(
    ("said_by_git", "text"),
    [
        ("fatal: detected dubious ownership in repository at '/x'", "git config --global --add safe.directory '/a place'"),
        ("fatal: not a git repository (or any of the parent directories): .git", "is no git repository"),
        ("fatal: Needed a single revision", "has no commit yet"),
        ("fatal: bad object", "(fatal: bad object)"),
    ],
)
def test_a_repository_that_git_does_not_read(programs, said, monkeypatch, said_by_git, text):
    monkeypatch.setattr(checks, "ROOT", "/a place")
    programs(git=f'echo "{said_by_git}" >&2; exit 128')
    [found] = said(checks.git, HERE, "warning")
    assert text in found and checks.WITHOUT in found


def test_what_the_real_git_says_is_understood(said, monkeypatch, tmp_path):
    monkeypatch.setattr(checks, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert "is no git repository" in said(checks.git, HERE, "warning")[0]
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    assert "has no commit yet" in said(checks.git, HERE, "warning")[0]
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    subprocess.run(["git", "-C", tmp_path, *who, "commit", "-q", "--allow-empty", "-m", "start"], check=True)
    assert said(checks.git, HERE, "fine")[0].startswith("commit ")


def test_no_git_and_a_git_that_hangs(programs, said):
    assert "there is no git here" in said(checks.git, HERE, "warning")[0]
    programs(git="exec /bin/sleep 60")
    assert "git does not answer in 0.2 s" in said(checks.git, Case(None, patience=0.2), "warning")[0]


def test_the_ffmpeg_of_the_environment_has_what_clips_need(said):
    [(state, text)] = said(checks.ffmpeg, HERE)
    assert state == "fine" and text.startswith("ffmpeg version ")


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ("exit 127", "does not run (code 127: )"),
        ("exec /bin/sleep 60", "does not run (no answer)"),
        ("echo ' V....D libx264 x'; echo ' ... scale V->V'", "lacks settb, setpts, fps, trim, setsar, format, which clips"),
        ('for f in settb setpts fps trim scale setsar format; do echo " ... $f V->V"; done', "lacks libx264"),
    ],
)
def test_an_ffmpeg_that_cannot_make_clips_stops_those_who_make_some(programs, said, monkeypatch, tmp_path, script, text):
    programs(ffmpeg=script)
    monkeypatch.setattr(checks.imageio_ffmpeg, "get_ffmpeg_exe", lambda: str(tmp_path / "bin/ffmpeg"))
    assert text in said(checks.ffmpeg, Case(None, patience=0.3), "stop")[0]
    assert said(checks.ffmpeg, Case(None, jobs=frozenset({"train"}), patience=0.3), "stop") == []


def test_no_ffmpeg_at_all(said, monkeypatch):
    def none():
        raise RuntimeError("No ffmpeg exe could be found.\nInstall it")

    monkeypatch.setattr(checks.imageio_ffmpeg, "get_ffmpeg_exe", none)
    assert "ffmpeg does not run (No ffmpeg exe could be found.); make setup" in said(checks.ffmpeg, HERE, "stop")[0]


UP = r"printf 'batch* up\nbig up\nold down\n'"
NOTHING = "exit 1"


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Writes slurm/site.yaml."""
    monkeypatch.setattr(slurm, "PROFILE", tmp_path)
    return (tmp_path / "site.yaml").write_text


ASKED = Case(None, slurm=True)


@pytest.mark.usefixtures("programs")
def test_without_slurm_nothing_is_said_unless_jobs_go_there(said):
    assert said(checks.cluster, HERE) == []
    assert "there is no sbatch here" in said(checks.cluster, ASKED, "stop")[0]


@pytest.mark.parametrize(
    ("text", "state", "sentence"),
    [
        (
            "cpu_partition: cpu",
            "stop",
            "cpu_partition is 'cpu', and this cluster has no partition 'cpu'; set cpu_partition in",
        ),
        ("gpu_partition: 'big,gpu'", "stop", "gpu_partition is 'big,gpu', and this cluster has no partition 'gpu'; .* batch, big, old"),
        ("gpu_partition: old", "warning", "gpu_partition is 'old', which is down, so jobs wait"),
        ("acount: x", "stop", "unknown key 'acount'"),
        ("account: theirs", "stop", "account is 'theirs', which .* may not use; .* one of mine, ours$"),
        ("qos: fast", "stop", "qos is 'fast', which .* may not use; .* one of long, normal$"),
    ],
)
def test_what_the_cluster_does_not_have(programs, said, site, text, state, sentence):
    site(text)
    programs(sinfo=UP, sbatch=":", sacctmgr=r"printf 'ours|normal,long\nmine|normal\n'")
    assert any(re.search(sentence, found) for found in said(checks.cluster, ASKED, state))
    # Where jobs need not go to Slurm, or a command line may say other words, it stops nothing.
    for other in (HERE, Case(None, slurm=True, quick=True)):
        assert said(checks.cluster, other, "stop") == []
        assert any(re.search(sentence, found) for found in said(checks.cluster, other, "warning"))


def test_what_the_cluster_has(programs, said, site):
    site("gpu_partition: big\naccount: mine\nqos: long\n")
    programs(sinfo=UP, sbatch=":", sacctmgr=r"printf 'ours|normal,long\nmine|normal\n'")
    assert said(checks.cluster, ASKED) == [
        ("fine", "cpu_partition: the default, batch"),
        ("fine", "gpu_partition: big"),
        ("fine", "account: mine"),
        ("fine", "qos: long"),
    ]


def test_no_default_partition(programs, said, site):
    site("gpu_partition: big\n")
    programs(sinfo="echo big up", sbatch=":", sacctmgr=NOTHING)
    assert said(checks.cluster, ASKED, "stop") == [
        "cpu_partition is not set, and no partition is the cluster's default; "
        "set cpu_partition in slurm/site.yaml, or PETL_SLURM_CPU_PARTITION, to one of big"
    ]
    assert "account: not checked" in said(checks.cluster, ASKED, "fine")[-1]


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("/bin/sleep 60", "sinfo does not answer in 0.3 s"),
        ("echo 'Unable to contact it' >&2; exit 1", "sinfo says: Unable to"),
    ],
)
def test_a_dead_slurmctld_is_said_once_and_costs_its_time_once(programs, said, site, script, sentence):
    site("account: mine")
    programs(sinfo=script, sbatch=":", sacctmgr="/bin/sleep 60")
    start = time.monotonic()
    [text] = said(checks.cluster, Case(None, slurm=True, patience=0.3), "warning")
    assert text.startswith(sentence) and time.monotonic() - start < 1
    assert said(checks.cluster, Case(None, slurm=True, patience=0.3, quick=True)) == []


def test_a_program_that_cannot_be_started_is_an_answer_too(programs, said, site):
    site("")
    programs(sinfo=UP, sbatch=":")
    assert "account: not checked" in said(checks.cluster, ASKED, "fine")[-1]
    programs(sinfo="")
    (checks.Path(checks.shutil.which("sinfo"))).write_text("#!/no/such/shell\n")
    assert "sinfo cannot be started" in said(checks.cluster, ASKED, "warning")[0]
