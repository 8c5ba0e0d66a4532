"""A small file of rows, written whole or broken off."""

import numpy as np

from pipeline.inputs.writer import Column, Writer, write

IDS = [f"vidéo {row}" for row in range(25)]
COLUMNS = {"tokens": Column((3, 4), "f2"), "mask": Column((3,), "?", small=True)}
ATTRS = {"dataset": "toy", "number": 3}


def values(rows):
    """The rows that belong there."""
    rows = np.asarray(rows)
    tokens = (rows[:, None, None] + np.arange(12).reshape(3, 4) / 16).astype(np.float16)
    return {"tokens": tokens, "mask": rows[:, None] % np.arange(2, 5) == 0}


def batches(first, stop=25, size=5):
    return (values(np.arange(start, min(start + size, stop))) for start in range(first, stop, size))


def writer(target, *, ids=IDS, columns=COLUMNS, attrs=ATTRS, made_from=("a",)):
    return Writer(target, ids=ids, columns=columns, attrs=attrs, made_from=made_from)


def written(target, **options):
    made = writer(target, **options)
    write(made, batches(made.done), label="toy")
    return target
