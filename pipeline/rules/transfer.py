"""Tests on other datasets are Snakemake's alone."""

from pipeline.config.schema import Params


def refuse(params: Params, *, where: str = "params.yaml") -> None:
    """ValueError under DVC, whose stages prepare what is trained on: a matrix of dvc.yaml cannot add another list to that."""
    if params.run.transfer:
        raise ValueError(
            f"{where}: run.transfer names {', '.join(params.run.transfer)}, and DVC has no stage for it; empty the list, or let "
            "`snakemake --cores all` do everything and `python -m pipeline.stages.dvc record` note it (docs/dvc.md)"
        )
