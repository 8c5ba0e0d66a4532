"""Indexing a folder again: by content, nothing twice, nothing silently gone."""

import os
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pandas as pd
import pytest
import torch

from pipeline.adapters.encoder import Encoder
from pipeline.config.schema import Backbone
from pipeline.core.files import read_json, write_json
from pipeline.search import build, folder
from pipeline.search.index import Gallery
from pipeline.search.update import _tell
from pipeline.video.files import read_video
from pipeline.video.transcode import transcode
from tests.adapters.files import SHAPE, write_adapter, write_backbone
from tests.search.conftest import make_video
from tests.video.numbered import run


def opened(world, run="vop", gallery="videos"):
    return Gallery.open(world.indexes / gallery / "clip-tiny" / run / "0/index.h5")


@pytest.fixture
def counted(monkeypatch):
    """How many files were transcoded and how many videos and texts encoded since the last look."""
    numbers = {"transcoded": 0, "encoded": 0, "texts": 0}

    def transcoding(*args, **kwargs):
        numbers["transcoded"] += 1
        return transcode(*args, **kwargs)

    videos, texts = Encoder.videos, Encoder.texts

    def encoding(self, name, frames, mask):
        numbers["encoded"] += len(frames)
        return videos(self, name, frames, mask)

    def saying(self, name, said):
        numbers["texts"] += len(said)
        return texts(self, name, said)

    monkeypatch.setattr(folder, "transcode", transcoding)
    monkeypatch.setattr(Encoder, "videos", encoding)
    monkeypatch.setattr(Encoder, "texts", saying)

    def look():
        found = tuple(numbers.values())
        numbers.update(dict.fromkeys(numbers, 0))
        return found

    return look


def content(world, run="vop"):
    """Video id -> its vectors, bit for bit."""
    gallery = opened(world, run)
    encoded = [gallery.encoded(row) for row in range(len(gallery))]
    return {name: (e.frames.tobytes(), e.video.tobytes()) for name, e in zip(gallery.videos["video_id"], encoded, strict=True)}


def test_a_folder_has_its_videos_with_times_paths_and_hashes(indexed):
    gallery = opened(indexed)
    names = [path.relative_to(indexed.videos).as_posix() for path in indexed.videos.rglob("*.*")]
    assert gallery.videos["video_id"].tolist() == sorted(names)
    assert gallery.videos["source"].tolist() == [f"videos/{name}" for name in sorted(names)]
    assert all(gallery.clip(row).is_file() for row in range(len(gallery)))
    assert gallery.about["source"] == "videos" and gallery.about["skipped"] == [] == gallery.about["degraded"]
    assert gallery.videos["duration"].between(1.4, 2.4).all()


def test_the_vectors_are_those_of_the_same_file_on_the_way_of_the_pipeline(indexed):
    gallery = opened(indexed, "mv_adapter")
    encoder = Encoder(Backbone("clip-tiny", str(indexed.weights)), device=torch.device("cpu"))
    encoder.add("a", indexed.home / indexed.adapter("mv_adapter"))
    for row, source in enumerate(gallery.videos["source"]):
        frames, mask, _ = read_video(indexed.home / source, clips=encoder.shape("a").clips, frames=encoder.shape("a").frames)
        made = encoder.videos("a", torch.from_numpy(frames)[None], torch.tensor([mask]))
        np.testing.assert_allclose(gallery.encoded(row).video, made.video, atol=1e-6)


def test_nothing_is_done_twice_and_several_adapters_share_the_clips(world, counted):
    world.index("--folder", "videos", runs=("vop", "mv_adapter"))
    assert counted() == (7, 14, 0)
    before = content(world)
    world.index("--folder", "videos", runs=("vop", "mv_adapter"))
    assert counted() == (0, 0, 0)
    world.index("--folder", "videos", runs=("zero_shot",))
    assert counted() == (0, 7, 0)
    assert content(world) == before


