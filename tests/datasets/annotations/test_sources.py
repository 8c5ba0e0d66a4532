"""Getting a publisher's files: from their address, from a mirror, or not at all where the user has them."""

import io
import json
import zipfile
from pathlib import PurePosixPath

import pytest

from pipeline.config.dataset import Dataset
from pipeline.datasets.annotations import sources
from pipeline.datasets.annotations.sources import Source, obtain
from pipeline.datasets.fetch import http
from tests.datasets.fetch.server import offer, say, serving


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    fetch = http.fetch
    monkeypatch.setattr(http, "fetch", lambda *a, **k: fetch(*a, **k, attempts=2, pause=0.01))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


def zipped(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def listed(server, **changes):
    annotations = {"name": "annotations", "url": server.url("/a.zip"), "file": "a.zip", "kind": "zip", "unpack": only("a.json")}
    videos = {"name": "videos", "url": server.url("/v.zip"), "file": "v.zip", "kind": "zip", "videos": True, "unpack": only("v.mp4")}
    return [Source(**annotations | changes), Source(**videos)]


def only(wanted):
    return lambda name: f"got/{wanted}" if PurePosixPath(name).name == wanted else None


def got(tmp_path, server, *, settings=None, **changes):
    target = tmp_path / "data" / "raw"
    target.mkdir(parents=True, exist_ok=True)
    obtain(target, listed(server, **changes), settings=settings or Dataset(), name="msvd")
    return target


def test_archives_are_unpacked_noted_and_deleted(tmp_path):
    with serving() as server:
        server.answers = [offer(zipped(**{"data/a.json": "{}", "readme": ""})), offer(zipped(**{"v.mp4": "x"}))]
        target = got(tmp_path, server)
        first = [entry["url"] for entry in json.loads((target / "sources.json").read_text())]
        assert first == [server.url("/a.zip"), server.url("/v.zip")]
    assert sorted(p.relative_to(target).as_posix() for p in target.rglob("*") if p.is_file()) == ["got/a.json", "got/v.mp4", "sources.json"]
    assert not (tmp_path / "data/partial").exists()
    assert set(json.loads((tmp_path / "data/fetched.json").read_text())) == {"a.zip", "v.zip"}


def test_what_the_user_has_is_not_fetched(tmp_path):
    with serving() as server:
        server.answers = [say(500)]
        target = got(tmp_path, server, settings=Dataset(videos="v", annotations="a"))
        assert server.log == []
    assert json.loads((target / "sources.json").read_text()) == []


def test_a_mirror_is_asked_instead_and_an_unknown_one_refused(tmp_path):
    with serving() as server:
        server.answers = [offer(zipped(other="1"))]
        with pytest.raises(ValueError, match=r"datasets.msvd.mirrors: unknown source 'annotation'; did you mean 'annotations'\?"):
            got(tmp_path, server, settings=Dataset(videos="v", mirrors={"annotation": "x"}))
        with pytest.raises(ValueError, match="a.zip"):
            got(tmp_path, server, settings=Dataset(videos="v", mirrors={"annotations": server.url("/mirror/a.zip")}))
        assert [path for path, _ in server.log] == ["/mirror/a.zip"]


def test_another_content_than_the_first_time_is_refused(tmp_path):
    with serving() as server:
        server.answers = [offer(zipped(**{"a.json": "1"}))]
        got(tmp_path, server, settings=Dataset(videos="v"))
        server.answers = [offer(zipped(**{"a.json": "2"}))]
        with pytest.raises(ValueError, match="sha256"):
            got(tmp_path, server, settings=Dataset(videos="v"))


def test_a_member_that_is_not_what_was_published_is_named(tmp_path):
    with serving() as server:
        server.answers = [offer(zipped(**{"a.json": "1"}))]
        with pytest.raises(ValueError, match=r"msvd: got/a.json of .* is not the file that was published \(sha256:0000"):
            got(tmp_path, server, settings=Dataset(videos="v"), members={"got/a.json": "sha256:" + 64 * "0"})


def test_a_file_that_is_gone_is_one_sentence_that_says_what_else_can_be_done(tmp_path):
    with serving() as server:
        server.answers = [say(404)]
        with pytest.raises(
            ValueError, match="Or set datasets.msvd.annotations to a folder that has it, or datasets.msvd.mirrors.annotations"
        ):
            got(tmp_path, server)


def test_a_gated_source_says_what_to_do_before_a_server_is_asked(tmp_path, monkeypatch):
    monkeypatch.delenv("MSVD_LOGIN", raising=False)
    with serving() as server:
        server.answers = [say(401)]
        with pytest.raises(
            ValueError, match=r"^It is gated: do this\. There is no entry for 127.0.0.1 in ~/.netrc and no MSVD_LOGIN in the env"
        ):
            got(tmp_path, server, gated="It is gated: do this.")
        assert server.log == []
        monkeypatch.setenv("MSVD_LOGIN", "me:secret")
        with pytest.raises(ValueError, match=r"It is gated: do this\.") as caught:
            got(tmp_path, server, gated="It is gated: do this.")
        assert "secret" not in str(caught.value) and server.asked("Authorization")[0].startswith("Basic ")


def test_a_login_out_of_netrc_is_sent(tmp_path):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    (tmp_path / "netrc").chmod(0o600)
    with serving() as server:
        server.answers = [offer(zipped(**{"a.json": "1"}))]
        got(tmp_path, server, settings=Dataset(videos="v"), gated="It is gated: do this.")
        assert server.asked("Authorization") == ["Basic bWU6c2VjcmV0"]


def test_a_login_of_another_form_is_refused(monkeypatch):
    monkeypatch.setenv("LSMDC_LOGIN", "secret")
    with pytest.raises(ValueError, match="LSMDC_LOGIN does not have the form user:password") as caught:
        sources.login("lsmdc")
    assert "secret" not in str(caught.value)
