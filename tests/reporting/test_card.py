"""Facts of a dataset: every number here was counted by hand."""

import hashlib
import json
import re
import sys

import pandas as pd
import pytest

from pipeline import clip
from pipeline.clip.tokens import Tokenizer
from pipeline.core.layout import SPLITS
from pipeline.datasets.annotations.rows import CAPTION_COLUMNS, VIDEO_COLUMNS, in_split
from pipeline.reporting.card import counts as card_counts
from pipeline.reporting.card import facts as card
from pipeline.reporting.card import page as card_page
from pipeline.reporting.card import text as card_text
from pipeline.stages import guarded

NAN = float("nan")
VIDEO = dict.fromkeys(VIDEO_COLUMNS, "") | {"dataset": "toy", "split": "train", "anno_duration": NAN, "start": NAN, "end": NAN}
MEASURED = {
    "codec": "h264",
    "width": 320,
    "height": 240,
    "sar": "1:1",
    "rotation": 0,
    "duration": 4.0,
    "late": 0.0,
    "status": "ok",
    "reason": "",
}
MEASURED |= {"pix_fmt": "yuv420p", "matrix": "bt709", "transfer": "bt709", "field_order": "progressive"}
LOST = dict.fromkeys(MEASURED) | {"codec": "", "sar": "", "src_sha256": ""}
ABOUT = {"title": "Toy"}
MISSING_HASH = "mmm"


def video(name, **values):
    """A row of transcoded.parquet: a good file of its own, but for `values`."""
    return VIDEO | {"video_id": name, "src_path": f"{name}.mp4", "src_sha256": f"hash of {name}"} | MEASURED | values


def lost(name, status, reason, **values):
    return video(name, **LOST | {"status": status, "reason": reason} | values)


def tables(videos, texts):
    """The tables of a dataset; `texts`: video -> its sentences, all of them captions."""
    transcoded = pd.DataFrame(videos)
    homes = transcoded.set_index("video_id")["split"]
    rows = [("toy", v, f"{v}#{i}", i, text, homes[v], False, "", "") for v, said in texts.items() for i, text in enumerate(said)]
    captions = pd.DataFrame(rows, columns=list(CAPTION_COLUMNS))
    usable = transcoded[transcoded["status"].isin(["ok", "degraded"])]
    used = {split: in_split(usable, split) for split in SPLITS}
    used = {split: (rows, captions[captions["video_id"].isin(rows["video_id"])]) for split, rows in used.items()}
    return card.Tables(transcoded[list(VIDEO_COLUMNS)], captions, transcoded, used)


def tokens(texts):
    """Like CLIP's tokeniser, were every word one token."""
    return [len(text.split()) + 2 for text in texts]


def facts(videos, texts, *, words=32, about=ABOUT, **settings):
    return card.facts(
        "toy", tables(videos, texts), words=words, count=tokens, tokeniser="words", about=about, missing_hash=MISSING_HASH, **settings
    )


def simple(**values):
    """Facts of one video a split, each with one sentence."""
    return facts([video(s, split=s) for s in SPLITS], {s: [f"a {s} video"] for s in SPLITS}, **values)


def one(sentences, *others, **values):
    """Facts of the only training video and its sentences."""
    return facts([video("a", **values), *others], {"a": sentences})["splits"]["train"]


def test_each_split_is_counted_as_annotated_and_as_used_and_a_video_of_two_splits_in_both():
    videos = [video("a"), lost("b", "missing", "gone"), video("c", split="train+val"), video("d", split="val"), video("e", split="test")]
    found = facts(videos, {"a": ["x", "y", "z"], "b": ["x", "y"], "c": ["x"], "d": ["x", "y"], "e": ["x"]})["splits"]
    assert [found[s]["annotated"] for s in SPLITS] == [
        {"videos": 3, "sentences": 6},
        {"videos": 2, "sentences": 3},
        {"videos": 1, "sentences": 1},
    ]
    assert [(found[s]["videos"], found[s]["captions"], found[s]["sentences"]) for s in SPLITS] == [(2, 4, 4), (2, 3, 3), (1, 1, 1)]
    assert found["train"]["captions_per_video"] == {"min": 1, "mean": 2.0, "max": 3}
    assert found["train"]["status"] == {"ok": 2, "degraded": 0, "missing": 1, "unreadable": 0, "excluded": 0}


