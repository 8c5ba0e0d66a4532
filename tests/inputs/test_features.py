"""A store of a frozen tower starts it where it was left, and is refused where it does not belong."""

import sys
from dataclasses import dataclass, field

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from pipeline import methods
from pipeline.clip import build, load_backbone
from pipeline.config.dataset import Frames
from pipeline.config.schema import Backbone, Cache
from pipeline.config.settings import Features, Sampling, text
from pipeline.core.hdf5 import attributes
from pipeline.inputs import features, stores
from pipeline.inputs.frames import Videos
from pipeline.inputs.split import Files, open_split
from pipeline.runtime import memory
from pipeline.stages import features as stage
from tests.conftest import make_batch, small_clip

SHAPE = Sampling(words=12, frames=Frames(number=4, size=32))
ATTRS = {"dataset": "toy", "split": "test"}
LEVELS = (1, 2, 3, 4)


@dataclass
class Source:
    """Three videos in memory, the last with two padded frames."""

    video_ids: list = field(default_factory=lambda: ["a", "b", "ü"])
    num_frames: int = 4
    attrs: dict = field(default_factory=lambda: {"recipe": "r", "grid": "centres", "number": 4, "size": 32})

    def __len__(self):
        return 3

    def batch(self, rows):
        frames, mask, _ = make_batch()
        return Videos(frames[rows], mask[rows])


CAPTIONS = make_batch()[2]
IDS = ["c0", "c1", "c2"]


def write(folder, level, dtype="float32", clip=None):
    """The files of both towers."""
    clip = clip or small_clip()
    vision, text = folder / f"vision@{level}.h5", folder / f"text@{level}.h5"
    features.write_videos(vision, Source(), clip=clip, level=level, dtype=dtype, attrs=ATTRS)
    features.write_texts(text, CAPTIONS, caption_ids=IDS, clip=clip, num_words=12, level=level, dtype=dtype, attrs=ATTRS)
    return vision, text


def read(folder, level, clip=None):
    clip = clip or small_clip()
    ids = clip.tokenize(CAPTIONS, num_words=12)
    videos = stores.video_store(folder / f"vision@{level}.h5", clips=None, clip=clip, frames=SHAPE.frames)
    return videos, stores.text_store(folder / f"text@{level}.h5", clip=clip, ids=ids, caption_ids=IDS), ids


@pytest.mark.parametrize("level", LEVELS)
@torch.no_grad()
def test_a_tower_started_from_float32_gives_the_same_bits(tmp_path, level):
    write(tmp_path, level)
    clip, (frames, mask, _) = small_clip(), make_batch()
    videos, texts, ids = read(tmp_path, level, clip)
    seen, stored_mask = videos.batch([0, 1, 2])
    assert (videos.level, texts.level) == (level, level) and torch.equal(stored_mask, mask)
    assert torch.equal(clip.encode_frames(seen, mask=mask, start=level), clip.encode_frames(frames, mask=mask))
    assert torch.equal(clip.encode_text(ids, texts.tokens([0, 1, 2]), start=level), clip.encode_text(ids))


@pytest.mark.parametrize("run", ["lora", "dora", "vera", "pissa"])
@torch.no_grad()
def test_what_changes_weights_of_the_last_blocks_starts_from_stores_with_the_same_bits(tmp_path, run):
    clip, (frames, mask, _) = small_clip(), make_batch()
    write(tmp_path, 2)
    methods.attach(clip, methods.load(run, config={"last_blocks": 1}), shape=methods.Shape(4, 12))
    for parameter in clip.trained().values():
        parameter.add_(0.2 * torch.randn_like(parameter))
    videos, texts, ids = read(tmp_path, 2, clip)
    found = clip.encode_frames(videos.batch([0, 1, 2]).seen, mask=mask, start=2)
    assert torch.equal(found, clip.encode_frames(frames, mask=mask))
    assert torch.equal(clip.encode_text(ids, texts.tokens([0, 1, 2]), start=2), clip.encode_text(ids))
    assert not torch.allclose(found, small_clip().encode_frames(frames, mask=mask), atol=1e-3)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_the_bytes_are_the_rounded_values(tmp_path, dtype):
    write(tmp_path, 2, dtype)
    clip, (frames, mask, _) = small_clip(), make_batch()
    videos, texts, ids = read(tmp_path, 2, clip)
    kind = getattr(torch, dtype)
    with torch.no_grad():
        assert torch.equal(videos.batch([0, 1, 2]).seen, clip.frames_at(2, frames, mask=mask).to(kind))
        assert torch.equal(texts.tokens([2, 0]), clip.text_at(2, ids)[[2, 0]].to(kind))


