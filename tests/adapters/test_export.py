"""Exported adapters in the programs that they are for: plain open_clip, and peft on Hugging Face's CLIPModel; and what is refused."""

import json
import sys

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.adapters import checkpoint, export
from pipeline.clip import FrozenClip, load_backbone, weights
from pipeline.config.schema import Backbone
from pipeline.stages import export as stage
from pipeline.stages import guarded
from tests.adapters.files import write_adapter, write_backbone
from tests.conftest import SMALL, make_batch, small_clip
from tests.methods import naive

FOLDED = [
    ("lora", {"targets": ["q", "v", "out", "fc", "proj"], "alpha": 16.0}),
    ("lora", {"shared": False}),
    ("dora", {}),
    ("vera", {"rank": 6}),
    ("pissa", {"rank": 3, "last_blocks": 1}),
    ("bias", {}),
    ("zero_shot", {}),
]


@torch.no_grad()
def outputs(clip):
    frames, mask, captions = make_batch()
    return clip.encode_frames(frames, mask=mask).flatten(0, 1), clip.encode_text(clip.tokenize(captions, num_words=clip.context_length))


def inputs(clip):
    """Normalised pixels and ids, for a model of other people."""
    frames, _, captions = make_batch()
    return (frames.flatten(0, 1).float() / 255 - clip.mean) / clip.std, clip.tokenize(captions, num_words=clip.context_length)


@pytest.mark.parametrize(("run", "config"), FOLDED)
def test_plain_open_clip_loads_what_is_written_and_gives_the_same_features(tmp_path, run, config):
    (tmp_path / "small.json").write_text(json.dumps(SMALL))
    open_clip.add_model_config(tmp_path / "small.json")
    clip = naive.attach(run, **config)
    expected = outputs(clip)
    export.write_open_clip(clip, tmp_path / "made" / "merged.safetensors", run=run)
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["merged.safetensors"]
    model = open_clip.create_model("small", pretrained=str(tmp_path / "made" / "merged.safetensors")).eval()
    pixels, ids = inputs(clip)
    with torch.no_grad():
        found = model.encode_image(pixels), model.encode_text(ids)
    for ours, theirs, plain in zip(expected, found, outputs(small_clip()), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
        assert torch.allclose(theirs, plain, atol=1e-3) == (run == "zero_shot")


@pytest.mark.parametrize(
    ("run", "how", "said"),
    [
        ("mv_adapter", export.write_open_clip, "mv_adapter folds not into the weights of CLIP, but stands beside them, so that open_clip"),
        ("tempme", export.write_open_clip, "tempme folds only in part into the weights of CLIP, so that open_clip cannot run it; use"),
        ("dora", export.write_peft, "dora is not a low-rank change of weights alone, which peft's LoRA is; leave out --format peft"),
        ("bias", export.write_peft, "bias is not a low-rank change"),
        ("tempme", export.write_peft, "tempme is not a low-rank change"),
    ],
)
def test_what_cannot_be_written_so_is_one_sentence_and_no_file(tmp_path, run, how, said):
    with pytest.raises(ValueError, match=said):
        how(naive.attach(run), tmp_path / "out.safetensors", run=run)
    assert not list(tmp_path.iterdir())


def test_a_name_that_open_clip_would_misread_and_a_tower_of_timm_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"--out is .*merged.pt; .* give a name that ends in .safetensors"):
        export.write_open_clip(naive.attach("lora"), tmp_path / "merged.pt", run="lora")
    for how in (export.write_open_clip, export.write_peft):
        with pytest.raises(ValueError, match="small-siglip has a vision tower of timm, whose names no export writes"):
            how(naive.attach("lora", small_clip(family="siglip")), tmp_path / "a.safetensors", run="lora")
    assert not list(tmp_path.iterdir())


def test_a_and_b_of_each_map_are_those_of_its_rows(tmp_path):
    clip = naive.attach("lora", targets=["q", "v", "fc"], rank=2, alpha=6.0, last_blocks=1)
    export.write_peft(clip, tmp_path / "lora", run="lora")
    found, settings = (
        load_file(tmp_path / "lora/adapter_model.safetensors"),
        json.loads((tmp_path / "lora/adapter_config.json").read_text()),
    )
    assert (settings["peft_type"], settings["r"], settings["lora_alpha"]) == ("LORA", 2, 2)
    maps = [f"{t}_model.encoder.layers.2.{m}" for t in ("text", "vision") for m in ("mlp.fc1", "self_attn.q_proj", "self_attn.v_proj")]
    assert settings["target_modules"] == maps and len(found) == 2 * len(maps)
    change, first = clip.adapter["vision"]["2"]["qkv"], "base_model.model.vision_model.encoder.layers.2.self_attn."
    for name, rows in (("q_proj", slice(0, 32)), ("v_proj", slice(32, 64))):
        assert torch.equal(found[f"{first}{name}.lora_A.weight"], change.down)
        torch.testing.assert_close(found[f"{first}{name}.lora_B.weight"], 3 * change.up[rows])


