"""Shared fixtures: CLIPs with random weights, which are enough to prove shapes, identities, gradients and counts."""

import copy
import functools
import io
import os
import pickle
import types

import open_clip
import pytest
import timm
import torch
from timm.models import register_model
from xdist.scheduler import LoadScopeScheduling

from pipeline.clip import FrozenClip, architecture, build
from pipeline.runtime import device
from tests.methods.cases import SMALL

# A seed waits for each kind of accelerator with the stack that set it, 8 ms a seed, though none of them is there.
for accelerator in (torch.cuda, torch.xpu, torch.mtia):
    if not accelerator.is_available():
        accelerator.manual_seed_all = lambda _: None

# Marks of the tests that `make quick` leaves out, by what their ids begin with.
MARKS = {
    "workflow": (  # start Snakemake, DVC, Slurm or Pythons with torch
        "workflow/",
        "cluster/",
        "adapters/test_encoder.py::test_after_any_switches",
        "benchmarks/test_gpu.py",
        "core/test_files.py::test_a_disk_that_fills_up",
        "core/test_hdf5.py",
        "reporting/test_plots.py",
        "rules/test_plan.py::test_answers_are_asked",
        "rules/test_plan.py::test_auto_is_the_deepest_store",
        "search/test_index_stage.py",
        "search/test_search_stage.py",
        "search/web/test_hostile.py",
        "test_adding_a_method.py",
        "training/test_step.py::test_a_training_of_several_processes",
        "training/test_step.py::test_every_video_and_caption",
        "training/test_step.py::test_more_processes",
        "training/test_step.py::test_two_processes",
    ),
    "long": (  # go through all methods, all architectures, all published tables, many kinds of video, or many ways to spoil a file
        "adapters/test_encoder.py",
        "clip/test_architectures.py",
        "core/test_hdf5.py::test_a_wrong_byte",
        "cost/test_measure.py::test_multiply",
        "cost/test_table.py",
        "datasets/test_authentic.py",
        "datasets/test_folder_fuzz.py::test_a_thousand",
        "fuzz/",
        "methods/test_contract.py::test_half_precision",
        "methods/test_contract.py::test_in_bfloat16",
        "search/test_session.py",
        "search/test_update.py",
        "stages/test_cost.py",
        "test_pretended_gpu.py",
        "training/test_loop.py::test_every_method_learns",
        "training/test_memory.py",
        "training/test_pretrain.py::test_two_pretrainings",
        "training/test_step.py::test_a_compiled",
        "training/test_step.py::test_compiled",
        "training/test_step.py::test_the_gradient_in_pieces",
        "video/test_degraded.py",
        "video/test_files.py::test_a_raw_file",
        "video/test_formats.py::test_each_kind",
        "video/test_interlaced.py",
        "video/test_segments.py::test_a_segment_shows",
    ),
    "browser": ("search/web/test_page.py",),
    "kills": (
        "core/test_locks.py",
        "inputs/test_kill.py",
        "runtime/test_loader.py",
        "search/test_index_stage.py",
        "search/web/test_server.py::test_a_signal_ends_the_server",
        "training/test_loop.py::test_a_run_killed",
        "training/test_step.py::test_jobs_of_one_machine",
    ),
}
# What begins first, so that no long test is left to one process at the end: two of these make a shared checkout each, at once.
LONGEST = (
    "workflow/test_dvc.py::test_a_recorded",
    "workflow/test_dvc.py::test_from_nothing",
    "cluster/test_slurm.py",
    "workflow/test_dvc.py",
    "workflow/",
    "training/",
    "methods/",
)
# Tests of these files share nothing but what all processes share; those of any other file stay together, and so share its fixtures.
SPREAD = ("cluster/test_slurm.py", "workflow/test_dvc.py", "workflow/test_workflow.py")


def pytest_collection_modifyitems(items):
    """Set the marks, and put what takes longest first."""
    names = {item: item.nodeid.removeprefix("tests/") for item in items}
    for mark, places in MARKS.items():
        for item in items:
            if names[item].startswith(places):
                item.add_marker(mark)

    def turn(item):
        place = next((number for number, start in enumerate(LONGEST) if names[item].startswith(start)), len(LONGEST))
        return place, item.get_closest_marker("workflow") is None

    items.sort(key=turn)


