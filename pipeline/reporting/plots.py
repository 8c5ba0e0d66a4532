"""Tables that `dvc plots` draws: a point a method, the ranks of its queries, and its learning curves. Q queries (captions)."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from pipeline.evaluation.embeddings import Embeddings
from pipeline.evaluation.ranks import text_to_video
from pipeline.evaluation.validation import similarities
from pipeline.reporting.results import Result

BINS = {"1": 1, "2-5": 5, "6-10": 10, "11-50": 50, ">50": np.inf}  # name -> last rank in it
MEASURES = {"R@1 on validation, %": "t2v_R1", "Probe on validation, %": "probe", "Training loss": "loss"}


def points(df: pd.DataFrame) -> pd.DataFrame:
    """One row a method of a `report.table`: its trained parameters, and R@1 and R-Sum in percent.

    `low` and `high` are the interval of t2v R@1 for one seed, mean ± deviation for several, R@1 itself where neither is known.
    """
    spread = df["t2v_R1_std"].fillna(0.0)
    low, high = df["t2v_R1_low"].fillna(df["t2v_R1"] - spread), df["t2v_R1_high"].fillna(df["t2v_R1"] + spread)
    kept = df[["label", "seeds", "trainable", "t2v_R1", "v2t_R1", "RSum"]]
    return kept.assign(low=low, high=high).astype({"trainable": int}).round(4)


def ranks(found: Mapping[str, Iterable[Embeddings]]) -> pd.DataFrame:
    """Rows (label, ranks, share): in percent of all captions, how often the right video has one of these ranks.

    A mean over the seeds of a label, so that the share of rank 1 is the R@1 of the table. Tied videos take their mean rank.
    """
    rows = []
    for label, seeds in found.items():
        shares = np.mean([_shares(made) for made in seeds], axis=0)
        rows += [{"label": label, "ranks": name, "share": share} for name, share in zip(BINS, shares, strict=True)]
    return pd.DataFrame(rows, columns=["label", "ranks", "share"]).round(4)


def _shares(made: Embeddings) -> np.ndarray:
    """Percent of the Q captions in each of the bins."""
    places = text_to_video(similarities(made), made.video_of_text, captions=made.caption_id).mean
    bins = np.searchsorted([*BINS.values()], places)
    return 100 * np.bincount(bins, minlength=len(BINS)) / len(bins)


def curves(runs: Mapping[str, Sequence[Result]]) -> pd.DataFrame:
    """Rows (label, epoch, measure, value): means over the seeds of a label, of the epochs for which every seed has the number."""
    rows = [
        {"label": label, "epoch": epoch["epoch"], "measure": measure, "value": (epoch | (epoch["val"] or {})).get(name)}
        for measure, name in MEASURES.items()
        for label, group in runs.items()
        for result in group
        for epoch in result.train["epochs"]
    ]
    df = pd.DataFrame(rows, columns=["label", "epoch", "measure", "value"]).dropna().astype({"value": float})
    grouped = df.groupby(["label", "epoch", "measure"], sort=False)["value"].agg(["mean", "count"]).reset_index()
    whole = grouped["count"] == grouped["label"].map({label: len(group) for label, group in runs.items()})
    return grouped[whole].drop(columns="count").rename(columns={"mean": "value"}).round(6)
