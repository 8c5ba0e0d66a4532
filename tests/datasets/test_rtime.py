"""RTime in small files of its publisher's form, both directions of time, and its Binary task as the temporal probe."""

import base64
import io
import json

import av
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from pipeline import datasets, methods
from pipeline.config.dataset import Dataset
from pipeline.config.schema import Score
from pipeline.config.settings import Sampling
from pipeline.datasets import rtime
from pipeline.datasets.annotations import rows
from pipeline.datasets.annotations.rows import Caption, Video
from pipeline.evaluation.embed import embed
from pipeline.evaluation.score import score
from pipeline.inputs.directions import Directions, both
from pipeline.inputs.split import Files, Split, open_split
from pipeline.reporting.examples import Example, clips, thumbnail
from pipeline.stages import splits
from tests.conftest import small_clip
from tests.training.planted import WORDS, Memory

FILED = Dataset(videos="mine")


def entry(*, forward=("A door opens.",), reverse=("A door closes.",), rewrites=9):
    said = {"forward_captions": list(forward), "reverse_captions": list(reverse)}
    said |= {f"{way}_rewrites": [f"{way} {n}" for n in range(rewrites)] for way in ("forward", "reverse")}
    return said | {"temporal": True, "reverse": bool(reverse), "url": "https://example.org/clip-1"}


def write(folder, **files):
    for name, content in {
        "train": {"1": entry(), "2": entry(reverse=())},
        "valid": {"3": entry()},
        "test": {"4": entry()},
        **files,
    }.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def texts(captions, video):
    return list(captions.loc[captions["video_id"] == video, "text"])


def test_origin_has_the_videos_as_they_were_filmed_and_hard_both_directions(tmp_path):
    write(tmp_path)
    for variant, said in (("origin", {"1", "2", "3", "4"}), ("hard", {"1", "2", "3", "4", "1~reversed", "3~reversed", "4~reversed"})):
        videos, captions = rtime.tables(tmp_path, Dataset(videos="mine", variant=variant), "rtime")
        datasets.check(videos, captions, name="rtime")
        assert list(videos["video_id"]) == ["1", "2", "3", "4"] and set(captions["video_id"]) == said
        assert videos["fetch_url"].eq("").all() and videos["src_url"].str.startswith("https://").all()
    assert texts(captions, "4") == ["A door opens."] and texts(captions, "4~reversed") == ["A door closes."]
    assert texts(captions, "1~reversed") == ["A door closes.", *(f"reverse {n}" for n in range(9))]
    assert set(captions.loc[~captions["directed"], "video_id"]) == {"2"}


def test_the_published_numbers_are_asserted(tmp_path):
    many = {
        "valid": {f"v{n}": entry(rewrites=0) for n in range(500)},
        "test": {f"t{n}": entry(rewrites=0) for n in range(1000)},
    }
    write(tmp_path, **many)
    for variant in rtime.VARIANTS:
        settings = Dataset(videos="mine", variant=variant)
        tables = rtime.tables(tmp_path, settings, "rtime")
        assert rows.refuse_other_counts("rtime", *tables, expected=rtime.expected(settings), strict=True) == []
    many["test"]["t0"]["reverse_captions"].append("A second one.")
    tables = rtime.tables(write(tmp_path, **many), settings, "rtime")
    with pytest.raises(ValueError, match="test has 2001 captions, and 2000 were published"):
        rows.refuse_other_counts("rtime", *tables, expected=rtime.expected(settings), strict=True)


def test_the_same_sentence_both_ways_stays_and_counts_for_both(tmp_path):
    write(tmp_path, test={"4": entry(forward=["It spins."], reverse=["It spins."])})
    _, captions = rtime.tables(tmp_path, Dataset(videos="mine", variant="hard"), "rtime")
    same = captions[captions["split"] == "test"]
    assert list(same["text"]) == ["It spins."] * 2 and same["directed"].all() and same["video_id"].nunique() == 2