def pytest_xdist_auto_num_workers(config):  # noqa: ARG001
    """Two more than cores: what waits for a disk, a queue, or a process that it has started, leaves its core to another."""
    return (os.cpu_count() or 1) + 2


class ByFile(LoadScopeScheduling):
    """Hands out files, and single tests of those in SPREAD, in their order."""

    def _split_scope(self, nodeid):
        return nodeid if nodeid.removeprefix("tests/").startswith(SPREAD) else nodeid.split("::", 1)[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return ByFile(config, log)


# The same of other families: `siglip` has no CLS and no end of text, `pe` rotary positions; attention over all tokens reads both.
WHOLE_ROWS = {"no_causal_mask": True, "proj_bias": True, "pool_type": "last", "act_kwargs": {"approximate": "tanh"}}
FAMILIES = {
    "plain": SMALL,
    "siglip": SMALL
    | {"embed_dim": 32, "quick_gelu": False, "init_logit_bias": -10}
    | {"vision_cfg": {"timm_model_name": "small_siglip", "timm_pool": "map", "timm_proj": "none", "image_size": 32}}
    | {"text_cfg": SMALL["text_cfg"] | {"context_length": 12, "width": 32} | WHOLE_ROWS},
    "pe": SMALL
    | {"quick_gelu": False}
    | {"vision_cfg": {"timm_model_name": "small_pe", "timm_pool": "map", "timm_proj": None, "image_size": 32}},
}
SIZE = {"img_size": 32, "patch_size": 16, "embed_dim": 32, "depth": 3, "num_heads": 2}


@register_model
def small_siglip(**options):
    return timm.create_model("vit_base_patch16_siglip_224", **SIZE, **options)


@register_model
def small_pe(**options):
    return timm.create_model("vit_pe_core_base_patch16_224", **SIZE, ref_feat_shape=(2, 2), attn_pool_num_heads=2, **options)


class Template(pickle.Pickler):
    """A CLIP of which copies are made in two milliseconds, a tenth of what `copy.deepcopy` takes; tests make thousands."""

    def __init__(self, clip):
        self.kept, self.bytes = [], io.BytesIO()
        super().__init__(self.bytes, protocol=pickle.HIGHEST_PROTOCOL)
        self.dump(clip)

    def persistent_id(self, thing):
        """Tensors are copied as tensors are; what never changes, or cannot be pickled, is shared."""
        if not isinstance(thing, torch.Tensor | open_clip.SimpleTokenizer | types.FunctionType):
            return None
        if not any(thing is one for one in self.kept):
            self.kept.append(thing)
        return next(number for number, one in enumerate(self.kept) if one is thing)

    def copy(self):
        copies = [copy.deepcopy(thing) if isinstance(thing, torch.Tensor) else thing for thing in self.kept]
        return Copier(io.BytesIO(self.bytes.getvalue()), copies).load()


class Copier(pickle.Unpickler):
    """Reads a template, with the things that are not in its pickle. From Python 3.13 on, `persistent_load` is a method and no attribute."""

    def __init__(self, file, things):
        super().__init__(file)
        self.things = things

    def persistent_load(self, number):
        return self.things[number]


@functools.cache
def _small_clip(seed, layers, family):
    """A template of a CLIP, and the state of the random numbers after it."""
    torch.manual_seed(seed)
    config = FAMILIES[family]
    towers = {name: config[name] | {"layers": layers} for name in ("vision_cfg", "text_cfg")}
    model = open_clip.CLIP(**config | towers)
    if "timm_model_name" in config["vision_cfg"]:
        architecture.arrange(model, family)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1 and family != "plain" and parameter.std() < 0.05:
                parameter.mul_(parameter[0].numel() ** -0.5 / parameter.std())  # timm starts small, whatever the width
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return Template(FrozenClip(model, name="small" if family == "plain" else f"small-{family}")), torch.get_rng_state()


def small_clip(seed=0, *, layers=3, family="plain"):
    """A CLIP of so many layers (3 in other families) whose biases and gains are not as they start, so that every tensor matters."""
    template, state = _small_clip(seed, layers, family)
    torch.set_rng_state(state)
    return template.copy()


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
