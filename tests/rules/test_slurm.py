"""Site values, the choice of the status command and the search for orphans, against made-up commands of Slurm."""

import re
from pathlib import Path

import pytest

from pipeline.rules import slurm


def commands(folder, monkeypatch, **scripts):
    """Put programs of these texts first on the path."""
    folder.mkdir(exist_ok=True)
    for name, text in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_a_variable_wins_over_the_file(tmp_path):
    file = tmp_path / "site.yaml"
    file.write_text("account: abc\npoll: 30\n")
    site = slurm.read_site(file, {"PETL_SLURM_POLL": "5", "HOME": "/"})
    assert (site.account, site.poll, site.cpu_partition) == ("abc", 5, "")


def test_a_missing_or_empty_file_is_a_site_without_wishes(tmp_path):
    (tmp_path / "empty.yaml").write_text("# nothing yet\n")
    assert slurm.read_site(tmp_path / "no.yaml", {}) == slurm.read_site(tmp_path / "empty.yaml", {}) == slurm.Site()


@pytest.mark.parametrize(
    ("text", "variables", "message"),
    [
        ("acount: abc", {}, "unknown key 'acount'; did you mean 'account'?"),
        ("", {"PETL_SLURM_ACOUNT": "abc"}, "PETL_SLURM_ACOUNT is set, but .* no key of that name"),
        ("poll: 0", {}, "poll is 0; the least is 1"),
        ("- cpu", {}, "not made of `key: value` lines"),
        ("prologue: 'echo \"a\"'", {}, "prologue has double quotes"),
    ],
)
def test_a_wrong_site_is_one_sentence(tmp_path, text, variables, message):
    file = tmp_path / "site.yaml"
    file.write_text(text)
    with pytest.raises(ValueError, match=message):
        slurm.read_site(file, variables)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("AccountingStorageType = accounting_storage/slurmdbd\nMinJobAge = 30 sec", ("sacct", 20)),
        ("AccountingStorageType   = accounting_storage/none\nMinJobAge               = 300 sec", ("squeue", 20)),
        ("AccountingStorageType = (null)\nMinJobAge = 30 sec", ("squeue", 10)),
    ],
)
def test_the_cluster_says_how_its_jobs_are_looked_up(tmp_path, monkeypatch, said, expected):
    commands(tmp_path / "bin", monkeypatch, scontrol=f"cat <<'END'\n{said}\nEND")
    found = slurm.status(20)
    assert (found.command, found.seconds) == expected


@pytest.mark.parametrize(
    ("limits", "minutes"),
    [
        ("cpu 2:00:00\ngpu 1-12:30:00\n", 120),
        ("cpu infinite\ngpu 45:00\n", 45),
        ("cpu infinite\ngpu infinite\n", 0),
        ("other 10:00\n", 0),
        ("cpu* infinite\ngpu 45:00\n", 45),
    ],
)
def test_no_job_asks_for_more_than_its_partitions_allow(tmp_path, monkeypatch, limits, minutes):
    commands(tmp_path / "bin", monkeypatch, sinfo=f"printf '{limits}'")
    assert slurm.longest(slurm.Site(cpu_partition="cpu", gpu_partition="gpu")) == minutes
    assert slurm.longest(slurm.Site(cpu_partition="cpu", gpu_partition="gpu", max_runtime=7)) == 7


def test_where_no_partition_is_named_the_limit_of_the_clusters_own_holds(tmp_path, monkeypatch):
    commands(tmp_path / "bin", monkeypatch, sinfo="printf 'batch* 45:00\nlong infinite\n'")
    assert slurm.longest(slurm.Site()) == 45
    assert slurm.longest(slurm.Site(cpu_partition="long", gpu_partition="long")) == 0


REFUSED = """Error in rule train:
    message: SLURM sbatch failed. The error message was 'sbatch: error: {}
sbatch: error: Batch job submission failed: {}'.
    sbatch call:
        sbatch --parsable
"""


