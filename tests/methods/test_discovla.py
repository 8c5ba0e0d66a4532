"""DiscoVLA against numbers that its released code computed, its losses alone, what a video costs; identities and refusals."""

import pytest
import torch

from pipeline import methods
from pipeline.adapters import swap
from pipeline.clip.batch import Batch
from pipeline.cost import dead_parameters
from pipeline.cost.measure import macs
from pipeline.evaluation.similarity import scores
from pipeline.methods.discovla import DiscoVla, divergence, frame_scores
from pipeline.training.loss import contrastive
from tests.conftest import small_clip
from tests.methods import filled, naive
from tests.methods.cases import SHAPE

DEEP = {"layers": 6, "frames": 4, "words": 12, "rank": 8}
FLAT = {"layers": 3, "frames": 3, "words": 16, "rank": 4, "vision_layers": 1, "text_layers": 1}
# tempme_discovla.md 8.3: trained entries with and without captions of frames, the loss without them and with them, first entries of rows.
RELEASED = {
    "deep": {
        "trained": (22_928, 21_280),
        "loss": (1.90102, 45.5079),
        "frame 0 0": "-0.820214 0.869039 2.33001 -0.273161 -1.49992 0.632971 0.0316867 -2.53969",
        "frame 1 0": "0.140139 0.575766 1.35562 -0.432116 -1.61961 1.78151 0.172118 -1.34827",
        "video 0": "-0.0690468 0.0936967 0.224209 -0.0353624 -0.185791 0.133931 -0.00593004 -0.251531",
        "video 1": "0.0366407 0.0123287 0.113907 -0.018982 -0.176106 0.237154 0.0513274 -0.134294",
        "text 0": "-1.57991 -1.21078 -0.610816 -1.5721 0.633855 0.649156 0.601138 0.772978",
        "extra 0 0": "-2.37648 -1.64514 -0.574541 0.450731 -1.24287 2.62658 1.0002 1.52437",
        "extra 1 1": "-1.91409 -0.815174 -1.34309 0.0155855 -0.458066 0.476084 -0.989949 1.79558",
    },
    "flat": {
        "trained": (6_392, 5_956),
        "loss": (2.52904, 4.55847),
        "frame 0 0": "2.02394 -2.37645 2.16065 -0.419915 -1.18344 3.33746 1.90262 -1.5182",
        "frame 1 0": "2.42042 -2.44082 1.21389 -0.193446 -1.29437 3.77153 1.70528 -1.26262",
        "video 0": "0.262006 -0.294208 0.209842 -0.0194636 -0.143177 0.434547 0.234173 -0.17245",
        "video 1": "0.293525 -0.305172 0.197394 -0.0109402 -0.217171 0.453597 0.161143 -0.131331",
        "text 1": "0.406906 -0.0868554 -1.30367 0.468747 1.22087 0.148497 -0.731702 1.9715",
        "extra 0 0": "-1.02916 -1.93375 -1.47622 -0.953537 1.00561 1.13342 0.0531755 1.98008",
        "extra 1 1": "-1.34952 0.415673 -0.358098 -0.955326 -0.126626 -0.316801 -1.40385 1.18502",
    },
    "padded": {  # each video as the released code has it alone; the losses by the rule of ours
        "trained": (22_928, 21_280),
        "loss": (1.89749, 6.85684),
        "frame 1 0": "-0.472863 0.743571 1.62767 -0.414416 -1.63108 1.51383 -0.386193 -1.61426",
        "video 1": "-0.0356416 0.0771042 0.176479 -0.0353659 -0.189899 0.179037 -0.0400729 -0.180203",
        "extra 1 1": "-2.12756 -0.852816 -1.22774 -0.15617 0.00298437 0.122576 -1.34406 1.61678",
    },
}


