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
    conda:
        CONDA
    threads: workflow.cores
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        motion=schema.to_json(PARAMS.motion),
    shell:
        "python -m pipeline.stages.download --dataset {wildcards.dataset} --motion {params.motion:q} --raw {output.raw} 2>&1 | tee {log}"


rule annotate:
    input:
        raw="data/{dataset}/raw",
        code=sources("pipeline.stages.annotate"),
        dataset=dataset_code,
    output:
        videos="data/{dataset}/videos.parquet",
        captions="data/{dataset}/captions.parquet",
    log:
        "logs/annotate/{dataset}.log",
    benchmark:
        "logs/annotate/{dataset}.tsv"
    conda:
        CONDA
    resources:
        mem_mb=1000,
        runtime=10,
    shell:
        "python -m pipeline.stages.annotate --dataset {wildcards.dataset} --raw {input.raw}"
        " --videos {output.videos} --captions {output.captions} 2>&1 | tee {log}"


rule transcode:
    input:
        raw="data/{dataset}/raw",
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
        mem_mb=1000,
        runtime=120,
    params:
        settings=lambda w: schema.to_json(dataset_of(w).clips),
        # Not read by the stage: another ffmpeg or another recipe transcodes again.
        recipe=lambda w: recipe(dataset_of(w).clips),
        shards=lambda w: len(shards(w.dataset)),
    shell:
        "python -m pipeline.stages.transcode --videos {input.videos} --raw {input.raw} --shard {wildcards.shard}"
        " --shards {params.shards} --settings {params.settings:q} --clips {output.clips} --report {output.report} 2>&1 | tee {log}"


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
            split=("train", "val", "test"),
            table=("videos", "captions"),
        ),
        missing="work/{dataset}/missing.tsv",
    log:
        "logs/splits/{dataset}.log",
    benchmark:
        "logs/splits/{dataset}.tsv"
    conda:
        CONDA
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        policy=lambda w: schema.to_json(dataset_of(w).missing),
        table="data/{dataset}/transcoded.parquet",
        folder="work/{dataset}",
    shell:
        "python -m pipeline.stages.splits --dataset {wildcards.dataset} --videos {input.videos} --captions {input.captions}"
        " --reports {input.reports} --missing {params.policy:q} --table {params.table} --list {output.missing}"
        " --out {params.folder} 2>&1 | tee {log}"


rule frames:
    input:
        videos="work/{dataset}/{split}/videos.parquet",
        clips=lambda w: expand(
            "data/{dataset}/clips/{shard}", dataset=w.dataset, shard=shards(w.dataset)
        ),
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
        mem_mb=1000,
        runtime=120,
    params:
        settings=lambda w: schema.to_json(dataset_of(w).frames),
        clips="data/{dataset}/clips",
    shell:
        "python -m pipeline.stages.frames --dataset {wildcards.dataset} --split {wildcards.split} --videos {input.videos}"
        " --clips {params.clips} --settings {params.settings:q} --out {output.frames} 2>&1 | tee {log}"
