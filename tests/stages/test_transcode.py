"""Rule transcode: one shard of videos with and without files, stopped and continued."""

import json
import math
import re
import shutil
import subprocess
import sys

import imageio_ffmpeg
import pandas as pd
import pytest

from pipeline.datasets.fetch import http
from pipeline.stages import transcode as stage
from pipeline.video.transcode import COLUMNS
from tests.datasets.fetch.server import offer, say, serving


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("source") / "video.mp4"
    source = ("-f", "lavfi", "-i", "testsrc2=s=96x72:r=25:d=3")
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *source, "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"]
    subprocess.run([*command, str(path)], check=True)
    return path


def row(video_id, src_path="", fetch_url="", *, start=math.nan, end=math.nan, excluded=""):
    return dict(zip(stage.READ, (video_id, src_path, fetch_url, start, end, excluded), strict=True))


def shard(folder, rows, monkeypatch, *, number=0, size=9, fps=3):
    pd.DataFrame(rows).to_parquet(folder / "videos.parquet")
    settings = json.dumps({"short_side": 64, "fps": fps, "crf": 20, "shard": size})
    places = ["--dataset", "lsmdc", "--videos", "videos.parquet", "--raw", "raw", "--clips", f"clips/{number:03}"]
    monkeypatch.chdir(folder)
    options = [
        "--report",
        f"shards/{number}.parquet",
        "--shard",
        str(number),
        "--settings",
        settings,
        "--kept",
        f"kept/{number:03}",
    ]
    monkeypatch.setattr(sys, "argv", ["x", *places, *options])
    stage.main()
    return pd.read_parquet(folder / f"shards/{number}.parquet")


@pytest.fixture
def place(video, tmp_path):
    (tmp_path / "raw" / "sub").mkdir(parents=True)
    shutil.copy(video, tmp_path / "raw" / "sub" / "a.mp4")
    return tmp_path


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """No waiting between attempts."""
    fetch = http.fetch
    monkeypatch.setattr(http, "fetch", lambda *a, **k: fetch(*a, **k, attempts=2, pause=0.01))


def test_a_shard_takes_its_block_of_rows_and_reports_each(place, monkeypatch, capsys):
    rows = [row("-a", "sub/a.mp4"), row("b", "b.mp4"), row("c", "c.mp4")]
    report = shard(place, rows, monkeypatch, size=2)
    assert report.columns.tolist() == list(COLUMNS)
    assert report["video_id"].tolist() == ["-a", "b"]
    assert report["status"].tolist() == ["ok", "missing"]
    assert report["out_path"].tolist() == ["000/-a.mp4", ""]
    assert [p.name for p in (place / "clips").iterdir()] == ["000"]
    assert [p.name for p in (place / "clips" / "000").iterdir()] == ["-a.mp4"]
    first, last = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"transcode: 1 of 2, \d\d:\d\d left", first) and last == "transcode: 2 of 2"
    first = (place / "shards/0.parquet").read_bytes()
    shard(place, rows, monkeypatch, size=2)
    assert (place / "shards/0.parquet").read_bytes() == first
    assert shard(place, rows, monkeypatch, size=2, number=1)["video_id"].tolist() == ["c"]
    assert len(shard(place, rows, monkeypatch, size=2, number=2)) == 0


def test_parts_of_a_video_are_clips_of_their_own_and_an_excluded_one_is_not_touched(place, monkeypatch):
    rows = [row("first", "sub/a.mp4", end=1.0), row("rest", "sub/a.mp4", start=1.0), row("no", "sub/a.mp4", excluded="black")]
    report = shard(place, rows, monkeypatch)
    assert report["out_frames"].tolist()[:2] == [3, 6]
    assert report["status"].tolist() == ["ok", "ok", "excluded"] and report["reason"].tolist()[2] == "black"
    assert sorted(p.name for p in (place / "clips/000").iterdir()) == ["first.mp4", "rest.mp4"]


