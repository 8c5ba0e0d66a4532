"""Captions of frames: read in their order, and refused in one sentence where they are not one a frame."""

import pytest
import torch

from pipeline.config.dataset import Frames
from pipeline.config.settings import Sampling
from pipeline.inputs.extra import read_extra
from tests.conftest import small_clip

SHAPE = Sampling(frames=Frames(number=2), words=8)


def read(path, text, *, videos=("b", "a")):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_extra(path, clip=small_clip(), video_ids=list(videos), shape=SHAPE)


def test_sentences_are_read_by_video_in_their_order_and_those_of_others_left_out(tmp_path):
    text = '\ufeffvideo_id,text\na,one\nb,"two, or three"\nother,x\n\na,four\nb,five\n'
    found = read(tmp_path / "c.csv", text)
    wanted = small_clip().tokenize(["two, or three", "five", "one", "four"], num_words=8)
    assert torch.equal(found, wanted.view(2, 2, 8))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("video_id,text\na,x\nb,x\nb,y\n", "video 'a' has 1 of 2 sentences; write one for each frame of every training video"),
        ("video_id,text\nb,x\n", r"video 'b' has 1 of 2 sentences \(2 videos have another number\)"),
        ("video_id,text\na,x\na,x\na,x\nb,x\nb,y\n", "video 'a' has 3 of 2 sentences"),
        ("video,text\na,x\n", "the header is 'video,text'; it must be 'video_id,text'"),
        ("", "the header is ''; it must be"),
        ("video_id,text\na,x,y\n", "line 2 is not a video and a sentence; put sentences with commas into quotes"),
        ("video_id,text\na,x\na, \n", "line 3 is not a video and a sentence"),
        ('video_id,text\na,x\na,"x"y\n', "line 3: .* write a quote inside a quoted text twice"),
        (b"video_id,text\na,\xff\n", r"is not UTF-8 text \(invalid start byte\); save it as UTF-8"),
    ],
)
def test_what_is_wrong_is_one_sentence_with_the_file(tmp_path, text, sentence):
    with pytest.raises(ValueError, match=rf"c.csv:? {sentence}"):
        read(tmp_path / "c.csv", text)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match="there is no .*none.csv, which captions_extra of the run names"):
        read_extra(tmp_path / "none.csv", clip=small_clip(), video_ids=[], shape=SHAPE)
