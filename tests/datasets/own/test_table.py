"""captions.csv as spreadsheets, scripts and people write it."""

import codecs
import json
import math

import pytest

ENTRIES = [("a.mp4", "a dog, wet"), ("b.mp4", 'the "big" cat'), ("c.mp4", "it rains")]
PLAIN = 'video,caption\na.mp4,"a dog, wet"\nb.mp4,"the ""big"" cat"\nc.mp4,it rains\n'


@pytest.fixture(autouse=True)
def videos(place):
    place.put("a.mp4", "b.mp4", "c.mp4")


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        f"sep=,\r\n{PLAIN}",
        f'"sep=,"\n{PLAIN}',
        "SEP=|\n" + PLAIN.replace(",", "|").replace("dog|", "dog,"),
        "sep=;\n" + PLAIN,  # saved once more, with commas
        f"\n,,\n{PLAIN}",
        PLAIN.replace("\n", ",,\n"),
        PLAIN.replace("\n", ",,\n").replace("caption,,", "caption"),
        PLAIN.replace("video,caption", '"Video","Caption"'),
        PLAIN.replace("video,caption", "\ufeffvideo,\u00a0caption\u200b"),
        PLAIN.replace("\n", "\r"),
        PLAIN + ",\n , \n\n",
        'video;"caption"\na.mp4;"a dog, wet"\nb.mp4;"the ""big"" cat";\nc.mp4;it rains;\n',
        'video\tcaption\r\na.mp4\ta dog, wet\r\nb.mp4\t"the ""big"" cat"\r\nc.mp4\tit rains\r\n',
        "\n".join(json.dumps({"video": v, "caption": c}) for v, c in ENTRIES),
        "\r\n".join(json.dumps({"caption": c, "video": v, "split": None}, separators=(",", ":")) for v, c in ENTRIES) + "\n\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
def test_whatever_stands_between_cells_the_captions_are_the_same(place, text, encoding):
    data = text.encode(encoding)
    lines = place.read(codecs.BOM_UTF16_BE + data if encoding == "utf-16-be" else data)
    assert [(line.video, line.caption) for line in lines] == ENTRIES


@pytest.mark.parametrize(
    ("cell", "seconds"),
    [
        ("12.5", 12.5), ("0,5", 0.5), ("1,500", 1.5), ("00:01:02", 62), ("01:02.5", 62.5), ("1:02,5", 62.5), ("00:00:01,250", 1.25),
        ("1:00:00", 3600), ("90:00", 5400), (" 7 ", 7), ("1e1", 10),
    ],
)  # fmt: skip
def test_times_are_seconds_or_what_a_clock_shows(place, cell, seconds):
    lines = place.read(f"video;caption;start;end\na.mp4;one;{cell};99999\nb.mp4;two;;\nc.mp4;three;;{cell}\n")
    assert lines[0].start == lines[2].end == seconds and math.isnan(lines[1].start)


@pytest.mark.parametrize("cell", ["0:60", "1:60:00", "1:2:3:4", "-1:00", "1:00:", "1.000,5", "inf", "1 s", "x", "1_5", "٣:00", "1:1e1"])
def test_what_is_no_time_is_a_mistake(place, cell):
    said = place.refused(f"video;caption;start\na.mp4;one;\nb.mp4;two;{cell}\nc.mp4;three;\n")
    assert said == f"1 mistake:\n  line 3: start is {cell!r}; give seconds, for example 12.5, or a time such as 00:01:02.5"


def test_a_comma_in_a_number_is_a_point_where_it_can_be_nothing_else(place):
    tabs = "video\tcaption\tstart\na.mp4\tone\t0,5\nb.mp4\ttwo\t\nc.mp4\tthree\t{}\n"
    assert [line.start for line in place.read(tabs.format("10,25"))][::2] == [0.5, 10.25]
    assert "line 4: start is '1,500'" in place.refused(tabs.format("1,500"))
    assert "line 2: start is '0,5'" in place.refused('video,caption,start\na.mp4,one,"0,5"\nb.mp4,two,\nc.mp4,three,\n')


@pytest.mark.parametrize("start", ["0", "0.0", "-0", "00:00"])
@pytest.mark.parametrize("end", ["", "2.5"])
def test_a_part_from_0_is_one_from_the_beginning(place, start, end):
    rest = "b.mp4,two,val,,\nc.mp4,three,test,,\n"
    head = "video,caption,split,start,end\n"
    videos, captions = place.tables(f"{head}a.mp4,one,train,,{end}\na.mp4,four,train,{start},{end}\n{rest}")
    assert len(videos) == 3 and list(captions["order"]) == [0, 1, 0, 0] and captions["video_id"].nunique() == 3
    alone, _ = place.tables(f"{head}a.mp4,one,train,,{end}\n{rest}")
    assert videos.equals(alone), "a second caption does not change what its video is called"
    zero, _ = place.tables(f"{head}a.mp4,one,train,{start},{end}\na.mp4,four,train,,{end}\n{rest}")
    assert len(zero) == 3 and zero["start"].iloc[0] == 0
    said = place.refused(f"{head}a.mp4,one,train,,{end}\na.mp4,one,test,{start},{end}\n{rest}")
    assert "line 3: the same video and caption as in line 2" in said and "line 3: the split is test, and in line 2 train" in said


