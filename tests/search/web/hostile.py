"""A bounded load of strange requests on a server of its own: `python -m tests.search.web.hostile --requests 100000`.

It fails if the server crashes, says 5xx but 503, leaves a proper request without an answer, says a byte of a file that is none of its
business, holds more memory or files than after a warm-up, leaves uploads behind, or answers another search than before.
"""

import argparse
import collections
import contextlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path

import psutil

from tests.search.web.running import ALONE, said
from tests.search.web.strange import HELD, Facts, draw
from tests.search.web.world import draw as film

TOKEN = "canary-7f3a9b51"
GROWTH = 64 * 2**20  # bytes that the server may hold more at the end than after a tenth; the pictures it keeps are up to 32 MiB
FILES = 64  # open files more
PLACE = Path(__file__).parents[3]


class Load:
    """Clients in threads. `said`: status -> how often; `faults`: what must not be."""

    def __init__(self, port, facts, *, requests, clients, seed, watch):
        self.port, self.facts, self.requests, self.watch = port, facts, requests, watch
        self.said, self.faults, self.done = collections.Counter(), [], 0
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._guarded, args=(random.Random(f"{seed} {i}"),)) for i in range(clients)]

    def run(self):
        for thread in self._threads:
            thread.start()
        for thread in self._threads:
            thread.join()

    def _guarded(self, rng):
        """A client that breaks down would only make the load smaller."""
        held = []
        try:
            self._client(rng, held)
        except Exception:
            self.faults.append(("a client broke down", traceback.format_exc()))
        for client in held:
            client.close()

    def _client(self, rng, held):
        while True:
            with self._lock:
                if self.done >= self.requests or len(self.faults) > 9:
                    break
                self.done += 1
                done = self.done
            self.watch(done)
            strange = draw(rng, self.facts)
            try:
                answer = self._send(strange, held)
            except (ConnectionError, BrokenPipeError) as error:
                answer = None
                if strange.proper and strange.manner == "read":
                    self._fault(strange, f"{error}")
            if answer is not None:
                self._judge(strange, answer)

    def _send(self, strange, held):
        """All bytes of the answer; None where nobody waits for it."""
        client = socket.create_connection(("127.0.0.1", self.port), timeout=150)
        try:
            client.sendall(strange.sent)
        except (ConnectionError, BrokenPipeError):
            if strange.proper and len(strange.sent) < 50_000:
                raise
        if strange.manner == "hold":
            held.append(client)
            if len(held) > HELD:
                held.pop(0).close()
            return None
        with client:
            if strange.manner == "leave":
                return None
            if not strange.proper:
                with contextlib.suppress(OSError):  # the server was faster
                    client.shutdown(socket.SHUT_WR)
            parts = []
            try:
                while part := client.recv(2**16):
                    parts.append(part)
            except ConnectionResetError:  # it hung up on a body that it did not want
                if strange.proper and not parts and len(strange.sent) < 50_000:
                    raise
            return b"".join(parts)

    def _judge(self, strange, answer):
        statuses = [int(found) for found in re.findall(rb"HTTP/1\.1 (\d{3}) [A-Z]", answer)]
        with self._lock:
            self.said.update(statuses or ["none"])
        if any(status >= 500 and status != 503 for status in statuses):
            self._fault(strange, answer[:300])
        if strange.proper and not statuses and len(strange.sent) < 50_000:
            self._fault(strange, "no answer")
        if TOKEN.encode() in answer or b"root:x:0" in answer or b"Traceback" in answer or b'File "' in answer:
            self._fault(strange, b"it tells too much: " + answer[:300])

    def _fault(self, strange, why):
        with self._lock:
            self.faults.append((strange.sent[:300], why))


def facts(port, folder, indexes):
    """The names that a stranger may know, and the files that he wants."""
    (folder / "outside").mkdir()
    secret = folder / "outside" / "canary.mp4"
    secret.write_text(TOKEN)
    (folder / "canary.mp4").write_text(TOKEN)
    film(folder / "film.mp4", 5, width=96, height=96)
    hits = said(port, "/api/search", {"index": indexes[0], "q": "a star", "k": 100})["hits"]
    clips = [(hit["row"], hit["sha256"]) for hit in hits]
    secrets = [str(secret), str(folder / "canary.mp4"), "/etc/passwd", "outside/canary.mp4", "canary.mp4"]
    return Facts(indexes, clips, [hit["video"] for hit in hits], (folder / "film.mp4").read_bytes(), secrets)


def plain(port, indexes):
    """Answers that must not change, without the time they took."""
    found = [said(port, "/api/search", {"index": name, "q": "a red star moves up"}) for name in indexes]
    return [{key: value for key, value in one.items() if key != "seconds"} for one in found]


def attack(folder, *, requests, clients=8, seed=0, root=None, tell=print):
    """Run it; the figures. AssertionError for what must not be. `root`: real indexes, else the toy's."""
    command = [sys.executable, "-c", ALONE, str(folder / "galleries")]
    if root is not None:
        command = [sys.executable, "-m", "pipeline.stages.serve", "--indexes", str(root), "--port", "0"]
    (folder / "tmp").mkdir()
    environment = os.environ | {"PYTHONPATH": str(PLACE), "TMPDIR": str(folder / "tmp")}
    with (folder / "said.txt").open("w") as complaints:
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaints, env=environment, text=True)
    try:
        port = int(re.search(r":(\d+)/", child.stdout.readline())[1])
        server, seen = psutil.Process(child.pid), []
        indexes = [one["name"] for one in said(port, "/api/indexes")["indexes"]]
        before = plain(port, indexes)

        def watch(done):
            if done % max(requests // 10, 1) == 0:
                seen.append((done, server.memory_info().rss, server.num_fds(), server.num_threads()))
                tell(f"{done:,} requests: {seen[-1][1] / 2**20:.0f} MiB, {seen[-1][2]} files, {seen[-1][3]} threads", flush=True)

        load = Load(port, facts(port, folder, indexes), requests=requests, clients=clients, seed=seed, watch=watch)
        begin = time.monotonic()
        load.run()
        took = time.monotonic() - begin
        assert not load.faults, load.faults
        assert plain(port, indexes) == before
        _at_rest(server, folder, seen[0])
        child.send_signal(signal.SIGTERM)
        assert child.wait(60) == 0
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    complained = (folder / "said.txt").read_text()
    assert "Traceback" not in complained and "rror" not in complained, complained[-3000:]
    return {"requests": load.done, "seconds": took, "statuses": dict(load.said), "memory": [rss for _, rss, _, _ in seen]}


def _at_rest(server, folder, first):
    """Some seconds later nothing is left of the uploads, and memory and files are as after the warm-up."""
    deadline = time.monotonic() + 60
    while list((folder / "tmp").iterdir()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not list((folder / "tmp").iterdir())
    _, rss, files, _ = first
    assert server.memory_info().rss <= rss + GROWTH, (rss, server.memory_info().rss)
    assert server.num_fds() <= files + FILES


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--indexes", type=Path, help="real ones; without it, a toy without a CLIP")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="hostile-"))
    try:
        print(attack(folder, requests=args.requests, clients=args.clients, seed=args.seed, root=args.indexes))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
