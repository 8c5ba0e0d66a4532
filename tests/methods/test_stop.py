"""STOP against dgl_stop.md 10, DGL where its parts are zero, what the batch changes, counts, dropout, and refusals."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from pipeline import methods
from pipeline.adapters import checkpoint
from pipeline.adapters.encoder import Encoder
from pipeline.clip import architecture
from pipeline.clip.tower import Flow
from pipeline.config.schema import Backbone, Train
from pipeline.config.settings import Sampling, Training
from pipeline.cost import dead_parameters
from pipeline.methods.parts.space_time import FramesConv
from pipeline.methods.stop import Inter
from pipeline.runtime.distributed import ALONE
from pipeline.training import job
from tests.conftest import small_clip
from tests.methods import naive, toy
from tests.methods.cases import SHAPE

CODE = {"text_layout": "release", "norm": "batch", "regions": "modulo"}
SETTINGS = {"release": CODE, "fixed": {}}
NUMBERS = {
    ("stop", "release"): """
        v0 -0.0881079 -1.50363 -0.0986704 0.599455 -0.198576 -0.158584 -0.812382 0.831226
        v1 -0.102517 -1.27559 -0.623302 0.491491 -0.828474 -0.185018 -1.55212 0.750866
        t0 1.32548 -1.88782 1.10919 1.19507 -0.039541 -0.411141 -1.95657 -0.307222
        t1 0.884953 -1.33799 0.877765 1.217 -0.324588 -0.380645 -1.0001 -1.46853""",
    ("stop", "fixed"): """
        v0 -0.107575 -1.51886 -0.110165 0.596865 -0.201236 -0.158136 -0.818149 0.846467
        v1 -0.0793593 -1.17156 -0.677939 0.436261 -0.856812 -0.309234 -1.62502 0.669239
        t0 1.41405 -1.5135 0.154526 0.989414 -0.689319 -0.372137 -1.39681 -0.630338
        t1 0.826112 -0.693993 -0.00866973 0.797816 -0.432109 -0.25755 -0.768939 -1.33933""",
    ("stop_transformer", "release"): """
        v0 -0.0808211 -1.21499 0.171598 0.572753 -0.340105 -0.094669 -0.91017 0.503459
        v1 -0.127077 -1.00947 -0.236158 0.600218 -0.911092 -0.145954 -1.68167 0.369425
        t0 1.74857 -1.2796 0.40662 1.23053 0.268647 0.209506 -1.85269 0.677412
        t1 0.914187 -1.01483 0.842385 1.13233 -0.373974 -0.492376 -0.854536 -0.927346""",
    ("stop_transformer", "fixed"): """
        v1 -0.104648 -0.910932 -0.27845 0.440587 -0.881761 -0.268105 -1.75139 0.294927""",
}
SUMS = {
    ("stop", "release"): (50.1103, 46.1572),
    ("stop", "fixed"): (50.4770, 45.6574),
    ("stop_transformer", "release"): (52.4195, 50.0931),
    ("stop_transformer", "fixed"): (52.6553, 50.2210),
}
# Regions of video 0, frame 0 and of video 1, frame 2; the change of the first pixels; offsets of their first prompts.
BETWEEN = {
    "release": (
        ({3, 4, 6, 8, 11, 15}, {0, 5, 7, 8, 10, 15}),
        (0.0101460, 0.0018008, 0.0062665, 0.0223720),
        ((0.0154108, 0.0198014, 0.0172348, 0.0187122), (-0.0384015, -0.0237390, -0.0252043, -0.0353023)),
    ),
    "fixed": (
        ({2, 3, 4, 5, 7, 14}, {0, 10, 11, 12, 13, 14}),
        (0.0101460, 0.0018008, 0.0062665, 0.0111860),
        ((0.0155654, 0.0203460, 0.0176528, 0.0191493), (-0.0562179, -0.0462256, -0.0556023, -0.0632899)),
    ),
}


@pytest.mark.parametrize(("run", "layout"), NUMBERS)
def test_features_are_those_of_the_specification(run, layout):
    clip = toy.attach(run, **SETTINGS[layout])
    assert sum(p.numel() for p in clip.trained().values()) == {"stop": 190_214, "stop_transformer": 252_310}[run]
    toy.compare(clip, NUMBERS[run, layout], SUMS[run, layout], mask=toy.FULL if layout == "release" else toy.PADDED)


@torch.no_grad()
@pytest.mark.parametrize("layout", BETWEEN)
def test_regions_pixels_and_offsets_are_those_of_the_specification(layout):
    clip = toy.attach("stop", **SETTINGS[layout])
    flow = Flow(num_frames=4, read=torch.zeros(2), frame_mask=toy.FULL if layout == "release" else toy.PADDED, patches=16)
    pixels = toy.pixels().flatten(0, 1)
    changed = clip.vision.pixels[0](pixels, flow)
    clip.vision.embedding[0](architecture.begin(clip.model.visual, changed), flow)
    regions, change, offsets = BETWEEN[layout]
    found = [set(flow.memo["regions"][place].nonzero().flatten().tolist()) for place in ((0, 0), (1, 2))]
    assert found == list(regions)
    torch.testing.assert_close((changed - pixels)[0, 0, 0, :4], torch.tensor(change), atol=2e-6, rtol=0)
    for place, prompt, wanted in zip(((0, 0), (1, 2)), (0, 3), offsets, strict=True):
        torch.testing.assert_close(flow.memo["offsets"][place][prompt, :4], torch.tensor(wanted), atol=2e-6, rtol=0)


@torch.no_grad()
def test_convolutions_are_torchs_own_with_padded_frames_at_zero():
    torch.manual_seed(0)
    for channels, out, kernel in ((3, 4, (3, 5, 3)), (1, 2, (5, 1, 3)), (2, 1, (1, 3, 3))):
        conv, frames = FramesConv(channels, out, kernel), torch.randn(2, 4, channels, 6, 5)
        real = frames * toy.PADDED[:, :, None, None, None]
        wanted = F.conv3d(real.transpose(1, 2), conv.weight, conv.bias, padding=tuple(size // 2 for size in kernel))
        torch.testing.assert_close(conv(frames, toy.PADDED), wanted.transpose(1, 2), atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_without_adapters_and_with_zero_last_maps_it_is_dgl_exactly(batch):
    stop, dgl = naive.attach("stop", kernel=3, mlp_adapters=False).eval(), naive.attach("dgl")
    for name, parameter in stop.adapter.named_parameters():
        if name.startswith("vision.in"):
            parameter.mul_(0 if ".lin2." in name else 1)
        else:
            parameter.copy_(dgl.adapter.get_parameter(name))
    frames, mask, captions = batch
    ids = stop.tokenize(captions, num_words=SHAPE.num_words)
    assert torch.equal(stop.encode_frames(frames, mask=mask), dgl.encode_frames(frames, mask=mask))
    assert torch.equal(stop.encode_text(ids), dgl.encode_text(ids))


@torch.no_grad()
def test_an_embedding_depends_on_the_videos_beside_it_if_it_is_scaled_over_the_batch_and_only_then(batch):
    frames, mask, _ = batch
    for norm, sees in (("batch", True), ("video", False)):
        method = methods.load("stop", config={"norm": norm})
        assert methods.sees_batch(method) == sees
        clip = naive.attach("stop", kernel=3, norm=norm).eval()
        single = clip.encode_frames(frames[:1], mask=mask[:1])
        other = float((clip.encode_frames(frames, mask=mask)[:1] - single).abs().max())
        assert other > 1e-3 if sees else other < 1e-5
    assert not methods.sees_batch(methods.load("vop", config={}))


@torch.no_grad()
def test_frames_that_are_alike_have_no_share_and_padded_ones_none_in_it():
    inter = Inter(8, 4, number=2, batch=False)
    flow = Flow(num_frames=3, read=torch.zeros(2), frame_mask=torch.tensor([[1, 1, 0], [1, 0, 0]]).bool(), patches=4)
    flow.memo["regions"] = torch.zeros(2, 3, 4)
    z = torch.randn(2, 3, 1, 4, 8)
    weights = inter._weights(z, flow)
    assert sorted(weights[0, :2].tolist()) == [0, 1] and weights[1, 0] == 0
    z[:, 2:] += 100
    assert torch.equal(inter._weights(z, flow)[:, :2][flow.frames[:, :2]], weights[:, :2][flow.frames[:, :2]])
    assert weights.isfinite().all()


def test_in_training_values_of_the_change_are_dropped_three_times_and_motion_has_no_gradient(batch):
    clip = naive.attach("stop", kernel=3)
    frames, mask, _ = batch
    with torch.no_grad():
        for part in (clip.adapter.vision["intra"].lin2.weight, clip.adapter.vision["intra"].lin2.bias):
            part.copy_(torch.ones_like(part))
        pixels = torch.zeros(12, 3, 32, 32)
        flow = Flow(num_frames=4, read=torch.zeros(3), frame_mask=mask, patches=4)
        kept = (clip.vision.pixels[0](pixels, flow) != 0).float().mean()
        assert float(kept) == pytest.approx(0.25, abs=0.02)
        assert not torch.equal(clip.encode_frames(frames, mask=mask), clip.encode_frames(frames, mask=mask))
        assert torch.equal(clip.eval().encode_frames(frames, mask=mask), clip.encode_frames(frames, mask=mask))
    clip.train().encode_frames(frames, mask=mask).sum().backward()
    found = {name for name, parameter in clip.trained().items() if parameter.grad is None and not name.startswith("adapter.text")}
    assert found == {"adapter.vision.intra.motion.weight", "adapter.vision.intra.motion.bias"}


def test_counts_are_those_of_the_release(base_clip):
    """The whole, and of ViT-B/16: tests/cost/test_table.py."""
    parts = {"adapter.vision.intra": 120_924 + 324 + 1_816, "adapter.vision.inter": 2_362_368 + 20_261 + 869 + 606}
    parts |= {"adapter.vision.intra.motion": 1_816, "adapter.vision.mlp": 599_436, "adapter.text.mlp": 399_756}
    assert {part: naive.count(base_clip, "stop", part=part) for part in parts} == parts
    assert naive.count(base_clip, "stop", mlp_adapters=False) == 3_334_560
    assert naive.count(base_clip, "stop_transformer", mlp_adapters=False) == 12_082_336


def test_motion_is_found_dead_and_so_is_what_makes_prompts_behind_the_text():
    clip = naive.attach("stop", kernel=3, text_layout="release")
    alive = dead_parameters.find_alive(clip, num_frames=4, num_words=12)
    found = {name.removeprefix("adapter.") for name, mask in alive.items() if not mask.any()}
    assert found == {"vision.intra.motion.weight", "vision.intra.motion.bias", "text.postfix.weight", "text.postfix.bias"}


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"norm": "layer"}, "stop: norm is 'layer'; choose one of video, batch"),
        ({"regions": "grid"}, "stop: regions is 'grid'; choose one of patch, modulo"),
        ({"dropout": 1.0}, "stop: dropout is 1.0; give a share from 0 to below 1"),
        ({"kernel": 4}, "stop: kernel is 4; give an odd number of pixels"),
    ],
)
def test_settings_that_cannot_be_are_refused(config, sentence):
    with pytest.raises(ValueError, match=sentence):
        methods.attach(small_clip(), methods.load("stop", config=config), shape=SHAPE)


def test_what_depends_on_the_batch_is_neither_stored_nor_trained_in_pieces(tmp_path, monkeypatch):
    config, clip = {"norm": "batch", "kernel": 3}, naive.attach("stop", kernel=3, norm="batch")
    shape = {"frames": {"number": 4, "size": 32, "grid": "centres"}, "words": 12, "clips": {}}
    header = {"run": "stop", "config": config, "shape": shape, "train": {}, "dataset": "toy", "seed": 0} | checkpoint.described(clip)
    checkpoint.save(tmp_path / "a", clip.trained(), header=header)
    monkeypatch.setattr("pipeline.adapters.encoder.load_backbone", lambda _: small_clip())
    encoder = Encoder(Backbone("small", "x"), device=torch.device("cpu"))
    with pytest.raises(
        ValueError, match="a: embeddings of stop depend on the videos that are embedded with them, so they cannot be stored"
    ):
        encoder.add("a", tmp_path / "a")
    method, settings = (
        methods.load("stop", config=config),
        Training("toy", "stop", config, Train(batch=8, chunk=4), Sampling(), Backbone("a", "b")),
    )
    with pytest.raises(ValueError, match="train.chunk is 4, but embeddings of stop depend on the whole batch of 8; set train.chunk to 0"):
        job._refuse_pieces(settings, method, ALONE)
    whole = replace(settings, train=Train(batch=8))
    job._refuse_pieces(whole, method, ALONE)
    job._refuse_pieces(settings, methods.load("stop", config={}), ALONE)
    with pytest.raises(ValueError, match="there are 2 processes, but embeddings of stop depend on the whole batch"):
        job._refuse_pieces(whole, method, replace(ALONE, size=2))
