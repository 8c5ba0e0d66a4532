"""A video file alone gives the frames that the rules transcode and frames make of it."""

import json
import sys
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest

from pipeline.config.dataset import Clips, Dataset, Frames, Motion
from pipeline.config.resolve import download
from pipeline.config.schema import Params
from pipeline.datasets import motion
from pipeline.inputs.frames import FrameStore
from pipeline.motion import files, scene
from pipeline.stages import frames as frames_stage
from pipeline.stages import transcode as transcode_stage
from pipeline.video.files import read_video

CLIPS = Clips(short_side=96, fps=6)


def call(monkeypatch, stage, **options):
    words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
    monkeypatch.setattr(sys, "argv", ["stage", *words])
    stage.main()


@pytest.mark.parametrize("grid", ["centres", "clip4clip"])
def test_a_raw_file_of_the_embedded_dataset_gives_the_frames_of_the_rules_to_the_bit(tmp_path, monkeypatch, grid):
    raw = tmp_path / "raw"
    raw.mkdir()
    params = Params(motion=Motion(seed=3, train=2, val=1, test=12), datasets={"motion": Dataset()})
    motion.download(raw, download(params, "motion"), "motion")
    rows = json.loads((raw / "annotations.json").read_text())["videos"]
    assert {row["file"].rsplit(".", 1)[1] for row in rows} == {kind[0].removeprefix(".") for kind in files.KINDS.values()}
    videos = [
        {"video_id": row["id"], "src_path": f"videos/{row['file']}", "fetch_url": "", "start": np.nan, "end": np.nan, "excluded": ""}
        for row in rows
    ]
    pd.DataFrame(videos).to_parquet(tmp_path / "videos.parquet")
    options = {"videos": tmp_path / "videos.parquet", "raw": raw, "shard": 0, "kept": tmp_path / "kept"}
    options |= {"settings": json.dumps(asdict(CLIPS)), "clips": tmp_path / "clips/0", "report": tmp_path / "report.parquet"}
    call(monkeypatch, transcode_stage, dataset="motion", **options)
    settings = Frames(number=4, size=64, grid=grid)
    made = {"settings": json.dumps(asdict(settings)), "dataset": "motion", "split": "test", "out": tmp_path / "frames.h5"}
    call(monkeypatch, frames_stage, videos=tmp_path / "report.parquet", clips=tmp_path / "clips", **made)
    with FrameStore(tmp_path / "frames.h5") as store:
        seen, masks = store.batch(range(len(store)))
    assert len(seen) == len(videos) == 15
    for video, pictures, mask in zip(videos, seen, masks, strict=True):
        found, real, lack = read_video(raw / video["src_path"], clips=CLIPS, frames=settings)
        np.testing.assert_array_equal(found, pictures.numpy(), strict=True)
        assert (real, lack) == (mask.tolist(), "")


def test_a_file_that_is_not_there_or_no_video_is_one_sentence_with_its_name(tmp_path):
    (tmp_path / "a.mp4").write_text("not a video")
    for name, why in (("a.mp4", "is not a readable video file"), ("b.mp4", "there is no such file")):
        with pytest.raises(ValueError, match=f"{name}.*: .*{why}"):
            read_video(tmp_path / name, clips=CLIPS, frames=Frames())


def test_what_is_left_of_a_damaged_file_comes_with_what_it_lacks(tmp_path):
    form = files.Form("avi", 160, 120, 12, 2.0, 0)
    files.write(scene.Scene((scene.Thing("square", "blue", "big", "up", 0.3, 0.5),), ("light", 2)), tmp_path / "a.avi", form=form, seed=1)
    whole = (tmp_path / "a.avi").read_bytes()
    (tmp_path / "b.avi").write_bytes(whole[: len(whole) * 4 // 5])
    pictures, mask, lack = read_video(tmp_path / "b.avi", clips=CLIPS, frames=Frames(number=4, size=64))
    assert pictures.shape == (4, 3, 64, 64) and any(mask) and lack
