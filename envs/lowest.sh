#!/usr/bin/env bash
# The tests of `make quick` with another Python and the lowest packages of the ranges: envs/lowest.sh /path/to/python3.13 [words for pytest]
# It takes 7 GB in a folder of its own, which goes when it ends, and ten minutes on two cores; KEEP=folder keeps it for the next time.
set -euo pipefail
cd "$(dirname "$0")/.."
python="${1:?usage: envs/lowest.sh PYTHON [words for pytest]}"
shift
folder="${KEEP:-$(mktemp -d)}"
[ -n "${KEEP:-}" ] || trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder"
pip=("$folder/bin/python" -m pip install --disable-pip-version-check --quiet)
"${pip[@]}" -r envs/requirements.in -r envs/requirements-dev.in -c envs/lowest.txt "setuptools>=70"
"${pip[@]}" --no-deps --no-build-isolation -e .
"$folder/bin/python" -c 'import open_clip, platform, torch, torchvision
print("Python", platform.python_version(), "torch", torch.__version__, "torchvision", torchvision.__version__, "open_clip", open_clip.__version__)'
# `-o setup`: the environment is this one.
make -o setup quick BIN="$folder/bin" ARGS="$*"
