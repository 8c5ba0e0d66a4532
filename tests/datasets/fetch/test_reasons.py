"""A double of yt-dlp says what sites really say: each is a row with its reason, or stops the job with what to do."""

import argparse

import pytest
import yt_dlp
from yt_dlp.utils import DownloadError, ExtractorError

from pipeline.config.dataset import ClipFormat
from pipeline.datasets.fetch import access
from pipeline.datasets.fetch.http import Unreachable
from pipeline.stages import transcode

URL = "https://www.youtube.com/watch?v=-abcdefghij"
BOT = "Sign in to confirm you\u2019re not a bot. Use --cookies-from-browser or --cookies for the authentication."


def says(monkeypatch, line):
    def extract(*_, **__):
        reason = ExtractorError(line, expected=True)
        raise DownloadError(f"ERROR: [youtube] -abcdefghij: {line}", (type(reason), reason, None))

    monkeypatch.setattr(yt_dlp.YoutubeDL, "extract_info", extract)


def row(tmp_path):
    video = {"video_id": "a", "src_path": "", "fetch_url": URL, "start": 3.0, "end": 13.0, "excluded": ""}
    args = argparse.Namespace(raw=tmp_path, dataset="vatex", clips=tmp_path / "000")
    return transcode._row(video, args, part=tmp_path, settings=ClipFormat(), nothing=transcode.blank(ClipFormat()))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("Video unavailable", "is not to be had: "),
        ("Video unavailable. This video does not exist", "is not to be had: "),
        ("Video unavailable. This video has been removed by the uploader", "is not to be had, removed: "),
        ("This video has been removed for violating YouTube's Community Guidelines", "is not to be had, removed: "),
        ("This video is no longer available because the YouTube account associated with this video has been terminated.", ", removed: "),
        ("Video unavailable. This video is no longer available due to a copyright claim by X", "is not to be had, removed: "),
        ("Private video. Sign in if you've been granted access to this video", "is not to be had, private: "),
        ("Video unavailable. This video is private", "is not to be had, private: "),
        ("Sign in to confirm your age. This video may be inappropriate for some users.", "is not to be had, restricted by age: "),
        ("This video is age-restricted and only available on YouTube", "is not to be had, restricted by age: "),
        ("Video unavailable. The uploader has not made this video available in your country", ", blocked in this country: "),
        ("Video unavailable. This video contains content from X, who has blocked it in your country on copyright grounds", ", blocked in"),
        ("This video is not available from your location due to geo restriction", ", blocked in this country: "),
        ("Join this channel to get access to members-only content like this video", ", for members only: "),
    ],
)
def test_what_is_wrong_with_a_video_is_a_row_with_its_reason(tmp_path, monkeypatch, line, reason):
    says(monkeypatch, line)
    found = row(tmp_path)
    assert found["status"] == "missing" and reason in found["reason"] and line.rstrip(".") in found["reason"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        (
            BOT,
            f"takes this machine for a bot, as it does those of data centres: set {access.COOKIES} to .*{access.BROWSER}.*{access.PROXY}",
        ),
        ("The current session has been rate-limited by YouTube for up to an hour. Try again later", f"set {access.PAUSE} to seconds"),
        ("Unable to download API page: HTTP Error 429: Too Many Requests", f"set {access.PAUSE} to seconds"),
        ("unable to download video data: HTTP Error 403: Forbidden", "wait some hours, or provide the file in a folder"),
    ],
)
def test_what_is_wrong_with_the_machine_stops_the_job_and_says_what_to_set(tmp_path, monkeypatch, line, advice):
    says(monkeypatch, line)
    with pytest.raises(Unreachable, match=advice) as caught:
        row(tmp_path)
    assert "\n" not in str(caught.value)


def test_cookies_that_cannot_be_read_are_no_fault_of_the_address(tmp_path, monkeypatch):
    monkeypatch.setenv(access.COOKIES, str(tmp_path / "cookies.txt"))
    (tmp_path / "cookies.txt").write_text("no cookies\n")
    with pytest.raises(ValueError, match=f"look at {access.COOKIES} or {access.BROWSER}"):
        row(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["cookies.txt"]


def test_the_environment_becomes_options_of_yt_dlp(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "part").mkdir()
    (tmp_path / "cookies.txt").write_text("# Netscape HTTP Cookie File\n")
    assert access.options(tmp_path, {}) == {"usenetrc": False}
    (tmp_path / ".netrc").write_text("")
    given = {access.COOKIES: "~/cookies.txt", access.PROXY: "socks5://host:1", access.RATE: "2M", access.PAUSE: "1.5"}
    copy = tmp_path / "part" / ".cookies.txt"
    assert access.options(tmp_path / "part", given) == {
        "usenetrc": True,
        "cookiefile": str(copy),
        "proxy": "socks5://host:1",
        "ratelimit": 2 * 1024**2,
        "sleep_interval_requests": 1.5,
        "sleep_interval": 1.5,
    }
    assert copy.stat().st_mode & 0o777 == 0o600
    profiles = {"Firefox": ("firefox", None, None, None), "chrome:Profile 1": ("chrome", "Profile 1", None, None)}
    profiles["chromium+gnomekeyring:work"] = ("chromium", "work", "GNOMEKEYRING", None)
    for said, wanted in profiles.items():
        assert access.options(tmp_path, {access.BROWSER: said})["cookiesfrombrowser"] == wanted


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        (access.COOKIES, "none.txt", "names 'none.txt', and there is no such file"),
        (access.BROWSER, "firefx", "unknown browser 'firefx'; did you mean 'firefox'"),
        (access.BROWSER, "chrome+walet", "unknown keyring 'WALET'"),
        (access.PROXY, "user:secret@host", "does not begin with one of http://"),
        (access.RATE, "fast", "is 'fast'; give bytes a second"),
        (access.RATE, "0", "is '0'; give bytes a second"),
        (access.PAUSE, "-1", "is '-1'; give seconds"),
        (access.PAUSE, "inf", "is 'inf'; give seconds"),
    ],
)
def test_a_variable_that_is_wrong_is_one_sentence_without_a_password(tmp_path, name, value, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        access.options(tmp_path, {name: value})
    assert name in str(caught.value) and "secret" not in str(caught.value)
    with pytest.raises(ValueError, match="keep one of them"):
        access.options(tmp_path, {access.COOKIES: "a", access.BROWSER: "firefox"})


def test_a_variable_reaches_yt_dlp(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setenv(access.PROXY, "http://127.0.0.1:9")
    monkeypatch.setattr(yt_dlp.YoutubeDL, "extract_info", lambda self, _: seen.append(self.params["proxy"]))
    with pytest.raises(ValueError, match="is no page of one finished video"):
        row(tmp_path)
    assert seen == ["http://127.0.0.1:9"]
