"""The server's answers and refusals, and whom it serves; over real connections."""

import dataclasses
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from pipeline.search.session import MAX_QUERY
from pipeline.search.web import connection, pictures, server, upload, worker
from pipeline.search.web.asked import K
from tests.search.web.running import ALONE, ask, said, serving
from tests.search.web.world import FPS, FRAMES, Session, draw

VOP, ZERO, MINE = "motion/clip-tiny/vop/0", "motion/clip-tiny/zero_shot/0", "mine/clip-tiny/vop/0"
SENT = {"Content_Type": upload.KIND}


def clip_of(port, name=VOP, place=0):
    """The parameters that name the clip of a hit."""
    hit = said(port, "/api/search", {"index": name, "q": "a star"})["hits"][place]
    return {"index": name, "row": hit["row"], "sha256": hit["sha256"]}


def test_the_indexes_are_told_with_what_a_page_says_of_them(port):
    told = said(port, "/api/indexes")
    assert [one["name"] for one in told["indexes"]] == [VOP, "motion/clip-tiny/mv_adapter/0", ZERO, MINE]
    first, bare = told["indexes"][0], told["indexes"][-1]
    assert (first["run"], first["videos"], first["captions"]) == ("vop", 14, 14) and (bare["captions"], bare["examples"]) == (0, [])
    assert {one["directed"] for one in first["examples"]} == {True, False} and len(first["examples"]) == 6
    assert told["limits"] == {"query": MAX_QUERY, "k": K, "bytes": upload.BYTES} and told["other"][0]["name"] == "motion/ViT-B-32/vop/0"


def test_a_search_gives_what_the_session_finds_in_its_order(port, session):
    found = said(port, "/api/search", {"index": VOP, "q": "  a red \t star ", "k": 5})
    assert [(h["row"], h["video"], h["score"], h["moment"]) for h in found["hits"]] == [
        (h.row, h.video_id, h.score, h.moment) for h in session.text(VOP, "a red star", 5)
    ]
    assert found["hits"][0]["source"].startswith("videos/test") and found["seconds"] > 0


def test_a_video_asks_for_others_for_captions_and_for_the_probe(port, session):
    like = said(port, "/api/like", {"index": VOP, "video": "test00003", "k": 100})
    assert len(like["hits"]) == 13 and "test00003" not in {hit["video"] for hit in like["hits"]} and like["of"]["video"] == "test00003"
    captions = said(port, "/api/captions", {"index": VOP, "video": "test00003"})["captions"]
    assert captions[0]["text"] == session.captions(VOP, 3, 1)[0].text and captions[0]["of"]["video"] == captions[0]["caption"][:9]
    probes = [said(port, "/api/probe", {"index": name, "video": "test00003", "q": "it moves up"}) for name in (VOP, ZERO)]
    assert [one["higher"] for one in probes] == ["forwards", "neither"] and probes[0]["turned"] == "it moves down"
    assert probes[0]["times"] == [k / FPS for k in range(FRAMES)]


def test_a_file_is_searched_in_both_indexes_and_nothing_of_it_stays(port, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "made"))
    (tmp_path / "made").mkdir()
    draw(tmp_path / "own.mp4", 99)
    content = (tmp_path / "own.mp4").read_bytes()
    found = said(port, "/api/file/videos", [("index", VOP), ("index", ZERO), ("k", 4)], method="POST", body=content, **SENT)
    assert [(side["index"], len(side["hits"])) for side in found["sides"]] == [(VOP, 4), (ZERO, 4)]
    assert said(port, "/api/file/captions", {"index": VOP}, method="POST", body=content, **SENT)["sides"][0]["captions"]
    refused = said(port, "/api/file/videos", {"index": VOP}, method="POST", body=b"no video" * 99, status=400, **SENT)
    assert "not a readable video file" in refused["error"] and str(tmp_path) not in refused["error"]
    assert not list((tmp_path / "made").iterdir())


