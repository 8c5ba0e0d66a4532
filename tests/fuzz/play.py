"""Mutate, read, count: the loop of one target."""

import collections
import contextlib
import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.mutate import mutated
from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]
EACH = 5  # failing inputs that are kept of one kind of fault


@dataclass
class Count:
    """The fate of a target's inputs; `faults`: kind -> how often, `first`: kind -> why."""

    inputs: int = 0
    taken: int = 0
    refused: int = 0
    faults: collections.Counter[str] = field(default_factory=collections.Counter)
    first: dict[str, str] = field(default_factory=dict)


class Worker:
    """The process that reads; a new one after each hang or crash."""

    def __init__(self, name: str, home: Path) -> None:
        self._name, self._home = name, home
        self._process: subprocess.Popen[bytes] | None = None

    def read(self, path: Path, limit: float) -> dict[str, str]:
        process = self._process = self._process or self._started()
        assert process.stdin and process.stdout
        process.stdin.write(f"{path}\n".encode())
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], limit)
        line = process.stdout.readline() if ready else b""
        if line.endswith(b"\n"):
            return dict(json.loads(line))
        self.end()
        if not ready:
            return {"what": "fault", "kind": "a hang", "why": f"no end within {limit:g} seconds"}
        return {"what": "fault", "kind": f"a crash with {process.returncode}", "why": "the process ended"}

    def _started(self) -> subprocess.Popen[bytes]:
        temporary = self._home / "tmp" / self._name
        temporary.mkdir(parents=True, exist_ok=True)
        words = [sys.executable, "-m", "tests.fuzz.worker", self._name, str(self._home / "out" / self._name)]
        surroundings = os.environ | {"TMPDIR": str(temporary), "OMP_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "0"}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        return subprocess.Popen(words, cwd=ROOT, env=surroundings, start_new_session=True, **pipes)

    def end(self) -> None:
        """With its children, of which ffmpeg may be one."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


class Play:
    """Inputs of one target from a seed: the n-th is always the same."""

    def __init__(self, name: str, *, home: Path, kept: Path, seed: int) -> None:
        self.name, self.target, self.count = name, TARGETS[name], Count()
        self._kept, self._seed = kept / name, seed
        self._inputs, self._tmp = home / "inputs" / name, home / "tmp" / name
        samples = home / "samples" / name
        for folder in (samples, self._inputs):
            folder.mkdir(parents=True)
        self.target.samples(samples)
        self._samples = [(path, path.read_bytes()) for path in sorted(samples.iterdir())]
        self._worker = Worker(name, home)
        self._refuse_bad_samples()

    def _refuse_bad_samples(self) -> None:
        """A sample that is refused whole would test nothing."""
        for path, data in self._samples:
            found = self._given(path.name, data, limit=180.0)
            if found["what"] == "fault":
                raise AssertionError(f"the whole {path} at {self.name}: {found['why']}")

    def step(self) -> None:
        """One more input."""
        rng = random.Random(f"{self._seed} {self.name} {self.count.inputs}")
        path, data = rng.choice(self._samples)
        content = mutated(data, rng, other=rng.choice(self._samples)[1])
        found = self._given(f"{self.count.inputs}-{path.name}", content, limit=self.target.limit)
        self.count.inputs += 1
        if found["what"] == "fault":
            self._note(found, f"{self.count.inputs - 1}-{path.name}", content)
        else:
            setattr(self.count, found["what"], getattr(self.count, found["what"]) + 1)

    def _given(self, name: str, content: bytes, *, limit: float) -> dict[str, str]:
        path = self._inputs / name
        path.write_bytes(content)
        try:
            found = self._worker.read(path, limit)
        finally:
            path.unlink()
        left = sorted(str(file.relative_to(self._tmp)) for file in self._tmp.iterdir()) if found["what"] != "fault" else []
        shutil.rmtree(self._tmp)
        self._tmp.mkdir()
        return {"what": "fault", "kind": "left a temporary file", "why": f"left {', '.join(left)}"} if left else found

    def _note(self, found: dict[str, str], name: str, content: bytes) -> None:
        kind = found["kind"]
        self.count.faults[kind] += 1
        self.count.first.setdefault(kind, found["why"])
        if self.count.faults[kind] <= EACH:
            self._kept.mkdir(parents=True, exist_ok=True)
            (self._kept / name).write_bytes(content)
            (self._kept / f"{name}.why").write_text(f"{kind}\n{found['why']}\n")

    def close(self) -> None:
        self._worker.end()


def play(names: list[str], *, home: Path, kept: Path, seed: int, seconds: float = 0.0, inputs: int = 0) -> dict[str, Count]:
    """Read mutated files of each target for its share of `seconds`, or so many `inputs` each; what became of them."""
    counts = {}
    for name in names:
        one = Play(name, home=home, kept=kept, seed=seed)
        begin = time.monotonic()
        try:
            while one.count.inputs < inputs or (not inputs and time.monotonic() - begin < seconds / len(names)):
                one.step()
        finally:
            one.close()
        counts[name] = one.count
    return counts
