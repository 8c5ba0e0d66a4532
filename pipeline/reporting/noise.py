"""Which methods the test set cannot tell from the best one: paired tests, so that a table crowns nobody by chance. V videos, M methods."""

from collections.abc import Iterable, Mapping
from statistics import NormalDist

import numpy as np
import pandas as pd

from pipeline.config.schema import Score
from pipeline.evaluation.compare import NAMES, exchanged, holm, outcomes, shares
from pipeline.evaluation.embeddings import Embeddings
from pipeline.evaluation.ranks import Doubles, Integers

TESTED = ("t2v_R1", "t2v_R5", "t2v_R10", "v2t_R1", "RSum", "probe")  # columns of the table; the more, the better


def alike(df: pd.DataFrame, found: Mapping[str, Iterable[Embeddings]], *, score: Score) -> dict[str, list[str]]:
    """Column of TESTED -> labels of the best method of a `results.table` and of all that cannot be told from it, the best first.

    `found` holds the embeddings of each label's seeds, all of one test set. A method is worse for sure if the sign-flip test of
    `evaluation.compare` says so at 1 - `score.confidence`, after Holm's correction for all methods that are tested against the best, and
    if the means of seeds, where there are several, are further apart than their deviations allow.
    """
    parts = {label: parts_of(outcomes(made) for made in seeds) for label, seeds in found.items()}
    return alike_by_parts(df, parts, score=score)


def alike_by_parts(df: pd.DataFrame, found: Mapping[str, Doubles], *, score: Score) -> dict[str, list[str]]:
    """The same of `parts_of` each label."""
    parts, marked = np.stack([found[label] for label in df["label"]]), {}
    for column in TESTED:
        if not df[column].isna().any():
            order = np.argsort(-df[column].to_numpy(), kind="stable")
            best, others = order[0], order[1:]
            change = parts[best, :, NAMES.index(column)] - parts[others, :, NAMES.index(column)]
            worse = _beyond(change, df.iloc[order], column=column, score=score)
            marked[column] = [str(df["label"].iloc[n]) for n in (best, *others[~worse])]
    return marked


def parts_of(seeds: Iterable[tuple[Doubles, Integers]]) -> Doubles:
    """The share of each video in each metric (V, 8), in percent, a mean over the `compare.outcomes` of seeds."""
    return np.asarray(np.mean([shares(*made) for made in seeds], axis=0))


def _beyond(change: Doubles, ordered: pd.DataFrame, *, column: str, score: Score) -> np.ndarray:
    """Whether each other method (M - 1,) is worse than the first one, the best, by more than chance; `change` (M - 1, V) by video."""
    if not len(change):
        return np.zeros(0, bool)
    luck = holm(exchanged(change.T, settings=score)) < 1 - score.confidence
    values, error = ordered[column].to_numpy(), (ordered[f"{column}_std"] ** 2 / ordered["seeds"]).fillna(0.0).to_numpy()
    apart = values[0] - values[1:] > NormalDist().inv_cdf((1 + score.confidence) / 2) * np.sqrt(error[0] + error[1:])
    return np.asarray(luck & apart)


def told(marked: Mapping[str, list[str]], *, methods: int) -> str:
    """A sentence about the method with the highest R@1, "" where it was not tested or is the best beyond noise."""
    best, *others = marked.get("t2v_R1", [""])
    if not others:
        return ""
    if len(others) == methods - 1:
        return "By R@1, this test set cannot tell any method from the best."
    return f"By R@1, this test set does not tell {best} from {', '.join(others)}."
