"""An open index: scores of evaluation, moments, neighbours, texts; and files that are refused."""

import json
import re
import shutil

import h5py
import numpy as np
import pytest
import torch

from pipeline.evaluation.similarity import query_scores
from pipeline.search import index as searched
from pipeline.search import nearest
from pipeline.search.index import Gallery, discover
from tests.search.conftest import RUNS


def opened(world, run="vop"):
    return Gallery.open(world.indexes / "videos/clip-tiny" / run / "0/index.h5")


def arrays(gallery):
    with h5py.File(gallery.path, locking=False) as file:
        return {name: file[name][:] for name in ("video", "frames", "mask", "times", "text") if name in file}


@pytest.fixture
def query():
    return np.random.default_rng(0).normal(size=128).astype(np.float32)


@pytest.mark.parametrize("run", RUNS)
def test_scores_come_in_order_and_are_those_of_the_stored_vectors(indexed, run, query):
    gallery = opened(indexed, run)
    stored = arrays(gallery)
    if run == "cm_adapter":
        assert "video" not in stored
        frames, mask = (torch.from_numpy(stored[name]) for name in ("frames", "mask"))
        expected = query_scores(torch.from_numpy(query)[None], frames, mask=mask, temperature=gallery.temperature)[0].numpy()
    else:
        expected = stored["video"] @ query
    hits = gallery.by_text(query, 100)
    assert [hit.row for hit in hits] == np.argsort(-expected, kind="stable").tolist()
    np.testing.assert_allclose([hit.score for hit in hits], -np.sort(-expected), atol=1e-6)
    assert [hit.video_id for hit in hits] == gallery.videos["video_id"].iloc[[hit.row for hit in hits]].tolist()
    assert len(gallery.by_text(query, 2)) == 2
    np.testing.assert_allclose(gallery.scores(query), expected, atol=1e-6)


