"""Pretrain clip-tiny or a sister of it on still pictures of the motion world."""

import argparse
import time
from pathlib import Path

from safetensors.torch import save as serialise

from pipeline.config.schema import Pretrain
from pipeline.config.settings import read
from pipeline.core.files import whole
from pipeline.runtime import device
from pipeline.stages import add_settings, guarded
from pipeline.training.pretrain import pretrain


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", required=True, help="clip-tiny, or another architecture that sees 64 pixels a side")
    add_settings(parser, Pretrain)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--weights", type=Path, required=True, help="safetensors to write")
    args = parser.parse_args()
    settings, place, start = read(Pretrain, args.settings), device.choose(args.device), time.perf_counter()
    device.prepare(place, threads=args.threads, seed=settings.seed)

    def report(step: int, steps: int, loss: float) -> None:
        if step % max(steps // 20, 1) == 0:
            seconds = time.perf_counter() - start
            left = seconds / max(step, 1) * (steps - step)
            print(f"step {step} of {steps}: loss {loss:.3f}, {seconds:.0f} s, {left:.0f} s left", flush=True)

    weights = pretrain(settings, args.backbone, device=place, report=report)
    with whole(args.weights) as part:
        part.write_bytes(serialise({name: value.contiguous() for name, value in sorted(weights.items())}))


if __name__ == "__main__":
    guarded(main)
