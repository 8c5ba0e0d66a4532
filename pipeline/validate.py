"""Embeddings -> similarities, and the few numbers of a learning curve. Q captions, G videos, K directed captions."""

import numpy as np

from pipeline import ranks
from pipeline.embeddings import Embeddings
from pipeline.ranks import Doubles, Floats, Integers


def similarities(made: Embeddings) -> Floats:
    """Cosine similarities (Q, G) in float32."""
    scores: Floats = (made.text @ made.video.T).astype(np.float32, copy=False)
    return scores


def twin_scores(made: Embeddings) -> tuple[Doubles, Doubles, Integers]:
    """Scores (K,) of the directed captions with their videos and with the videos' twins, and the rows of those videos (K,)."""
    rows = np.flatnonzero(made.directed)
    videos = made.video_of_text[rows]
    text = made.text[rows].astype(np.float64)
    own: Doubles = np.einsum("ke,ke->k", text, made.video[videos].astype(np.float64))
    twin: Doubles = np.einsum("ke,ke->k", text, made.twin[np.searchsorted(made.twin_of, videos)].astype(np.float64))
    bad = np.flatnonzero(np.isnan(own) | np.isnan(twin))
    if len(bad):
        raise ValueError(
            f"the score of caption {made.caption_id[rows[bad[0]]]!r} with its video or its twin is NaN ({len(bad)} of {len(own)})"
        )
    return own, twin, videos


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
