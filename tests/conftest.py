"""Shared fixtures: CLIPs with random weights, which are enough to prove shapes, identities, gradients and counts."""

import functools

import open_clip
import pytest
import torch

from pipeline.clip import FrozenClip, build
from pipeline.runtime import device

# Every small CLIP has one, and each reads 49,000 merges: 0.1 s, five times what the rest of a small CLIP takes.
open_clip.SimpleTokenizer = functools.cache(open_clip.SimpleTokenizer)

# Marks of the tests that `make quick` leaves out, by what their ids begin with.
MARKS = {
    "workflow": (  # start Snakemake, DVC or a stage as a process
        "workflow/",
        "cluster/test_dvc.py",
        "cluster/test_profile.py",
        "cluster/test_slurm.py",
        "reporting/test_plots.py",
        "search/test_index_stage.py",
        "search/test_search_stage.py",
        "test_adding_a_method.py",
    ),
    "browser": ("search/web/test_page.py",),
    "kills": (
        "core/test_locks.py::test_locks_of_a_living_snakemake",
        "inputs/test_kill.py",
        "search/test_index_stage.py",
        "search/web/test_server.py::test_a_signal_ends_the_server",
        "training/test_step.py::test_jobs_of_one_machine",
    ),
}
# What begins first, so that no long test is left to one process at the end; then the rest of `workflow`, then all others.
LONGEST = ("workflow/test_dvc.py", "cluster/test_slurm.py", "workflow/")


def pytest_collection_modifyitems(items):
    """Set the marks, and put what takes longest first: of two processes one makes the shared checkout and the other has no need of it."""
    names = {item: item.nodeid.removeprefix("tests/") for item in items}
    for mark, places in MARKS.items():
        for item in items:
            if names[item].startswith(places):
                item.add_marker(mark)

    def turn(item):
        place = next((number for number, start in enumerate(LONGEST) if names[item].startswith(start)), len(LONGEST))
        return place, item.get_closest_marker("workflow") is None

    items.sort(key=turn)


SMALL = {
    "embed_dim": 16,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "layers": 3, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 20, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 3},
}


def small_clip(seed=0, *, layers=3):
    """A CLIP of so many layers whose biases and gains are not at their initial values, so that every tensor matters."""
    torch.manual_seed(seed)
    towers = {name: SMALL[name] | {"layers": layers} for name in ("vision_cfg", "text_cfg")}
    model = open_clip.CLIP(**SMALL | towers)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return FrozenClip(model, name="small")


@pytest.fixture(autouse=True)
def prepared():
    """The same kernels as in every stage."""
    device.prepare(torch.device("cpu"), threads=torch.get_num_threads(), seed=0)


@pytest.fixture
def clip():
    return small_clip()


@pytest.fixture(scope="session")
def base_clip():
    """ViT-B/32 with random weights; tests that attach to it must detach."""
    return FrozenClip(build("ViT-B-32-quickgelu"), name="ViT-B-32-quickgelu")


COLOURS = ("red", "green", "blue", "white", "black")


def make_batch(seed=1, *, long=False):
    """Three videos of four frames, the last with two padded ones, and three captions of different lengths, `long` or not for the row."""
    generator = torch.Generator().manual_seed(seed)
    frames = torch.randint(0, 256, (3, 4, 3, 32, 32), dtype=torch.uint8, generator=generator)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 0, 0]], dtype=torch.bool)
    captions = ["a red star", "a blue circle moves left", "the green square spins"]
    return frames, mask, captions if not long else [*captions[:2], "a " + " ".join(COLOURS[(seed + i) % 5] for i in range(30))]


@pytest.fixture
def batch():
    return make_batch()


@pytest.fixture
def one_thread():
    """Of torch, as in evaluation: another number may round sums differently."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
