"""The check of a GPU, in small on a CPU: what its JSON has, that it needs no package but those it may, and that it finds what is wrong."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from benchmarks.gpu import bits, parity, processes
from benchmarks.gpu.__main__ import PARTS
from benchmarks.gpu.part import GRACE, Part, run
from pipeline.training.step import Step

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
BLOCKED = ("av", "pyarrow", "dvclive", "dvc", "snakemake", "faiss", "matplotlib", "requests", "jinja2", "imageio_ffmpeg")
BLOCKER = f"""
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {BLOCKED}:
            raise ModuleNotFoundError(f"{{name}} is blocked")

sys.meta_path.insert(0, Blocker())
"""


def part(name="parity", *, seconds=60.0, names=("vop",)):
    return Part(name, CPU, True, list(names), {}, end=time.perf_counter() + seconds)


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """The whole check as a command, where the packages of BLOCKED cannot be imported, nor by the processes that it starts."""
    folder = tmp_path_factory.mktemp("gpu")
    (folder / "sitecustomize.py").write_text(BLOCKER)
    command = [sys.executable, "-m", "benchmarks.gpu", "--device", "cpu", "--small", "--seconds", "3000", "--threads", "1"]
    command += ["--methods", "mv_adapter", "vop_fc", "--json", str(folder / "a.json")]
    environment = os.environ | {"PYTHONPATH": f"{folder}:{ROOT}"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((folder / "a.json").read_text()), done.stdout


def test_every_part_passes_and_the_summary_says_so(checked):
    report, said = checked
    assert list(report["parts"]) == list(PARTS)
    assert {name: entry["status"] for name, entry in report["parts"].items()} == dict.fromkeys(PARTS, "pass")
    assert all(entry["seconds"] > 0 and not entry["failures"] and not entry["reason"] for entry in report["parts"].values())
    assert said.splitlines()[-1] == "no part failed"
    assert (report["device"], report["small"], report["torch"]) == ("cpu", True, torch.__version__)


def test_its_numbers_are_there(checked):
    found = {name: entry["found"] for name, entry in checked[0]["parts"].items()}
    assert set(found["machine"]["gemm_tflops"]) == {"bfloat16", "float32", "tf32"} and min(found["machine"]["gemm_tflops"].values()) > 0
    assert found["parity"]["methods"] == ["mv_adapter", "vop_fc"]
    worst = {label: far for label, (far, _) in found["parity"]["worst"].items()}
    assert worst["float32"] == worst["embeddings"] == worst["a step of adamw"] == worst["a step of bert_adam"] == 0
    assert 0 < worst["chunk: 3, checkpointing: True"] < 2e-4 and 0 < worst["precision: bfloat16"] < 0.3
    assert len(found["resume"]) == 4 and all(entry["same"] and len(entry["losses"]) == 2 for entry in found["resume"].values())
    assert len(found["bits"]) == 4 and all(found["bits"].values())
    rows = found["speed"]["rows"]
    assert {"mv_adapter precision: bfloat16", "vop_fc precision: bfloat16", "mv_adapter float32"} <= set(rows)
    for row in rows.values():
        assert row["ms"] > 0 and row["gemm_share"] > 0 and row["videos_per_second"] > 0
    assert rows["mv_adapter float32"]["expected_gb"] > rows["mv_adapter precision: bfloat16 checkpointing: True"]["expected_gb"] > 0
    assert set(found["loader"]["videos_per_second"]) == {"-1", "0", "2"}
    assert found["embedding"]["clip-tiny x 4"]["videos_per_second"] > 0
    assert found["processes"]["cpu"]["exit"] == 0 and len(found["processes"]["cpu"]["said"]) == 2


@pytest.fixture
def wrong(monkeypatch):
    """Gradients that are wrong wherever they are computed after the first time, as if a device computed them so."""
    plain, calls = Step.backward, []

    def backward(self, batch, *, total):
        loss = plain(self, batch, total=total)
        calls.append(loss)
        if len(calls) > 1:
            largest = max((p.grad for p in self.clip.trained().values() if p.grad is not None), key=lambda grad: float(grad.abs().max()))
            largest.mul_(1.01)
        return loss

    monkeypatch.setattr(Step, "backward", backward)


@pytest.mark.usefixtures("wrong")
def test_a_wrong_gradient_fails_parity_and_the_check():
    report = run(part(), parity.work)
    assert report["status"] == "fail" and "vop, float32: 1.0e-02 apart, more than 0.0002" in report["reason"]


@pytest.mark.usefixtures("wrong")
def test_a_part_that_fails_is_exit_status_1(monkeypatch, capsys):
    from benchmarks.gpu import __main__ as check

    monkeypatch.setattr(sys, "argv", ["gpu", "--device", "cpu", "--small", "--only", "parity", "--methods", "vop"])
    with pytest.raises(SystemExit) as ended:
        check.main()
    assert ended.value.code == 1 and capsys.readouterr().out.splitlines()[-1] == "1 parts failed: parity"


def test_other_embeddings_other_steps_and_not_a_number_fail_too(monkeypatch):
    embedded, updated = parity._embedded, parity._updated
    turns = iter(range(100))
    monkeypatch.setattr(parity, "_embedded", lambda *given: {k: v * (1 + 0.01 * next(turns)) for k, v in embedded(*given).items()})
    assert "vop, embeddings: " in run(part(), parity.work)["reason"]
    monkeypatch.setattr(parity, "_embedded", embedded)
    monkeypatch.setattr(parity, "_updated", lambda *given: {k: v * float("nan") for k, v in updated(*given).items()})
    assert "vop, a step of adamw: nan apart" in run(part(), parity.work)["reason"]


def test_a_training_that_goes_on_with_other_bits_is_found(monkeypatch):
    monkeypatch.setattr("pipeline.training.state.set_random_state", lambda *_: None)
    assert run(part("resume", names=["mv_adapter"]), bits.resume)["status"] == "pass"  # nothing here draws numbers
    plain = bits.loop.train
    turns = iter(range(100))

    def train(*given, settings, **options):
        settings.lr *= 1 + next(turns) / 1000
        return plain(*given, settings=settings, **options)

    monkeypatch.setattr(bits.loop, "train", train)
    report = run(part("resume", names=["vop_fc"]), bits.resume)
    assert report["status"] == "fail" and report["reason"] == "vop_fc: a training that was killed and went on has other bits"


@pytest.mark.parametrize(
    ("code", "said", "joins", "words"),
    [
        (None, [], False, "wait for each other"),
        (1, ["error: NCCL"], False, "not refused in one sentence"),
        (1, ["error: device is 'cuda:0', but 2 processes are to share a training, a GPU each; set device: auto"], False, ""),
        (0, ["shared loss 1.5", "shared loss 1.5"], True, ""),
        (0, ["shared loss 1.5"], True, "have the losses"),
        (0, ["shared loss 1.5", "shared loss 1.6"], True, "have the losses"),
    ],
)
def test_two_processes_are_judged_by_how_they_end(code, said, joins, words):
    two = part("processes")
    processes._judge(two, "cuda:0", code, said, alone=1.5, joins=joins)
    assert (words in two.failures[0]) if words else not two.failures


def test_a_part_is_cut_when_its_time_is_used_up_and_says_so():
    def slow(of):
        for item in of.items(range(10), least=0.3):
            time.sleep(0.5)
            of.found[item] = True

    def endless(of):
        of.found["begun"] = True
        try:
            time.sleep(60)
        except Exception:
            raise AssertionError("it was taken for an error of the item") from None

    report = run(part(seconds=1.6), slow)
    assert report["status"] == "pass" and report["reason"] == "its time was used up after 3 of 10"
    start = time.perf_counter()
    report = run(part(seconds=0.1), endless)
    assert report["status"] == "pass" and report["reason"] == "its time was used up in the middle"
    assert time.perf_counter() - start < GRACE + 2
    assert run(part(seconds=0.1), slow)["status"] == "skipped"


def test_an_error_fails_its_item_and_the_next_goes_on():
    def work(of):
        for item in of.items("ab"):
            with of.guarded(item):
                if item == "a":
                    raise RuntimeError("no kernel\nimage")
            of.found[item] = True

    report = run(part(), work)
    assert report["status"] == "fail" and report["reason"] == "a: RuntimeError: no kernel image" and list(report["found"]) == ["a", "b"]
    assert run(part(), lambda _: 1 / 0)["status"] == "fail"
