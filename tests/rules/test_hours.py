"""GPU hours of a plan, by hand: trainings above their store, stores once for all, searches, and what is there already."""

import pytest
from omegaconf import OmegaConf

from pipeline import datasets
from pipeline.config.params import check
from pipeline.rules import hours, towers
from pipeline.rules.doctor.disk import Part
from pipeline.rules.doctor.line import Case
from pipeline.rules.plan import Choice

PARAMS = {
    "run": {"datasets": ["msrvtt"], "methods": ["zero_shot", "partial", "vop", "full_finetune"], "seeds": [0, 1]},
    "datasets": {"msrvtt": {"frames": {"number": 12, "size": 224}, "words": 32}},
    "backbone": {"name": "ViT-B-32-quickgelu", "weights": "openai"},
    "train": {"epochs": 5},
    "methods": {"zero_shot": {}, "partial": {}, "vop": {}, "full_finetune": {}},
}
CHOICES = {
    "zero_shot": Choice("all", "all", trained=False),
    "partial": Choice("11", "11"),
    "vop": Choice("frames", "captions"),
    "full_finetune": Choice("frames", "captions", whole=True),
}
VIDEO, CAPTION = towers.work(towers.architecture("ViT-B-32-quickgelu"), frames=12, words=32)
TRAIN, VAL, TEST = 9000, 497, 1000  # of 9k; papers train on the validation videos, too
SPEED = hours.Speed(work=1e12, read=1e12, start=0)


def planned(*dots, made=lambda _: True, speed=SPEED, choices=CHOICES, dataset="msrvtt", count=10_000):
    params = check(OmegaConf.to_container(OmegaConf.merge(OmegaConf.create(PARAMS), OmegaConf.from_dotlist(list(dots)))))
    case = Case(params, counts={dataset: count}, choices={(run, dataset): choice for run, choice in choices.items()})
    return {job.path: job for job in hours.jobs(case, params, made=made, speed=speed)}


def adapter(run, seed=0):
    return f"runs/msrvtt/ViT-B-32-quickgelu/{run}/{seed}/adapter.safetensors"


def seconds(job):
    return pytest.approx(job.hours * 3600, rel=1e-9)


PAPER = "datasets.msrvtt.validation=paper"


def test_a_training_is_a_pass_and_its_way_back_and_once_more_where_clip_is_trained():
    found = planned(PAPER)
    once = VAL + TEST
    assert (5 * TRAIN * 2 + once) * (VIDEO + CAPTION) / 1e12 == seconds(found[adapter("vop")])
    assert (5 * TRAIN * 3 + once) * (VIDEO + CAPTION) / 1e12 == seconds(found[adapter("full_finetune", 1)])
    assert (5 * TRAIN * 2 + once) * (VIDEO / 12 + CAPTION) / 1e12 == seconds(found[adapter("partial")]), "one block of twelve"
    assert once * (VIDEO / 100 + CAPTION) / 1e12 == seconds(found[adapter("zero_shot")]), "which is not trained"


def test_a_store_is_written_once_for_all_runs_and_for_what_reads_it():
    stores = {path: job for path, job in planned(PAPER).items() if job.rule == "features"}
    folder = "work/msrvtt/{}/ViT-B-32-quickgelu/vision@{}.h5"
    assert stores.keys() == {folder.format("test", "all"), *(folder.format(split, 11) for split in ("train", "val", "test"))}
    assert seconds(stores[folder.format("train", 11)]) == TRAIN * VIDEO * 11 / 12 / 1e12
    assert planned(PAPER)[adapter("partial")].after == folder.format("train", 11)


def test_reading_counts_where_it_takes_longer_and_so_does_the_start():
    slow = hours.Speed(work=1e18, read=1e6, start=60)
    found = planned(PAPER, speed=slow)
    assert seconds(found[adapter("vop")]) == (5 * TRAIN + VAL + TEST) * 12 * 3 * 224**2 / 1e6 + 60


def test_all_captions_of_a_video_are_as_many_pairs():
    one, all_ = (planned(PAPER, f"train.captions={word}")[adapter("vop")].hours for word in ("one", "all"))
    assert all_ / one == pytest.approx((100 * TRAIN * 2 + VAL + TEST) / (5 * TRAIN * 2 + VAL + TEST))


def test_a_search_is_a_training_for_each_gain():
    found = planned("datasets.msrvtt.validation=clean", "search.gains=[1,2,4]", "search.epochs=2")[
        "runs/msrvtt/ViT-B-32-quickgelu/vop/search.json"
    ]
    assert seconds(found) == (6 * (TRAIN - VAL) * 2 + VAL + TEST) * (VIDEO + CAPTION) / 1e12


def test_only_what_is_going_to_be_made_counts():
    found = planned(made=lambda path: path == adapter("vop", 1))
    assert list(found) == [adapter("vop", 1)]
    assert planned(made=lambda _: False) == {}


def test_where_nobody_published_a_number_all_videos_count():
    dots = ("run.datasets=[motion]", "datasets.motion.words=24", "datasets.motion.frames.number=12")
    found = planned(*dots, dataset="motion", count=58)
    assert 5 * 58 * 2 * (VIDEO + towers.work(towers.architecture("ViT-B-32-quickgelu"), frames=12, words=24)[1]) / 1e12 == seconds(
        found["runs/motion/ViT-B-32-quickgelu/vop/0/adapter.safetensors"]
    )


def test_jobs_are_given_out_longest_first_after_their_store():
    jobs = [hours.Job("features", "s", 2.0), *(hours.Job("train", f"t{n}", n, "s") for n in (1.0, 3.0)), hours.Job("train", "u", 2.0)]
    assert hours.makespan(jobs, gpus=2) == 5.0
    assert hours.makespan(jobs, gpus=1) == 8.0
    assert hours.makespan([], gpus=3) == 0.0


def test_the_plan_in_words():
    jobs = [hours.Job("features", "s", 2.0), hours.Job("train", "t", 3.25, "s"), hours.Job("train", "u", 3.0, "s")]
    parts = [Part("a", 1.5e9), Part("b", 1e9)]
    first, second = hours.told(jobs, parts, gpus=2).splitlines()
    assert first == (
        "Plan: trainings 2, searches of rates 0, stores of CLIP's blocks 1: 8.2 GPU hours, 5.2 on 2 GPUs"
        " at 5.00 T multiply-accumulates a second, assumed."
    )
    assert second == "Plan: 2.5 GB of disk at most."


def test_what_is_only_tested_on_is_counted_too():
    entries = {"motion": {"words": 24}, "msvd": {"words": 24}}
    run = {"datasets": ["motion"], "transfer": ["msvd"], "methods": ["zero_shot"], "seeds": [0]}
    backbone = {"name": "clip-tiny", "weights": "w.safetensors"}
    params = check({"run": run, "datasets": entries, "methods": {"zero_shot": {}}, "backbone": backbone, "method": "zero_shot"})
    assert datasets.counts(params) == {name: datasets.load(name, params.datasets[name]).count(params, name) for name in ("motion", "msvd")}
