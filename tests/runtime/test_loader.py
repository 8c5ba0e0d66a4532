"""Batches in order, from worker processes or not; what a fetch raises is raised where its batch is due."""

from typing import NamedTuple

import numpy as np
import pytest
import torch

from pipeline.runtime.loader import Stream

CPU = torch.device("cpu")


class Fetched(NamedTuple):
    rows: torch.Tensor
    more: torch.Tensor | None


def fetch(rows):
    if 7 in rows:
        raise ValueError("row 7 is damaged")
    return Fetched(torch.from_numpy(rows), None)


@pytest.mark.parametrize("workers", [0, 1, 2, -1])
def test_batches_come_in_the_order_asked_for(workers):
    wanted = [np.array([3, 1]), np.array([2]), np.array([9, 8, 0]), *(np.array([row]) for row in range(10, 30))]
    stream = Stream(fetch, iter(wanted), device=CPU, workers=workers)
    found = list(stream)
    assert [batch.rows.tolist() for batch in found] == [rows.tolist() for rows in wanted]
    assert all(batch.more is None for batch in found)
    assert stream.waited > 0


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_is_one_sentence_and_comes_after_the_batches_before_it(workers):
    batches = iter(Stream(fetch, [np.array([1]), np.array([2]), np.array([7]), np.array([3])], device=CPU, workers=workers))
    assert [next(batches).rows.item() for _ in range(2)] == [1, 2]
    with pytest.raises(ValueError, match="^row 7 is damaged$"):
        next(batches)


@pytest.mark.parametrize("workers", [0, 2])
def test_reading_draws_no_random_number_of_ours(workers):
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    list(Stream(fetch, [np.array([1])], device=CPU, workers=workers))
    assert torch.rand(1) == expected
