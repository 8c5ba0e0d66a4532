"""Examples for the report: the first videos that each method finds for a few queries, and small pictures of them.

M methods, Q queries, G gallery, E embedding.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import pandas as pd
from PIL import Image

from pipeline.core.layout import recorded
from pipeline.evaluation.embeddings import Embeddings
from pipeline.evaluation.validation import similarities

HEIGHT, FRAMES = 96, 4  # of a thumbnail: pixels, and pictures side by side


class Hit(NamedTuple):
    """One video that a method found, with its cosine similarity."""

    video_id: str
    score: float
    right: bool


@dataclass(frozen=True)
class Example:
    """A query with what each method finds first. `ranks`: the place of the right video, 1 is first."""

    caption: str
    video_id: str
    directed: bool
    hits: Mapping[str, Sequence[Hit]]
    ranks: Mapping[str, int]


def top(scores: np.ndarray, *, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k best videos of each row of scores (Q, G), and their scores, both (Q, k); of equal scores the earlier video is first."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(scores, order, axis=1)


def choose_queries(best: np.ndarray, *, truth: np.ndarray, directed: np.ndarray, number: int = 8) -> list[int]:
    """Up to `number` queries worth a look, half of them directed where there are enough.

    `best` (M, Q) is each method's first video. Queries that some methods get right and others wrong come before those where
    the wrong answers differ, and those before the rest; within a kind they are spread evenly over the test set.
    """
    right = best == truth
    interest = (right.any(axis=0) & ~right.all(axis=0)).astype(int) + (best != best[0]).any(axis=0)
    halves = [_spread(np.flatnonzero(directed == kind), interest, number) for kind in (True, False)]
    enough = [min(len(half), number // 2) for half in halves]
    taken = [half[: max(number // 2, number - other)] for half, other in zip(halves, reversed(enough), strict=True)]
    return sorted((i for half in taken for i in half), key=lambda i: (-interest[i], i))[:number]


def _spread(queries: np.ndarray, interest: np.ndarray, number: int) -> list[int]:
    chosen: list[int] = []
    for level in (2, 1, 0):
        pool = queries[interest[queries] == level]
        size = min(number - len(chosen), len(pool))
        # halves first: a caller that takes only the first few still gets them from all over
        places = np.linspace(0, len(pool) - 1, size).round().astype(int) if size else np.array([], int)
        chosen += [int(pool[i]) for i in [*places[::2], *places[1::2]]]
    return chosen


def examples(found: Mapping[str, Embeddings], captions: pd.DataFrame, *, number: int = 8) -> list[Example]:
    """Example queries of the runs `found` (label -> embeddings). ValueError if they do not belong together."""
    label, first = next(iter(found.items()))
    for other, e in found.items():
        if (e.video_id, e.caption_id) != (first.video_id, first.caption_id):
            raise ValueError(f"the embeddings of {label} and {other} hold other videos or captions; embed and score both again")
    scores = {label: similarities(e) for label, e in found.items()}
    best = np.stack([top(rows, k=1)[0][:, 0] for rows in scores.values()])
    words = {(str(v), str(c)): str(t) for v, c, t in zip(captions.video_id, captions.caption_id, captions.text, strict=True)}
    chosen = choose_queries(best, truth=first.video_of_text, directed=first.directed, number=number)
    return [_example(query, first, {label: rows[query : query + 1] for label, rows in scores.items()}, words) for query in chosen]


def _example(query: int, first: Embeddings, found: Mapping[str, np.ndarray], words: Mapping[tuple[str, str], str]) -> Example:
    """`found`: the scores (1, G) of the query by method."""
    truth = int(first.video_of_text[query])
    key = (first.video_id[truth], first.caption_id[query])
    if key not in words:
        raise ValueError(f"the table of captions has no caption {key[1]!r} of video {key[0]!r}; it is not the one that was embedded")
    hits, ranks = {}, {}
    for label, row in found.items():
        order, scores = top(row, k=row.shape[1])
        ranks[label] = int(np.flatnonzero(order[0] == truth)[0]) + 1
        hits[label] = [Hit(first.video_id[i], float(s), i == truth) for i, s in zip(order[0, :5], scores[0, :5], strict=True)]
    return Example(words[key], key[0], bool(first.directed[query]), hits, ranks)


def thumbnail(path: Path, *, frames: int = FRAMES, turned: bool = False) -> str:
    """`frames` evenly spaced pictures of a clip side by side, each HEIGHT pixels high, as a JPEG data URI; the last first if `turned`."""
    try:
        with av.open(str(path)) as container:
            decoded = list(container.decode(video=0))
    except (av.error.FFmpegError, IndexError) as error:
        raise ValueError(f"{path} cannot be decoded ({error}); transcode it again") from error
    if not decoded:
        raise ValueError(f"{path} holds no frame; transcode it again")
    chosen = [decoded[int((i + 0.5) * len(decoded) / frames)] for i in range(frames)]
    pictures = [Image.fromarray(frame.to_ndarray(format="rgb24")) for frame in (reversed(chosen) if turned else chosen)]
    width = max(1, round(pictures[0].width * HEIGHT / pictures[0].height))
    strip = Image.new("RGB", (width * frames, HEIGHT))
    for i, picture in enumerate(pictures):
        strip.paste(picture.resize((width, HEIGHT), Image.Resampling.LANCZOS), (i * width, 0))
    buffer = io.BytesIO()
    strip.save(buffer, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def clips(shown: Sequence[Example], videos: pd.DataFrame, *, root: Path) -> dict[str, Path]:
    """The clip of each video the examples show, once. ValueError names a video that the table of videos lacks."""
    paths = dict(zip(videos.video_id.astype(str), videos.out_path.astype(str), strict=True))
    wanted = dict.fromkeys(v for e in shown for v in (e.video_id, *(hit.video_id for hits in e.hits.values() for hit in hits)))
    for video in wanted:
        if not paths.get(recorded(video)):
            raise ValueError(f"the table of videos has no clip of {video!r}; give the table that was embedded")
    return {video: root / paths[recorded(video)] for video in wanted}
