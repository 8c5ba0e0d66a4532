# The tiny CLIP that needs no download.


rule pretrain:
    input:
        code=sources("pipeline.stages.pretrain"),
        architecture=shown(ROOT / "pipeline/clip/clip-tiny.json"),
    output:
        weights="work/clip-tiny/weights.safetensors",
    log:
        "logs/pretrain/clip-tiny.log",
    benchmark:
        "logs/pretrain/clip-tiny.tsv"
    conda:
        CONDA
    threads: 2
    resources:
        mem_mb=memory(3000),
        runtime=runtime(2700),
        gpu=GPU,
        cpus_per_task=2,
    params:
        settings=settings.text(PARAMS.pretrain),
        device=PARAMS.device,
    shell:
        "python -m pipeline.stages.pretrain --settings {params.settings:q} --device {params.device} --threads {threads}"
        " --weights {output.weights} 2>&1 | tee {log}"
