"""What the house promises: imports point one way, open_clip has one door, files stay small, rules know their code."""

import ast
import re
from itertools import chain
from pathlib import Path

import yaml

from pipeline.cluster import rules
from pipeline.sources import sources
from pipeline.stages.dvc import code_of

PIPELINE = Path(__file__).parents[1] / "pipeline"
# Left never imports right.
LAYERS = (
    (
        "parse",
        "params",
        "registry",
        "recipes",
        "protocols",
        "record",
        "files",
        "hdf5",
        "progress",
        "units",
        "sources",
        "device",
        "embeddings",
        "stopping",
        "team",
        "memory",
    ),
    ("configuration", "choice", "cache", "loader", "demand", "cluster", "gpus", "alone"),
    ("world", "video", "fetch", "annotations", "datasets", "splits"),
    ("tower", "levels", "clip", "attached", "prefix", "loss", "similarity", "ranks", "metrics", "optim", "bert_adam"),
    ("parts",),
    ("methods", "checkpoint", "features", "stores", "data", "cost", "dead", "pretrain"),
    ("embed", "validate", "score", "budget", "card"),
    ("encoder", "adapter", "gallery"),
    ("state", "step", "train", "examples", "report", "evaluate", "trials", "charts", "plots", "vega", "page", "compare", "provenance"),
    ("web",),
    ("stages",),
)
# What a rule names instead of sections of params.yaml.
UNSEEN = {"machine"}  # sections that change no result
SECTIONS = {"train_of": {"train", "methods"}, "config_of": {"methods"}, "shape_of": {"datasets"}, "dataset_of": {"datasets"}}


def modules():
    for path in sorted(PIPELINE.rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module and not node.level, "imports are absolute: `sources` reads no other"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer(name):
    found = [number for number, names in enumerate(LAYERS) if name in names]
    assert len(found) == 1, f"{name} belongs to one layer of {__file__}"
    return found[0]


def dvc():
    """(name, stage, the rules it may run) of each stage."""
    for name, stage in yaml.safe_load((PIPELINE.parent / "dvc.yaml").read_text())["stages"].items():
        yield name, stage, re.search(r"--allowed-rules ([a-z ]+) --", stage["cmd"]).group(1).split()


def test_every_module_has_its_layer():
    assert {path.relative_to(PIPELINE).parts[0].removesuffix(".py") for path, _ in modules()} - {"__init__"} == set(chain(*LAYERS))


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
    named = {f"pipeline.methods.{path.stem}" for path in (PIPELINE / "methods").glob("*.py")} - {"pipeline.methods.__init__"}
    for path, tree in modules():
        texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        assert not named & {*imported(tree), *texts}, path


def test_no_file_is_longer_than_an_idea():
    long = {str(p.relative_to(PIPELINE)): len(p.read_text().splitlines()) for p, _ in modules()}
    assert not {name: lines for name, lines in long.items() if lines > 300}


def test_the_sources_of_a_stage_are_what_it_imports_and_no_more():
    names = {Path(path).relative_to(PIPELINE).as_posix() for path in map(Path.absolute, map(Path, sources("pipeline.stages.score")))}
    assert {"stages/score.py", "metrics.py", "ranks.py", "score.py", "embeddings.py"} <= names
    assert not names & {"clip.py", "train.py", "report.py", "methods/vop.py", "video/transcode.py"}


def test_every_rule_has_a_stage_a_log_and_code_among_its_inputs():
    for rule, body in rules().items():
        assert (PIPELINE / "stages" / f"{rule}.py").is_file(), rule
        assert f"pipeline.stages.{rule} " in body and f'sources("pipeline.stages.{rule}")' in body, rule
        assert f'"logs/{rule}/' in body and "benchmark:" in body and "resources:" in body, rule


def test_dvc_depends_on_the_code_that_its_stages_run_and_on_no_other():
    wrong = [name for name, stage, _ in dvc() if [dep for dep in stage["deps"] if dep.startswith("pipeline/")] != code_of(stage["cmd"])]
    assert not wrong, "the code of these stages has changed: make deps"


def test_every_stage_of_dvc_makes_something_it_tracks():
    assert not [name for name, stage, _ in dvc() if not stage.get("outs") and not stage.get("metrics")]


def test_dvc_depends_on_the_parameters_and_recipes_of_its_rules():
    for name, stage, allowed in dvc():
        bodies = "".join(rules()[rule] for rule in allowed)
        wanted = {*re.findall(r"PARAMS\.(\w+)", bodies)}.union(*(sections for word, sections in SECTIONS.items() if f"{word}(" in bodies))
        assert not wanted - UNSEEN - {key.split(".")[0] for key in stage["params"]}, name
        assert ("recipes" in stage["deps"]) == ("train_of(" in bodies), name
