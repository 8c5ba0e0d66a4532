"""A GPU belongs to one process; who finds none waits, and not for ever. Kernels that are asked for the same bits give them or say so."""

import errno
import fcntl
import getpass
import os

import pytest
import torch

from pipeline.core.locks import Lock
from pipeline.core.stopped import Stopped
from pipeline.runtime import device
from pipeline.runtime.explained import explained


@pytest.fixture(params=[None, errno.ENOSYS, errno.ENOLCK])
def folder(request, tmp_path, monkeypatch):
    """Locks of GPUs, with and without locks of the system."""

    def flock(*_):
        raise OSError(request.param, os.strerror(request.param))

    if request.param:
        monkeypatch.setattr(fcntl, "flock", flock)
    monkeypatch.setattr(device, "_claims", {})
    return tmp_path


def test_the_wait_for_a_gpu_has_an_end_and_names_the_locks(folder, capsys):
    held = [Lock(folder / f"petl-vtr-{getpass.getuser()}-{name}.lock") for name in "ab"]
    assert all(lock.take() for lock in held)
    with pytest.raises(
        Stopped, match=rf"^all 2 GPUs here are at work for other jobs for 0.2 s: {held[0].path} is held by process {os.getpid()} of"
    ):
        device.claim(["a", "b"], folder=folder, limit=0.2)
    assert (
        f"all 2 GPUs here are at work for other jobs; waiting for one (device: cuda:0 shares it): {held[0].path}" in capsys.readouterr().out
    )
    held[1].release()
    assert device.claim(["a", "b"], folder=folder, limit=0.2) == 1
    assert device.claim(["b", "a"], folder=folder) == 0, "it is ours already"
    for lock in (held[0], *device._claims.values()):
        lock.release()


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(device, "_claimed", lambda: torch.device("cuda", 1))


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("auto", "4 processes are to share a training, but torch sees 2 GPUs here; set machine.gpus to at most that"),
        ("cuda:0", "device is 'cuda:0', but 4 processes are to share a training, a GPU each; set device: auto"),
        ("cuda", "device is 'cuda', but 4 processes are to share a training, a GPU each; set device: auto"),
    ],
)
@pytest.mark.usefixtures("two_gpus")
def test_more_processes_than_gpus_are_refused_before_they_wait_for_each_other(name, sentence, monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        device.choose(name)


@pytest.mark.usefixtures("two_gpus")
def test_as_many_processes_as_gpus_take_one_each_and_processes_on_cpus_are_any_number(monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert device.choose("auto") == torch.device("cuda", 1)
    assert device.choose("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert device.choose("auto") == torch.device("cpu")


@pytest.fixture
def kernels(monkeypatch):
    """`device.kernels` for a GPU, whose choices are undone."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    flags = {flag: getattr(owner, flag) for owner, flag in FLAGS}
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    yield lambda **wanted: device.kernels(torch.device("cuda"), tf32=False, **wanted)
    torch.use_deterministic_algorithms(before[0], warn_only=before[1])
    for owner, flag in FLAGS:
        setattr(owner, flag, flags[flag])
    os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)


FLAGS = ((torch.backends.cudnn, "benchmark"), (torch.backends.cudnn, "allow_tf32"))


def test_deterministic_is_an_error_and_not_a_warning_for_what_cannot_be_so(kernels):
    """With a warning only, torch's attention has a backward pass whose sums have no order."""
    kernels(deterministic=True)
    assert torch.are_deterministic_algorithms_enabled() and not torch.is_deterministic_algorithms_warn_only_enabled()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    with (
        pytest.raises(ValueError, match=r"^put_ in step 3 has no kernel on cpu that gives the same bits .*; set train.deterministic"),
        explained(device=torch.device("cpu"), where="step 3"),
    ):
        torch.zeros(3).put_(torch.tensor([0]), torch.ones(1))
    kernels(deterministic=False)
    torch.zeros(3).put_(torch.tensor([0]), torch.ones(1))


def test_a_workspace_that_takes_the_order_of_sums_back_is_refused(kernels, monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":0:0")
    with pytest.raises(ValueError, match="^CUBLAS_WORKSPACE_CONFIG is ':0:0', with which sums may change from run to run; unset it"):
        kernels(deterministic=True)
    kernels(deterministic=False)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    kernels(deterministic=True)


@pytest.mark.parametrize(
    ("capability", "found"),
    [((9, 0), "bfloat16"), ((8, 0), "bfloat16"), ((7, 5), "float32"), ((7, 0), "float32")],  # H100, A100, T4, V100
)
def test_auto_is_bfloat16_where_a_gpu_multiplies_in_it(capability, found, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert device.precision("auto", torch.device("cuda:0")) == found
    assert device.precision("auto", torch.device("cpu")) == "float32"
    assert device.precision("float32", torch.device("cuda:0")) == "float32"