@pytest.mark.parametrize("name", RELEASED)
@torch.no_grad()
def test_features_and_losses_are_those_of_the_released_code(name):
    config, salt, number = (FLAT, 3, 3) if name == "flat" else (DEEP, 0, 2)
    wanted, mask = RELEASED[name], torch.ones(number, config["frames"], dtype=torch.bool)
    if name == "padded":
        mask[1, 2:] = False
    pictures, ids = filled.videos(number, config["frames"], salt), filled.texts(number, config["words"])
    said = filled.texts(mask.numel(), config["words"], extra=9)
    for place, captions in enumerate((True, False)):
        clip = filled.attached("discovla", captions_extra=captions, **config)
        assert sum(p.numel() for p in clip.trained().values()) == wanted["trained"][place]
        features = [clip.encode_frames(pictures, mask=mask), clip.encode_text(ids)]
        if captions:
            features.append(clip.encode_text(said, mask=mask).unflatten(0, mask.shape))
        found = dict(zip(("frame", "text", "extra"), features, strict=False)) | {"video": filled.means(features[0], mask)}
        filled.check(wanted, found, atol=2e-5)
        assert naive.loss(clip, features, mask).item() == pytest.approx(wanted["loss"][captions], rel=2e-5)


MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0], [1, 0, 0, 0]], dtype=torch.bool)
FULL = torch.ones_like(MASK)


@pytest.mark.parametrize(
    ("mask", "scale", "total", "parts"),
    [
        (FULL, 20, 412.038, (10.4947, 0.274545, 401.46)),
        (FULL, 100, 1866.72, (51.5507, 0.0629877, 1815.16)),
        (MASK, 20, 495.486, (15.0765, 0.81192, 480.166)),
    ],
)
def test_the_losses_alone_are_those_of_the_released_code(mask, scale, total, parts):
    texts, frames, said = filled.wave((3, 8), 1), filled.wave((3, 4, 8), 2), filled.wave((3, 4, 8), 3)
    scale, similarities = torch.tensor(float(scale)), scores(texts, frames, mask=mask, temperature=None)

    def contrast(matrix):
        return contrastive(matrix, scale=scale)

    own = frame_scores(said, frames, mask=mask, scale=scale)
    apart = [divergence(scale * one, scale * other) for one, other in ((own, similarities), (own.T, similarities.T))]
    found = contrast(similarities), contrast(own), 100 * sum(apart) / 2
    torch.testing.assert_close(torch.stack(found), torch.tensor(parts), atol=1e-6, rtol=2e-5)
    more = DiscoVla(captions_extra=True)._loss(Batch(similarities, frames, texts, mask, said, scale, contrast))
    assert (contrast(similarities) + more).item() == pytest.approx(total, rel=2e-5)


@pytest.mark.parametrize(
    ("mask", "rows"),
    [
        (FULL, "0.960939 0.949045 0.411172 0.821852 0.944854 0.691508 0.681630 0.861195 0.980958"),
        (MASK, "0.960939 0.950688 0.415760 0.823128 0.799899 0.639077 0.681707 0.559673 0.785957"),
    ],
)
def test_frames_and_captions_are_scored_by_the_best_of_each_weighed_by_the_scores(mask, rows):
    frames, said = filled.wave((3, 4, 8), 2), filled.wave((3, 4, 8), 3)
    found = frame_scores(said, frames, mask=mask, scale=torch.tensor(20.0))
    torch.testing.assert_close(found.flatten(), torch.tensor(list(map(float, rows.split()))), atol=1e-5, rtol=0)
    said[~mask], frames[~mask] = 7.0, -3.0
    torch.testing.assert_close(frame_scores(said, frames, mask=mask, scale=torch.tensor(20.0)), found)


def test_one_pair_has_no_loss_and_one_frame_is_compared_by_its_cosine():
    one = torch.rand(1, 1)
    assert divergence(one, one + 3) == 0 and contrastive(one, scale=torch.tensor(20.0)) == 0
    frames, said, mask = torch.randn(3, 1, 8), torch.randn(3, 1, 8), torch.ones(3, 1, dtype=torch.bool)
    cosines = torch.nn.functional.cosine_similarity(said, frames.transpose(0, 1), dim=-1)
    torch.testing.assert_close(frame_scores(said, frames, mask=mask, scale=torch.tensor(20.0)), cosines)


