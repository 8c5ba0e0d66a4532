"""A search of learning rates: each trial is the same training, but short, and the best on validation wins."""

from dataclasses import replace
from typing import Any

from pipeline.config.schema import Search
from pipeline.config.settings import Training


def short(settings: Training, search: Search) -> Training:
    """The same training, but for fewer epochs, and validated at its end."""
    return replace(settings, train=replace(settings.train, epochs=search.epochs, validate_every=search.epochs, select="last"))


def best(trials: list[dict[str, Any]]) -> float:
    """The gain with the best R-Sum on validation, the smaller of equals; 1 for a method that trains nothing. ValueError if all failed."""
    if not trials:
        return 1.0
    finished = [trial for trial in trials if trial["val"]]
    if not finished:
        raise ValueError(f"no rate of the search trains: {trials[0]['failure']}; set search.gains or the method's lr lower")
    return float(max(finished, key=lambda trial: (trial["val"]["RSum"], -trial["gain"]))["gain"])
