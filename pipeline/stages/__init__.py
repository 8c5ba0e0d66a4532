"""One thin command a rule: parse paths and settings, call the pure functions, write the result."""

import sys
from collections.abc import Callable


def guarded(main: Callable[[], None]) -> None:
    """Run a stage; what a user can get wrong, or what the disk refuses, ends as one sentence and exit code 1."""
    try:
        main()
    except OSError as error:
        sys.exit(f"error: {error.filename}: {error.strerror}" if error.filename else f"error: {error}")
    except ValueError as error:
        sys.exit(f"error: {' '.join(str(error).split()) or type(error).__name__}")
