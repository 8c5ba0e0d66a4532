# download -> annotate -> transcode -> splits -> card, frames -> train -> embed -> score -> evaluate, report
from snakemake.utils import min_version

min_version("9.20")


# Jobs of a cluster begin hours after their plan; they get what it was made with (common.smk).
if workflow.is_main_process:

    configfile: "params.yaml"


include: "pipeline/rules/common.smk"
include: "pipeline/rules/inputs.smk"
include: "pipeline/rules/resources.smk"
include: "pipeline/rules/start_and_end.smk"
include: "pipeline/rules/data.smk"
include: "pipeline/rules/backbone.smk"
include: "pipeline/rules/runs.smk"
include: "pipeline/rules/search.smk"


if workflow.is_main_process:
    atexit.register(tell_plan)


onstart:
    look_around()
    end_orphans()
    mark_stale()


onsuccess:
    end_now()


onerror:
    end_now()
    tell_refusals(log)


# Stores that all runs read besides tables; DVC does not keep them.
rule stores:
    input:
        stores,
    log:
        "logs/stores.log",
    localrule: True


# Indexes to search, of the first seed of each run; `rule all` makes none.
rule indexes:
    input:
        [
            f"{INDEX}/made.json".format(
                dataset=dataset, run=run, seed=resolve.seeds_of(PARAMS, run)[0]
            )
            for dataset in PARAMS.run.datasets
            for run in PARAMS.run.methods
        ],
    log:
        "logs/indexes.log",
    localrule: True


rule all:
    default_target: True
    input:
        expand("data/{dataset}/raw.sha256", dataset=PARAMS.run.datasets),
        expand("results/{dataset}/report.html", dataset=PARAMS.run.datasets),
        expand(
            "metrics/{dataset}/{run}.json",
            dataset=PARAMS.run.datasets,
            run=PARAMS.run.methods,
        ),
        "metrics/selected.json" if PARAMS.method else [],
    log:
        "logs/all.log",
    localrule: True
