"""Learned positions of frames. T frames, D width."""

from torch import Tensor

from pipeline.clip.tower import Flow, TokenHook


def add_positions(table: Tensor) -> TokenHook:
    """A position (D,) for each frame, from a table (T, D), on all its tokens."""

    def change(tokens: Tensor, flow: Flow) -> Tensor:
        by_video: Tensor = tokens.unflatten(0, (-1, flow.num_frames)) + table[: flow.num_frames, None].to(tokens.dtype)
        return by_video.flatten(0, 1)

    return change
