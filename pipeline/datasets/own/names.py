"""Which file a cell of captions.csv means. All files are put into an index once; a line costs no look at all of them."""

import bisect
import difflib
import os
import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath

from pipeline.datasets.annotations.letters import blank, escaped, folded, shown
from pipeline.datasets.annotations.matching import BESIDE, MOVING, stem

HINTS = 20  # names that a look for something near is worth: more mistakes are not shown
AROUND = 50  # names before and behind one that are compared with it
LONGEST = 500  # characters of a name that others are compared with
NUMBER = re.compile(r"0*([0-9]+?)(?:[.,]0+)?")
ROUNDED = re.compile(r"[0-9](?:[.,][0-9]+)?E\+[0-9]+", re.IGNORECASE)


def below(folder: Path) -> Iterator[str]:
    """The files below a folder, with slashes. Links to folders are not followed; folders that may not be read are passed over."""
    try:
        entries = list(os.scandir(folder))
    except PermissionError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from (f"{entry.name}/{name}" for name in below(Path(entry.path)))
        elif entry.is_file():
            yield entry.name


class Names:
    """Files by what people write for them."""

    def __init__(self, files: Iterator[str]) -> None:
        self.files = frozenset(files)
        self.indexes: dict[tuple[object, bool], dict[str, list[str]]] = {}
        self.found: dict[str, tuple[str, str]] = {}
        self.hints = HINTS

    def find(self, written: str) -> tuple[str, str]:
        """The file that `written` means, and "", or `written` and what is wrong with it."""
        if written not in self.found:
            self.found[written] = self._find(written)
        return self.found[written]

    def _find(self, written: str) -> tuple[str, str]:
        path = PurePosixPath(written)
        if blank(written):
            return "", "the video is empty"
        if path.is_absolute() or ".." in path.parts:
            return written, f"the video {shown(written)} leaves the folder"
        if (plain := path.as_posix()) in self.files:
            return plain, ""
        for fold in (str, _composed, folded):
            for bare in (False, True):
                if same := self._index(fold, bare=bare).get(fold(plain), []):
                    return _one(written, same, advice="write the ending" if bare else "write the name as it is")
        if same := self._numbered(plain):
            return _one(written, same, advice="a spreadsheet may have removed zeros: write the whole name")
        return written, f"there is no video {shown(written)}{self._hint(plain)}"

    def _index(self, fold: Callable[[str], str], *, bare: bool) -> dict[str, list[str]]:
        """Key -> files; without their ending, those that may be meant so."""
        if (fold, bare) not in self.indexes:
            made: dict[str, list[str]] = {}
            for name in self.files:
                if not bare or _rank(name) < 2:
                    made.setdefault(fold(_bare(name) if bare else name), []).append(name)
            self.indexes[fold, bare] = {key: _films(names) for key, names in made.items()} if bare else made
        return self.indexes[fold, bare]

    def _numbered(self, plain: str) -> list[str]:
        """Files whose names are this number; tables without text lose leading zeros, and may add `.0`."""
        if not (key := _number(plain)):
            return []
        ending = plain[len(_bare(plain)) :].lower()
        return _films([name for name in self.numbers.get(key, []) if name.lower().endswith(ending)])

    @cached_property
    def numbers(self) -> dict[str, list[str]]:
        made: dict[str, list[str]] = {}
        for name in self.files:
            if _rank(name) < 2 and (key := _number(name)):
                made.setdefault(key, []).append(name)
        return made

    @cached_property
    def sorted(self) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        """The names of films in their order, and in the order of their ends."""
        names = [(folded(_bare(name)), name) for name in self.files if _rank(name) < 2]
        return sorted(names), sorted((key[::-1], name) for key, name in names)

    def _hint(self, plain: str) -> str:
        """The names that may be meant. One mistake leaves the beginning or the end of a name, by which its neighbours are found."""
        if ROUNDED.fullmatch(PurePosixPath(stem(plain)).name):
            return "; a spreadsheet has rounded this number: make the column a text, and write the whole name"
        self.hints -= 1
        if self.hints < 0 or len(plain) > LONGEST:
            return ""
        key, near = folded(_bare(plain)), set[str]()
        for order, wanted in zip(self.sorted, (key, key[::-1]), strict=True):
            place = bisect.bisect(order, (wanted, ""))
            near.update(name for _, name in order[max(place - AROUND, 0) : place + AROUND])
        best = difflib.get_close_matches(plain, sorted(near), n=1)
        return f"; did you mean {shown(best[0])}?" if best else ""


def _one(written: str, same: list[str], *, advice: str) -> tuple[str, str]:
    if len(same) == 1:
        return same[0], ""
    more = f" or {len(same) - 3} others" if len(same) > 3 else ""
    return written, f"the video {shown(written)} could be {' or '.join(map(escaped, sorted(same)[:3]))}{more}; {advice}"


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _bare(name: str) -> str:
    """A path without its ending."""
    folder, slash, last = name.rpartition("/")
    return folder + slash + stem(last)


def _number(name: str) -> str:
    """Equal for paths in one folder whose names are one number; "" for other names."""
    if len(name) > LONGEST:  # in a row of zeros the expression begins at each of them
        return ""
    folder, slash, last = name.rpartition("/")
    number = NUMBER.fullmatch(stem(last))
    return folder + slash + number[1] if number else ""


def _rank(name: str) -> int:
    """Whether a name without its ending means this file: 0 a film, 1 a picture that may move, 2 something that lies beside a video.

    A picture that may move is perhaps the thumbnail of a film with its name.
    """
    _, dot, ending = name.lower().rpartition(".")
    return 0 if not dot else 1 if ending in MOVING else 2 if ending in BESIDE else 0


def _films(names: list[str]) -> list[str]:
    """Those of the best rank."""
    if len(names) < 2:
        return names
    best = min(map(_rank, names))
    return [name for name in names if _rank(name) == best]
