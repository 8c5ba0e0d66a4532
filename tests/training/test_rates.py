"""The search of learning rates: what it chooses, and its table."""

import pytest

from pipeline.config.resolve import scaled
from pipeline.config.schema import Backbone, Search, Train
from pipeline.config.settings import Sampling, Training
from pipeline.core.files import write_json
from pipeline.reporting import rates
from pipeline.training.rates import best, short


def trial(gain, total, failure=None):
    val = None if total is None else {"RSum": total, "t2v_R1": total / 10, "v2t_R1": 1.0, "probe": None}
    return {"gain": gain, "lr": gain * 1e-3, "clip_lr": gain * 1e-5, "val": val} | ({"failure": failure} if failure else {})


def test_the_best_sum_on_validation_wins_and_the_smaller_gain_of_equals():
    assert best([trial(0.1, 100.0), trial(1.0, 300.0), trial(10.0, 200.0)]) == 1.0
    assert best([trial(0.1, 300.0), trial(1.0, 300.0), trial(10.0, None, "nan")]) == 0.1


def test_a_method_that_trains_nothing_has_gain_1_and_a_search_that_only_fails_is_one_sentence():
    assert best([]) == 1.0
    with pytest.raises(ValueError, match="no rate of the search trains: the loss is nan; set search.gains"):
        best([trial(1.0, None, "the loss is nan")])


def test_a_trial_is_the_same_training_but_short_and_with_both_rates_scaled():
    train = Train(epochs=20, lr=2e-3, clip_lr=1e-4, batch=7, select="best")
    settings = Training("toy", "vop", {}, train, Sampling(), Backbone("clip-tiny", "w.pt"))
    found = short(scaled(settings, 0.5), Search(gains=[0.5], epochs=2)).train
    assert (found.lr, found.clip_lr, found.epochs, found.validate_every, found.select, found.batch) == (1e-3, 5e-5, 2, 2, "last", 7)


def test_the_table_has_a_row_for_each_trial_and_marks_the_chosen_one(tmp_path):
    write_json(tmp_path / "a.json", {"run": "vop", "gain": 1.0, "trials": [trial(0.1, 100.0), trial(1.0, 300.0)]})
    write_json(tmp_path / "b.json", {"run": "bias", "gain": 0.1, "trials": [trial(0.1, 50.0), trial(1.0, None, "nan")]})
    df = rates.table([tmp_path / "a.json", tmp_path / "b.json"])
    assert list(df["run"]) == ["vop", "vop", "bias", "bias"]
    assert list(df["chosen"]) == [False, True, True, False]
    assert df["RSum"].tolist()[:3] == [100.0, 300.0, 50.0] and df["failure"].tolist()[3] == "nan"
    (tmp_path / "c.json").write_text("{}")
    with pytest.raises(ValueError, match="c.json is not the record of a search"):
        rates.table([tmp_path / "c.json"])
