"""Choose a learning rate on validation: one short training for each gain, as many for every method."""

import shutil
from pathlib import Path
from typing import Any

from pipeline.config.resolve import scaled
from pipeline.config.settings import Training, read
from pipeline.core.files import write_json
from pipeline.evaluation.ranks import NotANumber
from pipeline.runtime.distributed import leave
from pipeline.stages import guarded
from pipeline.stages.arguments import training_files, training_parser
from pipeline.training.job import prepare
from pipeline.training.loop import train
from pipeline.training.rates import best, short


def main() -> None:
    parser = training_parser(__doc__)
    parser.add_argument("--trials", type=Path, required=True, help="JSON to write")
    args = parser.parse_args()
    settings = read(Training, args.settings)
    search = settings.search
    if search is None:
        raise ValueError("the settings have no `search`; say what is tried")
    states = args.trials.parent / "search"
    trials = []
    for gain in search.gains:
        tried = short(scaled(settings, gain), search)
        job = prepare(tried, training_files(args), seed=search.seed, device=args.device, threads=args.threads)
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
    write_json(args.trials, {"run": settings.run, "dataset": settings.dataset, "trials": trials, "gain": best(trials), "record": job.about})
    shutil.rmtree(states, ignore_errors=True)


if __name__ == "__main__":
    guarded(main)
