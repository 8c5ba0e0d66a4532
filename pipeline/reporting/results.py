"""Several runs as one comparison: what is read, what may be compared, the table, and its forms as text.

The HTML page is built from the same table by `pipeline.reporting.page`.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.config.registry import PLAIN
from pipeline.core.files import read_json
from pipeline.core.formatting import count, giga, markdown, significant, size, tenth
from pipeline.evaluation import small

NEEDED = {
    "metrics.json": "dataset backbone backbone_digest method seed queries gallery gallery_hash missing_hash t2v v2t probe",
    "cost.json": "trainable dead backbone_parameters share checkpoint_bytes macs_per_video train_peak_bytes "
    "train_videos_per_second embed_videos_per_second",
    "train.json": "status epochs selected_epoch record",
}
MEASURED = ("t2v_R1", "t2v_R5", "t2v_R10", "t2v_MdR", "t2v_MnR", "v2t_R1", "RSum", "probe")
COUNTED = ("trainable", "share", "tower_share", "dead", "checkpoint_bytes", "macs_per_video")
LATER = ("tower_share", "folds")  # which a cost.json from before has not: then nothing was measured
FOLDS = {"no": 0.0, "in part": 0.5, "yes": 1.0}  # does the method fold away (clip/folding.py), as a number among numbers
BY_BATCH = " (by batch)"  # in the label of a method whose embeddings depend on the videos beside them
TIMED = ("train_peak_bytes", "train_videos_per_second", "embed_videos_per_second")


@dataclass(frozen=True)
class Result:
    """One run: the contents of its metrics.json, cost.json and train.json (see docs/protocol.md)."""

    folder: Path
    metrics: dict[str, Any]
    cost: dict[str, Any]
    train: dict[str, Any]

    @property
    def key(self) -> tuple[str, str, str]:
        """Runs that differ in nothing but the seed share it: dataset, backbone, method."""
        return self.metrics["dataset"], self.metrics["backbone"], self.metrics["method"]


def load_result(folder: Path) -> Result:
    """The run in `folder`. ValueError names the file that is missing, cut short, or lacks a key."""
    return Result(folder, *(_read(folder / name) for name in NEEDED))


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(f"there is no {path}; let the run finish, or leave it out of the report")
    content = read_json(path)
    absent = [key for key in NEEDED[path.name].split() if not isinstance(content, dict) or key not in content]
    if absent:
        raise ValueError(f"{path} lacks {absent[0]!r}; delete it and run its rule again")
    if content.get("status", "finished") != "finished":
        raise ValueError(f"{path} says the run is {content['status']!r}; let it finish, or leave it out of the report")
    return dict(content)


def refuse_mixed_galleries(results: Sequence[Result]) -> None:
    """ValueError if two results of a dataset were scored on other videos, captions or lists of missing videos."""
    first: dict[str, Result] = {}
    for result in results:
        other = first.setdefault(result.metrics["dataset"], result)
        if _gallery(result) != _gallery(other):
            raise ValueError(
                f"{other.folder} and {result.folder} were not scored on the same test set of {result.metrics['dataset']}: "
                f"{_gallery(other)} against {_gallery(result)}; score both again on one set, or report them apart"
            )


def _gallery(result: Result) -> str:
    return "{gallery} videos (hash {gallery_hash}), {queries} queries, missing list {missing_hash}".format(**result.metrics)


def table(results: Sequence[Result]) -> pd.DataFrame:
    """One row a (dataset, backbone, method): means over seeds, zero-shot first, then by trainable parameters.

    Recalls, R-Sum (both directions), probe and shares are in percent; `<column>_std` is the sample deviation, NaN for one
    seed; `t2v_R1_low` and `_high` are the confidence interval of a single seed, NaN for more. A value that a run
    did not measure is NaN. The label says where embeddings depend on each other. Raises ValueError for a seed given twice, or seeds of one
    method that train different counts.
    """
    groups: dict[tuple[str, str, str], list[Result]] = {}
    for result in results:
        groups.setdefault(result.key, []).append(result)
    if not groups:
        raise ValueError("there is no run to report; name at least one folder")
    rows = pd.DataFrame([_row(group) for group in groups.values()])
    several = len(set(rows["backbone"])) > 1
    mutual = {key for key, group in groups.items() if any(_sees_batch(result) for result in group)}
    keys = zip(rows["dataset"], rows["backbone"], rows["method"], strict=True)
    rows.insert(3, "label", [m + f" ({b})" * several + BY_BATCH * ((d, b, m) in mutual) for d, b, m in keys])
    rows["zero"] = rows["method"] != PLAIN
    return rows.sort_values(["dataset", "zero", "trainable", "label"], ignore_index=True).drop(columns="zero")


def _sees_batch(result: Result) -> bool:
    return bool(result.cost.get("sees_batch"))


def _row(group: Sequence[Result]) -> dict[str, Any]:
    seed, times = Counter(r.metrics["seed"] for r in group).most_common(1)[0]
    if times > 1:
        raise ValueError(f"seed {seed} of {'/'.join(group[0].key)} is given {times} times; give each run once")
    for other in group:
        if other.cost["trainable"] != group[0].cost["trainable"]:
            raise ValueError(
                f"{group[0].folder} trains {group[0].cost['trainable']} parameters and {other.folder} {other.cost['trainable']}; "
                "they are not seeds of one method: run both again with the same settings"
            )
    values = pd.DataFrame([_values(result) for result in group]).astype(float)
    row = dict(zip(("dataset", "backbone", "method"), group[0].key, strict=True)) | {"seeds": len(group)}
    for name in MEASURED:
        row |= {name: values[name].mean(), f"{name}_std": values[name].std(ddof=1)}
    low, high = group[0].metrics["t2v"]["R1_ci"] if len(group) == 1 else (math.nan, math.nan)
    return row | {"t2v_R1_low": low, "t2v_R1_high": high} | {name: values[name].mean() for name in (*COUNTED, *TIMED, "folds")}


def _values(result: Result) -> dict[str, float | None]:
    m, probe = result.metrics, result.metrics["probe"]
    values = {f"t2v_{name}": m["t2v"][name] for name in ("R1", "R5", "R10", "MdR", "MnR")} | {"v2t_R1": m["v2t"]["R1"]}
    values |= {"RSum": m["t2v"]["RSum"] + m["v2t"]["RSum"], "probe": probe["accuracy"] if probe else None}
    values |= {name: result.cost.get(name) if name in LATER else result.cost[name] for name in COUNTED + TIMED}
    values["folds"] = FOLDS.get(result.cost.get("folds", ""))
    if not result.train["epochs"]:  # what was never trained has no training speed, whatever a clock said
        values |= {"train_peak_bytes": None, "train_videos_per_second": None}
    return values


@dataclass(frozen=True)
class Column:
    """How one number of the table is shown. `cost`: the smallest is the best, and zero-shot gets it for free."""

    name: str
    group: str
    title: str
    meaning: str
    show: Callable[[float], str]
    cost: bool = False


def _folds(number: float) -> str:
    return next(word for word, code in FOLDS.items() if code == number)


COLUMNS = (
    Column("seeds", "", "Seeds", "runs averaged; ± is the deviation over them", "{:.0f}".format),
    Column("t2v_R1", "Text to video", "R@1", "captions whose video comes first, %", tenth),
    Column("t2v_R5", "Text to video", "R@5", "captions whose video is among the first five, %", tenth),
    Column("t2v_R10", "Text to video", "R@10", "captions whose video is among the first ten, %", tenth),
    Column("t2v_MdR", "Text to video", "MdR", "median rank of the right video", tenth),
    Column("t2v_MnR", "Text to video", "MnR", "mean rank of the right video", tenth),
    Column("v2t_R1", "Video to text", "v2t R@1", "videos with a right caption first, %", tenth),
    Column("RSum", "Both ways", "R-Sum", "R@1 + R@5 + R@10, both directions", tenth),
    Column("probe", "Time", "Probe", "temporal probe, %; 50 is chance", tenth),
    Column("trainable", "Trained", "Params", "parameters trained that can matter", count, True),
    Column("share", "Trained", "% of CLIP", "trained parameters as a share of the backbone's", significant, True),
    Column("tower_share", "Trained", "% of towers", "the same without the token table, which is most of some backbones", significant, True),
    Column("dead", "Trained", "Dead", "parameters stored that can never matter", count),
    Column("checkpoint_bytes", "Trained", "File", "size of the checkpoint", size, True),
    Column("folds", "Cost", "Folds away", "whether it is other weights of CLIP and nothing else, which cost nothing at inference", _folds),
    Column("macs_per_video", "Cost", "GMACs", "10⁹ multiply-adds to embed a video", giga, True),
    Column("train_peak_bytes", "Cost", "Train memory", "peak memory of training", size, True),
    Column("train_videos_per_second", "Cost", "Train/s", "videos a second in training", significant),
    Column("embed_videos_per_second", "Cost", "Embed/s", "videos a second at inference", significant),
)
SHORT = ("seeds", "t2v_R1", "t2v_R5", "t2v_R10", "t2v_MdR", "v2t_R1", "RSum", "probe", "trainable", "macs_per_video")


def warnings(results: Sequence[Result], df: pd.DataFrame) -> list[str]:
    """Sentences on what the numbers of one dataset cannot say: in a small gallery, where ties decide who is first, where embeddings depend
    on each other."""
    labels = {tuple(row[["dataset", "backbone", "method"]]): str(row["label"]) for _, row in df.iterrows()}
    tied = {
        labels[r.key]: f"{r.metrics['t2v']['R1_pessimistic']:.1f} and {r.metrics['t2v']['R1_optimistic']:.1f} %"
        for r in reversed(results)
        if tenth(r.metrics["t2v"].get("R1_optimistic", 0.0)) != tenth(r.metrics["t2v"].get("R1_pessimistic", 0.0))
    }
    ties = [f"Other videos tie with the right one: R@1 of {label} lies between {ends}." for label, ends in reversed(tied.items())]
    mutual = [
        f"An embedding of {label} depends on the videos that are embedded with it, so that another number at once gives other results."
        for label in dict.fromkeys(labels[r.key] for r in results if _sees_batch(r))
    ]
    return [*filter(None, [small.warning(int(results[0].metrics["gallery"]))]), *ties, *mutual]


def cell(row: "pd.Series[Any]", column: Column, *, deviation: bool = True) -> str:
    """The number as shown: its mean, ± its deviation where there is one, an en dash where nothing was measured."""
    value = row[column.name]
    spread = row.get(f"{column.name}_std", math.nan) if deviation else math.nan
    if math.isnan(value):
        return "\u2013"
    return column.show(value) + ("" if math.isnan(spread) else f" ± {column.show(spread)}")


def to_markdown(df: pd.DataFrame, *, notes: Sequence[str] = ()) -> str:
    """The whole table as Markdown, with the interval of R@1 in brackets where it is known, and `notes` below it."""
    lines = list[list[str]]()
    for _, row in df.iterrows():
        cells = {column.name: cell(row, column) for column in COLUMNS}
        if not math.isnan(row["t2v_R1_low"]):
            cells["t2v_R1"] += f" [{row['t2v_R1_low']:.1f}, {row['t2v_R1_high']:.1f}]"
        lines.append([str(row["label"]).replace("|", "\\|"), *cells.values()])
    table = markdown(["Method", *(column.title for column in COLUMNS)], lines, right=True)
    return "".join([table, *(f"\n{note}\n" for note in notes)])


def to_text(df: pd.DataFrame, *, notes: Sequence[str] = ()) -> str:
    """The columns that decide, aligned for a terminal of 110 characters, and `notes` below them."""
    columns = [column for column in COLUMNS if column.name in SHORT]
    lines = [["method", *(column.title for column in columns)]]
    for _, row in df.iterrows():
        lines.append([str(row["label"])[:22], *(cell(row, column, deviation=column.name == "t2v_R1") for column in columns)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    justified = [[line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])] for line in lines]
    return "".join([*("  ".join(line) + "\n" for line in justified), *(f"{note}\n" for note in notes)])