def test_a_video_without_a_file_is_fetched_and_deleted_after_its_clip_is_made(place, video, monkeypatch):
    with serving() as server:
        server.answers = [offer(video.read_bytes()), say(404), offer(video.read_bytes())]
        rows = [
            row("a", fetch_url=server.url("/x/a.avi")),
            row("gone", fetch_url=server.url("/x/gone.avi")),
            row("c", fetch_url=server.url("/x/c.avi")),
        ]
        report = shard(place, rows, monkeypatch)
    assert report["status"].tolist() == ["ok", "missing", "ok"]
    assert "404" in report["reason"].tolist()[1]
    assert sorted(p.name for p in (place / "clips/000").iterdir()) == ["a.mp4", "c.mp4"]
    assert sorted(p.name for p in place.iterdir()) == ["clips", "kept", "raw", "shards", "videos.parquet"]


def test_a_server_that_cannot_be_reached_stops_the_shard_which_goes_on_after_its_last_clip(place, video, monkeypatch):
    with serving() as server:
        rows = [row("a", fetch_url=server.url("/a.avi")), row("b", fetch_url=server.url("/b.avi"))]
        server.answers = [offer(video.read_bytes()), say(503)]
        with pytest.raises(http.Unreachable):
            shard(place, rows, monkeypatch)
        assert not (place / "clips/000").exists() and not (place / "shards/0.parquet").exists()
        asked = len(server.log)
        server.answers = [offer(video.read_bytes())]
        report = shard(place, rows, monkeypatch)
        assert [path for path, _ in server.log[asked:]] == ["/b.avi"]
    assert report["status"].tolist() == ["ok", "ok"]
    assert sorted(p.name for p in (place / "clips").rglob("*")) == ["000", "a.mp4", "b.mp4"]


def test_a_finished_shard_that_runs_again_makes_what_has_changed_only(place, video, monkeypatch):
    with serving() as server:
        server.answers = [offer(video.read_bytes())]
        rows = [row("a", "sub/a.mp4"), row("b", fetch_url=server.url("/b.avi")), row("gone", "gone.mp4")]
        first = shard(place, rows, monkeypatch)
        shutil.rmtree(place / "clips")  # as Snakemake does before a job
        shutil.copy(video, place / "raw" / "gone.mp4")
        second = shard(place, [*rows, row("c", "sub/a.mp4", end=1.0)], monkeypatch)
        assert len(server.log) == 1
    assert second["out_sha256"].tolist()[:2] == first["out_sha256"].tolist()[:2]
    assert second["status"].tolist() == ["ok"] * 4
    assert sorted(p.name for p in (place / "clips/000").iterdir()) == ["a.mp4", "b.mp4", "c.mp4", "gone.mp4"]


@pytest.mark.parametrize("change", ["settings", "file", "part"])
def test_what_is_no_longer_the_same_is_done_again(place, video, monkeypatch, change):
    with serving() as server:
        server.answers = [say(503)]
        url = server.url("/b.avi")
        with pytest.raises(http.Unreachable):
            shard(place, [row("a", "sub/a.mp4"), row("b", fetch_url=url)], monkeypatch)
        server.answers = [offer(video.read_bytes())]
        half = place / "raw/sub/a.mp4"
        if change == "file":
            source = ("-f", "lavfi", "-i", "testsrc2=s=96x72:r=25:d=1")
            command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *source, "-c:v", "libx264", "-preset", "ultrafast", str(half)]
            subprocess.run(command, check=True)
        rows = [row("a", "sub/a.mp4", end=1.0 if change == "part" else math.nan), row("b", fetch_url=url)]
        report = shard(place, rows, monkeypatch, fps=6 if change == "settings" else 3)
    assert report["out_frames"].tolist()[0] == {"settings": 18, "file": 3, "part": 3}[change]
    assert report["recipe"].nunique() == 1


@pytest.mark.parametrize(
    ("video_id", "src_path"),
    [("a", "../a.mp4"), ("a", "/etc/passwd"), ("../a", "a.mp4"), ("", "a.mp4")],
)
def test_a_name_that_leaves_its_folder_is_refused(tmp_path, monkeypatch, video_id, src_path):
    with pytest.raises(ValueError, match=r"videos\.parquet: "):
        shard(tmp_path, [row(video_id, src_path)], monkeypatch)
    assert not (tmp_path / "clips").exists()
