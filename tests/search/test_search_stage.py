"""The command that searches: its table, its JSON, and what it says to a mistake."""

import json
import sys

import pytest

from pipeline.search import answers, terminal
from pipeline.search.answers import Answer
from pipeline.stages import search
from tests.search.conftest import ROOT, RUNS, make_video


@pytest.fixture
def ask(indexed, monkeypatch, capsys):
    """The command's output, in the folder of `indexed` or another world."""

    def asked(*words, world=indexed):
        monkeypatch.chdir(world.home)
        monkeypatch.setattr(sys, "argv", ["search", *words, "--device", "cpu"])
        capsys.readouterr()
        search.main()
        return capsys.readouterr().out

    return asked


def test_a_table_has_rank_score_moment_and_file(ask):
    head, empty, header, *rows = ask("a red star", "--index", "vop", "-k", "3").splitlines()
    assert head == "videos/clip-tiny/vop/0: 7 videos" and empty == "" and header.split() == ["rank", "score", "moment", "file"]
    assert [row.split()[0] for row in rows] == ["1", "2", "3"]
    (found,) = json.loads(ask("a red star", "--index", "vop", "-k", "3", "--json"))["indexes"]
    for row, hit in zip(rows, found["hits"], strict=True):
        assert row.split(maxsplit=3)[1:] == [f"{hit['score']:.4f}", terminal.clock(hit["moment"]), hit["file"]]


def test_side_by_side_each_says_where_the_others_have_its_videos(ask):
    words = ("a red star", "--index", "vop", "mv_adapter", "cm_adapter")
    answer = json.loads(ask(*words, "--json"))
    assert answer["query"] == {"text": "a red star"}
    order = {found["index"]: [hit["video_id"] for hit in found["hits"]] for found in answer["indexes"]}
    assert [name.split("/")[2] for name in order] == ["vop", "mv_adapter", "cm_adapter"]
    for found in answer["indexes"]:
        for hit in found["hits"]:
            assert hit["ranks"] == {name: ids.index(hit["video_id"]) + 1 for name, ids in order.items() if name != found["index"]}
    *heads, _, header, first = ask(*words, "-k", "1").splitlines()
    assert len(heads) == 3 and header.split() == ["rank", "score", "vop", "score", "mv_adapter", "score", "cm_adapter"]
    hits = [found["hits"][0] for found in answer["indexes"]]
    assert first.count("(") == 3 and all(hit["video_id"] in first for hit in hits)
    assert f"({', '.join(map(str, hits[0]['ranks'].values()))})" in first


KEYS = {"rank", "score", "video_id", "file", "moment", "clip", "clip_moment", "title", "ranks"}
INDEX = {"index", "gallery", "backbone", "run", "seed", "num_videos", "num_captions", "search", "skipped", "hits"}


def test_json_has_the_keys_that_are_documented(ask):
    answer = json.loads(ask("a red star", "--index", "vop", "--json"))
    assert answer.keys() == {"query", "indexes"}
    assert answer["indexes"][0].keys() == INDEX and answer["indexes"][0]["hits"][0].keys() == KEYS
    texts = json.loads(ask("--captions-of", "video 0.mp4", "--index", "vop", "--json"))
    assert texts["query"] == {"captions_of": "video 0.mp4"}
    assert texts["indexes"][0]["hits"][0].keys() == {"rank", "score", "caption_id", "text", "video_id", "own"}
    page = (ROOT / "docs/search.md").read_text()
    assert all(f"`{key}`" in page for key in KEYS | INDEX | {"caption_id", "text", "own", "query", "indexes", "like", "captions_of"})


@pytest.mark.parametrize("given", ["sub/video 1.webm", "videos/sub/video 1.webm", "./videos/../videos/sub/video 1.webm"])
def test_a_video_of_the_gallery_is_known_by_its_id_and_its_paths(ask, given):
    (found,) = json.loads(ask("--like", given, "--index", "vop", "--json"))["indexes"]
    assert len(found["hits"]) == 6 and "sub/video 1.webm" not in [hit["video_id"] for hit in found["hits"]]


def test_a_video_from_elsewhere_finds_its_like_and_texts_in_several_indexes(ask, tmp_path):
    outside = make_video(tmp_path / "outside.mkv", 1)
    found = json.loads(ask("--like", str(outside), "--index", "vop", "mv_adapter", "--json"))["indexes"]
    assert [len(one["hits"]) for one in found] == [7, 7]
    assert found[0]["hits"][0]["ranks"]["videos/clip-tiny/mv_adapter/0"] >= 1
    lines = ask("--captions-of", str(outside), "--index", "vop", "cm_adapter").splitlines()
    assert "the green square spins" in "".join(lines)
    assert ask("--captions-of", str(outside), "--index", "vop").splitlines()[2].split() == ["rank", "score", "text"]


