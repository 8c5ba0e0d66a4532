"""Which entries of what is trained never get a gradient."""

import pytest

from pipeline.cost import dead_parameters
from tests.conftest import small_clip
from tests.cost.attached import attach
from tests.methods.cases import SHAPE

# Prompts behind the end of text; positions of frames there are not; of words there are not; what changes patches after the last attention,
# which only CLS survives: eight of nine taps of a 3x3 kernel on CLS, and the gains of patches.
DEAD = {
    ("vop", ()): {},
    ("vop", (("text_layout", "release"),)): {"adapter.text_prompts": 3 * 4 * 16},
    ("clip4clip_transformer", ()): {"adapter.position": (20 - 4) * 16},
    ("full_finetune", ()): {"clip.positional_embedding": (20 - 12) * 16},
    ("convpass", ()): {f"adapter.vision.2.{site}.conv.weight": 8 * 64 for site in ("attention", "mlp")},
    ("adapter_ffn", ()): {},  # a ReLU
    ("video_text_adapter", ()): {},  # kernels over space and time
    ("vop_fc", ()): {},
    ("mv_adapter", ()): {},
    ("zero_shot", ()): {},
}


@pytest.mark.parametrize(("method", "config"), DEAD)
def test_dead_parameters_are_found_and_no_others(method, config):
    alive = dead_parameters.find_alive(attach(small_clip(), method, shape=SHAPE, **dict(config)), num_frames=4, num_words=12)
    assert {name: int((~mask).sum()) for name, mask in alive.items() if not mask.all()} == DEAD[method, config]
