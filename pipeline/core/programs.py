"""Programs asked a question: what they said, or nothing where they do not answer in time."""

import os
import signal
import subprocess
from collections.abc import Sequence


def ask(words: Sequence[str], *, seconds: float) -> "subprocess.CompletedProcess[str] | None":
    """The answer of a program in English, None if it takes longer than `seconds`. OSError if it cannot be started.

    It is then killed with all that it has started: a child that holds its output open would be waited for.
    """
    started = subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=os.environ | {"LC_ALL": "C"},
        start_new_session=True,
    )
    try:
        out, err = started.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(started.pid, signal.SIGKILL)
        started.communicate()
        return None
    return subprocess.CompletedProcess(list(words), started.returncode, out, err)


def first_line(text: str) -> str:
    """The first line that says something, "" if none does."""
    return next(filter(None, map(str.strip, text.splitlines())), "")
