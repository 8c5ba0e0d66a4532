"""Rule index: a gallery as one or several adapters see it, ready to be searched. Run again, it brings the indexes up to date.

A gallery is the split of a dataset that the workflow has prepared, or any folder of videos. Without --adapter it is seen by plain CLIP.
"""

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.adapters.encoder import Encoder
from pipeline.config.params import params_here
from pipeline.config.schema import Params
from pipeline.core.files import write_json
from pipeline.core.locks import only_one
from pipeline.runtime import device
from pipeline.search import adapters, dataset, folder
from pipeline.search.build import Made, update
from pipeline.search.contents import Found, below
from pipeline.search.index import discover
from pipeline.search.reader import Reader
from pipeline.stages import guarded
from pipeline.video.command import recipe

SHOWN = 20  # files that were skipped


@dataclass(frozen=True)
class Job:
    """A gallery, and for each adapter, which `encoder` has, the index to make. `home`: the folder that `indexes` lies in."""

    indexes: Path
    gallery: str
    home: Path
    encoder: Encoder
    about: dict[str, Any]
    targets: dict[str, Path]

    def update(self, adapter: str, found: Found) -> None:
        target, header = self.targets[adapter], self.encoder.header(adapter)
        own = {"run": header["run"], "seed": header["seed"], "adapter": below(Path(adapter), self.home)}
        made = update(target, found, about=self.about | own, encoder=self.encoder, adapter=adapter)
        note = {"adapter_sha256": self.encoder.sha256(adapter), "skipped": len(found.skipped)}
        write_json(target.with_name("made.json"), vars(made) | note)
        _tell(target, made, found)


def main() -> None:
    args = _arguments()
    params = params_here()
    job = _prepare(args, params)
    if args.folder:
        _folder(job, args.folder, _texts(args.texts))
        return
    raw = (params.datasets[args.dataset].videos if params and args.dataset in params.datasets else "") or f"data/{args.dataset}/raw"
    found = dataset.find(args.dataset, args.split, home=job.home, raw=args.raw or raw)
    for adapter, target in job.targets.items():
        with only_one(target.with_name(".lock"), told=f"another process updates {target}"):
            job.update(adapter, found)


def _prepare(args: argparse.Namespace, params: Params | None) -> Job:
    """Load the backbone and all adapters, so that what does not fit is refused before anything else is done."""
    indexes, gallery = args.indexes, _gallery(args)
    home = indexes.absolute().parent
    _refuse_other_source(indexes, gallery, below(args.folder, home) if args.folder else f"{args.dataset}/{args.split}")
    place = device.choose(args.device)
    device.prepare(place, threads=args.threads, seed=0)
    backbone = adapters.backbone(params, args.backbone, args.weights)
    _make(backbone.file)
    encoder = Encoder(backbone, device=place)
    if not args.adapter:
        shape = adapters.plain_shape(params, args.dataset, encoder=encoder)
        args.adapter = [adapters.plain(indexes, gallery, encoder=encoder, shape=shape)]
    weights = below(backbone.file, home) if backbone.file else backbone.weights
    about = {"gallery": gallery, "backbone": {"name": backbone.name, "weights": weights}}
    return Job(indexes, gallery, home, encoder, about, _targets(args.adapter, encoder, indexes, gallery))


def _folder(job: Job, source: Path, texts: list[str] | None) -> None:
    """Adapters that were trained on equal clips share them."""
    gallery = job.indexes.absolute() / job.gallery
    with only_one(gallery / ".lock", told=f"another process updates gallery {job.gallery}"):
        files = folder.read(source, without=job.indexes)
        made: dict[str, Found] = {}
        for adapter in job.targets:
            clips = job.encoder.shape(adapter).clips
            if recipe(clips) not in made:
                made[recipe(clips)] = folder.find(files, home=job.home, gallery=gallery, settings=clips, texts=texts)
            job.update(adapter, made[recipe(clips)])
        _tidy(job.indexes, job.gallery)


def _tell(target: Path, made: Made, found: Found) -> None:
    kept = made.clips - made.encoded
    how = made.search["kind"]
    if "recall_at_10" in made.search:
        how += f", finds {made.search['recall_at_10']:.3f} of the 10 best"
    print(f"{target}: {made.videos} videos ({made.encoded} encoded, {kept} kept), {made.captions} texts; search is {how}", flush=True)
    for what, rows in (("skipped", found.skipped), ("not whole", found.degraded)):
        for row in rows[:SHOWN]:
            print(f"  {what}: {row['file']!r}: {row['reason']}", flush=True)
        if len(rows) > SHOWN:
            print(f"  {what}: {len(rows) - SHOWN} more", flush=True)


