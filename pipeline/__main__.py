"""`python -m pipeline`: every command with its first line; `python -m pipeline COMMAND ...` runs one."""

import ast
import runpy
import sys
from pathlib import Path

from pipeline.config.parse import refuse_unknown

STAGES = Path(__file__).parent / "stages"


def commands() -> dict[str, str]:
    """Name -> first line of the docstring, read from the files: importing them all would load torch. A bar of a file's name is a dash."""
    trees = {path.stem.replace("_", "-"): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(STAGES.glob("*.py"))}
    runs = {
        name: tree for name, tree in trees.items() if any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body)
    }
    return {name: (ast.get_docstring(tree) or "").splitlines()[0] for name, tree in runs.items()}


def main() -> None:
    known = commands()
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        width = max(map(len, known))
        print("usage: python -m pipeline COMMAND ...   (--help after a command lists its options)\n")
        print("\n".join(f"  {name:{width}}  {line}" for name, line in known.items()))
        return
    name = sys.argv.pop(1)
    if name not in known:
        try:
            refuse_unknown(name, list(known), what="there is no command", there="there are")
        except ValueError as error:
            sys.exit(f"error: {error}")
    runpy.run_module(f"pipeline.stages.{name.replace('-', '_')}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