@pytest.mark.parametrize("level", [3, 4])
@torch.no_grad()
def test_one_token_a_frame_is_stored_unrounded_whatever_type_is_asked_for(tmp_path, level):
    write(tmp_path, level, "float16")
    clip, (frames, mask, _) = small_clip(), make_batch()
    videos, texts, ids = read(tmp_path, level, clip)
    assert torch.equal(videos.batch([0, 1, 2]).seen, clip.frames_at(level, frames, mask=mask))
    assert torch.equal(texts.tokens([0, 1, 2]), clip.text_at(level, ids))


def test_a_file_says_what_it_holds_and_of_whom(tmp_path):
    vision, text = write(tmp_path, 4, "float16")
    clip = small_clip()
    shared = ATTRS | {"format": 2, "level": "all", "backbone": "small", "backbone_digest": clip.digest, "dtype": "float32"}
    shared |= {"precision": "float32"}
    with h5py.File(vision) as file:
        assert attributes(file) == shared | Source().attrs | {"tower": "vision", "preprocessing": clip.preprocessing}
        assert (file["tokens"].shape, file["tokens"].chunks, file["tokens"].fletcher32) == ((3, 4, 16), (1, 4, 16), True)
        assert file["id"].asstr()[:].tolist() == ["a", "b", "ü"]
    with h5py.File(text) as file:
        assert attributes(file) == shared | {"tower": "text", "words": 12}
        assert (file["tokens"].shape, file["id"].asstr()[:].tolist()) == ((3, 16), IDS)


@pytest.mark.parametrize(
    ("key", "value"),
    [("backbone_digest", "0" * 64), ("tower", "text"), ("grid", "xpool"), ("number", 8), ("size", 64), ("preprocessing", "none")],
)
def test_videos_made_with_something_else_are_refused(tmp_path, key, value):
    vision, _ = write(tmp_path, 2)
    with h5py.File(vision, "r+") as file:
        file.attrs[key] = value
    with pytest.raises(ValueError, match=rf"vision@2\.h5 cannot be used: its {key} is {value!r}, not .*re-run rule features"):
        read(tmp_path, 2)


def test_captions_that_are_others_are_refused(tmp_path):
    _, text = write(tmp_path, 2)
    clip = small_clip()
    ids = clip.tokenize(CAPTIONS, num_words=12)
    for other in ({"ids": clip.tokenize(["a dog", *CAPTIONS[1:]], num_words=12)}, {"caption_ids": ["x", "c1", "c2"]}):
        with pytest.raises(ValueError, match=r"text@2\.h5 was made of other captions"):
            stores.text_store(text, clip=clip, **({"ids": ids, "caption_ids": IDS} | other))
    with pytest.raises(ValueError, match="its words is 12, not 16"):
        stores.text_store(text, clip=clip, ids=clip.tokenize(CAPTIONS, num_words=16), caption_ids=IDS)


def test_a_level_above_what_is_attached_is_refused_with_block_and_module(tmp_path):
    write(tmp_path, 3)
    clip = methods.attach(small_clip(), methods.load("lora", config={"last_blocks": 1}), shape=methods.Shape(4, 12))
    with pytest.raises(ValueError, match=r"vision@3\.h5 cannot be used by this method: block 2 .*adapter\.vision\.2\.qkv \(Change\)"):
        read(tmp_path, 3, clip)


