"""A purge that touches, `cp -r` and rsync without -t give everything new times: nothing is made again, and what really changed is."""

import subprocess

from tests.workflow.conftest import Checkout

PURGE = "find data work -type f -exec touch {} +"


def test_a_purge_that_touches_everything_runs_nothing(checkout):
    checkout.does(PURGE)
    assert checkout.planned() == {}
    assert checkout.planned("--profile", "slurm") == {}
    checkout.does("find . -exec touch -h {} +")
    assert checkout.planned() == {}


def test_a_purge_may_touch_the_benchmark_of_a_job_before_its_input(checkout):
    for path in ("logs", "data/motion/raw", "data/motion/raw.sha256"):
        checkout.does(f"find {path} -exec touch -h {{}} + && sleep 0.02")
    assert checkout.planned() == {}


def test_a_copy_without_times_has_nothing_to_do(finished, tmp_path):
    subprocess.run(["cp", "-r", finished.folder, tmp_path / "copy"], check=True)
    assert Checkout(tmp_path / "copy").planned() == {}


def test_another_raw_file_makes_again_what_hangs_on_it_and_what_gets_the_same_bytes_ends_there(checkout):
    video = next((checkout.folder / "data/motion/raw/videos").iterdir())
    content = video.read_bytes()
    video.unlink()  # the copy may be a link
    video.write_bytes(content + b"\0")
    planned = checkout.planned()
    assert planned["checksums"] == planned["annotate"] == 1 and planned["transcode"] == 2 and planned["train"] == 4
    said = checkout.snakemake("-n").output
    assert f"1 files, data/motion/raw/videos/{video.name} first" in " ".join(said.split())
    video.write_bytes(content)
    assert checkout.planned() == {}


def test_a_video_less_is_seen(checkout):
    next((checkout.folder / "data/motion/raw/videos").iterdir()).unlink()
    assert checkout.planned()["checksums"] == 1


def test_clips_that_are_transcoded_again_with_another_result_are_sampled_again(checkout):
    checkout.edit("params.yaml", lambda text: text.replace("short_side: 96", "short_side: 80"))
    done = checkout.snakemake("--", "data/motion/clips/000", "data/motion/clips/001")
    assert done.returncode == 0, done.output
    assert checkout.planned()["frames"] == 3
