# From raw videos to the frames of each split.


rule download:
    input:
        code=sources("pipeline.stages.download"),
        dataset=dataset_code,
    output:
        raw=directory("data/{dataset}/raw"),
    log:
        "logs/download/{dataset}.log",
    benchmark:
        "logs/download/{dataset}.tsv"
    localrule: True
    conda:
        CONDA
    threads: CORES
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        settings=lambda w: settings.text(resolve.download(PARAMS, w.dataset)),
    shell:
        "python -m pipeline.stages.download --dataset {wildcards.dataset} --settings {params.settings:q}"
        " --raw {output.raw} 2>&1 | tee {log}"


# Raw files stay out of DVC's cache: benchmarks are large, and some may not be passed on. Their checksums are kept, and what reads them hangs
# on these instead of the folder, of which Snakemake knows the time only (`contents.settle`).
rule checksums:
    input:
        raw="data/{dataset}/raw",
        code=sources("pipeline.stages.checksums"),
    output:
        checksums="data/{dataset}/raw.sha256",
    log:
        "logs/checksums/{dataset}.log",
    benchmark:
        "logs/checksums/{dataset}.tsv"
    localrule: True
    conda:
        CONDA
    threads: 2
    resources:
        mem_mb=1000,
        runtime=60,
    shell:
        "python -m pipeline.stages.checksums --raw {input.raw} --threads {threads} --checksums {output.checksums} 2>&1 | tee {log}"


rule annotate:
    input:
        raw=ancient("data/{dataset}/raw"),
        checksums="data/{dataset}/raw.sha256",
        given=annotation_files,
        code=sources("pipeline.stages.annotate"),
        dataset=dataset_code,
    output:
        videos="data/{dataset}/videos.parquet",
        captions="data/{dataset}/captions.parquet",
        about="data/{dataset}/about.json",
    log:
        "logs/annotate/{dataset}.log",
    benchmark:
        "logs/annotate/{dataset}.tsv"
    localrule: True
    conda:
        CONDA
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        settings=lambda w: settings.text(resolve.annotate(PARAMS, w.dataset)),
        root=video_root,
        # Not read by the stage: another file may be the one that a video's name stands for.
        names=names,
    shell:
        "python -m pipeline.stages.annotate --dataset {wildcards.dataset} --settings {params.settings:q} --raw {input.raw}"
        " --root {params.root:q} --videos {output.videos} --captions {output.captions} --about {output.about} 2>&1 | tee {log}"


rule transcode:
    input:
        raw=ancient("data/{dataset}/raw"),
        checksums="data/{dataset}/raw.sha256",
        videos="data/{dataset}/videos.parquet",
        code=sources("pipeline.stages.transcode"),
    output:
        clips=directory("data/{dataset}/clips/{shard}"),
        report="data/{dataset}/shards/{shard}.parquet",
    log:
        "logs/transcode/{dataset}.{shard}.log",
    benchmark:
        "logs/transcode/{dataset}.{shard}.tsv"
    conda:
        CONDA
    resources:
        mem_mb=memory(1000),
        runtime=runtime(lambda w: demand.transcode(dataset_of(w).clips.shard)),
    params:
        settings=lambda w: settings.text(dataset_of(w).clips),
        kept="data/{dataset}/kept/{shard}",
        # Not read by the stage: another ffmpeg or another recipe transcodes again, and so does another file of your own.
        recipe=lambda w: recipe(dataset_of(w).clips),
        root=video_root,
        state=state,
    shell:
        "python -m pipeline.stages.transcode --dataset {wildcards.dataset} --videos {input.videos} --raw {params.root:q} --shard {wildcards.shard}"
        " --settings {params.settings:q} --clips {output.clips} --report {output.report}"
        " --kept {params.kept} 2>&1 | tee {log}"


# The table with the state of every video is not an output: it must outlive a run that the policy stops.
rule splits:
    input:
        videos="data/{dataset}/videos.parquet",
        captions="data/{dataset}/captions.parquet",
        reports=lambda w: expand(
            "data/{dataset}/shards/{shard}.parquet",
            dataset=w.dataset,
            shard=shards(w.dataset),
        ),
        code=sources("pipeline.stages.splits"),
    output:
        expand(
            "work/{{dataset}}/{split}/{table}.parquet",
            split=layout.SPLITS,
            table=("videos", "captions"),
        ),
        missing="work/{dataset}/missing.tsv",
    log:
        "logs/splits/{dataset}.log",
    benchmark:
        "logs/splits/{dataset}.tsv"
    localrule: True
    conda:
        CONDA
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        settings=lambda w: settings.text(resolve.splits(PARAMS, w.dataset)),
        table="data/{dataset}/transcoded.parquet",
        folder="work/{dataset}",
    shell:
        "python -m pipeline.stages.splits --dataset {wildcards.dataset} --videos {input.videos} --captions {input.captions}"
        " --reports {input.reports} --settings {params.settings:q} --table {params.table} --list {output.missing}"
        " --out {params.folder} 2>&1 | tee {log}"


