"""From the numbers of a run back to what made them, each step checked by hashes.

metrics.json names the embeddings it was scored from, they name the adapter and the test files, train.json names the adapter and the
files of train and val. Hashes say what belongs together and what was changed since, not who made it. The adapter's header has the
settings that it was trained with, and params.yaml may say others by now.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline import methods
from pipeline.adapters import checkpoint
from pipeline.config import registry, resolve
from pipeline.config.parse import parse, stated
from pipeline.config.recipes import flat
from pipeline.config.schema import Params, Score
from pipeline.core import layout, record
from pipeline.core.code import shown
from pipeline.core.files import read_json
from pipeline.evaluation import embeddings
from pipeline.evaluation.score import score
from pipeline.reporting import results
from pipeline.reporting.seed_means import evaluation

SHOWN = 12  # digits of a SHA-256 that people read
BELONGS = ("dataset", "backbone", "backbone_digest", "seed", "run")


@dataclass
class Trace:
    """One run: `facts` by name, what was `checked`, what is `absent` and so was not, and a sentence for each of the `problems`."""

    folder: Path
    facts: dict[str, Any] = field(default_factory=dict)
    checked: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    hashes: dict[Path, str] = field(default_factory=dict, repr=False)  # shared by runs: a file of frames serves many, and is large

    def sha256(self, path: Path) -> str:
        if path not in self.hashes:
            self.hashes[path] = record.sha256(path)
        return self.hashes[path]

    def here(self, path: Path) -> bool:
        """Whether there is such a file; if not, it is noted."""
        if not path.is_file():
            self.absent.append(str(path))
        return path.is_file()

    def agrees(self, named: Any, path: Path, *, by: str, remedy: str) -> bool:
        """Whether the SHA-256 that a file `named`, or its first 16 digits, is that of `path`. "`by`" begins the sentence if it is not."""
        found = self.sha256(path)
        if named in (found, found[:16]):
            self.checked.append(str(path))
            return True
        how = f"whose SHA-256 begins {str(named)[:SHOWN]}, and that of {path} begins {found[:SHOWN]}" if named else "that it does not name"
        self.problems.append(f"{by} {how}: {remedy}")
        return False


def trace(folder: Path, *, hashes: dict[Path, str]) -> Trace:
    """Follow and check the chain of the run in `folder`. `hashes` keeps those of the files. ValueError if there is no metrics.json."""
    scored = folder / "metrics.json"
    if not scored.is_file():
        raise ValueError(f"there is no {scored}; make it with: snakemake --cores all {scored}")
    found, metrics = Trace(folder, hashes=hashes), read_json(scored)
    found.facts = {"metrics": {key: metrics.get(key) for key in ("t2v", "v2t", "probe", "queries", "gallery", "gallery_hash")}}
    _place(found, metrics)
    _embeddings(found, metrics)
    header = _adapter(found, metrics)
    about = _training(found, metrics, header)
    place, data = layout.place(folder), {}
    for split, remedy, files in (
        ("trained on", "train again", {about["paths"][name]: digest for name, digest in about.get("inputs", {}).items()}),
        ("tested on", "embed again", metrics.get("inputs", {})),
        ("scored without", "score again", {layout.missing(place.dataset): metrics.get("missing_hash")}),
    ):
        for name, digest in files.items():
            data[name] = digest
            path = Path(shown(place.root / name))
            if found.here(path):
                found.agrees(digest, path, by=f"{folder} was {split} a file", remedy=remedy)
    found.facts |= {"data": data}
    return found


def _place(found: Trace, metrics: dict[str, Any]) -> None:
    """A run lies where it belongs: runs/<dataset>/<backbone>/<method>/<seed>."""
    said = "/".join(str(metrics.get(key)) for key in ("dataset", "backbone", "method", "seed"))
    place = layout.place(found.folder).name
    if said != place:
        found.problems.append(f"{found.folder / 'metrics.json'} is of {said}, and lies in the folder of {place}: score that run again")


def _embeddings(found: Trace, metrics: dict[str, Any]) -> None:
    """The embeddings are those that were scored, and scoring them gives the numbers again."""
    scored, path = found.folder / "metrics.json", found.folder / "embeddings.h5"
    found.facts["embeddings"] = metrics.get("embeddings")
    if not found.here(path):
        return
    if not found.agrees(metrics.get("embeddings"), path, by=f"{scored} was scored from embeddings", remedy="score again"):
        return
    made, attributes = embeddings.load(path)
    if attributes.get("adapter") != metrics.get("adapter"):
        found.problems.append(f"{scored} and {path} name different adapters: score again")
    again = score(made, settings=parse(Score, metrics.get("score", {}), where=f"{scored}: score"))
    wrong = [name for name, value in flat(again).items() if flat(metrics).get(name) != value]
    for name in wrong[:1]:
        more = f" ({len(wrong)} such)" if len(wrong) > 1 else ""
        said, value = flat(metrics).get(name), flat(again)[name]
        found.problems.append(f"{scored} says {name} {said}{more}, and the embeddings that it names give {value}: score again")
    if not wrong:
        found.checked.append(f"the numbers of {scored}")


def _adapter(found: Trace, metrics: dict[str, Any]) -> dict[str, Any]:
    """The adapter is the one that was embedded, and of this run; its header, empty where it is not here."""
    scored, path = found.folder / "metrics.json", found.folder / "adapter.safetensors"
    found.facts["adapter"] = metrics.get("adapter")
    if not found.here(path):
        return {}
    found.agrees(metrics.get("adapter"), path, by=f"{scored} is of an adapter", remedy="embed and score again")
    try:
        header = checkpoint.read_header(path, also=("commit", "dataset_fingerprint"))
    except ValueError as error:
        found.problems.append(str(error))
        return {}
    for key in BELONGS:
        said = metrics.get("method" if key == "run" else key)
        if header[key] != said:
            found.problems.append(f"{scored} has {key} {said}, and {path} {header[key]}: embed and score again")
    found.facts |= {key: header[key] for key in ("commit", *BELONGS)}
    found.facts["parameters"] = {key: header[key] for key in ("config", "train", "shape")}
    return header


def _training(found: Trace, metrics: dict[str, Any], header: dict[str, Any]) -> dict[str, Any]:
    """train.json is of the adapter, and says what the adapter says; its record, empty where it is not here."""
    path, adapter = found.folder / "train.json", found.folder / "adapter.safetensors"
    if not found.here(path):
        found.absent.append("the files of its training, which train.json names")
        return {}
    train = read_json(path)
    about: dict[str, Any] = {"inputs": {}, "paths": {}} | train["record"]
    if header:
        found.agrees(train.get("adapter"), adapter, by=f"{path} is of an adapter", remedy="train again")
        for key, said in (("commit", header["commit"]), ("inputs", header["dataset_fingerprint"])):
            if about[key] != said:
                found.problems.append(f"{path} and {adapter} differ in the {key} that they were made with: train again")
    elif train.get("adapter") != metrics.get("adapter"):
        found.problems.append(f"{path} and {found.folder / 'metrics.json'} name different adapters: train again")
    found.facts |= {"environment": {"lock": about.get("lock"), "versions": about["versions"]}}
    found.facts |= {"machine": {key: about.get(key) for key in ("machine", "device", "threads", "processes")}}
    if about["inputs"].keys() != about["paths"].keys():
        found.problems.append(f"{path} does not name the files of its training: train again")
        about["inputs"] = {}
    return about


def check_settings(found: Trace, params: Params, *, where: Path) -> None:
    """The adapter was trained with what `where` says now. A run that it no longer has is noted as not here."""
    place = layout.place(found.folder)
    said = found.facts.get("parameters")
    if said is None or place.backbone != params.backbone.name:
        return
    if place.run not in params.methods or place.dataset not in params.datasets or registry.method_of(place.run) not in methods.names():
        found.absent.append(f"{where}: methods.{place.run} on {place.dataset}")
        return
    asked, trials = resolve.training(params, place.run, place.dataset), found.folder.parent / "search.json"
    if params.search.gains and found.here(trials):
        asked = resolve.scaled(asked, read_json(trials)["gain"])
    parts: dict[str, Any] = {"config": methods.load(place.run, config=asked.config), "train": asked.train, "shape": asked.shape}
    wanted, needed = (flat(json.loads(json.dumps({name: of(part) for name, part in parts.items()}))) for of in (asdict, stated))
    had = flat(said)  # without a key that came later and had its default
    wrong = [name for name, value in wanted.items() if (name in had or name in needed) and had.get(name) != value]
    for name in wrong[:1]:
        more = f" ({len(wrong)} such)" if len(wrong) > 1 else ""
        what = f"{found.folder / 'adapter.safetensors'} was trained with {name} {had.get(name, 'as it was by default')}"
        found.problems.append(f"{what}, and {where} says {wanted[name]}{more}: train again, or put {where} back")
    if not wrong:
        found.checked.append(f"the settings in {where}")


def check_clips(found: Trace) -> None:
    """Hash the clips of all splits that are here, and compare them with the tables of the splits."""
    root, dataset = layout.place(found.folder)[:2]
    for split in layout.SPLITS:
        table, clips = Path(shown(root / layout.split(dataset, split) / "videos.parquet")), root / layout.clips(dataset)
        if not found.here(table):
            continue
        rows = pd.read_parquet(table, columns=["out_path", "out_sha256"])
        there = [Path(shown(clips / name)) for name in rows["out_path"]]
        wrong = [path for path, digest in zip(there, rows["out_sha256"], strict=True) if path.is_file() and found.sha256(path) != digest]
        missing = sum(not path.is_file() for path in there)
        found.checked.append(f"{len(there) - missing} clips of {split}")
        if missing:
            found.absent.append(f"{missing} clips of {split}")
        if wrong:
            found.problems.append(f"{wrong[0]} is not the clip that {table} lists ({len(wrong)} such): transcode again")


def check_means(source: Path, runs: Sequence[Trace]) -> list[str]:
    """A sentence if a metrics/<dataset>/<method>.json is not what rule evaluate makes of its runs; what it needs and is absent is noted."""
    here = [run.here(run.folder / name) for run in runs for name in results.NEEDED]
    if not all(here):
        return []
    said, again = flat(read_json(source)), flat(evaluation([results.load_result(run.folder) for run in runs]))
    wrong = [name for name in {**again, **said} if said.get(name) != again.get(name)]
    more = f" ({len(wrong)} such)" if len(wrong) > 1 else ""
    return [f"{source} says {n} {said.get(n)}{more}, and its runs give {again.get(n)}: evaluate again" for n in wrong[:1]]
