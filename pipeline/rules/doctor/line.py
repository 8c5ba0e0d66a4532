"""Lines of the doctor, and what they are about."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from pipeline.config.schema import Params
from pipeline.rules import gpus
from pipeline.rules.plan import Choice

FINE, WARNING, STOP = "fine", "warning", "stop"  # a run goes on with a warning, and certainly ends with a stop


@dataclass(frozen=True)
class Line:
    """The finding of one check: `state` is FINE with what was found, or WARNING or STOP with a sentence that names the remedy."""

    name: str
    state: str
    text: str


@dataclass(frozen=True)
class Case:
    """The thing to check: the workflow of the working directory.

    `counts`: videos of each dataset; `choices`: the stores of each run, as far as they are known; `jobs`: the rules that are going to
    run, None where any may. `slurm`: jobs run on other machines. `patience`: seconds that a program may take to answer. `quick`: what
    cannot be told in a moment is left out. Without `params` nothing is known of the plan.
    """

    params: Params | None
    counts: Mapping[str, int] = field(default_factory=dict)
    choices: Mapping[tuple[str, str], Choice] = field(default_factory=dict)
    jobs: frozenset[str] | None = None
    slurm: bool = False
    quick: bool = False
    patience: float = 2.0

    @property
    def device(self) -> str:
        """The device that is asked for."""
        return self.params.device if self.params else "auto"

    @cached_property
    def gpus(self) -> tuple[int, str, str]:
        """How many GPUs jobs of this machine may use, the CUDA of their driver, and "" or why nothing tells of any."""
        if self.device == "cpu" or self.slurm:
            return 0, "", "none is asked for"
        driver, silent = gpus.driver(seconds=self.patience)
        return 0 if silent else gpus.count(os.environ), driver, silent

    def may_run(self, *rules: str) -> bool:
        """Whether a job of one of these rules may be going to run."""
        return self.jobs is None or not self.jobs.isdisjoint(rules)

    def bad(self, *rules: str) -> str:
        """The state of what certainly ends jobs of these rules: STOP if there may be some."""
        return STOP if self.may_run(*rules) else WARNING


def near(path: Path) -> Path:
    """The path where it leads, or the nearest folder above that is there: where something below it would be made."""
    whole = path.resolve()
    return next(folder for folder in (whole, *whole.parents) if folder.exists())
