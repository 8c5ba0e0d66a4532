"""Recipes: what a source states and what is ours stay apart, and what params.yaml says wins."""

from dataclasses import fields
from pathlib import Path

import pytest

from pipeline import methods
from pipeline.config import recipes, registry
from pipeline.config.params import check, known_files
from pipeline.config.resolve import config_of, train_of

ROOT = Path(__file__).parents[2]
ALL = recipes.load()
PLACES = [(run, dataset) for run, recipe in ALL.items() for dataset in (None, *recipe.datasets)]


def configured(run, *, datasets=None, listed=True, **parts):
    """A configuration with one run. The datasets are as the recipe wants them unless given."""
    datasets = datasets or {"motion": recipes.part(run, "motion").dataset}
    return check(
        {
            "run": {"datasets": list(datasets), "methods": [run] if listed else [], "seeds": [0]},
            "datasets": datasets,
            "backbone": {"name": "clip-tiny", "weights": "x.pt"},
            "methods": {run: {}},
        }
        | parts
    )


@pytest.mark.parametrize(("run", "dataset"), PLACES)
def test_every_recipe_is_a_valid_training(run, dataset):
    part = recipes.part(run, dataset)
    train = train_of(configured(run), run, dataset)
    assert {key: getattr(train, key) for key in part.train} == part.train


@pytest.mark.parametrize(("run", "dataset"), PLACES)
def test_every_recipe_makes_its_method(run, dataset):
    config = recipes.part(run, dataset).config
    assert set(config) <= set(registry.entries()[registry.method_of(run)].hyperparameters)
    methods.load(run, config=config)


def test_every_recipe_names_its_source_and_says_all_of_its_training():
    """A value that a recipe leaves open would come from the section `train` of whoever runs it."""
    assert all(len(recipe.source) > 20 for recipe in ALL.values())
    asked = {"epochs", "batch", "optimiser", "schedule", "decay", "half", "gradient_gain", "weight_decay", "betas", "eps", "warmup"}
    asked |= {"clip_norm", "select", "precision"}
    assert not {run: asked - recipes.part(run).train.keys() for run in ALL if asked - recipes.part(run).train.keys()}
    assert not [run for run in ALL if not {"lr", "clip_lr"} & recipes.part(run).train.keys()]


