"""The whole workflow from raw video files to the report, on a tiny configuration with real files."""

import json
import os
import re
import signal
import subprocess
import time

import h5py
import numpy as np
import pandas as pd
import pytest

from pipeline.adapters import checkpoint
from pipeline.core.hdf5 import attributes
from pipeline.evaluation import embeddings
from pipeline.evaluation.validation import similarities
from tests.adapters.files import write_backbone
from tests.workflow.conftest import fresh

RUNS = "runs/motion/clip-tiny"
METHODS = ("zero_shot", "full_finetune", "vop", "mv_adapter")


def read(checkout, method, name):
    return json.loads((checkout.folder / RUNS / method / "0" / name).read_text())


def test_a_second_run_finds_nothing_to_do(finished):
    assert finished.planned() == {}


def test_snakemake_ends_with_its_last_job_and_does_not_wait_until_it_might_submit_another(checkout):
    start = time.monotonic()
    done = checkout.snakemake("--max-jobs-per-timespan", "60/5m", "--force", "--", "metrics/selected.json")
    assert done.returncode == 0 and "1 of 1 steps" in done.output, done.output
    assert time.monotonic() - start < 150, "five minutes would be over"


def test_a_second_clean_run_gives_the_same_bytes(finished, from_nothing):
    second, methods = from_nothing.folder, ("full_finetune", "vop")
    kinds = ("data/motion/raw/videos/*", "data/motion/clips/*/*.mp4", "work/motion/*/frames.h5", "work/clip-tiny/*.safetensors")
    kinds += tuple(f"{RUNS}/{method}/0/{name}" for method in methods for name in ("adapter.safetensors", "embeddings.h5", "metrics.json"))
    for kind in kinds:
        files = sorted(path.relative_to(finished.folder) for path in finished.folder.glob(kind))
        assert files and files == sorted(path.relative_to(second) for path in second.glob(kind))
        assert not [str(f) for f in files if (finished.folder / f).read_bytes() != (second / f).read_bytes()]


def test_every_method_has_metrics_over_the_same_gallery(finished):
    metrics = [read(finished, method, "metrics.json") for method in METHODS]
    assert {(m["gallery"], m["queries"], m["gallery_hash"], m["missing_hash"]) for m in metrics} == {
        (14, 14, metrics[0]["gallery_hash"], metrics[0]["missing_hash"])
    }
    assert all(0 <= m["t2v"]["R1"] <= m["t2v"]["R5"] <= m["t2v"]["R10"] <= 100 for m in metrics)


def test_methods_that_cannot_see_the_order_of_frames_have_a_probe_of_exactly_half(finished):
    for method in ("zero_shot", "vop"):
        probe = read(finished, method, "metrics.json")["probe"]
        assert probe["accuracy"] == 50.0
        assert probe["ties"] == probe["captions"] >= 7


def test_costs_name_what_was_trained(finished):
    costs = {method: read(finished, method, "cost.json") for method in METHODS}
    assert costs["zero_shot"]["trainable"] == 0
    assert costs["vop"]["trainable"] == 4 * 8 * (128 + 128)
    assert costs["full_finetune"]["trainable"] == costs["full_finetune"]["backbone_parameters"]
    # Words that never occur get no gradient; no other tensor is dead.
    assert costs["full_finetune"]["dead_names"] == ["clip.positional_embedding", "clip.token_embedding.weight"]
    assert costs["full_finetune"]["tower_share"] == 100 and costs["vop"]["tower_share"] > 4 * costs["vop"]["share"]
    assert costs["vop"]["macs_per_video"] > costs["zero_shot"]["macs_per_video"] > 0


def test_no_test_file_is_an_input_of_training(finished):
    done = finished.snakemake("-n", "-p", "--forcerun", "train", "--until", "train")
    lines = [line for line in done.output.splitlines() if "pipeline.stages.train" in line and "--adapter" in line]
    assert len(lines) == 4
    assert not [line for line in lines if "/test/" in line]


