"""Embeddings -> the metrics file: a pure function."""

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config.schema import Score
from pipeline.evaluation import metrics, ranks, small
from pipeline.evaluation.embeddings import Embeddings
from pipeline.evaluation.ranks import Integers
from pipeline.evaluation.validation import similarities, twin_scores


def score(made: Embeddings, *, settings: Score, asked: NDArray[np.bool_] | None = None) -> dict[str, Any]:
    """Text-to-video, video-to-text and the temporal probe, with counts and a hash of what was ranked.

    `asked` (G,): the videos that are queries, and whose captions are; None: all. The gallery is whole in any case.
    `meaningless`, of a small gallery only: the R@K that are 100 % whatever a method does.
    """
    scores = similarities(made)
    interval: dict[str, Any] = {"resamples": settings.bootstrap, "confidence": settings.confidence, "seed": settings.seed}
    t2v = ranks.text_to_video(scores, made.video_of_text, captions=made.caption_id)
    v2t = ranks.video_to_text(scores, made.video_of_text, videos=made.video_id)
    v2c = ranks.video_to_caption(scores, made.video_of_text, videos=made.video_id)
    videos = np.flatnonzero(np.ones(len(made.video), bool) if asked is None else asked)
    texts = np.flatnonzero(np.isin(made.video_of_text, videos))
    empty = small.meaningless(len(made.video))
    return ({"meaningless": empty} if empty else {}) | {
        "queries": len(texts),
        "gallery": len(made.video),
        "gallery_hash": gallery_hash(made, texts),
        "t2v": metrics.summary(t2v.of(texts), made.video_of_text[texts], **interval),
        "v2t": metrics.summary(v2t.of(videos), videos, **interval),
        "v2t_captions": metrics.summary(v2c.of(videos), videos, **interval),
        "probe": probe(made, videos, **interval),
    }


def probe(made: Embeddings, asked: Integers, **interval: Any) -> dict[str, Any] | None:
    """The temporal probe over the directed captions of the videos `asked`, and over those of each kind of action, where they have one."""
    own, twin, videos = twin_scores(made)
    taken = np.isin(videos, asked)
    whole = metrics.probe(own[taken], twin[taken], videos[taken], **interval)
    if whole is None or not made.action:
        return whole
    kind = np.array(made.action)[made.directed]
    rows = {name: taken & (kind == name) for name in sorted(set(kind[taken])) if name}
    kinds = {name: metrics.probe(own[of], twin[of], videos[of], **interval) for name, of in rows.items()}
    return whole | ({"actions": kinds} if kinds else {})


def gallery_hash(made: Embeddings, texts: Integers | None = None) -> str:
    """Hash of the ranking task: the videos, the captions (all, or the rows `texts`) and which belong together.

    Equal hashes mean comparable metrics.
    """
    rows = range(len(made.caption_id)) if texts is None else texts.tolist()
    pairs = [f"{made.caption_id[row]}\t{made.video_id[made.video_of_text[row]]}" for row in rows]
    return hashlib.sha256("\n".join(sorted(made.video_id) + sorted(pairs)).encode()).hexdigest()[:16]
