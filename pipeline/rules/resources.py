"""Resources that a job asks a cluster for: megabytes and minutes, from the size of its data and the number of the attempt.

Too little memory or time costs a restart with more, too much a longer wait in the queue. Times come from docs/results/data.md and
docs/results/cost-vit-b-32.md, several times over, as other videos and machines are slower; `logs/*/*.tsv` has those of your own runs.
"""

import math

# Restarts at a time limit are attempts too, and must not end in a request that no node can grant.
MOST = 4
# Processes that read ahead where `machine.workers` is -1 and the job has a GPU; where there are fewer cores, fewer (runtime/loader.py).
AHEAD = 6


def memory(base: float, attempt: int) -> int:
    """Megabytes: `base` times the attempt, up to four times."""
    return math.ceil(base * min(attempt, MOST))


def minutes(work: float, attempt: int, *, longest: int = 0) -> int:
    """Minutes for `work` seconds and a quarter of an hour to start in, times the attempt; at most `longest`, where 0 is no limit."""
    wanted = math.ceil((15 + work / 60) * min(attempt, MOST))
    return min(wanted, longest) if longest else wanted


def transcode(videos: int) -> float:
    """Seconds of one shard: 0.6 a video of 15 seconds at 320x240 on one core, up to 15 for minutes of 720p."""
    return 20.0 * videos


def frames(videos: int) -> float:
    """Seconds to sample the frames of all videos: 0.06 each from canonical clips."""
    return 0.5 * videos


def share(frames: int, size: int) -> float:
    """The pixels of a video as a share of those of the measurements: 12 frames of 224x224. Below a tenth, other work counts more."""
    return max(0.1, frames * size**2 / (12 * 224**2))


def features(videos: int, *, share: float, gpu: bool) -> float:
    """Seconds of one tower over all videos, the clips decoded on the way: on a CPU a third of a step of training."""
    return videos * share * (0.5 if gpu else 2.0)


def train(videos: int, epochs: int, *, share: float, captions: str, gpu: bool, processes: int = 1) -> float:
    """Seconds of a training: 2.9 a video on two cores for full fine-tuning of ViT-B/32 with 12 frames, taken as a thirtieth on a GPU.

    `captions: all` sees a video once for each of its captions, 20 in most benchmarks.
    """
    seen = videos * epochs * (20 if captions == "all" else 1)
    return seen * share * (0.1 if gpu else 3.0) / processes


def train_memory(batch: int, *, share: float, gpu: bool) -> float:
    """Megabytes of a training: a gigabyte for each video of a batch, where the CPU holds what autograd saves."""
    return 4000 if gpu else 3000 + 1080 * batch * share


def cpus(threads: int, workers: int, *, gpu: int, processes: int = 1) -> int:
    """Cores of a job: those that compute, and those that read ahead, of each of its processes on a node."""
    return processes * (threads + readers(workers, gpu=gpu))


def readers(workers: int, *, gpu: int) -> int:
    """Processes that read ahead for one that computes."""
    return workers if workers >= 0 else AHEAD if gpu else 0


def launcher(gpus: int, nodes: int) -> str:
    """The words before a stage's module: one process, one a GPU of a node, or the same on each of several nodes of a Slurm job."""
    if nodes > 1:
        # The job's shell runs on its first host, where all meet; its number keeps two meetings apart.
        meet = "--rdzv-backend c10d --rdzv-id $SLURM_JOB_ID --rdzv-endpoint $(hostname):$((20000 + SLURM_JOB_ID % 10000))"
        # A step starts with its own signals: the warning before a time limit is for the training, not for what starts it.
        step = f"srun --nodes={nodes} --ntasks={nodes} --ntasks-per-node=1 env --ignore-signal=USR1"
        return f"{step} torchrun --nnodes {nodes} --nproc-per-node {gpus} {meet} -m --"
    return f"torchrun --standalone --nproc-per-node {gpus} -m --" if gpus > 1 else "python -m"


def across(nodes: int) -> dict[str, int | str]:
    """Further resources of a job on several nodes: one task a node, and no `srun` around them all, as its command starts its own."""
    return {"nodes": nodes, "tasks": nodes, "tasks_per_gpu": 0, "mpi": "srun"} if nodes > 1 else {}