def test_only_what_is_new_or_changed_is_done_and_what_is_gone_disappears(world, counted):
    world.index()
    before, clips = content(world), set((world.indexes / "videos/clips").glob("*.mp4"))
    counted()
    make_video(world.videos / "new.mp4", 20)
    world.index()
    assert counted() == (1, 1, 0) and {name: content(world)[name] for name in before} == before
    shutil.copy(world.videos / "new.mp4", world.videos / "video 0.mp4")  # another content under an old name
    world.index()
    assert counted() == (0, 0, 0)
    assert content(world)["video 0.mp4"] == content(world)["new.mp4"] != before["video 0.mp4"]
    (world.videos / "new.mp4").unlink()
    make_video(world.videos / "video 0.mp4", 0)  # the same bytes as at first, whose clip is gone by now
    world.index()
    assert content(world) == before and counted() == (1, 1, 0)
    assert set((world.indexes / "videos/clips").glob("*.mp4")) == clips


def test_a_folder_is_the_same_however_it_is_written(world, counted):
    world.index()
    counted()
    for written in ("./videos/", "../home/videos", str(world.videos), "videos/sub/.."):
        world.index("--folder", written, "--name", "videos")
        assert counted() == (0, 0, 0) and opened(world).about["source"] == "videos"
        assert opened(world).videos["source"][0].startswith("videos/")


def test_a_renamed_file_changes_a_row_and_a_copy_adds_one(world, counted):
    world.index()
    before = content(world)
    counted()
    (world.videos / "video 0.mp4").rename(world.videos / "sub/other.mp4")
    shutil.copy(world.videos / "sub/other.mp4", world.videos / "copy.mp4")
    world.index()
    assert counted() == (0, 0, 0)
    after = content(world)
    assert after.keys() == before.keys() - {"video 0.mp4"} | {"sub/other.mp4", "copy.mp4"}
    assert after["copy.mp4"] == after["sub/other.mp4"] == before["video 0.mp4"]


def test_the_same_video_in_two_places_is_encoded_once(world, counted):
    shutil.copytree(world.videos / "sub", world.videos / "again")
    world.index()
    assert counted() == (7, 7, 0)
    gallery = opened(world)
    assert len(gallery) == 10
    twins = gallery.videos.index[gallery.videos["video_id"].str.endswith("video 1.webm")].tolist()
    assert gallery.by_video(twins[0], 1)[0].row == twins[1]
    assert gallery.scores(np.ones(128, np.float32))[twins[0]] == gallery.scores(np.ones(128, np.float32))[twins[1]]


@pytest.mark.parametrize("what", ["adapter", "backbone", "shape", "format", "damage"])
def test_what_belongs_to_something_else_is_encoded_anew_and_said(world, counted, capsys, what):
    world.index()
    counted()
    path, place = world.home / world.adapter("vop"), world.indexes / "videos/clip-tiny/vop/0/index.h5"
    if what == "adapter":
        write_adapter(path, world.weights, "vop", seed=9)
        message = "the adapter changed; all is encoded anew"
    elif what == "backbone":
        write_backbone(world.weights, seed=5)
        write_adapter(path, world.weights, "vop")
        message = "the adapter and the backbone changed; all is encoded anew"
    elif what == "shape":
        write_adapter(path, world.weights, "vop", shape=SHAPE | {"words": 10})
        message = "the shape of videos and texts changed; all is encoded anew"
    elif what == "format":
        with h5py.File(place, "r+") as file:
            values = np.frombuffer(bytes(file["about"][:]).replace(b'"format": 1', b'"format": 0'), np.uint8)
            del file["about"]
            file["about"] = values
        message = "it is no index of format 1; delete it and index again; all is encoded anew"
    else:
        place.write_bytes(place.read_bytes()[:5000])
        message = "cannot be used: .*all is encoded anew"
    capsys.readouterr()
    world.index()
    assert counted() == (0, 7, 0)
    assert re.search(message, capsys.readouterr().err)
    world.index()
    assert counted() == (0, 0, 0)


def test_a_damaged_index_of_another_adapter_stops_nothing_and_keeps_its_clips(world):
    world.index(runs=("vop", "zero_shot"))
    damaged = world.indexes / "videos/clip-tiny/zero_shot/0/index.h5"
    damaged.write_bytes(damaged.read_bytes()[:5000])
    for path in (world.videos / "sub").iterdir():
        path.unlink()
    world.index()
    assert len(opened(world)) == 4 and len(list((world.indexes / "videos/clips").rglob("*.mp4"))) == 7
    world.index(runs=("vop", "zero_shot"))
    assert len(opened(world, "zero_shot")) == 4 and len(list((world.indexes / "videos/clips").rglob("*.mp4"))) == 4


