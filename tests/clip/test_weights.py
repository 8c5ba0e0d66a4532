"""Weights in every form in which people have them: loaded with the features of open_clip, or refused with one sentence."""

import argparse
import io
import pickle
import re
import warnings
import zipfile
from collections import OrderedDict

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import save_file

from pipeline.clip import FrozenClip, load_backbone, torchscript
from pipeline.config.schema import Backbone
from tests.clip.forms import BUFFERS, NAME, SHAPE, architecture, archive_of, hugging_face, random_model


@pytest.fixture(scope="module", autouse=True)
def _architecture(tmp_path_factory):
    architecture(tmp_path_factory.mktemp("architecture"))


@pytest.fixture(scope="module")
def model():
    return random_model()


@pytest.fixture
def state(model):
    return OrderedDict((name, value.clone()) for name, value in model.state_dict().items())


def opened(file):
    return load_backbone(Backbone(NAME, str(file)))


def refused(file, *, name=NAME):
    with pytest.raises(ValueError, match=re.escape(file.name)) as caught:
        load_backbone(Backbone(name, str(file)))
    sentence = str(caught.value)
    assert "\n" not in sentence and "weights_only" not in sentence
    return sentence


def same_features(clip, reference, *, atol=1e-5):
    """Of both towers, by our loop and by open_clip's own forward passes."""
    torch.manual_seed(1)
    pictures = torch.randint(0, 256, (2, 1, 3, 32, 32), dtype=torch.uint8)
    ids = torch.randint(1, 90, (3, 12)).index_fill_(1, torch.tensor([7]), 99)
    with torch.no_grad():
        seen = reference.encode_image((pictures[:, 0] / 255 - clip.mean) / clip.std)
        torch.testing.assert_close(clip.encode_frames(pictures, mask=torch.ones(2, 1, dtype=torch.bool))[:, 0], seen, atol=atol, rtol=0)
        torch.testing.assert_close(clip.encode_text(ids), reference.encode_text(ids), atol=atol, rtol=0)


def rounded(state):
    reference = open_clip.CLIP(**SHAPE).eval()
    reference.load_state_dict({name: value.half().float() for name, value in state.items()})
    return reference


def in_front(prefix, state):
    return {prefix + name: value for name, value in state.items()}


@pytest.fixture(scope="module")
def archive(model, tmp_path_factory):
    """OpenAI's form of the model; beside it `float32.pt`, the same in float32."""
    folder = tmp_path_factory.mktemp("archives")
    archive_of(model, folder / "float32.pt", half=False)
    archive_of(model, folder / "ViT.pt")
    return folder / "ViT.pt"


# What each form holds of a state, the words that say it, and whether its values are rounded to float16.
FORMS = {
    "open_clip's state": (lambda s: s, "", False),
    "parameters": (lambda s: OrderedDict((name, torch.nn.Parameter(value)) for name, value in s.items()), "", False),
    "in float16": (lambda s: {name: value.half() for name, value in s.items()}, "", True),
    "OpenAI's, with its sizes": (lambda s: {name: v.half() for name, v in s.items()} | BUFFERS, "", True),
    "its sizes as numbers": (lambda s: dict(s) | {name: int(value) for name, value in BUFFERS.items()}, "", False),
    "a training of open_clip": (
        lambda s: {
            "epoch": 3,
            "name": "x",
            "state_dict": in_front("module.", s),
            "optimizer": {"state": {0: {"exp_avg": s["ln_final.bias"]}}},
        },
        "under 'state_dict', with 'module.' in front of its names",
        False,
    ),
    "an average beside it": (
        lambda s: {"ema": {name: value + 1 for name, value in s.items()}, "state_dict": dict(s)},
        "under 'state_dict'",
        False,
    ),
    "module": (lambda s: in_front("module.", s), "with 'module.' in front", False),
    "CLIP4Clip": (lambda s: in_front("clip.", s), "with 'clip.' in front", False),
    "MV-Adapter": (lambda s: in_front("module.clip.", s), "with 'module.clip.' in front", False),
    "lightning": (lambda s: {"state_dict": in_front("model.", s), "pytorch-lightning_version": "2"}, "with 'model.' in front", False),
    "compiled": (lambda s: in_front("_orig_mod.", s), "", False),
    "compiled in parts": (
        lambda s: {f"module.{n.replace('visual.', 'visual._orig_mod.')}": v for n, v in s.items()},
        "with 'module.' in front",
        False,
    ),
    "model": (lambda s: {"model": dict(s), "epoch": 1}, "under 'model'", False),
    "model_state_dict": (
        lambda s: {"model_state_dict": in_front("_orig_mod.module.", s)},
        "under 'model_state_dict', with 'module.'",
        False,
    ),
    "an unknown key": (lambda s: {"student": dict(s), "loss": [0.1]}, "under 'student'", False),
    "Hugging Face": (hugging_face, "by the names of Hugging Face's CLIPModel", False),
    "Hugging Face's in a model": (
        lambda s: in_front("clip.", hugging_face(s)),
        "with 'clip.' in front of its names, by the names of",
        False,
    ),
    "a scale in a list": (lambda s: dict(s) | {"logit_scale": s["logit_scale"][None]}, "", False),
}


