"""Videos of web pages by yt-dlp, against a server of our own; what YouTube says is said by a double."""

import errno
import subprocess

import imageio_ffmpeg
import pytest
import yt_dlp
from yt_dlp.networking.exceptions import TransportError
from yt_dlp.utils import DownloadError, ExtractorError

from pipeline.datasets.fetch import youtube
from pipeline.datasets.fetch.http import Gone, Unreachable
from pipeline.datasets.fetch.youtube import _pause, fetch_page_video
from tests.datasets.fetch.server import offer, say, serving


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No proxy, no home and no programs of whoever runs this."""
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(youtube, "_pause", lambda n: n / 1000)


@pytest.fixture
def server():
    with serving() as server:
        yield server


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "tiny.mp4"
    make = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=64x48:r=5:d=1"]
    subprocess.run([*make, "-c:v", "libx264", "-preset", "ultrafast", path], check=True)
    return path.read_bytes()


def tree(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize(("path", "name"), [("/clip.mp4", "clip"), ("/-rf.mp4", "-rf"), ("/watch/--exec=x.mp4?v=1", "50%(id)s $HOME ~")])
def test_a_video_arrives_under_its_name_and_leaves_nothing_else(server, video, tmp_path, path, name):
    server.answers = [offer(video, Content_Type="video/mp4")]
    found = fetch_page_video(server.url(path), tmp_path / "raw", name=name)
    assert (found, found.read_bytes()) == (tmp_path / "raw" / f"{name}.mp4", video)
    assert tree(tmp_path) == ["raw", f"raw/{name}.mp4"]
    assert {asked for asked, _ in server.log} == {path}


def test_a_dropped_connection_is_continued(server, video, tmp_path):
    cut = offer(video, Content_Type="video/mp4", cut=len(video) // 2)
    server.answers = [offer(video, Content_Type="video/mp4"), cut, offer(video, Content_Type="video/mp4")]
    assert fetch_page_video(server.url("/clip.mp4"), tmp_path, name="clip").read_bytes() == video


def test_each_wait_is_twice_the_one_before_it_up_to_a_minute():
    assert [_pause(n=failures) for failures in (0, 1, 2, 100)] == [1, 2, 4, 60]


def test_a_connection_that_always_drops_leaves_nothing(server, video, tmp_path):
    server.answers = [say(200, video[:100], Content_Length=len(video), Content_Type="video/mp4")]
    with pytest.raises(Unreachable, match=r"clip cannot be fetched now: .*; wait some hours, or provide the file in a folder"):
        fetch_page_video(server.url("/clip.mp4"), tmp_path, name="clip")
    assert tree(tmp_path) == []


@pytest.mark.parametrize(
    ("status", "error", "match"),
    [
        (404, Gone, "^clip is not to be had: .*HTTP Error 404"),
        (410, Gone, "^clip is not to be had: .*HTTP Error 410"),
        (403, Unreachable, "HTTP Error 403.*wait some hours"),
        (429, Unreachable, "HTTP Error 429.*wait some hours"),
        (503, Unreachable, "HTTP Error 503.*wait some hours"),
    ],
)
def test_an_error_of_the_server_is_one_sentence_without_the_query(server, tmp_path, status, error, match):
    server.answers = [say(status, b"no")]
    with pytest.raises(error, match=match) as caught:
        fetch_page_video(server.url("/clip.mp4?key=secret"), tmp_path / "raw", name="clip")
    assert "secret" not in str(caught.value)
    assert tree(tmp_path) == ["raw"]


def test_nobody_at_the_address_is_for_later(tmp_path):
    with serving() as server:
        url = server.url("/clip.mp4")
    with pytest.raises(Unreachable, match="clip cannot be fetched now: .*refused"):
        fetch_page_video(url, tmp_path, name="clip")


def test_a_page_without_a_video_is_an_error(server, tmp_path):
    server.answers = [say(200, b"<html><title>Hello</title></html>", Content_Type="text/html")]
    with pytest.raises(ValueError, match=r"clip cannot be fetched: Unsupported URL: .*; check the address, or update yt-dlp") as caught:
        fetch_page_video(server.url("/page?key=secret"), tmp_path, name="clip")
    assert type(caught.value) is ValueError and "secret" not in str(caught.value)


def test_a_page_of_several_videos_is_an_error_and_brings_none(server, video, tmp_path):
    page = b'<html><title>Two</title><video src="/a.mp4"></video><video src="/b.mp4"></video></html>'

    def answer(handler):
        html = handler.path == "/page"
        (say(200, page, Content_Type="text/html") if html else offer(video, Content_Type="video/mp4"))(handler)

    server.answers = [answer]
    with pytest.raises(ValueError, match="is no page of one finished video"):
        fetch_page_video(server.url("/page"), tmp_path, name="clip")
    assert tree(tmp_path) == []
    assert {path for path, _ in server.log} == {"/page"}


def test_a_web_page_that_calls_itself_a_video_is_found_out(server, tmp_path):
    server.answers = [offer(b"<!doctype html><title>Sign in</title>" + bytes(2000), Content_Type="video/mp4")]
    with pytest.raises(ValueError, match=r"a web page \('Sign in'\)|Unsupported URL"):
        fetch_page_video(server.url("/clip.mp4"), tmp_path, name="clip")
    assert tree(tmp_path) == []


def test_sound_alone_is_no_video(server, tmp_path):
    server.answers = [offer(b"ID3" + bytes(2000), Content_Type="audio/mpeg")]
    with pytest.raises(ValueError, match=r"clip: \S+/clip\.mp3 sent no video file"):
        fetch_page_video(server.url("/clip.mp3"), tmp_path, name="clip")
    assert tree(tmp_path) == []


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "/a", "a\\b", "a\0b"])
def test_a_name_that_is_no_file_name_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="cannot be named"):
        fetch_page_video("http://127.0.0.1:1/clip.mp4", tmp_path / "raw", name=name)
    assert tree(tmp_path) == []


@pytest.mark.parametrize("url", ["-rf", "ytsearch:cats", "file:///etc/passwd", "http://me:secret@host/x.mp4", "dQw4w9WgXcQ"])
def test_what_is_no_full_web_address_is_refused(tmp_path, url):
    with pytest.raises(ValueError, match="not of the form http") as caught:
        fetch_page_video(url, tmp_path, name="clip")
    assert "secret" not in str(caught.value)


def says(monkeypatch, line, cause=None):
    def extract(*_, **__):
        reason = ExtractorError(line, expected=True, cause=cause)
        raise DownloadError(f"ERROR: [youtube] -abcdefghij: {line}\nmore", (type(reason), reason, None))

    monkeypatch.setattr(yt_dlp.YoutubeDL, "extract_info", extract)


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("Video unavailable", Gone),
        ("Video unavailable. This video is private", Gone),
        ("Private video. Sign in if you've been granted access to this video", Gone),
        ("Video unavailable. This video has been removed by the uploader", Gone),
        ("This video is no longer available because the YouTube account associated with this video has been terminated.", Gone),
        ("Video unavailable. The uploader has not made this video available in your country", Gone),
        ("Sign in to confirm your age. This video may be inappropriate for some users.", Gone),
        ("Join this channel to get access to members-only content like this video", Gone),
        ("Sign in to confirm you\u2019re not a bot. Use --cookies-from-browser or --cookies", Unreachable),
        ("Video unavailable. This content isn't available, try again later.", Unreachable),
        ("Unable to download API page: HTTP Error 429: Too Many Requests", Unreachable),
        ("Requested format is not available. Use --list-formats for a list of available formats", ValueError),
        ("Unable to extract uploader id; please report this issue", ValueError),
    ],
)
def test_what_youtube_says_is_told_apart(tmp_path, monkeypatch, line, error):
    says(monkeypatch, line)
    with pytest.raises(ValueError, match="clip") as caught:
        fetch_page_video("https://www.youtube.com/watch?v=-abcdefghij", tmp_path, name="clip")
    assert type(caught.value) is error
    assert f"[youtube] -abcdefghij: {line.rstrip('.')}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_network_that_fails_in_words_of_its_own_is_for_later(tmp_path, monkeypatch):
    says(monkeypatch, "Unable to download webpage: something odd", cause=TransportError("odd"))
    with pytest.raises(Unreachable):
        fetch_page_video("https://www.youtube.com/watch?v=-abcdefghij", tmp_path, name="clip")


def test_a_full_disk_is_not_the_video_s_fault(tmp_path, monkeypatch):
    says(monkeypatch, "unable to write data: [Errno 28] No space left on device")
    with pytest.raises(OSError, match="No space left on device while fetching clip; make room") as caught:
        fetch_page_video("https://www.youtube.com/watch?v=-abcdefghij", tmp_path, name="clip")
    assert caught.value.errno == errno.ENOSPC


def test_the_format_asks_for_a_video_up_to_the_height_and_for_the_web_only():
    """In the order of preference, as yt-dlp itself chooses."""
    formats = [
        {"format_id": "sound", "vcodec": "none", "acodec": "aac", "ext": "m4a", "protocol": "https"},
        {"format_id": "small", "vcodec": "avc1", "acodec": "none", "ext": "mp4", "height": 360, "protocol": "https"},
        {"format_id": "webm", "vcodec": "vp9", "acodec": "none", "ext": "webm", "height": 480, "protocol": "https"},
        {"format_id": "stream", "vcodec": "avc1", "acodec": "none", "ext": "mp4", "height": 480, "protocol": "rtmp"},
        {"format_id": "tall", "vcodec": "avc1", "acodec": "aac", "ext": "mp4", "height": 1080, "protocol": "http"},
    ]

    def chosen(height, among):
        with yt_dlp.YoutubeDL(youtube._options("x", height)) as site:
            given = [dict(entry, url=f"http://x/{entry['format_id']}") for entry in among]
            info = {"id": "x", "title": "x", "extractor": "x", "formats": given}
            return site.process_video_result(info, download=False)["format_id"]

    assert chosen(480, formats) == "small"
    assert chosen(480, [formats[0], *formats[2:]]) == "webm"
    assert chosen(480, [formats[0], formats[3], formats[4]]) == "tall"
    assert chosen(1080, formats) == "tall"
    with pytest.raises(ExtractorError, match="format is not available"):
        chosen(480, [formats[0], formats[3]])
