"""Every architecture of open_clip, cut to two narrow layers, gives open_clip's own features of picture and caption, or it is refused."""

import functools
import re

import numpy as np
import open_clip
import pytest
import timm
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from pipeline.clip import FrozenClip, architecture, loading
from pipeline.config.schema import Backbone
from pipeline.video.sample import square

WORDS = 1000  # of a token table, which is most of what a model takes and changes nothing
SIZE = {"embed_dim": 64, "num_heads": 2, "depth": 2}
for tiny in ("clip-tiny", "clip-tiny-siglip", "clip-tiny-pe"):
    loading.build(tiny)
NAMES = sorted(open_clip.list_models())
REASONS = (
    "a HF text tower cannot be run",
    "is a CoCa",
    "a ResNet vision tower has no blocks",
    "pooling 'avg'.*, which the block loop does not reproduce",
    r"its vision tower is a \w+ of timm, no plain ViT",
    r"its vision tower is read by '\w+' pooling",
    r"its vision tower has (blocks|attention|MLPs|rotary positions) of the kind \w+",
)
RUNS = 70  # at least: all plain ViTs, MetaCLIP 2, SigLIP, PE-Core, EVA-01 and 02, MobileCLIP's ViTs, clip-tiny and its sisters


@pytest.fixture(autouse=True)
def small_timm(monkeypatch):
    """Two narrow layers of timm's towers, where a tower's kind has them as options."""
    plain = timm.create_model

    def narrow(name, **options):
        try:
            return plain(name, **SIZE | options)
        except (AssertionError, TypeError, RuntimeError):  # a stem of fixed width, or stages
            return plain(name, **options)

    monkeypatch.setattr(timm, "create_model", narrow)


def small(name):
    """The configuration of an architecture with two narrow layers."""
    config = open_clip.get_model_config(name)
    loading.refuse(name, config)
    config["text_cfg"] |= {"layers": 2, "width": 64, "heads": 2, "vocab_size": WORDS}
    if not config["vision_cfg"].get("timm_model_name"):
        config["vision_cfg"] |= {"layers": 2, "width": 64, "head_width": 32}
    return config


def made(kind, config):
    with torch.device("meta"):
        model = kind(**{key: value for key, value in config.items() if key in loading.CONFIG_KEYS})
    if hasattr(model.visual, "trunk") and hasattr(model.visual.trunk, "blocks"):
        model.visual.trunk.blocks = model.visual.trunk.blocks[:2]
    return model


def filled(model, seed=0):
    """A model with random weights, of which none is at a convenient zero or one."""
    model = model.to_empty(device="cpu").eval()
    for module in model.modules():
        if hasattr(module, "init_non_persistent_buffers"):
            module.init_non_persistent_buffers()
        if getattr(module, "attn_mask", None) is not None:
            module.attn_mask = torch.full(module.attn_mask.shape, float("-inf")).triu(1)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if not tensor.is_floating_point():
                tensor.zero_()
                continue
            fan = tensor[0].numel() if tensor.ndim in (2, 4) else 25
            tensor.normal_(std=fan**-0.5, generator=generator)
            if re.search(r"(norm|ln|bn)[^.]*\.weight$|running_var$", name):
                tensor.abs_().add_(0.7)
    return model


def ours(reference, config, **given):
    """The weights of a reference in our towers, by the names in a file of them."""
    model = made(open_clip.CLIP, config)
    if hasattr(reference.visual, "trunk"):
        model.visual = reference.visual
        architecture.arrange(model, "ours")
    model.load_state_dict(architecture.renamed(reference.state_dict()), assign=True)
    if model.attn_mask is not None:
        model.attn_mask = torch.full(model.attn_mask.shape, float("-inf")).triu(1)
    return FrozenClip(model, name="ours", **given)


def picture(seed=3):
    """Of odd size, with edges."""
    values = np.random.default_rng(seed).integers(0, 256, (9, 13, 3), np.uint8)
    return Image.fromarray(values).resize((341, 230), Image.Resampling.BILINEAR)


def open_clips(size, tag):
    """The picture as open_clip itself prepares it for weights of a tag."""
    given = PreprocessCfg(size=size, **{k: v for k, v in tag.items() if k in ("mean", "std", "interpolation", "resize_mode")})
    return image_transform_v2(given, is_train=False)(picture())


def apart(found, wanted):
    return float((found - wanted).norm() / wanted.norm())


@functools.cache
def refusal(name):
    """Why an architecture is refused, "" if it runs."""
    try:
        model = made(open_clip.CLIP, small(name))
        if hasattr(model.visual, "trunk"):
            architecture.arrange(model, name)
        FrozenClip(model, name=name)
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_every_architecture_gives_open_clips_own_features_or_is_refused_by_name(name):
    if why := refusal(name):
        assert name in why and any(re.search(reason, why) for reason in REASONS), why
        return
    config = small(name)
    reference = filled(made(open_clip.CustomTextCLIP if config.get("custom_text") else open_clip.CLIP, config))
    tag = next(iter(open_clip.list_pretrained_tags_by_model(name)), "none")
    clip = ours(reference, config, preprocessing=loading.preprocessing(Backbone(name, tag)))
    frames = square(picture(), clip.image_size, resize=clip.resize, interpolation=clip.interpolation)
    frames = torch.from_numpy(np.array(frames)).permute(2, 0, 1)[None, None]
    found = clip.encode_frames(frames, mask=torch.ones(1, 1, dtype=torch.bool))[0]
    assert apart(found, reference.encode_image(open_clips(clip.image_size, open_clip.get_pretrained_cfg(name, tag))[None])) < 1e-5
    ids = clip.tokenize(["word " * 5, "some other words of a caption " * 20], num_words=clip.context_length)
    assert apart(clip.encode_text(ids), reference.encode_text(ids)) < 1e-5
    assert sum(p.numel() for p in clip.model.parameters()) == sum(p.numel() for p in reference.parameters())


def test_most_architectures_run():
    assert sum(not refusal(name) for name in NAMES) >= RUNS
