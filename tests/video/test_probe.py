import subprocess

import imageio_ffmpeg
import pytest

from pipeline.video import packets
from pipeline.video.probe import probe


def make(path, *arguments, source="testsrc=s=320x240:r=25:d=2"):
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", "-threads", "1", "-f", "lavfi", "-i", source]
    subprocess.run([*command, *arguments, "-threads", "1", f"file:{path}"], check=True)
    return path


def remake(path, source, *arguments, before=()):
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", *before, "-i", f"file:{source}"]
    subprocess.run([*command, *arguments, f"file:{path}"], check=True)
    return path


@pytest.fixture(scope="module")
def landscape(tmp_path_factory):
    path = tmp_path_factory.mktemp("probe") / "landscape.mp4"
    return make(path, "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")


def test_all_facts_of_a_plain_video(landscape):
    found = probe(landscape)
    assert (found.codec, found.width, found.height, found.pix_fmt) == ("h264", 320, 240, "yuv420p")
    assert (found.fps_avg, found.fps_r, found.n_frames, found.duration) == (25.0, 25.0, 50, 2.0)
    assert (found.sar, found.rotation, found.has_audio, found.video_index) == ("1:1", 0, False, 0)
    assert (found.length, found.origin, found.tick) == (2.0, 0.0, 1 / 12800)


def test_a_rotation_tag_is_seen_and_the_stored_size_kept(landscape, tmp_path):
    turned = remake(tmp_path / "turned.mp4", landscape, "-c", "copy", before=("-display_rotation", "90"))
    found = probe(turned)
    assert (found.rotation, found.width, found.height) == (90, 320, 240)


def test_the_rotation_is_seen_where_an_edit_list_hides_the_first_frames(landscape, tmp_path):
    turned = remake(tmp_path / "turned.mp4", landscape, "-c", "copy", before=("-display_rotation", "90"))
    found = probe(remake(tmp_path / "edited.mp4", turned, "-c", "copy", before=("-ss", "0.5")))
    assert (found.rotation, found.n_frames) == (90, 37)
    assert 1.48 <= found.length <= found.duration <= 1.52


def test_sound_is_noticed(tmp_path):
    sound = ("-f", "lavfi", "-i", "sine=d=1", "-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac")
    assert probe(make(tmp_path / "loud.mp4", *sound, source="testsrc=s=64x64:r=5:d=1")).has_audio


def test_a_cover_picture_is_not_the_video(landscape, tmp_path):
    cover = make(tmp_path / "cover.png", "-frames:v", "1", source="testsrc=s=32x32:r=1:d=1")
    streams = ("-map", "0:v", "-map", "1:v", "-c", "copy", "-disposition:v:0", "attached_pic", "-disposition:v:1", "default")
    found = probe(remake(tmp_path / "covered.mp4", landscape, *streams, before=("-i", cover)))
    assert (found.codec, found.width, found.n_frames, found.video_index) == ("h264", 320, 50, 0)


def test_a_webm_without_a_stream_duration_has_the_one_of_its_container(tmp_path):
    path = make(tmp_path / "a.webm", "-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", source="testsrc=s=64x64:r=10:d=1")
    found = probe(path)
    assert (found.codec, found.n_frames, found.duration) == ("vp9", 10, 1.0)


@pytest.mark.parametrize(("ending", "origin"), [("mp4", 1.5), ("mkv", 1.5), ("ts", None)])
def test_a_duration_begins_with_the_first_picture_and_not_with_the_first_sound(landscape, tmp_path, ending, origin):
    sound = ("-f", "lavfi", "-i", "sine=d=3.5", "-map", "0:v", "-map", "1:a", "-c:v", "copy", "-c:a", "aac")
    found = probe(remake(tmp_path / f"late.{ending}", landscape, *sound, before=("-itsoffset", "1.5")))
    assert (found.duration, found.length) == pytest.approx((2.0, 2.0), abs=0.03)
    # Only in some containers does a jump lead to the same pictures as reading from the beginning does.
    assert found.origin == (origin and pytest.approx(origin, abs=0.03))


def test_a_raw_stream_is_as_long_as_its_packets(landscape, tmp_path):
    found = probe(remake(tmp_path / "raw.h264", landscape, "-c", "copy"))
    assert (found.duration, found.length, found.n_frames, found.origin) == (2.0, 2.0, 50, None)


def test_packets_are_counted_in_a_file_that_was_cut_off(landscape, tmp_path):
    whole = remake(tmp_path / "whole.mp4", landscape, "-c", "copy", "-movflags", "+faststart")
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    found = probe(cut)
    assert 0 < found.n_frames < 50
    assert found.duration == 2.0


def test_an_empty_file_is_said_to_be_empty(tmp_path):
    path = tmp_path / "nothing.mp4"
    path.touch()
    with pytest.raises(ValueError, match=r"^nothing\.mp4 is empty$"):
        probe(path)


def test_a_file_with_sound_only_holds_no_video_stream(tmp_path):
    path = make(tmp_path / "sound.m4a", "-c:a", "aac", source="sine=d=1")
    with pytest.raises(ValueError, match=r"^sound\.m4a holds no video stream$"):
        probe(path)


def test_an_error_page_saved_as_a_video_is_not_readable(tmp_path):
    path = tmp_path / "page.mp4"
    path.write_text("<html><body>404 Not Found</body></html>" * 50)
    with pytest.raises(ValueError, match=r"^page\.mp4 is not a readable video file"):
        probe(path)


@pytest.mark.parametrize("text", ["ffconcat version 1.0\nfile landscape.mp4\n", "#EXTM3U\n#EXTINF:2,\nlandscape.mp4\n#EXT-X-ENDLIST\n"])
def test_a_playlist_may_not_open_other_files(landscape, text):
    path = landscape.with_name("list.m3u8")
    path.write_text(text)
    with pytest.raises(ValueError, match="is not a readable video file"):
        probe(path)


def test_packets_go_on_where_another_stream_begins_midway():
    stored = iter([1, 2, IndexError("list index out of range"), 3, IndexError(), IndexError(), 4])

    class Container:
        """As PyAV reads: a packet of a stream that it has not seen at the beginning is an IndexError, and the next call goes on."""

        def demux(self):
            for packet in stored:
                if isinstance(packet, IndexError):
                    raise packet
                yield packet

    assert list(packets._demuxed(Container())) == [1, 2, 3, 4]
