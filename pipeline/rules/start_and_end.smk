# Before the first job and after the last one.
import atexit
import shutil
import threading

from snakemake.settings.types import Quietness


def look_around():
    """Warn of what is likely to go wrong on this machine, and stop where it certainly does: `python -m pipeline doctor`, in a second."""
    # Here, as Snakemakes of single jobs read this file too.
    from pipeline.rules.doctor import line
    from pipeline.rules.doctor.examine import examine

    case = planned_case(quick=True, patience=0.5)
    found = examine(case, seconds=0.9)
    for told in found:
        if told.state == line.WARNING:
            logger.warning(f"{told.name}: {told.text}")
    if stops := [told.text for told in found if told.state == line.STOP]:
        raise WorkflowError("; ".join(stops))


def planned_jobs():
    """Before a run and after a dry one, which takes its jobs for finished."""
    return workflow.dag.needrun_jobs(exclude_finished=False)


def planned_case(**others):
    """The coming run here, as the doctor looks at it."""
    from pipeline.rules.doctor.line import Case

    rules = frozenset(job.rule.name for job in planned_jobs())
    about = {"counts": COUNTS, "choices": CHOICES, "jobs": rules, "slurm": not HERE}
    return Case(PARAMS, **about, **others)


def tell_plan():
    """After a dry run: GPU hours and disk of its jobs, as `python -m pipeline plan` tells them. Snakemake has no hook there."""
    quiet = {Quietness.PROGRESS, Quietness.ALL}
    if (
        not workflow.dryrun
        or not workflow.dag
        or quiet & set(workflow.output_settings.quiet or ())
    ):
        return
    from pipeline.rules import hours
    from pipeline.rules.doctor import disk

    made = {file for job in planned_jobs() for file in map(str, job.output)}
    case = planned_case()
    jobs = hours.jobs(case, PARAMS, made=made.__contains__)
    print(hours.told(jobs, list(disk.planned(case, PARAMS))), file=sys.stderr)


def mark_stale():
    """Mark what is going to be made anew, as Snakemake does for a job that starts.

    It asks for a missing file only where something else is to be made of it. A run killed after another setting had its training
    started, and its adapter removed, would leave the metrics of the setting before, and they would be taken as up to date.
    """
    for job in workflow.dag.needrun_jobs():
        workflow.persistence.started(job)


def end_orphans():
    """End jobs that a killed Snakemake left in Slurm's queue: this folder is locked for us, so no other is at work in it."""
    if not shutil.which("squeue"):
        return
    try:
        ended = slurm.end_orphans(slurm.name(Path.cwd()))
    except RuntimeError as error:
        if not HERE:
            raise WorkflowError(str(error)) from None
        ended = []
    if ended:
        logger.warning(f"Ended Slurm jobs of an earlier run: {', '.join(ended)}.")


def tell_refusals(logs):
    """Say which key of slurm/site.yaml to set where Slurm has refused jobs: the plugin shows its words among pages of others."""
    text = "\n".join(Path(file).read_text(encoding="utf-8") for file in logs)
    for sentence in slurm.refusals(text):
        logger.error(f"{sentence}.")


def end_now():
    """Stop the clocks of Snakemake, which after each submission waits for the time when it may submit again: a minute on a cluster.

    Nothing is left to submit, and it would not end before. DVC starts a Snakemake for each group of stages.
    """
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.cancel()
