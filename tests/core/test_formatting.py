"""Numbers as people read and write them."""

import pytest

from pipeline.core.formatting import aligned, sizes


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("80GB", [80 * 10**9]),
        ("80 GiB", [80 * 2**30]),
        ("24GB 40 GB 80gib", [24 * 10**9, 40 * 10**9, 80 * 2**30]),
        ("1.5T", [1_500_000_000_000]),
        ("512MiB", [2**29]),
    ],
)
def test_sizes_are_read(text, found):
    assert sizes(text, what="--memory") == found


@pytest.mark.parametrize("text", ["80", "GB", "80 GBit", "much", "-80GB", "1.2.3GB", "0GB", "80GB,40GB", "."])
def test_other_sizes_are_refused_in_one_sentence(text):
    with pytest.raises(ValueError, match=r"^--memory has '.+'; give a size such as 80GB \(10\^9 bytes\) or 80GiB \(2\^30\)$"):
        sizes(text, what="--memory")


def test_no_size_is_refused():
    with pytest.raises(ValueError, match="--memory names no size"):
        sizes(" ", what="--memory")


def test_columns_are_aligned():
    assert aligned([["a", "bb"], ["ccc", "d"]], left=1) == "a    bb\nccc   d\n"