# What training has seen of another dataset's test set: told on the card, and refused where it would be tested.
rule seen:
    input:
        trained=expand(
            "work/{{dataset}}/{split}/{table}.parquet",
            split=("train", "val"),
            table=("videos", "captions"),
        ),
        tested=expand(
            "work/{{tested}}/test/{table}.parquet", table=("videos", "captions")
        ),
        code=sources("pipeline.stages.seen"),
    output:
        facts="work/{dataset}/seen/{tested}.json",
        exclude="work/{dataset}/seen/{tested}.tsv",
    log:
        "logs/seen/{dataset}.{tested}.log",
    benchmark:
        "logs/seen/{dataset}.{tested}.tsv"
    localrule: True
    conda:
        CONDA
    resources:
        mem_mb=3000,
        runtime=30,
    shell:
        "python -m pipeline.stages.seen --dataset {wildcards.dataset} --trained {input.trained} --tested {input.tested}"
        " --facts {output.facts} --exclude {output.exclude} 2>&1 | tee {log}"


rule card:
    input:
        seen=seen_files,
        videos="data/{dataset}/videos.parquet",
        captions="data/{dataset}/captions.parquet",
        about="data/{dataset}/about.json",
        missing="work/{dataset}/missing.tsv",
        splits=expand(
            "work/{{dataset}}/{split}/{table}.parquet",
            split=layout.SPLITS,
            table=("videos", "captions"),
        ),
        code=sources("pipeline.stages.card"),
    output:
        card="results/{dataset}/card.md",
        facts="results/{dataset}/card.json",
    log:
        "logs/card/{dataset}.log",
    benchmark:
        "logs/card/{dataset}.tsv"
    localrule: True
    conda:
        CONDA
    resources:
        mem_mb=3000,
        runtime=30,
    params:
        settings=lambda w: settings.text(resolve.card(PARAMS, w.dataset)),
        table="data/{dataset}/transcoded.parquet",
    shell:
        "python -m pipeline.stages.card --dataset {wildcards.dataset} --videos {input.videos} --captions {input.captions}"
        " --transcoded {params.table} --missing {input.missing} --splits {input.splits} --about {input.about}"
        " --seen {input.seen} --settings {params.settings:q} --card {output.card} --facts {output.facts} 2>&1 | tee {log}"


rule frames:
    input:
        videos="work/{dataset}/{split}/videos.parquet",
        clips=clips,
        code=sources("pipeline.stages.frames"),
    output:
        frames="work/{dataset}/{split}/frames.h5",
    log:
        "logs/frames/{dataset}.{split}.log",
    benchmark:
        "logs/frames/{dataset}.{split}.tsv"
    conda:
        CONDA
    resources:
        mem_mb=memory(2000),
        runtime=runtime(lambda w: demand.frames(videos_of(w))),
    params:
        settings=lambda w: settings.text(dataset_of(w).frames),
        clips="data/{dataset}/clips",
    shell:
        "python -m pipeline.stages.frames --dataset {wildcards.dataset} --split {wildcards.split} --videos {input.videos}"
        " --clips {params.clips} --settings {params.settings:q} --out {output.frames} 2>&1 | tee {log}"


# Outputs of a frozen tower for a split, for all runs that leave these blocks alone.
rule features:
    input:
        table=lambda w: f"work/{w.dataset}/{w.split}/{'videos' if w.tower == 'vision' else 'captions'}.parquet",
        clips=lambda w: clips(w) if w.tower == "vision" else [],
        weights=backbone_weights,
        code=sources("pipeline.stages.features"),
    output:
        tokens=f"work/{{dataset}}/{{split}}/{BACKBONE}/{{tower}}@{{level}}.h5",
    log:
        f"logs/features/{{dataset}}.{{split}}.{BACKBONE}.{{tower}}@{{level}}.log",
    benchmark:
        f"logs/features/{{dataset}}.{{split}}.{BACKBONE}.{{tower}}@{{level}}.tsv"
    conda:
        CONDA
    threads: 2
    resources:
        mem_mb=memory(4000),
        runtime=runtime(features_seconds),
        gpu=GPU,
        cpus_per_task=cpus(2),
        workers=MACHINE.workers,
    params:
        settings=lambda w: settings.text(resolve.features(PARAMS, w.dataset)),
        table=lambda w, input: (
            f"--videos {input.table} --clips data/{w.dataset}/clips"
            if w.tower == "vision"
            else f"--captions {input.table}"
        ),
        device=PARAMS.device,
    shell:
        "python -m pipeline.stages.features --dataset {wildcards.dataset} --split {wildcards.split} --tower {wildcards.tower}"
        " --level {wildcards.level} {params.table} --settings {params.settings:q}"
        " --device {params.device} --threads {threads} --workers {resources.workers} --out {output.tokens} 2>&1 | tee {log}"
