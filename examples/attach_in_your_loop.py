"""A method of this repository on your open_clip model, in your training loop: attach, train, save, load onto a plain model again.

    python examples/attach_in_your_loop.py --pretrained openai --steps 20

`batches` makes coloured squares up: put your own loader there. The file that is written is an adapter like any other (docs/adapters.md).
"""

import argparse
import random
from collections.abc import Iterator
from pathlib import Path

import open_clip
import torch
import torch.nn.functional as F

from pipeline import methods
from pipeline.adapters import checkpoint
from pipeline.clip import FrozenClip
from pipeline.config.dataset import Frames
from pipeline.config.parse import stated
from pipeline.config.schema import Train
from pipeline.config.settings import Sampling
from pipeline.evaluation.similarity import scores

METHOD, FRAMES, WORDS = methods.load("mv_adapter", config={}), 4, 16
COLOURS = {"red": (220, 40, 40), "green": (40, 180, 60), "blue": (40, 60, 220), "yellow": (230, 210, 40)}


def attached(model: open_clip.CLIP, name: str) -> FrozenClip:
    """Your model, frozen, with the method's modules in its blocks. `clip.detach_all()` gives it back as it was."""
    return methods.attach(FrozenClip(model, name=name), METHOD, shape=methods.Shape(num_frames=FRAMES, num_words=WORDS))


def batches(size: int, *, seed: int) -> Iterator[tuple[torch.Tensor, list[str]]]:
    """Frames (B, T, 3, H, W) as uint8, and a caption a video."""
    draw, noise = random.Random(seed), torch.Generator().manual_seed(seed)
    while True:
        names = draw.sample(list(COLOURS), k=len(COLOURS))
        plain = torch.tensor([COLOURS[name] for name in names]).view(-1, 1, 3, 1, 1).expand(-1, FRAMES, -1, size, size)
        grain = torch.randint(-20, 21, plain.shape, generator=noise)
        yield (plain + grain).clamp(0, 255).to(torch.uint8), [f"a {name} square" for name in names]


def similarities(clip: FrozenClip, frames: torch.Tensor, captions: list[str]) -> torch.Tensor:
    """Cosines (B, B) of captions with videos; a mask without padding."""
    mask = torch.ones(frames.shape[:2], dtype=torch.bool, device=frames.device)
    texts = clip.encode_text(clip.tokenize(captions, num_words=WORDS).to(frames.device))
    videos = clip.encode_frames(frames, mask=mask)
    return scores(texts, videos, mask=mask, temperature=clip.query_temperature, weigh=clip.frame_weights)


def train(clip: FrozenClip, *, steps: int, lr: float = 1e-3, device: str = "cpu") -> list[float]:
    """The loop that you have: it returns the loss of each step."""
    clip.to(device).train()
    optimiser = torch.optim.AdamW(clip.trained().values(), lr=lr)
    losses = []
    for _, (frames, captions) in zip(range(steps), batches(clip.image_size, seed=0), strict=False):
        logits = clip.logit_scale * similarities(clip, frames.to(device), captions)
        target = torch.arange(len(logits), device=device)
        loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    clip.eval()
    return losses


def save(clip: FrozenClip, target: Path) -> None:
    """The trained tensors, and what they belong to: `pipeline.load` and `python -m pipeline search` read such a file."""
    shape = Sampling(frames=Frames(number=FRAMES, size=clip.image_size), words=WORDS)
    header = {"run": "mv_adapter", "config": stated(METHOD), "train": stated(Train()), "shape": stated(shape), "dataset": "mine", "seed": 0}
    checkpoint.save(target, clip.stored(), header=header | checkpoint.described(clip))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="ViT-B-32-quickgelu", help="an architecture of open_clip")
    parser.add_argument("--pretrained", default="", help="a tag of open_clip, or a file; empty: random weights, which need no network")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=Path("mine.safetensors"))
    args = parser.parse_args()
    torch.manual_seed(0)
    clip = attached(open_clip.create_model(args.backbone, pretrained=args.pretrained or None), args.backbone)
    print(f"training {sum(p.numel() for p in clip.trained().values()):,} parameters")
    for step, loss in enumerate(train(clip, steps=args.steps, device=args.device)):
        print(f"step {step}: loss {loss:.4f}")
    save(clip, args.out)
    clip.detach_all()  # your model again, bit for bit
    again = methods.attach(clip, METHOD, shape=methods.Shape(num_frames=FRAMES, num_words=WORDS))
    checkpoint.load_into(again.to(args.device), args.out)
    frames, captions = next(batches(again.image_size, seed=1))
    found = similarities(again, frames.to(args.device), captions).argmax(dim=1).tolist()
    print(f"loaded from {args.out}; {sum(n == place for n, place in enumerate(found))} of {len(found)} captions find their video")


if __name__ == "__main__":
    main()
