"""Transfer: what training has seen of another test set, what is refused, and the matrix of trained-on by tested-on."""

import json

import numpy as np
import pandas as pd
import pytest

from pipeline.reporting import seed_means, transfer
from pipeline.reporting.card import seen
from pipeline.reporting.card import text as card_text
from pipeline.stages import seen as seen_stage
from pipeline.stages import transfer as stage
from tests.reporting.test_card import simple, video

PAGE = "https://www.youtube.com/watch?v="
ID = "dQw4w9WgXcQ"


def frame(*rows):
    return pd.DataFrame(rows)


def said(**texts):
    return pd.DataFrame({"video_id": texts.keys(), "caption_id": [f"{name}#0" for name in texts], "text": texts.values()})


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"src_sha256": "x"}, {"src_sha256": "x"}, True),
        ({"src_sha256": "x", "start": 0.0, "end": 5.0}, {"src_sha256": "x", "start": 5.0}, False),
        ({"src_sha256": "x", "start": 0.0, "end": 5.0}, {"src_sha256": "x", "start": 4.9}, True),
        ({"src_sha256": "x", "start": 3.0, "end": 5.0}, {"src_sha256": "x"}, True),
        ({"src_url": f"{PAGE}{ID}"}, {"src_url": f"http://youtu.be/{ID}?t=3"}, True),
        ({"src_url": f"{PAGE}{ID}"}, {"src_url": f"https://m.youtube.com/watch?app=desktop&v={ID}"}, True),
        ({"src_url": f"{PAGE}{ID}", "official_name": f"{ID}_0_10"}, {"src_url": f"{PAGE}{ID}", "official_name": f"{ID}_10_20"}, False),
        (
            {"src_url": f"{PAGE}{ID}", "official_name": f"{ID}_000009_000019"},
            {"src_url": f"{PAGE}{ID}", "official_name": f"{ID}_10_20"},
            True,
        ),
        ({"src_url": f"{PAGE}{ID}", "official_name": f"{ID}_0_10"}, {"src_url": f"{PAGE}{ID}", "official_name": f"v_{ID}"}, True),
        ({"src_url": "https://flickr.com/a/1/"}, {"src_url": "http://www.flickr.com/a/1"}, True),
        ({"src_url": f"{PAGE}{ID}"}, {"src_url": f"{PAGE}{ID[:-1]}x"}, None),
        ({}, {}, None),
    ],
)
def test_a_video_is_the_same_by_its_file_or_its_address_where_the_parts_overlap(one, other, same):
    found = seen.known(frame(video("a", **one), video("c")), frame(video("b", **other), video("d")))
    assert found == (["b"] if same else [], ["b"] if same is False else [])


def test_videos_of_which_nothing_is_known_are_not_all_the_same():
    blank = {"src_sha256": "", "src_url": ""}
    assert seen.known(frame(video("a", **blank)), frame(video("b", **blank))) == ([], [])
    other = frame(video("b")).drop(columns="src_sha256")
    assert seen.known(other, other) == ([], [])


def test_videos_and_sentences_are_counted_and_the_card_tells_them():
    trained = frame(video("a", src_sha256="x"), video("b", src_url=f"{PAGE}{ID}", official_name=f"{ID}_0_10"))
    tested = frame(video("p", src_sha256="x"), video("q", src_url=f"{PAGE}{ID}", official_name=f"{ID}_10_20"), video("r"))
    found = seen.seen((trained, said(a="A  dog runs", b="it rains")), (tested, said(p="a dog runs ", q="it snows", r="A DOG RUNS")))
    assert found == {
        "videos": {"videos": 1, "of": 3, "first": ["p"]},
        "sources": {"videos": 1, "of": 3, "first": ["q"]},
        "alike": None,
        "captions": {"captions": 2, "of": 3, "examples": ["a dog runs"]},
    }
    told = dict(card_text.notes(simple() | {"seen": {"mine": found}}))["Tested on mine"]
    assert told.startswith(
        "1 of 3 test videos are also in train or val here: p; 1 more come from a source that these have another part of: q."
    )
    assert "2 of 3 test captions are also there, case and blanks aside: \u201ca dog runs\u201d." in told
    alike = found | {"alike": {"groups": 1, "first": [[["a", "trained"], ["p", "tested"]]]}}
    assert card_text._seen(alike).endswith("differ: 1: a (trained) = p (tested).")
    assert not [topic for topic, _ in card_text.notes(simple()) if topic.startswith("Tested on")]


