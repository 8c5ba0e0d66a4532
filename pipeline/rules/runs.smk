# Search the rate of each method where params.yaml says so, train, embed, score it with each seed; then one report a dataset.


rule rates:
    input:
        unpack(split_inputs("train", "val")),
        weights=backbone_weights,
        code=sources("pipeline.stages.rates"),
        method=method_code,
    output:
        trials=TRIALS,
    log:
        "logs/rates/{dataset}.{run}.log",
    benchmark:
        "logs/rates/{dataset}.{run}.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        **demand.across(MACHINE.nodes),
        mem_mb=memory(training_memory),
        runtime=runtime(
            training_seconds(PARAMS.search.epochs * len(PARAMS.search.gains))
        ),
        gpu=GPU * MACHINE.gpus * MACHINE.nodes,
        cpus_per_task=cpus(1, processes=MACHINE.gpus),
        launcher=demand.launcher(MACHINE.gpus, MACHINE.nodes),
        workers=MACHINE.workers,
        save_every=MACHINE.save_every,
    params:
        data=split_arguments("train", "val"),
        settings=lambda w: settings.text(
            resolve.training(PARAMS, w.run, w.dataset, search=True)
        ),
        device=PARAMS.device,
    shell:
        "{resources.launcher} pipeline.stages.rates --settings {params.settings:q} {params.data}"
        " --device {params.device} --threads {threads} --workers {resources.workers} --save-every {resources.save_every} --trials {output.trials} 2>&1 | tee {log}"


# No file of the test split is among the inputs, and none may be added.
rule train:
    input:
        unpack(split_inputs("train", "val")),
        weights=backbone_weights,
        search=[TRIALS] if PARAMS.search.gains else [],
        code=sources("pipeline.stages.train"),
        method=method_code,
    output:
        adapter=f"{RUN}/adapter.safetensors",
        record=f"{RUN}/train.json",
        curves=directory(f"{RUN}/curves"),
    log:
        "logs/train/{dataset}.{run}.{seed}.log",
    benchmark:
        "logs/train/{dataset}.{run}.{seed}.tsv"
    conda:
        CONDA
    # Two trainings on a core each get more done than one on two cores.
    threads: 1
    resources:
        **demand.across(MACHINE.nodes),
        mem_mb=memory(training_memory),
        runtime=runtime(training_seconds()),
        gpu=GPU * MACHINE.gpus * MACHINE.nodes,
        cpus_per_task=cpus(1, processes=MACHINE.gpus),
        launcher=demand.launcher(MACHINE.gpus, MACHINE.nodes),
        workers=MACHINE.workers,
        save_every=MACHINE.save_every,
    params:
        data=split_arguments("train", "val"),
        settings=lambda w: settings.text(resolve.training(PARAMS, w.run, w.dataset)),
        search=f"--search {TRIALS}" if PARAMS.search.gains else "",
        device=PARAMS.device,
    shell:
        "{resources.launcher} pipeline.stages.train --settings {params.settings:q} --seed {wildcards.seed} {params.data}"
        " {params.search} --device {params.device} --threads {threads} --workers {resources.workers} --save-every {resources.save_every}"
        " --adapter {output.adapter} --record {output.record} --curves {output.curves} 2>&1 | tee {log}"


rule embed:
    input:
        unpack(split_inputs("test")),
        adapter=f"{RUN}/adapter.safetensors",
        record=f"{RUN}/train.json",
        weights=backbone_weights,
        code=sources("pipeline.stages.embed"),
        method=method_code,
    output:
        embeddings=f"{RUN}/embeddings.h5",
        cost=f"{RUN}/cost.json",
    log:
        "logs/embed/{dataset}.{run}.{seed}.log",
    benchmark:
        "logs/embed/{dataset}.{run}.{seed}.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime=runtime(features_seconds),
        gpu=GPU,
        cpus_per_task=cpus(1),
        workers=MACHINE.workers,
    params:
        data=split_arguments("test"),
        settings=settings.text(PARAMS.backbone),
        device=PARAMS.device,
    shell:
        "python -m pipeline.stages.embed {params.data} --adapter {input.adapter}"
        " --record {input.record} --settings {params.settings:q} --device {params.device} --threads {threads} --workers {resources.workers}"
        " --embeddings {output.embeddings} --cost {output.cost} 2>&1 | tee {log}"


rule score:
    input:
        embeddings=f"{RUN}/embeddings.h5",
        missing="work/{dataset}/missing.tsv",
        galleries=gallery_lists,
        code=sources("pipeline.stages.score"),
    output:
        metrics=f"{RUN}/metrics.json",
    log:
        "logs/score/{dataset}.{run}.{seed}.log",
    benchmark:
        "logs/score/{dataset}.{run}.{seed}.tsv"
    localrule: True
    conda:
        CONDA
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        settings=lambda w: settings.text(resolve.score(PARAMS, w.dataset)),
    shell:
        "python -m pipeline.stages.score --embeddings {input.embeddings} --missing {input.missing}"
        " --settings {params.settings:q} --metrics {output.metrics} 2>&1 | tee {log}"