def test_joined_paragraphs_are_captions_and_their_parts_sentences():
    given = tables([video(s, split=s) for s in SPLITS], {s: ["one", "two", "three"] for s in SPLITS})
    joined = {s: (v, c.head(1).assign(text="one two three")) for s, (v, c) in given.used.items()}
    given = card.Tables(given.videos, given.captions, given.transcoded, joined)
    found = card.facts("toy", given, words=32, count=tokens, tokeniser="words", about=ABOUT, missing_hash="")["splits"]["test"]
    assert (found["captions"], found["sentences"], found["tokens"]["max"]) == (1, 3, 5)


@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        ({"duration": 7.5, "anno_duration": 9.0}, 7.5),
        ({"duration": NAN, "anno_duration": 9.0}, 9.0),
        ({"duration": 60.0, "start": 10.0, "end": 25.5}, 15.5),
        ({"duration": 60.0, "start": 10.0}, 50.0),
        ({"duration": 20.0, "end": 30.0}, 20.0),
        ({"duration": NAN, "start": 10.0, "end": 25.5}, 15.5),
        ({"duration": 20.0, "start": 100.0, "end": 110.0, "anno_duration": 10.0}, 0.0),
        ({"duration": NAN}, NAN),
        # Its pictures are there from 2 to 12 s of a player's clock.
        ({"duration": 10.0, "late": 2.0}, 10.0),
        ({"duration": 10.0, "late": 2.0, "start": 4.0}, 8.0),
        ({"duration": 10.0, "late": 2.0, "start": 0.0, "end": 5.0}, 3.0),
    ],
)
def test_the_seconds_of_a_video_are_those_of_its_part_as_far_as_the_file_goes(values, seconds):
    assert card_counts.seconds(pd.DataFrame([video("a", **values)]))[0] == pytest.approx(seconds, nan_ok=True)


def test_hours_add_what_is_known_and_what_is_read_of_it():
    videos = [video("a", duration=1800.0), video("b", duration=5400.0), video("c", duration=NAN), *map(video, "de")]
    videos[3:] = [video("d", split="val", duration=NAN), video("e", split="test", duration=720.0)]
    texts = {v["video_id"]: ["x"] for v in videos}
    assert [facts(videos, texts)["splits"][s]["hours"] for s in SPLITS] == [2.0, None, 0.2]
    assert facts(videos, texts, longest=1800.0)["splits"]["train"]["hours"] == 1.0


def test_a_value_on_an_edge_is_in_the_bin_below_it_and_the_last_bin_is_open():
    found = card_counts.histogram({"train": pd.Series([0.5, 1.0, 1.01, 2.0, 99.0, NAN]), "val": pd.Series([], dtype=float)}, edges=(1, 2))
    assert found == {"edges": [1, 2], "counts": {"train": [2, 2, 1], "val": [0, 0, 0]}}


def test_percentiles_are_lengths_that_occur_and_that_so_many_captions_do_not_exceed():
    assert card_counts.spread(pd.Series(range(1, 101))) == {"mean": 50.5, "p95": 95, "p99": 99, "max": 100}
    assert card_counts.spread(pd.Series([3, 3, 3, 50])) == {"mean": 14.75, "p95": 50, "p99": 50, "max": 50}


def test_a_caption_is_cut_only_when_it_is_longer_than_the_limit():
    found = facts([video("a")], {"a": ["one two", "one two three", "one two three four", "one"]}, words=5)["splits"]["train"]
    assert found["words"]["max"] == 4
    assert found["tokens"] == {"mean": 4.5, "p95": 6, "p99": 6, "max": 6}
    assert found["truncated"] == {"captions": 1, "share": 0.25}


@pytest.mark.parametrize(
    ("name", "sentences", "number"),
    [
        ("empty", ["", "  ", "a"], 2),
        ("non_ascii", ["sautéed", "a\u2019s", "plain"], 2),
        ("control", ["a\nb", "a\tb", "a\u2028b", "a\x7fb", "a b"], 4),
        ("edge_blanks", [" a", "a ", " a ", "a", "a b"], 3),
        ("double_blanks", ["a  b", "  a", "a b c"], 2),
        ("repeated", ["a dog", "A  dog ", "a dog", "a cat"], 2),
    ],
)
def test_each_defect_of_a_sentence_is_counted(name, sentences, number):
    assert one(sentences)["text"][name] == number


