"""Writes a file of each kind on a disk that takes so many bytes and no more: python -m tests.core.full KIND TARGET LIMIT...

What a kind needs is imported by that kind alone: a start with torch and open_clip takes seconds, and five of the six need less.
"""

import resource
import sys
from pathlib import Path

from pipeline.core import files
from pipeline.stages import guarded

# Each imports and makes what it needs before the limit holds, and gives what writes to a target.


def of_json():
    return lambda target: files.write_json(target, list(range(5000)))


def of_adapter():
    import torch

    from pipeline.adapters import checkpoint

    return lambda target: checkpoint.save(target, {"w": torch.ones(5000)}, header={"run": "toy"})


def of_table():
    import pandas as pd

    def write(target):
        with files.whole(target) as part:
            pd.DataFrame({"video_id": [f"{number} ü" for number in range(5000)]}).to_parquet(part, index=False)

    return write


def of_state():
    import torch

    from pipeline.training import state

    weight = torch.nn.Parameter(torch.zeros(5000))
    optimiser, scaler = torch.optim.SGD([weight], lr=1), torch.amp.GradScaler(enabled=False)
    return lambda target: state.State(target, "run", {"w": weight}, optimiser, scaler, torch.device("cpu")).save({"epoch": 1})


def of_embeddings():
    import numpy as np

    from pipeline.evaluation import embeddings

    ids = [str(number) for number in range(100)]
    vectors, rows = np.ones((100, 32), np.float32), np.arange(100)
    made = embeddings.Embeddings(vectors, vectors, vectors[:0], ids, ids, rows, rows[:0], rows > 0, np.ones((100, 4), bool))
    return lambda target: embeddings.save(target, made, attributes={"dataset": "toy"})


def of_index():
    import numpy as np
    import pandas as pd

    from pipeline.core.hdf5 import written
    from pipeline.search import index_file as index

    rows = index.Rows(np.ones((100, 32), np.float32), np.ones((100, 4, 32), np.float32), np.ones((100, 4), bool), np.ones((100, 4)))
    table = pd.DataFrame({name: ["ü" * 50] * 100 if kind is str else np.arange(100) for name, kind in index.VIDEO_COLUMNS.items()})

    def write(target):
        with written(target) as file:
            index.put_table(file, "videos", table, index.VIDEO_COLUMNS)
            index.put_rows(file, 100, iter([rows]))
            index.put_bytes(file, "about", bytes(3000))

    return write


KINDS = {
    "json": of_json,
    "adapter": of_adapter,
    "table": of_table,
    "state": of_state,
    "embeddings": of_embeddings,
    "index": of_index,
}


def main():
    write, target = KINDS[sys.argv[1]](), Path(sys.argv[2])
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    said = []
    for limit in map(int, sys.argv[3:]):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))
        try:
            guarded(lambda: write(target))
            said.append("written")
        except SystemExit as ended:
            said.append(str(ended.code))
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        said.append(" ".join(sorted(path.name for path in target.parent.iterdir())))
    print("\n".join(said))


if __name__ == "__main__":
    main()
