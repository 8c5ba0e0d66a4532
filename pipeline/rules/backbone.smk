# The tiny CLIPs that need no download.


rule pretrain:
    input:
        code=sources("pipeline.stages.pretrain"),
        architecture=architecture,
    output:
        weights="work/{tiny}/weights.safetensors",
    log:
        "logs/pretrain/{tiny}.log",
    benchmark:
        "logs/pretrain/{tiny}.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=memory(3000),
        runtime=runtime(2700),
        gpu=GPU,
        cpus_per_task=1,
    params:
        settings=settings.text(PARAMS.pretrain),
        device=PARAMS.device,
    shell:
        "python -m pipeline.stages.pretrain --backbone {wildcards.tiny} --settings {params.settings:q} --device {params.device}"
        " --threads {threads} --weights {output.weights} 2>&1 | tee {log}"
