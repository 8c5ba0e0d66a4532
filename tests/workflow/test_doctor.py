"""The checks of a workflow when it starts: it warns and goes on, or stops before its first job."""

import pytest

from tests.workflow.conftest import fresh


@pytest.fixture
def started(tmp_path):
    """The tiny configuration, of one method that is trained not at all, and nothing made yet."""
    made = fresh(tmp_path)
    made.edit("params.yaml", lambda text: text.replace("[zero_shot, full_finetune, vop, mv_adapter]", "[zero_shot]"))
    made.edit("params.yaml", lambda text: text.replace("method: mv_adapter", "method: zero_shot"))
    return made


def test_a_start_warns_and_goes_on_or_stops_before_the_first_job(started):
    done = started.snakemake("data/motion/raw.sha256")
    assert done.returncode == 0, done.output
    # Snakemakes of single jobs say nothing.
    assert done.output.count("git: ") == 1 and "is no git repository" in done.output
    assert "Plan: " not in done.output

    stopped = started.run("env", "CUDA_VISIBLE_DEVICES=", "snakemake", "--cores", "1", "--config", "device=cuda")
    said = stopped.stdout + stopped.stderr
    assert stopped.returncode == 1 and "device is cuda, but there is no GPU here" in said
    assert "Traceback" not in said and not (started.folder / "work/clip-tiny").exists()

    # A dry run looks at nothing, and ends with what its jobs take: once, and what `python -m pipeline plan` says.
    done = started.snakemake("-n", "--config", "device=cuda")
    assert done.returncode == 0 and "no GPU here" not in done.output and "git: " not in done.output
    told = done.output.splitlines()[-2:]
    assert done.output.count("Plan: ") == 2 and told[0].startswith("Plan: trainings 1, searches of rates 0, stores of CLIP's blocks 1: ")
    assert told[1].endswith(" of disk at most.") and not told[1].startswith("Plan: 0 B")

    # What needs no GPU goes on.
    done = started.snakemake("--config", "device=cuda", "--", "data/motion/videos.parquet")
    assert done.returncode == 0, done.output