def test_a_playlist_is_no_video_whatever_it_points_to(port, tmp_path):
    (tmp_path / "secret.txt").write_text("canary")
    lists = (b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://%s\n", b"ffconcat version 1.0\nfile '%s'\n")
    for playlist in lists:
        body = playlist % str(tmp_path / "secret.txt").encode()
        assert "canary" not in said(port, "/api/file/videos", {"index": VOP}, method="POST", body=body, status=400, **SENT)["error"]


@pytest.mark.parametrize(
    ("path", "parameters", "status", "sentence"),
    [
        ("/api/search", {"index": VOP}, 400, "the parameter q is missing"),
        ("/api/search", {"index": VOP, "q": " \t "}, 400, "type what the video shows"),
        ("/api/search", {"index": VOP, "q": "x" * (MAX_QUERY + 1)}, 400, "q has 1,001 characters, and at most 1,000"),
        ("/api/search", {"index": VOP, "q": "a\0b"}, 400, "cannot be printed"),
        ("/api/search", {"index": VOP, "q": b"\xff"}, 400, "not UTF-8"),
        ("/api/search", {"index": VOP, "q": "a", "k": 0}, 400, "k is a whole number from 1 to 100, not '0'"),
        ("/api/search", {"index": VOP, "q": "a", "k": 101}, 400, "from 1 to 100"),
        ("/api/search", {"index": VOP, "q": "a", "k": "٣"}, 400, "from 1 to 100"),
        ("/api/search", {"index": VOP, "q": "a", "k": "9" * 5000}, 400, "from 1 to 100"),
        ("/api/search", {"index": VOP, "q": "a", "kk": 3}, 400, "no parameter 'kk'; did you mean 'k'?"),
        ("/api/search", [("index", VOP), ("index", ZERO), ("q", "a")], 400, "index is given 2 times"),
        ("/api/search", [("q", "a")] * 17, 400, "more than 16 parameters"),
        ("/api/search", {"index": "../../etc", "q": "a"}, 404, "'../../etc' is not there"),
        ("/api/like", {"index": VOP, "video": "../test00001"}, 404, "is not in the index"),
        ("/api/captions", {"index": MINE, "video": "test00001"}, 400, "has no texts to choose from"),
        ("/api/indexes", {"x": 1}, 400, "no parameter 'x'"),
        ("/clip", {"index": VOP, "row": 14, "sha256": ""}, 404, "has another video here"),
        ("/clip", {"index": VOP, "row": -1, "sha256": ""}, 400, "whole number"),
        ("/clip", {"index": VOP, "row": "0/../1", "sha256": ""}, 400, "whole number"),
        ("/clip", {"index": VOP, "row": 0, "sha256": "0" * 64}, 404, "has another video here"),
        ("/frame", {"index": VOP, "row": 0, "sha256": "", "at": "nan"}, 400, "a time in seconds"),
        ("/static/../app.py", {}, 404, "nothing at this address"),
        ("/static/%2e%2e/app.py", {}, 404, "nothing at this address"),
        ("//etc/passwd", {}, 404, "nothing at this address"),
        ("/api/file/videos", {"index": VOP}, 405, "does not take that method"),
    ],
)
def test_what_cannot_be_met_is_refused_in_a_sentence(port, path, parameters, status, sentence):
    assert sentence in said(port, path, parameters, status=status)["error"]


def test_bodies_that_are_too_large_empty_or_of_another_kind_are_refused(port, monkeypatch):
    monkeypatch.setattr(upload, "BYTES", 2**20)
    path, to = "/api/file/videos", {"index": VOP}
    assert "at most 1 MB" in said(port, path, to, method="POST", body=bytes(2**20 + 1), status=413, **SENT)["error"]
    # Without a length nothing is announced, and the bytes are counted.
    pieces = (bytes(2**16) for _ in range(17))
    assert said(port, path, to, method="POST", body=pieces, status=413, **SENT)["error"]
    assert "empty" in said(port, path, to, method="POST", body=b"", status=400, **SENT)["error"]
    assert said(port, path, to, method="POST", body=b"x", status=415, Content_Type="multipart/form-data")["error"]
    assert "at most 2 indexes" in said(port, path, [("index", VOP)] * 3, method="POST", body=b"x", status=400, **SENT)["error"]


def test_only_this_machine_by_its_own_names_and_no_page_of_another_site_is_served(port):
    for host in ("127.0.0.1", "localhost:9999", f"127.0.0.1:{port}"):
        assert ask(port, "/api/indexes", Host=host)[0] == 200
    for host in ("evil.example", "127.0.0.1.evil.example", "localhost.", "127.0.0.1:80@evil.example", "[::1]", "0.0.0.0"):
        assert ask(port, "/api/indexes", Host=host)[0] in (400, 421), host
    post = {"method": "POST", "body": b"x", **SENT}
    for fields in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ):
        assert ask(port, "/api/file/videos", {"index": VOP}, **post, **fields)[0] == 403
        assert ask(port, "/api/indexes", **fields)[0] == 403
    assert ask(port, "/", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate")[0] == 200
    assert ask(port, "/api/file/videos", {"index": VOP}, **post, Origin=f"http://127.0.0.1:{port}")[0] == 400  # read, and no video


def test_every_answer_tells_the_browser_to_trust_nothing_else(port):
    for path in ("/", "/static/page.js", "/api/indexes", "/nowhere", "/api/search"):
        _, headers, _ = ask(port, path)
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'self';") and "unsafe" not in policy and "http" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["Referrer-Policy"] == "no-referrer"


def test_a_clip_comes_whole_or_in_the_range_that_is_asked_for(port, root):
    wanted = clip_of(port)
    content = (root / "motion" / f"{wanted['row']}.mp4").read_bytes()
    status, headers, body = ask(port, "/clip", wanted)
    assert (status, headers["Content-Type"], headers["Accept-Ranges"], body) == (200, "video/mp4", "bytes", content)
    size = len(content)
    for spec, part in (("0-9", content[:10]), ("10-", content[10:]), ("-7", content[-7:]), (f"5-{10 * size}", content[5:])):
        status, headers, body = ask(port, "/clip", wanted, Range=f"bytes={spec}")
        assert (status, body) == (206, part) and headers["Content-Range"].endswith(f"/{size}"), spec
    assert ask(port, "/clip", wanted, Range=f"bytes={size}-")[0] == 416
    for strange in ("bytes=9-3", "bytes=a-b", "lines=1-2", "bytes=0-1,5-6", "bytes=-", "bytes=" + "9" * 99 + "-"):
        assert ask(port, "/clip", wanted, Range=strange)[0::2] == (200, content), strange


def test_a_frame_is_that_of_its_time_and_comes_from_memory_the_second_time(port, monkeypatch):
    wanted = clip_of(port)
    status, headers, first = ask(port, "/frame", {**wanted, "at": "0.0"})
    assert (status, headers["Content-Type"], first[:2]) == (200, "image/jpeg", b"\xff\xd8")
    last = ask(port, "/frame", {**wanted, "at": "99"})[2]
    assert last == ask(port, "/frame", {**wanted, "at": f"{(FRAMES - 1) / FPS:.3f}"})[2] != first
    monkeypatch.setattr(pictures, "_jpeg", None)  # would fail
    assert ask(port, "/frame", {**wanted, "at": "0.1"})[2] == first


def test_pictures_stay_within_their_room(root):
    draw(root / "one.mp4", 3)
    kept = pictures.Pictures(room=20_000)
    made = [kept.jpeg(root / "one.mp4", sha256="x", seconds=k / FPS) for k in range(FRAMES)]
    assert 0 < kept.size <= 20_000 < sum(map(len, made))


def test_the_method_of_the_parameters_comes_first(root):
    with serving(Session(root), first="zero_shot") as (port, _):
        assert [one["name"] for one in said(port, "/api/indexes")["indexes"]][:2] == [ZERO, VOP]


def test_an_index_that_goes_is_told_and_one_that_stays_answers(root, monkeypatch):
    monkeypatch.setattr(worker, "REFRESH", 0.0)
    session = Session(root)
    with serving(session) as (port, _):
        wanted = clip_of(port, ZERO)
        session.gone = {ZERO}
        assert "not there any more" in said(port, "/api/search", {"index": ZERO, "q": "a"}, status=404)["error"]
        assert "no index" in said(port, "/clip", wanted, status=404)["error"]
        assert said(port, "/api/search", {"index": VOP, "q": "a"})["hits"]


def test_rows_of_another_state_of_the_index_are_never_mixed(root):
    session = Session(root)
    hits = session.text(VOP, "a", 3)
    session.text = lambda *_: [dataclasses.replace(hits[0], row=hits[1].row)]
    with serving(session) as (port, _):
        assert "made anew" in said(port, "/api/search", {"index": VOP, "q": "a"}, status=503)["error"]


def test_a_full_queue_and_a_search_without_end_are_told_and_leave_no_trace(root, monkeypatch):
    monkeypatch.setattr(worker, "QUEUE", 2)
    monkeypatch.setattr(worker, "SECONDS", 1.0)
    session, free = Session(root), threading.Event()
    plain = session.text
    session.text = lambda *given: (free.wait(20), plain(*given))[1]
    with serving(session) as (port, _):
        answers = []
        asked = [threading.Thread(target=lambda: answers.append(ask(port, "/api/search", {"index": VOP, "q": "a"}))) for _ in range(6)]
        for one in asked:
            one.start()
        for one in asked:
            one.join()
        told = sorted(body.decode() for _, _, body in answers)
        assert {status for status, _, _ in answers} == {503}
        assert sum("searches are waiting" in body for body in told) >= 4 and any("takes more than" in body for body in told)
        free.set()
        deadline = time.monotonic() + 20
        while (status := ask(port, "/api/search", {"index": VOP, "q": "a"})[0]) == 503 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert status == 200


def test_connections_that_say_nothing_or_never_finish_are_closed(root, monkeypatch):
    monkeypatch.setattr(connection, "HEAD", 0.4)
    monkeypatch.setattr(upload, "SECONDS", 0.4)
    starts = {
        "nothing": b"",
        "half a head": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ",
        "half a second head": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET /",
        "half a body": b"POST /api/file/videos?index=%s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: %s\r\nContent-Length: 99\r\n\r\nabc"
        % (VOP.encode(), upload.KIND.encode()),
        "a body that nobody reads": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9999\r\n\r\nabc",
    }
    with serving(Session(root)) as (port, running):
        for what, start in starts.items():
            with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
                client.sendall(start)
                ended = False
                for _ in range(400):  # a byte now and then does not help
                    try:
                        client.settimeout(0.05)
                        ended = client.recv(2**16) == b""
                        client.sendall(b"x" if start and what != "half a second head" else b"")
                    except TimeoutError:
                        continue
                    except OSError:
                        ended = True
                    if ended:
                        break
                assert ended, what
        assert said(port, "/api/search", {"index": VOP, "q": "a"})["hits"] and len(running.server_state.connections) <= 2


def test_a_body_that_stops_being_http_ends_the_connection_and_nothing_else(port, caplog):
    head = b"POST /api/file/videos?index=%s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(head % (VOP.encode(), upload.KIND.encode()) + b"3\r\nabc\r\nzz\r\n")
        answer = b""
        while part := client.recv(2**16):
            answer += part
    assert answer.startswith(b"HTTP/1.1 400 ") and not caplog.records
    assert said(port, "/api/indexes")


def test_more_connections_than_are_answered_are_told_so_and_later_ones_are_served(root, monkeypatch):
    monkeypatch.setattr(server, "ANSWERING", 8)
    with serving(Session(root)) as (port, _):
        idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(12)]
        assert ask(port, "/")[0] == 503
        for client in idle:
            client.close()
        deadline = time.monotonic() + 20
        while (status := ask(port, "/")[0]) == 503 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert status == 200