NESTED = {form for form, (_, words, _) in FORMS.items() if "under" in words} | {"its sizes as numbers", "lightning"}


@pytest.mark.parametrize(
    ("form", "kind"),
    [(form, kind) for form in FORMS for kind in ("zip", "legacy", "safetensors") if kind != "safetensors" or form not in NESTED],
)
def test_every_form_has_the_features_of_open_clip(tmp_path, capsys, model, state, form, kind):
    make, words, half = FORMS[form]
    file, made = tmp_path / "some-file", make(state)
    if kind == "safetensors":
        save_file({name: value.detach().contiguous() for name, value in made.items()}, file)
    else:
        torch.save(made, file, _use_new_zipfile_serialization=kind == "zip")
    clip, reference = opened(file), rounded(state) if half else model
    same_features(clip, reference)
    assert clip.digest == FrozenClip(reference, name=NAME).digest
    said = capsys.readouterr().err
    assert words in said and bool(said) == bool(words)


def test_openais_archive_is_read_as_open_clip_reads_it(archive, model):
    reference = open_clip.load_openai_model(str(archive), precision="fp32", device="cpu")
    clip = opened(archive)
    assert clip.digest == FrozenClip(reference, name=NAME).digest
    same_features(clip, reference)
    assert opened(archive.with_name("float32.pt")).digest == FrozenClip(model, name=NAME).digest


def test_an_archive_holds_what_torch_makes_of_it(archive):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = torch.jit.load(str(archive)).state_dict()
    state = torchscript.read(archive)
    assert state.keys() == expected.keys()
    assert all(state[name].dtype == value.dtype and torch.equal(state[name], value) for name, value in expected.items())


class Treacherous(torch.nn.Module):
    """Its program makes a file when it is loaded, without any Python."""

    def __init__(self, path):
        super().__init__()
        self.path = path
        self.weight = torch.nn.Parameter(torch.zeros(2))

    @torch.jit.export
    def __getstate__(self):
        return self.path, self.weight, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, torch.Tensor, bool]):
        self.path = state[0]
        self.weight = torch.from_file(self.path, True, 4)
        self.training = state[2]

    def forward(self, x):
        return x * self.weight


def test_the_program_of_an_archive_is_not_run(tmp_path):
    made = tmp_path / "made"
    torch.jit.save(torch.jit.script(Treacherous(str(made))), str(tmp_path / "w.pt"))
    assert "without a CLIP of two ViT towers" in refused(tmp_path / "w.pt") and not made.exists()
    torch.jit.load(str(tmp_path / "w.pt"))
    assert made.exists()


def evil(path):
    """A pickle that would make a file where it is read by Python's own rules."""
    command = f"touch {path}".encode()
    return b"\x80\x02cposix\nsystem\n(X" + len(command).to_bytes(4, "little") + command + b"tR."