def test_half_precision_goes_with_its_optimiser_and_several_processes_with_the_released_code():
    trains = {run: recipes.part(run).train for run in ALL}
    assert all(train["optimiser"] == "bert_adam" for train in trains.values() if train["half"])
    assert {run for run, train in trains.items() if train["gradient_gain"] != 1} == {
        "mv_adapter@released", "full_finetune@mv_adapter", "dgl@paper", "dgl_transformer@paper", "stop@paper",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("run", "dataset", "config", "train", "seen"),
    [
        # mv_adapter.md 3 (positions and layers) and 5 (epochs, batches, frames and words)
        ("mv_adapter@paper", "msrvtt", {"cmt_position": "down_in", "cmt_layers": 2}, {"epochs": 5, "batch": 128, "lr": 5e-6}, (12, 32)),
        ("mv_adapter@paper", "lsmdc", {"cmt_position": "down_in", "cmt_layers": 3}, {"epochs": 5, "half": False}, (12, 32)),
        ("mv_adapter@paper", "didemo", {"cmt_layers": 2}, {"epochs": 15, "batch": 64}, (32, 64)),
        ("mv_adapter@paper", "activitynet", {"cmt_layers": 1, "norm_input": False}, {"clip_lr": 1e-7, "batch": 64}, (32, 64)),
        ("mv_adapter@released", "msrvtt", {"cmt_position": "down_out"}, {"half": True, "gradient_gain": 0.125}, (12, 32)),
        ("mv_adapter@released", "msvd", {"cmt_position": "down_in", "cmt_layers": 2}, {"decay": "released"}, (12, 32)),
        ("mv_adapter@released", "didemo", {"cmt_position": "down_out"}, {"schedule": "bert", "epochs": 15}, (32, 64)),
        ("mv_adapter@released", "activitynet", {"cmt_position": "down_in", "cmt_layers": 1, "norm_input": True}, {}, (32, 64)),
        ("mv_adapter@down_up", None, {"temporal": "none", "text_transformer": False, "cmt_position": "none"}, {}, (12, 32)),
        ("mv_adapter@trm", None, {"temporal": "transformer", "cmt_position": "none"}, {}, (12, 32)),
        ("mv_adapter@large", None, {"middle": 128}, {}, (12, 32)),
        ("mv_adapter@cmt_last1", "lsmdc", {"cmt_layers": 1}, {}, (12, 32)),
        ("mv_adapter@no_ta", "activitynet", {"temporal": "none", "cmt_position": "down_in", "cmt_layers": 1}, {}, (32, 64)),
        # vop.md 8: one recipe for all datasets, 77 - 8 tokens
        ("vop@paper", "activitynet", {"visual_prompts": 8, "text_prompts": 8}, {"epochs": 5, "batch": 32, "weight_decay": 0.2}, (12, 69)),
        ("vop_fc@paper", "didemo", {"shallow": 8, "specific_prompts": 4}, {"decay": "all", "betas": [0.9, 0.999]}, (12, 69)),
        ("adapter_attn@paper", None, {"middle": 64, "placement": "parallel", "scale": 1.0}, {"batch": 32}, (12, 77)),
        ("partial@paper", None, {"last_blocks": 1}, {"clip_lr": 3e-5}, (12, 77)),
        # peers.md A.2, E and F
        ("clip4clip_full@paper", "didemo", {}, {"lr": 1e-4, "clip_lr": 1e-7, "batch": 128, "half": True}, (64, 64)),
        ("lora@tempme", None, {"rank": 8, "targets": ["q", "k", "v"]}, {"lr": 6e-4, "warmup": 0.1, "batch": 128, "half": False}, (12, 32)),
        # tempme_discovla.md 7.1
        ("tempme@paper", None, {"joins": [8, 9, 10], "factors": [2, 2, 3]}, {"lr": 6e-4, "decay": "all", "betas": [0.9, 0.999]}, (12, 32)),
        ("discovla@paper", None, {"captions_extra": True, "vision_layers": 4}, {"clip_norm": 4.0, "captions": "all"}, (12, 32)),
        ("discovla@videos", None, {"captions_extra": False}, {"warmup": 0.1, "batch": 128, "epochs": 5}, (12, 32)),
        # dgl_stop.md 6
        (
            "dgl@paper",
            "msrvtt",
            {"latent": "linear", "text_prompts": 8},
            {"lr": 2e-3, "batch": 512, "epochs": 5, "weight_decay": 0.2},
            (12, 32),
        ),
        ("dgl_transformer@paper", "lsmdc", {"latent": "transformer"}, {"lr": 1e-2, "epochs": 10, "decay": "released"}, (12, 32)),
        ("dgl_transformer@paper", "activitynet", {"read": "first"}, {"lr": 1e-2, "batch": 128, "epochs": 10}, (64, 64)),
        ("stop@paper", "msrvtt", {"latent": "transformer", "norm": "video"}, {"lr": 1e-3, "batch": 128, "betas": [0.9, 0.98]}, (12, 32)),
        ("cm_adapter@paper", "activitynet", {"rank": 16, "shared": 512, "pooling": "query"}, {"epochs": 20, "lr": 1e-5}, (64, 64)),
    ],
)
def test_values_are_those_of_the_specifications(run, dataset, config, train, seen):
    part = recipes.part(run, dataset)
    assert config.items() <= part.config.items() and train.items() <= part.train.items()
    assert (part.dataset["frames"]["number"], part.dataset["words"]) == seen


