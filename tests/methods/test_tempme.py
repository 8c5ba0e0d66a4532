"""TempMe against numbers that its released code computed, its matching by hand, and what a video costs; refusals."""

import pytest
import torch

from pipeline import methods
from pipeline.cost.measure import macs
from pipeline.evaluation.similarity import scores
from pipeline.methods.parts.merging import merge
from pipeline.methods.tempme import TempMe
from pipeline.training.loss import contrastive
from tests.conftest import small_clip
from tests.methods import filled, naive
from tests.methods.cases import SHAPE

DEEP = {"layers": 12, "frames": 12, "words": 12, "rank": 8, "image_merge": 1}
FLAT = {"layers": 4, "frames": 6, "words": 16, "rank": 4, "joins": [1, 2], "factors": [2, 3]}
# tempme_discovla.md 8.2: sums over the features of real frames, the loss, and the first entries of some rows.
RELEASED = {
    "deep": {
        "sums": (-3.58754, 881.007),
        "loss": 1.05098,
        "frame 0 0": "2.28859 1.20404 0.853069 -0.532852 -2.29976 2.0085 0.416648 -0.924543",
        "frame 1 0": "2.08291 0.487787 1.55656 -1.19927 -3.12425 1.63791 0.976831 -1.55518",
        "frame 1 11": "-0.291198 2.8718 1.5184 -0.736606 -1.15513 2.09473 0.0290719 -0.472736",
        "video 0": "0.0699896 0.223421 0.262858 -0.130932 -0.39077 0.0187687 -0.0702626 -0.0794652",
        "video 1": "0.0156599 0.246168 0.27167 -0.135129 -0.365842 0.00975198 -0.0833141 -0.0759519",
        "text 0": "-1.57991 -1.21078 -0.610816 -1.5721 0.633855 0.649156 0.601138 0.772978",
        "text 1": "-1.58576 -1.13173 -1.65057 -0.336761 1.33475 -0.481222 -0.0465108 1.30141",
    },
    "flat": {
        "sums": (-50.6548, 471.018),
        "loss": 0.508322,
        "frame 0 0": "-0.96713 -0.49825 4.23871 -2.14564 -2.20723 1.33081 -0.519962 -1.46709",
        "frame 1 0": "-0.328715 -0.988377 2.72992 -1.81582 -2.21079 1.80717 0.0715945 -1.16663",
        "frame 1 5": "-0.845545 -1.77094 1.7129 -0.629627 -1.90791 1.88234 1.04839 -1.70716",
        "video 0": "-0.0926345 -0.0978704 0.37756 -0.166266 -0.314526 0.142471 -0.0427078 -0.137653",
        "video 1": "-0.073304 -0.123552 0.293799 -0.121558 -0.280241 0.188921 0.0164072 -0.164388",
        "text 0": "-0.077479 0.802067 0.108137 -1.41606 1.02559 -0.870134 -0.755334 1.27273",
        "text 1": "0.406906 -0.0868554 -1.30367 0.468747 1.22087 0.148497 -0.731702 1.9715",
    },
    "padded": {  # by the rule of ours for padded frames
        "sums": (-40.6206, 388.786),
        "loss": 0.555485,
        "frame 0 0": "-0.96713 -0.49825 4.23871 -2.14564 -2.20723 1.33081 -0.519962 -1.46709",
        "frame 1 0": "-0.57018 -0.853664 2.84048 -1.94556 -2.43118 1.68385 -0.189901 -1.20383",
        "frame 1 3": "-0.253211 -0.132797 2.9344 -1.02393 -2.80226 1.46017 -0.865309 -1.60091",
        "video 0": "-0.0926345 -0.0978704 0.37756 -0.166266 -0.314526 0.142471 -0.0427078 -0.137653",
        "video 1": "-0.0831522 -0.0689472 0.344893 -0.149796 -0.334073 0.166646 -0.0624935 -0.147832",
    },
}
LENGTHS = {
    "deep": ([17, 16, 15, 14, 13, 12, 11, 10, 13, 17, 34, 31], [16, 15, 14, 13, 12, 11, 10, 9, 12, 16, 31, 28], 30_528),
    "flat": ([17, 21, 40, 36], [15, 19, 36, 33], 6_976),
}


