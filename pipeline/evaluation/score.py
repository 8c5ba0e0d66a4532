"""Embeddings -> the metrics file: a pure function."""

import hashlib
from typing import Any

import numpy as np

from pipeline.config.schema import Score
from pipeline.evaluation import metrics, ranks, small
from pipeline.evaluation.embeddings import Embeddings
from pipeline.evaluation.validation import similarities, twin_scores


def score(made: Embeddings, *, settings: Score) -> dict[str, Any]:
    """Text-to-video, video-to-text and the temporal probe, with counts and a hash of what was ranked.

    `meaningless`, of a small gallery only: the R@K that are 100 % whatever a method does.
    """
    scores = similarities(made)
    interval: dict[str, Any] = {"resamples": settings.bootstrap, "confidence": settings.confidence, "seed": settings.seed}
    t2v = ranks.text_to_video(scores, made.video_of_text, captions=made.caption_id)
    v2t = ranks.video_to_text(scores, made.video_of_text, videos=made.video_id)
    v2c = ranks.video_to_caption(scores, made.video_of_text, videos=made.video_id)
    empty = small.meaningless(len(made.video))
    return ({"meaningless": empty} if empty else {}) | {
        "queries": len(made.text),
        "gallery": len(made.video),
        "gallery_hash": gallery_hash(made),
        "t2v": metrics.summary(t2v, made.video_of_text, **interval),
        "v2t": metrics.summary(v2t, np.arange(len(made.video)), **interval),
        "v2t_captions": metrics.summary(v2c, np.arange(len(made.video)), **interval),
        "probe": probe(made, **interval),
    }


def probe(made: Embeddings, **interval: Any) -> dict[str, Any] | None:
    """The temporal probe over the directed captions."""
    own, twin, videos = twin_scores(made)
    return metrics.probe(own, twin, videos, **interval)


def gallery_hash(made: Embeddings) -> str:
    """Hash of the ranking task: the videos, the captions and which belong together. Equal hashes mean comparable metrics."""
    pairs = [f"{caption}\t{made.video_id[v]}" for caption, v in zip(made.caption_id, made.video_of_text, strict=True)]
    return hashlib.sha256("\n".join(sorted(made.video_id) + sorted(pairs)).encode()).hexdigest()[:16]