@torch.no_grad()
def test_at_the_start_equal_frames_are_those_of_clip_and_moving_ones_are_not(batch):
    clip, bare = methods.attach(small_clip(), methods.load("discovla", config={}), shape=SHAPE), small_clip()
    mask = batch[1]
    still = batch[0][:, :1].expand_as(batch[0])
    apart = [(clip.encode_frames(seen, mask=mask) - bare.encode_frames(seen, mask=mask))[mask].abs().max() for seen in (still, batch[0])]
    assert apart[0] < 1e-5 and apart[1] > 1e-2


@torch.no_grad()
def test_lora_folds_away_and_the_adapters_of_captions_are_there_with_captions_alone(batch):
    clip, bare = naive.attach("discovla"), naive.attach("discovla", captions_extra=True)
    mask, ids = batch[1], clip.tokenize(batch[2], num_words=SHAPE.num_words)
    before = clip.encode_frames(batch[0], mask=mask), clip.encode_text(ids), bare.encode_text(ids[[0, 1, 2, 0]], mask=mask[:1])
    clip.merge()
    bare.merge()
    after = clip.encode_frames(batch[0], mask=mask), clip.encode_text(ids), bare.encode_text(ids[[0, 1, 2, 0]], mask=mask[:1])
    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    fused = [name for name in bare.trained() if name not in clip.trained()]
    assert fused and all(name.startswith("adapter.text.") and ".fusion." in name for name in fused)
    assert (clip.extra_captions, bare.extra_captions) == (False, True) and not clip.losses
    bare.detach_all()
    assert not bare.extra_captions and not bare.losses


def test_its_loss_goes_with_it_when_it_is_taken_off_and_comes_back():
    clip = naive.attach("discovla", captions_extra=True)
    losses, held = clip.losses, swap.take(clip)
    assert not clip.extra_captions and not clip.losses
    swap.put(clip, held)
    assert clip.extra_captions and clip.losses is losses


def test_a_caption_reaches_what_fuses_captions_in_training_alone():
    clip = methods.attach(small_clip(), methods.load("discovla", config={"captions_extra": True}), shape=SHAPE)
    assert all(mask.all() for mask in dead_parameters.find_alive(clip, num_frames=4, num_words=12).values())


# tempme_discovla.md 6: k and v of all frames are projected for no query; the maps go to the queries.
COSTS = {32: (52_905_738_240, 53_550_415_872), 16: (210_761_441_280, 212_966_793_216)}


def closed_form(patch, *, width, heads, embed, layers=12, frames=12, rank=8):
    """Multiply-accumulates of a video, of CLIP and with what a CLS sees of all frames in four layers."""
    tokens = (224 // patch) ** 2 + 1
    clip = frames * ((tokens - 1) * 3 * patch**2 * width + width * embed)
    clip += layers * frames * (12 * tokens * width**2 + 2 * tokens**2 * width)
    fused = frames * (4 * width**2 + 2 * heads * frames * tokens * width + 2 * rank * width)
    return clip, clip + 4 * fused


@pytest.mark.parametrize("patch", COSTS)
def test_a_video_costs_one_percent_more_than_with_clip(patch):
    """Counted on narrow towers with as many tokens; the formula that holds there gives the numbers of the wide ones."""
    clip = filled.towers(image=224, patch=patch, layers=5)
    methods.attach(clip, methods.load("discovla", config={}), shape=methods.Shape(12, 16))
    clip.merge()
    found = macs(clip, num_frames=12, num_words=16, device=torch.device("cpu"))["macs_per_video"]
    assert found == closed_form(patch, width=16, heads=2, embed=8, layers=5)[1]
    assert closed_form(patch, width=768, heads=12, embed=512) == COSTS[patch]


def test_vit_b32_has_543_776_trainable_parameters_and_561_200_with_captions(base_clip):
    assert naive.count(base_clip, "discovla") == 543_776 == 491_520 + 4 * 13_064
    assert naive.count(base_clip, "discovla", captions_extra=True) == 561_200 == 543_776 + 2 * 8_712


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"vision_layers": 0}, "discovla: vision_layers is 0; the least is 1"),
        ({"text_layers": -1}, "discovla: text_layers is -1; the least is 1"),
    ],
)
def test_settings_that_cannot_be_are_one_sentence(config, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}"):
        methods.attach(small_clip(), methods.load("discovla", config=config), shape=SHAPE)
