"""A CLIP of two blocks with random weights, and files of it in the forms in which people have weights."""

import json
import warnings

import open_clip
import torch

NAME = "two-blocks"
SHAPE = {
    "embed_dim": 32,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "head_width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 12, "vocab_size": 100, "width": 64, "heads": 1, "layers": 2},
}
BUFFERS = {"input_resolution": torch.tensor(32), "context_length": torch.tensor(12), "vocab_size": torch.tensor(100)}


def architecture(folder):
    """Make the architecture known to open_clip, by a file in `folder` that has to stay."""
    if NAME not in open_clip.list_models():
        (folder / f"{NAME}.json").write_text(json.dumps(SHAPE))
        open_clip.add_model_config(folder / f"{NAME}.json")


def random_model():
    torch.manual_seed(3)
    made = open_clip.CLIP(**SHAPE).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return made


def hugging_face(state):
    """The names and layouts of transformers' CLIPModel, as its save_pretrained writes them; old versions stored position_ids, too."""
    blocks = {
        "ln_1": "layer_norm1",
        "ln_2": "layer_norm2",
        "attn.out_proj": "self_attn.out_proj",
        "mlp.c_fc": "mlp.fc1",
        "mlp.c_proj": "mlp.fc2",
    }
    made = {
        "logit_scale": state["logit_scale"],
        "text_projection.weight": state["text_projection"].T.contiguous(),
        "visual_projection.weight": state["visual.proj"].T.contiguous(),
        "text_model.embeddings.token_embedding.weight": state["token_embedding.weight"],
        "text_model.embeddings.position_embedding.weight": state["positional_embedding"],
        "text_model.embeddings.position_ids": torch.arange(12)[None],
        "vision_model.embeddings.class_embedding": state["visual.class_embedding"],
        "vision_model.embeddings.patch_embedding.weight": state["visual.conv1.weight"],
        "vision_model.embeddings.position_embedding.weight": state["visual.positional_embedding"],
        "vision_model.embeddings.position_ids": torch.arange(5)[None],
    }
    for kind in ("weight", "bias"):
        made |= {
            f"text_model.final_layer_norm.{kind}": state[f"ln_final.{kind}"],
            f"vision_model.pre_layrnorm.{kind}": state[f"visual.ln_pre.{kind}"],
            f"vision_model.post_layernorm.{kind}": state[f"visual.ln_post.{kind}"],
        }
        for layer in range(2):
            for ours, theirs in (("", "text_model"), ("visual.", "vision_model")):
                block, place = f"{ours}transformer.resblocks.{layer}", f"{theirs}.encoder.layers.{layer}"
                for part, value in zip("qkv", state[f"{block}.attn.in_proj_{kind}"].chunk(3), strict=True):
                    made[f"{place}.self_attn.{part}_proj.{kind}"] = value.clone()
                made |= {f"{place}.{new}.{kind}": state[f"{block}.{old}.{kind}"] for old, new in blocks.items()}
    return made


def archive_of(model, file, *, half=True):
    """As OpenAI's ViT-B-32.pt: the whole model traced, its sizes beside the weights, in float16."""
    whole = open_clip.CLIP(**SHAPE).eval()
    whole.load_state_dict(model.state_dict())
    for name, value in BUFFERS.items():
        vars(whole).pop(name, None)
        whole.register_buffer(name, value)
    vars(whole)["attn_mask"] = whole._buffers.pop("attn_mask")  # OpenAI's is no buffer
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(whole, (torch.zeros(1, 3, 32, 32), torch.ones(1, 12, dtype=torch.long)))
        torch.jit.save(traced.half() if half else traced, str(file))
