"""One file over HTTP: resumed where it broke off, and checked before it gets its name."""

import contextlib
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import requests
from requests.exceptions import InvalidSchema, InvalidURL, TooManyRedirects
from tenacity import RetryCallState, RetryError, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter
from urllib3.exceptions import HTTPError

from pipeline.config.parse import choose
from pipeline.core.files import read_json, write_json
from pipeline.datasets.fetch.content import SIGNS, Fetched, parsed, verified

TIMEOUT = (15.0, 60.0)  # seconds to connect, and between two chunks
LONGEST = 300.0  # seconds to wait before another attempt
CHUNK = 1 << 16
# Nothing but a plain host may stand before the path: what else is there may be a password, also a mistyped one.
ADDRESS = re.compile(r"https?://(\[[0-9a-f:.]+\]|[^/@:?#\s\\\[\]]+)(:\d+)?([/?#]|$)", re.IGNORECASE)


class Gone(ValueError):
    """The file is not there, or not anymore."""


class Refused(ValueError):
    """The server wants other credentials."""


class Unreachable(ValueError):
    """All attempts failed; a later one may not."""


class _Broken(Exception):
    """An attempt that failed, and is worth another one in no less than `wait` seconds."""

    def __init__(self, reason: str, *, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


def fetch(
    url: str,
    target: Path,
    *,
    kind: str = "",
    size: int | None = None,
    digest: str = "",
    login: tuple[str, str] | None = None,
    attempts: int = 6,
    pause: float = 1.0,
) -> Fetched:
    """Download `url` to `target`, which is there whole and verified or not at all; a later call continues where one broke off.

    `kind`: a key of content.SIGNS, "" for anything. `size`: bytes. `digest`: "sha256:", "sha1:", "md5:" or "gitblob:" and hex digits.
    `login`: user and password, sent to the host of `url` only; without it those of ~/.netrc.
    `attempts`: failures in a row without a new byte. `pause`: seconds before the second attempt, doubled before each other.
    A `target` that is there is verified without the network. Raises Gone, Refused, Unreachable, ValueError for whatever else is
    not as promised, and OSError for the disk.
    """
    choose(kind, SIGNS, what="the kind of a file")
    parsed(digest)
    part, verify = _Part(target, url, login), partial(verified, kind=kind, size=size, digest=digest)
    if target.exists():
        try:
            return verify(target, f"{target} is")
        except ValueError as error:
            raise ValueError(f"{error}; delete {target} to fetch it again") from None
    target.parent.mkdir(parents=True, exist_ok=True)
    _download(part, size=size, attempts=attempts, pause=pause)
    joined = part.resumed
    try:
        return part.finish(target, verify)
    except ValueError:
        # A server may join two versions without a word, but not from the first byte on.
        if not joined:
            raise
    _download(part, size=size, attempts=attempts, pause=pause)
    return part.finish(target, verify)


def shown(url: str) -> str:
    """`url` without its query, which may be a key. ValueError if it is not plain http or https, or holds a password."""
    plain = re.split(r"[?#]", url)[0]
    if not ADDRESS.match(url):
        name = "an address (not shown: it may hold a password)" if re.search("@|%40", url) else repr(plain)
        raise ValueError(f"{name} is not of the form http(s)://host/path; a name and a password belong into ~/.netrc (chmod 600)")
    return plain


class _Part:
    """The part of a download that is there, and the validator of the version it belongs to: "" if it cannot be continued."""

    def __init__(self, target: Path, url: str, login: tuple[str, str] | None) -> None:
        self.path, self.about = (target.with_name(f".{target.name}.part{end}") for end in ("", ".json"))
        self.url, self.shown, self.login, self.validator, self.resumed = url, shown(url), login, "", False
        with contextlib.suppress(ValueError):
            about = read_json(self.about)
            self.validator = about["validator"] if about["url"] == url else ""

    @property
    def length(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def start(self, validator: str) -> None:
        # Emptied first: old bytes must never stand beside a new validator.
        self.path.write_bytes(b"")
        write_json(self.about, {"url": self.url, "validator": validator})
        self.validator, self.resumed = validator, False

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self.about.unlink(missing_ok=True)
        self.validator, self.resumed = "", False

    def finish(self, target: Path, verify: Callable[[Path, str], Fetched]) -> Fetched:
        """Rename it to `target` if it is what was promised; else nothing of it stays, and ValueError says why."""
        try:
            found = verify(self.path, f"{self.shown}: the server sent")
        except ValueError:
            self.discard()
            raise
        with self.path.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(self.path, target)
        self.about.unlink(missing_ok=True)
        return found


def _download(part: _Part, *, size: int | None, attempts: int, pause: float) -> None:
    """All bytes into `part`, or the first ones if there are more than `size`."""
    most, backoff = part.length, wait_exponential_jitter(initial=pause, max=LONGEST, jitter=pause)

    def forgive(state: RetryCallState) -> None:
        nonlocal most
        if part.length > most:
            most, state.attempt_number = part.length, 1

    def wait(state: RetryCallState) -> float:
        failure = state.outcome and state.outcome.exception()
        return max(backoff(state), failure.wait if isinstance(failure, _Broken) else 0.0)

    retrying = Retrying(retry=retry_if_exception_type(_Broken), stop=stop_after_attempt(attempts), wait=wait, after=forgive)
    try:
        retrying(_attempt, part, size=size)
    except RetryError as error:
        reason = error.last_attempt.exception()
        raise Unreachable(f"{part.shown} cannot be fetched: {reason}, {attempts} times in a row; try again later") from None


def _attempt(part: _Part, *, size: int | None) -> None:
    """One request. Raises _Broken if another one may go on where it ended."""
    have = part.length if part.validator else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-", "If-Range": part.validator} if have else {})
    try:
        with requests.get(part.url, headers=headers, auth=part.login, stream=True, timeout=TIMEOUT) as answer:
            total = _begin(answer, part, have=have)
            if answer.status_code != 416:
                _copy(answer, part, size=size)
    except (InvalidSchema, InvalidURL, TooManyRedirects):
        raise ValueError(f"{part.shown} leads to an address that is not http or https, or in circles") from None
    except (requests.RequestException, HTTPError) as error:
        raise _Broken(_reason(error)) from None
    if total is not None and part.length < total and (size is None or part.length <= size):
        raise _Broken(f"the connection broke off after {part.length} of {total} bytes")


def _begin(answer: requests.Response, part: _Part, *, have: int) -> int | None:
    """Make `part` ready for the body of `answer`; bytes of the whole file, None if nobody knows."""
    status, fields = answer.status_code, answer.headers
    length = int(fields["Content-Length"]) if fields.get("Content-Length", "").isdecimal() else None
    if status == 200:
        etag = fields.get("ETag", "")
        part.start(etag if etag.startswith('"') else fields.get("Last-Modified", ""))
        return length
    if not (have and status in (206, 416)):
        raise _failure(answer, part)
    span = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", fields.get("Content-Range", ""))
    start, total = span.groups() if span else (None, None)
    version = fields.get("ETag" if part.validator.startswith('"') else "Last-Modified", part.validator)
    if version != part.validator or (start if status == 206 else total) != str(have):
        part.discard()
        raise _Broken(f"the server does not continue at byte {have} (it answers {status} {fields.get('Content-Range', '')!r})")
    part.resumed = True
    return int(total) if total and total.isdecimal() else length and have + length


def _copy(answer: requests.Response, part: _Part, *, size: int | None) -> None:
    try:
        with part.path.open("ab") as file:
            # Raw, because a length, a range and a digest are about the bytes that the server has.
            for chunk in answer.raw.stream(CHUNK, decode_content=False):
                file.write(chunk)
                if size is not None and file.tell() > size:
                    return
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}; make room and re-run, what came is kept", str(part.path)) from error


def _failure(answer: requests.Response, part: _Part) -> Exception:
    """The error that an answer without a file means."""
    status, host = answer.status_code, urlsplit(answer.url).hostname
    if status in (404, 410):
        part.discard()
        return Gone(f"{part.shown} is not there: the server answers {status}")
    if status in (401, 403):
        entry = f"'machine {host} login NAME password PASSWORD' into ~/.netrc and chmod 600 it"
        return Refused(f"{part.shown} is refused: {host} answers {status}; write {entry}, or ask its owner")
    if status in (408, 425, 429) or status >= 500:
        return _Broken(f"the server answers {status}", wait=_asked(answer.headers.get("Retry-After", "")))
    return ValueError(f"{part.shown} cannot be fetched: the server answers {status}; check the address")


def _asked(field: str) -> float:
    """Seconds that a Retry-After, a number of seconds or a date, asks to wait; no more than LONGEST."""
    if field.isdecimal():
        return min(float(field), LONGEST)
    with contextlib.suppress(ValueError, TypeError):
        return min(max((parsedate_to_datetime(field) - datetime.now(UTC)).total_seconds(), 0.0), LONGEST)
    return 0.0


def _reason(error: BaseException) -> str:
    """Own words, because those of requests hold the whole URL."""
    while (cause := error.__cause__ or error.__context__) and not (isinstance(error, OSError) and error.strerror):
        error = cause
    if isinstance(error, TimeoutError):
        return "the server does not answer"
    return f"no connection ({error.strerror})" if isinstance(error, OSError) and error.strerror else "the connection broke off"
