"""Disk space of n tasks: one backbone and an adapter a task, against a whole fine-tuned model a task.

`python -m benchmarks.adapters` writes the files that a run writes, float32, ViT-B/32 with random weights and 12 frames, and counts their
bytes. It takes seconds and trains nothing, as the size of a checkpoint does not depend on its values.
"""

import argparse
import tempfile
from pathlib import Path

from safetensors.torch import save_file

from pipeline import methods
from pipeline.adapters import checkpoint
from pipeline.clip import FrozenClip, build
from pipeline.core.files import write_json
from pipeline.stages import guarded

METHODS = ("bias", "vop", "vop_fp", "lora", "vop_fc", "mv_adapter", "full_finetune")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="ViT-B-32-quickgelu")
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--tasks", type=int, nargs="+", default=[1, 5, 50])
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--json", type=Path, help="to write")
    args = parser.parse_args()
    model = build(args.backbone)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "file.safetensors")
        save_file({name: value.contiguous().clone() for name, value in model.state_dict().items()}, target)
        backbone = target.stat().st_size
        found = {}
        for name in args.methods:
            clip = FrozenClip(model, name=args.backbone)
            methods.attach(clip, methods.load(name, config={}), shape=methods.Shape(args.frames, 32))
            checkpoint.save(target, {key: value.data for key, value in clip.trained().items()}, header={"run": name})
            found[name] = target.stat().st_size
            clip.detach_all()
    print(f"| method | MB a task | {' | '.join(f'n = {n}' for n in args.tasks)} |")
    print("|---|---:|" + "---:|" * len(args.tasks))
    for name, size in sorted(found.items(), key=lambda item: item[1]):
        # A whole model needs no backbone beside it.
        shares = [(n * size + (0 if name == "full_finetune" else backbone)) / (n * backbone) for n in args.tasks]
        print(f"| `{name}` | {size / 1e6:.2f} | {' | '.join(f'{100 * share:.1f} %' for share in shares)} |")
    print(f"backbone: {backbone / 1e6:.1f} MB")
    if args.json:
        write_json(args.json, {"backbone": backbone, "adapters": found})


if __name__ == "__main__":
    guarded(main)
