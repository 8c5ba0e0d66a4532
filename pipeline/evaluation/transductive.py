"""Scores that need more at test time than one query and the gallery: a track of its own, never in the table of methods.

Dual softmax (Cheng et al., arXiv:2109.04290) needs all test queries at once; querybank normalisation (Bogolin et al., CVPR 2022,
arXiv:2112.12777) a bank of training captions. Their numbers are fixed here and tuned on nothing. Q queries, G gallery, N bank.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation import ranks
from pipeline.evaluation.embeddings import Embeddings
from pipeline.evaluation.ranks import Doubles, Floats
from pipeline.evaluation.validation import similarities

SCALE = 100.0  # of cosines in the dual softmax: CLIP's logit scale
BETA = 20.0  # inverse temperature of the querybank: its authors' for CLIP
NEEDS = {
    "plain": "one query and the gallery",
    "dual softmax": "all test queries at once",
    "querybank": "a bank of training captions",
}


def dual_softmax(scores: Floats) -> Doubles:
    """Scores (Q, G), each times the share of its query among all queries of its video: softmax over Q at SCALE."""
    shares: Doubles = scores * _softmax(SCALE * scores.astype(np.float64), axis=0)
    return shares


def querybank(scores: Floats, bank: Floats) -> Doubles:
    """Scores (Q, G) of which rows are normalised by what a bank (N, G) likes: the dynamic inverted softmax, with the first video of each.

    A query whose first video is first for no sentence of the bank stays as it is. Only rows are comparable in what comes back.
    """
    favoured = np.zeros(scores.shape[1], bool)
    favoured[bank.argmax(axis=1)] = True
    normal = BETA * (scores.astype(np.float64) - 1) - _log_sum(BETA * (bank.astype(np.float64) - 1))
    return np.where(favoured[scores.argmax(axis=1)][:, None], normal, scores.astype(np.float64))


def track(made: Embeddings, bank: Floats | None = None) -> dict[str, dict[str, float]]:
    """R@1, R@5, R@10 of text to video by the names of NEEDS, and R@1 of video to text where it is defined; `bank` (N, G).

    The bank is of captions, so it says nothing about video to text.
    """
    scores = similarities(made)
    turned = _order(dual_softmax(scores.T)).T
    found = {"plain": _numbers(made, scores, scores), "dual softmax": _numbers(made, _order(dual_softmax(scores)), turned)}
    return found if bank is None else found | {"querybank": _numbers(made, _order(querybank(scores, bank)), None)}


def _order(values: Doubles) -> Floats:
    """The place of each value in its row from the smallest on, equal for equal ones: shares as small as 1e-80 are none in float32."""
    return np.stack([np.unique(row, return_inverse=True)[1] for row in values]).astype(np.float32)


def _numbers(made: Embeddings, t2v: Floats, v2t: Floats | None) -> dict[str, float]:
    mean = ranks.text_to_video(t2v, made.video_of_text, captions=made.caption_id).mean
    found: dict[str, Any] = {f"R{k}": round(ranks.recall(mean, k), 4) for k in (1, 5, 10)}
    if v2t is not None:
        found["v2t_R1"] = round(ranks.recall(ranks.video_to_text(v2t, made.video_of_text, videos=made.video_id).mean, 1), 4)
    return found


def _softmax(values: Doubles, *, axis: int) -> Doubles:
    raised = np.exp(values - values.max(axis=axis, keepdims=True))
    shares: Doubles = raised / raised.sum(axis=axis, keepdims=True)
    return shares


def _log_sum(values: Doubles) -> NDArray[np.float64]:
    """log of the sum of exp over rows (N, G) -> (G,)."""
    most = values.max(axis=0)
    total: Doubles = most + np.log(np.exp(values - most).sum(axis=0))
    return total
