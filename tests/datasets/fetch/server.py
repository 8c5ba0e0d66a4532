"""An HTTP server that does what it is told to, one answer after the other, and writes down what it was asked."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """`answers`: functions of the handler, used up one a request; the last one stays. `log`: (path, headers) of each request."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.log = [], []

    def url(self, path="/file.zip", *, host="127.0.0.1"):
        return f"http://{host}:{self.server_port}{path}"

    def asked(self, field):
        """The values of that field, one a request, None for nothing."""
        return [headers.get(field) for _, headers in self.log]

    def handle_error(self, *_):
        """A client that hangs up is no news."""


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        answers = self.server.answers
        self.server.log.append((self.path, self.headers))
        (answers.pop(0) if len(answers) > 1 else answers[0])(self)
        self.close_connection = True

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


@contextmanager
def serving():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def say(status, body=b"", **fields):
    """A fixed answer; `fields`: headers, with _ for -. The length is that of `body` unless they say another; None sends none."""

    def answer(handler):
        handler.send_response(status)
        named = {"Content-Length": len(body)} | {name.replace("_", "-"): value for name, value in fields.items()}
        for name, value in named.items():
            if value is not None:
                handler.send_header(name, str(value))
        handler.end_headers()
        if handler.command == "GET":
            handler.wfile.write(body)

    return answer


def offer(content, *, version='"one"', cut=None, ranges=True, **fields):
    """A good server of `content`, which hangs up after `cut` bytes of a body."""

    def answer(handler):
        wanted, start = handler.headers.get("Range"), 0
        named = {"ETag": version} if version.startswith(('"', "W/")) else {"Last-Modified": version}
        if wanted and ranges and handler.headers.get("If-Range", version) == version:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                return say(416, Content_Range=f"bytes */{len(content)}", **named)(handler)
            named["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        body = content[start:]
        return say(206 if start else 200, body[:cut], **({"Content_Length": len(body)} | named | fields))(handler)

    return answer
