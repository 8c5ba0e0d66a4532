"""Snakemake in the background on the tests' Slurm, what can happen to it, and whether its results are still the same."""

import hashlib
import os
import re
import signal
import subprocess
from pathlib import Path

from tests import pages
from tests.cluster.slurm import until

# Small enough for a test: polls and waits are for a disk and a queue that answer at once.
SITE = {"POLL": "2", "LATENCY": "10", "RETRIES": "10", "CPU_PARTITION": "cpu", "GPU_PARTITION": "gpu"}
RESULTS = ("adapter.safetensors", "embeddings.h5", "metrics.json")
TRAINING = "pipeline.stages.train"
PAGE = pages.commands("cluster.md")
COMMAND = PAGE["On a Slurm cluster"][0].split()


class Run:
    """`snakemake --profile slurm` in a checkout, started, killed and started again."""

    def __init__(self, checkout, *targets, expected=None, **site):
        self.checkout, self.targets, self.expected = checkout, targets, expected
        self.site = {f"PETL_SLURM_{key.upper()}": str(value) for key, value in (SITE | site).items()}
        self.output = checkout.folder / "snakemake.out"
        self.process = None

    def start(self, *words):
        command = [*self.checkout.before, *COMMAND, *words, "--", *self.targets]
        with self.output.open("a", encoding="utf-8") as out:
            self.process = subprocess.Popen(
                command,
                cwd=self.checkout.folder,
                env=self.checkout.environment() | self.site,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def finish(self, *, seconds):
        """Wait for its end. AssertionError, with what it said, unless it ended well and with the expected hashes."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            code = f"no end within {seconds} seconds"
        assert code == 0, f"{code}\n{self.said()}"
        if self.expected:
            found = hashes(self.checkout)
            assert [path for path in self.expected if found.get(path) != self.expected[path]] == []

    def kill(self):
        """As a lost login node would: Snakemake is gone at once, its jobs go on."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def again(self, *words):
        """The same command, as docs/cluster.md says."""
        return self.start(*words)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.kill()

    def said(self):
        return self.output.read_text(encoding="utf-8")

    def until_training(self, run, *, epoch=10, seconds=120):
        """Wait until a training has come so far, with a state that it could go on from."""
        log = self.checkout.folder / f"logs/train/motion.{run}.0.log"
        until(
            lambda: log.exists() and f"epoch {epoch}:" in log.read_text(encoding="utf-8"),
            seconds=seconds,
            what=f"epoch {epoch} of {run}\n{self.said()[-2000:]}",
        )


def processes(checkout, word):
    """The numbers of the Python processes that run `word` in a checkout."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if "python" in words[0] and word in words and (folder / "cwd").resolve() == checkout.folder.resolve():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def environments(checkout, word):
    """The environments of these processes."""
    found = []
    for number in processes(checkout, word):
        try:
            pairs = Path(f"/proc/{number}/environ").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        found.append(dict(pair.split("=", 1) for pair in pairs if "=" in pair))
    return found


def hashes(checkout):
    """The results of all runs: path -> SHA-256."""
    files = [path for name in RESULTS for path in sorted((checkout.folder / "runs").rglob(name))]
    return {str(path.relative_to(checkout.folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def finishes(checkout):
    """How often Snakemake has noted each job as finished, over all of its logs: first output -> number."""
    counted = {}
    for log in (checkout.folder / ".snakemake/log").glob("*.snakemake.log"):
        text = log.read_text(encoding="utf-8")
        outputs = dict(re.findall(r"^    output: ([^,\n]+)[^\n]*\n(?:    .*\n)*?    jobid: (\d+)$", text, flags=re.MULTILINE))
        names = {number: output for output, number in outputs.items()}
        for number in re.findall(r"^Finished jobid: (\d+)", text, flags=re.MULTILINE):
            if number in names:
                counted[names[number]] = counted.get(names[number], 0) + 1
    return counted


def longer(checkout, methods, *, epochs):
    """Make the trainings of `methods` long enough to be disturbed, and states frequent."""
    listed = "".join(f"  {name}: {{{config}train: {{epochs: {epochs}, validate_every: {epochs}}}}}\n" for name, config in methods.items())
    checkout.edit("params.yaml", lambda text: re.sub(r"^methods:\n(  .*\n)+", f"methods:\n{listed}", text, flags=re.MULTILINE))
    names = ", ".join(methods)
    checkout.edit("params.yaml", lambda text: re.sub(r"^  methods: .*$", f"  methods: [{names}]", text, flags=re.MULTILINE))
    checkout.edit("params.yaml", lambda text: text + "\nmachine: {save_every: 5}\n")


def wait_idle(slurm, *, seconds=60):
    """Until nothing is left in the queue."""
    until(lambda: not slurm.jobs(states="pending,running,completing"), seconds=seconds, what="an empty queue")