def test_two_videos_may_say_the_same_without_repeating_it():
    found = facts([video("a"), video("b")], {"a": ["a dog"], "b": ["a dog"]})
    assert found["splits"]["train"]["text"]["repeated"] == 0


def test_test_captions_that_training_has_seen_are_found_under_other_case_and_blanks():
    videos = [video("a"), video("b", split="val"), video("c", split="test"), video("d", split="test")]
    found = facts(videos, {"a": ["A dog runs", "a cat"], "b": ["a bird"], "c": [" a  DOG runs", "a fish"], "d": ["a bird", "a dog\truns"]})
    assert found["shared"]["test/train"]["captions"] == {"captions": 2, "of": 4, "examples": ["a DOG runs"]}
    assert found["shared"]["test/val"]["captions"] == {"captions": 1, "of": 4, "examples": ["a bird"]}
    assert found["shared"]["val/train"]["captions"] == {"captions": 0, "of": 1, "examples": []}


def test_videos_of_two_splits_are_told_and_not_counted_as_a_leak():
    videos = [video("a", src_url="u"), video("b", split="train+val", src_url="u"), video("c", split="val", src_url="u")]
    found = facts(videos, {"a": ["x"], "b": ["x"], "c": ["x", "y"]})["shared"]["val/train"]
    assert found["videos"] == 1
    assert found["captions"] == {"captions": 1, "of": 2, "examples": ["x"]}
    assert found["sources"] == {"videos": 1, "of": 1, "first": ["c"]}


def test_where_all_videos_are_of_two_splits_nothing_else_is_said_of_the_two():
    notes = dict(card_text.notes(facts([video("a"), video("b", split="train+val"), video("c", split="test")], {v: ["x"] for v in "abc"})))
    assert notes["Captions in two splits"].endswith("1 val videos are train videos, too, on purpose.")
    assert notes["Sources in two splits"] == "test in train: not measured. test in val: not measured."


def test_queries_with_one_text_are_counted_in_groups_and_those_of_several_videos_apart():
    videos = [video(v, split="test") for v in "abcd"]
    found = facts(videos, {"a": ["x", "X "], "b": ["y y", "z"], "c": ["y  y"], "d": ["y y", "w"]})["repeated_queries"]
    assert found == {"captions": 5, "groups": 2, "ambiguous": 3, "of": 7, "examples": ["x", "y y"]}


def test_a_source_is_an_address_or_the_file_that_videos_are_parts_of():
    part = {"src_path": "film.mkv", "start": 0.0}
    videos = [video("a", src_url="u1"), video("b", **part, end=5.0), video("c", split="val", src_url="u2")]
    videos += [video("d", split="test", src_url="u1"), video("e", split="test", **part)]
    videos += [video("f", split="test", src_url="u2"), video("g", split="test")]
    found = facts(videos, {v["video_id"]: [v["video_id"]] for v in videos})["shared"]
    assert found["test/train"]["sources"] == {"videos": 2, "of": 4, "first": ["d", "e"]}
    assert found["test/val"]["sources"] == {"videos": 1, "of": 4, "first": ["f"]}
    assert simple()["shared"]["test/train"]["sources"] is None


def test_equal_files_are_grouped_within_and_over_splits_and_parts_of_one_file_are_none():
    same = [("a", "train", "1"), ("b", "train", "1"), ("c", "val", "2"), ("d", "test", "2"), ("e", "test", "2"), ("f", "test", "3")]
    videos = [video(v, split=s, src_sha256=h) for v, s, h in same]
    videos += [video(v, split="test", src_path="film.mkv", src_sha256="4", start=0.0) for v in "gh"]
    videos += [video(v, src_path="", fetch_url=url, src_sha256="6") for v, url in (("k", "page"), ("l", "page"))]
    videos += [video(v, src_path="", fetch_url=v, src_sha256="7") for v in "mn"]
    videos += [lost(v, "unreadable", "empty", src_sha256="5") for v in "ij"]
    found = facts(videos, {v["video_id"]: ["x"] for v in videos})["identical_files"]
    assert found == {"within": 2, "across": 1, "first": [["c", "d", "e"], ["a", "b"], ["m", "n"]]}


