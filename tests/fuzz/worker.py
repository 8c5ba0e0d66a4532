"""The process that reads mutated files: a line with a path comes in, a line of JSON with what became of it goes out."""

import json
import os
import resource
import shutil
import sys
import traceback
from pathlib import Path

from tests.fuzz.targets import TARGETS, Target

MEMORY = 12 * 2**30  # bytes of addresses, so that a file that asks for all memory gets an error instead of the machine
SENTENCE = 5000  # characters; captions.csv lists up to twenty mistakes, each with a value of up to a hundred


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    target, out = TARGETS[sys.argv[1]], Path(sys.argv[2])
    said = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what is printed is no answer
    for line in sys.stdin:
        print(json.dumps(_read(target, Path(line.rstrip("\n")), out)), file=said, flush=True)


def _read(target: Target, path: Path, out: Path) -> dict[str, str]:
    """`taken`, `refused`, or a `fault` with what it is."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    try:
        refusal = target.read(path, out)
    except Exception as error:
        if type(error) is not ValueError and not isinstance(error, OSError) and not _ours(error):
            return {"what": "fault", "kind": f"{type(error).__name__} {_place(error)}", "why": traceback.format_exc()}
        refusal = str(error)
        if not refusal.strip() or len(refusal) > SENTENCE:
            return {"what": "fault", "kind": f"no sentence {_place(error)}", "why": traceback.format_exc()}
        if target.names_file and path.name not in refusal and path.name not in str(getattr(error, "filename", "")):
            return {"what": "fault", "kind": f"the file is not named {_place(error)}", "why": traceback.format_exc()}
    if refusal and (left := sorted(str(file.relative_to(out)) for file in out.rglob("*"))):
        return {"what": "fault", "kind": "left a file", "why": f"{refusal}\nleft {', '.join(left)}"}
    return {"what": "refused" if refusal else "taken", "why": refusal}


def _ours(error: Exception) -> bool:
    return isinstance(error, ValueError) and type(error).__module__.startswith("pipeline.")


def _place(error: BaseException) -> str:
    """Where in the project it was, so that equal faults are counted as one."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if f"{os.sep}pipeline{os.sep}" in frame.filename]
    return f"at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "outside of the project"


if __name__ == "__main__":
    main()
