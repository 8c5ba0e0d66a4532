"""DVC knows the stages, parameters, metrics and adapters of a finished workflow."""

import json

import pytest


@pytest.fixture
def tracked(checkout):
    """A finished run that was taken over by `dvc commit`, as after an expensive run of Snakemake alone."""
    for command in (
        "git init -q",
        "git config user.email test@example.org",
        "git config user.name test",
        "dvc init -q",
        "dvc config core.analytics false",
        "dvc commit -f",
        "git add -A",
        "git commit -q -m run",
    ):
        done = checkout.run(*command.split())
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return checkout


def test_a_finished_run_is_up_to_date_and_another_rate_touches_one_method_and_the_report(tracked):
    assert "up to date" in tracked.run("dvc", "status").stdout
    tracked.edit("params.yaml", lambda text: text.replace("vop: {}", "vop: {train: {lr: 3.0e-3}}"))
    changed = json.loads(tracked.run("dvc", "status", "--json").stdout)
    assert set(changed) == {"run@motion-vop-0"}


def test_metrics_are_one_row_a_run_and_adapters_are_in_the_cache_not_in_git(tracked):
    shown = json.loads(tracked.run("dvc", "metrics", "show", "--json").stdout)[""]["data"]
    metrics = [path for path in shown if path.endswith("metrics.json")]
    assert len(metrics) == 4
    assert shown["runs/motion/clip-tiny/vop/0/metrics.json"]["data"]["t2v"]["R1"] >= 0
    files = tracked.run("git", "ls-files").stdout.splitlines()
    assert set(metrics) <= set(files)
    assert not [path for path in files if path.endswith((".safetensors", ".h5", ".mp4"))]
    (tracked.folder / "runs/motion/clip-tiny/vop/0/adapter.safetensors").unlink()
    assert tracked.run("dvc", "checkout").returncode == 0
    assert (tracked.folder / "runs/motion/clip-tiny/vop/0/adapter.safetensors").is_file()
