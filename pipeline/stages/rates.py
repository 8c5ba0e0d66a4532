"""Choose a learning rate on validation: one short training for each gain, all methods with the same number of them."""

import shutil
from pathlib import Path
from typing import Any

from pipeline.config.schema import Search, Train, from_json
from pipeline.core.files import write_json
from pipeline.evaluation.ranks import NotANumber
from pipeline.runtime.distributed import leave
from pipeline.stages import guarded
from pipeline.stages.train import arguments, prepare, scaled
from pipeline.training.loop import train


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--search", required=True, help="params.yaml: search, as JSON")
    parser.add_argument("--trials", type=Path, required=True, help="JSON to write")
    args = parser.parse_args()
    search, settings = from_json(Search, args.search, where="search"), from_json(Train, args.settings, where="train")
    states = args.trials.parent / "search"
    trials = []
    for gain in search.gains:
        job = prepare(args, settings=short(scaled(settings, gain), search), seed=search.seed)
        state = states / f"state-{job.fingerprint}.pt"
        trial: dict[str, Any] = {"gain": gain, "lr": job.settings.lr, "clip_lr": job.settings.clip_lr, "val": None, "epochs": []}
        if not job.clip.trained():
            break
        states.mkdir(parents=True, exist_ok=True)
        try:
            _, progress = train(
                job.clip,
                job.data,
                settings=job.settings,
                seed=search.seed,
                device=job.device,
                state=state,
                fingerprint=state.stem,
                report=lambda epochs: print(epochs[-1] if epochs else "start", flush=True),
                workers=args.workers,
                save_every=args.save_every,
                team=job.team,
            )
            trial |= {"val": progress.epochs[-1]["val"], "epochs": progress.epochs}
        except NotANumber as error:
            trial["failure"] = str(error)
        if job.team.first:
            print(f"gain {gain}: {trial['val']}", flush=True)
        trials.append(trial)
    leave()
    if not job.team.first:
        return
    write_json(args.trials, {"run": args.run, "dataset": args.dataset, "trials": trials, "gain": best(trials), "record": job.about})
    shutil.rmtree(states, ignore_errors=True)


def short(settings: Train, search: Search) -> Train:
    """The same training, but for fewer epochs, and validated at its end."""
    values = vars(settings) | {"epochs": search.epochs, "validate_every": search.epochs, "select": "last"}
    return Train(**values)


def best(trials: list[dict[str, Any]]) -> float:
    """The gain with the best R-Sum on validation, the smaller of equals; 1 for a method that trains nothing. ValueError if all failed."""
    if not trials:
        return 1.0
    finished = [trial for trial in trials if trial["val"]]
    if not finished:
        raise ValueError(f"no rate of the search trains: {trials[0]['failure']}; set search.gains or the method's lr lower")
    return float(max(finished, key=lambda trial: (trial["val"]["RSum"], -trial["gain"]))["gain"])


if __name__ == "__main__":
    guarded(main)
