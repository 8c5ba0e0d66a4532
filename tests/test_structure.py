"""What the house promises: imports point one way, open_clip has one door, files stay small, rules know their code."""

import ast
import re
from pathlib import Path

import yaml

from pipeline.sources import sources

PIPELINE = Path(__file__).parents[1] / "pipeline"
# Left never imports right.
LAYERS = (
    ("parse", "params", "recipes", "record", "files", "progress", "units", "sources", "device", "embeddings"),
    ("world", "video", "datasets", "splits"),
    ("tower", "clip", "loss", "similarity", "ranks", "metrics", "optim", "bert_adam"),
    ("methods", "checkpoint", "data", "cost", "dead", "budget", "pretrain"),
    ("embed", "validate", "score"),
    ("train", "examples", "report", "charts", "page"),
    ("stages",),
)


def modules():
    for path in sorted(PIPELINE.rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer(name):
    found = [number for number, names in enumerate(LAYERS) if name in names]
    assert len(found) == 1, f"{name} belongs to one layer of {__file__}"
    return found[0]


def test_imports_point_one_way():
    for path, tree in modules():
        relative = path.relative_to(PIPELINE)
        own = relative.parts[0].removesuffix(".py")
        if own == "__init__":
            continue
        for name in imported(tree):
            parts = name.split(".")
            if parts[0] == "pipeline" and len(parts) > 1 and (PIPELINE / parts[1]).exists() | (PIPELINE / f"{parts[1]}.py").exists():
                assert layer(parts[1]) <= layer(own), f"{relative} imports {name}"


def test_only_clip_py_imports_open_clip():
    assert {p.name for p, tree in modules() if any(n.split(".")[0] == "open_clip" for n in imported(tree))} == {"clip.py"}


def test_no_method_imports_another_and_nothing_imports_a_method_by_name():
    for path, tree in modules():
        assert not [name for name in imported(tree) if re.fullmatch(r"pipeline\.methods\.[a-z_]+", name)], path


def test_no_file_is_longer_than_an_idea():
    long = {str(p.relative_to(PIPELINE)): len(p.read_text().splitlines()) for p, _ in modules()}
    assert not {name: lines for name, lines in long.items() if lines > 300}


def test_the_sources_of_a_stage_are_what_it_imports_and_no_more():
    names = {Path(path).relative_to(PIPELINE).as_posix() for path in map(Path.absolute, map(Path, sources("pipeline.stages.score")))}
    assert {"stages/score.py", "metrics.py", "ranks.py", "score.py", "embeddings.py"} <= names
    assert not names & {"clip.py", "train.py", "report.py", "methods/vop.py", "video/transcode.py"}


def test_every_rule_has_a_stage_a_log_and_code_among_its_inputs():
    text = "\n".join(path.read_text() for path in (PIPELINE / "rules").glob("*.smk"))
    for rule, body in re.findall(r"^rule (\w+):\n((?:    .*\n|\n)+)", text, flags=re.MULTILINE):
        assert (PIPELINE / "stages" / f"{rule}.py").is_file(), rule
        assert f"pipeline.stages.{rule} " in body and f'sources("pipeline.stages.{rule}")' in body, rule
        assert f'"logs/{rule}/' in body and "benchmark:" in body and "resources:" in body, rule


def test_dvc_depends_on_all_code_that_its_stages_run():
    stages = yaml.safe_load((PIPELINE.parent / "dvc.yaml").read_text())["stages"]
    for name, stage in stages.items():
        rules = re.search(r"--allowed-rules ([a-z ]+) --", stage["cmd"]).group(1).split()
        listed = [path for path in stage["deps"] if path.startswith("pipeline")]
        wanted = {Path(p).absolute().relative_to(PIPELINE.parent).as_posix() for p in sources(*(f"pipeline.stages.{r}" for r in rules))}
        assert not [path for path in wanted if not any(path == dep or path.startswith(f"{dep}/") for dep in listed)], name
