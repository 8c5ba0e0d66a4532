"""A session without a CLIP: galleries of drawn clips, whose scores are drawn, too. Files from elsewhere take the real way to frames."""

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pandas as pd

from pipeline.config.dataset import Clips, Frames
from pipeline.core.record import sha256
from pipeline.motion.captions import caption
from pipeline.motion.render import frame, ground
from pipeline.motion.scene import sample
from pipeline.search.index import CaptionHit, Hit
from pipeline.search.session import Probe
from pipeline.video.files import read_video

FPS, FRAMES, SIDE = 3, 12, 224
RUNS = {"vop": 0.5, "mv_adapter": 0.8, "zero_shot": 0.0}  # how far a method departs from what all find


def draw(target, seed, *, width=SIDE, height=SIDE, number=FRAMES):
    """A clip like those of rule transcode; returns its caption."""
    rng = np.random.default_rng(seed)
    scene = sample(rng, grounds=(0, 1, 2, 3), counts=(0.5, 0.4, 0.1))
    canvas = ground(scene, height=height, width=width)
    with av.open(str(target), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"g": str(FPS), "bf": "0", "crf": "20"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for k in range(number):
            picture = av.VideoFrame.from_ndarray(frame(scene, k / (number - 1), canvas=canvas), format="rgb24")
            picture.pts, picture.time_base = k, Fraction(1, FPS)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return caption(scene, rng)


def gallery(root: Path, name: str, *, videos: int, with_captions: bool, seed: int = 0):
    """Like `pipeline.search.index.Gallery`: its tables, what it is about, and its clips below `root`/<first part of the name>."""
    kind, backbone, run, seed_of_run = name.split("/")
    folder = root / kind
    if not folder.is_dir():
        folder.mkdir(parents=True)
        texts = [draw(folder / f"{row}.mp4", seed + row, width=SIDE + 80 * (row % 3 == 0)) for row in range(videos)]
        pd.Series(texts).to_json(folder / "texts.json")
    texts = list(pd.read_json(folder / "texts.json", typ="series"))
    rows = range(videos)
    table = pd.DataFrame(
        {
            "video_id": [f"test{row:05d}" for row in rows],
            "clip": [f"{row}.mp4" for row in rows],
            "clip_sha256": [sha256(folder / f"{row}.mp4") for row in rows],
            "source": [f"videos/test{row:05d}.mp4" for row in rows],
            "start": 0.0,
            "duration": FRAMES / FPS,
            "title": texts if with_captions else "",
        }
    )
    number = videos if with_captions else 0
    said = pd.DataFrame({"caption_id": [f"test{r:05d}#0" for r in range(number)], "text": texts[:number], "row": list(range(number))})
    about = {"gallery": kind, "backbone": {"name": backbone, "weights": "w"}, "run": run, "seed": int(seed_of_run), "kind": "dataset"}
    about |= {"num_videos": videos, "num_captions": number, "search": {"kind": "exact"}, "skipped": [], "shape": {}}
    about["shape"] = {"frames": {"number": FRAMES, "size": SIDE, "grid": "centres"}}
    return SimpleNamespace(name=name, about=about, videos=table, captions=said, clip=lambda row: folder / f"{row}.mp4")


class Session:
    """`pipeline.search.session.Session` as the page uses it. `gone`: names that are taken away at the next refresh."""

    def __init__(self, root: Path, *, videos: int = 14) -> None:
        names = [f"motion/clip-tiny/{run}/0" for run in RUNS]
        self._galleries = {name: gallery(root, name, videos=videos, with_captions=True) for name in names}
        bare = "mine/clip-tiny/vop/0"
        self._galleries[bare] = gallery(root, bare, videos=3, with_captions=False, seed=50)
        self.other = {"motion/ViT-B-32/vop/0": "its backbone is ViT-B-32, and this session's is clip-tiny"}
        self.gone: set[str] = set()

    @property
    def names(self):
        return list(self._galleries)

    def gallery(self, name):
        return self._galleries[name]

    def refresh(self):
        gone, self.gone = self.gone, set()
        for name in gone:
            del self._galleries[name]
        return sorted(gone)

    def text(self, name, query, k):
        return self._hits(name, query, k)

    def video(self, name, row, k):
        return [hit for hit in self._hits(name, f"row {row}", k + 1) if hit.row != row][:k]

    def file(self, name, path, k):
        pictures, mask, _ = read_video(path, clips=Clips(), frames=Frames())
        return self._hits(name, f"{pictures.mean():.1f} {sum(mask)}", k)

    def captions(self, name, row_or_file, k):
        if isinstance(row_or_file, Path):
            read_video(row_or_file, clips=Clips(), frames=Frames())
        table = self._galleries[name].captions
        if not len(table):
            raise ValueError(f"the index {name} has no texts to choose from; index again with --texts FILE, one sentence a line")
        hits = self._hits(name, f"captions {row_or_file}", k)
        return [CaptionHit(h.row, table["caption_id"][h.row], table["text"][h.row], h.score, int(table["row"][h.row])) for h in hits]

    def probe(self, name, query, row):
        score = float(np.random.default_rng([row, len(query)]).uniform(0.2, 0.4))
        backwards = score - {"vop": 0.05, "mv_adapter": -0.01, "zero_shot": 0.0}[name.split("/")[2]]
        return Probe(score, backwards, [k / FPS for k in range(FRAMES)])

    def _hits(self, name, query, k):
        table = self._galleries[name].videos
        scores = self._drawn(query, len(table)) + RUNS[name.split("/")[2]] * 0.4 * self._drawn(name + query, len(table))
        best = np.argsort(-scores, kind="stable")[:k]
        return [Hit(int(row), table["video_id"][row], float(scores[row]), (int(row) % FRAMES) / FPS) for row in best]

    @staticmethod
    def _drawn(text, number):
        return np.random.default_rng(list(text.encode())).uniform(0, 0.5, number)