def lengths(clip, run):
    """The tokens of a row that attention and the MLP of each layer see, while `run` runs."""
    attention, mlp = [], []
    for block in clip.vision.blocks:
        block.ln_1.register_forward_hook(lambda _, __, made: attention.append(made.shape[:2]))
        block.ln_2.register_forward_hook(lambda _, __, made: mlp.append(made.shape[:2]))
    run()
    return attention, mlp


@pytest.mark.parametrize("name", RELEASED)
@torch.no_grad()
def test_features_are_those_of_the_released_code(name):
    config, salt = (DEEP, 15) if name == "deep" else (FLAT, 9)
    clip, mask = filled.attached("tempme", **config), torch.ones(2, config["frames"], dtype=torch.bool)
    if name == "padded":
        mask[1, 4:] = False
    pictures, ids = filled.videos(2, config["frames"], salt), filled.texts(2, config["words"])
    found = {"frame": clip.encode_frames(pictures, mask=mask), "text": clip.encode_text(ids)}
    found["video"] = filled.means(found["frame"], mask)
    filled.check(RELEASED[name], found, atol=1e-4)
    real = found["frame"][mask]
    torch.testing.assert_close((real.sum().item(), real.abs().sum().item()), RELEASED[name]["sums"], atol=2e-3, rtol=1e-5)
    loss = contrastive(scores(found["text"], found["frame"], mask=mask, temperature=None), scale=clip.logit_scale)
    assert loss.item() == pytest.approx(RELEASED[name]["loss"], abs=1e-4)
    if name in LENGTHS:
        attention, mlp = lengths(clip, lambda: clip.encode_frames(pictures, mask=mask))
        trained = sum(p.numel() for p in clip.trained().values())
        assert ([length for _, length in attention], [length for _, length in mlp], trained) == LENGTHS[name]


E1, E2 = (1.0, 0.0), (0.0, 1.0)


@pytest.mark.parametrize(
    ("sizes", "cls", "number", "values", "left"),
    [
        ("1 3 1 1 2 1 1 1", 1, 1, "0 40 60 12.5 30 50 70", "1 2 1 4 1 1 1"),
        ("1 3 1 1 2 1 1 1", 1, 2, "0 60 12.5 30 43.3333 70", "1 1 4 1 3 1"),
        ("1 3 1 1 2 1 1 1", 1, 3, "0 12.5 30 47.5 70", "1 4 1 4 1"),
        ("1 3 1 1 2 1 1 1", 2, 2, "0 10 60 25 43.3333 70", "1 3 1 2 3 1"),
        ("1 0 1 1 2 1 0 1", 1, 1, "0 20 40 0 30 50 70", "1 1 2 0 1 1 1"),
        ("1 0 1 1 2 1 0 1", 1, 2, "0 40 0 25 50 70", "1 2 0 2 1 1"),
    ],
)
def test_what_merges_and_in_which_order_it_stands_is_that_by_hand(sizes, cls, number, values, left):
    """Two rows, so that each is matched by itself: the other one has its tokens in the opposite order of values."""
    metric = torch.tensor([E1, E1, E1, E1, E2, E2, E2, (-1.0, 0.0)]).expand(2, -1, -1)
    tokens = torch.stack([torch.arange(0.0, 80, 10), 70 - torch.arange(0.0, 80, 10)])[..., None]
    numbers = torch.tensor([list(map(float, sizes.split()))] * 2)
    found, size = merge(tokens, numbers, metric, cls=cls, number=number)
    wanted = torch.tensor(list(map(float, values.split())))
    torch.testing.assert_close(found[0, :, 0], wanted, atol=1e-4, rtol=0)
    empty = size[1] == 0  # padding has the mean of nothing
    torch.testing.assert_close(found[1, ~empty, 0], (70 - wanted)[~empty], atol=1e-4, rtol=0)
    assert size.tolist() == [list(map(float, left.split()))] * 2


@torch.no_grad()
def test_sizes_add_up_to_the_patches_of_a_row_and_its_class_tokens(batch):
    clip, found = naive.attach("tempme"), {}
    clip.vision.hooks[-1].after.append(lambda tokens, flow: found.update(flow.memo) or tokens)
    clip.encode_frames(batch[0], mask=batch[1])
    pairs, videos = [10] * 5 + [0], [20, 20, 10]
    wanted = {"joined sizes 0": pairs, "sizes 1": pairs, "joined sizes 1": videos, "sizes 2": videos, "sizes 3": videos}
    assert {name: sizes.sum(dim=1).tolist() for name, sizes in found.items()} == wanted


