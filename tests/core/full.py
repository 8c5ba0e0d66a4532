"""Writes a file of each kind on a disk that takes so many bytes and no more: python -m tests.core.full KIND TARGET LIMIT..."""

import resource
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import torch

from pipeline.adapters import checkpoint
from pipeline.core import files
from pipeline.core.hdf5 import written
from pipeline.evaluation import embeddings
from pipeline.search import index_file as index
from pipeline.stages import guarded
from pipeline.training import state


def of_state(target):
    weight = torch.nn.Parameter(torch.zeros(5000))
    scaler = torch.amp.GradScaler(enabled=False)
    made = state.State(target, "run", {"w": weight}, torch.optim.SGD([weight], lr=1), scaler, torch.device("cpu"))
    made.save({"epoch": 1})


def of_embeddings(target):
    ids = [str(number) for number in range(100)]
    vectors, rows = np.ones((100, 32), np.float32), np.arange(100)
    made = embeddings.Embeddings(vectors, vectors, vectors[:0], ids, ids, rows, rows[:0], rows > 0, np.ones((100, 4), bool))
    embeddings.save(target, made, attributes={"dataset": "toy"})


def of_index(target):
    rows = index.Rows(np.ones((100, 32), np.float32), np.ones((100, 4, 32), np.float32), np.ones((100, 4), bool), np.ones((100, 4)))
    table = pd.DataFrame({name: ["ü" * 50] * 100 if kind is str else np.arange(100) for name, kind in index.VIDEO_COLUMNS.items()})
    with written(target, libver=("v110", "v110")) as file:
        index.put_table(file, "videos", table, index.VIDEO_COLUMNS)
        index.put_rows(file, 100, iter([rows]))
        index.put_bytes(file, "about", bytes(3000))


def of_table(target):
    with files.whole(target) as part:
        pd.DataFrame({"video_id": [f"{number} ü" for number in range(5000)]}).to_parquet(part, index=False)


KINDS = {
    "json": lambda target: files.write_json(target, list(range(5000))),
    "adapter": lambda target: checkpoint.save(target, {"w": torch.ones(5000)}, header={"run": "toy"}),
    "table": of_table,
    "state": of_state,
    "embeddings": of_embeddings,
    "index": of_index,
}


def main():
    kind, target = sys.argv[1], Path(sys.argv[2])
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    h5py.File.in_memory().close()  # what is loaded late is loaded before
    said = []
    for limit in map(int, sys.argv[3:]):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))
        try:
            guarded(lambda: KINDS[kind](target))
            said.append("written")
        except SystemExit as ended:
            said.append(str(ended.code))
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        said.append(" ".join(sorted(path.name for path in target.parent.iterdir())))
    print("\n".join(said))


if __name__ == "__main__":
    main()
