"""Errors of ffmpeg in words for people: whose fault it is, without the names of its parts."""

import re
from pathlib import Path

# "[h264 @ 0x55ab]", several in a row where one part speaks for another.
SPEAKER = re.compile(r"\[([^\]@]*) @ 0x[0-9a-f]+\]\s*")
# The parts of ffmpeg that this project puts behind the decoder: they cannot say that a video is damaged.
OURS = re.compile(r"(Parsed_|vf#|fc#|vost#|enc:|out#|graph |auto_|sws|libx264|mp4$|fps_|ost#)|.*(buffersink|filter)")
PLUMBING = re.compile(r"^(in#\d+/?|dec:|vist#[\d:]+/|ist#[\d:]+/)")


def of_the_file(said: str, source: Path) -> str:
    """The first line of ffmpeg's errors that is about the file, without what changes from run to run; "" if it has none.

    What follows an error of our own parts is that error's consequence.
    """
    first = next((line for line in said.splitlines() if line.strip()), "")
    speakers = [name.strip() for name in SPEAKER.findall(first)]
    if any(OURS.match(name) for name in speakers) or (not speakers and "filter" in first.lower()):
        return ""
    words = SPEAKER.sub("", first).strip().replace(f"file:{source}", source.name)
    names = dict.fromkeys(PLUMBING.sub("", name) for name in speakers)
    return ": ".join(filter(None, [*list(names)[-1:], words])).rstrip(".")[:200]
