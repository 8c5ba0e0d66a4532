"""An adapter whose backbone has keys of its own is indexed and searched with them, however the backbone is named."""

import pytest
import torch

from pipeline.adapters.encoder import Encoder
from pipeline.config.schema import Backbone
from pipeline.search.index import Gallery
from pipeline.search.session import Session
from tests.adapters.files import SHAPE, write_adapter

SAID = "mean (0.5, 0.5, 0.5), deviation (0.25, 0.5, 0.5), squash, bilinear"
KEYS = {"mean": [0.5] * 3, "std": [0.25, 0.5, 0.5], "resize": "squash", "interpolation": "bilinear"}


@pytest.mark.usefixtures("one_thread")
def test_pictures_of_an_adapter_are_those_of_its_index_and_of_its_search(world):
    adapter = world.home / world.adapter("seen")
    adapter.parent.mkdir(parents=True)
    shape = SHAPE | {"frames": SHAPE["frames"] | {"resize": "squash", "interpolation": "bilinear"}}
    write_adapter(adapter, world.weights, "vop", preprocessing=SAID, shape=shape)
    for video in sorted(path for path in world.videos.rglob("*") if path.is_file())[2:]:
        video.unlink()
    world.index(runs=("seen",))
    gallery = Gallery.open(world.indexes / "videos/clip-tiny/vop/0/index.h5")
    assert gallery.about["backbone"] == {"name": "clip-tiny", "weights": "work/weights.safetensors"} | KEYS
    session = Session(world.indexes, place="cpu")
    assert session.encoder.clip.preprocessing == SAID and len(session.text("videos/clip-tiny/vop/0", "a red star", 2)) == 2
    plain = Encoder(Backbone("clip-tiny", str(world.weights)), device=torch.device("cpu"))
    with pytest.raises(ValueError, match=r"was trained with mean \(0\.5, .* squash, bilinear, and clip-tiny has mean \(0\.48"):
        plain.add("seen", adapter)
