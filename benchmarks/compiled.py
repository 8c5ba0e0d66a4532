"""`train.compile: true` with every method: the same numbers, and how often a program stops for Python. `python -m benchmarks.compiled`.

A small CLIP of three blocks a tower with random weights on the CPU, a batch with padded frames. *off*: the largest difference of the
compiled step's gradient from the plain one's, as a share of the largest entry. *stops*: places of graph breaks. Half a minute a method,
most of it for g++.
"""

import argparse
import time
from typing import Any

import open_clip
import torch
from torch import Tensor

from pipeline import methods
from pipeline.clip import FrozenClip
from pipeline.evaluation.similarity import scores
from pipeline.stages import guarded
from pipeline.training.loss import contrastive
from tests.methods.cases import SHAPE, SMALL

FRAMES, WORDS = SHAPE.num_frames, SHAPE.num_words
PAIRS, SHAKE = 4, 0.05
BOUND = 1e-4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=methods.names())
    wanted = parser.parse_args().methods
    failed = [name for name in wanted if not _tried(name)]
    if failed:
        raise ValueError(f"other numbers, or none, once compiled: {', '.join(failed)}")


def _tried(name: str) -> bool:
    torch.manual_seed(0)
    clip = FrozenClip(open_clip.CLIP(**SMALL), name="small")  # type: ignore[arg-type]
    methods.attach(clip, methods.load(name, config={}), shape=SHAPE).eval()
    for parameter in clip.trained().values():
        parameter.data.add_(SHAKE * torch.randn_like(parameter))
    if not clip.trained():
        return True
    frames = torch.randint(0, 256, (PAIRS, FRAMES, 3, 32, 32), dtype=torch.uint8)
    mask = torch.arange(FRAMES) < torch.tensor([[FRAMES], [FRAMES], [2], [1]])
    ids = clip.tokenize([f"video {number}" for number in range(PAIRS)], num_words=WORDS)

    def encode(frames: Tensor, mask: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        return clip.encode_frames(frames, mask=mask), clip.encode_text(ids)

    plain = _gradient(clip, encode, frames, mask, ids)
    torch._dynamo.reset()
    found = torch._dynamo.explain(encode)(frames, mask, ids)  # type: ignore[no-untyped-call]
    stops = len({str(reason.user_stack[-1]) for reason in found.break_reasons})
    torch._dynamo.reset()
    start = time.perf_counter()
    compiled = _gradient(clip, torch.compile(encode), frames, mask, ids)
    off = float((plain - compiled).abs().max() / plain.abs().max())
    print(f"{name:24s} off {off:8.1e}   stops {stops:3d}   {time.perf_counter() - start:5.1f} s", flush=True)
    return off < BOUND


def _gradient(clip: FrozenClip, encode: Any, frames: Tensor, mask: Tensor, ids: Tensor) -> Tensor:
    for parameter in clip.trained().values():
        parameter.grad = None
    seen, said = encode(frames, mask, ids)
    contrastive(
        scores(said, seen, mask=mask, temperature=clip.query_temperature, weigh=clip.frame_weights), scale=clip.logit_scale
    ).backward()
    return torch.cat([p.grad.flatten() for p in clip.trained().values() if p.grad is not None])


if __name__ == "__main__":
    guarded(main)