@pytest.mark.parametrize("what", ["as it was", "calls", "short", "packed", "missing", "endless"])
def test_an_archive_made_to_harm_or_damaged_is_refused(tmp_path, archive, what):
    target, file = tmp_path / "owned", tmp_path / "w.pt"
    with (
        zipfile.ZipFile(archive) as old,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED if what == "packed" else zipfile.ZIP_STORED) as new,
    ):
        last = sorted(name for name in old.namelist() if "/data/" in name)[-1]
        for name in old.namelist():
            data = old.read(name)
            if name.endswith("data.pkl"):
                data = {"calls": evil(target), "endless": data[:-20]}.get(what, data)
            elif name == last:
                data = data[:-2] if what == "short" else data
            if (name, what) != (last, "missing"):
                new.writestr(name, data)
    if what == "as it was":
        opened(file)
    else:
        refused(file)
    assert not target.exists()


def test_records_of_a_pickle_do_nothing_and_share_nothing():
    pickled = pickle.dumps([argparse.Namespace(a=1), argparse.Namespace])
    first, kind = torchscript._Records(io.BytesIO(pickled)).load()
    assert first.source == "argparse.Namespace" and first.a == 1 and not isinstance(first, argparse.Namespace)
    assert kind.__mro__[1] is torchscript._Record and not hasattr(torchscript._Record, "a")


class Whole(torch.nn.Linear):
    pass


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("extra", "named"),
    [
        ({"args": argparse.Namespace(lr=1)}, "argparse.Namespace"),
        ({"best": np.float64(0.5)}, "scalar"),
        ({"model": Whole(2, 2)}, "Whole"),
    ],
)
def test_objects_that_need_code_are_refused_in_one_sentence_that_names_them(tmp_path, state, extra, named, zipped):
    torch.save({"state_dict": dict(state)} | extra, tmp_path / "w.pt", _use_new_zipfile_serialization=zipped)
    sentence = refused(tmp_path / "w.pt")
    assert "Python objects (" in sentence and named in sentence and "torch.save(model.state_dict(), file)" in sentence


def test_a_whole_module_is_refused_in_one_sentence(tmp_path, model):
    torch.save(model, tmp_path / "w.pt")
    assert "Python objects (open_clip.model.CLIP)" in refused(tmp_path / "w.pt")


def test_what_is_missing_and_too_much_is_counted_and_named(tmp_path, state):
    changed = {f"clip.{name}": value for name, value in state.items() if "ln_" not in name} | {"head.weight": torch.zeros(1)}
    changed |= {f"clip.visual.transformer.resblocks.{n}.adapter": torch.zeros(1) for n in range(4)}
    torch.save({"model": changed}, tmp_path / "w.pt")
    sentence = refused(tmp_path / "w.pt")
    assert "found a file of torch.save, under 'model', with 'clip.' in front of its names" in sentence
    lacking = [name for name in state if "ln_" in name]
    assert f"lacks {len(lacking)} of {len(state)} tensors: {', '.join(lacking[:3])} and {len(lacking) - 3} more; with 5" in sentence
    assert "with 5 tensors too many: head.weight, visual.transformer.resblocks.0.adapter, visual" in sentence
    assert "set backbone.name to the architecture of this file, or backbone.weights to" in sentence


