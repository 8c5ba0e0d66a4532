"""Prompts made from what the frames of a video show: VoP's context modelling. B videos, T frames, S prompts, D width."""

import torch
from torch import Tensor, nn

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

    def forward(self, cls: Tensor, *, mask: Tensor) -> Tensor:
        """`mask` (B, T) is True for real frames, which come first; padded frames change nothing for them."""
        # A recurrence in half precision loses its state; autocast would run it so.
        exact = cls.to(self.out.weight.dtype)
        with torch.autocast(cls.device.type, enabled=False):
            mixed = self._transform(exact, mask) if self.model == "transformer" else self._recur(exact, mask)
            prompts: Tensor = self.out(mixed)
        return prompts.to(cls.dtype).view(*cls.shape[:2], self.number, cls.shape[-1])

    def _transform(self, cls: Tensor, mask: Tensor) -> Tensor:
        x = cls + self.position[: cls.shape[1]]
        for block in self.blocks:
            x = block(x, keys=mask)
        return x

    def _recur(self, cls: Tensor, mask: Tensor) -> Tensor:
        lengths = mask.sum(dim=1).cpu()
        packed = nn.utils.rnn.pack_padded_sequence(cls, lengths, batch_first=True, enforce_sorted=False)
        out, _ = nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=cls.shape[1])
        return out
