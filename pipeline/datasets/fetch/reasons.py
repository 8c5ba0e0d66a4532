"""Why a site does not hand out a video, out of the words of yt-dlp: reasons of the video are rows, reasons of the machine stop a run.

The first pattern that fits decides; a site words one reason in many ways.
"""

import re

from pipeline.datasets.fetch.access import BROWSER, COOKIES, IDENTITY, PAUSE, PROXY
from pipeline.datasets.fetch.http import Gone, Unreachable

FILES = "provide the file in a folder"
# Pattern, error, what it is called, and what to do: "" where nothing helps.
REASONS: tuple[tuple[str, type[ValueError], str, str], ...] = (
    (
        r"cookies are no longer valid|load cookies|cookies? database|cookies? from browser|decrypt\w* .*cookies?|netscape format cookies",
        ValueError,
        "cannot be fetched",
        f"look at {COOKIES} or {BROWSER}, which this machine cannot use",
    ),
    (
        r"not a bot|confirm you.re a human|\bcaptcha\b",
        Unreachable,
        "cannot be fetched now",
        f"the site takes this machine for a bot, as it does those of data centres: {IDENTITY}, set {PROXY}, or {FILES}",
    ),
    (
        r"too many requests|rate.?limit|HTTP Error 429",
        Unreachable,
        "cannot be fetched now",
        f"wait some hours, set {PAUSE} to seconds between two requests, or {FILES}",
    ),
    (
        r"try again later|giving up after|HTTP Error (403|408|425|5\d\d)",
        Unreachable,
        "cannot be fetched now",
        f"wait some hours, or {FILES}",
    ),
    (
        r"your age|age.?restricted|inappropriate for some users|adults? only",
        Gone,
        "is not to be had, restricted by age",
        f"the account of an adult may see it: {IDENTITY}",
    ),
    (
        r"your (country|location|region)|geo.?restrict|geo.?block|blocked it in|this country",
        Gone,
        "is not to be had, blocked in this country",
        f"set {PROXY} to one in another",
    ),
    (r"members|join this channel|requires payment|subscription", Gone, "is not to be had, for members only", ""),
    (r"private", Gone, "is not to be had, private", ""),
    (r"removed|deleted|terminated|no longer|copyright|closed their|violat", Gone, "is not to be had, removed", ""),
    (r"unavailable|(?<!format is )not available|not exist|Error 4(04|10)", Gone, "is not to be had", ""),
)
UNKNOWN = (ValueError, "cannot be fetched", "check the address, or update yt-dlp")


def meaning(line: str, *, name: str, network: bool) -> ValueError:
    """The error to raise for what yt-dlp says of a video in one `line`; `network`: whether the first cause of it is the network."""
    found = next((entry[1:] for entry in REASONS if re.search(entry[0], line, re.IGNORECASE)), None)
    if network and (found is None or found[0] is not Unreachable):
        found = (Unreachable, "cannot be fetched now", f"wait some hours, or {FILES}")
    kind, what, advice = found or UNKNOWN
    return kind(f"{name} {what}: {line}{advice and f'; {advice}'}")
