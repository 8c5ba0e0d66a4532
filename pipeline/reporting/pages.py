"""Parts of README and docs/results that follow from the records in git: blocks of pages between marks, files beside them (`make docs`).

A block begins with `<!-- records: <kind> <place> <words> -->` and ends with `<!-- records: end -->`. Where a place has no records, it
stays as it is.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from pipeline.config.schema import Score
from pipeline.core.code import ROOT
from pipeline.core.files import whole
from pipeline.core.formatting import markdown, tenth
from pipeline.evaluation.compare import compare
from pipeline.reporting import actions, noise, picture, results
from pipeline.reporting.rates import COLUMNS as TRIALS
from pipeline.reporting.records import Entry, at

DEFAULT, FIELD = "motion/clip-tiny", "motion/clip-tiny/field"
BLOCK = re.compile(r"^<!-- records: (\w+) (\S+)((?: \S+)*) -->\n(.*?)^<!-- records: end -->$", re.MULTILINE | re.DOTALL)
WIDE = (
    "seeds",
    "t2v_R1",
    "t2v_R5",
    "t2v_R10",
    "v2t_R1",
    "RSum",
    "probe",
    "trainable",
    "share",
    "tower_share",
    "macs_per_video",
    "train_peak_bytes",
)
NOTHING = "\u2013"  # what the report writes where nothing was measured
DIFFERENCES = {"R-Sum": "RSum", "t2v R@1": "t2v_R1", "probe": "probe"}
CURVES = ("run", "epoch", "loss", "videos_per_second", "val_t2v_R1", "val_v2t_R1", "val_RSum", "val_probe")


def made(entries: Sequence[Entry], root: Path = ROOT) -> dict[Path, str]:
    """File -> its text, of all pages with marks and all files that follow from records. ValueError for a mark that nobody knows."""
    found = {}
    for page in (root / "README.md", *sorted((root / "docs").rglob("*.md"))):
        text = page.read_text(encoding="utf-8")
        if BLOCK.search(text):
            found[page] = filled(text, entries, where=page.relative_to(root).as_posix())
    files: dict[str, Callable[[], str]] = {}
    if default := at(entries, DEFAULT):
        files["docs/results/healthy-run.csv"] = partial(curves, default)
    if field := at(entries, FIELD):
        files["docs/results/field-trials.csv"] = partial(trials, field)
    if best := field or default:
        files["docs/results/motion.svg"] = partial(picture.scatter, best, table=results.table(of(best)))
    return found | {root / name: make() for name, make in files.items()}


def write(files: Mapping[Path, str]) -> list[Path]:
    """Write what differs from the disk, and name it."""
    changed = [path for path, text in files.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    for path in changed:
        with whole(path) as part:
            part.write_text(files[path], encoding="utf-8")
    return changed


def filled(text: str, entries: Sequence[Entry], *, where: str) -> str:
    """A page with each of its blocks made anew."""

    def fill(match: re.Match[str]) -> str:
        kind, place, words, old = match.groups()
        if kind not in KINDS:
            raise ValueError(f"{where} asks for the records as {kind!r}; there are {', '.join(KINDS)}")
        shown = list(entries) if place == "all" else at(entries, place)
        new = KINDS[kind](shown, *words.split()) if shown else old
        return f"<!-- records: {kind} {place}{words} -->\n{new}<!-- records: end -->"

    return BLOCK.sub(fill, text)


def of(entries: Iterable[Entry]) -> list[results.Result]:
    """All runs of some records, of one test set. ValueError if they were scored on several."""
    found = [result for entry in entries for result in entry.results]
    results.refuse_mixed_galleries(found)
    return found


def printed(entries: Sequence[Entry]) -> str:
    """The table as a run of the workflow prints it, with its notes, and what made it."""
    df = results.table(of(entries))
    return f"```text\n{results.to_text(df, notes=_notes(entries, df))}```\n\n{origin(entries)}\n"


def _notes(entries: Sequence[Entry], df: pd.DataFrame) -> list[str]:
    """Sentences of the report on what the table cannot say."""
    return [*filter(None, [noise.told(_alike(entries, df), methods=len(df))]), *results.warnings(of(entries), df)]


def _alike(entries: Sequence[Entry], df: pd.DataFrame) -> dict[str, list[str]]:
    """The sentences of `noise.alike`, from the outcomes in the records."""
    names = dict(zip(df["method"], df["label"], strict=True))
    parts = {names[entry.run]: noise.parts_of((side.hits, side.sizes) for side in entry.sides) for entry in entries}
    return noise.alike_by_parts(df, parts, score=_score(entries[0]))


def _score(entry: Entry) -> Score:
    return Score(**entry.runs[0]["metrics"]["score"])


def origin(entries: Sequence[Entry]) -> str:
    """Who ran it, on what, at which commit."""
    records = [run["train"]["record"] for entry in entries for run in entry.runs]
    commits, torches = dict.fromkeys(r["commit"][:7] for r in records), dict.fromkeys(r["versions"].get("torch", "?") for r in records)
    who = dict.fromkeys(f"{entry.content['by']} on {entry.content['machine']}" for entry in entries)
    notes = dict.fromkeys(entry.content["note"] for entry in entries if entry.content["note"])
    made = f"By {'; '.join(who)}; commit {', '.join(f'`{name}`' for name in commits)}, torch {', '.join(torches)}."
    return " ".join([made, *notes])


def table(entries: Sequence[Entry]) -> str:
    """All columns, as results/<dataset>/table.md has them."""
    df = results.table(of(entries))
    return f"{results.to_markdown(df, notes=_notes(entries, df))}\n{origin(entries)}\n"


def seeds(entries: Sequence[Entry]) -> str:
    """Each seed with the intervals over the test videos."""
    rows = []
    for result in sorted(of(entries), key=lambda result: (float(result.cost["trainable"]), *result.key, int(result.metrics["seed"]))):
        t2v, v2t, probe = (result.metrics[name] for name in ("t2v", "v2t", "probe"))
        asked = [f"{tenth(probe['accuracy'])} {_interval(probe['ci'])}", str(probe["captions"])] if probe else [NOTHING, "0"]
        recalls = [f"{tenth(way['R1'])} {_interval(way['R1_ci'])}" for way in (t2v, v2t)]
        rows.append([f"`{result.metrics['method']}`", str(result.metrics["seed"]), *recalls, tenth(t2v["RSum"] + v2t["RSum"]), *asked])
    level = f"({100 * _score(entries[0]).confidence:g} % interval)"
    head = ["method", "seed", f"t2v R@1 {level}", f"v2t R@1 {level}", "R-Sum", f"probe {level}", "captions in the probe"]
    return markdown(head, rows, right=True)


def probed(entries: Sequence[Entry]) -> str:
    """The temporal probe by kind of action."""
    runs = of(entries)
    groups = {f"`{run}`": [result for result in runs if result.metrics["method"] == run] for run in results.table(runs)["method"]}
    if not (found := actions.tables(groups)):
        return "These runs do not say what kind of action their captions name.\n"
    return markdown(found[0].head, found[0].rows, right=True)


def _interval(ends: Sequence[float]) -> str:
    return f"({tenth(ends[0])} to {tenth(ends[1])})"


def wide(entries: Sequence[Entry]) -> str:
    """All methods with their chosen rates, the highest R-Sum first."""
    df = results.table(of(entries)).sort_values("RSum", ascending=False, kind="stable")
    gains = {entry.run: entry.content["search"] and entry.content["search"]["gain"] for entry in entries}
    columns = [column for column in results.COLUMNS if column.name in WIDE]
    rows = []
    for _, row in df.iterrows():
        cells = [results.cell(row, column, deviation=column.name in ("t2v_R1", "v2t_R1", "RSum", "probe")) for column in columns]
        gain = gains[row["method"]]
        rows.append([f"`{row['label']}`", cells[0], f"{gain:g}" if gain else NOTHING, *cells[1:]])
    head = ["Method", "Seeds", "Gain", *(column.title for column in columns[1:])]
    return f"{markdown(head, rows, right=True)}\n{origin(entries)}\n"


def differences(entries: Sequence[Entry], *pairs: str) -> str:
    """Paired differences with their intervals, of `b:a` each, b less a."""
    known, rows = {entry.run: entry for entry in entries}, []
    for pair in pairs:
        b, _, a = pair.partition(":")
        if lost := {a, b} - known.keys():
            raise ValueError(
                f"there is no record of {sorted(lost)[0]} for the difference {pair}; contribute it, or take the pair out of the page"
            )
        rows.append([f"`{b}` less `{a}`", *_differences(known[a], known[b])])
    return markdown(["difference", *DIFFERENCES], rows, right=True)


def _differences(a: Entry, b: Entry) -> list[str]:
    """Over the seeds that both have, or all seeds of both where they share none."""
    common = {side.metrics["seed"] for side in a.sides} & {side.metrics["seed"] for side in b.sides}
    one, other = ([side for side in entry.sides if side.metrics["seed"] in common or not common] for entry in (a, b))
    found = {row.metric: row for row in compare(one, other, settings=_score(a))}
    rows = [found.get(name) for name in DIFFERENCES.values()]
    return [f"{row.difference:+.1f} ({row.low:+.1f} to {row.high:+.1f})" if row else NOTHING for row in rows]


def everything(entries: Sequence[Entry]) -> str:
    """A line a record, of all datasets."""
    head = ["dataset", "backbone", "experiment", "run", "seeds", "t2v R@1", "v2t R@1", "R-Sum", "test videos", "by", "machine", "commit"]
    rows = []
    for e in sorted(entries, key=lambda e: (e.dataset, e.backbone, e.experiment, -e.content["evaluation"]["RSum"])):
        said, commits = e.content["evaluation"], dict.fromkeys(run["train"]["record"]["commit"][:7] for run in e.runs)
        numbers = [str(said["seeds"]), tenth(said["t2v"]["R1"]), tenth(said["v2t"]["R1"]), tenth(said["RSum"]), f"{said['gallery']:,}"]
        who = [e.content["by"], e.content["machine"], ", ".join(commits)]
        rows.append([e.dataset, e.backbone, e.experiment, f"`{e.run}`", *numbers, *who])
    return markdown(head, rows)


def curves(entries: Sequence[Entry]) -> str:
    """Each epoch of the first seed of each run that trains, as CSV: loss, videos a second, validation in percent."""
    rows = []
    for entry in sorted(entries, key=lambda entry: float(entry.runs[0]["cost"]["trainable"])):
        for epoch in entry.runs[0]["train"]["epochs"]:
            val = {f"val_{name}": value and round(value, 1) for name, value in (epoch["val"] or {}).items()}
            rate = epoch["videos"] / epoch["seconds"] if epoch.get("seconds") else None
            numbers = {"loss": f"{epoch['loss']:.4f}", "videos_per_second": rate and round(rate, 1)}
            rows.append({"run": entry.run, "epoch": epoch["epoch"], **numbers, **val})
    return str(pd.DataFrame(rows, columns=CURVES).to_csv(index=False))


def trials(entries: Sequence[Entry]) -> str:
    """Each trial of each search of rates, as CSV."""
    searched = [(entry.run, entry.content["search"]) for entry in entries if entry.content["search"]]
    rows = [
        {"run": run, **{key: trial.get(key) for key in ("gain", "lr", "clip_lr", "failure")}, "chosen": trial["gain"] == search["gain"]}
        | {name: value and round(value, 4) for name, value in (trial["val"] or {}).items()}
        for run, search in searched
        for trial in search["trials"]
    ]
    return str(pd.DataFrame(rows, columns=TRIALS).to_csv(index=False))


KINDS: Mapping[str, Callable[..., str]] = {
    "printed": printed,
    "table": table,
    "seeds": seeds,
    "actions": probed,
    "wide": wide,
    "differences": differences,
    "everything": everything,
}
