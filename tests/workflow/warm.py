"""`python` and `snakemake` for tests that start in milliseconds: a process that has the libraries forks one for each.

Torch and open_clip take four of the five seconds of a stage on the tiny CLIP, Snakemake's own code one of its two, and the tests start
hundreds of both. Only libraries are there beforehand: the code of `pipeline` is read by each stage in its own folder, with its own
environment, streams and exit code. Tests of what happens to processes (kills, signals, parents), and one of the two clean runs that all
others are compared with, start real ones.

    python warm.py SOCKET        the process with the libraries, until its standard input ends
"""

import atexit
import contextlib
import importlib
import json
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from pathlib import Path

LIBRARIES = ("torch", "torch._dynamo", "open_clip", "safetensors.torch", "pandas", "pyarrow.parquet", "h5py", "av", "faiss", "omegaconf")
LIBRARIES += ("dvclive.live", "jinja2", "torch.utils.flop_counter", "snakemake.cli", "snakemake_executor_plugin_slurm")
# `ahead` looks at its parents.
REAL = ("pipeline.stages.dvc",)
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)

# What lies on the path as `python` and `snakemake`: without site-packages it starts in a hundredth of a second.
CLIENT = """#!{python} -SE
import json, os, signal, socket, sys
words = ["-m", *sys.argv] if sys.argv[0].endswith("snakemake") else sys.argv[1:]
if words[:1] != ["-m"] or not words[1].startswith("pipeline.stages.") | words[1].endswith("snakemake") or words[1] in {real}:
    os.execv({python!r}, [{python!r}, *words])
umask = os.umask(0)
os.umask(umask)
ignored = [number for number in {forwarded} if signal.getsignal(number) == signal.SIG_IGN]
asked = dict(words=words[1:], folder=os.getcwd(), environment=dict(os.environ), umask=umask, ignored=ignored)
with socket.socket(socket.AF_UNIX) as server:
    server.connect({socket!r})
    for number in {forwarded}:
        if number not in ignored:
            signal.signal(number, lambda number, frame: server.send(bytes([number])))
    text = json.dumps(asked).encode()
    socket.send_fds(server, [len(text).to_bytes(4, "big")], [0, 1, 2])
    server.sendall(text)
    code = int(server.makefile().readline() or 255)
if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


def started():
    """The folder with those two programs, of which each process of pytest has one, made when it is first asked for."""
    if not hasattr(started, "folder"):
        folder = Path(tempfile.mkdtemp(prefix="warm-"))
        place = folder / "socket"
        process = subprocess.Popen([sys.executable, __file__, place], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "ready\n"
        names = {"python": sys.executable, "socket": str(place), "real": REAL, "forwarded": [int(number) for number in FORWARDED]}
        for program in ("python", "snakemake"):
            (folder / program).write_text(CLIENT.format(**names), encoding="utf-8")
            (folder / program).chmod(0o755)
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        atexit.register(process.kill)
        started.folder = folder
    return started.folder


def serve(place):
    """Fork for whoever connects, until standard input ends: with the process that holds its other end."""
    for name in LIBRARIES:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(place)
        listener.listen(64)
        print("ready", flush=True)
        while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                return attend(connection)
            connection.close()
    sys.exit()


def attend(connection):
    """Run what a client asks for in a child, pass signals on, tell its exit code; without the client the child ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    head, streams, _, _ = socket.recv_fds(connection, 4, 3)
    asked = json.loads(connection.makefile("rb").read(int.from_bytes(head, "big")))
    child = os.fork()
    if child == 0:
        connection.close()
        return asked, streams
    ended = os.pidfd_open(child)
    while ended not in select.select([ended, connection], [], [])[0]:
        for number in connection.recv(64) or [signal.SIGKILL]:
            os.kill(child, number)
    with contextlib.suppress(OSError):
        connection.send(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n".encode())
    os._exit(0)


def become(asked, streams):
    """This process is from now on what `python -m` would have started."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(asked["folder"])
    os.umask(asked["umask"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    for number in asked["ignored"]:
        signal.signal(number, signal.SIG_IGN)
    own = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:1] = [*([] if os.environ.get("PYTHONSAFEPATH") else [asked["folder"]]), *own]
    sys.argv[:] = asked["words"]
    try:
        if asked["words"][0].endswith("snakemake"):
            importlib.import_module("snakemake.cli").main()
        else:
            runpy.run_module(asked["words"][0], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    # What Python does at its end, but for taking down torch, which takes longer than many a stage.
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    become(*serve(sys.argv[1]))
