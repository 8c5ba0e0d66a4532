"""What the contract is tested with: each method as it is (new ones join by existing), and options that change what is attached."""

from pipeline import methods

SHAPE = methods.Shape(num_frames=4, num_words=12)

OPTIONS = {
    "partial": [{"blocks": 2}],
    "full_finetune": [{"train_logit_scale": False}],
    "adapter_attn": [{"placement": "sequential"}],
    "adapter_ffn": [{"placement": "sequential"}, {"activation": "gelu"}],
    "lora": [{"targets": ["q", "v"]}, {"targets": ["k", "out", "fc", "proj"], "alpha": 16.0}],
    "video_text_adapter": [{"conv_bias": True}],
    "st_adapter": [{"text": "frozen"}],
    "convpass": [{"text": "frozen"}],
    "aim": [{"text": "frozen"}, {"position": True}],
    "cm_adapter": [{"shared": 6}, {"shared": 6, "pooling": "query"}],
    "clip4clip_transformer": [{"start": "random", "layers": 2}],
    "cached_head": [{"text": "prefix", "prefix": 4}, {"text": "frozen", "layers": 2}],
    "vop": [
        {"text_layout": "release"},
        {"depth": 2},
        {"visual_prompts": 0},
        {"text_prompts": 0},
        {"visual_prompts": 3, "text_prompts": 5},
        {"function": True, "shallow": 0},
    ],
    "vop_p": [{"specific_prompts": 8}],
    "vop_c": [{"context": "lstm"}, {"context": "transformer"}, {"specific_prompts": 2}],
    "vop_f": [{"shallow": 1}],
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
    ],
}


def cases():
    """(name, config) of all of them."""
    return [(name, config) for name in methods.names() for config in ({}, *OPTIONS.get(name, []))]


def title(case):
    name, config = case
    return name + "".join(f"-{key}={value}" for key, value in config.items())
