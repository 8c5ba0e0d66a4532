"""An index of a run ranks as `score` does; and a folder needs no run at all."""

import json
import shlex
import shutil
import sys

import numpy as np
import pandas as pd
import pytest

from pipeline.evaluation import embeddings
from pipeline.evaluation.validation import similarities
from pipeline.search.session import Session
from pipeline.stages import search
from tests.workflow.conftest import fresh

METHODS = ("zero_shot", "full_finetune", "vop", "mv_adapter")
TARGETS = [f"indexes/motion/clip-tiny/{method}/0/made.json" for method in METHODS]


@pytest.fixture(scope="module")
def indexed(finished, tmp_path_factory):
    checkout = finished.copy(tmp_path_factory.mktemp("search") / "copy")
    assert checkout.planned("--", "indexes") == {"index": 4, "indexes": 1}
    done = checkout.snakemake("indexes")
    assert done.returncode == 0, done.output
    return checkout


@pytest.mark.usefixtures("one_thread")
def test_top_ten_and_scores_are_those_of_score_for_every_method(indexed):
    session = Session(indexed.folder / "indexes", place="cpu")
    texts = pd.read_parquet(indexed.folder / "work/motion/test/captions.parquet")["text"].tolist()
    for method in METHODS:
        made, _ = embeddings.load(indexed.folder / f"runs/motion/clip-tiny/{method}/0/embeddings.h5")
        expected = similarities(made)
        for row, text in enumerate(texts):
            hits = session.text(f"motion/clip-tiny/{method}/0", text, 10)
            best = np.argsort(-expected[row], kind="stable")[:10]
            np.testing.assert_allclose([hit.score for hit in hits], expected[row][best], atol=1e-6)
            # Scores that rounding makes equal may change places.
            np.testing.assert_allclose(expected[row][[hit.row for hit in hits]], expected[row][best], atol=2e-7)
            assert [hit.video_id for hit in hits] == [made.video_id[hit.row] for hit in hits]


def test_an_index_is_made_again_only_when_its_run_changes(indexed):
    assert indexed.planned("--", "indexes") == {}
    assert indexed.planned() == {}
    record = indexed.folder / TARGETS[2]
    index = record.with_name("index.h5")
    before = index.read_bytes()
    record.unlink()
    assert indexed.planned("--", "indexes") == {"index": 1, "indexes": 1}
    assert indexed.snakemake(TARGETS[2]).returncode == 0
    assert index.read_bytes() == before and json.loads(record.read_text())["encoded"] == 0


def test_the_page_of_the_command_works_after_a_run(indexed, monkeypatch, capsys):
    def asked(words):
        """By the command in this process: the test below starts it as one."""
        monkeypatch.chdir(indexed.folder)
        monkeypatch.setattr(sys, "argv", ["search", *shlex.split(words)])
        search.main()
        return capsys.readouterr().out

    found = asked("'a red star moves up' -k 3")
    assert found.splitlines()[0] == "motion/clip-tiny/mv_adapter/0: 14 videos" and "data/motion/raw/videos/test" in found
    wide = asked("--like test00003 --index vop mv_adapter -k 2")
    assert "vop" in wide and "mv_adapter" in wide


def test_from_nothing_to_the_first_answer_in_two_commands_after_setup(finished, tmp_path):
    checkout = fresh(tmp_path)
    (tmp_path / "my-videos").mkdir()
    videos = sorted((finished.folder / "data/motion/raw/videos").glob("test*"))
    for video in videos:
        shutil.copy(video, tmp_path / "my-videos")
    number = len(videos)
    done = checkout.run("python", "-m", "pipeline.stages.index", "--folder", "my-videos")
    assert done.returncode == 0, done.stderr
    assert f"my-videos/clip-tiny/zero_shot/0/index.h5: {number} videos ({number} encoded, 0 kept)" in done.stdout
    assert "making it: snakemake --cores all work/clip-tiny/weights.safetensors" in done.stderr
    for label in ("read files", "transcode", "encode for zero_shot"):
        assert f"{label}: {number} of {number}" in done.stderr
    answer = json.loads(checkout.does("python -m pipeline.stages.search 'a red star moves up' --json"))
    assert [hit["rank"] for hit in answer["indexes"][0]["hits"]] == list(range(1, 11))
    assert {hit["file"].rsplit(".", 1)[1] for hit in answer["indexes"][0]["hits"]} <= {"mp4", "webm", "avi", "mkv"}