def test_the_raw_files_come_in_many_forms_and_all_clips_in_one(finished):
    table = pd.read_parquet(finished.folder / "data/motion/transcoded.parquet")
    assert set(table["codec"]) == {"h264", "vp9", "mpeg4"}
    assert table["status"].eq("ok").all()
    assert table[["out_width", "out_height"]].min(axis=1).eq(96).all()
    assert (table["rotation"] != 0).any()
    assert table["has_audio"].any()


def test_frames_are_stored_once_for_all_methods_with_their_grid(finished):
    with h5py.File(finished.folder / "work/motion/test/frames.h5") as file:
        assert file["frames"].shape == (14, 4, 3, 64, 64)
        assert file["mask"][:].all()
        assert attributes(file)["grid"] == "centres"
        assert (np.diff(file["index"][:], axis=1) > 0).all()


def test_a_run_plans_the_one_store_that_it_reads_and_no_frames(tmp_path):
    checkout = fresh(tmp_path)
    checkout.edit("params.yaml", lambda text: text.replace("  vop: {}", "  vop: {}\n  partial: {}\n  proj: {train: {store: clips}}"))
    run = "runs/motion/clip-tiny/{}/0/metrics.json"
    made = {"download": 1, "checksums": 1, "annotate": 1, "transcode": 2, "splits": 1, "pretrain": 1, "train": 1, "embed": 1, "score": 1}
    assert checkout.planned("--", run.format("partial")) == made | {"features": 6}
    assert checkout.planned("--", run.format("proj")) == made | {"features": 3}  # of captions
    assert checkout.planned("--", run.format("zero_shot")) == made | {"features": 2}  # of the test split
    assert checkout.planned("--", run.format("vop")) == made | {"frames": 3}


def test_scores_from_stored_features_are_those_from_frames(checkout):
    path = checkout.folder / RUNS / "zero_shot/0/embeddings.h5"
    stored = similarities(embeddings.load(path)[0])
    assert read(checkout, "zero_shot", "cost.json")["stores"] == {"store": "all", "text_store": "all"}
    frames = "zero_shot: {train: {store: frames, text_store: captions}}"
    checkout.edit("params.yaml", lambda text: text.replace("zero_shot: {}", frames))
    done = checkout.snakemake(f"{RUNS}/zero_shot/0/embeddings.h5")
    assert done.returncode == 0, done.output
    assert read(checkout, "zero_shot", "cost.json")["stores"] == {"store": "frames", "text_store": "captions"}
    assert np.array_equal(similarities(embeddings.load(path)[0]), stored)


def test_a_store_that_a_method_may_not_use_stops_before_anything_is_planned(checkout):
    checkout.edit("params.yaml", lambda text: text.replace("vop: {}", "vop: {train: {store: 2}}"))
    done = checkout.snakemake("-n")
    lines = [line for line in done.output.splitlines() if "params.yaml" in line]
    assert done.returncode == 1 and len(lines) == 1 and "Traceback" not in done.output
    assert "methods.vop.train: store is 2, but the embedding of the vision tower is changed by adapter.visual_prompts" in lines[0]


def test_a_flipped_bit_of_a_stored_feature_is_named_and_leaves_no_embeddings(checkout):
    path = checkout.folder / "work/motion/test/clip-tiny/vision@all.h5"
    with h5py.File(path) as file:
        offset, video = file["tokens"].id.get_chunk_info(3).byte_offset, file["id"].asstr()[3]
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.unlink()  # the copy is a link
    path.write_bytes(content)
    done = checkout.snakemake(f"{RUNS}/zero_shot/0/embeddings.h5", "--rerun-triggers", "code", "--force")
    assert done.returncode == 1
    assert sum(f"vision@all.h5 cannot be used: the tokens of '{video}' are damaged" in line for line in done.output.splitlines()) == 1
    assert not (checkout.folder / RUNS / "zero_shot/0/embeddings.h5").exists()


