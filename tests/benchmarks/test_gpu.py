"""The check of a GPU, in small on a CPU: what its JSON and its page have, that it finds what is wrong, and that it keeps to its time."""

import json
import re
import time

import pytest
import torch

from benchmarks.gpu import __main__ as check
from benchmarks.gpu import parity, processes, resume, steps, towers
from benchmarks.gpu.part import GRACE, Part, run
from benchmarks.processes import together
from pipeline.clip.model import TYPES
from pipeline.methods import names
from pipeline.training import state
from pipeline.training.step import Step

CPU = torch.device("cpu")
EXACT = {"precision": "float32"}


def part(name="parity", *, seconds=600.0, methods=("proj",)):
    return Part(name, CPU, list(methods), end=time.perf_counter() + seconds)


def checked(monkeypatch, capsys, *options):
    """Exit status and page of the command."""
    monkeypatch.setattr("sys.argv", ["gpu", "--device", "cpu", *options])
    with pytest.raises(SystemExit) as ended:
        check.main()
    return ended.value.code, capsys.readouterr().out


def test_every_part_passes_and_says_what_it_measured(monkeypatch, capsys, tmp_path):
    target = tmp_path / "gpu.json"
    code, page = checked(monkeypatch, capsys, "--seconds", "3000", "--methods", "proj", "zero_shot", "--json", str(target))
    report = json.loads(target.read_text())
    assert not code and [path.name for path in tmp_path.iterdir()] == [target.name]
    assert {name: (one["status"], one["failures"]) for name, one in report["parts"].items()} == dict.fromkeys(check.PARTS, ("pass", []))
    assert (report["device"], report["versions"]["torch"], report["seconds allowed"]) == ("cpu", torch.__version__, 3000)
    rows = {name: one["rows"] for name, one in report["parts"].items()}
    assert all(one["done"] == one["wanted"] == len(one["rows"]) and one["seconds"] > 0 for one in report["parts"].values())

    facts = report["parts"]["parity"]["facts"]
    assert (facts["of"], facts["against"]) == ("cpu", "cpu in float32")
    far = {row["method"]: {key: float(value) for key, value in row.items() if key != "method"} for row in rows["parity"]}
    assert far.keys() == {"proj", "zero_shot"} and facts["bounds"].keys() == {way.name for way in parity.WAYS}
    assert far["proj"]["float32, gradient"] == 0 < far["proj"]["float16, gradient"] < far["proj"]["bfloat16, gradient"] < 0.3
    assert far["zero_shot"]["bfloat16, gradient"] == 0 < far["zero_shot"]["bfloat16, vectors"]
    assert [(row["training"], row["same bits"], len(row["losses"])) for row in rows["resume"]] == [("proj, precision: float32", True, 2)]
    (step,) = rows["steps"]
    assert step["same bits"] and step["videos/s"] == pytest.approx(steps.FEWER / step["ms"] * 1e3, rel=0.01)
    assert step["% of GEMM rate"] > 0 and report["parts"]["steps"]["facts"]["GEMM TFLOP/s"]["float32"] > 0
    assert [row["workers"] for row in rows["loader"]] == [0, 2] and all(row["videos/s"] > 0 for row in rows["loader"] + rows["embedding"])
    assert rows["processes"][0]["came to"] == "the numbers of one process"

    lines = page.splitlines()
    assert lines[0] == "# The check of a GPU: cpu" and [line[3:] for line in lines if line.startswith("## ")] == list(check.PARTS)
    assert "| proj, precision: float32 | yes |" in page and "None" not in page


def test_every_method_and_option_is_among_the_items(monkeypatch):
    wanted = {}
    monkeypatch.setattr(Part, "each", lambda self, items, *_, **__: wanted.update({self.name: list(items)}))
    parity.work(part("parity", methods=names()))
    assert sorted(map(str, wanted["parity"])) == sorted(map(str, parity.cases()))
    assert [case[0] for case in wanted["parity"][: len(names())]] == names()  # as they are, before any option
    assert {way.settings["precision"] for way in parity.WAYS} == set(TYPES)  # named: `auto` is bfloat16 on a GPU
    for work in (resume.work, steps.work):
        work(part("trainings", methods=names()))
        trained, settings = ([training[place] for training in wanted["trainings"]] for place in (0, 1))
        assert set(trained) == set(names()) - {"zero_shot"} and len(set(map(str, wanted["trainings"]))) == len(trained)
        assert {each["precision"] for each in settings} == {"float32", "float16"} and any(each.get("chunk") for each in settings)


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
def test_a_wrong_gradient_is_exit_status_1_and_the_other_parts_run(monkeypatch, capsys):
    monkeypatch.setattr(parity, "WAYS", parity.WAYS[:1])
    code, page = checked(monkeypatch, capsys, "--parts", "parity", "steps", "loader", "--methods", "proj")
    said = {line.split(" | ")[0][2:]: line for line in page.splitlines() if line.startswith(("| parity", "| steps", "| loader"))}
    assert code == 1 and re.search(r"\| fail \|.* proj: float32, gradient: \de-03 apart, more than 0.0002 \|", said["parity"])
    assert "| pass |" in said["loader"] and "| pass |" in said["steps"]  # where both are wrong alike


