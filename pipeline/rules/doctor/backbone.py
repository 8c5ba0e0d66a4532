"""The weights of the backbone: here, or to be had, before jobs that need none of them have worked for minutes."""

import ast
import functools
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import requests
from huggingface_hub import constants

from pipeline.config import registry
from pipeline.core.formatting import size
from pipeline.rules.doctor.line import FINE, WARNING, Case, Line

READERS = ("features", "rates", "train", "embed", "transfer", "transductive", "index")
ENDINGS = (".safetensors", ".bin", ".pt", ".pth")
REMEDY = "fetch the file on a machine with internet, put it here and set backbone.weights to its path"


def weights(case: Case) -> Iterator[Line]:
    """A file of weights, or a tag of open_clip: in its caches, or whether the place answers from which open_clip would fetch it."""
    if case.params is None:
        return
    name, tag, file = case.params.backbone.name, case.params.backbone.weights, case.params.backbone.file
    bad = WARNING if case.slurm else case.bad(*READERS)  # nodes may have another way out, or none
    if file:
        if name in registry.tiny():
            yield Line("weights", FINE, f"{name} is pretrained by the workflow, or read from {file}")
        elif file.is_file():
            yield Line("weights", FINE, f"{name} is read from {file}, {size(file.stat().st_size)}")
        else:
            yield Line("weights", bad, f"backbone.weights: there is no file {str(file)!r}; put the checkpoint of {name} there")
        return
    what, known = f"the weights {tag!r} of {name}", places(name)
    source = known.get(tag.lower().replace("-", "_"), "")  # as open_clip reads a tag
    if not known:  # its name is refused when Snakemake plans, where it is wrong
        return
    if not source:
        yield Line("weights", bad, f"backbone.weights: open_clip has no weights {tag!r} for {name}; it has {', '.join(known)}")
    elif found := cached(source):
        yield Line("weights", FINE, f"{what} are in {found}")
    elif why := _silent(source, patience=case.patience):
        yield Line("weights", bad, f"{what} are not here, and {source} does not answer ({why}); {REMEDY}")
    else:
        who = "the first job that needs them" + (", on a node that needs internet for it," if case.slurm else "")
        yield Line("weights", FINE, f"{what} are not here yet: {who} fetches them from {source}")


@functools.cache
def places(name: str) -> dict[str, str]:
    """The tags that open_clip has of an architecture -> the address of each; read from its file, as its import takes seconds."""
    found = importlib.util.find_spec("open_clip")
    if found is None or not found.origin:
        return {}
    body = ast.parse(Path(found.origin).with_name("pretrained.py").read_text(encoding="utf-8")).body
    named = {t.id: node.value for node in body if isinstance(node, ast.Assign) for t in node.targets if isinstance(t, ast.Name)}
    known = _entries(named.get("_PRETRAINED"))
    # One that ends so has the tags of the plain one that were trained with QuickGELU; which these are is said by the job that opens it.
    tags = known.get(name) or known.get(name.removesuffix("-quickgelu"))
    tags = named.get(tags.id) if isinstance(tags, ast.Name) else tags
    return {tag: _address(_entries(entry)) for tag, entry in _entries(tags).items()}


def _entries(node: ast.AST | None) -> dict[str, ast.expr]:
    """The values written as {"key": value} or call(key=value); the first word of a call without a key is `url`."""
    if isinstance(node, ast.Dict):
        return {str(k.value): v for k, v in zip(node.keys, node.values, strict=True) if isinstance(k, ast.Constant)}
    if not isinstance(node, ast.Call):
        return {}
    first = {"url": node.args[0]} if node.args else {}
    return first | {word.arg: word.value for word in node.keywords if word.arg}


def _address(entry: dict[str, ast.expr]) -> str:
    hub, url = (str(node.value) if isinstance(node := entry.get(key), ast.Constant) else "" for key in ("hf_hub", "url"))
    return f"{constants.ENDPOINT}/{hub.strip('/')}" if hub else url


def cached(source: str) -> Path | None:
    """The file of weights that open_clip has kept of an address of the hub, or of any other."""
    if not source.startswith(f"{constants.ENDPOINT}/"):
        file = Path("~/.cache/clip").expanduser() / source.rpartition("/")[2]
        return file if file.is_file() else None
    owner, repository, *_ = source.removeprefix(f"{constants.ENDPOINT}/").split("/")
    kept = Path(constants.HF_HUB_CACHE, f"models--{owner}--{repository}", "snapshots")
    return next((file for file in sorted(kept.glob("*/*")) if file.suffix in ENDINGS and file.is_file()), None)


def _silent(source: str, *, patience: float) -> str:
    """Why nothing answers at an address, "" where something does, or where nothing is known in so many seconds."""
    if constants.HF_HUB_OFFLINE and source.startswith(constants.ENDPOINT):
        return "HF_HUB_OFFLINE is set"
    try:
        requests.head(source, timeout=patience)
    except requests.Timeout:
        return ""
    except requests.RequestException as error:
        return type(error).__name__
    return ""
