"""Opening backbones: what is refused, and with which sentence."""

from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from pipeline.clip import FrozenClip, build, load_backbone
from pipeline.config.schema import Backbone
from tests.conftest import small_clip


@pytest.mark.parametrize("tag", ["openai", "metaclip_400m"])
def test_weights_for_another_activation_are_refused_with_the_right_name(tag):
    with pytest.raises(ValueError, match=r"set backbone.name: ViT-B-32-quickgelu"):
        load_backbone(Backbone("ViT-B-32", tag))


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("RN50-quickgelu", "a ResNet vision tower"),
        ("convnext_base", "backbone convnext_base: its vision tower is a ConvNeXt of timm, no plain ViT"),
        ("xlm-roberta-base-ViT-B-32", "a HF text tower"),
        ("vit_medium_patch16_gap_256", "read by .avg. pooling"),
        ("coca_ViT-B-32", "coca_ViT-B-32 is a CoCa"),
        ("coca_base", "backbone coca_base is a CoCa, .* caption decoder, too; use a plain ViT CLIP"),
        ("hf-hub:laion/CLIP-ViT-B-32", "'hf-hub:laion/CLIP-ViT-B-32' is a place and not an architecture; set backbone.name to its arch"),
        ("local-dir:/nowhere", "'local-dir:/nowhere' is a place and not an architecture"),
        ("ViT-B-32-quikgelu", "open_clip has no model 'ViT-B-32-quikgelu'"),
    ],
)
def test_towers_that_cannot_be_run_block_by_block_are_refused_by_name(name, sentence):
    with pytest.raises(ValueError, match=sentence):
        load_backbone(Backbone(name, "missing.pt"))


def test_without_network_one_sentence_says_which_file_to_put_where(monkeypatch):
    def offline(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(open_clip, "download_pretrained", offline)
    with pytest.raises(ValueError, match=r"ViT-B-32-quickgelu \(.*patch32.*\) could not .* set backbone.weights to its path") as caught:
        load_backbone(Backbone("ViT-B-32-quickgelu", "openai"))
    assert "\n" not in str(caught.value)


def test_an_unknown_tag_lists_the_known_ones():
    with pytest.raises(ValueError, match="it has .*openai"):
        load_backbone(Backbone("ViT-B-32-quickgelu", "opanai"))


def test_every_tag_of_open_clip_is_told_from_a_file_and_only_a_file_has_a_place():
    tags = {tag for _, tag in open_clip.list_pretrained()}
    assert len(tags) > 20 and not [tag for tag in tags if Backbone("x", tag).file]
    assert Backbone("x", "openai").seen_from(Path("/home")) == Backbone("x", "openai")
    there = Backbone("x", "sub/w.safetensors")
    assert there.file == Path("sub/w.safetensors") and there.seen_from(Path("/home")).weights == "/home/sub/w.safetensors"
    assert Backbone("x", "/w.pt").seen_from(Path("/home")).weights == "/w.pt"


def test_a_path_without_an_ending_is_told_from_a_tag_by_its_slash_wherever_it_is_seen_from():
    for weights in ("blobs/0123", "/cache/blobs/0123", "./0123", "0123/"):
        assert Backbone("x", weights).file == Path(weights)
        for folder in (Path("/home"), Path(), Path("sub")):
            assert Backbone("x", weights).seen_from(folder).file == folder / weights
    assert Backbone("x", "0123").file is None


def test_a_missing_a_foreign_and_a_damaged_file_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"there is no file .*none.pt"):
        load_backbone(Backbone("clip-tiny", str(tmp_path / "none.pt")))
    torch.save(small_clip().model.state_dict(), tmp_path / "small.pt")
    with pytest.raises(ValueError, match=r"small.pt does not hold the weights of clip-tiny"):
        load_backbone(Backbone("clip-tiny", str(tmp_path / "small.pt")))
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    with pytest.raises(ValueError, match="cut.safetensors"):
        load_backbone(Backbone("clip-tiny", str(tmp_path / "cut.safetensors")))


def test_positions_of_another_resolution_are_refused_not_stretched(tmp_path):
    state = build("clip-tiny").state_dict()
    state["visual.positional_embedding"] = torch.zeros(26, 128)
    torch.save(state, tmp_path / "larger.pt")
    with pytest.raises(ValueError, match=r"larger.pt .* visual.positional_embedding has the shape \(26, 128\), expected \(17, 128\)"):
        load_backbone(Backbone("clip-tiny", str(tmp_path / "larger.pt")))


def test_a_pickle_that_asks_for_code_is_refused_and_not_run(tmp_path):
    target = tmp_path / "owned"

    class Evil:
        def __reduce__(self):
            return open, (str(target), "w")

    torch.save({"model": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(ValueError, match="evil.pt"):
        load_backbone(Backbone("clip-tiny", str(tmp_path / "evil.pt")))
    assert not target.exists()


def test_the_tiny_clip_and_a_file_of_weights_go_through_the_same_door(tmp_path):
    torch.manual_seed(0)
    model = build("clip-tiny")
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    clip = load_backbone(Backbone("clip-tiny", str(tmp_path / "w.safetensors")))
    assert clip.digest == FrozenClip(model, name="clip-tiny").digest
    assert (clip.image_size, clip.context_length, len(clip.vision.blocks), clip.vision.width) == (64, 32, 4, 128)


def test_the_digest_changes_with_any_weight():
    one, other = small_clip(), small_clip()
    assert one.digest == other.digest
    with torch.no_grad():
        other.model.visual.ln_post.bias[3] += 1e-3
    assert FrozenClip(other.model, name="small").digest != one.digest


def test_truncation_keeps_the_end_of_text(clip):
    long = "red star " * 20
    ids = clip.tokenize([long], num_words=10)
    assert ids.shape == (1, 10) and ids[0, -1] == 49407


def test_a_precision_that_is_none_is_refused_before_anything_is_computed():
    with pytest.raises(ValueError, match="precision is '5'; choose one of float32, bfloat16, float16"):
        small_clip().compute_in("5")
