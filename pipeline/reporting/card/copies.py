"""Copies of one film that differ as files: in another container or size, or encoded again. Found by the signatures of their clips.

N clips, P parts of time, F tiles (`pipeline.video.signature`). Numbers are levels of brightness or colour, of 255.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.video.signature import BRIGHT, PARTS, SIDE, TILES, Signatures, Tiles, signatures

# So much for the coding, and so large a share of the clip's own deviation. Copies of 26 films, at half the size, in other codecs and at
# other rates, took a hundredth of that share at rest and a tenth in motion; short clips of other rates take half in motion. Two different
# films differ by 1.4 of it, and no two of these 26, or of 58 clips of `motion`, came nearer than twice what is allowed.
LEVELS = {"rest": (1.5, 0.2), "moving": (0.6, 0.5)}
MOST = 10.0  # difference at rest of the first parts, however rich the picture
LONGER = (2, 0.05)  # frames, and share of its film's, by which a copy is longer or shorter
MOVES = 1.0  # deviation in time of a clip that tells anything; what stands still, or is of one colour, looks like any other such clip
GROUPS, EXAMPLES = 10, 3

Floats = NDArray[np.float32]
Rows = NDArray[np.intp]


def near(videos: pd.DataFrame) -> dict[str, Any] | None:
    """Groups of clips that show the same although their files differ, over several splits or within one; None if no clip was looked at.

    `still`: how many clips hardly move and are compared with none. Parts of one file are no copies, and files that are equal byte for
    byte alone make no group: `counts.identical` has them.
    """
    seen = videos[videos["signature"].fillna("") != ""] if "signature" in videos else videos[:0]
    if seen.empty:
        return None
    looks = signatures(seen["signature"].tolist())
    moves = _moves(looks)
    seen = seen.assign(
        file=seen["src_path"].where(seen["src_path"] != "", seen["fetch_url"]), group=_joined(len(seen), _alike(looks, moves))
    )
    moving = seen[moves]
    several = [rows for _, rows in moving.groupby("group") if rows["src_sha256"].nunique() > 1 and rows["file"].nunique() > 1]
    told = sorted((bool(rows["split"].nunique() == 1), sorted(zip(rows["video_id"], rows["split"], strict=True))) for rows in several)
    across = sum(not alone for alone, _ in told)
    first = [[list(member) for member in members[:EXAMPLES]] for _, members in told[:GROUPS]]
    return {"within": len(told) - across, "across": across, "first": first, "still": len(seen) - len(moving), "of": len(seen)}


def _moves(looks: Signatures) -> NDArray[np.bool_]:
    """Whether something happens in the picture of each clip (N,); that all of it gets lighter or darker is not enough."""
    found = np.zeros(len(looks.parts), bool)
    for parts in np.unique(looks.parts):
        for rows in _thousands(np.flatnonzero(looks.parts == parts)):
            moving = _moving(looks.tiles[rows, :parts, :BRIGHT])
            found[rows] = _size(moving - moving.mean(axis=2, keepdims=True)) >= MOVES
    return found


def _alike(looks: Signatures, moves: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Pairs of moving clips that show the same, among those with parts of one length.

    A clip whose parts are all there may have a copy that is a frame longer, with parts twice as long: it is there, too, with its halved.
    """
    for size in np.unique(looks.size):
        own = np.flatnonzero(moves & (looks.size == size))
        full = np.flatnonzero(moves & (2 * looks.size == size) & (looks.parts == PARTS))
        twice = looks.tiles[full].reshape(len(full), PARTS // 2, 2, TILES).mean(axis=2)
        halved = np.zeros((len(full), PARTS, TILES), np.uint8)
        halved[:, : PARTS // 2] = np.rint(twice)
        rows, parts = np.concatenate([own, full]), np.concatenate([looks.parts[own], np.full(len(full), PARTS // 2)])
        tiles, frames = np.concatenate([looks.tiles[own], halved]), looks.frames[rows]
        for a, b in _candidates(tiles, parts):
            apart = np.abs(frames[a] - frames[b]) <= LONGER[0] + LONGER[1] * np.minimum(frames[a], frames[b])
            a, b = a[apart], b[apart]
            same = _same(tiles, a, b, parts=np.minimum(parts[a], parts[b]))
            yield from zip(rows[a[same]].tolist(), rows[b[same]].tolist(), strict=True)


def _candidates(tiles: Tiles, parts: NDArray[np.int64]) -> Iterator[tuple[Rows, Rows]]:
    """Pairs whose first parts are alike in 4 x 4 tiles of brightness; whatever is alike in all tiles is among them.

    Clips stand in the order of their brightness, so each is compared with those that are hardly brighter only, and most of these are
    told apart by one difference more. 10,000 clips take seconds, 100,000 some minutes.
    """
    half, first = PARTS // 2, np.minimum(parts, PARTS // 2)
    rest = tiles[:, :half, :BRIGHT].sum(axis=1, dtype=np.float32) / first[:, None].astype(np.float32)
    coarse = rest.reshape(-1, SIDE // 2, 2, SIDE // 2, 2).mean(axis=(2, 4))
    order = np.argsort(coarse.mean(axis=(1, 2)), kind="stable")
    coarse = coarse[order]
    bright, upper, coarse = coarse.mean(axis=(1, 2)), coarse[:, :2].mean(axis=(1, 2)), coarse.reshape(len(order), 16)
    for step in range(1, len(order)):
        near = bright[step:] - bright[:-step] <= MOST
        if not near.any():
            return
        rows = np.flatnonzero(near & (np.abs((upper - bright)[step:] - (upper - bright)[:-step]) <= MOST))
        rows = rows[_size(coarse[rows + step] - coarse[rows]) <= MOST]
        yield order[rows], order[rows + step]


def _same(tiles: Tiles, a: Rows, b: Rows, *, parts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether clips `a` and `b` (M,) differ by no more than copies do in their `parts` (M,): brightness and colour, at rest and moving."""
    same = np.ones(len(a), bool)
    for number in np.unique(parts):
        for rows in _thousands(np.flatnonzero(parts == number)):
            for kind in (slice(0, BRIGHT), slice(BRIGHT, None)):
                one, other = (tiles[n[rows], :number, kind] for n in (a, b))
                rest, moving = (one.mean(axis=1), other.mean(axis=1)), (_moving(one), _moving(other))
                same[rows] &= _close(*rest, allowed=LEVELS["rest"]) & _close(*moving, allowed=LEVELS["moving"])
    return same


def _close(one: Floats, other: Floats, *, allowed: tuple[float, float]) -> NDArray[np.bool_]:
    least, share = allowed
    return np.asarray(_size(one - other) <= least + share * np.minimum(_deviation(one), _deviation(other)))


def _moving(tiles: Tiles) -> Floats:
    """The differences from the mean over time: (M, P, F) of the same."""
    return np.asarray(tiles - tiles.mean(axis=1, keepdims=True, dtype=np.float32), np.float32)


def _thousands(rows: Rows) -> list[Rows]:
    return np.array_split(rows, 1 + len(rows) // 1000) if len(rows) else []


def _size(values: Floats) -> Floats:
    """Root of the mean square of each of (M, ...), (M,)."""
    return np.asarray(np.sqrt(np.mean(values**2, axis=tuple(range(1, values.ndim)))), np.float32)


def _deviation(values: Floats) -> Floats:
    """Standard deviation of each of (M, ...), (M,)."""
    return np.asarray(values.std(axis=tuple(range(1, values.ndim))), np.float32)


def _joined(number: int, pairs: Iterator[tuple[int, int]]) -> list[int]:
    """For each of `number` things the first one that it hangs together with over any number of pairs."""
    home = list(range(number))

    def root(n: int) -> int:
        while home[n] != n:
            home[n] = n = home[home[n]]
        return n

    for a, b in pairs:
        low, high = sorted((root(a), root(b)))
        home[high] = low
    return [root(n) for n in range(number)]