def test_the_report_names_every_method_and_needs_no_network(finished):
    page = (finished.folder / "results/motion/report.html").read_text()
    probe = read(finished, "mv_adapter", "metrics.json")["probe"]
    assert sum(kind["captions"] for kind in probe["actions"].values()) == probe["captions"], "each caption is of one kind"
    for kind, found in probe["actions"].items():
        assert f'<th scope="col">{kind} ({found["captions"]})</th>' in page
    assert all(method in page for method in METHODS)
    assert 'src="http' not in page and 'href="http' not in page
    done = finished.snakemake("--report", "snakemake-report.html")
    assert done.returncode == 0, done.output
    assert (finished.folder / "snakemake-report.html").stat().st_size > 100_000


def test_editing_a_method_reruns_that_method_and_the_report_only(checkout):
    checkout.edit("pipeline/methods/mv_adapter.py", lambda text: text + "\n# edited\n")
    assert checkout.planned() == {"train": 1, "embed": 1, "score": 1, "evaluate": 1, "report": 1, "selected": 1}
    outputs = [line for line in checkout.snakemake("-n").output.splitlines() if "output:" in line and "adapter.safetensors" in line]
    assert len(outputs) == 1 and f"{RUNS}/mv_adapter/0/adapter.safetensors" in outputs[0]


def test_editing_the_metrics_scores_again_and_trains_nothing(checkout):
    checkout.edit("pipeline/evaluation/metrics.py", lambda text: text + "\n# edited\n")
    planned = checkout.planned()
    assert planned == {"score": 4, "evaluate": 4, "report": 1, "selected": 1}


def test_a_comment_in_the_parameters_does_nothing(checkout):
    checkout.edit("params.yaml", lambda text: "# a comment\n" + text)
    assert checkout.planned() == {}


def test_another_learning_rate_of_one_method_retrains_that_method(checkout):
    checkout.edit("params.yaml", lambda text: text.replace("vop: {}", "vop: {train: {lr: 3.0e-3}}"))
    assert checkout.planned() == {"train": 1, "embed": 1, "score": 1, "evaluate": 1, "report": 1}


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("vop", "vpo", "unknown method 'vpo'; did you mean 'vop'?"),
        ("bootstrap: 200", "bootstrp: 200", "score: unknown key 'bootstrp'; did you mean 'bootstrap'?"),
        ("middle: 32", "midle: 32", "methods.mv_adapter.config: unknown key 'midle'; did you mean 'middle'?"),
        ("epochs: 3", "epochs: many", "epochs"),
        ("vop, mv_adapter]", "vop, mv_adaptor]", "run.methods names 'mv_adaptor'; did you mean 'mv_adapter'?"),
    ],
)
def test_a_typo_stops_before_anything_is_planned(tmp_path, old, new, sentence):
    checkout = fresh(tmp_path)
    checkout.edit("params.yaml", lambda text: text.replace(old, new))
    done = checkout.snakemake("-n")
    assert done.returncode == 1
    lines = [line for line in done.output.splitlines() if "params.yaml" in line]
    assert len(lines) == 1 and sentence in lines[0], done.output
    assert "Traceback" not in done.output