def test_texts_stay_until_others_are_given_and_are_encoded_once(world, counted):
    texts = world.home / "texts.txt"
    texts.write_text("\ufeffa red star\n\n  a blue circle  \na red star\n", encoding="utf-8")
    world.index("--folder", "videos", "--texts", "texts.txt")
    assert counted() == (7, 7, 2)
    assert opened(world).captions["text"].tolist() == ["a red star", "a blue circle", "a red star"]
    world.index()
    assert counted() == (0, 0, 0) and len(opened(world).captions) == 3
    texts.write_text("a blue circle\na green one\n")
    world.index("--folder", "videos", "--texts", "texts.txt")
    assert counted() == (0, 0, 1) and opened(world).captions["text"].tolist() == ["a blue circle", "a green one"]
    texts.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="texts.txt is not UTF-8 text"):
        world.index("--folder", "videos", "--texts", "texts.txt")
    texts.write_text("")
    world.index("--folder", "videos", "--texts", "texts.txt")
    assert len(opened(world).captions) == 0


def test_hostile_files_are_listed_with_reasons_and_nothing_is_followed_out(world, capsys, tmp_path):
    videos = world.videos
    (videos / "garbage.mp4").write_bytes(os.urandom(3000))
    (videos / "empty.mp4").touch()
    (videos / "playlist.mp4").write_text("#EXTM3U\nfile:///etc/passwd\n")
    (videos / "concat.mp4").write_text("ffconcat version 1.0\nfile '/etc/passwd'\n")
    (videos / "gone.mp4").symlink_to("/nowhere/a.mp4")
    (videos / "loop").symlink_to(videos)
    os.mkfifo(videos / "pipe.mp4")
    whole = (videos / "video 0.mp4").read_bytes()
    (videos / "cut.avi").write_bytes((videos / "video 2.avi").read_bytes()[:-2000])
    odd = ["two\nlines.mp4", "-dash.mp4", "http:a.mp4", "Ünï 💃.mp4", "..mp4", "a'b\"c.mp4", "x" * 240 + ".mp4"]
    names = [os.fsencode(name) for name in odd] + [b"\xff\xfe.mp4", b"\\xff\\xfe.mp4"]
    for name in names:
        Path(os.fsdecode(os.fsencode(videos) + b"/" + name)).write_bytes(whole)
    outside = make_video(tmp_path / "outside.mp4", 30)
    (videos / "link.mp4").symlink_to(outside)
    (videos / "notes.txt").write_text("no video")
    (videos / ".hidden.mp4").write_bytes(whole)
    world.index()
    gallery = opened(world)
    skipped = {row["file"]: row["reason"] for row in gallery.about["skipped"]}
    assert skipped.keys() == {"garbage.mp4", "empty.mp4", "playlist.mp4", "concat.mp4", "gone.mp4", "loop", "pipe.mp4"}
    assert (
        "link to a folder" in skipped["loop"] and "no regular file" in skipped["pipe.mp4"] and skipped["empty.mp4"] == "the file is empty"
    )
    assert [row["file"] for row in gallery.about["degraded"]] == ["cut.avi"]
    said = capsys.readouterr().out
    assert all(repr(name) in said for name in skipped)
    ids = gallery.videos["video_id"]
    assert ids.is_unique and len(ids) == 7 + 1 + 1 + len(names) - 1  # "..mp4" is hidden
    assert {"two\nlines.mp4", "\\xff\\xfe.mp4", "link.mp4"} < {*ids}
    assert all(gallery.clip(row).is_file() for row in range(len(gallery)))


def test_what_cannot_be_decoded_is_not_tried_again_until_it_changes(world, counted):
    (world.videos / "bad.mp4").write_bytes(b"garbage")
    world.index()
    assert counted()[0] == 8
    world.index()
    assert counted()[0] == 0 and [row["file"] for row in opened(world).about["skipped"]] == ["bad.mp4"]
    make_video(world.videos / "bad.mp4", 21)
    world.index()
    assert counted() == (1, 1, 0) and opened(world).about["skipped"] == []


def test_a_folder_without_a_video_leaves_the_old_index(world):
    world.index()
    before = content(world)
    for path in world.videos.rglob("*.*"):
        path.unlink()
    with pytest.raises(ValueError, match="videos holds no video that can be read"):
        world.index()
    (world.videos / "bad.mp4").touch()
    with pytest.raises(ValueError, match=r"no video that can be read \(1 files were skipped; 'bad.mp4': the file is empty\)"):
        world.index()
    assert content(world) == before