@pytest.mark.parametrize(("factor", "largest"), [(1e6, r"a value of \S+e\+\d+"), (float("nan"), "a value of inf")])
def test_a_value_that_the_type_cannot_hold_is_refused_and_leaves_nothing(tmp_path, factor, largest):
    clip = small_clip()
    with torch.no_grad():
        clip.model.visual.ln_pre.weight.mul_(factor)
    with pytest.raises(ValueError, match=f"{largest} cannot be stored as float16; set cache.dtype: bfloat16 or float32"):
        features.write_videos(tmp_path / "x.h5", Source(), clip=clip, level=1, dtype="float16", attrs=ATTRS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("level", [0, 5])
def test_a_level_that_is_none_is_refused(tmp_path, level):
    with pytest.raises(ValueError, match=f"the vision tower has 3 blocks; tokens@{level} of it do not exist"):
        write(tmp_path, level)


def test_a_split_is_opened_from_tokens_alone_and_its_videos_must_be_those_of_the_captions(tmp_path):
    vision, text = write(tmp_path, 3)
    table = pd.DataFrame({"video_id": ["ü", "a", "b"], "caption_id": IDS, "text": CAPTIONS, "directed": False, "action": ""})
    table.to_parquet(tmp_path / "captions.parquet")
    split = open_split(Files(vision, tmp_path / "captions.parquet", text), clip=small_clip(), shape=SHAPE)
    assert split.stores == {"store": "3", "text_store": "3"} and split.video.tolist() == [2, 0, 1]
    assert split.pairs(np.array([0])).mask.tolist() == [[True, True, False, False]]
    table.assign(video_id="a").to_parquet(tmp_path / "captions.parquet")
    with pytest.raises(ValueError, match="differ in 2 videos, 'b' first"):
        open_split(Files(vision, tmp_path / "captions.parquet", text), clip=small_clip(), shape=SHAPE)


def test_the_stage_writes_captions_as_the_function_does(tmp_path, monkeypatch):
    torch.manual_seed(0)
    weights = tmp_path / "weights.safetensors"
    save_file(build("clip-tiny").state_dict(), weights)
    pd.DataFrame({"caption_id": IDS, "text": CAPTIONS}).to_parquet(tmp_path / "captions.parquet")
    options = {
        "dataset": "toy", "split": "test", "tower": "text", "level": "all", "captions": tmp_path / "captions.parquet",
        "settings": text(Features(Backbone("clip-tiny", str(weights)), Sampling(words=12), Cache(dtype="float32"))),
        "device": "cpu", "out": tmp_path / "made" / "text@all.h5",
    }  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["x", *(str(word) for key, value in options.items() for word in (f"--{key}", value))])
    stage.main()
    clip = load_backbone(Backbone("clip-tiny", str(weights)))
    ids = clip.tokenize(CAPTIONS, num_words=12)
    found = stores.text_store(options["out"], clip=clip, ids=ids, caption_ids=IDS)
    with torch.no_grad():
        assert torch.equal(found.tokens([0, 1, 2]), clip.encode_text(ids)) and found.attrs["split"] == "test"


def test_as_many_rows_as_fit_go_through_a_tower_at_once_and_the_end_of_memory_is_explained(tmp_path, monkeypatch):
    clip, sizes = small_clip(), []
    monkeypatch.setattr(memory, "CPU_BYTES", 1)
    plain = type(clip).frames_at
    monkeypatch.setattr(
        type(clip), "frames_at", lambda self, level, seen, **more: sizes.append(len(seen)) or plain(self, level, seen, **more)
    )
    whole = {path.name: path.read_bytes() for path in write(tmp_path, 3)}
    assert sizes == [1, 1, 1, 1]
    monkeypatch.undo()
    (tmp_path / "more").mkdir()
    assert {path.name: path.read_bytes() for path in write(tmp_path / "more", 3)}.keys() == whole.keys()

    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB.")

    monkeypatch.setattr(type(clip), "frames_at", full)
    with pytest.raises(ValueError, match=r"out of memory on cpu in the writing of .*vision@3.h5: 2.7 GB more were needed; take a device"):
        write(tmp_path, 3)


@torch.no_grad()
def test_a_side_module_starts_from_the_stored_tokens_of_its_lowest_level_and_from_no_higher_one(tmp_path):
    write(tmp_path, 1)
    write(tmp_path, 2)

    def side(taps):
        method = methods.load("sherl", config={"width": 8, "taps": taps})
        torch.manual_seed(0)
        return methods.attach(small_clip(), method, shape=methods.Shape(4, 12))

    clip, (frames, mask, _) = side([1, 3]), make_batch()
    videos, texts, ids = read(tmp_path, 1, clip)
    seen, _ = videos.batch([0, 1, 2])
    assert torch.equal(clip.encode_frames(seen, mask=mask, start=1), clip.encode_frames(frames, mask=mask))
    assert torch.equal(clip.encode_text(ids, texts.tokens([0, 1, 2]), start=1), clip.encode_text(ids))
    said = r"vision@2.h5 cannot be used by this method: all tokens after 1 blocks of the vision tower are read by adapter.vision \(Side\)"
    with pytest.raises(ValueError, match=said):
        read(tmp_path, 2, clip)
