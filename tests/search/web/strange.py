"""Requests that a stranger might send: bytes, each with what may come of it. Drawn from a seeded generator."""

import json
import random
import string
from dataclasses import dataclass, field
from urllib.parse import quote, quote_from_bytes

HELD = 24  # connections of one client that are left half open at once
SCRIPTS = ("aÀ", "бЖ", "漢字", "🎬🐙", "עב", "‮\u2028\ufeff", "\U0010ffff", "e\u0301", "İı", "\x7f")
WORDS = ("a", "red", "star", "moves", "up", "", "%", "&", "=", "+", "#", ";", "'", '"', "<script>", "\\", "\0", "\r\n", "{{7*7}}", "${x}")
NUMBERS = ("0", "1", "-1", "100", "101", "1e3", "1.5", "NaN", "inf", "0x10", "१", "9" * 400, "", " 3 ", "null", "[]", "1_0", "+1", "²")
METHODS = ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "HEAD", "FOO", "get", "G\tT")
VIDEOS = (
    b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom",
    b"\x1aE\xdf\xa3",
    b"RIFF\xff\xff\xff\xffAVI LIST",
    b"GIF89a\xff\xff\xff\xff",
    b"OggS",
    b"FLV\x01",
)


@dataclass
class Facts:
    """The knowledge of a stranger: names of indexes, the clips of one, a video, and files that are none of his business."""

    indexes: list[str]
    clips: list[tuple[int, str]]
    videos: list[str]
    film: bytes
    secrets: list[str]
    held: list = field(default_factory=list)


@dataclass(frozen=True)
class Strange:
    """`sent`: bytes; `proper`: whether it is HTTP to the end, and so must be answered; `manner`: read, leave, or hold."""

    sent: bytes
    proper: bool = True
    manner: str = "read"


