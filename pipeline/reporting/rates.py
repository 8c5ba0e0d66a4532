"""The trials of the searches of learning rates, as one table."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pipeline.core.files import read_json

COLUMNS = ("run", "gain", "lr", "clip_lr", "chosen", "RSum", "t2v_R1", "v2t_R1", "probe", "failure")


def table(searches: Sequence[Path]) -> pd.DataFrame:
    """One row a trial: what was tried, what it reached on validation (percent), and whether it was chosen.

    ValueError names a file that is not the record of a search.
    """
    rows = []
    for source in searches:
        search = read_json(source)
        try:
            for trial in search["trials"]:
                told = {key: trial.get(key) for key in ("gain", "lr", "clip_lr", "failure")}
                rows.append({"run": search["run"], "chosen": trial["gain"] == search["gain"], **told, **(trial["val"] or {})})
        except (KeyError, TypeError) as error:
            raise ValueError(f"{source} is not the record of a search of rates ({error}); delete it and run rule rates again") from error
    return pd.DataFrame(rows, columns=COLUMNS)