def test_the_moment_is_the_time_of_the_real_frame_that_is_nearest(indexed, query):
    gallery = opened(indexed)
    stored = arrays(gallery)
    stored["mask"][0] = [True, True, False, False]
    for hit in gallery.by_text(query, 100):
        frames = stored["frames"][hit.row]
        cosines = [frame @ query / np.linalg.norm(frame) for frame in frames]
        assert hit.moment == stored["times"][hit.row][int(np.argmax(cosines))]
    # Of a clip with 6 frames a second the grid takes the middles of four parts.
    number = round(gallery.videos["duration"][0] * 6)
    np.testing.assert_allclose(stored["times"][0], [(2 * k + 1) * number // 8 / 6 for k in range(4)])


def test_padding_is_never_a_moment(world, query):
    world.index("--folder", "videos")
    path = world.indexes / "videos/clip-tiny/vop/0/index.h5"
    with h5py.File(path, "r+", locking=False) as file:
        file["mask"][:, 1:] = False
    gallery = Gallery.open(path)
    first = arrays(gallery)["times"][:, 0]
    assert all(hit.moment == first[hit.row] for hit in gallery.by_text(query, 100))


@pytest.mark.parametrize("run", ["vop", "cm_adapter"])
def test_a_video_finds_the_others_and_one_from_elsewhere_itself(indexed, run):
    gallery = opened(indexed, run)
    for row in range(len(gallery)):
        assert sorted(hit.row for hit in gallery.by_video(row, 100)) == [other for other in range(len(gallery)) if other != row]
        same = gallery.by_vector(gallery.encoded(row), 100)
        assert len(same) == len(gallery)
        assert [hit for hit in same if hit.row != row] == gallery.by_video(row, 100)


def test_texts_of_a_video_are_the_column_of_the_similarities(indexed):
    for run in ("vop", "cm_adapter"):
        gallery = opened(indexed, run)
        stored = arrays(gallery)
        for row in range(len(gallery)):
            hits = gallery.captions_of(row, 10)
            column = [gallery.scores(text)[row] for text in stored["text"]]
            assert [hit.row for hit in hits] == np.argsort(-np.array(column), kind="stable").tolist()
            np.testing.assert_allclose([hit.score for hit in hits], -np.sort(-np.array(column)), atol=1e-6)
        assert {hit.text for hit in hits} == {"a red star", "a blue circle moves left", "the green square spins"}
        assert {hit.video for hit in hits} == {-1}


def test_small_pieces_give_what_all_at_once_gives(indexed, query, monkeypatch):
    whole = opened(indexed, "cm_adapter")
    scores, texts = whole.scores(query), whole.captions_of(0, 9)
    monkeypatch.setattr(searched, "SCANNED", 2)
    monkeypatch.setattr(searched, "HELD", 0)
    pieces = opened(indexed, "cm_adapter")
    np.testing.assert_allclose(pieces.scores(query), scores, atol=1e-6)
    assert [hit.row for hit in pieces.captions_of(0, 9)] == [hit.row for hit in texts]
    assert "frames" not in pieces._reader._whole


def test_a_large_gallery_is_searched_approximately_with_exact_scores(world, query, monkeypatch):
    monkeypatch.setattr(nearest, "EXACT_UP_TO", 2)
    monkeypatch.setattr(nearest, "QUERIES", 5)
    world.index("--folder", "videos", runs=("vop", "cm_adapter"))
    assert opened(world, "cm_adapter").about["search"] == {"kind": "exact"}
    gallery = opened(world)
    assert gallery.about["search"]["kind"] == "approximate" and gallery.about["search"]["queries_from"] == "videos"
    assert gallery.about["search"]["recall_at_10"] == 1
    expected = arrays(gallery)["video"] @ query
    np.testing.assert_allclose([hit.score for hit in gallery.by_text(query, 7)], -np.sort(-expected), atol=1e-6)
    assert 3 not in [hit.row for hit in gallery.by_video(3, 7)]


def test_indexes_are_found_by_their_names(indexed, tmp_path):
    assert list(discover(indexed.indexes)) == [f"videos/clip-tiny/{run}/0" for run in sorted(RUNS)]
    assert discover(tmp_path / "nothing") == {}
    shutil.copytree(indexed.indexes / "videos", tmp_path / "indexes/clips")  # a gallery may have that name
    assert len(discover(tmp_path / "indexes")) == len(RUNS)


@pytest.fixture
def damaged(indexed, tmp_path):
    """A copy of one index, where it would lie."""
    path = tmp_path / "indexes/videos/clip-tiny/vop/0/index.h5"
    path.parent.mkdir(parents=True)
    shutil.copy(indexed.indexes / "videos/clip-tiny/vop/0/index.h5", path)
    return path


def use(path):
    """Everything that a search reads."""
    gallery = Gallery.open(path)
    try:
        gallery.by_text(np.ones(128, np.float32), 100)
        gallery.captions_of(0, 10)
        return [gallery.clip(row) for row in range(len(gallery))]
    finally:
        gallery.close()


def test_no_file_and_no_hdf5_are_refused(damaged, tmp_path):
    with pytest.raises(ValueError, match="there is no index .*nothing.h5; make it with"):
        Gallery.open(tmp_path / "nothing.h5")
    for content in (b"", b"garbage", b"\x89HDF\r\n\x1a\n" + bytes(2000)):
        damaged.write_bytes(content)
        with pytest.raises(ValueError, match="index.h5 cannot be used: .*; delete it and index again"):
            Gallery.open(damaged)


def test_a_file_that_is_cut_off_anywhere_is_refused(damaged):
    content = damaged.read_bytes()
    for length in np.linspace(1, len(content) - 1, 60, dtype=int).tolist():
        damaged.write_bytes(content[:length])
        with pytest.raises(ValueError, match="index.h5 cannot be used: "):
            use(damaged)


def test_a_wrong_byte_is_one_sentence_or_changes_nothing(damaged):
    content, generator, refused = damaged.read_bytes(), np.random.default_rng(0), 0
    expected = Gallery.open(damaged).by_text(np.ones(128, np.float32), 100)
    for place in generator.integers(0, len(content), 300).tolist():
        damaged.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
        found = attempt(damaged)
        assert found in (expected, "refused")
        refused += found == "refused"
    assert refused > 50


def attempt(path):
    """The findings of a search, or "refused"."""
    try:
        use(path)
    except ValueError as error:
        return "refused" if re.fullmatch(r".*index.h5 cannot be used: .*; delete it and index again", str(error)) else repr(error)
    return Gallery.open(path).by_text(np.ones(128, np.float32), 100)


def rewritten(file, name, values):
    del file[name]
    file[name] = values


@pytest.mark.parametrize("name", ["video", "frames", "mask", "times", "text", "about", "videos", "videos/clip", "captions/row"])
@pytest.mark.parametrize("how", ["absent", "group", "scalar", "short", "type"])
def test_a_missing_part_or_another_type_is_refused(damaged, name, how):
    with h5py.File(damaged, "r+", locking=False) as file:
        old = file[name]
        values = old[:] if isinstance(old, h5py.Dataset) else None
        del file[name]
        if how == "group":
            file.create_group(name)
        elif how == "scalar":
            file[name] = 3
        elif values is not None and how == "short":
            file[name] = values[:-1]
        elif values is not None and how == "type":
            file[name] = np.zeros(values.shape, np.complex64)
    with pytest.raises(ValueError, match="index.h5 cannot be used: .*; delete it and index again"):
        use(damaged)


def about(path, **changes):
    with h5py.File(path, "r+", locking=False) as file:
        old = json.loads(bytes(file["about"][:]))
        rewritten(file, "about", np.frombuffer(json.dumps(old | changes).encode(), np.uint8))


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 2},
        {"format": "1"},
        {"num_videos": 6},
        {"num_videos": -1},
        {"num_captions": 10**9},
        {"num_videos": "seven"},
        {"backbone": {"name": "clip-tiny"}},
        {"backbone": []},
        {"search": {"kind": "approximate"}},
        {"search": []},
        {"temperature": "hot"},
        {"skipped": None},
    ],
)
def test_an_index_that_says_something_else_of_itself_is_refused(damaged, changes):
    about(damaged, **changes)
    with pytest.raises(ValueError, match="index.h5 cannot be used: "):
        use(damaged)


@pytest.mark.parametrize("root", ["/etc", "../..", "indexes/../../x", "a\0b"])
def test_a_root_that_leaves_the_folder_is_refused(damaged, root):
    about(damaged, root=root)
    with pytest.raises(ValueError, match="is no clip of this folder"):
        use(damaged)


@pytest.mark.parametrize("clip", ["/etc/passwd", "../../../params.yaml", "a/../../../b.mp4", "/tmp/x.mp4", "adapter.safetensors", ""])
def test_a_clip_that_is_none_is_refused(damaged, clip):
    with h5py.File(damaged, "r+", locking=False) as file:
        rewritten(file, "videos/clip", np.array([clip.encode() or b"\0"] * 7, dtype="S40"))
    with pytest.raises(ValueError, match="is no clip of this folder"):
        use(damaged)