@torch.no_grad()
def test_where_nothing_merges_padded_frames_might_as_well_not_be_there():
    config = {"image_merge": 0, "cross_percent": 0, "intra_percent": 0, "joins": [1]}
    padded, short = (filled.toy_clip(3) for _ in range(2))
    for clip, frames in ((padded, 4), (short, 2)):
        methods.attach(clip, methods.load("tempme", config=config | {"factors": [frames]}), shape=methods.Shape(frames, 12))
        filled.fill(clip, 8)
    pictures, mask = filled.videos(2, 4, 7), torch.tensor([[1, 1, 0, 0]] * 2, dtype=torch.bool)
    found = padded.encode_frames(pictures, mask=mask)[:, :2]
    torch.testing.assert_close(found, short.encode_frames(pictures[:, :2], mask=mask[:, :2]), atol=1e-5, rtol=1e-5)


def test_a_step_reaches_the_positions_and_one_factor_of_lora_at_once_and_the_other_after_it(batch):
    clip = methods.attach(small_clip(), methods.load("tempme", config={}), shape=SHAPE)
    optimiser = torch.optim.SGD(clip.trained().values(), lr=0.1)
    for reached in (False, True):
        optimiser.zero_grad()
        features = clip.encode_frames(batch[0], mask=batch[1]), clip.encode_text(clip.tokenize(batch[2], num_words=SHAPE.num_words))
        naive.loss(clip, features, batch[1]).backward()
        for name, tensor in clip.trained().items():
            assert bool(tensor.grad.any()) == (reached or not name.endswith("down")), name
        optimiser.step()


@torch.no_grad()
def test_without_joins_and_merges_it_is_lora_and_lora_folds_away(batch):
    torch.manual_seed(0)
    ids = small_clip().tokenize(batch[2], num_words=SHAPE.num_words)
    pairs = [
        (naive.attach("lora"), naive.attach("tempme", factors=[], image_merge=0)),
        (naive.attach("tempme"), naive.attach("tempme")),
    ]
    pairs[1][1].merge()
    for one, other in pairs:
        for ours, theirs in ((one.encode_frames(batch[0], mask=batch[1]), other.encode_frames(batch[0], mask=batch[1])),
                             (one.encode_text(ids), other.encode_text(ids))):  # fmt: skip
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    assert TempMe(factors=[], image_merge=0).identity_at_init and not TempMe(factors=[]).identity_at_init
    assert not any(hooks.between or hooks.mask for hooks in pairs[0][1].vision.hooks)


# tempme_discovla.md 3: rows, tokens of attention and MLP; multiply-accumulates of the tower, of matching, of the mean keys.
TABLE = {
    32: (
        [(12, 50 - 2 * layer, 48 - 2 * layer) for layer in range(8)] + [(6, 48, 44), (3, 62, 56), (1, 118, 107), (1, 107, 97)],
        {8: (68, 2), 9: (88, 4), 10: (168, 12)},
        (34_707_371_520, 17_183_872, 237_256_704),
    ),
    16: (
        [(12, 197 - 2 * layer, 195 - 2 * layer) for layer in range(8)] + [(6, 254, 229), (3, 321, 289), (1, 607, 547), (1, 547, 493)],
        {8: (362, 2), 9: (458, 4), 10: (867, 12)},
        (161_079_762_432, 484_442_112, 1_075_494_912),
    ),
}


