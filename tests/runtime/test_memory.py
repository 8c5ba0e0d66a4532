"""How many rows go through a tower at once follows from what one of them needs."""

import pytest
import torch

from pipeline.runtime import memory
from pipeline.runtime.explained import OutOfMemory
from pipeline.runtime.memory import rows_at_once

CPU = torch.device("cpu")
MEGABYTE = 250_000  # numbers of float32


@pytest.fixture
def budget(monkeypatch):
    monkeypatch.setattr(memory, "CPU_BYTES", 40e6)


@pytest.mark.usefixtures("budget")
def test_only_what_is_there_at_once_counts_and_views_and_what_was_there_before_do_not():
    weights = torch.ones(MEGABYTE)

    def one():
        x = weights.clone()  # 1 MB
        for _ in range(5):
            x = x * 2 + 1  # 2 MB more at once, as the next comes before the last is let go
        return x.view(2, -1)[0].add_(1), weights.view(5, -1)

    assert rows_at_once(one, device=CPU, most=64) == 40 // 3
    assert rows_at_once(one, device=CPU, most=8) == 8
    assert rows_at_once(lambda: weights[:10], device=CPU, most=64) == 64
    assert rows_at_once(lambda: torch.zeros(50 * MEGABYTE), device=CPU, most=64) == 1


def test_a_gpu_is_asked_for_its_whole_memory_and_not_for_what_is_free(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: type("Properties", (), {"total_memory": 80e9}))
    assert memory.budget(torch.device("cuda")) == 20e9


def test_the_end_of_memory_while_one_row_is_measured_is_explained():
    from pipeline.evaluation.embed import at_once

    with pytest.raises(OutOfMemory, match=r"^out of memory on cpu in the embedding of videos: .* needed; take a device that nothing"):
        at_once(torch.arange(3).numpy(), lambda _: torch.empty(10**15), device=CPU, what="videos")