def test_another_architecture_and_a_lone_tower_are_told(tmp_path, archive, state):
    torch.save(dict(state), tmp_path / "w.pt")
    assert "of another shape: positional_embedding has the shape" in refused(tmp_path / "w.pt", name="clip-tiny")
    seen = {name: value for name, value in hugging_face(state).items() if name.startswith("vision")}
    save_file(seen, tmp_path / "tower.safetensors")
    lone = refused(tmp_path / "tower.safetensors")
    lacking = [name for name in state if not name.startswith("visual") or name == "visual.proj"]
    assert (
        f"lacks {len(lacking)} of {len(state)} tensors: {', '.join(lacking[:3])} and {len(lacking) - 3} more; set backbone.name to the arch"
        in lone
    )
    said = {name: value for name, value in state.items() if not name.startswith("visual")}
    torch.save(said, tmp_path / "said.pt")
    assert "without a CLIP of two ViT towers: it has the keys positional_embedding, " in refused(tmp_path / "said.pt")
    assert "found a TorchScript archive, " in refused(archive, name="clip-tiny")


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda s: in_front("student.", s) | in_front("teacher.", s), "several CLIPs ('student.', 'teacher.')"),
        (lambda s: {"a": dict(s), "b": dict(s)}, "several CLIPs (a, b)"),
        (lambda s: {"a": {"b": {"c": {"d": dict(s)}}}}, "without a CLIP of two ViT towers: it has the keys a"),
        (lambda s: [*s.values()], "it holds a list"),
        (lambda _: {}, "it is empty"),
        (
            lambda s: dict(s) | {"ln_final.bias": torch.zeros(64, dtype=torch.int8)},
            "no floating-point numbers: ln_final.bias of torch.int8;",
        ),
    ],
)
def test_what_cannot_be_told_is_refused(tmp_path, state, made, words):
    torch.save(made(state), tmp_path / "w.pt")
    assert words in refused(tmp_path / "w.pt")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "not an index, a page or a pointer"),
        (b"<!DOCTYPE html><html></html>", "begins with b'<!DOCTYPE"),
        (b'{\n "weight_map": {}}', "not an index"),
        (b"", "begins with b''"),
        (b"\x80\x02junk", "cannot be read"),
        (b"PK\x03\x04junk", "a zip without its end; fetch it again"),
        (b"\x10\0\0\0\0\0\0\0{}", "fetch it again"),
    ],
)
def test_files_of_another_kind_say_what_they_are(tmp_path, content, words):
    file = tmp_path / "w.pt"
    file.write_bytes(content)
    assert words in refused(file)


def test_a_zip_of_numpy_and_files_cut_off_are_told(tmp_path, state):
    np.savez(tmp_path / "w.npz", a=np.zeros(1))
    assert "a zip without weights of torch: it holds a.npy" in refused(tmp_path / "w.npz")
    torch.save(dict(state), tmp_path / "zip.pt")
    torch.save(dict(state), tmp_path / "legacy.pt", _use_new_zipfile_serialization=False)
    save_file(dict(state), tmp_path / "w.safetensors")
    for name in ("zip.pt", "legacy.pt", "w.safetensors"):
        for part in (0.5, 0.99):
            whole = (tmp_path / name).read_bytes()
            (tmp_path / f"cut-{name}").write_bytes(whole[: int(part * len(whole))])
            assert "fetch it again" in refused(tmp_path / f"cut-{name}")


def test_a_blob_a_folder_and_a_file_without_an_ending_are_known_as_paths(tmp_path, monkeypatch, model, state):
    blob = tmp_path / "blobs" / "0123"
    blob.parent.mkdir()
    save_file(dict(state), blob)
    snapshot = tmp_path / "snapshots" / "main" / "open_clip_model.safetensors"
    snapshot.parent.mkdir(parents=True)
    snapshot.symlink_to(blob)
    for file in (blob, snapshot):
        same_features(opened(file), model)
    monkeypatch.chdir(blob.parent)
    same_features(load_backbone(Backbone(NAME, f"./{blob.name}")), model)
    with pytest.raises(
        ValueError, match=rf"no weights '{blob.name}' .* a file without an ending is named with its folder, './{blob.name}'"
    ):
        load_backbone(Backbone(NAME, blob.name))
    assert "is a folder; name the file of two-blocks in it, it has open_clip_model.safetensors" in refused(snapshot.parent)
    assert "is a folder; name the file of two-blocks in it, none in it ends in .safetensors" in refused(blob.parent)
    assert "there is no file" in refused(blob.parent / "gone")