def test_videos_that_are_not_whole_are_listed_by_reason_the_most_frequent_first():
    videos = [lost(f"m{i:02}", "missing", "gone") for i in range(23)] + [lost("n", "missing", "lent")]
    videos += [video("d", status="degraded", reason="short", split="train+val"), lost("x", "excluded", None, split="test"), video("a")]
    found = facts(videos, {v["video_id"]: ["x"] for v in videos})["lost"]
    assert [(r["split"], r["status"], r["reason"], r["videos"]) for r in found] == [
        ("train", "missing", "gone", 23),
        ("train", "missing", "lent", 1),
        ("train", "degraded", "short", 1),
        ("val", "degraded", "short", 1),
        ("test", "excluded", "", 1),
    ]
    assert found[0]["first"] == [f"m{i:02}" for i in range(20)]


def test_a_portrait_is_what_a_player_shows_upright():
    tall = {"width": 240, "height": 320}
    shapes = [tall, {"rotation": 90}, {"rotation": -90}, {"sar": "2:3"}]
    shapes += [tall | {"rotation": 270}, {"rotation": 180}, {"width": 240}, {"sar": "0:1"}, {"sar": ""}, tall | {"sar": "2:1"}]
    videos = [video(str(i), **shape) for i, shape in enumerate(shapes)]
    found = facts(videos, {v["video_id"]: ["x"] for v in videos})["splits"]["train"]["pictures"]
    assert found == {"portrait": 4, "rotated": 4, "oblong_pixels": 2, "interlaced": 0, "hdr": 0, "guessed_colours": 0}


def test_interlaced_videos_are_counted_but_not_those_that_only_say_so():
    videos = [video(order, field_order=order) for order in ("tff", "bff", "psf", "progressive")]
    assert facts(videos, {v["video_id"]: ["x"] for v in videos})["splits"]["train"]["pictures"]["interlaced"] == 2


def test_hdr_and_colours_that_are_guessed_are_counted():
    said = [
        {"transfer": "smpte2084"},
        {"transfer": "bt709, arib-std-b67"},
        {"matrix": ""},
        {"matrix": "3"},
        {"matrix": "gbr"},
        {"matrix": "ycgco"},
    ]
    said += [{"matrix": "gbr", "pix_fmt": "gbrp"}, {"matrix": "", "pix_fmt": "gray"}, {"matrix": "", "pix_fmt": "nv12"}]
    videos = [video(str(i), **values) for i, values in enumerate(said)]
    found = facts(videos, {v["video_id"]: ["x"] for v in videos})["splits"]["train"]["pictures"]
    assert (found["hdr"], found["guessed_colours"]) == (2, 4)


def test_a_duration_is_off_by_more_than_a_second_of_the_part_that_is_used():
    given = [(4.0, 5.0, {}), (4.0, 5.1, {}), (4.0, 2.5, {}), (60.0, 10.0, {"start": 5.0, "end": 15.0}), (NAN, 9.0, {}), (4.0, NAN, {})]
    videos = [video(str(i), duration=d, anno_duration=a, **part) for i, (d, a, part) in enumerate(given)]
    assert facts(videos, {v["video_id"]: ["x"] for v in videos})["off_duration"] == {"videos": 2, "of": 4, "first": ["1", "2"]}


def test_kinds_are_listed_by_their_number_then_their_name_and_the_rest_is_added_up():
    values = pd.Series([*"bbaacc", *"defghijk", "", None])
    found = card_counts.top(values)
    assert found["named"][:4] == [["a", 2], ["b", 2], ["c", 2], ["d", 1]]
    assert (len(found["named"]), found["others"], found["unknown"]) == (10, 1, 2)
    assert card_counts.sizes(pd.DataFrame([video("a"), lost("b", "missing", "")])).tolist() == ["320x240"]


def test_what_nobody_looked_at_is_none_and_the_card_says_so():
    found = facts([lost("a", "missing", "gone")], {"a": ["x"]})
    train = found["splits"]["train"]
    assert [train[key] for key in ("hours", "captions_per_video", "words", "tokens", "truncated", "pictures")] == [None] * 6
    assert [found["identical_files"], found["off_duration"], found["shared"]["test/val"]["sources"]] == [None] * 3
    text = card_page.to_markdown(found)
    assert "| Hours used | not measured | not measured | not measured |" in text
    assert "**Codecs.** Not measured." in text
    assert "**Licences.** Not stated." in text
    assert text.count("```text\nnot measured\n```") == 2