def test_a_file_that_changes_while_it_is_read_is_skipped(world, monkeypatch):
    def changing(source, target, **kwargs):
        if source.name == "video 0.mp4":
            source.write_bytes(source.read_bytes() + b"more")
        return transcode(source, target, **kwargs)

    monkeypatch.setattr(folder, "transcode", changing)
    world.index()
    assert opened(world).about["skipped"][0]["reason"] == "it changed while it was read; index again"
    monkeypatch.undo()
    world.index()
    assert len(opened(world)) == 7 and opened(world).about["skipped"] == []


def test_a_build_that_fails_goes_on_after_its_last_batch(world, counted, monkeypatch):
    monkeypatch.setattr(build, "cut", lambda rows: [rows[start : start + 2] for start in range(0, len(rows), 2)])
    videos, calls = Encoder.videos, []

    def failing(self, name, frames, mask):
        calls.append(len(frames))
        if len(calls) == 3:
            raise OSError("the machine is on fire")
        return videos(self, name, frames, mask)

    with monkeypatch.context() as patch:
        patch.setattr(Encoder, "videos", failing)
        with pytest.raises(OSError, match="on fire"):
            world.index()
    assert not (world.indexes / "videos/clip-tiny/vop/0/index.h5").exists()
    counted()
    world.index()
    assert counted() == (0, 3, 0)
    assert not (world.indexes / "videos/clip-tiny/vop/0/.parts").exists()
    pieces = content(world)
    shutil.rmtree(world.indexes)
    monkeypatch.undo()
    world.index()
    whole = content(world)
    for name in whole:
        np.testing.assert_allclose(*(np.frombuffer(of[name][1], np.float32) for of in (pieces, whole)), atol=1e-6)


