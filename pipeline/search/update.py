"""Update of a gallery's indexes: those of a dataset's split or of a folder, one for each adapter, and what is told of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.adapters.encoder import Encoder
from pipeline.core.files import write_json
from pipeline.core.locks import only_one
from pipeline.search import adapters, folder
from pipeline.search.build import Made, update
from pipeline.search.contents import Found, below
from pipeline.search.index import discover
from pipeline.search.reader import Reader
from pipeline.video.command import recipe

SHOWN = 20  # reasons for which files were skipped
NAMED = 3  # files of one reason


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


def update_dataset(job: Job, found: Found) -> None:
    """The indexes of a dataset's split, whose clips the workflow has made."""
    for adapter, target in job.targets.items():
        with only_one(target.with_name(".lock"), told=f"another process updates {target}"):
            job.update(adapter, found)


def update_folder(job: Job, source: Path, texts: list[str] | None) -> None:
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
        reasons: dict[str, list[str]] = {}
        for row in rows:
            reasons.setdefault(row["reason"], []).append(repr(row["file"]))
        for reason, names in list(reasons.items())[:SHOWN]:
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            print(f"  {what}: {', '.join(names[:NAMED])}{more}: {reason}", flush=True)
        left = sum(len(names) for names in list(reasons.values())[SHOWN:])
        if left:
            print(f"  {what}: {left} more, for other reasons", flush=True)


def targets(paths: list[Path], encoder: Encoder, indexes: Path, gallery: str) -> dict[str, Path]:
    """Adapter -> its index."""
    found: dict[str, Path] = {}
    for path in paths:
        header = encoder.add(str(path), path)
        target = adapters.place(indexes, gallery, header, path)
        if target in found.values():
            raise ValueError(f"two adapters would have the index {target}; index them under two names of the gallery (--name)")
        found[str(path)] = target
    return found


def refuse_other_source(indexes: Path, gallery: str, source: str) -> None:
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
