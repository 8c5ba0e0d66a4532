"""The cases of the contract: each method as it is (new ones join by existing), and options that change what is attached."""

from pipeline import methods
from pipeline.config import registry

SHAPE = methods.Shape(num_frames=4, num_words=12)
# A CLIP as small as these cases allow: three blocks a tower.
SMALL = {
    "embed_dim": 16,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "layers": 3, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 20, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 3},
}

OPTIONS = {
    "partial": [{"last_blocks": 2}, {"last_blocks": None}],
    "full_finetune": [{"train_logit_scale": False}],
    "adapter_attn": [{"placement": "sequential"}],
    "adapter_ffn": [{"placement": "sequential"}, {"activation": "gelu"}],
    "lora": [
        {"targets": ["q", "v"]},
        {"targets": ["k", "out", "fc", "proj"], "alpha": 16.0},
        {"targets": ["q", "v", "fc"], "shared": False, "alpha": 2.0, "rslora": True},
    ],
    "dora": [{"targets": ["q", "v", "out", "fc", "proj"], "alpha": 16.0}],
    "vera": [{"targets": ["k", "v", "out", "fc", "proj"], "rank": 16}],
    "pissa": [{"targets": ["q", "v", "out", "fc", "proj"], "rank": 3}],
    "video_text_adapter": [{"conv_bias": True}],
    "st_adapter": [{"text": "frozen"}],
    "convpass": [{"text": "frozen"}],
    "aim": [{"text": "frozen"}, {"position": True}, {"last_blocks": 1}, {"position": True, "last_blocks": 2}],
    "cm_adapter": [{"shared": 6}, {"shared": 6, "pooling": "query"}, {"shared": 6, "last_blocks": 1}],
    "clip4clip_transformer": [{"start": "random", "layers": 2}],
    "cached_head": [{"text": "prefix", "prefix": 4}, {"text": "frozen", "layers": 2}],
    "dgl": [
        {"text_layout": "release"},
        {"read": "globals", "global_prompts": 2},
        {"read": "frames", "local_prompts": 2, "text_prompts": 4},
        {"last_blocks": 1},
    ],
    "dgl_transformer": [{"text_layout": "release", "text_prompts": 4}, {"read": "both", "last_blocks": 2}],
    "stop": [{"text_layout": "release", "regions": "modulo", "mlp_adapters": False}],
    "vop": [
        {"text_layout": "release"},
        {"depth": 2},
        {"visual_prompts": 0},
        {"text_prompts": 0},
        {"visual_prompts": 3, "text_prompts": 5},
        {"function": True, "shallow": 0},
        {"last_blocks": 1},
        {"last_blocks": 2, "visual_prompts": 3, "text_prompts": 5},
    ],
    "vop_p": [{"specific_prompts": 8}, {"last_blocks": 1}, {"last_blocks": 2}],
    "vop_c": [{"context": "lstm"}, {"context": "transformer"}, {"specific_prompts": 2}],
    "vop_f": [{"shallow": 1}, {"last_blocks": 1}, {"last_blocks": 2}, {"last_blocks": 2, "shallow": 1}],
    "vop_fp": [{"last_blocks": 2}],
    "vop_fc": [{"last_blocks": 2}],
    "tempme": [{"positions": False, "size_bias": False, "joins": [1, 2]}, {"factors": []}, {"factors": [4], "last_blocks": 2}],
    "zero_i2v": [{"text": "frozen", "heads": 1, "scale": 0.5}],
    "sherl": [{"gates": False, "zero_start": True}, {"taps": [1, 3]}],
    "coupled_prompts": [{"rank": 4, "prompts": 5, "layers": 2}],
    "discovla": [{"captions_extra": True, "distill_weight": 0.01}, {"last_blocks": 1}],
    "mv_adapter": [
        {"temporal": "none", "text_transformer": False, "cmt_position": "none"},
        {"temporal": "transformer", "cmt_position": "none"},
        {"cmt_position": "none"},
        {"video": False, "cmt_position": "none"},
        {"text": False, "cmt_position": "none"},
        {"cmt_position": "down_out"},
        {"cmt_position": "up_in"},
        {"cmt_position": "up_out"},
        {"cmt_layers": 3, "cmt_dim": 8},
        {"calibrate": "patches"},
        {"calibrate": "both"},
        {"cc": False},
        {"norm_input": True},
        {"clip_biases": False},
        {"last_blocks": 1, "cmt_layers": 1},
        {"last_blocks": 2, "calibrate": "both"},
        {"anchor": "patches"},
    ],
}
# Of these, what touches the token that stands for a frame, is read at the end, or has a place in the grid: run on other families too.
ANCHORED = {
    "aim": [{"last_blocks": 1}],
    "cached_head": [{"text": "prefix", "prefix": 4}],
    "dgl": [{"read": "frames", "local_prompts": 2, "text_prompts": 4}],
    "vop": [{"text_layout": "release"}, {"depth": 2}, {"function": True, "shallow": 0}, {"last_blocks": 1}],
    "vop_c": [{"context": "transformer"}],
    "vop_f": [{"last_blocks": 1}],
    "mv_adapter": [
        {"temporal": "none", "text_transformer": False, "cmt_position": "none"},
        {"cmt_position": "up_in"},
        {"calibrate": "both"},
        {"last_blocks": 1, "cmt_layers": 1},
    ],
}
# And what a family alone has.
OWN = {"pe": [("mv_adapter", {"anchor": "cls"}), ("vop_c", {"anchor": "pool"})]}
# They need a tower that is read at CLS, and refuse another.
CLS_ALONE = ("discovla", "tempme")
# Sizes that no part of the contract depends on: the convolutions of 11 pixels would take a tenth of its time, side modules as much.
QUICK = {"stop": {"kernel": 3}, "stop_transformer": {"kernel": 3}, "sherl": {"width": 24}, "zero_i2v": {"middle": 8}}
# What these train is not chosen block by block: they refuse `last_blocks`.
WHOLE = ("full_finetune", "clip4clip_full", "proj")


def last():
    """(name, config) of all methods that can be attached to the last blocks only, and so they are."""
    found = [name for name, entry in registry.entries().items() if "last_blocks" in entry.hyperparameters and name not in WHOLE]
    options = {name: [config for config in OPTIONS.get(name, []) if config.get("last_blocks")] for name in sorted(found)}
    return [(name, config) for name, configs in options.items() for config in configs or [{"last_blocks": 1}]]


def cases(family="plain"):
    """(name, config) of all of them, or on another family of each method as it is, and of the options in ANCHORED and OWN."""
    if family != "plain":
        assert all(config in OPTIONS[name] for name, configs in ANCHORED.items() for config in configs)
        there = [name for name in methods.names() if name not in CLS_ALONE]
        return [(name, QUICK.get(name, {}) | config) for name in there for config in ({}, *ANCHORED.get(name, []))] + OWN.get(family, [])
    named = [(name, QUICK.get(name, {}) | config) for name in methods.names() for config in ({}, *OPTIONS.get(name, []))]
    return named + [case for case in last() if case not in named]


def title(case):
    name, config, *family = case
    return "".join(f"{word}:" for word in family if word != "plain") + name + "".join(f"-{key}={value}" for key, value in config.items())
