"""params.yaml: a typo is an error with its place and a suggestion."""

import re
from pathlib import Path

import pytest

from pipeline import methods
from pipeline.config import registry, resolve, schema
from pipeline.config.params import check, known_files, load_params
from pipeline.config.resolve import config_of, train_of
from pipeline.rules import transfer

ROOT = Path(__file__).parents[2]
FILES = [ROOT / "params.yaml", ROOT / "tests/workflow/params.yaml"]


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_the_shipped_files_are_valid(file):
    checked = load_params(file)
    known_files(checked, ROOT / "pipeline")
    for name in checked.methods:
        methods.load(name, config=config_of(checked, name))


RUN = {"datasets": ["motion"], "methods": ["vop"], "seeds": [0]}


def changed(**parts):
    base = {
        "run": RUN,
        "datasets": {"motion": {}},
        "backbone": {"name": "clip-tiny", "weights": "x.pt"},
        "methods": {"vop": {}},
    }
    return base | parts


TRANSFER = {
    "run": RUN | {"methods": ["zero_shot"], "transfer": ["mine"]},
    "methods": {"zero_shot": {}},
    "datasets": {"motion": {}, "mine": {}},
}


def test_a_dataset_is_not_its_own_transfer_and_one_that_is_only_tested_is_read():
    params = check(changed(**TRANSFER | {"run": TRANSFER["run"] | {"transfer": ["mine", "motion", "mine"]}}))
    assert resolve.tested(params, "motion") == ["mine"] and resolve.read(params) == ["motion", "mine"]
    assert resolve.transfer(params).score == params.score
    assert resolve.read(check(changed())) == ["motion"]
    with pytest.raises(ValueError, match=r"run.transfer names mine, motion, mine, and DVC has no stage for it; .*stages\.dvc record"):
        transfer.refuse(params)
    transfer.refuse(check(changed()))


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({"run": RUN | {"transfer": ["msvd"]}}, "run.transfer names 'msvd'; datasets has entries for: motion"),
        ({"run": RUN | {"transfer": ["motion"]}}, "what a training has kept is told against zero_shot; add it to run.methods"),
        (TRANSFER | {"run": TRANSFER["run"] | {"transfer": ["motion"]}}, "run.transfer names no other dataset than run.datasets, motion"),
        (
            TRANSFER | {"datasets": {"motion": {}, "mine": {"frames": {"number": 8}}}},
            "datasets.mine.frames.number is 8 and datasets.motion.frames.number 12; .* with the same frames and words",
        ),
        (TRANSFER | {"datasets": {"motion": {}, "mine": {"words": 8}}}, "datasets.mine.words is 8 and datasets.motion.words 32"),
        ({"trian": {}}, r"unknown key 'trian'; did you mean 'train'\?"),
        ({"train": {"epoch": 3}}, r"train: unknown key 'epoch'; did you mean 'epochs'\?"),
        ({"datasets": {"motion": {"frames": {"numbr": 4}}}}, r"datasets.motion: frames: unknown key 'numbr'; did you mean 'number'\?"),
        ({"methods": {"vop": {"train": {"lrr": 1}}}}, r"methods.vop.train: unknown key 'lrr'; did you mean 'lr'\?"),
        ({"train": {"lr": "fast"}}, r"params.yaml: .*fast.*\(key 'train.lr'\)"),
        ({"train": {"gradient_accumulation": 4}}, r"train.gradient_accumulation: gradients added up .* fewer negatives; set train.chunk"),
        ({"methods": {"vop": {"train": {"accumulate": 4}}}}, r"methods.vop.train.accumulate: .*; set methods.vop.train.chunk"),
        ({"train": {"precision": "half"}}, "train: precision is 'half'; choose one of auto, float32, bfloat16, float16"),
        ({"cache": {"dtype": "half"}}, "cache: dtype is 'half'; choose one of float16, float32, bfloat16"),
        ({"datasets": {"motion": {"clips": {"pixels": "round"}}}}, "motion: clips: pixels is 'round'; choose one of square, stored"),
        ({"datasets": {"motion": {"frames": {"grid": "middle"}}}}, "motion: frames: grid is 'middle'; choose one of centres, clip4clip"),
        ({"train": {"store": "frame"}}, "train: store is 'frame'; choose one of auto, frames, clips, all, or a number of blocks"),
        ({"train": {"text_store": "frames"}}, "text_store is 'frames'; choose one of auto, captions, all, or a number of blocks"),
        ({"machine": {"gpus": 0}}, "machine: gpus is 0; the least is 1"),
        ({"train": {"validate_every": 0}}, "train: validate_every is 0; the least is 1"),
        ({"datasets": {"motion": {"clips": {"shard": 0}}}}, "datasets.motion: clips: shard is 0; the least is 1"),
        ({"pretrain": {"pairs": 50}}, "50 pairs do not fill a batch of 128"),
        ({"train": {"half": True, "optimiser": "bert_adam", "precision": "float16"}}, "half already rounds to float16"),
        ({"train": {"betas": [0.9]}}, "give two numbers"),
        ({"train": {"select": "worst"}}, "select is 'worst'; choose one of last, best"),
        ({"train": {"optimiser": "adam"}}, "optimiser is 'adam'; choose one of adamw, bert_adam"),
        ({"train": {"schedule": "linear"}}, "schedule is 'linear'; choose one of cosine, bert"),
        ({"methods": {"vop": {"train": {"decay": "none"}}}}, "methods.vop.train: decay is 'none'; choose one of matrices, all, released"),
        ({"train": {"half": True}}, "methods.vop.train: half needs optimiser: bert_adam, not adamw"),
        ({"train": {"gradient_gain": 0}}, "gradient_gain is 0.0; it must be positive"),
        ({"search": {"gains": [1.0, -2.0]}}, r"search: gains are \[1.0, -2.0\]; all must be positive"),
        ({"search": {"epochs": 0}}, "search: epochs is 0; the least is 1"),
        ({"run": {"datasets": ["motion"], "methods": ["vop"]}}, "'run.seeds' is not set"),
        ({"run": {"datasets": ["motoin"], "methods": ["vop"], "seeds": [0]}}, r"run.datasets names 'motoin'; did you mean 'motion'\?"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(parts, sentence):
    with pytest.raises(ValueError, match=sentence):
        check(changed(**parts))


def test_a_method_overrides_only_what_differs():
    checked = check(changed(train={"epochs": 7, "lr": 0.1}, methods={"vop": {"train": {"lr": 0.2}}}))
    train = train_of(checked, "vop")
    assert (train.epochs, train.lr) == (7, 0.2)


def test_half_storage_is_allowed_with_its_optimiser():
    checked = check(changed(train={"optimiser": "bert_adam"}, methods={"vop": {"train": {"half": True, "decay": "released"}}}))
    assert train_of(checked, "vop", "motion").half
    assert checked.search == schema.Search(gains=[], epochs=3, seed=100)


def test_the_hyperparameters_read_from_a_file_are_those_of_its_dataclass():
    from dataclasses import fields

    for name in methods.names():
        method = type(methods.load(name, config={}))
        assert registry.entries()[name].hyperparameters == [f.name for f in fields(method)]


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        (
            {"captions_extra": {"motion": "x.csv"}},
            "methods.vop: captions_extra is given, but vop does not train with a caption of each frame",
        ),
        ({"captions_extra": {"moton": "x.csv"}}, "methods.vop: captions_extra: unknown dataset 'moton'; did you mean 'motion'?"),
    ],
)
def test_captions_of_frames_are_for_methods_that_read_them_and_datasets_that_there_are(entry, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        known_files(check(changed(methods={"vop": entry})), ROOT / "pipeline")


def test_a_missing_file_says_where_to_run(tmp_path):
    with pytest.raises(ValueError, match=r"there is no .*params.yaml; run from the folder"):
        load_params(tmp_path / "params.yaml")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"run: {datasets: [motion]\ntrain: x\n", r"params\.yaml: line 2: this is no YAML: "),
        (b"train:\n  lr: 1\ntrain:\n  lr: 2\n", r"params\.yaml: line 3: this is no YAML: found duplicate key train"),
        (b"train: *nothing\n", r"params\.yaml: line 1: this is no YAML: found undefined alias"),
        (b"train: !!python/object:os.system {}\n", r"params\.yaml: line 1: this is no YAML: could not determine a constructor"),
        (b"train: gr\xf6sser\n", r"params\.yaml is not UTF-8 text .*; save it as UTF-8"),
        (b"train: a\0b\n", r"params\.yaml is no YAML of settings: unacceptable character"),
        (b"datasets: {null: {}}\n", r"params\.yaml is no YAML of settings: Incompatible key type"),
        (b"- run\n- train\n", r"params\.yaml is no file of settings; it takes sections"),
        (b"run\n", r"params\.yaml: "),
        (b"run: x\n", r"params\.yaml: run is 'x'; it takes keys with values"),
        (b"datasets: [motion]\n", r"params\.yaml: datasets is .*motion.*; it takes keys with values"),
        (b"methods: 3\n", r"params\.yaml: methods is 3; it takes keys with values"),
        (b"run: {datasets: motion}\n", r"params\.yaml: run.datasets is 'motion'; it takes a list of names"),
    ],
)
def test_a_file_that_is_no_yaml_is_one_sentence_with_its_line(tmp_path, content, sentence):
    (tmp_path / "params.yaml").write_bytes(content)
    with pytest.raises(ValueError, match=sentence) as caught:
        load_params(tmp_path / "params.yaml")
    assert type(caught.value) is ValueError and "\n" not in str(caught.value)


def test_a_file_that_an_editor_of_windows_saved_is_read(tmp_path):
    (tmp_path / "params.yaml").write_bytes(b"\xef\xbb\xbf" + (ROOT / "params.yaml").read_bytes().replace(b"\n", b"\r\n"))
    assert load_params(tmp_path / "params.yaml") == load_params(ROOT / "params.yaml")
