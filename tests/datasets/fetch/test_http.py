"""Files from a server that lies, hangs up and forgets: right under their names in the end, or one sentence and nothing."""

import base64
import gzip
import hashlib
import io
import json
import os
import random
import subprocess
import sys
import tarfile
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from pipeline.datasets.fetch.content import check_digest
from pipeline.datasets.fetch.http import Gone, Refused, Unreachable, fetch, shown
from tests.datasets.fetch.server import offer, say, serving

ZIP = b"PK\3\4" + random.Random(0).randbytes(300_000)
OTHER = b"PK\3\4" + random.Random(1).randbytes(300_000)
SHA = "sha256:" + hashlib.sha256(ZIP).hexdigest()
LOGIN = b"<!DOCTYPE html>\n<html><head><title>Sign\n in &amp; go</title></head></html>"


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path_factory):
    """No proxy and no credentials of whoever runs this."""
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("NETRC", str(tmp_path_factory.mktemp("home") / "netrc"))


@pytest.fixture
def server():
    with serving() as server:
        yield server


@pytest.fixture
def target(tmp_path):
    return tmp_path / "raw" / "file.zip"


@pytest.fixture
def naps(monkeypatch):
    """The seconds that were waited for, without waiting."""
    waited = []
    monkeypatch.setattr(time, "sleep", waited.append)
    return waited


def get(server, target, *answers, path="/file.zip", attempts=3, **promised):
    server.answers = list(answers) or server.answers
    return fetch(server.url(path), target, attempts=attempts, pause=0.01, **promised)


def fails(error, match, server, target, *answers, kept=(), **promised):
    """The sentence of the failure; nothing but `kept` stays."""
    with pytest.raises(ValueError, match=match) as caught:
        get(server, target, *answers, **promised)
    assert type(caught.value) is error
    assert sorted(path.name for path in target.parent.glob("*")) == sorted(kept)
    return str(caught.value)


PARTIAL = (".file.zip.part", ".file.zip.part.json")


def only(target):
    return [path.name for path in target.parent.iterdir()] == [target.name]


def test_a_file_is_there_with_its_length_and_hash(server, target):
    found = get(server, target, offer(ZIP), kind="zip", size=len(ZIP), digest=SHA)
    assert (found.bytes, f"sha256:{found.sha256}", target.read_bytes()) == (len(ZIP), SHA, ZIP)
    assert only(target)
    assert (server.asked("Accept-Encoding"), server.asked("Range")) == (["identity"], [None])