def closed_form(patch, *, width, heads, embed):
    """Multiply-accumulates of a video by the table: of the tower, of matching, and of the mean keys by which it matches."""
    rows, joined, _ = TABLE[patch]
    tower = 12 * ((224 // patch) ** 2 * 3 * patch**2 * width + width * embed)
    tower += sum(n * (4 * seen * width**2 + 2 * seen**2 * width + 8 * kept * width**2) for n, seen, kept in rows)
    matching, cls = 0, 1
    for layer, (n, seen, _) in enumerate(rows):
        if layer in joined:
            length, cls = joined[layer]
            matching += n * pairs(length, cls) * width
        matching += n * pairs(seen, cls) * (width // heads)
    return tower, matching, sum(n * seen for n, seen, _ in rows) * width * (width // heads)


def pairs(length, cls):
    """Of sources with destinations."""
    return len(range(cls + cls % 2, length, 2)) * len(range(cls + 1 - cls % 2, length, 2))


@pytest.mark.parametrize("patch", TABLE)
def test_a_video_costs_what_its_shortened_rows_compute(patch):
    """Counted on narrow towers with as many tokens and layers; the formula that holds there gives the numbers of the wide ones."""
    clip = filled.towers(image=224, patch=patch)
    methods.attach(clip, methods.load("tempme", config={}), shape=methods.Shape(12, 16))
    clip.merge()
    counted = []

    def count():
        counted.append(macs(clip, num_frames=12, num_words=16, device=torch.device("cpu"))["macs_per_video"])

    attention, mlp = lengths(clip, count)
    assert [(*seen, kept[1]) for seen, kept in zip(attention, mlp, strict=True)] == TABLE[patch][0]
    assert counted == [sum(closed_form(patch, width=16, heads=2, embed=8))]
    assert closed_form(patch, width=768, heads=12, embed=512) == TABLE[patch][2]


def test_vit_b32_has_507_648_trainable_parameters_and_more_for_more_frames(base_clip):
    assert naive.count(base_clip, "tempme") == 507_648
    assert naive.count(base_clip, "tempme", positions=False) == 491_520
    assert naive.count(base_clip, "tempme", frames=32) == 531_456
    assert naive.count(base_clip, "tempme", frames=64) == 556_032


@pytest.mark.parametrize(
    ("frames", "factors"),
    [(1, []), (2, [2]), (4, [2, 2]), (7, [7]), (8, [2, 2, 2]), (12, [2, 2, 3]), (16, [2, 2, 4]), (32, [2, 4, 4]), (64, [4, 4, 4])],
)
def test_any_number_of_frames_has_its_factors_and_the_layers_before_the_last_one_join(frames, factors):
    joins = TempMe()._joins(small_clip(layers=5), frames)
    assert list(joins.values()) == factors and list(joins) == list(range(4 - len(factors), 4))


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"factors": [3]}, "tempme: factors 3 do not divide 4 frames; give factors whose product divides dataset.frames.number, or none"),
        ({"factors": [2, 2], "joins": [2, 1]}, "tempme: joins are 2, 1 and factors 2, 2; give a layer for each, rising, from 0 to 2"),
        ({"factors": [2, 2], "joins": [1, 1]}, "tempme: joins are 1, 1 and factors 2, 2"),
        ({"factors": [2, 2], "joins": [1]}, "tempme: joins are 1 and factors 2, 2"),
        ({"factors": [2], "joins": [3]}, "tempme: joins are 3 and factors 2; .* from 0 to 2"),
        ({"factors": [2], "joins": [-1]}, "tempme: joins are -1 and factors 2"),
        ({"factors": [], "joins": [1]}, "tempme: joins are 1 and factors none"),
        ({"factors": [1, 4]}, "tempme: factors are 1, 4; each is 2 or more"),
        ({"cross_percent": 101}, "tempme: cross_percent is 101; give a share from 0 to 100"),
        ({"intra_percent": -1}, "tempme: intra_percent is -1; give a share"),
        ({"image_merge": -1}, "tempme: image_merge is -1; the least is 0"),
        ({"last_blocks": 2}, "tempme: joins are 0, 1, but last_blocks 2 begin with layer 1; raise it, or join later"),
    ],
)
def test_settings_that_cannot_be_are_one_sentence(config, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}"):
        methods.attach(small_clip(), methods.load("tempme", config=config), shape=SHAPE)


def test_too_few_blocks_and_towers_that_are_not_read_at_cls_are_refused():
    with pytest.raises(ValueError, match="^tempme: 2 joins need 3 blocks, but small has 2; give fewer factors"):
        methods.attach(small_clip(layers=2), methods.load("tempme", config={}), shape=SHAPE)
    for run in ("tempme", "discovla"):
        for family in ("siglip", "pe"):
            with pytest.raises(ValueError, match=f"^{run}: small-{family} reads a frame by attention .*; use a CLIP that is read at CLS"):
                methods.attach(small_clip(family=family), methods.load(run, config={}), shape=SHAPE)
        clip = small_clip()
        clip.model.visual.rotary = torch.zeros(4, 32)
        with pytest.raises(ValueError, match=f"^{run}: small rotates keys by their place in the grid, .*; use a plain ViT"):
            methods.attach(clip, methods.load(run, config={}), shape=SHAPE)
