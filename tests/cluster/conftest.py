"""A Slurm of its own for each test, on machines where one can be started."""

import pytest

from tests.cluster.runs import Run, hashes, longer
from tests.cluster.slurm import Slurm, missing
from tests.workflow.conftest import checkout, finished, shared  # noqa: F401

# What the faults are tried on: long enough to be hit in the middle, short enough to be waited for.
EPOCHS = 150


@pytest.fixture
def slurm(request):
    """Started, and stopped after the test. A parameter holds the words for Slurm()."""
    words = getattr(request, "param", {})
    reason = missing(accounting=words.get("accounting", False))
    if reason:
        pytest.skip(f"NO CLUSTER TEST WAS RUN: {reason}")
    with Slurm(**words) as running:
        yield running


@pytest.fixture(scope="session")
def long_training(finished, shared):  # noqa: F811
    """(a checkout with a training to come that takes about a minute, the hashes that it has without Slurm)."""

    def prepare(folder):
        longer(finished.copy(folder, warm=False), {"mv_adapter": "config: {middle: 32}, "}, epochs=EPOCHS)

    prepared = shared("long", prepare)

    def run(folder):
        done = prepared.copy(folder).snakemake("--", METRICS)
        assert done.returncode == 0, done.output

    return prepared, hashes(shared("long-finished", run))


METRICS = "runs/motion/clip-tiny/mv_adapter/0/metrics.json"


@pytest.fixture
def disturbed(slurm, long_training, tmp_path):  # noqa: ARG001
    """Starts the long training on Slurm; the test disturbs it, and then its results must be what they are without Slurm."""
    prepared, expected = long_training
    runs = []

    def start(*words, **site):
        runs.append(Run(prepared.copy(tmp_path / "run", warm=False), METRICS, expected=expected, **site))
        return runs[0].start(*words)

    yield start
    for run in runs:
        run.stop()


def log_of(run):
    """The output of the last attempt of the training."""
    return (run.checkout.folder / "logs/train/motion.mv_adapter.0.log").read_text(encoding="utf-8")


def resumed(run):
    """Whether the last attempt went on from a state: it told of fewer epochs than there are."""
    return 0 < log_of(run).count("\nepoch ") + log_of(run).startswith("epoch ") < EPOCHS
