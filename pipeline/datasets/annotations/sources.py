"""Where a publisher's files are, and getting them into data/<name>/raw/."""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from requests.utils import get_netrc_auth

from pipeline.config.parse import refuse_unknown
from pipeline.config.settings import Annotate, Download
from pipeline.core.files import read_json, write_json
from pipeline.datasets.fetch import archive, http
from pipeline.datasets.fetch.content import check_digest


@dataclass(frozen=True)
class About:
    """A dataset as its card describes it."""

    title: str
    homepage: str
    licence: str
    citation: str
    shared: bool = False  # its licence lets everybody pass videos and captions on
    deviations: tuple[str, ...] = ()  # from the papers' protocol, whatever the settings


@dataclass(frozen=True)
class Source:
    """One address. `digest` as in `http.fetch`, "" where none is known.

    `unpack` maps the members of an archive to names in raw/ (None: not needed); `members` gives digests of unpacked files. The text of
    `gated` is for a user whom the server refuses. Without `file` nothing is fetched here: `url` is what single videos are fetched from.
    """

    name: str
    url: str
    file: str = ""
    kind: str = ""
    digest: str = ""
    videos: bool = False  # else annotations
    unpack: Callable[[str], str | None] | None = None
    members: Mapping[str, str] = field(default_factory=dict)
    gated: str = ""


def named(*files: str) -> Callable[[str], str | None]:
    """For `Source.unpack`: the members with these names, in whatever folder of the archive; macOS keeps copies of their attributes."""

    def wanted(member: str) -> str | None:
        file = PurePosixPath(member).name
        return file if file in files and not member.startswith("__MACOSX") else None

    return wanted


def address(sources: Sequence[Source], name: str, settings: Annotate | Download) -> str:
    """The URL of a source, or of its mirror."""
    return settings.mirrors.get(name) or next(source.url for source in sources if source.name == name)


def obtain(target: Path, sources: Sequence[Source], *, settings: Download, name: str) -> None:
    """Fill `target` with every source that `settings` does not replace by a folder, and `target`/sources.json with what came from where.

    Archives are kept beside `target` until they are unpacked, so that a run that was stopped goes on. A file that was fetched once must
    come again with the same content: data/<name>/fetched.json remembers it. Raises ValueError.
    """
    for mirror in settings.mirrors:
        refuse_unknown(mirror, [source.name for source in sources], what=f"datasets.{name}.mirrors: unknown source", there="there are")
    kept = target.parent / "partial"
    memory = target.parent / "fetched.json"
    known: dict[str, str] = read_json(memory) if memory.is_file() else {}
    got = []
    for source in sources:
        if source.file and not (settings.videos if source.videos else settings.annotations):
            url = address(sources, source.name, settings)
            digest = source.digest or known.get(source.file, "")
            got.append({"name": source.name, "url": url, **_one(source, url, digest=digest, kept=kept, target=target, name=name)})
            write_json(memory, known := known | {source.file: str(got[-1]["digest"])})
    write_json(target / "sources.json", got)
    shutil.rmtree(kept, ignore_errors=True)


def login(name: str) -> tuple[str, str] | None:
    """User and password of a gated dataset out of the environment: `LSMDC_LOGIN=user:password`. None: ~/.netrc is asked. ValueError."""
    value = os.environ.get(f"{name.upper()}_LOGIN")
    if value is None:
        return None
    user, colon, password = value.partition(":")
    if not colon:
        raise ValueError(f"the environment variable {name.upper()}_LOGIN does not have the form user:password")
    return user, password


def refuse_without_login(url: str, name: str, gated: str) -> None:
    """ValueError that says what to do, before a server is asked in vain."""
    if gated and urlsplit(url).scheme in ("http", "https") and login(name) is None and get_netrc_auth(url) is None:
        raise ValueError(
            f"{gated} There is no entry for {urlsplit(url).hostname} in ~/.netrc and no {name.upper()}_LOGIN in the environment"
        )


def _one(source: Source, url: str, *, digest: str, kept: Path, target: Path, name: str) -> dict[str, str | int]:
    refuse_without_login(url, name, source.gated)
    place = (kept if source.unpack else target) / source.file
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        done = http.fetch(url, place, kind=source.kind, digest=digest, login=login(name))
    except http.Refused as error:
        raise ValueError(f"{error}. {source.gated}" if source.gated else str(error)) from error
    except (http.Gone, http.Unreachable) as error:
        where = "videos" if source.videos else "annotations"
        raise ValueError(
            f"{error}. Or set datasets.{name}.{where} to a folder that has it, or datasets.{name}.mirrors.{source.name}"
        ) from error
    if source.unpack:
        archive.unpack(place, target, wanted=source.unpack)
        for member, wanted in source.members.items():
            if (target / member).is_file() and not check_digest(target / member, wanted):
                raise ValueError(f"{name}: {member} of {url} is not the file that was published ({wanted}); use another mirror")
    return {"file": source.file, "bytes": done.bytes, "digest": f"sha256:{done.sha256}"}
