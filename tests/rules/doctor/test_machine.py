"""GPUs, shared memory, memory and cores: made-up machines, each sentence."""

from collections import namedtuple

import pytest
import torch

from pipeline.rules import gpus
from pipeline.rules.doctor import machine

pytestmark = pytest.mark.usefixtures("programs")
REAL = gpus.built
Usage = namedtuple("Usage", "total used free")
GPU = "if [ -n \"$1\" ]; then printf 'GPU-1\\nGPU-2\\n'; else echo '| Driver Version: 550.54    CUDA Version: 12.4 |'; fi"


@pytest.fixture(autouse=True)
def torch_12(monkeypatch):
    monkeypatch.setattr(gpus, "built", lambda: ("12.1", False))
    monkeypatch.setattr(machine, "DEVICES", ())
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_the_build_of_torch_is_read_as_torch_says_it():
    text = (machine.Path(torch.__file__).with_name("version.py")).read_text()
    assert "cuda" in text
    torch_cuda, amd = REAL()
    assert (torch_cuda or None, amd) == (torch.version.cuda, torch.version.hip is not None)


def test_a_gpu_whose_driver_runs_this_torch(programs, case, said):
    programs(nvidia_smi=GPU)
    assert said(machine.graphics, case("device=auto")) == [("fine", "2 GPUs; the driver runs CUDA 12.4, torch is built for 12.1")]
    assert said(machine.graphics, case("device=cuda:1", "machine.gpus=2"))[0][0] == "fine"


def test_no_gpu_is_right_unless_one_is_asked_for(case, said):
    assert said(machine.graphics, case("device=cpu"))[0][0] == "fine"
    assert said(machine.graphics, case("device=auto")) == [("fine", "none (there is no nvidia-smi); device: auto computes on the CPU")]
    [text] = said(machine.graphics, case("device=cuda"), "stop")
    assert text == "device is cuda, but there is no GPU here (there is no nvidia-smi); set device: auto or cpu"


def test_what_no_job_needs_does_not_stop(case, said):
    assert said(machine.graphics, case("device=cuda", jobs=frozenset({"transcode"})), "stop") == []
    assert said(machine.graphics, case("device=cuda", jobs=frozenset({"transcode", "train"})), "stop")
    assert said(machine.graphics, case("device=cuda", slurm=True))[0][0] == "fine"


def test_hidden_gpus_are_none(programs, case, said, monkeypatch):
    programs(nvidia_smi=GPU)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "or unset CUDA_VISIBLE_DEVICES" in said(machine.graphics, case("device=cuda"), "stop")[0]


def test_a_gpu_without_its_program_is_doubted(programs, case, said, monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "DEVICES", (str(tmp_path),))
    for script in (None, "echo 'NVIDIA-SMI has failed'; exit 9", "exec /bin/sleep 60"):
        if script:
            programs(nvidia_smi=script)
        assert "a GPU seems to be here" in said(machine.graphics, case("device=cuda", patience=0.3), "warning")[0]


def test_a_driver_that_does_not_answer_is_named(programs, case, said):
    programs(nvidia_smi="echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18")
    assert "Driver/library version mismatch" in said(machine.graphics, case("device=cuda"), "stop")[0]


@pytest.mark.parametrize(
    ("built", "text"),
    [("13.0", "the driver runs CUDA 12.4, and torch is built for CUDA 13.0; update"), ("", "torch is built for none")],
)
def test_a_torch_that_the_driver_does_not_run(programs, case, said, monkeypatch, built, text):
    programs(nvidia_smi=GPU)
    monkeypatch.setattr(gpus, "built", lambda: (built, False))
    assert text in said(machine.graphics, case("device=cuda"), "stop")[0]
    assert text in said(machine.graphics, case("device=auto"), "warning")[0]


def test_a_torch_for_amd_is_left_alone(case, said, monkeypatch):
    monkeypatch.setattr(gpus, "built", lambda: ("", True))
    assert "AMD" in said(machine.graphics, case("device=cuda"), "fine")[0]


def test_more_gpus_than_there_are(programs, case, said):
    programs(nvidia_smi=GPU)
    assert "device is cuda:2, but GPUs here: 2" in said(machine.graphics, case("device=cuda:2"), "stop")[0]
    assert (
        "machine.gpus is 4, but GPUs here: 2; set machine: {gpus: 2}"
        in said(machine.graphics, case("device=auto", "machine.gpus=4"), "stop")[0]
    )


def free(monkeypatch, number):
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: Usage(number, 0, number))


def test_shared_memory_of_several_gpus(programs, case, said, monkeypatch, tmp_path):
    programs(nvidia_smi=GPU)
    free(monkeypatch, 2**30)
    assert said(machine.shared, case("device=auto", "machine.gpus=2"))[0][0] == "fine"
    free(monkeypatch, 64e6)  # as containers have it
    assert said(machine.shared, case("device=auto"))[0] == ("fine", "one process trains, and needs none")
    [text] = said(machine.shared, case("device=auto", "machine.gpus=2"), "warning")
    assert "has 64.0 MB free; docker run --shm-size=1g" in text
    monkeypatch.setattr(machine, "SHARED", tmp_path / "gone")
    assert "has 0 B free" in said(machine.shared, case("device=auto", "machine.gpus=2"), "warning")[0]


def test_memory_and_cores(case, said, monkeypatch):
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(machine, "_memory", lambda: 25e9)
    assert said(machine.memory, case())[0][0] == "fine"
    monkeypatch.setattr(machine, "_memory", lambda: 5e9)
    assert "more than 1 trainings at once need `--resources mem_mb=5000`" in said(machine.memory, case(), "fine")[0]
    monkeypatch.setattr(machine, "_memory", lambda: 4e9)
    [text] = said(machine.memory, case(), "warning")
    assert "4.0 GB of memory; training" in text and "set train.chunk" in text
    assert said(machine.memory, case("train.chunk=2"), "warning") == []


def test_readers_that_have_no_core(case, said, monkeypatch):
    monkeypatch.setattr(machine, "_memory", lambda: 25e9)
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: {0, 1})
    assert "in 4 processes: set machine: {workers: 1}" in said(machine.memory, case("machine.workers=3"), "warning")[0]
    assert said(machine.memory, case("machine.workers=3", quick=True), "warning") == []


def test_a_container_has_the_memory_of_its_limit(monkeypatch, tmp_path):
    limit = tmp_path / "memory.max"
    limit.write_text("123\n")
    monkeypatch.setattr(machine, "LIMITS", (str(limit),))
    assert machine._memory() == 123
    limit.write_text("max\n")
    assert machine._memory() > 123