def _make(weights: Path | None) -> None:
    """Let the workflow make the weights that it can make, where nothing has asked for them before."""
    if weights and not weights.is_file() and Path("Snakefile").is_file():
        command = ["snakemake", "--cores", "all", str(weights)]
        print(f"there is no {weights} yet; making it: {' '.join(command)}", file=sys.stderr, flush=True)
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"  # rules call python by its name
        subprocess.run([sys.executable, "-m", *command], env=os.environ | {"PATH": path}, check=False)


def _targets(paths: list[Path], encoder: Encoder, indexes: Path, gallery: str) -> dict[str, Path]:
    """Adapter -> its index."""
    found: dict[str, Path] = {}
    for path in paths:
        header = encoder.add(str(path), path)
        target = adapters.place(indexes, gallery, header, path)
        if target in found.values():
            raise ValueError(f"two adapters would have the index {target}; index them under two names of the gallery (--name)")
        found[str(path)] = target
    return found


def _refuse_other_source(indexes: Path, gallery: str, source: str) -> None:
    """A gallery is of one dataset or one folder."""
    for there in (reader.about["source"] for reader in _there(indexes, gallery) if reader):
        if there != source:
            raise ValueError(f"gallery {gallery!r} is of {there}; give --name for {source}, or delete {indexes / gallery}")


def _tidy(indexes: Path, gallery: str) -> None:
    """Remove the clips that no index of the gallery names, unless one cannot tell."""
    used: set[str] = set()
    for reader in _there(indexes, gallery):
        if reader is None:
            return
        used |= {Path(clip).stem for clip in reader.videos["clip"]} | {row["clip"] for row in reader.about["skipped"] if "clip" in row}
    folder.tidy(indexes / gallery, used=used)


def _there(indexes: Path, gallery: str) -> Iterator[Reader | None]:
    """The indexes of a gallery, closed again; None for one that cannot be read: it will be made anew."""
    for name, path in discover(indexes).items():
        if name.split("/")[0] == gallery:
            try:
                reader = Reader(path)
            except ValueError:
                yield None
            else:
                reader.close()
                yield reader


def _texts(file: Path | None) -> list[str] | None:
    """One sentence a line; None if there is no file, and the index keeps what it has."""
    if file is None:
        return None
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not UTF-8 text; save it as such, one sentence a line") from error
    return [line.strip() for line in lines if line.strip()]


def _gallery(args: argparse.Namespace) -> str:
    """The name of the gallery. ValueError if the arguments do not say one."""
    if bool(args.dataset) == bool(args.folder):
        raise ValueError("say what to index: --dataset NAME or --folder FOLDER")
    if args.dataset:
        if args.texts:
            raise ValueError("--texts goes with --folder; a dataset has its own captions")
        return adapters.refuse_no_folder(args.name or args.dataset + ("" if args.split == "test" else f"-{args.split}"), what="the gallery")
    own = re.sub(r"[^A-Za-z0-9_.-]+", "-", args.folder.resolve().name).strip("-.") or "videos"
    return adapters.refuse_no_folder(args.name or own, what="the gallery")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", help="one that the workflow has prepared")
    parser.add_argument("--split", default="test", choices=("train", "val", "test"), help="of the dataset (test)")
    parser.add_argument("--raw", help="folder of the dataset's video files, for their names; without it that of params.yaml")
    parser.add_argument("--folder", type=Path, help="of videos, with its subfolders")
    parser.add_argument("--name", help="of the gallery; without it the dataset's or the folder's")
    parser.add_argument("--texts", type=Path, help="sentences to find for a video of the folder, one a line")
    parser.add_argument("--adapter", type=Path, nargs="+", help="adapter.safetensors of trainings; without it plain CLIP")
    parser.add_argument("--backbone", help="name of the backbone; without it that of params.yaml")
    parser.add_argument("--weights", help="file or open_clip tag; without it that of params.yaml")
    parser.add_argument("--indexes", type=Path, default=Path("indexes"), help="folder of all indexes (indexes)")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1, help="of torch; evaluation has one, too")
    return parser.parse_args()


if __name__ == "__main__":
    guarded(main)
