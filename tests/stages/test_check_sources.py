"""Addresses that answer, that want a login, that are gone and that are silent, against a server of our own."""

import runpy

import pytest

from pipeline import __main__ as command
from pipeline.datasets.annotations.sources import Source
from pipeline.stages import check_sources
from tests.datasets.fetch.server import say, serving


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    with serving() as server:
        yield server


def run(monkeypatch, capsys, sources, *words):
    monkeypatch.setattr(check_sources, "_sources", lambda name: tuple(sources) if name == "msvd" else ())
    monkeypatch.setattr(check_sources, "AT_ONCE", 1)
    monkeypatch.setattr("sys.argv", ["check-sources", *words])
    try:
        check_sources.main()
        return 0, capsys.readouterr().out
    except SystemExit as end:
        return end.code, capsys.readouterr().out


def source(server, name, **values):
    return Source(name=name, url=server.url(f"/{name}.zip"), **{"file": f"{name}.zip"} | values)


def test_each_address_is_asked_for_its_head_and_what_is_gone_is_printed(server, monkeypatch, capsys):
    server.answers = [say(200, b"x" * 2048), say(401), say(404), say(503)]
    sources = [source(server, "whole"), source(server, "gated", gated="Ask."), source(server, "lost"), source(server, "busy")]
    code, said = run(monkeypatch, capsys, [*sources, Source(name="pages", url="https://example.org/watch?v=", videos=True)])
    states = [line.split("  ")[0].strip() for line in said.splitlines()]
    assert states[:5] == ["there", "asks for a login", "gone", "silent", "not asked"] and code == 1
    assert "msvd lost: " in said and "(HTTP 404)" in said and "2 of 5 addresses do not answer as they should" in said
    assert [path for path, _ in server.log] == ["/whole.zip", "/gated.zip", "/lost.zip", "/busy.zip"]


def test_a_server_that_knows_no_heads_is_asked_for_a_byte(server, monkeypatch, capsys):
    server.answers = [say(405), say(206, b"x", Content_Range="bytes 0-0/2048")]
    code, said = run(monkeypatch, capsys, [source(server, "whole")])
    assert code == 0 and said.startswith("there") and "(2" in said
    assert server.asked("Range") == [None, "bytes=0-0"]


def test_quiet_says_what_is_wrong_alone_and_a_login_that_nobody_announced_is(server, monkeypatch, capsys):
    server.answers = [say(200), say(401)]
    code, said = run(monkeypatch, capsys, [source(server, "whole"), source(server, "closed")], "--quiet", "msvd")
    assert code == 1 and "whole" not in said and said.startswith("asks for a login  msvd closed: ")
    server.answers = [say(200)]
    assert run(monkeypatch, capsys, [source(server, "whole")], "--quiet") == (0, "")


def test_nobody_at_the_address_is_silent(monkeypatch, capsys):
    monkeypatch.setenv("NO_PROXY", "*")
    with serving() as server:
        gone = source(server, "whole")
    code, said = run(monkeypatch, capsys, [gone])
    assert code == 1 and said.startswith("silent") and "(ConnectionError)" in said


def test_every_dataset_with_addresses_is_asked():
    found = {name: len(check_sources._sources(name)) for name in check_sources.datasets.names()}
    assert found["motion"] == 0 and all(number for name, number in found.items() if name != "motion")


def test_a_command_of_two_words_has_a_dash(monkeypatch):
    asked = []
    monkeypatch.setattr(runpy, "run_module", lambda module, **_: asked.append(module))
    monkeypatch.setattr("sys.argv", ["pipeline", "check-sources", "--quiet"])
    command.main()
    assert asked == ["pipeline.stages.check_sources"] and "check-sources" in command.commands()