def test_facts_are_json_and_the_same_each_time():
    videos = [video(v, split="test", src_sha256="same", licence=v) for v in "ba"]
    found = [facts(videos, {"b": ["x", "y"], "a": ["x"]}, about=ABOUT | {"expected": {"test": [2, None]}}) for _ in range(2)]
    written = [json.dumps(f, sort_keys=True, allow_nan=False) for f in found]
    assert written[0] == written[1]
    assert json.loads(written[0]) == found[0]
    assert card_page.to_markdown(json.loads(written[0])) == card_page.to_markdown(found[1])


def test_the_publishers_numbers_stand_below_ours_where_they_are_known():
    about = ABOUT | {"expected": {"train": [1, 20], "val": [2, None], "test": [1, 1]}}
    rows = card_text.tables(simple(about=about))[0][1]
    assert rows[:4] == [
        ("Videos annotated", ["1", "1", "1"]),
        ("Videos published", ["1", "2", "1"]),
        ("Sentences annotated", ["1", "1", "1"]),
        ("Sentences published", ["20", "not stated", "1"]),
    ]
    assert not [label for label, _ in card_text.tables(simple())[0][1] if "published" in label]


def test_the_card_holds_what_is_known_of_the_publisher_and_of_the_settings():
    sources = [
        {"name": "list", "url": "https://example.org/a_b.txt", "digest": "sha256:ab"},
        {"name": "videos", "url": "https://example.org/v"},
    ]
    about = ABOUT | {"homepage": "https://example.org", "licence": "CC BY", "citation": "Me, 2020", "protocol": "paper", "sources": sources}
    text = card_page.to_markdown(simple(about=about | {"settings": {"words": 32, "frames.number": 12}, "deviations": ["It differs."]}))
    assert text.startswith("# Toy\n")
    for line in (
        "**Homepage.** <https://example.org>",
        "**Licence.** CC BY",
        "**Citation.** Me, 2020",
        "**Protocol.** paper",
        "It differs.",
    ):
        assert f"- {line}\n" in text
    assert "| list | <https://example.org/a_b.txt> | sha256:ab |\n| videos | <https://example.org/v> | none recorded |\n" in text
    assert text.endswith("| frames.number | 12 |\n| words | 32 |\n")


def test_bars_are_to_the_scale_of_their_split_and_the_smallest_is_seen():
    histogram = {"edges": [1, 2, 5], "counts": {"train": [0, 1000, 500, 0], "val": [0, 1, 0, 0], "test": [0, 0, 3, 2]}}
    lines = card_page._histogram("Title", histogram).splitlines()
    assert [line.split() for line in lines[5:-1]] == [
        ["train", "val", "test"],
        ["1\u20132", "█" * 20, "1,000", "█" * 20, "1", "0"],
        ["2\u20135", "█" * 10, "500", "0", "█" * 20, "3"],
        [">", "5", "0", "0", "█" * 13, "2"],
    ]
    histogram["counts"]["val"] = [0, 1000, 1, 0]
    assert "▏ 1" in card_page._histogram("Title", histogram)


HOSTILE = ["<script>alert(1)</script>", "a | b `c` [d](http://e) www.f.org", "**x** _y_ ~z~ # $1$ \\", "line\n# heading\n\n```"]
HOSTILE += ["![i](j) &lt;b&gt;"]


def test_strangers_break_neither_the_tables_nor_the_page():
    videos = [video(v, split="test", src_url=f"u{i}", licence=v, codec=v) for i, v in enumerate(HOSTILE)]
    videos += [video(f"copy of {v}", src_url=f"u{i}", src_sha256=f"hash of {v}") for i, v in enumerate(HOSTILE)]
    videos += [lost(f"no {v}", "missing", v) for v in HOSTILE]
    about = {"title": HOSTILE[0], "homepage": "https://e.org/><script>", "licence": HOSTILE[1], "deviations": HOSTILE}
    about |= {"settings": {HOSTILE[1]: HOSTILE[3]}, "sources": [{"name": HOSTILE[3], "url": "https://e|f", "digest": "`"}]}
    text = card_page.to_markdown(facts(videos, {v["video_id"]: [v["video_id"], "x"] for v in videos}, about=about))
    assert "<script" not in text
    assert text.count("```") == 4
    assert len(re.findall(r"^# ", text, flags=re.MULTILINE)) == 1
    assert not re.search(r"(?<!\\)(?:\[|\]|\$|~)|(?<!\\):(?=//)", text)
    for rows in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows.splitlines()}) == 1


