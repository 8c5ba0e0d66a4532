"""The resources that jobs ask for: numbers by hand."""

import pytest

from pipeline.rules import gpus, resources


def test_memory_and_minutes_grow_with_the_attempt_up_to_four_times():
    assert [resources.memory(1000, attempt) for attempt in (1, 2, 4, 9)] == [1000, 2000, 4000, 4000]
    assert [resources.minutes(600, attempt) for attempt in (1, 2, 4, 9)] == [25, 50, 100, 100]


def test_no_job_asks_for_more_than_the_sites_longest_runtime():
    assert resources.minutes(36_000, 1, longest=240) == 240
    assert resources.minutes(600, 1, longest=240) == 25


def test_a_training_takes_its_videos_times_its_epochs_and_gpus_share_them():
    one = resources.train(9000, 5, share=1, captions="one", gpu=True)
    assert one == pytest.approx(4500)
    assert resources.train(9000, 5, share=1, captions="all", gpu=True) == pytest.approx(20 * one)
    assert resources.train(9000, 5, share=1, captions="one", gpu=True, processes=4) == pytest.approx(one / 4)
    assert resources.train(9000, 5, share=1, captions="one", gpu=False) == pytest.approx(30 * one)


def test_smaller_videos_take_less_down_to_a_tenth():
    assert resources.share(12, 224) == 1
    assert resources.share(6, 224) == 0.5
    assert resources.share(4, 64) == 0.1


def test_memory_of_a_training_on_a_cpu_covers_what_was_measured():
    # docs/results/cost-vit-b-32.md: 9.1 GB for batch 8 with 12 frames.
    assert 9100 < resources.train_memory(8, share=1, gpu=False) < 2 * 9100


def test_cores_of_a_job_are_those_that_compute_and_those_that_read_ahead():
    assert resources.cpus(1, -1, gpu=0) == 1
    assert resources.cpus(1, -1, gpu=1) == 7
    assert resources.cpus(1, 4, gpu=1, processes=2) == 10


def test_the_launcher_is_plain_python_for_one_process_and_torchrun_for_more():
    assert resources.launcher(1, 1) == "python -m"
    assert resources.launcher(4, 1) == "torchrun --standalone --nproc-per-node 4 -m --"
    assert resources.launcher(2, 3).startswith("srun --nodes=3 --ntasks=3 ") and "--nnodes 3 --nproc-per-node 2" in resources.launcher(2, 3)


def test_only_a_job_on_several_nodes_starts_its_own_steps():
    assert resources.across(1) == {}
    assert resources.across(2)["mpi"] == "srun" and resources.across(2)["tasks"] == 2


@pytest.mark.parametrize(("visible", "number"), [("", 0), ("-1", 0), ("0", 1), ("0,3", 2), ("1,-1,2", 1), ("GPU-a, GPU-b", 2)])
def test_cuda_visible_devices_says_how_many_gpus_there_are(visible, number):
    assert gpus.count({"CUDA_VISIBLE_DEVICES": visible}) == number


def test_without_nvidia_smi_there_is_no_gpu(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert gpus.count({}) == 0


def test_nvidia_smi_is_counted_by_its_lines(monkeypatch, tmp_path):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho GPU-1\necho GPU-2\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert gpus.count({}) == 2
