"""Bytes that something happened to."""

import random
from functools import partial

ODD = (b"\0", b"\xff", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\0\0\0\0", b"\xef\xbb\xbf", b"\r", b"\n\n")
WORDS = (
    b'"', b"'", b",", b";", b"\t", b"{", b"}", b"[", b"]", b":", b"null", b"NaN", b"-1", b"1e999", b"9" * 30, b"\xc3", b"\xed\xa0\x80",
    "\u202e".encode(), "\u200b".encode(), "ä".encode(), b"../", b"/", b"\\", b"&a", b"*a", b"!!python/object:os.system", b"${x}", b"%s",
)  # fmt: skip
HEAD = 512  # bytes, where most formats say what they are


def mutated(data: bytes, rng: random.Random, *, other: bytes) -> bytes:
    """`data` after one to four accidents, of which some take bytes of `other`."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        rng.choice((*ACCIDENTS, partial(_splice, other=other)))(found, rng)
    return bytes(found)


def _flip(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        if data:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _header(data: bytearray, rng: random.Random) -> None:
    """A field near the beginning or the end, which may be any number."""
    span = min(HEAD, len(data))
    place = rng.randrange(span) if span else 0
    if rng.random() < 0.3:
        place = len(data) - place
    field = rng.choice(ODD) if rng.random() < 0.6 else rng.randbytes(rng.choice((1, 2, 4, 8)))
    data[place : place + len(field)] = field


def _cut(data: bytearray, rng: random.Random) -> None:
    place = rng.randrange(len(data) + 1)
    if rng.random() < 0.8:
        del data[place:]
    else:
        del data[:place]


def _move(data: bytearray, rng: random.Random) -> None:
    start, length = _block(data, rng)
    block = data[start : start + length]
    if rng.random() < 0.5:
        del data[start : start + length]
    place = rng.randrange(len(data) + 1)
    data[place:place] = block


def _blank(data: bytearray, rng: random.Random) -> None:
    start, length = _block(data, rng)
    data[start : start + length] = bytes([rng.choice((0, 0xFF, 0x41))]) * length


def _splice(data: bytearray, rng: random.Random, *, other: bytes) -> None:
    """The rest, or a piece, is another file's."""
    start, length = _block(bytearray(other), rng)
    place = rng.randrange(len(data) + 1)
    if rng.random() < 0.3:
        data[place:] = other[start:]
    else:
        data[place : place + length] = other[start : start + length]


def _word(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 3))):
        place, word = rng.randrange(len(data) + 1), rng.choice(WORDS + ODD)
        data[place : place + rng.choice((0, len(word)))] = word


def _repeat(data: bytearray, rng: random.Random) -> None:
    start, length = _block(data, rng)
    data[start:start] = data[start : start + length] * rng.choice((1, 2, 50))


def _block(data: bytearray, rng: random.Random) -> tuple[int, int]:
    start = rng.randrange(len(data) + 1)
    return start, min(rng.choice((1, 4, 16, 256, 4096)), len(data) - start)


ACCIDENTS = (_flip, _flip, _header, _header, _cut, _move, _blank, _word, _repeat)