def break_videos(checkout, split):
    """Spoil three videos of a split: cut one short, empty one, give one only sound."""
    videos = pd.read_parquet(checkout.folder / "data/motion/videos.parquet")
    rows = videos[videos["split"] == split]
    plain = rows[rows["official_name"].str.endswith(".mp4")]
    paths = [checkout.folder / "data/motion/raw" / path for path in plain["src_path"].iloc[:3]]
    paths[0].write_bytes(paths[0].read_bytes()[: paths[0].stat().st_size // 2])
    paths[1].write_bytes(b"")
    import imageio_ffmpeg

    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-f", "lavfi", "-i", "sine=d=1", "-f", "mp4", paths[2]]
    subprocess.run(command, check=True)
    return list(plain["video_id"].iloc[:3])


def test_broken_training_videos_are_rows_with_a_reason_and_the_run_goes_on(checkout):
    broken = break_videos(checkout, "train")
    done = checkout.snakemake("--forcerun", "transcode", "--until", "frames")
    assert done.returncode == 0, done.output
    lost = pd.read_csv(checkout.folder / "work/motion/missing.tsv", sep="\t")
    assert list(lost["video_id"]) == sorted(broken)
    assert lost["reason"].str.len().gt(10).all()
    table = pd.read_parquet(checkout.folder / "data/motion/transcoded.parquet").set_index("video_id")
    assert table.loc[broken, "status"].eq("unreadable").all()
    with h5py.File(checkout.folder / "work/motion/train/frames.h5") as file:
        assert len(file["frames"]) == 33


def test_broken_test_videos_stop_the_run_with_one_sentence_and_no_split(checkout):
    broken = break_videos(checkout, "test")
    done = checkout.snakemake("--forcerun", "transcode", "--until", "frames")
    assert done.returncode == 1
    assert "error: motion: 3 of 14 test videos cannot be used" in done.output
    assert sum(video in done.output for video in broken) == 3
    assert not (checkout.folder / "work/motion/test/videos.parquet").exists()
    assert len(pd.read_parquet(checkout.folder / "data/motion/transcoded.parquet").query("status == 'unreadable'")) == 3


def test_a_corrupt_frames_file_is_named_and_leaves_no_adapter(checkout):
    path = checkout.folder / "work/motion/train/frames.h5"
    path.write_bytes(path.read_bytes()[:5000])
    done = checkout.snakemake(f"{RUNS}/vop/0/adapter.safetensors", "--rerun-triggers", "code", "--force")
    assert done.returncode == 1
    assert sum("error: work/motion/train/frames.h5" in line for line in done.output.splitlines()) == 1, done.output
    assert not (checkout.folder / RUNS / "vop/0/adapter.safetensors").exists()


def test_an_adapter_of_another_backbone_is_refused(checkout):
    write_backbone(checkout.folder / "work/clip-tiny/weights.safetensors", seed=1)
    done = checkout.snakemake(f"{RUNS}/vop/0/embeddings.h5", "--allowed-rules", "embed", "--force")
    assert done.returncode == 1
    assert "adapter.safetensors was trained on backbone clip-tiny" in done.output
    assert not (checkout.folder / RUNS / "vop/0/embeddings.h5").exists()


def test_training_killed_in_an_epoch_goes_on_from_the_last_one_to_the_same_bits(checkout):
    checkout.warm = False
    adapter = checkout.folder / RUNS / "mv_adapter/0/adapter.safetensors"
    expected = adapter.read_bytes()
    planned = checkout.snakemake("-n", "-p", "--force", str(adapter.relative_to(checkout.folder))).output
    command = re.search(r"python -m pipeline\.stages\.train .*?(?= 2>&1)", planned).group()
    adapter.unlink()
    environment = checkout.environment()
    process = subprocess.Popen(["bash", "-c", f"exec {command}"], cwd=checkout.folder, env=environment, stdout=subprocess.DEVNULL)
    states = adapter.parent
    while not list(states.glob("state-*.pt")) and process.poll() is None:
        time.sleep(0.005)
    assert process.poll() is None, "training ended before it could be killed"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not adapter.exists()
    assert len(list(states.glob("state-*.pt"))) == 1
    done = subprocess.run(["bash", "-c", command], cwd=checkout.folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "epoch 1" in done.stdout
    assert adapter.read_bytes() == expected
    assert not list(states.glob("state-*.pt"))
    losses = pd.read_csv(states / "curves/plots/metrics/train/loss.tsv", sep="\t")
    assert list(losses["step"]) == [0, 1, 2]


def test_a_run_killed_after_a_new_setting_leaves_nothing_that_is_taken_as_up_to_date(checkout):
    """The training's outputs are removed before it starts; the metrics of the old setting are still there."""
    checkout.warm = False
    adapter, metrics = (f"{RUNS}/vop/0/{name}" for name in ("adapter.safetensors", "metrics.json"))
    checkout.edit("params.yaml", lambda text: text.replace("vop: {}", "vop: {train: {epochs: 500}}"))
    command = ["snakemake", "--cores", "1", "--", metrics]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, cwd=checkout.folder, env=checkout.environment(), start_new_session=True, **silent)
    for _ in range(600):
        if not (checkout.folder / adapter).exists():
            break
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (checkout.folder / adapter).exists() and (checkout.folder / metrics).exists()
    assert checkout.planned("--", metrics) == {"train": 1, "embed": 1, "score": 1}


def test_two_processes_share_a_training_and_end_where_one_does(checkout):
    """By torchrun, as rule train starts it: the losses of one process but for the order of sums, which Adam's small eps enlarges."""
    one = read(checkout, "vop", "train.json")
    alone = similarities(embeddings.load(checkout.folder / RUNS / "vop/0/embeddings.h5")[0])
    checkout.edit("params.yaml", lambda text: text + "machine: {gpus: 2}\n")
    assert checkout.planned() == {}
    done = checkout.snakemake("--forcerun", "train", "--", f"{RUNS}/vop/0/embeddings.h5")
    assert done.returncode == 0, done.output
    two = read(checkout, "vop", "train.json")
    assert (one["record"]["processes"], two["record"]["processes"]) == (1, 2)
    for before, after in zip(one["epochs"], two["epochs"], strict=True):
        assert after["loss"] == pytest.approx(before["loss"], abs=1e-4) and after["videos"] == before["videos"]
    together = similarities(embeddings.load(checkout.folder / RUNS / "vop/0/embeddings.h5")[0])
    assert 0 < np.abs(together - alone).max() < 1e-3


def test_a_search_tries_every_gain_on_validation_and_training_takes_the_best(checkout):
    checkout.edit("params.yaml", lambda text: text.replace("{gains: []}", "{gains: [0.5, 2.0], epochs: 1}"))
    run = checkout.folder / "runs/motion/clip-tiny/vop"
    done = checkout.snakemake("runs/motion/clip-tiny/vop/0/adapter.safetensors")
    assert done.returncode == 0, done.output
    found = json.loads((run / "search.json").read_text())
    assert [trial["gain"] for trial in found["trials"]] == [0.5, 2.0]
    assert [len(trial["epochs"]) for trial in found["trials"]] == [1, 1]
    best = max(found["trials"], key=lambda trial: (trial["val"]["RSum"], -trial["gain"]))
    assert found["gain"] == best["gain"]
    header = checkpoint.read_header(run / "0/adapter.safetensors")
    assert header["train"]["lr"] == pytest.approx(1e-2 * found["gain"])
    # On a CPU, here asked for nothing else, and noted in what is made of it.
    assert (header["train"]["precision"], header["precision"]) == ("auto", "float32")
    assert embeddings.load(run / "0/embeddings.h5")[1]["precision"] == "float32"
    assert not (run / "search").exists()
    assert checkout.planned("--", "runs/motion/clip-tiny/vop/0/adapter.safetensors") == {}
    checkout.edit("params.yaml", lambda text: text.replace("gains: [0.5, 2.0]", "gains: [0.5, 3.0]"))
    assert checkout.planned("--", "runs/motion/clip-tiny/vop/0/adapter.safetensors") == {"rates": 1, "train": 1}


def test_a_run_may_have_seeds_of_its_own(checkout):
    checkout.edit("params.yaml", lambda text: text.replace("  vop: {}", "  vop: {seeds: [0, 4, 5]}"))
    assert checkout.planned() == {"train": 2, "embed": 2, "score": 2, "evaluate": 1, "report": 1}


def test_another_seed_plans_its_own_runs_only(checkout):
    checkout.edit("params.yaml", lambda text: text.replace("seeds: [0]", "seeds: [0, 1]"))
    assert checkout.planned() == {"train": 4, "embed": 4, "score": 4, "evaluate": 4, "report": 1, "selected": 1}