def test_the_list_of_seen_videos_is_one_to_exclude_and_the_test_is_refused(tmp_path, monkeypatch):
    tables = {"train": ([video("a", src_sha256="x")], said(a="one")), "val": ([video("v", src_sha256="y")], said(v="two"))}
    tables |= {"test": ([video("p", src_sha256="y"), video("q")], said(p="three", q="two"))}
    for split, (videos, captions) in tables.items():
        (tmp_path / split).mkdir()
        frame(*videos).to_parquet(tmp_path / split / "videos.parquet")
        captions.to_parquet(tmp_path / split / "captions.parquet")
    files = {split: [str(tmp_path / split / f"{table}.parquet") for table in ("videos", "captions")] for split in tables}
    out = ["--facts", str(tmp_path / "mine.json"), "--exclude", str(tmp_path / "mine.tsv")]
    words = ["--dataset", "toy", "--trained", *files["train"], *files["val"], "--tested", *files["test"], *out]
    monkeypatch.setattr("sys.argv", ["seen", *words])
    seen_stage.main()
    assert (tmp_path / "mine.tsv").read_text() == "video_id\treason\np\ttoy trains or validates on it\n"
    assert json.loads((tmp_path / "mine.json").read_text())["captions"]["captions"] == 1
    with pytest.raises(ValueError, match=r"1 of 2 test videos of mine are among those that training has seen, 'p' first.*mine\.tsv"):
        stage._refuse_seen(tmp_path / "mine.json", tested="mine")


def block(recall, **values):
    way = {"R1": recall, "R5": recall + 10, "R10": recall + 20, "MdR": 2.0, "MnR": 3.0}
    shared = {"queries": 5, "gallery": 4, "gallery_hash": "g", "missing_hash": "m"}
    return shared | {"t2v": way, "v2t": {**way, "R1": recall - 1}, "probe": None} | values


def test_seeds_are_averaged_by_the_dataset_that_was_tested():
    tests = [block(r, tested=name, seed=s, method="lora") for name, rs in (("b", (10, 20)), ("c", (30, 30))) for s, r in enumerate(rs)]
    tests[2]["probe"], tests[3]["probe"] = {"accuracy": 50.0}, {"accuracy": 60.0}
    found = seed_means.transfer(tests)
    assert list(found) == ["b", "c"] and found["b"]["t2v"]["R1"] == 15 and found["b"]["probe"] is None and found["c"]["probe"] == 55
    assert found["b"]["seeds"] == 2 and found["b"]["RSum"] == 15 + 25 + 35 + 14 + 25 + 35
    tests[1]["gallery_hash"] = "another"
    with pytest.raises(ValueError, match="seeds 0 and 1 of lora were tested on other test sets of b"):
        seed_means.transfer(tests)


def own(method, dataset, recall, **others):
    elsewhere = {name: block(value, RSum=6 * value) for name, value in others.items()}
    return block(recall, method=method, dataset=dataset, RSum=6 * recall) | ({"transfer": elsewhere} if others else {})


def test_the_matrix_has_zero_shot_first_and_what_each_row_has_over_it():
    found = [
        own("zero_shot", "a", 10, b=20, c=30),
        own("lora", "a", 15, b=18, c=33.3),
        own("zero_shot", "b", 21, c=99),
        own("lora", "b", 25, c=30),
    ]
    recalls, sums = transfer.tables(found)
    assert recalls.title == "Transfer: text to video R@1" and recalls.head == ("Method", "Trained on", "a", "b", "c")
    assert recalls.rows == [
        ["zero_shot", "\u2013", "10.0", "21.0", "30.0"],
        ["lora", "a", "15.0 (+5.0)", "18.0 (-3.0)", "33.3 (+3.3)"],
        ["lora", "b", "\u2013", "25.0 (+4.0)", "30.0 (+0.0)"],
    ]
    assert sums.rows[1][2] == "90.0 (+30.0)"
    assert transfer.tables([own("zero_shot", "a", 10), own("lora", "a", 10)]) == []


def test_other_test_sets_in_one_column_are_refused():
    found = [own("zero_shot", "a", 10, b=20), own("lora", "a", 15, b=18)]
    found[1]["transfer"]["b"]["missing_hash"] = "another"
    with pytest.raises(ValueError, match="zero_shot of a and lora of a were not tested on the same test set of b"):
        transfer.tables(found)


def test_clips_that_look_alike_are_told_and_not_refused(monkeypatch):
    asked = []

    def near(table):
        asked.append(table)
        return {"within": 3, "across": 1, "first": [["pair"], ["other"]]}

    monkeypatch.setattr("pipeline.reporting.card.copies.near", near)
    trained, tested = frame(video("a", signature="s")), frame(video("a", src_sha256="other", signature="s"))
    assert seen.seen((trained, said(a="x")), (tested, said(a="y")))["alike"] == {"groups": 1, "first": [["pair"]]}
    assert asked[0]["split"].tolist() == ["trained", "tested"] and asked[0]["src_path"].nunique() == 2
    assert np.array_equal(asked[0]["video_id"], ["a", "a"])
