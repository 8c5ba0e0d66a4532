"""Whatever bytes captions.csv holds, a table comes of it, or one sentence a mistake that names the file."""

import atexit
import csv
import io
import json
import os
import random
import tempfile
from functools import cache
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipeline import datasets
from pipeline.config.dataset import Dataset
from pipeline.datasets import folder
from tests.fuzz.mutate import mutated as accident

FILES = ("a.mp4", "a.json", "A.mkv", "b.mp4", "c.webm", "0007.mp4", "08.mp4", "008.mp4", "sub/Mo\u0308we.mp4", "sub/x,y.avi", "12.5.mp4")
GOOD = (
    'video,caption,split,start,end\na,one,train,0,1.5\nb.mp4,"two, ""three""",val,,\nc,four,test,00:01:02,\n7.0,five,,,\n',
    "sep=;\r\nvideo;caption;start;;\r\nsub/Möwe;one;0,5;;\r\nb;two;;;\r\nc.webm;three;;;\r\n",
    "video\tcaption\nb\tone\nc\ttwo\n12.5\tthree\n",
    '{"video":"b","caption":"one","start":0}\n{"video":"c","caption":"two"}\n{"video":12.5,"caption":"three"}\n',
)
PIECES = (
    *("video", "caption", "split", "start", "end", *FILES, "a", "sub/Möwe", "7", "8", "É", "..", "/", "\\", "train"),
    *("1e999", "nan", "0,5", "00:01:02", "9" * 400, "\u200b", "\ufeff", "\u2028", "\x1c", "\0", "\ud800", "\U0001f468"),
    *('"', '""', ",", ";", "\t", "\n", "\r", "\r\n", "sep=", "{", "}", "[", ":", "", " "),
)
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32", "cp1252")


@cache
def _place():
    place = tempfile.TemporaryDirectory()
    atexit.register(place.cleanup)
    for name in FILES:
        path = Path(place.name, "videos", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return Path(place.name)


def read_any(data):
    """Read bytes as a captions.csv. Its tables, or None where it is refused; AssertionError where that is not as promised."""
    place = _place()
    file = place / f"captions{os.getpid()}.csv"
    file.write_bytes(data)
    entry = Dataset(videos=str(place / "videos"), captions=str(file))
    said = None
    try:
        videos, captions = folder.tables(place, entry, "mine")
    except ValueError as error:
        said = error
    if said:
        assert type(said) is ValueError, said
        first, *others = str(said).split("\n")
        assert first.startswith(str(file)) and all(line.startswith(("  line ", "  and ")) for line in others), said
        assert str(said).replace("\n", "").isprintable() and len(first) < 700 and len(others) <= folder.SHOWN + 1, said
        return None
    datasets.check(videos, captions, name="mine")
    pa.Table.from_pandas(videos), pa.Table.from_pandas(captions)
    assert set(videos["src_path"]) <= set(FILES) and videos["split"].nunique() == 3
    return videos, captions


def mutated(good, edits):
    """Bytes of a good file with pieces put in, taken out or turned over."""
    data = bytearray(good)
    for place, length, piece in edits:
        data[place % (len(data) + 1) : place % (len(data) + 1) + length] = piece
    return bytes(data)


def encoded(text):
    return st.sampled_from(ENCODINGS).map(lambda encoding: text.encode(encoding, "replace"))


pieces = st.sampled_from(PIECES)
some_bytes = st.one_of(st.binary(max_size=8), pieces.map(lambda piece: piece.encode("utf-8", "surrogatepass")))
edits = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 12), some_bytes), max_size=6)
cells = st.one_of(pieces, st.text(max_size=12), st.lists(pieces, max_size=4).map("".join))
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), cells), lambda some: st.lists(some, max_size=3), max_leaves=5
)
meant = st.sampled_from(("a", "b", "c.webm", "7.0", "12.5", "sub/Möwe.mp4", "sub/x,y", "SUB\\X,Y.AVI"))
times = st.sampled_from(("", "0", "0.5", "00:00:01", "01:02.5"))
captions = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20).map("x{}".format)
likely = st.tuples(meant, captions, times, st.sampled_from(("", "99", "01:30")))


def saved(rows, mark):
    """Rows as a script writes them, quoted where needed."""
    made = io.StringIO()
    csv.writer(made, delimiter=mark).writerows([("video", "caption", "start", "end"), *rows])
    return made.getvalue()


written = st.one_of(
    st.tuples(st.lists(likely, min_size=3, max_size=9, unique_by=lambda row: row[0]), st.sampled_from([",", ";", "\t"]))
    .map(lambda table: saved(*table))
    .flatmap(lambda text: st.sampled_from(ENCODINGS[:3]).map(text.encode)),
    st.binary(max_size=300),
    st.lists(pieces, max_size=60).map("".join).flatmap(encoded),
    st.tuples(st.sampled_from(GOOD).flatmap(encoded), edits).map(lambda pair: mutated(*pair)),
    st.tuples(st.sampled_from([",", ";", "\t"]), st.lists(st.lists(cells, min_size=1, max_size=6), max_size=8))
    .map(lambda table: "\n".join(("video,caption,start".replace(",", table[0]), *(table[0].join(row) for row in table[1]))))
    .flatmap(encoded),
    st.lists(st.dictionaries(pieces, values, max_size=5), min_size=1, max_size=6)
    .map(lambda rows: "\n".join(json.dumps(row) for row in rows))
    .flatmap(encoded),
)


@pytest.mark.parametrize("text", GOOD)
@pytest.mark.parametrize("encoding", ENCODINGS[:3])
def test_what_is_mutated_is_good(text, encoding):
    assert read_any(text.encode(encoding)) is not None


@settings(max_examples=150, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
@given(written)
@example(b"")
@example(b"\xff\xfe")
@example(b"[" * 5000)
@example(b'video,caption\na,"' + b"x" * 200_000)
@example(b'{"video":"b","caption":"\\ud800"}')
@example(b'{"video":"b","caption":"x","start":' + b"[" * 3000 + b"]" * 3000 + b"}")
def test_any_bytes_are_a_table_or_sentences_that_name_the_file(data):
    read_any(data)


def test_a_thousand_files_to_which_something_happened_are_tables_or_sentences():
    # Accidents to bytes; drawn by hypothesis, as above, a thousand would take three times as long.
    whole, taken = [text.encode() for text in GOOD], 0
    for number in range(1000):
        rng = random.Random(number)
        taken += read_any(accident(rng.choice(whole), rng, other=rng.choice(whole))) is not None
    assert 20 < taken < 500