@pytest.mark.parametrize(
    "caption", ["\u200b", "\ufeff", "\u2060", "\u00ad \u200d", "\ufe0f", "\U000e0100", "\u3164", "\u2800", "\x07", "\u0301", "\u00a0\u3000"]
)
def test_a_caption_that_nobody_sees_is_empty(place, caption):
    said = place.refused(f"video,caption\na.mp4,one\nb.mp4,x{caption}\nc.mp4,{caption}\n")
    assert said == "1 mistake:\n  line 4: the caption is empty"


@pytest.mark.parametrize("caption", ["می\u200cروم", "👩\u200d🎓 ❤\ufe0f", "co\u00adoperate", "크", "e\u0301", "?", "๏"])
def test_what_joins_letters_stays_in_a_caption(place, caption):
    assert place.read(f"video,caption\na.mp4,{caption}\nb.mp4,two\nc.mp4,three\n")[0].caption == caption


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('"video";"caption, in English"\na.mp4;x\n', "line 1: there is no column 'caption'; the header has video, caption, in english"),
        ('"video,caption\na.mp4,x\n', "line 1: the quotes do not pair: unexpected end of data; write a quote inside a quoted text twice"),
        ('video,caption\na.mp4,"a "dog" runs"\n', "line 2: the quotes do not pair: ',' expected after '\"'; write"),
        ('sep=,\nvideo,caption\na.mp4,one\nb.mp4,"two\n\nc.mp4,three\n', "line 4: the quotes do not pair: unexpected end of data"),
        ("sep=;\nvideo;caption;strat\n", "line 2: column 'strat' is unknown or there twice"),
        ("\nvideo,text\n", "line 2: there is no column 'caption'"),
        (",video,caption\n0,a.mp4,one\n", "line 1: column '' is unknown or there twice"),
        ('"a\nb",video,caption\n', r"line 2: column 'a\nb' is unknown"),
        (",".join(f"c{n}" for n in range(99)), "line 1: there is no column 'video'; the header has c0, c1, c2, c3, c4, c5, c6, c7, c8, "),
        (f"video,{'x' * 999}", f"line 1: there is no column 'caption'; the header has video, {'x' * 100}..."),
        ('[{"video": "a.mp4", "caption": "x"}]', "line 1 is no JSON object of one video and caption: it is something else;"),
        ('{"video": "a.mp4",\n"caption": "x"}', "line 1 is no JSON object of one video and caption: "),
        ('{"video": "a.mp4", "caption": "x"}\n{"video": "b.mp4"', "line 2 is no JSON object"),
        ('{"video": "a.mp4", "caption": "\\ud800"}', "line 1 is no JSON object of one video and caption: it holds a NUL, "),
        ('{"video": "a.mp4", "caption": "x", "caption": "y"}', "line 1 is no JSON object of one video and caption: a name is there twice"),
        ("[" * 100_000, "line 1 is no JSON object"),
        ('{"video": ' + "9" * 9999 + "}\n", "2 mistakes:\n  line 1: the caption is empty\n  line 1: there is no video '999"),
        (PLAIN.encode("utf-16")[:-1], "line 4 is not utf-16 text"),
        (PLAIN.encode("utf-32"), "line 1 holds a NUL"),
        ("video;caption\na.mp4;één\n".encode("cp1252"), "line 2 is not utf-8 text; get the file again, or save it as UTF-8"),
        (b"PK\x03\x04\xff", "line 1 is not utf-8 text"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_table_is_one_sentence(place, text, sentence):
    said = place.refused(text)
    assert said.startswith(sentence) and len(said) < 600


def test_json_lines_have_mistakes_with_their_lines(place):
    said = place.refused(
        '{"video": "a.mp4", "caption": ["x", "y"]}\n\n{"video": "b.mp4", "caption": "two", "id": 7}\n{"video": "c.mp4"}\n'
        '{"video": "c.mp4", "caption": "three", "start": true}\n{"video": 1, "caption": "four", "start": 0.5, "end": NaN}\n'
    )
    for line in (
        """line 1: caption is '["x", "y"]'; give a text""",
        "line 3: 'id' is unknown; there are video, caption", "line 4: the caption is empty",
        "line 5: start is 'true'; give a text", "line 6: there is no video '1'", "line 6: end is 'NaN'",
    ):  # fmt: skip
        assert line in said


def test_numbers_of_json_lines_are_as_they_are_written(place):
    place.put("0010.mp4")
    rows = [{"video": 10, "caption": "one", "start": 0.5, "end": 2}, *({"video": v, "caption": c} for v, c in ENTRIES[:2])]
    lines = place.read("\n".join(map(json.dumps, rows)))
    assert (lines[0].video, lines[0].start, lines[0].end) == ("0010.mp4", 0.5, 2)


@pytest.mark.parametrize(("row", "words"), [("a.mp4;one;two", "semicolons"), ("a.mp4", "semicolons")])
def test_a_row_of_another_length_says_what_to_put_into_quotes(place, row, words):
    said = place.refused(f"video;caption\n{row}\n")
    assert f"line 2: {len(row.split(';'))} cells instead of 2; put texts with {words} into quotes" in said