def request(target, *, method="GET", host="127.0.0.1", headers=(), body=b"", length=True):
    """A request that is proper if its parts are."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", "Connection: close", *headers]
    if body and length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def target(path, pairs):
    return path + "?" + "&".join(f"{escaped(name)}={escaped(value)}" for name, value in pairs)


def escaped(part):
    """Also what is no text."""
    return quote(part.encode("utf-8", "surrogatepass"), safe="")


def text(rng):
    kind = rng.random()
    if kind < 0.5:
        return " ".join(rng.choices(WORDS, k=rng.randrange(8)))
    if kind < 0.8:
        return "".join(rng.choices("".join(SCRIPTS) + string.printable, k=rng.randrange(60)))
    return rng.choice("ab 漢\ud800") * rng.choice((999, 1000, 1001, 4000))


def trick(rng, facts):
    """A path to what is outside."""
    secret = rng.choice(facts.secrets)
    up = rng.choice(("../", "..%2f", "%2e%2e/", "%2e%2e%2f", "..\\", "%252e%252e%252f", "....//", ".%00./", "..;/", "%c0%ae%c0%ae/"))
    return rng.choice(
        (
            secret,
            up * rng.randrange(1, 12) + secret.lstrip("/"),
            f"file://{secret}",
            f"//{secret}",
            secret + "%00.mp4",
            "/proc/self/environ",
        )
    )


def search(rng, facts):
    pairs = [("index", rng.choice(facts.indexes)), ("q", text(rng)), ("k", rng.choice(("3", "12", rng.choice(NUMBERS))))]
    return Strange(request(target("/api/search", pairs)))


def parameters(rng, facts):
    path = rng.choice(("/api/search", "/api/like", "/api/captions", "/api/probe", "/api/indexes", "/clip", "/frame"))
    names = ("index", "q", "k", "video", "row", "sha256", "at", text(rng)[:20], "__proto__")
    values = [*NUMBERS, *facts.indexes, *facts.videos, facts.clips[0][1], text(rng), trick(rng, facts), json.dumps({"a": [1]})]
    return Strange(request(target(path, [(rng.choice(names), rng.choice(values)) for _ in range(rng.choice((0, 1, 3, 3, 4, 40)))])))


def like(rng, facts):
    index, video = rng.choice(facts.indexes), rng.choice(facts.videos)
    path, more = rng.choice((("/api/like", []), ("/api/captions", []), ("/api/probe", [("q", text(rng))])))
    return Strange(request(target(path, [("index", index), ("video", video), *more])))


def media(rng, facts):
    row, sha256 = rng.choice(facts.clips)
    known = [("index", facts.indexes[0]), ("row", str(row)), ("sha256", sha256)]
    if rng.random() < 0.5:
        return Strange(request(target("/frame", [*known, ("at", rng.choice((f"{rng.random() * 4:.3f}", *NUMBERS)))])))
    a, b = rng.randrange(10**5), rng.randrange(10**5)
    spec = rng.choice(
        (f"bytes={a}-{b}", f"bytes={a}-", f"bytes=-{b}", "bytes=" + "0-1," * 300, "bytes=x-y", f"bytes={'9' * 99}-", "", "lines=1-2")
    )
    return Strange(request(target("/clip", known), headers=[f"Range: {spec}"]), manner=rng.choice(("read", "read", "leave")))


def paths(rng, facts):
    place = trick(rng, facts)
    if rng.random() < 0.5:
        prefix = rng.choice(("", "/", "/static/", "/clip/", "/api/", "/static//", "http://evil.example/"))
        sent = (prefix + place).replace(" ", "%20").encode("utf-8")
        return Strange(b"GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n" % sent)
    name = rng.choice(("index", "row", "sha256", "video"))
    pairs = {"index": facts.indexes[0], "row": "0", "sha256": facts.clips[0][1], "video": facts.videos[0]} | {name: place}
    wanted = ("index", "video") if name == "video" else ("index", "row", "sha256")
    return Strange(request(target("/api/like" if name == "video" else "/clip", [(key, pairs[key]) for key in wanted])))


def strangers(rng, facts):
    host = rng.choice(("127.0.0.1", "evil.example", "127.0.0.1.evil.example", "localhost:80:80", "", "[::1]", "a" * 2000))
    header = rng.choice(("Origin: http://evil.example", "Origin: null", "Sec-Fetch-Site: cross-site", "X-Forwarded-Host: evil.example"))
    method = rng.choice(("GET", "POST"))
    return Strange(
        request(target("/api/file/videos", [("index", facts.indexes[0])]), host=host, headers=[header], method=method, body=b"x")
    )


def methods(rng, facts):
    path = rng.choice(("/", "/api/search", "/api/file/videos", "/static/page.js", f"/api/like?index={quote(facts.indexes[0])}", "*"))
    body = rng.randbytes(rng.choice((0, 0, 10, 5000)))
    return Strange(request(path, method=rng.choice(METHODS), body=body), proper=False)


def uploads(rng, facts):
    kind = rng.random()
    if kind < 0.02:
        cut = rng.randrange(len(facts.film))
        body = facts.film[:cut] + rng.randbytes(rng.choice((0, 30))) + facts.film[cut + rng.randrange(99) :]
    elif kind < 0.6:
        body = rng.choice(VIDEOS) + rng.randbytes(rng.choice((0, 50, 3000, 60_000)))
    elif kind < 0.8:
        secret = rng.choice(facts.secrets)
        body = rng.choice(
            (f"#EXTM3U\n#EXTINF:1,\n{secret}\n", f"ffconcat version 1.0\nfile '{secret}'\n", f"<MPD><BaseURL>{secret}</BaseURL></MPD>")
        ).encode()
    else:
        body = rng.randbytes(rng.choice((0, 1, 999, 200_000)))
    what = rng.choice(("videos", "captions"))
    names = [("index", rng.choice([*facts.indexes, "none"])) for _ in range(rng.choice((1, 1, 2, 3)))]
    kind = rng.choice((*3 * ["application/octet-stream"], "video/mp4", "multipart/form-data; boundary=x", "text/plain"))
    headers = [f"Content-Type: {kind}"]
    if rng.random() < 0.2:
        body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:100], body[100:]) if part) + b"0\r\n\r\n"
        headers.append("Transfer-Encoding: chunked")
        return Strange(request(target(f"/api/file/{what}", names), method="POST", headers=headers, body=body, length=False))
    return Strange(request(target(f"/api/file/{what}", names), method="POST", headers=headers, body=body))


def malformed(rng, facts):
    return Strange(
        rng.choice(
            (
                rng.randbytes(rng.randrange(1, 4000)),
                b"GET\r\n\r\n",
                b"GET / HTTP/9.9\r\n\r\n",
                b"GET / HTTP/1.1\r\n\r\n",
                b"GET / HTTP/1.0\r\n\r\n",
                b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
                b"GET /\0 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
                b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: \0\r\n\r\n",
                b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n folded: x\r\n\r\n",
                b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * rng.choice((9000, 17_000, 300_000)) + b"\r\n\r\n",
                b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
                b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
                b"POST /api/file/videos HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -5\r\n\r\nx",
                b"POST /api/file/videos HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nx",
                b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
                b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: gzip\r\n\r\nzz\r\n",
                b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + rng.randbytes(200),
                b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                b"GET /?q=%s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % quote_from_bytes(rng.randbytes(90)).encode(),
                2 * request("/api/indexes").replace(b"Connection: close\r\n", b"") + search(rng, facts).sent,
            )
        ),
        proper=False,
    )


def half_open(rng, facts):
    begin = rng.choice(
        (
            b"",
            b"GET",
            b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ",
            request(
                target("/api/file/videos", [("index", facts.indexes[0])]), method="POST", headers=["Content-Type: application/octet-stream"]
            )[:-2]
            + b"Content-Length: 200000000\r\n\r\n"
            + rng.randbytes(500),
            request("/") + b"GET / HT",
            b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10000\r\n\r\nabc",
        )
    )
    return Strange(begin, proper=False, manner="hold")


KINDS = {search: 30, parameters: 14, like: 10, media: 14, paths: 12, strangers: 4, methods: 4, uploads: 3, malformed: 8, half_open: 1}


def draw(rng: random.Random, facts: Facts) -> Strange:
    """One of all kinds, some of them left unread."""
    made = rng.choices(list(KINDS), list(KINDS.values()))[0](rng, facts)
    if made.manner == "read" and rng.random() < 0.02:
        return Strange(made.sent[: rng.randrange(len(made.sent) + 1)], proper=False, manner="leave")
    return made
