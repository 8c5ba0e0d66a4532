# Inputs of rules: files, settings and code, by wildcards.


def dataset_of(wildcards):
    return PARAMS.datasets[wildcards.dataset]


def shards(dataset):
    """The names of a dataset's shards, which transcode its videos by one job each."""
    size = PARAMS.datasets[dataset].clips.shard
    return [f"{number:03d}" for number in range(-(-COUNTS[dataset] // size))]


def video_root(wildcards):
    """The folder of video files that a dataset's table names them in."""
    return dataset_of(wildcards).videos or layout.raw(wildcards.dataset)


def state(wildcards):
    """Changes when what is in a video of the shard does; only your own are expected to."""
    entry = dataset_of(wildcards)
    first = int(wildcards.shard) * entry.clips.shard
    videos = OWN.get(wildcards.dataset, [])[first : first + entry.clips.shard]
    return folder.fingerprint(entry, videos, known=KNOWN)


def annotation_files(wildcards):
    """The files that are read besides the downloaded ones: what the user has of a dataset, where params.yaml says so.

    Of a folder Snakemake would compare the time: it is told to look at its files, or `names` tells it what is in it.
    """
    entry = dataset_of(wildcards)
    given = [
        path for path in (entry.annotations, entry.captions, entry.exclude) if path
    ]
    listed = [
        str(file)
        for path in given
        for file in (texts_below(path) if os.path.isdir(path) else [path])
    ]
    return listed + [ancient(path) for path in (entry.videos,) if path]


def gallery_lists(wildcards):
    """The user's lists of parts of a test set."""
    found = resolve.score(PARAMS, wildcards.dataset).galleries or {}
    return [gallery.file for gallery in found.values()]


def texts_below(path):
    """The files of a folder that are no videos."""
    return [file for file in contents.below(Path(path)) if not is_video(file)]


def names(wildcards):
    """Changes with the names of the files among which a benchmark's videos are looked for; captions of your own name theirs."""
    entry = dataset_of(wildcards)
    if entry.captions or not entry.videos:
        return ""
    found = [str(path) for path in contents.below(Path(entry.videos))]
    return hashlib.sha256("\n".join(found).encode()).hexdigest()[:16]


def architecture(wildcards):
    """The description of a tiny CLIP."""
    return shown(ROOT / "pipeline/clip" / f"{wildcards.tiny}.json")


def backbone_weights(wildcards):
    """The weights are an input when they are a file; open_clip fetches named ones itself."""
    return [PARAMS.backbone.weights] if PARAMS.backbone.file else []


def clips(wildcards):
    """Folders of clips, and the reports that have the hash of each clip: of a folder Snakemake knows the time only, and goes by these."""
    dataset = wildcards.dataset
    return [
        *(ancient(f"{layout.clips(dataset)}/{shard}") for shard in shards(dataset)),
        *(f"data/{dataset}/shards/{shard}.parquet" for shard in shards(dataset)),
    ]


def chosen(wildcards):
    """The stores of a run. It was checked before if params.yaml asks for the run."""
    found = CHOICES[wildcards.run, wildcards.dataset]
    if found.problem:
        raise WorkflowError(found.problem)
    return found


def split_files(wildcards, split):
    """The inputs of a run from a split, by the names of its stage's arguments: the one store of videos that it may use, and captions."""
    stores = chosen(wildcards).of(split)
    folder = layout.split(wildcards.dataset, split)

    def file(tower, word):
        return layout.store(folder, word, tower=tower, backbone=BACKBONE)

    files = {
        "videos": file("vision", stores.video),
        "captions": file("text", layout.CAPTIONS),
    }
    if stores.text != layout.CAPTIONS:
        files["text"] = file("text", stores.text)
    extra = resolve.extra_of(PARAMS, wildcards.run, wildcards.dataset)
    if extra and split == "train":
        files["extra"] = extra
    return files


def stores(wildcards):
    """The files of frames and tokens of all runs."""
    files = {
        path
        for dataset in PARAMS.run.datasets
        for run in PARAMS.run.methods
        for split in layout.SPLITS
        for path in split_files(
            type(wildcards)(fromdict={"dataset": dataset, "run": run}), split
        ).values()
    }
    return sorted(path for path in files if path.endswith(".h5"))


def decoded(wildcards, splits):
    """Whether a run decodes the clips of one of these splits itself."""
    stores = chosen(wildcards)
    return any(stores.of(split).video == layout.CLIPS for split in splits)


def split_inputs(*splits):
    def files(wildcards):
        found = {
            f"{split}_{name}": path
            for split in splits
            for name, path in split_files(wildcards, split).items()
        }
        return found | (
            {"clips": clips(wildcards)} if decoded(wildcards, splits) else {}
        )

    return files


def split_arguments(*splits):
    """The same as arguments; those of a single split have no prefix."""

    def arguments(wildcards):
        words = [
            f"--{f'{split}-' if len(splits) > 1 else ''}{name} {shlex.quote(path)}"
            for split in splits
            for name, path in split_files(wildcards, split).items()
        ]
        if decoded(wildcards, splits):
            words.append(f"--clips {layout.clips(wildcards.dataset)}")
        return " ".join(words)

    return arguments


def method_code(wildcards):
    return sources(registry.module_of(wildcards.run))


def dataset_code(wildcards):
    return sources(datasets.module(wildcards.dataset, dataset_of(wildcards)))


def searches(wildcards):
    """The trials of each run's rate, where params.yaml asks for a search."""
    runs = PARAMS.run.methods if PARAMS.search.gains else []
    return expand(TRIALS, dataset=wildcards.dataset, run=runs)


def folders(dataset, run):
    """Of all seeds of one run."""
    return expand(RUN, dataset=dataset, run=run, seed=resolve.seeds_of(PARAMS, run))


def runs_of(wildcards):
    return folders(wildcards.dataset, wildcards.run)


def finished_runs(wildcards):
    return [
        folder
        for run in PARAMS.run.methods
        for folder in folders(wildcards.dataset, run)
    ]


def seen_files(wildcards):
    """The counts of what training on a dataset has seen of those that it is tested on besides."""
    return expand(
        "work/{dataset}/seen/{tested}.json",
        dataset=wildcards.dataset,
        tested=resolve.tested(PARAMS, wildcards.dataset),
    )


def transfers(wildcards):
    """The tests of all seeds of a run on other datasets."""
    return expand(
        "{run}/transfer/{tested}.json",
        run=runs_of(wildcards),
        tested=resolve.tested(PARAMS, wildcards.dataset),
    )


def matrix(wildcards):
    """The metrics of all runs on all datasets, where one dataset's runs are tested on another."""
    return expand(
        "metrics/{dataset}/{run}.json",
        dataset=PARAMS.run.datasets if PARAMS.run.transfer else [],
        run=PARAMS.run.methods,
    )


def transductive_files(wildcards):
    """Scores of a track of their own, where params.yaml asks for them."""
    runs = finished_runs(wildcards) if PARAMS.score.transductive else []
    return [f"{folder}/transductive.json" for folder in runs]


# The first seed of the selected method, whose learning curves are shown.
SELECTED = (
    folders(PARAMS.run.datasets[0], PARAMS.method)[0] if PARAMS.method else "runs"
)


def run_files(*names):
    return lambda w: expand("{run}/{file}", run=runs_of(w), file=names)
