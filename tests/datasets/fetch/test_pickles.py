"""Pickles from strangers: data is read, and a program in one does not run."""

import collections
import datetime
import fractions
import os
import pickle
import struct
import time
import tracemalloc

import pytest

from pipeline.datasets.fetch.pickles import load

DATA = {"vid1": [["a", "cat"], ("ä", 1, 2.5, True, None, b"x", 2**70)], 3: {"nested": [{}]}}


def written(folder, content):
    path = folder / "captions.pkl"
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content))
    return path


def refuses(folder, content, match, **options):
    path = written(folder, content)
    with pytest.raises(ValueError, match=match) as caught:
        load(path, **options)
    assert str(caught.value).startswith(str(path))


class Runs:
    """Unpickled by anything else, it makes a file."""

    def __init__(self, place, how):
        self.call = (os.system, (f"touch {place}",)) if how == "system" else (eval, (f"open({str(place)!r}, 'w')",))

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_data_of_every_protocol_is_read(tmp_path, protocol):
    data = {key: value for key, value in DATA.items() if protocol > 2 or key == 3} | {"a": ["b", ("c", 1, 2.5, True, None)]}
    assert load(written(tmp_path, pickle.dumps(data, protocol))) == data


def test_byte_strings_of_python_2_are_read_as_utf_8(tmp_path):
    """As cPickle wrote them: {'v': ['caf\\xc3\\xa9', u'caf\\xe9', 5L]} with protocol 2, and with 0."""
    two = b"\x80\x02}q\x01U\x01vq\x02]q\x03(U\x05caf\xc3\xa9q\x04X\x05\x00\x00\x00caf\xc3\xa9q\x05\x8a\x01\x05es."
    zero = b"(dp1\nS'v'\np2\n(lp3\nS'caf\\xc3\\xa9'\np4\naVcaf\xe9\np5\naL5L\nas."
    assert load(written(tmp_path, two)) == load(written(tmp_path, zero)) == {"v": ["café", "café", 5]}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(("how", "called"), [("system", "(posix|nt).system"), ("eval", "(__builtin__|builtins).eval")])
def test_a_program_is_named_and_not_run(tmp_path, protocol, how, called):
    marker = tmp_path / "marker"
    content = pickle.dumps({"captions": [Runs(marker, how)]}, protocol)
    refuses(tmp_path, content, rf"wants to call {called}; only lists, tuples, dicts, texts and numbers are read")
    assert not marker.exists()
    pickle.loads(content)
    assert marker.exists(), "the pickle of this test does nothing"


def test_the_oldest_way_to_call_is_refused_as_well(tmp_path):
    refuses(tmp_path, b"(S'touch x'\nios\nsystem\n.", "wants to call os.system")
    refuses(tmp_path, b"cos\nsystem\n(S'touch x'\ntR.", "wants to call os.system")


@pytest.mark.parametrize(
    "value", [collections.OrderedDict(a=1), collections.Counter("a"), datetime.date(2020, 1, 1), fractions.Fraction(1), Ellipsis]
)
def test_even_harmless_classes_are_refused_by_name(tmp_path, value):
    refuses(tmp_path, value, r"wants to call \w+\.\w+")


@pytest.mark.parametrize("value", [{1}, [{"a": {2}}], ({"a": [frozenset()]},), bytearray(b"x")])
def test_other_values_that_need_no_class_are_refused_too(tmp_path, value):
    refuses(tmp_path, pickle.dumps(value, 5), r"holds a (set|frozenset|bytearray); only")


def test_a_reference_out_of_the_file_is_refused(tmp_path):
    refuses(tmp_path, b"Psecret\n.", r"refers to something outside of it \('secret'\)")


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_cut_short_anywhere_is_refused(tmp_path, protocol):
    whole = pickle.dumps({"a": ["b", "c", 1]}, protocol)
    for length in range(len(whole)):
        refuses(tmp_path, whole[:length], "cannot be read as a pickle .*; delete it and fetch it again")


@pytest.mark.parametrize(
    "content",
    [b"<!DOCTYPE html>", b"{}", b"no pickle", b"\x80\x63.", b"U\x01\xff.", b"K\x01K\x02b.", b"K\x01(tR.", b"h\x05.", b"\x82\x01.", b"."],
)
def test_what_is_no_pickle_is_one_sentence(tmp_path, content):
    refuses(tmp_path, content, "cannot be read as a pickle")


def test_a_second_pickle_in_the_file_is_not_overlooked(tmp_path):
    refuses(tmp_path, pickle.dumps([1]) + pickle.dumps([2]), r"goes on for \d+ bytes after its end")


def test_a_file_over_the_limit_is_not_read(tmp_path):
    path = written(tmp_path, [1])
    assert load(path, most=path.stat().st_size) == [1]
    refuses(tmp_path, [1, 2], r"has \d+ bytes; a pickle of more than 5 is not read", most=5)


def test_a_file_that_is_not_there_is_the_disk_s_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "x")


@pytest.mark.parametrize("kind", [list, tuple, dict])
def test_a_bomb_of_repeated_parts_ends_soon(tmp_path, kind):
    value = []
    for _ in range(100):
        value = dict.fromkeys(range(10), value) if kind is dict else kind([value] * 10)
    begun = time.perf_counter()
    refuses(tmp_path, value, r"repeats itself to more than \d+ objects")
    assert time.perf_counter() - begun < 5


def test_a_list_within_itself_is_refused(tmp_path):
    value = []
    value.append(value)
    refuses(tmp_path, value, "repeats itself")


def test_parts_that_are_shared_are_no_bomb(tmp_path):
    shared = ["a"] * 100
    assert load(written(tmp_path, [shared] * 1000)) == [shared] * 1000


def test_data_nested_deeper_than_python_recurses_is_read(tmp_path):
    content = b"]" * 50_000 + b"a" * 49_999 + b"."
    value, depth = load(written(tmp_path, content)), 0
    while value:
        value, depth = value[0], depth + 1
    assert depth == 49_999


def test_a_memo_of_four_billion_places_takes_no_memory(tmp_path):
    tracemalloc.start()
    try:
        assert load(written(tmp_path, b"]r" + struct.pack("<I", 2**32 - 1) + b".")) == []
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_text_longer_than_its_file_takes_no_memory(tmp_path):
    refuses(tmp_path, b"\x8e" + struct.pack("<Q", 2**40) + b"x.", "cannot be read as a pickle")
