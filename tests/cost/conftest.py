import pytest

from pipeline.clip import FrozenClip, build


@pytest.fixture(scope="session")
def b16_clip():
    """ViT-B/16 with random weights, as base_clip is ViT-B/32."""
    return FrozenClip(build("ViT-B-16-quickgelu"), name="ViT-B-16-quickgelu")
