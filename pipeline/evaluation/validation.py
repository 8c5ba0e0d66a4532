"""Embeddings -> similarities, and the few numbers of a learning curve. Q captions, G videos, K directed captions."""

import numpy as np
import torch

from pipeline.evaluation import ranks
from pipeline.evaluation.embeddings import Embeddings
from pipeline.evaluation.ranks import Doubles, Floats, Integers
from pipeline.evaluation.similarity import query_pair_scores, query_scores

QUERIES = 256  # against all videos at once


def similarities(made: Embeddings) -> Floats:
    """Cosine similarities (Q, G) in float32.

    Sums are made in float64: those of float32 round by the number of threads, and two videos that are all but level would change places.
    """
    if made.temperature is None:
        gallery = made.video.T.astype(np.float64)
        starts = range(0, len(made.text), QUERIES)
        return np.concatenate([(made.text[at : at + QUERIES] @ gallery).astype(np.float32) for at in starts])
    video, mask = torch.from_numpy(made.video).double(), torch.from_numpy(made.mask)
    parts = torch.split(torch.from_numpy(made.text).double(), QUERIES)
    found = torch.cat([query_scores(part, video, mask=mask, temperature=made.temperature) for part in parts])
    return found.numpy().astype(np.float32, copy=False)


def twin_scores(made: Embeddings) -> tuple[Doubles, Doubles, Integers]:
    """Scores (K,) of the directed captions with their videos and with the videos' twins, and the rows of those videos (K,)."""
    rows = np.flatnonzero(made.directed)
    videos = made.video_of_text[rows]
    twins = np.searchsorted(made.twin_of, videos)
    own, twin = (_pairs(made, rows, vectors, videos) for vectors in (made.video[videos], made.twin[twins]))
    bad = np.flatnonzero(np.isnan(own) | np.isnan(twin))
    if len(bad):
        raise ranks.NotANumber(
            f"the score of caption {made.caption_id[rows[bad[0]]]!r} with its video or its twin is NaN ({len(bad)} of {len(own)})"
        )
    return own, twin, videos


def _pairs(made: Embeddings, rows: Integers, vectors: np.ndarray, videos: Integers) -> Doubles:
    """Scores (K,) in float64 of captions `rows` with `vectors`, which are of the `videos` or of their twins: both have one mask."""
    text, vectors = made.text[rows].astype(np.float64), vectors.astype(np.float64)
    if made.temperature is None:
        pairs: Doubles = np.einsum("ke,ke->k", text, vectors)
        return pairs
    mask = torch.from_numpy(made.mask[videos])
    found = query_pair_scores(torch.from_numpy(text), torch.from_numpy(vectors), mask=mask, temperature=made.temperature)
    return np.asarray(found.numpy(), dtype=np.float64)


def validation(made: Embeddings) -> dict[str, float | None]:
    """R@1 both ways, R-Sum of both ways, probe accuracy (None without directed captions), all in percent."""
    scores = similarities(made)
    t2v = ranks.text_to_video(scores, made.video_of_text, captions=made.caption_id).mean
    v2t = ranks.video_to_text(scores, made.video_of_text, videos=made.video_id).mean
    own, twin, _ = twin_scores(made)
    return {
        "t2v_R1": ranks.recall(t2v, 1),
        "v2t_R1": ranks.recall(v2t, 1),
        "RSum": sum(ranks.recall(found, k) for found in (t2v, v2t) for k in (1, 5, 10)),
        "probe": 100 * float(ranks.wins(own, twin)[0].mean()) if len(own) else None,
    }