def test_vectors_and_numbers_that_are_none_are_found(monkeypatch, tmp_path):
    monkeypatch.setattr(parity, "WAYS", parity.WAYS[:1])
    plain, turns = parity.embed, iter(range(100))

    def embed(*given, **options):
        made = plain(*given, **options)
        made.video[:] *= [1.0, 1.01, 1.0, float("nan")][next(turns)]
        return made

    monkeypatch.setattr(parity, "embed", embed)
    two = run(part(methods=["zero_shot"]), lambda of: [parity.work(of) for _ in range(2)])
    assert two["failures"][0].startswith("zero_shot: float32, vectors: 7e-03 apart")
    assert two["failures"][1].startswith("zero_shot: float32, vectors: nan apart")
    check.write_json(tmp_path / "a.json", two)


def test_a_training_that_goes_on_with_other_bits_or_from_its_start_is_found(monkeypatch):
    plain, turns = resume.loop.train, iter(range(100))

    def train(*given, settings, **options):
        settings.clip_lr *= 1 + next(turns) / 1000
        return plain(*given, settings=settings, **options)

    monkeypatch.setattr(resume.loop, "train", train)
    report = run(part(), resume.work)
    assert report["failures"] == ["proj, precision: float32: a training that was killed and went on has other bits"]
    assert report["rows"][0]["same bits"] is False
    monkeypatch.setattr(state.State, "save", lambda *_: None)
    assert run(part(), resume.work)["failures"] == ["proj, precision: float32: AssertionError: nothing was noted before the end"]


def measured(settings):
    split = towers.noise(towers.plain(towers.SMALL), towers.FEW, videos=4)
    return steps._fitting(part(), lambda: towers.attached(towers.SMALL, "proj", shape=towers.FEW, config={}), split, settings)


def test_where_memory_ends_a_step_is_measured_in_the_largest_pieces_that_fit(monkeypatch):
    plain, tried = towers.Trainer.backward, []

    def backward(self):
        tried.append(self.settings.chunk)
        if not 0 < self.settings.chunk <= fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain(self)

    monkeypatch.setattr(towers.Trainer, "backward", backward)
    fits = 2
    assert measured(EXACT)["chunk"] == 2 and list(dict.fromkeys(tried)) == [0, 2]
    fits = 0
    with pytest.raises(torch.OutOfMemoryError):
        measured(EXACT)
    assert tried[-1] == 1


def test_other_gradients_the_second_time_are_found_unless_kernels_may_change(monkeypatch):
    plain, turns = steps._gradients, iter(range(100))
    monkeypatch.setattr(steps, "_gradients", lambda trained: [tensor * (1 + next(turns)) for tensor in plain(trained)])
    assert run(part(), steps.work)["failures"] == ["proj, precision: float32: the same batch has other gradients"]
    assert measured(EXACT | {"deterministic": False})["same bits"] is None


def sleepy(team):
    time.sleep(60 * team.rank)


def test_processes_that_wait_for_each_other_are_ended():
    start = time.perf_counter()
    with pytest.raises(AssertionError, match="gave nothing for 3 s: they wait for each other"):
        together(sleepy, size=2, limit=3)
    assert time.perf_counter() - start < 40


@pytest.mark.parametrize(
    ("found", "joins", "words"),
    [
        ("2 processes gave nothing for 9 s", True, "2 processes gave nothing"),
        ("2 processes gave nothing for 9 s", False, "not refused in one sentence"),
        ("ValueError: 2 processes are to share a training, but torch sees 1 GPUs here", False, ""),
        ("ValueError: 2 processes are to share a training, but torch sees 1 GPUs here", True, "loss and norm"),
        ([[1.5, 0.2], [1.5, 0.2]], True, ""),
        ([[1.5, 0.2], [1.5, 0.2]], False, "not refused in one sentence"),
        ([[1.5, 0.2], [1.6, 0.2]], True, "loss and norm"),
        ([[1.5, float("nan")], [1.5, 0.2]], True, "loss and norm"),
    ],
)
def test_two_processes_are_judged_by_what_they_come_to(found, joins, words):
    said = processes._wrong(found, alone=[1.5, 0.2], joins=joins)
    assert (words in said) if words else not said


def test_a_part_begins_nothing_that_may_not_end_in_time():
    def work(of):
        of.each(range(10), lambda item: time.sleep(0.4) or {"item": item})

    report = run(part(seconds=1.0), work)
    assert (report["status"], report["done"], report["wanted"]) == ("cut", 2, 10) and len(report["rows"]) == 2
    assert run(part(seconds=-1), work)["done"] == 0
    assert check._line("steps", report)[-1] == "its time was up"


def test_a_part_in_the_middle_of_an_item_is_ended():
    start = time.perf_counter()
    report = run(part(seconds=-GRACE), lambda of: of.each("ab", lambda _: time.sleep(60)))
    assert (report["status"], report["done"]) == ("cut", 0)
    report = run(part(seconds=0.3 - GRACE), lambda _: time.sleep(60))
    assert report["status"] == "cut" and time.perf_counter() - start < 10


def test_an_error_fails_its_item_and_the_next_goes_on():
    def work(item):
        if item == "a":
            raise RuntimeError("no kernel\nimage")
        return {"item": item}

    report = run(part(), lambda of: of.each("ab", work))
    assert (report["status"], report["failures"], report["rows"]) == ("fail", ["a: RuntimeError: no kernel image"], [{"item": "b"}])
    assert run(part(), lambda _: 1 / 0)["failures"] == ["ZeroDivisionError: division by zero"]
