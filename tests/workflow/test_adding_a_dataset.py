"""docs/adding-a-dataset.md keeps its word: videos of one's own and its CSV file go through the whole workflow."""

import json
import re
import subprocess
from pathlib import Path

import imageio_ffmpeg
import pandas as pd
import pytest
import torch

from pipeline.adapters import checkpoint
from pipeline.clip import load_backbone
from pipeline.config.params import known_files, load_params
from pipeline.config.schema import Backbone, Score
from pipeline.datasets.own import table
from pipeline.evaluation import embed
from pipeline.evaluation.score import score
from pipeline.inputs.split import Files, open_split
from tests import pages
from tests.workflow.conftest import ROOT

PAGE = (ROOT / "docs/adding-a-dataset.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"^```\w+ ?(\S*)\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL))
(COMMAND,) = pages.commands("adding-a-dataset.md")["Your own videos"]
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
FILES = {
    "beach/dog on the beach.mp4": ("320x240", *H264),
    "beach/Möwe.webm": ("160x120", "-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"),
    "kitchen.mkv": ("240x320", *H264),
    "-first try.avi": ("176x144", "-c:v", "mpeg4"),
    "garden": ("200x150", *H264, "-f", "mp4"),
    "garden.mov": ("321x243", "-c:v", "mjpeg", "-pix_fmt", "yuvj444p"),
    "street.mp4": ("320x240", *H264),
    "street 2.mp4": ("320x180", *H264),
    "market.mp4": ("320x240", *H264),
    "harbour.mp4": ("320x240", *H264),
}


@pytest.fixture(scope="module")
def own(finished, tmp_path_factory):
    """A copy of the checkout in which a reader of the page has done what it says."""
    checkout = finished.copy(tmp_path_factory.mktemp("own") / "copy")
    for number, (name, (size, *encoding)) in enumerate(FILES.items()):
        target = checkout.folder / "my-videos" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        source = f"testsrc2=s={size}:r=12:d=3,hue=h={36 * number}"
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-f", "lavfi", "-i", source, *encoding, f"file:{target}"]
        subprocess.run(command, check=True)
    (checkout.folder / "captions.csv").write_text(BLOCKS["captions.csv"], encoding="utf-8")
    checkout.edit("params.yaml", lambda text: re.sub(r"\ndatasets:\n", f"\ndatasets:\n{BLOCKS['params.yaml']}", text))
    # What was trained on either is tested on the other, too.
    checkout.edit("params.yaml", lambda text: text.replace("datasets: [motion]", "datasets: [mine, motion]\n  transfer: [mine, motion]"))
    # Two methods are every method of this run: each costs three starts of torch.
    checkout.edit("params.yaml", lambda text: text.replace("[zero_shot, full_finetune, vop, mv_adapter]", "[zero_shot, vop]"))
    checkout.edit("params.yaml", lambda text: text.replace("method: mv_adapter", "method: vop"))
    checkout.edit("params.yaml", lambda text: text.replace("{bootstrap: 200}", "{bootstrap: 200, transductive: true}"))
    done = checkout.run(*COMMAND.split())
    assert done.returncode == 0, done.stdout + done.stderr
    return checkout


def test_every_video_and_part_of_the_page_is_a_clip_of_its_length(own):
    table = pd.read_parquet(own.folder / "data/mine/transcoded.parquet").set_index("src_path")
    assert set(table.index) == set(FILES) and len(table) == len(FILES) + 2
    assert table["status"].eq("ok").all(), table[["status", "reason"]]
    assert table.drop("kitchen.mkv")["out_frames"].eq(9).all()
    assert sorted(zip(table.loc["kitchen.mkv", "start"], table.loc["kitchen.mkv", "out_frames"], strict=True)) == [
        (0, 5),
        (0.5, 5),
        (1.5, 5),
    ]
    assert table.loc["kitchen.mkv", "split"].nunique() == 1
    assert table[["out_width", "out_height"]].min(axis=1).eq(96).all()


def test_the_splits_of_the_page_stand_and_every_caption_is_in_one(own):
    captions = {s: pd.read_parquet(own.folder / f"work/mine/{s}/captions.parquet") for s in ("train", "val", "test")}
    assert sum(map(len, captions.values())) == BLOCKS["captions.csv"].count("\n") - 1
    for split, text in (
        ("test", "a tram turns into a narrow street"),
        ("val", "a woman weighs apples"),
        ("train", "a crane lifts a container"),
    ):
        assert text in set(captions[split]["text"])
    assert "a brown dog, wet, at the sea" in set(pd.concat(captions.values())["text"])


def test_every_method_is_in_the_report_beside_the_dataset(own):
    page = (own.folder / "results/mine/report.html").read_text()
    assert all(method in page for method in ("zero_shot", "vop"))
    metrics = json.loads((own.folder / "runs/mine/clip-tiny/vop/0/metrics.json").read_text())
    assert metrics["gallery"] == json.loads((own.folder / "results/mine/card.json").read_text())["splits"]["test"]["videos"] >= 2
    assert metrics["probe"] is None
    assert (own.folder / "results/mine/card.md").read_text().startswith("# ")


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(("trained", "tested"), [("motion", "mine"), ("mine", "motion")])
def test_a_test_on_the_other_dataset_is_that_by_hand_and_in_the_matrix(own, trained, tested, monkeypatch):
    monkeypatch.chdir(own.folder)
    run, files = Path(f"runs/{trained}/clip-tiny/vop/0"), Path(f"work/{tested}/test")
    clip = load_backbone(Backbone(name="clip-tiny", weights="work/clip-tiny/weights.safetensors"))
    said = checkpoint.parts(checkpoint.read_header(run / "adapter.safetensors"), run)
    checkpoint.attach(clip, said, run / "adapter.safetensors")
    clips = Files(videos=files / "videos.parquet", captions=files / "captions.parquet", clips=Path(f"data/{tested}/clips"))
    made = embed.embed(clip, open_split(clips, clip=clip, shape=said.shape), device=torch.device("cpu"))
    by_hand = json.loads(json.dumps(score(made, settings=Score(bootstrap=200))))
    found = json.loads((run / f"transfer/{tested}.json").read_text())
    assert {key: found[key] for key in by_hand} == by_hand
    others = json.loads(Path(f"runs/{tested}/clip-tiny/vop/0/metrics.json").read_text())
    assert (found["gallery_hash"], found["missing_hash"]) == (others["gallery_hash"], others["missing_hash"])
    assert json.loads(Path(f"metrics/{trained}/vop.json").read_text())["transfer"][tested]["t2v"]["R1"] == found["t2v"]["R1"]
    table = Path("results/mine/table.md").read_text()
    row = next(line for line in table.splitlines() if line.startswith(f"| vop | {trained} |"))
    assert f"| {found['t2v']['R1']:.1f} (" in row and "## Transfer: text to video R@1" in table


def test_what_training_has_seen_of_the_other_dataset_is_on_the_card(own):
    assert "**Tested on motion.** 0 of 14 test videos are also in train or val here" in (own.folder / "results/mine/card.md").read_text()
    assert (own.folder / "work/mine/seen/motion.tsv").read_text() == "video_id\treason\n"


def test_transductive_scores_have_a_section_of_their_own_and_the_main_table_has_none(own):
    table, page = (own.folder / "results/mine" / name for name in ("table.md", "report.html"))
    main, section = table.read_text().split("## Transductive scores")
    assert all(f"| {run} | querybank | a bank of training captions |" in section for run in ("zero_shot", "vop"))
    assert "querybank" not in main and ">Transductive scores</h2>" in page.read_text()
    found = json.loads((own.folder / "runs/mine/clip-tiny/vop/0/transductive.json").read_text())["scores"]
    metrics = json.loads((own.folder / "runs/mine/clip-tiny/vop/0/metrics.json").read_text())
    assert found["plain"]["R1"] == metrics["t2v"]["R1"] and "transductive" not in metrics["score"]


def test_nothing_is_left_to_do_and_only_what_is_replaced_is_transcoded_again(own):
    assert own.planned("--", COMMAND.split()[-1]) == {}
    clips = own.folder / "data/mine/clips/000"
    before = {path.name: path.stat().st_ino for path in clips.glob("*.mp4")}
    own.does("find . -exec touch -h {} +")
    assert own.planned("--", COMMAND.split()[-1]) == {}, "a copy without times is the same"
    video = own.folder / "my-videos/market.mp4"
    video.write_bytes((own.folder / "my-videos/harbour.mp4").read_bytes())
    assert own.planned("--", "data/mine/clips/000") == {"transcode": 1}
    assert own.snakemake("data/mine/clips/000").returncode == 0
    after = {path.name: path.stat().st_ino for path in clips.glob("*.mp4")}
    assert after.keys() == before.keys()
    assert [name.rsplit("-", 1)[0] for name in after if after[name] != before[name]] == ["market"]


def test_mistakes_are_listed_as_the_page_shows_before_anything_runs(own):
    file = own.folder / "captions.csv"
    good = file.read_text(encoding="utf-8")
    wrong = good.replace("beach/Möwe.webm", "beach/Mowe.webm").replace(
        "\ngarden,a hedgehog crosses the lawn at night,,", "\ngarden,a hedgehog,testing,"
    )
    file.write_text(wrong, encoding="utf-8")
    done = own.snakemake("-n", "--", COMMAND.split()[-1])
    file.write_text(good, encoding="utf-8")
    assert done.returncode == 1 and "Traceback" not in done.output
    shown = BLOCKS[""].strip().splitlines()
    assert shown[0] in done.output
    for line in shown[1:]:
        sentence = line.split(": ", 1)[1]
        assert sentence in done.output, done.output


def test_its_entry_of_the_parameters_is_checked(own):
    found = load_params(own.folder / "params.yaml")
    known_files(found, own.folder / "pipeline")
    assert found.datasets["mine"].own.shares == [0.8, 0.1, 0.1]
    assert set(table.COLUMNS) == set(BLOCKS["captions.csv"].splitlines()[0].split(","))
