"""Write a trained adapter for other programs: CLIP with it folded in for open_clip, or LoRA's factors for peft.

docs/adapters.md says which adapters can be exported, and how others load them.
"""

import argparse
from pathlib import Path

from pipeline.adapters import checkpoint, export
from pipeline.adapters.loaded import backbone_of
from pipeline.clip import load_backbone
from pipeline.stages import guarded

FORMATS = {"open_clip": export.write_open_clip, "peft": export.write_peft}


def main() -> None:
    args = _arguments()
    header = checkpoint.read_header(args.adapter)
    clip = load_backbone(backbone_of(args.adapter, header, args.weights))
    checkpoint.attach(clip, checkpoint.parts(header, args.adapter), args.adapter)
    FORMATS[args.format](clip, args.out, run=header["run"])
    print(f"{args.out}: {header['run']} on {clip.name}, for {args.format}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapter", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="to write: a .safetensors file, or for peft a folder")
    parser.add_argument("--format", choices=list(FORMATS), default="open_clip")
    parser.add_argument("--weights", help="of the backbone, a file or a tag; without it those that the params.yaml beside runs/ names")
    return parser.parse_args()


if __name__ == "__main__":
    guarded(main)
