"""A GPU belongs to one process; who finds none waits, and not for ever."""

import errno
import fcntl
import getpass
import os

import pytest

from pipeline.core.locks import Lock
from pipeline.core.stopped import Stopped
from pipeline.runtime import device


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