def test_escaped_text_is_one_line_without_hidden_marks():
    assert card_page.escape("a\u202eb\u2028c\x00d\r\n e") == "a b c d e"
    assert card_page.escape("a_b*c\\d") == r"a\_b\*c\\d"


def write(root, given):
    """The files that rule card reads; the paths of `--splits` in an order of their own."""
    for name in ("videos", "captions", "transcoded"):
        getattr(given, name).to_parquet(root / f"{name}.parquet")
    (root / "missing.tsv").write_text("video_id\tsplit\tstatus\treason\n")
    paths = []
    for split, pair in given.used.items():
        (root / split).mkdir()
        for name, table in zip(("videos", "captions"), pair, strict=True):
            paths.append(root / split / f"{name}.parquet")
            table.to_parquet(paths[-1])
    return paths[::-1]


CARD = '{"dataset": {"words": 5}, "backbone": "ViT-X", "tokenizer": "a/folder"}'


def stage(monkeypatch, root, splits):
    from pipeline.stages import card as command

    asked = []
    monkeypatch.setattr(clip, "tokenizer_of", lambda *of: asked.append(of) or Tokenizer("some/words", None, tokens))
    (root / "about.json").write_text('{"title": "Toy"}')
    options = [f"--{name}={root / name}.parquet" for name in ("videos", "captions", "transcoded")] + [f"--missing={root / 'missing.tsv'}"]
    options += [f"--card={root / 'card.md'}", f"--facts={root / 'card.json'}", "--dataset=toy", f"--about={root / 'about.json'}"]
    monkeypatch.setattr(sys, "argv", ["card", *options, "--settings", CARD, "--splits", *map(str, splits)])
    guarded(command.main)
    assert asked == [("ViT-X", "a/folder")]


def test_the_stage_writes_the_page_and_the_facts_of_the_files(tmp_path, monkeypatch):
    given = tables([video(s, split=s) for s in SPLITS], {"train": ["a b", "a b c d"], "val": ["a"], "test": ["a b"]})
    stage(monkeypatch, tmp_path, write(tmp_path, given))
    found = json.loads((tmp_path / "card.json").read_text())
    assert [found["splits"][s]["captions"] for s in SPLITS] == [2, 1, 1]
    assert found["splits"]["train"]["truncated"] == {"captions": 1, "share": 0.5}
    assert found["shared"]["test/train"]["captions"]["captions"] == 1
    assert found["missing_hash"] == hashlib.sha256((tmp_path / "missing.tsv").read_bytes()).hexdigest()[:16]
    said = (tmp_path / "card.md").read_text(encoding="utf-8")
    assert said == card_page.to_markdown(found) and "Counted by some/words, start and end of text included." in said


def test_the_stage_names_the_table_of_a_split_that_was_not_given(tmp_path, monkeypatch):
    splits = write(tmp_path, tables([video(s, split=s) for s in SPLITS], {s: ["x"] for s in SPLITS}))
    with pytest.raises(SystemExit, match=r"lacks train/videos\.parquet"):
        stage(monkeypatch, tmp_path, [*splits[:5], splits[0]])


def test_what_few_videos_cannot_measure_is_said_of_test_and_of_validation():
    said = dict(card_text.notes(simple()))["Small galleries"]
    one_video = "The gallery has 1 video: R@1, R@5 and R@10 are 100 % whatever a method does"
    assert said.startswith(f"test: {one_video}") and f" val: {one_video}" in said
    videos = [video(f"{s}{n}", split=s) for s, number in (("train", 1), ("val", 11), ("test", 9)) for n in range(number)]
    said = dict(card_text.notes(facts(videos, {v["video_id"]: ["x"] for v in videos})))["Small galleries"]
    assert said == "test: The gallery has 9 videos: R@10 is 100 % whatever a method does, and means nothing; R-Sum holds it, too."
    videos = [video(f"{s}{n}", split=s) for s in SPLITS for n in range(11)]
    assert "Small galleries" not in dict(card_text.notes(facts(videos, {v["video_id"]: ["x"] for v in videos})))
