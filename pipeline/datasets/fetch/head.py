"""Whether an address still answers, without fetching what it has."""

from dataclasses import dataclass

import requests

from pipeline.core.formatting import size
from pipeline.datasets.fetch.http import TIMEOUT, shown

HERE, CLOSED, GONE, SILENT = "there", "asks for a login", "gone", "silent"
REFUSED, LOST, NO_HEAD = (401, 407), (404, 410), (400, 403, 405, 501)


@dataclass(frozen=True)
class Answer:
    """`state`: one of the words above; `reason`: the number of bytes, or what the server said."""

    state: str
    reason: str


def head(url: str) -> Answer:
    """The server's headers for `url`; where it does not answer a question for the head, of the first byte. ValueError as for `shown`."""
    shown(url)
    try:
        answer = requests.head(url, timeout=TIMEOUT, allow_redirects=True)
        if answer.status_code in NO_HEAD:
            with requests.get(url, timeout=TIMEOUT, headers={"Range": "bytes=0-0"}, stream=True) as answer:
                return _answer(answer)
        return _answer(answer)
    except requests.RequestException as error:
        return Answer(SILENT, type(error).__name__)


def _answer(answer: requests.Response) -> Answer:
    code = answer.status_code
    if code in REFUSED:
        return Answer(CLOSED, f"HTTP {code}")
    if code in LOST:
        return Answer(GONE, f"HTTP {code}")
    if code >= 400:
        return Answer(SILENT, f"HTTP {code}")
    whole = answer.headers.get("Content-Range", "").rpartition("/")[2] or (answer.headers.get("Content-Length", "") if code == 200 else "")
    return Answer(HERE, size(int(whole)) if whole.isdigit() else "")