@pytest.fixture
def hugging_face(tmp_path):
    """A random CLIPModel, and ours with its weights."""
    reason = "needs the packages peft and transformers: pip install -e '.[peft]'"
    transformers = pytest.importorskip("transformers", reason=reason)
    pytest.importorskip("peft", reason=reason)
    torch.manual_seed(0)
    shared = {"num_hidden_layers": 3, "num_attention_heads": 2, "hidden_act": "quick_gelu"}
    text = {"hidden_size": 16, "intermediate_size": 64, "vocab_size": 49408, "max_position_embeddings": 20, "eos_token_id": 49407}
    vision = {"hidden_size": 32, "intermediate_size": 128, "image_size": 32, "patch_size": 16}
    config = transformers.CLIPConfig(text_config=text | shared, vision_config=vision | shared, projection_dim=16)
    theirs = transformers.CLIPModel(config).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    save_file(theirs.state_dict(), tmp_path / "theirs.safetensors")
    model = open_clip.CLIP(**SMALL)
    model.load_state_dict(weights.read(tmp_path / "theirs.safetensors")[0])
    return theirs, FrozenClip(model, name="small")


@pytest.mark.parametrize(
    ("run", "config"), [*FOLDED[:2], FOLDED[3], FOLDED[4], ("lora", {"targets": ["k"]}), ("lora", {"last_blocks": 2, "rank": 3})]
)
def test_peft_loads_what_is_written_onto_hugging_faces_model_and_gives_the_same_features(tmp_path, hugging_face, run, config):
    import peft

    theirs, clip = hugging_face
    naive.attach(run, clip, **config)
    export.write_peft(clip, tmp_path / "lora", run=run)
    pixels, ids = inputs(clip)
    model = peft.PeftModel.from_pretrained(theirs, tmp_path / "lora").eval().get_base_model()
    with torch.no_grad():
        found = [model.get_image_features(pixel_values=pixels), model.get_text_features(input_ids=ids)]
    found = [getattr(one, "pooler_output", one) for one in found]
    expected = outputs(clip)
    clip.detach_all()
    for ours, those, plain in zip(expected, found, outputs(clip), strict=True):
        torch.testing.assert_close(ours, those, atol=2e-5, rtol=1e-4)
        assert not torch.allclose(those, plain, atol=1e-3)


def test_the_command_writes_both_and_what_it_refuses_is_one_sentence(tmp_path, monkeypatch, capsys):
    file = write_backbone(tmp_path / "weights.safetensors")
    for run in ("vera", "vop"):
        write_adapter(tmp_path / f"{run}.safetensors", file, run)

    def command(run, *more):
        words = ["export", "--adapter", tmp_path / f"{run}.safetensors", "--weights", file, *more]
        monkeypatch.setattr(sys, "argv", list(map(str, words)))
        guarded(stage.main)
        return capsys.readouterr().out

    assert command("vera", "--out", tmp_path / "a.safetensors").endswith("a.safetensors: vera on clip-tiny, for open_clip\n")
    command("vera", "--out", tmp_path / "folder", "--format", "peft")
    assert {path.name for path in (tmp_path / "folder").iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    merged, clip = (load_backbone(Backbone("clip-tiny", str(path))) for path in (tmp_path / "a.safetensors", file))
    source = tmp_path / "vera.safetensors"
    checkpoint.attach(clip, checkpoint.parts(checkpoint.read_header(source), source), source)
    ids = clip.tokenize(["a dog", "a cat runs"], num_words=12)
    with torch.no_grad():
        torch.testing.assert_close(merged.encode_text(ids), clip.encode_text(ids), atol=1e-5, rtol=1e-5)
    with pytest.raises(SystemExit, match="^error: vop folds not into the weights of CLIP, but stands beside them"):
        command("vop", "--out", tmp_path / "b.safetensors")
    assert not (tmp_path / "b.safetensors").exists()
