"""The promises of the house: imports point one way, open_clip has one door, files stay small, rules know their code."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import yaml

from pipeline.core.code import sources
from pipeline.rules.dvc import code_of
from pipeline.rules.slurm import rules

PIPELINE = Path(__file__).parents[1] / "pipeline"
# A room imports from the lines above its own, and from itself; rooms on one line do not import each other.
ROOMS = (
    ("core",),
    ("config", "runtime", "motion"),
    ("video", "clip"),
    ("datasets", "methods"),
    ("rules", "inputs"),
    ("evaluation",),
    ("adapters",),
    ("cost",),
    ("training", "reporting", "search"),
    ("stages",),
)
LINE = {room: number for number, rooms in enumerate(ROOMS) for room in rooms}
LINES = 250  # of a file at most
# What a rule names instead of sections of params.yaml.
UNSEEN = {"machine"}  # sections that change no result
SECTIONS = {
    "resolve.training": {"train", "methods", "datasets", "backbone"},
    "search=True": {"search"},
    "resolve.features": {"backbone", "datasets", "cache"},
    "resolve.download": {"datasets", "motion"},
    "resolve.annotate": {"datasets"},
    "resolve.splits": {"datasets"},
    "resolve.score": {"score"},
    "resolve.card": {"datasets", "backbone"},
    "dataset_of": {"datasets"},
}


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


def dvc():
    """(name, stage, the rules it may run) of each stage."""
    for name, stage in yaml.safe_load((PIPELINE.parent / "dvc.yaml").read_text())["stages"].items():
        yield name, stage, re.search(r"--allowed-rules ([a-z ]+) --", stage["cmd"]).group(1).split()


def room(name):
    """The room of a module's dotted name, None for what is no module of the house."""
    parts = name.split(".")
    return parts[1] if parts[0] == "pipeline" and len(parts) > 1 and parts[1] in LINE else None


def test_the_root_holds_rooms_and_two_files():
    found = {path.name for path in PIPELINE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert found == {"__init__.py", "__main__.py", *LINE}


def test_imports_point_one_way():
    wrong = []
    for path, tree in modules():
        own = path.relative_to(PIPELINE).parts[0]
        for name in imported(tree) if own in LINE else ():
            other = room(name)
            if other and other != own and LINE[other] >= LINE[own]:
                wrong.append(f"{path.relative_to(PIPELINE)} imports {name}")
    assert not wrong


def test_no_room_imports_in_a_circle():
    names = {".".join(path.relative_to(PIPELINE.parent).with_suffix("").parts): tree for path, tree in modules() if path.stem != "__init__"}
    graph = {name: {other for other in imported(tree) if other in names and room(other) == room(name)} for name, tree in names.items()}
    assert tuple(TopologicalSorter(graph).static_order())


def test_a_stage_imports_no_other_stage():
    shared = {"pipeline.stages", "pipeline.stages.add_settings", "pipeline.stages.guarded", "pipeline.stages.arguments"}
    for path, tree in modules():
        if path.parent.name == "stages":
            found = {name for name in imported(tree) if name.startswith("pipeline.stages")}
            assert not {name for name in found - shared if not name.startswith("pipeline.stages.arguments.")}, path


def test_nothing_but_the_workflow_and_four_commands_imports_rules():
    found = {path.relative_to(PIPELINE).as_posix() for path, tree in modules() if any(room(name) == "rules" for name in imported(tree))}
    commands = {f"stages/{name}.py" for name in ("dvc", "configuration", "doctor", "plan")}
    assert {name for name in found if not name.startswith("rules/")} == commands


def _opens(tree):
    return any(name.split(".")[0] == "open_clip" for name in imported(tree))


def test_only_the_seam_imports_open_clip():
    found = {path.relative_to(PIPELINE).as_posix() for path, tree in modules() if _opens(tree)}
    assert found == {"clip/kept_once.py", "clip/model.py", "clip/loading.py", "clip/tokens.py"}


def test_nothing_but_the_seam_names_the_library_that_made_a_tower():
    found = set()
    for path, tree in modules():
        named = {name.split(".")[0] for name in imported(tree)} | {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
        if named & {"timm", "trunk", "pos_embed", "cls_token", "norm1", "norm2", "norm_pre"}:
            found.add(path.relative_to(PIPELINE).as_posix())
    assert found <= {"clip/architecture.py", "clip/tiny.py"}


def test_no_method_imports_another_and_nothing_imports_a_method_by_name():
    named = {f"pipeline.methods.{path.stem}" for path in (PIPELINE / "methods").glob("*.py")} - {"pipeline.methods.__init__"}
    for path, tree in modules():
        texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        assert not named & {*imported(tree), *texts}, path


def test_no_file_is_longer_than_an_idea():
    long = {str(p.relative_to(PIPELINE)): len(p.read_text().splitlines()) for p, _ in modules()}
    assert not {name: lines for name, lines in long.items() if lines > LINES}


def test_what_is_described_is_named_first():
    """Not "What a block keeps" but "The tensors that a block keeps"; a question may begin so."""
    root = PIPELINE.parent
    code = [
        path for place in ("pipeline/**/*.py", "pipeline/rules/*.smk", "benchmarks/**/*.py", "tests/**/*.py") for path in root.glob(place)
    ]
    pages = [path for place in ("*.md", "docs/**/*.md", "examples/**/*.md") for path in root.glob(place)]
    wrong = [f"{path}: {line}" for path in code for line in re.findall(r'""" ?What [^"\n]*', path.read_text())]
    wrong += [f"{path}: {line}" for path in pages for line in re.findall(r"^(?:- )?(?:\*\*)?What [^?\n]*$", path.read_text(), re.MULTILINE)]
    assert not wrong


def rooms_of(stage):
    """The rooms that a stage hangs on."""
    return {Path(path).absolute().relative_to(PIPELINE).parts[0] for path in sources(f"pipeline.stages.{stage}")}


def test_the_sources_of_a_stage_are_what_it_imports_and_no_more():
    names = {Path(path).absolute().relative_to(PIPELINE).as_posix() for path in sources("pipeline.stages.score")}
    assert {"stages/score.py", *(f"evaluation/{name}.py" for name in ("metrics", "ranks", "score", "embeddings"))} <= names
    assert not rooms_of("score") & {"clip", "methods", "inputs", "training", "reporting", "video", "datasets", "rules"}
    assert not rooms_of("pretrain") & {"datasets", "methods", "inputs", "evaluation", "reporting", "video", "rules"}
    assert not rooms_of("train") & {"datasets", "rules", "reporting", "search"}


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
        wanted = {*re.findall(r"PARAMS\.(\w+)", bodies)}.union(*(sections for word, sections in SECTIONS.items() if word in bodies))
        assert not wanted - UNSEEN - {key.split(".")[0] for key in stage["params"]}, name
        assert ("recipes" in stage["deps"]) == ("resolve.training(" in bodies), name
