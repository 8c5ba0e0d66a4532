"""How single videos are asked for, where a site wants to know who asks: cookies, a login, a proxy and a rate, out of the environment.

Nothing of it is in params.yaml: it changes no result, and cookies are as good as a password.
"""

import math
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yt_dlp.cookies import SUPPORTED_BROWSERS, SUPPORTED_KEYRINGS
from yt_dlp.utils import parse_bytes

from pipeline.config.parse import refuse_unknown

COOKIES, BROWSER, PROXY, RATE, PAUSE = (f"PETL_VTR_{word}" for word in ("COOKIES", "BROWSER", "PROXY", "RATE", "PAUSE"))
IDENTITY = f"set {COOKIES} to a cookies.txt file of a browser that is signed in, or {BROWSER} to its name"
SCHEMES = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")


def options(part: Path, environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Options of yt-dlp; `part` is a private folder that is deleted afterwards. ValueError names the variable that is wrong."""
    given = {name: environment[name].strip() for name in (COOKIES, BROWSER, PROXY, RATE, PAUSE) if environment.get(name, "").strip()}
    found: dict[str, Any] = {"usenetrc": (Path.home() / ".netrc").is_file()}
    if COOKIES in given and BROWSER in given:
        raise ValueError(f"the environment has both {COOKIES} and {BROWSER}; keep one of them")
    if COOKIES in given:
        found["cookiefile"] = str(_copied(Path(given[COOKIES]).expanduser(), part))
    if BROWSER in given:
        found["cookiesfrombrowser"] = _browser(given[BROWSER])
    if PROXY in given:
        if given[PROXY].partition("://")[0].lower() not in SCHEMES or "://" not in given[PROXY]:
            raise ValueError(f"the environment variable {PROXY} does not begin with one of {', '.join(f'{s}://' for s in SCHEMES)}")
        found["proxy"] = given[PROXY]
    if RATE in given:
        found["ratelimit"] = _positive(RATE, given[RATE], parse_bytes(given[RATE]), "bytes a second, such as 500K or 2M")
    if PAUSE in given:
        seconds = _positive(PAUSE, given[PAUSE], _number(given[PAUSE]), "seconds, such as 5")
        found |= {"sleep_interval_requests": seconds, "sleep_interval": seconds}
    return found


def _copied(cookies: Path, part: Path) -> Path:
    """A copy, since yt-dlp writes into the file, and several jobs share it."""
    if not cookies.is_file():
        raise ValueError(f"the environment variable {COOKIES} names {str(cookies)!r}, and there is no such file")
    copy = part / ".cookies.txt"
    shutil.copyfile(cookies, copy)
    copy.chmod(0o600)
    return copy


def _browser(said: str) -> tuple[str, str | None, str | None, None]:
    """`firefox`, `chrome:Profile 1`, `chromium+gnomekeyring:work`: browser, keyring and profile as yt-dlp takes them."""
    named, _, profile = said.partition(":")
    browser, _, keyring = named.partition("+")
    refuse_unknown(
        browser.lower(), sorted(SUPPORTED_BROWSERS), what=f"the environment variable {BROWSER}: unknown browser", there="there are"
    )
    if keyring:
        keys = sorted(SUPPORTED_KEYRINGS)
        refuse_unknown(keyring.upper(), keys, what=f"the environment variable {BROWSER}: unknown keyring", there="there are")
    return browser.lower(), profile or None, keyring.upper() or None, None


def _number(said: str) -> float | None:
    try:
        return float(said)
    except ValueError:
        return None


def _positive(name: str, said: str, value: float | None, wanted: str) -> float:
    if value is None or not 0 < value < math.inf:
        raise ValueError(f"the environment variable {name} is {said!r}; give {wanted}")
    return value