def test_own_captions_are_marked_and_the_moment_counts_from_the_start_of_the_part(dataset, ask, tmp_path):
    own = dataset.copy(tmp_path / "home")
    own.index("--dataset", "toy")
    (found,) = json.loads(ask("--captions-of", "v3", "-k", "14", "--json", world=own))["indexes"]
    assert {hit["caption_id"] for hit in found["hits"] if hit["own"]} == {"v3#0", "v3#1"}
    assert all(hit["video_id"] == hit["caption_id"].split("#")[0] for hit in found["hits"])
    (found,) = json.loads(ask("a red star", "--json", world=own))["indexes"]
    assert all(hit["moment"] - hit["clip_moment"] == (0.5 if hit["video_id"] == "v2" else 0) for hit in found["hits"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "say one thing to search for"),
        (["a", "--like", "b"], "say one thing to search for"),
        ([""], "the query is empty"),
        (["  "], "the query is empty"),
        (["x" * 1001], "the query has 1001 characters; at most 1000 are taken"),
        (["a", "-k", "0"], "-k is 0; the least is 1"),
        (["a"], "there are 5 indexes, .*; choose with --index"),
        (["a", "--index", "vob"], "there is no index 'vob'; did you mean 'vop'"),
        (["a", "--index", "clip-tiny"], "'clip-tiny' could be videos/clip-tiny/cm_adapter/0 or .*; write the whole name"),
        (["a", "--gallery", "video"], "there is no gallery 'video'; did you mean 'videos'"),
        (["--like", "video 00.mp4"], "there is no video 'video 00.mp4'; did you mean 'video 0.mp4'"),
        (["--like", "texts.txt"], "texts.txt is not a readable video file"),
        (["--captions-of", "nothing at all"], "there is no video 'nothing at all'; .*has 7, or give a file"),
    ],
)
def test_a_mistake_is_one_sentence(ask, words, message):
    index = ["--index", "vop"] if any(word in ("--like", "--captions-of") for word in words) and "a" not in words else []
    with pytest.raises(ValueError, match=message):
        ask(*words, *(index or (["--index", "vop"] if words and words[0] in ("", "  ", "x" * 1001) else [])))


def test_without_an_index_it_says_the_commands_that_make_one(ask, made):
    with pytest.raises(
        ValueError, match="make one: python -m pipeline.stages.index --folder YOUR-VIDEOS, or snakemake --cores all indexes"
    ):
        ask("a red star", world=made)


def test_indexes_are_chosen_by_gallery_and_by_the_method_of_params():
    there = ["a/b/vop/0", "a/b/mv/0", "a/b/mv/1", "c/b/vop/0"]
    assert answers.choose(there, wanted=["c/b/vop/0"], gallery=None, method="") == ["c/b/vop/0"]
    assert answers.choose(there, wanted=["vop"], gallery="a", method="") == ["a/b/vop/0"]
    assert answers.choose(there, wanted=["mv/1", "vop"], gallery="a", method="") == ["a/b/mv/1", "a/b/vop/0"]
    assert answers.choose(there, wanted=[], gallery="a", method="vop") == ["a/b/vop/0"]
    assert answers.choose(there, wanted=[], gallery="c", method="mv") == ["c/b/vop/0"]
    with pytest.raises(ValueError, match="there are 2 galleries, a, c; choose one with --gallery"):
        answers.choose(there, wanted=[], gallery=None, method="vop")
    with pytest.raises(ValueError, match="could be a/b/vop/0 or c/b/vop/0"):
        answers.choose(there, wanted=["vop"], gallery=None, method="")


def test_what_an_approximate_index_misses_and_what_was_skipped_is_said():
    search = {"kind": "approximate", "recall_at_10": 0.994, "queries": 500, "queries_from": "captions"}
    about = {"num_videos": 10**6, "search": search, "skipped": [{}, {}], "run": "vop", "seed": 0}
    text = terminal.rendered([Answer("a/b/vop/0", about, [])])
    assert "approximate, finds 0.994 of the 10 best (measured on 500 captions)" in text and "2 files were skipped" in text
    assert "nothing was found" in text


def test_names_cannot_move_the_cursor_and_times_are_minutes():
    assert terminal.printable("a\n\x1b[2J ü 💃") == "a\\n\\x1b[2J ü 💃"
    assert [terminal.clock(seconds) for seconds in (0, 5.25, 59.96, 60, 754.3)] == ["0:00.0", "0:05.2", "1:00.0", "1:00.0", "12:34.3"]


def test_every_method_answers(ask):
    for run in RUNS:
        assert len(ask("a red star", "--index", run).splitlines()) == 10
