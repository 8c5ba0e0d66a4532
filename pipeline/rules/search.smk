# Indexes to search, of runs that are trained; `rule all` does not ask for them.


# The output is a record: Snakemake deletes an output before its job, and the old index must outlive a job that is killed.
rule index:
    input:
        videos="work/{dataset}/test/videos.parquet",
        captions="work/{dataset}/test/captions.parquet",
        adapter=f"{RUN}/adapter.safetensors",
        weights=backbone_weights,
        clips=clips,
        code=sources("pipeline.stages.index"),
        method=method_code,
    output:
        made=f"{INDEX}/made.json",
    log:
        "logs/index/{dataset}.{run}.{seed}.log",
    benchmark:
        "logs/index/{dataset}.{run}.{seed}.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime=runtime(features_seconds),
        gpu=GPU,
        cpus_per_task=cpus(1),
    params:
        backbone=PARAMS.backbone.name,
        weights=PARAMS.backbone.weights,
        raw=video_root,
        device=PARAMS.device,
    shell:
        "python -m pipeline.stages.index --dataset {wildcards.dataset} --raw {params.raw:q} --adapter {input.adapter}"
        " --backbone {params.backbone:q} --weights {params.weights:q} --device {params.device} --threads {threads} 2>&1 | tee {log}"