@pytest.mark.parametrize(
    ("test", "sentence"),
    [
        ([], "expected videos with their sentences, not list"),
        ({"4": {"forward_captions": ["a"]}}, "'4' does not say whether it has a reverse"),
        ({"4": entry(forward=())}, "'4' has no forward_captions"),
        ({"4": entry() | {"reverse_captions": []}}, "'4' has no reverse_captions"),
        ({"4": entry(forward=("a", " "))}, "forward_captions of '4' are not sentences"),
        ({"4": entry() | {"reverse_captions": "a door"}}, "reverse_captions of '4' are not sentences"),
        ({"4": entry() | {"forward_rewrites": [3]}}, "forward_rewrites of '4' are not sentences"),
        ({"3": entry()}, "rtime: 1 videos are in two splits: 3"),
    ],
)
def test_each_defect_is_one_sentence(tmp_path, test, sentence):
    with pytest.raises(ValueError, match=sentence):
        rtime.tables(write(tmp_path, test=test), FILED, "rtime")


def test_without_a_folder_of_videos_nothing_is_fetched_or_read(tmp_path):
    for work in (rtime.download, rtime.tables):
        with pytest.raises(ValueError, match=r"set datasets.rtime.videos to a folder of those that you have the right to use"):
            work(tmp_path, Dataset(), "rtime")
    assert not list(tmp_path.iterdir())


def test_a_video_named_as_a_reversed_one_is_refused(tmp_path):
    videos, captions = rtime.tables(write(tmp_path, test={"1~reversed": entry()}), FILED, "rtime")
    with pytest.raises(ValueError, match="1 videos whose name says that they are reversed: 1~reversed"):
        datasets.check(videos, captions, name="rtime")


def stored(videos=6):
    rng = np.random.default_rng(0)
    mask = np.ones((videos, 4), bool)
    mask[::3, 3] = False
    return Memory(rng.integers(0, 256, (videos, 4, 3, 32, 32)).astype(np.uint8), mask)


def test_a_reversed_video_is_the_real_frames_of_its_own_in_reverse_order():
    store = stored()
    found = both(store, ["v0", "v0~reversed", "v5~reversed", "v5~reversed", "strange~reversed"])
    assert found.video_ids == [*store.video_ids, "v0~reversed", "v5~reversed"] and len(found) == 8
    seen, mask = found.batch([6, 0, 7, 1])
    assert torch.equal(seen[0, :3], store.pictures[0, [2, 1, 0]]) and torch.equal(seen[0, 3], store.pictures[0, 3])
    assert (
        torch.equal(seen[1], store.pictures[0])
        and torch.equal(seen[2], store.pictures[5].flip(0))
        and torch.equal(seen[3], store.pictures[1])
    )
    assert mask.tolist() == store.mask[[0, 0, 5, 1]].tolist()
    assert both(store, ["v0", "v1"]) is store


def test_binary_is_the_probe_by_hand():
    """Two sentences a video; the right direction is above the wrong one in so many of them, counted from the gallery of both."""
    store = stored()
    torch.manual_seed(1)
    clip = methods.attach(small_clip(), methods.load("mv_adapter", config={}), shape=methods.Shape(4, WORDS))
    with torch.no_grad():
        for parameter in clip.trained().values():
            parameter.add_(0.1 * torch.randn_like(parameter))
    found = both(store, [f"v{n}~reversed" for n in range(6)])
    assert isinstance(found, Directions)
    words = [f"a {way} door number {n}" for way in ("forward", "reversed") for n in range(6)]
    ids = clip.tokenize(words, num_words=WORDS)
    split = Split(store=found, text=None, ids=ids, video=np.arange(12), directed=np.ones(12, bool), caption_ids=words)
    made = embed(clip, split, device=torch.device("cpu"))
    scores = made.text @ made.video.T
    right = [scores[row, row] > scores[row, (row + 6) % 12] for row in range(12)]
    assert 0 < sum(right) < 12
    result = score(made, settings=Score(bootstrap=20))
    assert result["probe"]["accuracy"] == round(100 * sum(right) / 12, 4) and result["probe"]["captions"] == 12
    assert (result["gallery"], result["queries"]) == (12, 12)


