"""The pages keep their word: each link, path, command, option and name that they show is in the checkout. Nothing is imported."""

import ast
import re
from collections import Counter
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").rglob("*.md"))]
FOLDERS = "pipeline|tests|docs|slurm|recipes|envs|benchmarks|profiles|field|papers|examples"
ROOMS = sorted(path.parent.name for path in (ROOT / "pipeline").glob("*/__init__.py"))
MADE = r"(field|examples/[\w-]+)/(videos|data|work|runs|results|metrics|logs)\b"  # by `make field` and the examples, or given to these
ENDS = r"(?=[\s`|;&#)\"']|$)"

FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?<=\n\n)(?: {4}.*\n)+")
INLINE = re.compile(r"`([^`]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
# A path from the root of the checkout, or a file of a room from pipeline/.
PATH = re.compile(rf"(?<![\w./<>{{}}@:-])(?:(?:{FOLDERS})/[\w./*<>{{}},-]*|(?:{'|'.join(ROOMS)})/[\w/<>-]+\.(?:py|smk|yaml)\b)")
BARE = re.compile(r"(?<![\w./<>*-])\w+\.(?:py|smk)\b(?!/)")
COMMAND = re.compile(r"\bpython -m ([\w.]+)(<?)([^|;&#`]*)")
OPTION = re.compile(r"(?<![\w-])(--?[a-z][\w-]*)")
TARGET = re.compile(rf"(?:^|(?<=[\s(]))make ((?:[a-z][\w-]*)){ENDS}", re.MULTILINE)
DOTTED = re.compile(r"(?<![\w./-])(?:pipeline|benchmarks|tests)(?:\.[A-Za-z_]\w*)+")
IMPORT = re.compile(r"^from ((?:pipeline|tests)[\w.]*) import (.+)$", re.MULTILINE)


def problems(text, page):
    """Things that a page shows and the checkout lacks, as (line, sentence). `page` is its place."""
    prose, code = parts(text)
    added = set(re.findall(r"^```\w+ (\S+)$", text, flags=re.MULTILINE))  # files that the page lets its reader write
    found = [*links(prose, text, page), *paths(prose, added)]
    for start, piece in code:
        shown = (*paths(piece, added), *names(piece, added), *commands(piece), *targets(piece))
        found += [(start + place, said) for place, said in shown]
    return sorted({(text[:place].count("\n") + 1, said) for place, said in found})


def parts(text):
    """The text with blanks for its code, and the pieces of code with their places. In a piece within a line no line ends."""
    code = []

    def blank(match):
        inline = match.re is INLINE
        code.append((match.start(inline), match[1].replace("\n", " ") if inline else match[0]))
        return re.sub(r"[^\n]", " ", match[0])

    for kind in (FENCE, INDENTED, INLINE):
        text = kind.sub(blank, text)
    return text, code


def links(prose, text, page):
    for match in LINK.finditer(prose):
        name, _, anchor = match[1].partition("#")
        target = page.parent / name if name else page
        if re.match(r"\w+:", name):
            continue
        if name and not target.exists():
            yield match.start(), f"there is no file {match[1]}"
        elif anchor and anchor not in anchors(text if target == page else target.read_text(encoding="utf-8")):
            yield match.start(), f"there is no heading {match[1]}"


def anchors(text):
    """The names that GitHub gives to headings."""
    plain = [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in HEADING.findall(FENCE.sub("", text))]
    seen = Counter()
    for name in plain:
        yield name if not seen[name] else f"{name}-{seen[name]}"
        seen[name] += 1


def paths(code, added):
    for match in PATH.finditer(code):
        path = match[0].rstrip(".,-")
        if path not in added and not re.match(MADE, path) and not any(map(there, braces(path))):
            yield match.start(), f"there is no {path}"
    for match in BARE.finditer(code):
        if match[0] not in files() | {Path(path).name for path in added}:
            yield match.start(), f"no file is called {match[0]}"


def there(path):
    """Whether a path exists, from the root or from pipeline/; <a placeholder> and * stand for anything."""
    pattern = re.sub(r"<[^>]*>", "*", path).rstrip("/")
    return any(any(folder.glob(pattern)) for folder in (ROOT, ROOT / "pipeline"))


def braces(path):
    """a/{b,c}/d -> a/b/d, a/c/d."""
    match = re.search(r"\{([^}]*)\}", path)
    return [one for word in match[1].split(",") for one in braces(path.replace(match[0], word, 1))] if match else [path]


@cache
def files():
    return frozenset(path.name for folder in FOLDERS.split("|") for path in (ROOT / folder).rglob("*.*"))


def commands(code):
    """Each `python -m`: its module is there, and has the options that follow."""
    for match in COMMAND.finditer(re.sub(r"\\\n", "  ", code)):
        name, placeholder, rest = match[1].rstrip("."), match[2], match[3].split("\n")[0]
        file = module(name)
        if name.split(".")[0] not in ("pipeline", "benchmarks", "tests"):
            if find_spec(name.split(".")[0]) is None:
                yield match.start(), f"there is no module {name}"
        elif not placeholder and (file is None or (file.name == "__init__.py" and not file.with_name("__main__.py").is_file())):
            yield match.start(), f"there is no command {name}"
        elif not placeholder and file.name != "__init__.py":
            known = options(file)
            wrong = [word for word in OPTION.findall(rest) if not known.fullmatch(word)]
            yield from ((match.start(), f"{name} has no option {word}") for word in wrong)
        elif (
            name == "pipeline"
            and (stage := re.match(r"\s+([a-z][\w-]*)", rest))
            and module(f"pipeline.stages.{stage[1].replace('-', '_')}") is None
        ):
            yield match.start(), f"there is no command {stage[1]}"


@cache
def options(file):
    """A pattern of the options that a file's parsers take, or those of the helpers of all stages."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (file, ROOT / "pipeline/stages/arguments.py")]
    calls = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    named = [call.args for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "add_argument"]
    return re.compile("|".join([r"-h|--help", *(pattern(arg) for args in named for arg in args)]))


def pattern(arg):
    """A literal argument as it is; in one with a prefix, the prefix stands for any word."""
    pieces = arg.values if isinstance(arg, ast.JoinedStr) else [arg]
    return "".join(re.escape(piece.value) if isinstance(piece, ast.Constant) else r"[\w-]*" for piece in pieces)


def targets(code):
    known = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [(match.start(), f"the Makefile has no target {match[1]}") for match in TARGET.finditer(code) if match[1] not in known]


def names(code, added):
    """Dotted names and imports: the module is a file, and it has the name that follows."""
    shown = [(match.start(), match[0]) for match in DOTTED.finditer(code)]
    for match in IMPORT.finditer(code):
        shown += [(match.start(), f"{match[1]}.{name.split(' as ')[0].strip()}") for name in match[2].split(",")]
    new = {path.removesuffix(".py").replace("/", ".") for path in added}
    for place, name in shown:
        if not resolves(name) and not any(f"{name}.".startswith(f"{other}.") for other in new):
            yield place, f"there is no {name}"


def resolves(name):
    words = name.split(".")
    for length in range(len(words), 0, -1):
        if file := module(".".join(words[:length])):
            return length == len(words) or words[length] in defined(file)
        if (ROOT / "/".join(words[:length])).is_dir():
            return length == len(words)
    return False


def module(name):
    """The file of a module of this checkout, None if there is none."""
    path = ROOT / name.replace(".", "/")
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


@cache
def defined(file):
    """The names at the top of a module."""
    found = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        else:
            found |= {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_all_that_a_page_shows_is_there(page):
    found = problems(page.read_text(encoding="utf-8"), page)
    assert not found, "\n".join([f"{page.relative_to(ROOT)}:{line}: {said}" for line, said in found])


def test_the_map_has_a_line_for_each_room():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^- `(\w+)/`: ", text, flags=re.MULTILINE)) == ROOMS


RIGHT = """# A page

[anchor](#a-page), [file](running.md), [both](protocol.md#metrics), [![picture](search.png)](https://example.org/none.md#no)
`pipeline/methods/<name>.py`, `pipeline/{core,config}/`, `tests/**/test_*.py`, `config/schema.py`, `bottleneck.py`, `field/results/motion`
`python -m pipeline.stages.train --seed 0 --val-videos x --device cpu`, `python -m pytest -n 0`, `python -m pipeline cost`,
`python -m pipeline.stages.<rule>`, `make run`, `pipeline.load`, `pipeline.adapters.encoder.Encoder.add`, `python -m benchmarks.search`

    python -m pipeline.stages.cost --backbone clip-tiny --dataset motion    # make sure, then --go

```python pipeline/methods/new.py
from pipeline.config.parse import choose, parse
from pipeline.methods.new import New
```
"""
WRONG = {
    "[x](runing.md)": "there is no file runing.md",
    "[x](../docs/running.md#stage)": "there is no heading ../docs/running.md#stage",
    "[x](#here)": "there is no heading #here",
    "`pipeline/clip.py`": "there is no pipeline/clip.py",
    "`tests/<room>/tests_*.py`": "there is no tests/<room>/tests_*.py",
    "`pipeline/{motions,worlds}/`": "there is no pipeline/{motions,worlds}/",
    "`training/losses.py`": "there is no training/losses.py",
    "`mixers.py`": "no file is called mixers.py",
    "    cat slurm/sites.yaml": "there is no slurm/sites.yaml",
    "`python -m pipeline.stages.trains`": "there is no command pipeline.stages.trains",
    "`python -m benchmarks`": "there is no command benchmarks",
    "`python -m pipeline costs`": "there is no command costs",
    "`python -m nothing`": "there is no module nothing",
    "`python -m pipeline.stages.cost\n--backbones x`": "pipeline.stages.cost has no option --backbones",
    "    python -m pipeline.stages.cost --backbone x \\\n      --datasets y": "pipeline.stages.cost has no option --datasets",
    "```sh\npython -m pipeline.stages.search -j 5\n```": "pipeline.stages.search has no option -j",
    "see pipeline/clip.py": "there is no pipeline/clip.py",
    "`make runs`": "the Makefile has no target runs",
    "`pipeline.encoder.Encoder`": "there is no pipeline.encoder.Encoder",
    "`pipeline.adapters.encoder.Decoder`": "there is no pipeline.adapters.encoder.Decoder",
    "```python\nfrom pipeline.config.parse import choose, pick\n```": "there is no pipeline.config.parse.pick",
}


def test_a_page_without_a_mistake_passes():
    assert problems(RIGHT, ROOT / "docs/made-up.md") == []


@pytest.mark.parametrize("text", WRONG)
def test_each_kind_of_mistake_is_found_with_its_line(text):
    found = problems(f"# Made up\n\n{text}\n", ROOT / "docs/made-up.md")
    assert WRONG[text] in [said for _, said in found]
    assert {line for line, _ in found} <= {3, 4}
