"""Jobs that a killed Snakemake left are told to end until they are gone, against made-up commands of Slurm."""

from pipeline.rules import slurm
from tests.rules.test_slurm import commands


def test_a_slurmctld_that_forgets_a_cancellation_is_told_again(tmp_path, monkeypatch):
    mine, told = slurm.name(tmp_path), tmp_path / "told"
    told.touch()
    # The first is forgotten, and the next question has no answer.
    queue = f"""n=$(wc -l < {told}); m=$(wc -l < {tmp_path}/asked 2>/dev/null || echo 0); echo >> {tmp_path}/asked
[ $m = 1 ] && exit 1
[ $n = 3 ] || echo 7 {mine}_one"""
    commands(tmp_path / "bin", monkeypatch, squeue=queue, scancel=f'echo "$@" >> {told}')
    assert slurm.end_orphans(mine) == ["7"]
    assert told.read_text() == "7\n7\n7\n"
