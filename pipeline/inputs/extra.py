"""Extra captions of a split: a sentence for each frame of a video, such as an image captioner writes, for methods that train with them.

A CSV file of the user's, UTF-8, with the header `video_id,text` and one line a sentence. V videos, T frames, L tokens.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from torch import Tensor

from pipeline.clip import FrozenClip
from pipeline.config.settings import Sampling

COLUMNS = ["video_id", "text"]


def read_extra(path: Path, *, clip: FrozenClip, video_ids: Sequence[str], shape: Sampling) -> Tensor:
    """Token ids (V, T, L) of the sentences of these videos, in the order of the file; those of other videos are left out.

    ValueError for a file that is not as above, and for a video with more or fewer than T sentences: none is dropped or filled up.
    """
    found: dict[str, list[str]] = {video: [] for video in video_ids}
    for video, text in _rows(path):
        found.get(video, []).append(text)
    frames = shape.frames.number
    wrong = [video for video, texts in found.items() if len(texts) != frames]
    if wrong:
        more = f" ({len(wrong)} videos have another number)" if len(wrong) > 1 else ""
        raise ValueError(
            f"{path}: video {wrong[0]!r} has {len(found[wrong[0]])} of {frames} sentences{more}; write one for each frame "
            "of every training video"
        )
    ids = clip.tokenize([text for texts in found.values() for text in texts], num_words=shape.words)
    by_video: Tensor = ids.unflatten(0, (len(found), frames))
    return by_video


def _rows(path: Path) -> Iterator[tuple[str, str]]:
    """(video_id, text) of each line that is not blank."""
    if not path.is_file():
        raise ValueError(f"there is no {path}, which captions_extra of the run names")
    try:
        reader = csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""), strict=True)
        if (header := next(reader, [])) != COLUMNS:
            raise ValueError(f"{path}: the header is {','.join(header)!r}; it must be {','.join(COLUMNS)!r}")
        for cells in filter(None, reader):
            if len(cells) != len(COLUMNS) or not all(map(str.strip, cells)):
                raise ValueError(f"{path}: line {reader.line_num} is not a video and a sentence; put sentences with commas into quotes")
            yield cells[0], cells[1]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error.reason}); save it as UTF-8") from error
    except csv.Error as error:
        raise ValueError(f"{path}: line {reader.line_num}: {error}; write a quote inside a quoted text twice") from error