def test_parts_of_another_adapter_are_not_taken(world, monkeypatch):
    monkeypatch.setattr(build._Build, "_texts", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        world.index()
    monkeypatch.undo()
    assert len(list((world.indexes / "videos/clip-tiny/vop/0/.parts").iterdir())) == 1
    write_adapter(world.home / world.adapter("vop"), world.weights, "vop", seed=9)
    world.index()
    first = content(world)
    shutil.rmtree(world.indexes)
    world.index()
    assert content(world) == first


def test_an_adapter_that_gives_no_numbers_is_refused_and_the_video_named(world, monkeypatch):
    videos = Encoder.videos

    def broken(self, name, frames, mask):
        made = videos(self, name, frames, mask)
        made.frames[2] = np.nan
        return made

    monkeypatch.setattr(Encoder, "videos", broken)
    with pytest.raises(ValueError, match="adapter.safetensors gives no numbers for video 'sub/video 5.mp4'"):
        world.index()


def test_pictures_that_move_are_indexed_and_others_are_listed(made, tmp_path):
    world = made.copy(tmp_path / "home")
    shutil.rmtree(world.videos)
    world.videos.mkdir()
    for name, codec in (("a.gif", "gif"), ("B.WEBP", "libwebp_anim"), ("c.png", "apng"), ("film.mp4", "libx264")):
        form = ("-f", "apng") if codec == "apng" else ("-f", "webp") if codec == "libwebp_anim" else ()
        run("-f", "lavfi", "-i", "testsrc2=s=96x72:r=8:d=1", "-c:v", codec, *form, world.videos / name)
    for name in ("photo.JPG", "still.gif", "still.webp", "still.png"):
        run("-f", "lavfi", "-i", "testsrc2=s=96x72:r=8:d=1", "-frames:v", "1", world.videos / name)
    (world.videos / "words.txt").write_text("no video by its name")
    world.index()
    found = opened(world)
    assert found.videos["video_id"].tolist() == ["B.WEBP", "a.gif", "c.png", "film.mp4"]
    assert {row["file"]: row["reason"] for row in found.about["skipped"]} == {
        "photo.JPG": "the file is a still picture (JPEG), and no video",
        "still.gif": "the file is a still picture (GIF), and no video",
        "still.png": "the file is a still picture (PNG), and no video",
        "still.webp": "the file is a still picture (WebP), and no video",
    }


def test_a_moment_is_a_players_time_where_the_first_picture_comes_late(made, tmp_path):
    world = made.copy(tmp_path / "home")
    plain = next(world.videos.glob("*.mp4"))
    sound = ("-f", "lavfi", "-i", "sine=d=5", "-map", "0:v", "-map", "1:a", "-c:v", "copy", "-c:a", "aac")
    run("-itsoffset", "2.2", "-i", plain, *sound, world.videos / "late.mp4")
    world.index()
    found = opened(world)
    rows = found.videos.set_index("video_id")
    assert rows.loc["late.mp4", "start"] == pytest.approx(2.2, abs=0.03) and rows.loc[plain.name, "start"] == 0
    # The clip is the same, so its vectors are not computed again.
    assert rows.loc["late.mp4", "clip_sha256"] == rows.loc[plain.name, "clip_sha256"]


def test_a_note_that_does_not_say_when_its_clip_begins_is_made_again(world, counted):
    world.index()
    counted()
    note = sorted((world.indexes / "videos/clips").glob("*.json"))[0]
    write_json(note, {key: value for key, value in read_json(note).items() if key != "out_start"})
    world.index()
    assert counted()[0] == 1 and read_json(note)["out_start"] == 0.0


def test_a_dataset_of_an_earlier_version_is_refused_with_what_to_do(dataset, tmp_path):
    world = dataset.copy(tmp_path / "home")
    table = world.home / "work/toy/test/videos.parquet"
    pd.read_parquet(table).drop(columns="out_start").to_parquet(table)
    with pytest.raises(ValueError, match="earlier version; make it again with snakemake --cores all work/toy/test/videos.parquet"):
        world.index("--dataset", "toy")


def test_a_dataset_is_the_clips_and_captions_of_its_split(dataset, tmp_path, counted):
    world = dataset.copy(tmp_path / "home")
    world.index("--dataset", "toy")
    gallery = opened(world, gallery="toy")
    assert counted() == (0, 7, 14)
    assert gallery.videos["video_id"].tolist() == [f"v{number}" for number in range(7)]
    assert gallery.videos["start"].tolist() == [0, 0, 0.5, 0, 0, 0, 0]
    assert gallery.videos["title"].tolist() == [f"caption 0 of {number}" for number in range(7)]
    assert gallery.captions["row"].tolist() == [number for number in range(7) for _ in range(2)]
    assert gallery.clip(3) == world.home / "data/toy/clips/000/v3.mp4"
    assert gallery.about["source"] == "toy/test"
    assert read_json(gallery.path.with_name("made.json"))["encoded"] == 7
    world.index("--dataset", "toy")
    assert counted() == (0, 0, 0)
    clip = world.home / "data/toy/clips/000/v3.mp4"
    clip.write_bytes(clip.read_bytes() + b"x")
    with pytest.raises(ValueError, match="v3.mp4 is not the clip that .*videos.parquet lists"):
        world.index("--dataset", "toy")
    clip.unlink()
    with pytest.raises(ValueError, match="there is no .*v3.mp4, which"):
        world.index("--dataset", "toy")


def test_plain_clip_needs_no_adapter(world, counted):
    world.index("--folder", "videos", runs=())
    adapter = world.indexes / "videos/clip-tiny/zero_shot/0/adapter.safetensors"
    first = adapter.read_bytes()
    counted()
    world.index("--folder", "videos", runs=())
    assert adapter.read_bytes() == first and counted() == (0, 0, 0)


def test_files_that_were_skipped_for_one_reason_are_counted(tmp_path, capsys):
    still = [{"file": f"{n:05d}.jpg", "reason": "the file is a still picture (JPEG), and no video"} for n in range(10_000)]
    odd = [{"file": f"{n}.mp4", "reason": f"it is odd by {n}"} for n in range(30)]
    found = SimpleNamespace(skipped=[*still[:5], *odd, *still[5:]], degraded=[{"file": "a\nb.mp4", "reason": "it was cut off"}])
    _tell(tmp_path / "index.h5", build.Made(0, 7, 7, 0, {"kind": "exact"}), found)
    _, first, *others, last, whole = capsys.readouterr().out.splitlines()
    named = "'00000.jpg', '00001.jpg', '00002.jpg' and 9997 more"
    assert first == f"  skipped: {named}: the file is a still picture (JPEG), and no video"
    assert others == [f"  skipped: '{n}.mp4': it is odd by {n}" for n in range(19)]
    assert (last, whole) == ("  skipped: 11 more, for other reasons", "  not whole: 'a\\nb.mp4': it was cut off")
