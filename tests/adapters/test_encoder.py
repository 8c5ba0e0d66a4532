"""One backbone with many adapters: whatever was in place before, an adapter computes what it computes alone, to the bit."""

import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pipeline.adapters import checkpoint
from pipeline.adapters.encoder import Encoder
from pipeline.config.schema import Backbone
from tests.adapters.alone import CPU, frames_of
from tests.adapters.files import ROOT, SHAPE, TEXTS, write_adapter, write_backbone

pytestmark = pytest.mark.usefixtures("one_thread")
# The default run, methods that train LayerNorms, biases, heads, weights, and one that weighs frames by each query.
RUNS = {
    "zero_shot": {},
    "vop": {},
    "mv_adapter": {"middle": 32},
    "full_finetune": {},
    "ln": {},
    "bias": {},
    "lora": {},
    "cached_head": {},
    "cm_adapter": {"pooling": "query"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapters")
    weights = write_backbone(folder / "weights.safetensors")
    for run, config in RUNS.items():
        write_adapter(folder / f"{run}.safetensors", weights, run, config)
    return folder


def opened(folder, *runs):
    encoder = Encoder(Backbone("clip-tiny", str(folder / "weights.safetensors")), device=CPU)
    for run in runs:
        encoder.add(run, folder / f"{run}.safetensors")
    return encoder


@pytest.fixture(scope="module")
def expected(folder):
    """Texts and videos of each run, from a process with that adapter alone."""
    subprocess.run([sys.executable, "-m", "tests.adapters.alone", str(folder), *RUNS], cwd=ROOT, check=True)
    return {run: dict(np.load(folder / f"{run}.npz")) for run in RUNS}


def check(encoder, run, expected):
    np.testing.assert_array_equal(encoder.texts(run, TEXTS), expected["text"], err_msg=run, strict=True)
    found = encoder.videos(run, *frames_of())
    np.testing.assert_array_equal(found.frames if found.video is None else found.video, expected["video"], err_msg=run, strict=True)


def test_after_any_switches_an_adapter_gives_the_bits_of_a_process_with_it_alone(folder, expected):
    encoder = opened(folder, *RUNS)
    order = [*RUNS, *reversed(RUNS)]
    random.Random(0).shuffle(order)
    for run in [*RUNS, *order]:
        check(encoder, run, expected[run])
    for run in random.Random(1).choices(list(RUNS), k=200):
        encoder.use(run)
    for run in RUNS:
        check(encoder, run, expected[run])


def test_one_more_or_another_of_the_same_name_leaves_the_rest_as_it_was(folder, expected, tmp_path):
    encoder = opened(folder, "full_finetune")
    encoder.use("full_finetune")
    encoder.add("mv_adapter", folder / "mv_adapter.safetensors")
    encoder.use("mv_adapter")
    other = write_adapter(tmp_path / "other.safetensors", folder / "weights.safetensors", "mv_adapter", RUNS["mv_adapter"], seed=9)
    before = encoder.texts("mv_adapter", TEXTS)
    encoder.add("mv_adapter", other)
    assert not np.array_equal(encoder.texts("mv_adapter", TEXTS), before)
    check(encoder, "full_finetune", expected["full_finetune"])
    encoder.add("mv_adapter", folder / "mv_adapter.safetensors")
    check(encoder, "mv_adapter", expected["mv_adapter"])
    assert encoder.names() == ["full_finetune", "mv_adapter"]


def test_a_switch_moves_no_value(folder):
    encoder = opened(folder, "full_finetune", "ln", "zero_shot")
    places = []
    for _ in range(2):
        for run in encoder.names():
            encoder.use(run)
            places.append({name: p.data_ptr() for name, p in encoder.clip.named_parameters()})
    assert places[:3] == places[3:]
    assert not {*places[0].values()} & {*places[2].values()}
    moved = {name for name in places[1] if places[1][name] != places[2][name]}
    assert moved == {f"model.{name}" for name, _ in encoder.clip.model.named_parameters() if name.rsplit(".", 2)[-2:][0].startswith("ln_")}


def test_adding_does_not_draw_from_the_callers_random_numbers(folder):
    encoder = opened(folder)
    torch.manual_seed(4)
    wanted = torch.rand(3)
    torch.manual_seed(4)
    encoder.add("vop", folder / "vop.safetensors")
    assert torch.equal(torch.rand(3), wanted)


@pytest.mark.parametrize("damage", ["backbone", "tensors", "header", "clips", "shape", "text", "config"])
def test_what_is_refused_names_the_file_and_leaves_the_others_as_they_were(folder, expected, tmp_path, damage):
    encoder, path, weights = opened(folder, "bias"), tmp_path / "bad.safetensors", folder / "weights.safetensors"
    encoder.use("bias")
    if damage == "backbone":
        write_adapter(path, write_backbone(tmp_path / "w.safetensors", seed=1), "vop")
        message = "bad.safetensors was trained on backbone clip-tiny .* not on clip-tiny .* use that backbone or train again"
    elif damage == "tensors":
        write_adapter(path, weights, "full_finetune", without=("clip.visual.proj",))
        message = "bad.safetensors lacks 'clip.visual.proj'"
    elif damage == "header":
        write_adapter(path, weights, "vop", train=None, shape=None)
        message = "bad.safetensors: its header lacks shape, train"
    elif damage == "clips":
        write_adapter(path, weights, "vop", shape={key: value for key, value in SHAPE.items() if key != "clips"})
        message = "bad.safetensors: its header lacks shape: clips; train it again"
    elif damage == "shape":
        write_adapter(path, weights, "vop", shape=5)
        message = "bad.safetensors: shape is 5; it takes keys with values"
    elif damage == "config":
        write_adapter(path, weights, "vop", {"visual_prompts": 3})
        tensors = load_file(path)
        header = checkpoint.read_header(folder / "vop.safetensors")
        checkpoint.save(path, tensors, header=header)
        message = "bad.safetensors: 'adapter.visual_prompts' has shape .* expected"
    else:
        path.write_text("a playlist")
        message = "bad.safetensors is not an adapter checkpoint"
    with pytest.raises(ValueError, match=message):
        encoder.add("bad", path)
    assert encoder.names() == ["bias"]
    check(encoder, "bias", expected["bias"])


def test_where_queries_weigh_frames_there_is_a_temperature_and_no_vector_of_a_video(folder):
    encoder = opened(folder, "cm_adapter", "vop")
    assert (encoder.temperature("cm_adapter"), encoder.temperature("vop")) == (5.0, None)
    frames, mask = frames_of(number=3)
    weighed, plain = encoder.videos("cm_adapter", frames, mask), encoder.videos("vop", frames, mask)
    assert weighed.video is None and weighed.frames.shape == (3, 4, 128)
    np.testing.assert_allclose(np.linalg.norm(plain.video, axis=1), 1, rtol=1e-6)
    unit = plain.frames / np.linalg.norm(plain.frames, axis=2, keepdims=True)
    mean = (unit * plain.mask[..., None]).sum(axis=1) / plain.mask.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(plain.video, mean / np.linalg.norm(mean, axis=1, keepdims=True), atol=1e-6)


def test_it_tells_what_was_read(folder):
    encoder = opened(folder, "vop")
    assert encoder.header("vop") == checkpoint.read_header(folder / "vop.safetensors")
    assert len(encoder.sha256("vop")) == 64
    assert encoder.shape("vop").frames.number == 4


def test_nothing_gives_nothing_and_wrong_input_one_sentence(folder):
    encoder = opened(folder, "vop")
    frames, mask = frames_of(number=2)
    assert encoder.texts("vop", []).shape == (0, 128)
    assert encoder.videos("vop", frames[:0], mask[:0]).video.shape == (0, 128)
    with pytest.raises(ValueError, match="there is no adapter 'vob'; did you mean 'vop'"):
        encoder.use("vob")
    with pytest.raises(ValueError, match=r"give \['a red star'\]"):
        encoder.texts("vop", "a red star")
    with pytest.raises(ValueError, match=r"sees frames \(V, 4, 3, 64, 64\) of uint8 .* not \(2, 3, 3, 64, 64\)"):
        encoder.videos("vop", frames[:, :3], mask[:, :3])
    with pytest.raises(ValueError, match="not .* of float32"):
        encoder.videos("vop", frames.float(), mask)
    with pytest.raises(ValueError, match="video 'number 0' has no real frame"):
        encoder.videos("vop", frames, mask & False)