@pytest.mark.parametrize(
    ("said", "key"),
    [
        ("Invalid partition name specified", "cpu_partition and gpu_partition"),
        ("Invalid account or account/partition combination specified", "account"),
        ("Invalid qos specification", "qos"),
        ("Invalid generic resource (gres) specification", "gres"),
        ("Requested time limit is invalid (missing or exceeds some limit)", "max_runtime"),
        ("Invalid feature specification", "constraint"),
        ("Requested node configuration is not available", "gpu_partition and cpu_partition"),
    ],
)
def test_a_refusal_says_which_key_of_the_site_to_set(said, key):
    log = 3 * REFUSED.format("first words", said)
    (sentence,) = slurm.refusals(log)
    assert said in sentence and f"set {key}" in sentence and "slurm/site.yaml" in sentence
    assert slurm.refusals("Error in rule train:") == []


def test_what_is_shipped_names_no_partition():
    assert slurm.read_site(slurm.PROFILE / "site.yaml", {}) == slurm.Site()


def test_without_slurm_the_profile_can_still_be_read(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert slurm.status(20) == slurm.Status("squeue", 20)


def test_folders_have_names_of_their_own_that_slurm_accepts(tmp_path):
    one, other = slurm.name(tmp_path), slurm.name(tmp_path / "other")
    assert one != other and all(re.fullmatch(r"[A-Za-z0-9_-]{1,50}", name) for name in (one, other))
    assert slurm.folder_of(["--cores", "all", "-d", "field"]) == slurm.folder_of(["-n", "--directory=field"]) == Path("field")
    assert slurm.name(slurm.folder_of(["--cores", "all"])) == slurm.name(Path.cwd())


def test_orphans_are_the_jobs_of_this_folder_and_of_no_other(tmp_path, monkeypatch):
    mine = slurm.name(tmp_path)
    queue = tmp_path / "queue"
    queue.write_text(f"7 {mine}_one\n7 {mine}_one\n8 {slurm.name(tmp_path / 'other')}_two\n9 {mine}\n10 a job with spaces\n")
    cancelled = tmp_path / "cancelled"
    commands(tmp_path / "bin", monkeypatch, squeue=f"cat {queue}", scancel=f'echo "$@" >> {cancelled}; : > {queue}')
    assert slurm.orphans(mine) == ["7"]
    assert slurm.end_orphans(mine) == ["7"] and cancelled.read_text() == "7\n"
    assert slurm.end_orphans(mine) == [] and cancelled.read_text() == "7\n"


def test_a_job_that_does_not_end_stops_the_new_run(tmp_path, monkeypatch):
    mine = slurm.name(tmp_path)
    commands(tmp_path / "bin", monkeypatch, squeue=f"echo 7 {mine}_one", scancel=":")
    with pytest.raises(RuntimeError, match="Slurm jobs 7 of an earlier run do not end"):
        slurm.end_orphans(mine, seconds=0)


def test_a_silent_slurmctld_is_said(tmp_path, monkeypatch):
    commands(tmp_path / "bin", monkeypatch, squeue="echo down >&2; exit 1")
    with pytest.raises(RuntimeError, match="squeue does not answer: down"):
        slurm.orphans("name")


def test_the_answer_to_sacct_is_that_of_squeue(tmp_path, monkeypatch):
    import subprocess

    stand_in = Path(__file__).parents[2] / "slurm/without-accounting/sacct"
    commands(tmp_path / "bin", monkeypatch, squeue='echo "$@"')
    asked = subprocess.run([stand_in, "-X", "--name", "run"], capture_output=True, text=True, check=True)
    assert asked.stdout.split() == ["--states=all", "--noheader", "--format=%i|%T", "--name", "run"]
    assert subprocess.run([stand_in, "-j", "7"], capture_output=True, check=False).returncode == 1
