"""Settings of stages: as text, from a file, and without the values that other rules watch."""

import json
from pathlib import Path

import pytest

from pipeline.config import resolve, settings
from pipeline.config.dataset import Clips, Motion
from pipeline.config.params import load_params

PARAMS = load_params(Path(__file__).parents[1] / "workflow/params.yaml")


def test_settings_survive_the_command_line():
    for part in (
        Clips(short_side=64, fps=5),
        resolve.training(PARAMS, "mv_adapter", "motion", search=True),
        resolve.download(PARAMS, "motion"),
    ):
        assert settings.read(type(part), settings.text(part)) == part


def test_a_file_may_hold_them_and_is_named_where_it_is_wrong(tmp_path):
    path = tmp_path / "clips.json"
    path.write_text(settings.text(Clips(fps=5)))
    assert settings.read(Clips, str(path)) == Clips(fps=5)
    path.write_text('{"fsp": 5}')
    with pytest.raises(ValueError, match=r"clips.json: unknown key 'fsp'; did you mean 'fps'"):
        settings.read(Clips, str(path))
    path.write_text("{")
    with pytest.raises(ValueError, match=r"clips.json is no JSON"):
        settings.read(Clips, str(path))
    with pytest.raises(ValueError, match="neither JSON text in braces nor a file"):
        settings.read(Clips, str(tmp_path / "nowhere.json"))


def test_another_size_of_shards_changes_no_settings_but_those_of_transcoding():
    before = [settings.text(part) for part in parts(PARAMS)]
    assert '"shard"' not in "".join(before)
    changed = load_params(Path(__file__).parents[1] / "workflow/params.yaml")
    changed.datasets["motion"].clips.shard = 7
    assert [settings.text(part) for part in parts(changed)] == before


def parts(params):
    return [make(params, "motion") for make in (resolve.features, resolve.download, resolve.annotate, resolve.splits)] + [
        resolve.training(params, run, "motion") for run in params.methods
    ]


def test_only_the_embedded_dataset_is_downloaded_anew_when_its_world_changes():
    assert resolve.download(PARAMS, "motion").motion == PARAMS.motion
    PARAMS.datasets["msvd"] = PARAMS.datasets["motion"]
    try:
        assert resolve.download(PARAMS, "msvd").motion is None
    finally:
        del PARAMS.datasets["msvd"]


def test_the_search_of_rates_is_told_to_rule_rates_alone():
    assert resolve.training(PARAMS, "vop", "motion").search is None
    assert json.loads(settings.text(resolve.training(PARAMS, "vop", "motion", search=True)))["search"]["gains"] == []
    assert resolve.download(PARAMS, "motion").motion != Motion()
