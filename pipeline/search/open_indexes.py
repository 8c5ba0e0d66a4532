"""The open indexes of one backbone, with their adapters."""

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.adapters.encoder import Encoder
from pipeline.config.parse import parse, refuse_unknown
from pipeline.config.schema import Backbone
from pipeline.core import record
from pipeline.runtime import device
from pipeline.search.index import Gallery, discover, home

MAKE = "python -m pipeline.stages.index --folder YOUR-VIDEOS, or snakemake --cores all indexes"
STAGE = "python -m pipeline.stages.index"
State = tuple[int, int, int]


class Shelf:
    """`galleries` by their names, and the `encoder` with their adapters. `other`: indexes that cannot be searched with it, and why.

    `only`: the names that are wanted; None is all below `root`. The backbone is the one that most indexes have, or the one named.
    """

    def __init__(self, root: Path, *, only: Sequence[str] | None, place: str, backbone: str | None) -> None:
        self.root, self._only = root, only
        self.galleries: dict[str, Gallery] = {}
        self.other: dict[str, str] = {}
        self._states: dict[str, State] = {}
        there = discover(root)
        if not there:
            raise ValueError(f"there is no index below {root}; make one: {MAKE}")
        for name in only or ():
            refuse_unknown(name, list(there), what="there is no index", there="there are")
        opened = [gallery for name, path in self._wanted().items() if (gallery := self._opened(name, path))]
        chosen = _most(opened, backbone)
        if chosen is None:
            raise ValueError(next(iter(self.other.values()), f"no index below {root} is of backbone {backbone}"))
        self._chosen = chosen.about
        self.encoder = Encoder(_backbone(chosen), device=device.choose(place))
        for gallery in opened:
            self._take(gallery)
        if not self.galleries or (only is not None and self.other):
            raise ValueError(next(iter(self.other.values())))

    def adapter(self, name: str) -> str:
        """Its name in the encoder."""
        return _adapter(self.galleries[name])

    def refresh(self) -> list[str]:
        """Open what is new or was replaced, forget what is gone; the names of both."""
        there = self._wanted()
        changed = [name for name, path in there.items() if self._states.get(name) != _state(path)]
        gone = [name for name in self._states if name not in there]
        for name in (*changed, *gone):
            self._forget(name)
        for name in changed:
            gallery = self._opened(name, there[name])
            if gallery:
                self._take(gallery)
        return sorted((*changed, *gone))

    def _wanted(self) -> dict[str, Path]:
        return {name: path for name, path in discover(self.root).items() if self._only is None or name in self._only}

    def _opened(self, name: str, path: Path) -> Gallery | None:
        self._states[name] = _state(path)
        try:
            return Gallery.open(path)
        except ValueError as error:
            self.other[name] = str(error)
            return None

    def _take(self, gallery: Gallery) -> None:
        reason = self._reason(gallery)
        if reason:
            self.other[gallery.name] = reason
            gallery.close()
        else:
            self.galleries[gallery.name] = gallery

    def _reason(self, gallery: Gallery) -> str:
        """Why an index cannot be searched, or ""; its adapter is loaded then."""
        about, key = gallery.about, _adapter(gallery)
        own, chosen = ((of["backbone"]["name"], of["backbone_digest"]) for of in (about, self._chosen))
        if own != chosen:
            there, here = (f"{name} ({digest[:12]})" for name, digest in (own, chosen))
            return f"{gallery.name} was made with backbone {there}, and {here} is in memory; search it by itself: --index {gallery.name}"
        if key in self.encoder.names() and self.encoder.sha256(key) == about["adapter_sha256"]:
            return ""
        wrong = f"the adapter of {gallery.name}, {about['adapter']}, is"
        if not Path(key).is_file():
            return f"{wrong} gone; put it back, or index again: {_command(about)}"
        if record.sha256(Path(key)) != about["adapter_sha256"]:
            return f"{wrong} another one than it was made with; index again: {_command(about)}"
        try:
            self.encoder.add(key, Path(key))
        except ValueError as error:
            return str(error)
        for other in [other for other in self.galleries.values() if _adapter(other) == key]:
            if other.about["adapter_sha256"] != about["adapter_sha256"]:
                self._forget(other.name)
                self.other[other.name] = f"the adapter of {other.name} was replaced; index again: {_command(other.about)}"
        return ""

    def _forget(self, name: str) -> None:
        self.other.pop(name, None)
        self._states.pop(name, None)
        gallery = self.galleries.pop(name, None)
        if gallery:
            gallery.close()


def _state(path: Path) -> State:
    """Changes when an update has put another file in the place of an index."""
    try:
        found = path.stat()
    except OSError:  # it went between two looks
        return (0, 0, 0)
    return (found.st_mtime_ns, found.st_size, found.st_ino)


def _most(galleries: list[Gallery], backbone: str | None) -> Gallery | None:
    """One of the backbone that most of them have, or that is named so."""
    fitting = [gallery for gallery in galleries if backbone in (None, gallery.about["backbone"]["name"])]
    counts = Counter(gallery.about["backbone_digest"] for gallery in fitting)
    return max(fitting, key=lambda gallery: counts[gallery.about["backbone_digest"]], default=None)


def _backbone(gallery: Gallery) -> Backbone:
    return parse(Backbone, gallery.about["backbone"], where=str(gallery.path)).seen_from(home(gallery.path))


def _adapter(gallery: Gallery) -> str:
    return str(home(gallery.path) / gallery.about["adapter"])


def _command(about: dict[str, Any]) -> str:
    """The command that makes an index again."""
    source = str(about["source"])
    if about["kind"] == "dataset":
        dataset, split = source.rsplit("/", 1)
        words = ["--dataset", dataset, "--split", split]
    else:
        words = ["--folder", source, "--name", str(about["gallery"])]
    return shlex.join([*STAGE.split(), *words, "--adapter", str(about["adapter"])])
