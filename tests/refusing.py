"""File systems without locks, made by a library loaded before all others, whose flock refuses."""

import os
import shutil
import subprocess

import pytest

SOURCE = "#include <errno.h>\n#include <sys/file.h>\nint flock(int fd, int op) {{ (void)fd; (void)op; errno = {code}; return -1; }}\n"
CODES = ("ENOSYS", "ENOLCK", "EOPNOTSUPP")


def refusing(folder, code):
    """The environment in which flock answers `code`."""
    if shutil.which("gcc") is None:
        pytest.skip("no gcc here to make a flock that refuses")
    library = folder / f"refuse-{code}.so"
    command = ["gcc", "-shared", "-fPIC", "-x", "c", "-o", str(library), "-"]
    subprocess.run(command, input=SOURCE.format(code=code), text=True, check=True)
    return os.environ | {"LD_PRELOAD": str(library)}