@pytest.mark.parametrize("version", ['"one"', "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_a_dropped_connection_is_continued_at_the_byte_where_it_ended(server, target, version):
    get(server, target, offer(ZIP, version=version, cut=100_000), offer(ZIP, version=version))
    assert target.read_bytes() == ZIP
    assert only(target)
    assert server.asked("Range") == [None, "bytes=100000-"]
    assert server.asked("If-Range") == [None, version]


def test_a_later_call_continues_what_an_earlier_process_left(server, target):
    server.answers = [offer(ZIP, cut=100_000), say(503)]
    program = f"""
from pathlib import Path
from pipeline.datasets.fetch.http import fetch
fetch({server.url()!r}, Path({str(target)!r}), attempts=2, pause=0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "pipeline.datasets.fetch.http.Unreachable" in done.stderr
    assert not target.exists()
    get(server, target, offer(ZIP), digest=SHA)
    assert only(target)
    assert server.asked("Range")[-1] == "bytes=100000-"


def test_what_came_whole_before_a_crash_is_not_fetched_again(server, target):
    fails(Unreachable, "503", server, target, offer(ZIP, cut=100_000), say(503), kept=PARTIAL)
    (target.parent / PARTIAL[0]).write_bytes(ZIP)
    before = len(server.log)
    get(server, target, offer(ZIP), digest=SHA)
    assert server.asked("Range")[before:] == [f"bytes={len(ZIP)}-"]
    assert target.read_bytes() == ZIP


def test_a_range_beyond_the_end_is_not_taken_for_a_whole_file(server, target):
    fails(Unreachable, "503", server, target, offer(ZIP, cut=100_000), say(503), kept=PARTIAL)
    short = ZIP[:90_000]
    get(server, target, say(416, Content_Range=f"bytes */{len(short)}", ETag='"one"'), offer(short))
    assert target.read_bytes() == short


def test_another_version_starts_again(server, target):
    get(server, target, offer(ZIP, cut=100_000), offer(OTHER, version='"two"'))
    assert target.read_bytes() == OTHER
    assert server.asked("Range") == [None, "bytes=100000-"]


def test_a_continuation_of_another_version_is_not_appended(server, target):
    """The server ignores If-Range."""
    rest = say(206, OTHER[100_000:], ETag='"two"', Content_Range=f"bytes 100000-{len(OTHER) - 1}/{len(OTHER)}")
    get(server, target, offer(ZIP, cut=100_000), rest, offer(OTHER, version='"two"'))
    assert target.read_bytes() == OTHER
    assert server.asked("Range") == [None, "bytes=100000-", None]


def test_two_versions_joined_without_a_word_are_fetched_once_more_from_the_start(server, target):
    rest = say(206, OTHER[100_000:], Content_Range=f"bytes 100000-{len(OTHER) - 1}/{len(OTHER)}")
    get(server, target, offer(ZIP, cut=100_000), rest, offer(ZIP), digest=SHA)
    assert target.read_bytes() == ZIP
    assert server.asked("Range") == [None, "bytes=100000-", None]


def test_another_url_starts_again(server, target):
    fails(Unreachable, "503", server, target, offer(ZIP, cut=100_000), say(503), kept=PARTIAL)
    before = len(server.log)
    get(server, target, offer(OTHER), path="/other.zip")
    assert target.read_bytes() == OTHER
    assert server.asked("Range")[before:] == [None]


@pytest.mark.parametrize("version", ['W/"one"', ""])
def test_without_a_strong_validator_every_attempt_starts_again(server, target, version):
    get(server, target, offer(ZIP, version=version, cut=100_000), offer(ZIP, version=version))
    assert target.read_bytes() == ZIP
    assert server.asked("Range") == [None, None]


def test_a_server_that_ignores_ranges_is_read_from_the_start(server, target):
    get(server, target, offer(ZIP, cut=100_000), offer(ZIP, ranges=False))
    assert target.read_bytes() == ZIP
    assert server.asked("Range") == [None, "bytes=100000-"]


@pytest.mark.parametrize("field", ["bytes 5-300003/300004", "bytes */300004", "nonsense", None])
def test_a_range_that_was_not_asked_for_is_not_appended(server, target, field):
    wrong = say(206, ZIP[100_000:], Content_Range=field, ETag='"one"')
    get(server, target, offer(ZIP, cut=100_000), wrong, offer(ZIP))
    assert target.read_bytes() == ZIP
    assert server.asked("Range") == [None, "bytes=100000-", None]


def test_a_server_that_gives_a_piece_at_a_time_is_asked_until_it_is_whole(server, target):
    pieces = [
        say(206, ZIP[i : i + 50_000], ETag='"one"', Content_Range=f"bytes {i}-{min(i + 50_000, len(ZIP)) - 1}/{len(ZIP)}")
        for i in range(100_000, len(ZIP), 50_000)
    ]
    get(server, target, offer(ZIP, cut=100_000), *pieces, digest=SHA)
    assert len(server.log) == 1 + len(pieces)


def test_each_new_byte_forgives_the_failures_before_it(server, target):
    get(server, target, *[offer(ZIP, cut=60_000)] * 5, attempts=2)
    assert target.read_bytes() == ZIP
    assert server.asked("Range") == [None, *(f"bytes={i}-" for i in range(60_000, 300_001, 60_000))]


def test_the_same_bytes_again_forgive_nothing(server, target):
    fails(Unreachable, "3 times in a row", server, target, offer(ZIP, version="", cut=60_000), kept=PARTIAL)
    assert len(server.log) == 3


def test_a_body_shorter_than_announced_is_never_a_file(server, target):
    said = fails(Unreachable, "broke off", server, target, say(200, ZIP[:1000], Content_Length=len(ZIP)), kept=PARTIAL)
    assert said.startswith(server.url())
    assert len(server.log) == 3


def test_a_body_longer_than_announced_ends_where_it_was_announced_to(server, target):
    fails(ValueError, "sent 1000 bytes instead of 300004", server, target, say(200, ZIP, Content_Length=1000), size=len(ZIP))


def test_a_body_of_unknown_length_is_read_to_its_end(server, target):
    get(server, target, say(200, ZIP, Content_Length=None), digest=SHA)
    assert target.read_bytes() == ZIP


def test_more_bytes_than_promised_do_not_fill_the_disk(server, target):
    sent = []

    def flood(handler):
        handler.send_response(200)
        handler.end_headers()
        for _ in range(500):
            sent.append(handler.wfile.write(bytes(100_000)))

    fails(ValueError, "bytes or more instead of 1000", server, target, flood, size=1000)
    assert len(server.log) == 1
    assert sum(sent) < 40_000_000


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
def test_a_server_in_trouble_is_asked_again(server, target, status):
    get(server, target, say(status), offer(ZIP))
    assert target.read_bytes() == ZIP
    assert len(server.log) == 2


def test_a_server_in_trouble_for_ever_is_one_sentence(server, target):
    said = fails(Unreachable, "the server answers 503, 3 times in a row; try again later", server, target, say(503, LOGIN))
    assert said.startswith(server.url())
    assert len(server.log) == 3


def test_nobody_at_the_address_is_one_sentence(target):
    with serving() as server:
        url = server.url("/file.zip?key=secret")
    with pytest.raises(Unreachable, match=r"cannot be fetched: no connection \(Connection refused\), 2 times") as caught:
        fetch(url, target, attempts=2, pause=0.01)
    assert "secret" not in str(caught.value)


def test_a_server_that_says_nothing_is_not_waited_for_for_ever(server, target, monkeypatch):
    monkeypatch.setattr("pipeline.datasets.fetch.http.TIMEOUT", (1, 0.05))
    fails(Unreachable, "the server does not answer", server, target, lambda _: time.sleep(0.3), attempts=1)


def test_waiting_grows_and_follows_the_wishes_of_the_server(server, target, naps):
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    wishes = [None, None, None, "7", date, "86400", "soon", "-5", "Wed, 21 Oct 2015 07:28:00 GMT"]
    server.answers = [*(say(429, Retry_After=wish) for wish in wishes), offer(ZIP)]
    fetch(server.url(), target, attempts=20, pause=0.01)
    assert [0.01 <= naps[0] <= 0.02, 0.02 <= naps[1] <= 0.03, 0.04 <= naps[2] <= 0.05] == [True] * 3
    assert (naps[3], naps[5]) == (7, 300)
    assert 95 < naps[4] <= 100
    assert max(naps[6:]) < 4


@pytest.mark.parametrize("status", [404, 410])
def test_a_file_that_is_gone_is_not_asked_for_again(server, target, status):
    fails(Gone, f"is not there: the server answers {status}", server, target, offer(ZIP, cut=9), say(status, LOGIN))
    assert len(server.log) == 2


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_says_where_credentials_belong(server, target, status):
    fails(
        Refused, rf"127\.0\.0\.1 answers {status}; write 'machine 127\.0\.0\.1 login .*~/\.netrc and chmod 600", server, target, say(status)
    )
    assert len(server.log) == 1


@pytest.mark.parametrize("status", [400, 418, 204, 304])
def test_an_answer_that_is_no_file_is_an_error(server, target, status):
    fails(ValueError, f"the server answers {status}; check the address", server, target, say(status))
    assert len(server.log) == 1


def test_credentials_come_from_the_netrc_and_stay_with_their_host(server, target, monkeypatch):
    netrc = target.parents[1] / "netrc"
    netrc.write_text("machine localhost login me password hunter2\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    given = "Basic " + base64.b64encode(b"me:hunter2").decode()

    def guarded(handler):
        (say(302, Location=elsewhere.url()) if handler.headers.get("Authorization") == given else say(401))(handler)

    with serving() as elsewhere:
        elsewhere.answers = server.answers = [offer(ZIP)]
        server.answers = [guarded]
        fetch(server.url(host="localhost"), target, attempts=1)
        assert server.asked("Authorization") == [given]
        assert elsewhere.asked("Authorization") == [None]
    assert target.read_bytes() == ZIP
    netrc.write_text("machine localhost login me password wrong-hunter\n")
    with pytest.raises(Refused) as caught:
        fetch(server.url(host="localhost"), target.with_name("new"), attempts=1)
    assert "hunter" not in str(caught.value)


def test_a_redirect_is_followed_also_when_it_continues(server, target):
    with serving() as elsewhere:
        elsewhere.answers = [offer(ZIP, cut=100_000), offer(ZIP)]
        get(server, target, say(302, Location=elsewhere.url("/real")), digest=SHA)
        assert elsewhere.asked("Range") == [None, "bytes=100000-"]


@pytest.mark.parametrize("place", ["file:///etc/passwd", "ftp://127.0.0.1/x", "/file.zip"])
def test_a_redirect_to_anything_but_a_web_server_is_refused(server, target, place):
    fails(ValueError, "leads to an address that is not http or https, or in circles", server, target, say(302, Location=place))


@pytest.mark.parametrize(
    "url",
    [
        "http://me:hunter2@host/x",
        "http://hunter2@host/x",
        "http://me:hun/ter2@host/x",
        "https://me:hunter2%40host/x",
        "http://me:hunter2\\@h/",
    ],
)
def test_a_password_in_an_address_is_refused_and_not_repeated(target, url):
    with pytest.raises(ValueError, match=r"~/\.netrc") as caught:
        fetch(url, target)
    assert not {"hun", "ter2", "hunter2"} & set(str(caught.value).replace("/", " ").replace(":", " ").replace("@", " ").split())
    assert not target.parent.exists()


@pytest.mark.parametrize("url", ["ftp://host/x", "file:///etc/passwd", "host/x", "http:///x", "http://ho st/x", "", "http://host:port/"])
def test_an_address_that_is_no_web_address_is_refused(target, url):
    with pytest.raises(ValueError, match="not of the form http"):
        fetch(url, target)


def test_an_address_is_shown_without_its_query():
    assert shown("https://[::1]:80/a@b/c?key=1#x") == "https://[::1]:80/a@b/c"
    assert shown("HTTP://host?key") == "HTTP://host"


@pytest.mark.parametrize(
    ("status", "body"), [(404, b""), (403, b""), (400, b""), (503, b""), (200, b""), (200, LOGIN), (200, b"x"), (302, b"")]
)
def test_no_sentence_repeats_the_query_of_an_address(server, target, status, body):
    answer = say(status, body, Location="ftp://me:secret@host/?secret")
    with pytest.raises(ValueError, match="/file.zip") as caught:
        get(server, target, answer, path="/file.zip?signature=secret", kind="zip", size=3)
    assert "secret" not in str(caught.value)
    assert not target.exists()


@pytest.mark.parametrize("kind", ["zip", "tar", "gz", "json", "csv", "text", "pickle", "video"])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf \n", b'<?xml version="1.0"?>\n'])
def test_a_web_page_is_never_taken_for_a_file(server, target, kind, start):
    match = rf"file\.zip: the server sent a web page \('Sign in & go'\) instead of a {kind} file"
    fails(ValueError, match, server, target, say(200, start + LOGIN), kind=kind)
    fails(ValueError, "a web page", server, target, say(200, start + b"<HTML lang=en>"), kind=kind)
    assert len(server.log) == 2


def test_a_web_page_says_more_than_its_length(server, target):
    fails(ValueError, "Sign in", server, target, offer(LOGIN), kind="zip", size=5, digest=SHA)


def tar(mode):
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode=mode) as file:
        file.addfile(tarfile.TarInfo("a"))
    return memory.getvalue()


GOOD = {
    "zip": [ZIP],
    "tar": [tar("w"), tar("w:gz"), tar("w:bz2"), tar("w:xz")],
    "gz": [gzip.compress(b"x")],
    "json": [b' \n{"a": 1}', b"\xef\xbb\xbf[1]"],
    "csv": [b"a,b\n1,2\n"],
    "text": ["ein Stück".encode()],
    "pickle": [b"\x80\x02]q\x00.", b"(lp0\n."],
    "video": [b"\0\0\0\x20ftypisom", b"RIFF\0\0\0\0AVI LIST", b"\x1aE\xdf\xa3"],
}


@pytest.mark.parametrize("kind", GOOD)
def test_a_kind_is_known_by_its_first_bytes(server, target, kind):
    for number, content in enumerate(GOOD[kind]):
        get(server, target.with_name(str(number)), offer(content), kind=kind)
    wrong = gzip.compress(b"no tar") if kind == "tar" else b"\0\0\0\0\0\0\0\0 nothing"
    fails(ValueError, f"no {kind} file: it begins with", server, target.parent / "new" / "file.zip", say(200, wrong), kind=kind)


def test_a_server_that_calls_an_archive_an_encoding_does_not_get_it_unpacked(server, target):
    content = tar("w:gz")
    get(server, target, offer(content, Content_Encoding="gzip"), kind="gz")
    assert target.read_bytes() == content


def test_an_empty_file_is_an_error(server, target):
    fails(ValueError, "sent an empty file", server, target, say(200))


def test_an_unknown_kind_and_an_unknown_digest_are_refused_before_the_network(target):
    with pytest.raises(ValueError, match=r"the kind of a file is 'rar'; choose one of"):
        fetch("http://localhost/x", target, kind="rar")
    for digest in ("sha256:12", "crc:12345678", SHA.removeprefix("sha256:"), "md5:" + 32 * "g"):
        with pytest.raises(ValueError, match=rf"the digest '{digest}' is not"):
            fetch("http://localhost/x", target, digest=digest)


@pytest.mark.parametrize("name", ["sha256", "sha1", "md5", "gitblob"])
def test_each_digest_is_checked(server, target, name):
    blob = hashlib.sha1(b"blob 300004\0" + ZIP).hexdigest()
    right = blob if name == "gitblob" else hashlib.new(name, ZIP).hexdigest()
    get(server, target, offer(ZIP), digest=f"{name}:{right.upper()}")
    assert check_digest(target, f"{name}:{right}") and not check_digest(target, f"{name}:{'0' * len(right)}")
    target.unlink()
    match = f"sent a file of the {name} {right} instead of {'0' * len(right)}"
    fails(ValueError, match, server, target, offer(ZIP), digest=f"{name}:{'0' * len(right)}")
    assert len(server.log) == 2


def test_the_git_digest_is_git_s(tmp_path):
    (tmp_path / "x").write_bytes(b"hello\n")
    assert check_digest(tmp_path / "x", "gitblob:ce013625030ba8dba906f756967f9e9ca394464a")


def test_a_resumed_mismatch_is_fetched_once_more_and_no_more(server, target):
    fails(ValueError, "sha256", server, target, offer(OTHER, cut=100_000), offer(OTHER), digest=SHA)
    assert server.asked("Range") == [None, "bytes=100000-", None]


def test_a_file_that_is_there_needs_no_network(target):
    target.parent.mkdir()
    target.write_bytes(ZIP)
    assert fetch("http://127.0.0.1:1/x", target, kind="zip", size=len(ZIP), digest=SHA).bytes == len(ZIP)
    for wrong in ({"size": 5}, {"digest": "md5:" + 32 * "0"}, {"kind": "json"}):
        with pytest.raises(ValueError, match=rf"{target} is .*; delete {target} to fetch it again"):
            fetch("http://127.0.0.1:1/x", target, **wrong)
    assert only(target) and target.read_bytes() == ZIP


def test_a_full_disk_is_its_own_error_and_what_came_is_kept(server, target):
    server.answers = [offer(ZIP)]
    program = f"""
import resource
from pathlib import Path
from pipeline.datasets.fetch.http import fetch
from pipeline.stages import guarded
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
guarded(lambda: fetch({server.url()!r}, Path({str(target)!r})))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    part = target.with_name(".file.zip.part")
    assert done.stderr == f"error: {part}: File too large; make room and re-run, what came is kept\n"
    assert (part.stat().st_size, target.exists(), len(server.log)) == (100_000, False, 1)
    get(server, target, digest=SHA)
    assert server.asked("Range")[1:] == ["bytes=100000-"]


def test_nothing_has_the_name_until_all_is_there(server, target, monkeypatch):
    """A file is on the disk before it is renamed."""
    done = []
    monkeypatch.setattr(os, "fsync", lambda _: done.append("fsync"))
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: (done.append(b.name), replace(a, b)))

    def watched(handler):
        done.append(target.exists())
        offer(ZIP, cut=10 if len(server.log) == 1 else None)(handler)

    get(server, target, watched)
    assert done == [False, ".file.zip.part.json", False, "fsync", "file.zip"]


def test_the_note_beside_a_partial_file_names_url_and_version(server, target):
    fails(Unreachable, "503", server, target, offer(ZIP, cut=1000), say(503), kept=PARTIAL)
    assert json.loads((target.parent / PARTIAL[1]).read_text()) == {"url": server.url(), "validator": '"one"'}


def test_a_note_that_a_crash_left_empty_starts_again(server, target):
    target.parent.mkdir()
    (target.parent / PARTIAL[0]).write_bytes(b"half")
    (target.parent / PARTIAL[1]).write_bytes(b"")
    get(server, target, offer(ZIP), digest=SHA)
    assert server.asked("Range") == [None]
    assert only(target)
