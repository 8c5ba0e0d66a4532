"""One thin command a rule: parse paths and settings, call the pure functions, write the result."""

import argparse
import contextlib
import gc
import sys
from collections.abc import Callable

from pipeline.runtime.signals import EXIT_CODE, Stopped


def add_settings(parser: argparse.ArgumentParser, part: type) -> None:
    """The one `--settings` of a stage: everything whose change runs its rule again, read into `part` by `settings.read`."""
    parser.add_argument("--settings", required=True, help=f"{part.__module__}.{part.__name__} as JSON text, or a file that holds it")


def guarded(main: Callable[[], None]) -> None:
    """Run a stage; what a user can get wrong, or what the disk refuses, ends as one sentence and exit code 1.

    A stage that was told to stop, and goes on when it is started again, ends with exit code 75.
    """
    gc.freeze()  # torch and what comes with it is no garbage: taking it down at the end would take a second
    try:
        main()
    except Stopped as stopped:
        with contextlib.suppress(OSError):  # what reads the output may have been stopped first
            print(stopped, file=sys.stderr, flush=True)
        sys.exit(EXIT_CODE)
    except OSError as error:
        sys.exit(f"error: {error.filename}: {error.strerror}" if error.filename else f"error: {error}")
    except ValueError as error:
        sys.exit(f"error: {' '.join(str(error).split()) or type(error).__name__}")