# The test set of another dataset, untrained: its frames, as the adapter was trained to see them.
rule transfer:
    input:
        videos="work/{tested}/test/frames.h5",
        captions="work/{tested}/test/captions.parquet",
        missing="work/{tested}/missing.tsv",
        seen="work/{dataset}/seen/{tested}.json",
        adapter=f"{RUN}/adapter.safetensors",
        weights=backbone_weights,
        code=sources("pipeline.stages.transfer"),
        method=method_code,
    output:
        metrics=f"{RUN}/transfer/{{tested}}.json",
    log:
        "logs/transfer/{dataset}.{run}.{seed}.{tested}.log",
    benchmark:
        "logs/transfer/{dataset}.{run}.{seed}.{tested}.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime=runtime(transfer_seconds),
        gpu=GPU,
        cpus_per_task=cpus(1),
        workers=MACHINE.workers,
    params:
        settings=settings.text(resolve.transfer(PARAMS)),
        device=PARAMS.device,
    shell:
        "python -m pipeline.stages.transfer --videos {input.videos} --captions {input.captions} --adapter {input.adapter} --tested {wildcards.tested}"
        " --missing {input.missing} --seen {input.seen} --settings {params.settings:q} --device {params.device} --threads {threads}"
        " --workers {resources.workers} --metrics {output.metrics} 2>&1 | tee {log}"


rule evaluate:
    input:
        transfer=transfers,
        results=run_files("metrics.json", "cost.json", "train.json"),
        code=sources("pipeline.stages.evaluate"),
    output:
        metrics="metrics/{dataset}/{run}.json",
    log:
        "logs/evaluate/{dataset}.{run}.log",
    benchmark:
        "logs/evaluate/{dataset}.{run}.tsv"
    localrule: True
    conda:
        CONDA
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        runs=runs_of,
    shell:
        "python -m pipeline.stages.evaluate --runs {params.runs} --transfer {input.transfer} --metrics {output.metrics} 2>&1 | tee {log}"


# A bank of training captions, and nothing that is tuned on test.
rule transductive:
    input:
        embeddings=f"{RUN}/embeddings.h5",
        adapter=f"{RUN}/adapter.safetensors",
        captions="work/{dataset}/train/captions.parquet",
        weights=backbone_weights,
        code=sources("pipeline.stages.transductive"),
        method=method_code,
    output:
        scores=f"{RUN}/transductive.json",
    log:
        "logs/transductive/{dataset}.{run}.{seed}.log",
    benchmark:
        "logs/transductive/{dataset}.{run}.{seed}.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime=runtime(1800),
        gpu=GPU,
        cpus_per_task=cpus(1),
    params:
        run=lambda w, output: Path(output.scores).parent,
        weights=PARAMS.backbone.weights,
        device=PARAMS.device,
    shell:
        "python -m pipeline.stages.transductive {params.run} --keep --captions {input.captions} --weights {params.weights:q}"
        " --device {params.device} --threads {threads} 2>&1 | tee {log}"


# Files by which two experiments of DVC with different methods are compared.
rule selected:
    input:
        metrics=f"metrics/{PARAMS.run.datasets[0]}/{PARAMS.method}.json",
        record=f"{SELECTED}/train.json",
        code=sources("pipeline.stages.selected"),
    output:
        metrics="metrics/selected.json",
        curves=directory("metrics/selected"),
    log:
        "logs/selected/selected.log",
    benchmark:
        "logs/selected/selected.tsv"
    localrule: True
    conda:
        CONDA
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        curves=f"{SELECTED}/curves",
    shell:
        "python -m pipeline.stages.selected --metrics {input.metrics} --curves {params.curves}"
        " --out-metrics {output.metrics} --out-curves {output.curves} 2>&1 | tee {log}"


rule report:
    input:
        results=lambda w: expand(
            "{run}/{file}",
            run=finished_runs(w),
            file=("metrics.json", "cost.json", "train.json", "embeddings.h5"),
        ),
        searches=searches,
        matrix=matrix,
        transductive=transductive_files,
        card="results/{dataset}/card.json",
        captions="work/{dataset}/test/captions.parquet",
        videos="work/{dataset}/test/videos.parquet",
        clips=clips,
        code=sources("pipeline.stages.report"),
        template=shown(ROOT / "pipeline/reporting/report.html.j2"),
        printed=[shown(file) for file in papers.files()],
    output:
        html=report(
            "results/{dataset}/report.html",
            category="Retrieval",
            caption="../../docs/report.rst",
        ),
        csv="results/{dataset}/table.csv",
        markdown="results/{dataset}/table.md",
        text="results/{dataset}/table.txt",
        trials="results/{dataset}/trials.csv",
        points="results/{dataset}/plots/points.csv",
        ranks="results/{dataset}/plots/ranks.csv",
        curves="results/{dataset}/plots/curves.csv",
    log:
        "logs/report/{dataset}.log",
    benchmark:
        "logs/report/{dataset}.tsv"
    conda:
        CONDA
    resources:
        mem_mb=memory(2000),
        runtime=runtime(1800),
    params:
        settings=settings.text(PARAMS.score),
        runs=finished_runs,
        clips="data/{dataset}/clips",
    shell:
        "python -m pipeline.stages.report --runs {params.runs} --captions {input.captions} --videos {input.videos}"
        " --card {input.card} --clips {params.clips} --settings {params.settings:q} --html {output.html} --csv {output.csv} --markdown {output.markdown} --text {output.text}"
        " --searches {input.searches} --trials {output.trials} --matrix {input.matrix}"
        " --points {output.points} --ranks {output.ranks} --curves {output.curves} 2>&1 | tee {log}"
