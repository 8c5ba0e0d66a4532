# download -> annotate -> transcode -> splits -> card, frames -> train -> embed -> score -> report
from snakemake.utils import min_version

min_version("9.20")


configfile: "params.yaml"


include: "pipeline/rules/common.smk"
include: "pipeline/rules/data.smk"
include: "pipeline/rules/backbone.smk"
include: "pipeline/rules/runs.smk"


onstart:
    end_orphans()
    mark_stale()


rule all:
    default_target: True
    input:
        expand("results/{dataset}/report.html", dataset=PARAMS.run.datasets),
    log:
        "logs/all.log",
    localrule: True
