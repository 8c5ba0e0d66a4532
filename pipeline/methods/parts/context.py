"""Prompts made from what the frames of a video show: VoP's context modelling. B videos, T frames, S prompts, D width."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.backends import cudnn
from torch.nn.utils.rnn import PackedSequence

from pipeline.clip.tower import Flow
from pipeline.methods.parts.mixer import Mixer

MODELS = ("bilstm", "lstm", "transformer")


class Context(nn.Module):
    """CLS tokens of all frames (B, T, D) -> S prompts for each frame (B, T, S, D) (VoP, equations 6 to 8).

    `bilstm` and `lstm`: one layer with D hidden units a direction. `transformer`: four layers with learned positions, which table 3
    of the paper names and does not define. Then one linear map. Starts are torch's own: no source states them.
    """

    def __init__(self, model: str, width: int, *, number: int, num_frames: int) -> None:
        super().__init__()
        assert model in MODELS, model
        self.model, self.number = model, number
        if model == "transformer":
            self.position = nn.Parameter(torch.empty(num_frames, width).normal_(std=0.02))
            self.blocks = nn.ModuleList(Mixer(width, heads=max(width // 64, 1), std_width=width) for _ in range(4))
        else:
            self.lstm = nn.LSTM(width, width, batch_first=True, bidirectional=model == "bilstm")
        self.out = nn.Linear(2 * width if model == "bilstm" else width, number * width)

    def forward(self, cls: Tensor, flow: Flow) -> Tensor:
        """Padded frames, which come last, change nothing for the real ones."""
        # A recurrence in half precision loses its state; autocast would run it so.
        exact = cls.to(self.out.weight.dtype)
        with torch.autocast(cls.device.type, enabled=False):
            mixed = self._transform(exact, flow.frames) if self.model == "transformer" else self._recur(exact, flow.lengths)
            prompts: Tensor = self.out(mixed)
        return prompts.to(cls.dtype).view(*cls.shape[:2], self.number, cls.shape[-1])

    def _transform(self, cls: Tensor, mask: Tensor) -> Tensor:
        x = cls + self.position[: cls.shape[1]]
        for block in self.blocks:
            x = block(x, keys=mask)
        return x

    # Its shapes follow from the lengths of videos: one place where a compiled program stops, instead of six.
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _recur(self, cls: Tensor, lengths: Tensor) -> Tensor:
        """`pack_padded_sequence` and its inverse do the same, but wait for a GPU four times."""
        places, sizes = _packing(lengths, cls.shape[1])
        if cls.device.type == "cuda":
            places = places.pin_memory().to(cls.device, non_blocking=True)
        packed = PackedSequence(cls.flatten(0, 1).index_select(0, places), sizes)
        with _fixed_sums(cls.device):
            mixed = self.lstm(packed)[0].data
        empty = mixed.new_zeros(cls.shape[0] * cls.shape[1], mixed.shape[1])
        out: Tensor = empty.index_copy(0, places, mixed).unflatten(0, cls.shape[:2])
        return out


def _packing(lengths: Tensor, num_frames: int) -> tuple[Tensor, Tensor]:
    """Real frames in the order of a recurrence, the first of all videos first and the longest video first among them.

    `lengths` (B,) on the CPU -> places in (B*T), and how many videos have a first, a second ... frame.
    """
    longest, order = torch.sort(lengths, descending=True)
    steps = torch.arange(int(longest[0]))
    real = longest > steps[:, None]
    return (order * num_frames + steps[:, None])[real], real.sum(dim=1)


@contextmanager
def _fixed_sums(device: torch.device) -> Iterator[None]:
    """Without cuDNN where the same bits are wanted: its recurrences promise them only with a workspace that slows all other products."""
    before = cudnn.enabled
    if device.type == "cuda" and torch.are_deterministic_algorithms_enabled():
        cudnn.enabled = False
    try:
        yield
    finally:
        cudnn.enabled = before
