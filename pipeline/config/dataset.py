"""The sections of params.yaml about a dataset: where it comes from, its clips, its frames, its splits.

Apart from schema.py, because clips and frames hang on this file: a new key of training must not have a benchmark transcoded again.
"""

from dataclasses import dataclass, field

from pipeline.config.parse import chosen, later, limited


@dataclass
class Motion:
    """The embedded dataset `motion`: how many videos of which kind are rendered."""

    seed: int = 7  # from which all scenes are drawn
    train: int = limited(1500, least=2)  # videos
    val: int = limited(200, least=1)  # videos
    test: int = limited(300, least=1)  # videos
    objects: list[float] = field(default_factory=lambda: [0.6, 0.3, 0.1])  # shares of videos with one, two and three objects


@dataclass
class ClipFormat:
    """The canonical clip that every video is transcoded to: H.264 at a constant rate, a keyframe each second, no sound."""

    short_side: int = limited(224, least=16)  # pixels of the shorter side; an even number
    fps: int = limited(3, least=1)  # frames a second
    crf: int = 20  # x264's quality: 0 loses nothing, 51 is the worst; larger files with smaller numbers
    seconds: float = limited(0.0, least=0)  # at most the first so many seconds of a video or of its part; 0: all
    pixels: str = chosen(  # what becomes of pixels that are not square
        square="the picture is stretched to the shape that players show",
        stored="they are taken as if they were square, as the papers' code does",
    )


@dataclass
class Clips(ClipFormat):
    """The canonical clip that every video is transcoded to: H.264 at a constant rate, a keyframe each second, no sound."""

    shard: int = limited(200, least=1)  # videos that one job transcodes; changes no clip


@dataclass
class Frames:
    """The frames of a clip that every method sees."""

    number: int = limited(12, least=1)  # frames a video; a video with fewer is padded, and the padding masked
    size: int = limited(224, least=1)  # pixels a side: the backbone's image size
    grid: str = chosen(  # which frames of a clip (pipeline/video/grid.py)
        centres="the middle of each of `number` equal parts of the clip",
        clip4clip="one a second, then evenly from the first to the last of them",
        mv_adapter="one a second, then the first of each of `number` equal parts of them",
        xpool="the middle of `number` intervals of whole frames; the last frame is repeated, and nothing masked, where there are too few",
        tempme="one a second, thinned evenly; where there are too few, evenly from all frames",
    )
    resize: str = later(  # how a frame becomes a square: as the backbone was trained (docs/running.md)
        chosen(crop="its short side is made as long, and the middle cut out", squash="both sides are made as long")
    )
    interpolation: str = later(chosen("bicubic", "bilinear"))  # how pixels are computed there: as the backbone was trained


@dataclass
class Missing:
    """The largest share of a split's videos, from 0 to 1, that may be missing or broken; more stops the workflow."""

    train: float = 0.01  # of the training videos
    val: float = 0.0  # of the validation videos
    test: float = 0.0  # of the test videos


@dataclass
class Own:
    """The split of your own videos where captions.csv leaves it open: files in the order of a hash of `seed` and name, cut by shares."""

    seed: int = 0  # another one draws another split
    shares: list[float] = field(default_factory=lambda: [0.8, 0.1, 0.1])  # of training, validation and test files; at least one each


@dataclass
class Dataset:
    """One dataset: where it comes from, how it is prepared and read. A benchmark needs no entry. A key that params.yaml leaves out has
    its protocol's value (pipeline/config/protocols.yaml), and only then the default here.
    """

    protocol: str = "default"  # or a paper's words, frames, clips and splits: `clip4clip`, `mv_adapter`, `vop` (docs/protocol.md)
    variant: str = ""  # of splits or captions, such as `1kB` of MSR-VTT (docs/protocol.md); empty: the dataset's first
    validation: str = chosen(  # what becomes of the official validation videos
        clean="they are held out of training",
        paper="they are trained on as well, as papers do; then nothing may be chosen on them",
    )
    captions_as: str = chosen(  # what one caption is
        published="a sentence as it comes",
        paragraph="all sentences of a video joined in their order, for datasets that have one",
    )
    counts: str = chosen(  # what other numbers of videos and captions than the publisher's do
        **{"assert": "they stop the run"},
        report="they are reported, and the run goes on",
    )
    videos: str = ""  # folder of video files that you have; empty: they are fetched where that is possible (docs/datasets.md)
    annotations: str = ""  # folder of the publisher's annotation files that you have; empty: they are fetched
    captions: str = ""  # CSV file with the captions of your own videos, which are in the folder `videos` (docs/adding-a-dataset.md)
    exclude: str = ""  # TSV file of videos to leave out, reviewed by you, with the columns `video_id` and `reason`
    mirrors: dict[str, str] = field(default_factory=dict)  # other addresses to fetch from, by the name of the source (docs/datasets.md)
    own: Own = field(default_factory=Own)
    words: int = limited(32, least=3)  # tokens that are read of a caption, start and end included; a longer one is cut
    clips: Clips = field(default_factory=Clips)
    frames: Frames = field(default_factory=Frames)
    missing: Missing = field(default_factory=Missing)
