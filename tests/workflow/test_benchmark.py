"""A benchmark by its word: small annotations in its format and a few videos under its names, up to the splits and the card."""

import json
import subprocess

import imageio_ffmpeg
import pandas as pd
import pytest

SPLIT = {f"video{n}": "train" if n < 6 else "validate" if n < 8 else "test" for n in range(12)}
ENTRY = """
  MSR-VTT:
    protocol: clip4clip
    counts: report
    videos: vids
    annotations: ann
    exclude: left-out.tsv
    missing: {train: 0.2}
    clips: {short_side: 96, shard: 10000}
"""


@pytest.fixture(scope="module")
def benchmark(finished, tmp_path_factory):
    checkout = finished.copy(tmp_path_factory.mktemp("benchmark") / "copy")
    (checkout.folder / "ann").mkdir()
    videos = [{"video_id": v, "split": s, "url": f"https://y/{v[-1]}", "start time": 0, "end time": 2.0} for v, s in SPLIT.items()]
    rows = [{"video_id": v, "caption": f"{v} does {k}", "sen_id": 20 * n + k} for n, v in enumerate(SPLIT) for k in range(20)]
    (checkout.folder / "ann/MSRVTT_data.json").write_text(json.dumps({"videos": videos, "sentences": rows}))
    tested = "".join(f"ret{n},msr{n},video{n},thing {n}\n" for n in range(8, 12))
    (checkout.folder / "ann/MSRVTT_JSFUSION_test.csv").write_text(f"key,vid_key,video_id,sentence\n{tested}")
    (checkout.folder / "left-out.tsv").write_text("video_id\treason\nvideo11\tblack\n")
    (checkout.folder / "vids/deep").mkdir(parents=True)
    for n, name in enumerate(SPLIT):
        if name != "video3":
            source = ("-f", "lavfi", "-i", f"testsrc2=s=160x120:r=10:d=2,hue=h={30 * n}", "-c:v", "libx264", "-preset", "ultrafast")
            target = checkout.folder / f"vids/{'deep/' if n % 3 else ''}{name}.{'mp4' if n % 2 else 'mkv'}"
            subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *source, "-pix_fmt", "yuv420p", str(target)], check=True)
    checkout.edit(
        "params.yaml",
        # 32 words and VoP's prompts do not fit clip-tiny's 32 tokens, which would stop a plan that asks for it.
        lambda text: (
            text.replace("datasets: [motion]", "datasets: [MSR-VTT]")
            .replace("vop, mv_adapter]", "mv_adapter]")
            .replace("\ndatasets:\n", f"\ndatasets:{ENTRY}")
        ),
    )
    done = checkout.snakemake("results/msrvtt/card.md")
    assert done.returncode == 0, done.output
    return checkout


def test_each_split_has_its_videos_wherever_their_files_lie(benchmark):
    found = {s: list(pd.read_parquet(benchmark.folder / f"work/msrvtt/{s}/videos.parquet")["video_id"]) for s in ("train", "val", "test")}
    names = list(SPLIT)
    assert found == {"train": [*names[:3], *names[4:8]], "val": names[6:8], "test": names[8:11]}
    captions = pd.read_parquet(benchmark.folder / "work/msrvtt/test/captions.parquet")
    assert list(captions["text"]) == ["thing 8", "thing 9", "thing 10"]


def test_what_is_missing_or_left_out_is_a_row_with_its_reason(benchmark):
    lost = pd.read_csv(benchmark.folder / "work/msrvtt/missing.tsv", sep="\t").set_index("video_id")
    assert lost["status"].to_dict() == {"video11": "excluded", "video3": "missing"}
    assert lost.loc["video11", "reason"] == "black"
    log = (benchmark.folder / "logs/splits/msrvtt.log").read_text()
    assert "val video video3 is missing: " in log or "train video video3 is missing: " in log
    assert "datasets.msrvtt.exclude: 1, each of them in " in log and "video11" not in log, "what was left out on purpose is counted"


def test_the_card_tells_other_counts_and_the_protocol(benchmark):
    card = (benchmark.folder / "results/msrvtt/card.md").read_text()
    for said in (
        "# MSR-VTT",
        "train has 8 videos, and 9000 were published",
        "are trained on as well",
        "| protocol | clip4clip |",
        "clips.pixels",
    ):
        assert said in card


def test_other_words_do_not_read_the_annotations_again(benchmark):
    benchmark.edit("params.yaml", lambda text: text.replace("protocol: clip4clip\n", "protocol: clip4clip\n    words: 20\n"))
    assert set(benchmark.planned("--", "results/msrvtt/card.md")) == {"card"}
