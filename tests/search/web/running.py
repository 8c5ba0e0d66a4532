"""The real server in a thread of the test, and a plain client that sends what it is told to."""

import http.client
import json
import threading
from contextlib import contextmanager
from urllib.parse import urlencode

from pipeline.search.web.server import Server, listen
from pipeline.search.web.worker import Worker

# A process of its own, with the toy session; its argument is where the clips lie.
ALONE = """
import sys
from pathlib import Path
from tests.search.web.world import Session
from pipeline.search.web import server, worker
with server.listen(0) as listening:
    server.serve(worker.Worker(Session(Path(sys.argv[1]))), listening, ready=lambda: print(server.address(listening), flush=True))
print("ended")
"""


@contextmanager
def serving(session, **settings):
    """(port, server) while the block runs."""
    ready = threading.Event()
    with listen(0) as listening:
        worker = Worker(session, **settings)
        server = Server(worker, ready=ready.set)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        port = listening.getsockname()[1]
        thread.start()
        assert ready.wait(30)
        try:
            yield port, server
        finally:
            server.should_exit = True
            thread.join(30)
            worker.close()
            assert not thread.is_alive()


def ask(port, path, parameters=(), *, method="GET", body=None, **headers):
    """(status, headers, body) of one request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        address = f"{path}?{urlencode(parameters)}" if parameters else path
        connection.request(method, address, body=body, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def said(port, path, parameters=(), *, status=200, **more):
    """The JSON of an answer with that status."""
    found, _, body = ask(port, path, parameters, **more)
    assert found == status, body
    return json.loads(body)