@pytest.fixture
def two(tmp_path, monkeypatch):
    """Two videos in both directions as tables of a split, and a store of them."""
    table = pd.DataFrame({"video_id": ["v0", "v0~reversed", "v1", "v1~reversed"], "caption_id": list("abcd"), "text": "a door"})
    table.assign(directed=True, split="test", dataset="rtime", order=0, action="", paragraph_id="").to_parquet(
        tmp_path / "captions.parquet"
    )
    store = stored(videos=2)
    monkeypatch.setattr("pipeline.inputs.split.video_store", lambda *_, **__: store)
    return tmp_path / "captions.parquet"


def test_a_split_opens_with_the_reversed_videos_that_its_captions_name(two):
    clip = small_clip()
    split = open_split(Files(two, two), clip=clip, shape=Sampling(words=WORDS))
    assert split.store.video_ids == ["v0", "v1", "v0~reversed", "v1~reversed"] and split.video.tolist() == [0, 2, 1, 3]
    table = pd.read_parquet(two)
    table.replace({"v1~reversed": "v2~reversed"}).to_parquet(two)
    with pytest.raises(ValueError, match="differ in 1 videos, 'v2~reversed' first"):
        open_split(Files(two, two), clip=clip, shape=Sampling(words=WORDS))


def test_the_splits_keep_captions_of_both_directions_of_the_videos_that_are_usable(tmp_path, monkeypatch):
    videos = [Video(f"v{n}", f"v{n}", split) for n, split in enumerate(("test", "test", "train", "val"))]
    said = [Caption(f"v{n}{end}", f"v{n}{end}#0", 0, "a", videos[n].split) for n in range(4) for end in ("", "~reversed")]
    for name, table in zip(("v", "c"), rows.tables("rtime", videos, said), strict=True):
        table.to_parquet(tmp_path / f"{name}.parquet")
    status = ["ok", "unreadable", "ok", "ok"]
    pd.DataFrame({"video_id": [f"v{n}" for n in range(4)], "status": status, "reason": "x"}).to_parquet(tmp_path / "r.parquet")
    files = {"videos": "v.parquet", "captions": "c.parquet", "reports": "r.parquet", "table": "t.parquet", "list": "m.tsv", "out": "out"}
    words = [word for key, file in files.items() for word in (f"--{key}", str(tmp_path / file))]
    settings = ["--settings", '{"captions_as": "published", "missing": {"test": 0.5}}']
    monkeypatch.setattr("sys.argv", ["splits", "--dataset", "rtime", *words, *settings])
    splits.main()
    assert list(pd.read_parquet(tmp_path / "out/test/captions.parquet")["video_id"]) == ["v0", "v0~reversed"]
    assert list(pd.read_parquet(tmp_path / "out/test/videos.parquet")["video_id"]) == ["v0"]


def test_the_report_shows_the_clip_of_a_reversed_video_from_its_end(tmp_path):
    shown = [Example("a door", "v0~reversed", True, {}, {})]
    assert clips(shown, pd.DataFrame({"video_id": ["v0"], "out_path": ["0/v0.mp4"]}), root=tmp_path) == {
        "v0~reversed": tmp_path / "0/v0.mp4"
    }
    colours = [np.full((32, 48, 3), value, np.uint8) for value in (10, 90, 170, 250)]
    with av.open(str(tmp_path / "v.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=3, width=48, height=32)
        packets = [packet for colour in colours for packet in stream.encode(av.VideoFrame.from_ndarray(colour))]
        container.mux([*packets, *stream.encode()])
    levels = []
    for turned in (False, True):
        data = base64.b64decode(thumbnail(tmp_path / "v.mp4", turned=turned).partition(",")[2])
        strip = np.asarray(Image.open(io.BytesIO(data)).convert("L"))
        levels.append([int(part.mean()) for part in np.split(strip, 4, axis=1)])
    assert levels[0] == sorted(levels[0]) and levels[1] == levels[0][::-1]
