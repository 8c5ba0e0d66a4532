"""Which store each run reads, known before anything runs: the deepest that its method allows, or what params.yaml asks for.

Knowing it takes the attached method, and so torch, which is asked in a process of its own and only for what is new: a plan takes no
longer than before, and the answers stand in work/frozen.json.
"""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config import registry
from pipeline.config.resolve import config_of, extra_of, train_of
from pipeline.config.schema import Params
from pipeline.core.code import ROOT, fingerprint
from pipeline.core.files import read_json, replace_json
from pipeline.core.layout import AUTO, CAPTIONS, CLIPS, FEATURES, FRAMES, RAW

KNOWN = Path("work/frozen.json")


@dataclass(frozen=True)
class Choice:
    """The stores that a run reads: of videos (frames, clips, or a level: a number of blocks, or all), of captions (captions, or a level).

    Where nothing is `trained`, only the test split is encoded at all. `whole`: most of CLIP is trained. `problem`: why the run
    cannot be, "" if it can.
    """

    video: str
    text: str
    trained: bool = True
    whole: bool = False
    problem: str = ""

    def of(self, split: str) -> "Choice":
        """The choice for a split: of one that is never encoded, nothing is worth storing."""
        return self if self.trained or split == "test" else Choice(CLIPS, CAPTIONS, self.trained)


def choices(params: Params, *, where: str = "params.yaml", ask: bool = True) -> dict[tuple[str, str], Choice]:
    """The choice of each run that there is, asked for or not, on each dataset, as (run, dataset); without `ask`, of those once asked about.

    ValueError for a run that is asked for and cannot be: its method cannot be attached, or may not use the store that it names.
    """
    asked = {(run, dataset): _question(params, run, dataset) for run in params.methods for dataset in params.run.datasets}
    answers = _answers(asked.values(), ask=ask)
    keys = {pair: key for pair, question in asked.items() if (key := _key(question)) in answers}
    found = {pair: _choose(params, *pair, answer=answers[key], where=where) for pair, key in keys.items()}
    for (run, _), choice in found.items():
        if choice.problem and run in params.run.methods:
            raise ValueError(choice.problem)
    return found


def _choose(params: Params, run: str, dataset: str, *, answer: dict[str, Any], where: str) -> Choice:
    train = train_of(params, run, dataset)
    place = f"{where}: methods.{run}"
    if "problem" in answer:
        return Choice(FRAMES, CAPTIONS, problem=f"{place} on {dataset}: {answer['problem']}")
    try:
        extra_of(params, run, dataset)
    except ValueError as error:
        return Choice(FRAMES, CAPTIONS, problem=f"{place} on {dataset}: {error}")
    try:
        video = pick(train.store, answer["vision"], raw=RAW["vision"], what=f"{place}.train: store")
        text = pick(train.text_store, answer["text"], raw=RAW["text"], what=f"{place}.train: text_store")
    except ValueError as error:
        return Choice(FRAMES, CAPTIONS, problem=str(error))
    return Choice(video, text, trained=answer["trained"], whole=answer["whole"])


def pick(wish: str, reach: dict[str, Any], *, raw: tuple[str, ...], what: str) -> str:
    """The store of a tower for a wish: itself, or the deepest for `auto`. `reach` has `level`, `top` and `reason`. ValueError beyond it."""
    deepest: str = reach["level"]
    if wish == AUTO:
        return raw[0] if deepest == "0" else deepest
    if wish in raw:
        return wish
    top = int(reach["top"])
    level, limit = (top + 1 if name == FEATURES else int(name) for name in (wish, deepest))
    if not 1 <= level <= top + 1:
        raise ValueError(f"{what} is {wish}; the backbone has {top} blocks there: use 1 to {top}, {FEATURES}, {', '.join(raw)} or {AUTO}")
    if level > limit:
        raise ValueError(f"{what} is {wish}, but {reach['reason']}")
    return FEATURES if level > top else str(level)


def _question(params: Params, run: str, dataset: str) -> dict[str, Any]:
    entry = params.datasets[dataset]
    return {
        "run": run,
        "config": config_of(params, run, dataset),
        "backbone": params.backbone.name,
        "frames": entry.frames.number,
        "words": entry.words,
    }


def _key(question: dict[str, Any]) -> str:
    code = fingerprint(registry.module_of(question["run"]), "pipeline.stages.frozen")
    return hashlib.sha256(json.dumps([question, code], sort_keys=True).encode()).hexdigest()[:24]


def _answers(questions: Iterable[dict[str, Any]], *, ask: bool) -> dict[str, Any]:
    """The reach of both towers for each question, by its key."""
    known: dict[str, Any] = read_json(KNOWN) if KNOWN.exists() else {}
    new = {key: question for question in questions if (key := _key(question)) not in known} if ask else {}
    if new:
        known |= dict(zip(new, _ask(list(new.values())), strict=True))
        replace_json(KNOWN, known)  # several workflows may plan in one folder at once
    return known


def _ask(questions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.stages.frozen"],
        input=json.dumps(questions),
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ValueError(done.stderr.strip().splitlines()[-1].removeprefix("error: "))
    answers: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return answers
