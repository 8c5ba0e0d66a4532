# Resources that jobs ask for: memory, time and cores, from the size of the data.


def memory(base):
    """Megabytes of a job, more at each attempt. `base` may be a function of its wildcards."""
    return lambda w, attempt: demand.memory(
        base(w) if callable(base) else base, attempt
    )


def runtime(seconds):
    """Minutes of a job for the work that a function of its wildcards tells, or a number does."""
    return lambda w, attempt: demand.minutes(
        seconds(w) if callable(seconds) else seconds, attempt, longest=LONGEST
    )


def videos_of(wildcards):
    return COUNTS[wildcards.dataset]


def pixels(wildcards):
    """Of a dataset's videos, as a share of those that times and memory were measured with."""
    shape = dataset_of(wildcards).frames
    return demand.share(shape.number, shape.size)


def training_seconds(epochs=None):
    """How long a training of a run takes, with its own number of epochs or another."""

    def seconds(wildcards):
        settings = resolve.train_of(PARAMS, wildcards.run, wildcards.dataset)
        return demand.train(
            videos_of(wildcards),
            epochs or settings.epochs,
            share=pixels(wildcards),
            captions=settings.captions,
            gpu=GPU > 0,
            processes=MACHINE.gpus * MACHINE.nodes,
        )

    return seconds


def training_memory(wildcards):
    settings = resolve.train_of(PARAMS, wildcards.run, wildcards.dataset)
    return demand.train_memory(settings.batch, share=pixels(wildcards), gpu=GPU > 0)


def features_seconds(wildcards):
    return demand.features(videos_of(wildcards), share=pixels(wildcards), gpu=GPU > 0)


def transfer_seconds(wildcards):
    """Of embedding another dataset, as if it were whole."""
    return features_seconds(type(wildcards)(fromdict={"dataset": wildcards.tested}))


def cpus(threads, processes=1):
    """Cores of a job on a cluster, where `threads` would be cut to the cores of the login node."""
    return demand.cpus(threads, MACHINE.workers, gpu=GPU, processes=processes)
