"""The profile where no Slurm is needed: dry runs, and what one machine does with its GPUs."""

import pytest
import yaml


@pytest.fixture
def gpus(checkout, monkeypatch):
    """Programs that show two GPUs to what counts them."""
    program = checkout.folder / "bin/nvidia-smi"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho GPU-1\necho GPU-2\n")
    program.chmod(0o755)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    checkout.edit("params.yaml", lambda text: text.replace("device: cpu", "device: auto"))
    return checkout


def asked(checkout, *words):
    """The line `resources:` of each rule of a dry run."""
    done = checkout.snakemake("-n", "--forceall", *words)
    assert done.returncode == 0, done.output
    found, rule = {}, None
    for line in done.output.splitlines():
        if line.startswith(("rule ", "localrule ")):
            rule = line.split()[1].rstrip(":")
        elif line.startswith("    resources:"):
            found[rule] = dict(pair.split("=", 1) for pair in line.split(": ", 1)[1].split(", "))
    return found


def test_the_profile_plans_everything_without_slurm(checkout):
    assert {"transcode", "train", "report"} <= set(asked(checkout, "--profile", "slurm"))


def test_as_shipped_no_job_names_a_partition(checkout):
    assert not [rule for rule, words in asked(checkout, "--profile", "slurm").items() if "slurm_partition" in words]


def test_each_kind_of_rule_asks_for_its_partition_and_only_trainings_are_warned(checkout, monkeypatch):
    monkeypatch.setenv("PETL_SLURM_CPU_PARTITION", "cpu")
    monkeypatch.setenv("PETL_SLURM_GPU_PARTITION", "gpu")
    checkout.edit("params.yaml", lambda text: text.replace("gains: []", "gains: [0.5, 1.0]"))
    found = asked(checkout, "--profile", "slurm", "--", "all", "indexes")
    on_gpus = {"pretrain", "features", "rates", "train", "embed", "index"}
    assert {rule for rule, words in found.items() if words.get("slurm_partition") == "gpu"} == on_gpus
    assert {rule for rule, words in found.items() if "USR1" in words.get("slurm_extra", "")} == {"rates", "train"}
    assert found["transcode"]["slurm_partition"] == "cpu" and found["report"]["slurm_partition"] == "cpu"


def test_a_wrong_key_of_the_site_is_one_sentence(checkout):
    (checkout.folder / "slurm/site.yaml").write_text("acount: abc\n")
    done = checkout.snakemake("-n", "--profile", "slurm")
    assert done.returncode == 1
    # Snakemake's own first line says which profiles it reads.
    said = [line for line in done.output.splitlines() if not line.startswith("Using profiles")]
    assert said == ["error: slurm/site.yaml: unknown key 'acount'; did you mean 'account'? there are: " + ", ".join(KEYS)]


KEYS = (
    *("account", "cpu_partition", "gpu_partition", "gpu_model", "gres", "qos", "constraint", "extra", "prologue"),
    *("max_runtime", "warning", "jobs", "per_minute", "poll", "retries", "latency"),
)


def test_the_longest_runtime_of_the_site_holds_for_every_job(checkout):
    (checkout.folder / "slurm/site.yaml").write_text("max_runtime: 5\n")
    assert {words["runtime"] for rule, words in asked(checkout, "--profile", "slurm").items() if rule in ("train", "transcode")} == {"5"}


def test_one_machine_never_starts_more_gpu_jobs_than_it_has_gpus(gpus):
    done = gpus.snakemake("-n", "--forceall")
    assert done.returncode == 0, done.output
    assert asked(gpus)["train"]["gpu"] == "1"


def test_a_machine_without_gpus_asks_for_none_and_a_cluster_does(checkout):
    checkout.edit("params.yaml", lambda text: text.replace("device: cpu", "device: auto"))
    assert asked(checkout)["train"].get("gpu", "0") == "0"
    assert asked(checkout, "--profile", "slurm")["train"]["gpu"] == "1"


def test_several_gpus_are_asked_for_by_the_training_and_no_other(gpus):
    gpus.edit("params.yaml", lambda text: text + "\nmachine: {gpus: 2, workers: 1}\n")
    found = asked(gpus, "--profile", "slurm")
    assert (found["train"]["gpu"], found["train"]["cpus_per_task"], found["embed"]["gpu"]) == ("2", "4", "1")
    assert found["train"]["launcher"].startswith("torchrun --standalone --nproc-per-node 2")


def test_the_profile_is_plain_yaml_under_its_expressions(checkout):
    assert yaml.safe_load((checkout.folder / "slurm/config.yaml").read_text())["executor"] == "slurm"


def test_a_refusal_of_sbatch_ends_with_the_key_to_set(checkout, monkeypatch):
    refusal = "sbatch: error: Batch job submission failed: Invalid partition name specified"
    said = {"sbatch": f"echo '{refusal}' >&2; exit 1", "scontrol": "echo 'MinJobAge = 300 sec'", "sinfo": "echo 'batch* infinite'"}
    for name in ("sbatch", "squeue", "sinfo", "scontrol", "scancel"):
        program = checkout.folder / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{said.get(name, '')}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setenv("PETL_SLURM_RETRIES", "1")
    done = checkout.snakemake("--profile", "slurm", "--force", "--", "runs/motion/clip-tiny/vop/0/adapter.safetensors")
    assert done.returncode == 1 and "Traceback" not in done.output
    told = [line for line in done.output.splitlines() if "Slurm refused jobs" in line]
    assert len(told) == 1 and "Invalid partition name specified): set cpu_partition and gpu_partition" in told[0], done.output