def test_a_mistake_of_the_server_is_told_without_its_insides(root, caplog):
    session = Session(root)
    session.text = lambda *_: 1 // 0
    with serving(session) as (port, _):
        body = said(port, "/api/search", {"index": VOP, "q": "a"}, status=500)["error"]
    assert "Traceback" not in body and "ZeroDivision" not in body and "ZeroDivisionError" in caplog.text


def test_a_port_that_is_taken_or_is_none_is_one_sentence():
    with server.listen(0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"port {port} of 127.0.0.1 cannot be had .*; choose another one with --port"):
            server.listen(port)
    with pytest.raises(ValueError, match="--port is a number from 0"):
        server.listen(65536)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_server_in_good_order(root, number):
    place = Path(__file__).parents[3]
    environment = os.environ | {"PYTHONPATH": str(place)}
    with subprocess.Popen([sys.executable, "-c", ALONE, str(root)], stdout=subprocess.PIPE, cwd=place, env=environment, text=True) as child:
        port = int(child.stdout.readline().rsplit(":", 1)[1].strip("/\n"))
        assert ask(port, "/")[0] == 200
        with socket.create_connection(("127.0.0.1", port)) as idle:
            idle.sendall(b"GET /")
            child.send_signal(number)
            assert (child.stdout.read(), child.wait(30)) == ("ended\n", 0)