def test_what_was_inferred_is_not_stated():
    paper, released = ALL["mv_adapter@paper"], ALL["mv_adapter@released"]
    assert "clip_lr" in paper.ours.train and "clip_biases" in paper.ours.config
    assert "gradient_gain" in released.ours.train and "half" in released.stated.train
    assert all("lr" in ALL[run].ours.train for run in ALL if run.startswith("vop"))
    robust = ALL["mv_adapter@robust"]
    assert robust.stated == recipes.Part() and not robust.ours.dataset


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Writes a file into a folder of recipes that takes the place of the shipped one."""
    monkeypatch.setattr(recipes, "FOLDER", tmp_path)
    return lambda text, name="some.yaml": (tmp_path / name).write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a@b: {stated: {}}", "recipes/some.yaml: a@b: 'source' is not set"),
        ("a@b: {source: s, statd: {}}", r"recipes/some.yaml: a@b: unknown key 'statd'; did you mean 'stated'\?"),
        ("a@b: {source: s, ours: {confg: {}}}", r"recipes/some.yaml: a@b: ours: unknown key 'confg'; did you mean 'config'\?"),
        ("a@b: {source: s, datasets: {msrvt: {}}}", r"recipes/some.yaml: a@b: unknown dataset 'msrvt'; did you mean 'msrvtt'\?"),
        ("a@b: {source: s, datasets: {msvd: {our: {}}}}", r"a@b: datasets.msvd: unknown key 'our'; did you mean 'ours'\?"),
        ("a@b: {source: s, stated: {train: {lr: 1}}, ours: {train: {lr: 1}}}", "a@b: train.lr is both stated and ours; keep one"),
        (
            "a@b: {source: s, datasets: {msvd: {stated: {dataset: {frames: {number: 1}}}, ours: {dataset: {frames: {number: 2}}}}}}",
            "a@b: datasets.msvd: dataset.frames.number is both stated and ours",
        ),
    ],
)
def test_what_is_wrong_in_a_recipe_is_named_with_its_file(written, text, sentence):
    written(text)
    with pytest.raises(ValueError, match=sentence):
        recipes.load()


def test_a_run_in_two_files_is_refused(written):
    written("a@b: {source: s}", "one.yaml")
    written("a@b: {source: s}", "two.yaml")
    with pytest.raises(ValueError, match="recipes/two.yaml: a@b is in recipes/one.yaml as well"):
        recipes.load()


def test_the_block_of_a_dataset_goes_over_the_recipe_and_into_nested_values(written):
    text = """
    a@b:
      source: s
      stated: {config: {x: 1, y: 1}, dataset: {words: 32, frames: {number: 12, grid: xpool}}}
      ours: {train: {lr: 1}}
      datasets: {didemo: {stated: {dataset: {frames: {number: 64}}, train: {lr: 2}}, ours: {config: {y: 2}}}}
    """
    written(text)
    assert recipes.part("a@b", "didemo") == recipes.Part(
        {"x": 1, "y": 2}, {"lr": 2}, {"words": 32, "frames": {"number": 64, "grid": "xpool"}}
    )
    assert recipes.part("a@b", "msvd") == recipes.part("a@b")
    assert recipes.part("a@b").dataset["frames"] == {"number": 12, "grid": "xpool"}
    assert recipes.part("a@c", "didemo") == recipes.Part()


def test_params_yaml_goes_over_the_recipe_and_the_recipe_over_the_shared_section():
    run = "mv_adapter@paper"
    entry = {"config": {"heads": 4, "cmt_layers": 1}, "train": {"epochs": 1}}
    checked = configured(run, methods={run: entry}, train={"batch": 9, "lr": 0.5, "validate_every": 4})
    train = train_of(checked, run, "didemo")
    assert (train.epochs, train.batch, train.lr, train.validate_every) == (1, 64, 5e-6, 4)
    config = config_of(checked, run, "activitynet")
    assert (config["heads"], config["cmt_layers"], config["cmt_position"]) == (4, 1, "down_in")


def test_a_run_that_says_nothing_and_has_no_recipe_is_refused():
    with pytest.raises(ValueError, match=r"no recipe for 'mv_adapter@papr'; did you mean 'mv_adapter@paper'\? recipes/ has: mv_adapter@"):
        configured("mv_adapter@papr")
    with pytest.raises(ValueError, match=r"did you mean 'mv_adapter@paper'\?"):
        configured("mv_adaptr@paper")
    configured("mv_adapter@long", methods={"mv_adapter@long": {"train": {"epochs": 9}}})


def test_a_dataset_that_the_recipe_was_not_made_with_is_refused_with_the_key_to_change():
    frames = {"words": 32, "frames": {"number": 4}}
    with pytest.raises(
        ValueError, match=r"datasets.motion.frames.number is 4, but .*mv_adapter.yaml: mv_adapter@paper was made with 12; set"
    ):
        configured("mv_adapter@paper", datasets={"motion": frames})
    with pytest.raises(ValueError, match=r"datasets.didemo.words is 32, but .* was made with 64; set datasets.didemo.words: 64"):
        configured("mv_adapter@paper", datasets={"didemo": {"words": 32, "frames": {"number": 32}}})
    # Without being asked for it does no harm, and what asks nothing of the dataset runs on any.
    configured("mv_adapter@paper", datasets={"motion": frames}, listed=False)
    configured("mv_adapter@robust", datasets={"motion": frames})


@pytest.mark.parametrize(
    ("part", "sentence"),
    [
        ("train: {epoch: 3}", r"recipes/some.yaml: vop@x: train: unknown key 'epoch'; did you mean 'epochs'\?"),
        ("dataset: {frames: {numbr: 3}}", r"recipes/some.yaml: vop@x: dataset: frames: unknown key 'numbr'; did you mean 'number'\?"),
        ("config: {depht: 3}", r"recipes/some.yaml: vop@x: config: unknown key 'depht'; did you mean 'depth'\?"),
    ],
)
def test_a_key_that_nothing_reads_is_named_with_the_recipes_file(written, part, sentence):
    written(f"vop@x: {{source: s, stated: {{{part}}}}}")
    with pytest.raises(ValueError, match=sentence):
        known_files(configured("vop@x", datasets={"motion": {}}), ROOT / "pipeline")


def test_the_datasets_are_those_with_a_file_of_their_own(tmp_path):
    assert {"motion", "msrvtt"} < set(registry.datasets()) and set(registry.datasets()).isdisjoint({"__init__", "folder"})
    for name in ("__init__", "folder", "two", "one"):
        (tmp_path / f"{name}.py").touch()
    assert registry.datasets(tmp_path) == ["one", "two"]


def test_a_part_of_a_recipe_has_three_sections():
    assert {entry.name for entry in fields(recipes.Part)} == {"config", "train", "dataset"}
