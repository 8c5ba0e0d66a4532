"""The gradient of a step in pieces and in several processes: the same as in one."""

import math
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.processes import together
from pipeline import methods
from pipeline.config.schema import Train
from pipeline.evaluation.embed import embed
from pipeline.runtime.distributed import ALONE
from pipeline.training import out_of_memory, step
from tests.conftest import small_clip
from tests.methods import naive
from tests.methods.cases import SHAPE, cases, title
from tests.training.planted import fit, planted

CPU = torch.device("cpu")
TRAINABLE = [case for case in cases() if case[0] != "zero_shot"]
PAIRS = 7  # of no number of processes or pieces a multiple


def attached(case, kind=torch.float64, *, layers=3):
    name, config = case
    clip = small_clip(layers=layers)
    torch.manual_seed(3)
    methods.attach(clip, methods.load(name, config=config), shape=SHAPE).to(kind).eval()
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in clip.trained().values():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return clip


def gradient(clip, *, chunk=0, team=ALONE):
    """Loss and gradients of a batch of pairs; a process of a team computes its part."""
    split = planted(clip, videos=PAIRS, captions=1)
    rows = team.share(np.arange(PAIRS))
    for parameter in clip.trained().values():
        parameter.grad = None
    work = step.prepare(clip, split, settings=Train(chunk=chunk), team=team, device=CPU)
    loss = work.backward(split.pairs(rows), total=PAIRS)
    return loss.item(), {name: torch.zeros_like(p) if p.grad is None else p.grad.clone() for name, p in clip.trained().items()}


def plain(clip):
    """The same by the definition of the loss."""
    split = planted(clip, videos=PAIRS, captions=1)
    batch = split.pairs(np.arange(PAIRS))
    for parameter in clip.trained().values():
        parameter.grad = None
    loss = naive.loss(clip, split.encode(clip, batch), batch.mask)
    loss.backward()
    return loss.item(), {name: torch.zeros_like(p) if p.grad is None else p.grad.clone() for name, p in clip.trained().items()}


def apart(one, other):
    """The largest difference, relative to the largest entry of each gradient; one that is less than 1e-6 is rounding alone."""
    return max(float((one[name] - other[name]).abs().max() / one[name].abs().max().clamp(min=1e-6)) for name in one)


@pytest.mark.parametrize("case", TRAINABLE, ids=title)
def test_the_gradient_in_pieces_is_that_of_the_whole_batch(case):
    clip = attached(case)
    loss, whole = plain(clip)
    assert any(gradient.abs().max() > 0 for gradient in whole.values())
    for chunk in (0, 1, 3):
        other, found = gradient(clip, chunk=chunk)
        assert other == pytest.approx(loss, rel=1e-12)
        assert apart(whole, found) < 1e-9


CAPTIONS = ("discovla", {"captions_extra": True, "last_blocks": 1})


class Stored:
    """Captions of a split as stored tokens at level 2."""

    kind, level = "2", 2

    def __init__(self, clip, ids):
        self.made = clip.text_at(2, ids).detach()

    def tokens(self, rows):
        return self.made[rows]


def test_captions_of_frames_are_read_beside_stored_captions_of_videos():
    clip, found = attached(CAPTIONS), []
    for stored in (False, True):
        split = planted(clip, videos=PAIRS, captions=1)
        split = replace(split, text=Stored(clip, split.ids) if stored else None)
        work = step.prepare(clip, split, settings=Train(chunk=3), team=ALONE, device=CPU)
        clip.zero_grad()
        loss = work.backward(split.pairs(np.arange(PAIRS)), total=PAIRS)
        found.append((loss.item(), {name: p.grad.clone() for name, p in clip.trained().items()}))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-12) and apart(found[0][1], found[1][1]) < 1e-9


def test_captions_of_frames_that_are_missing_or_not_read_are_refused():
    clip, other = attached(CAPTIONS), attached(("vop", {}))
    with pytest.raises(ValueError, match="trains with a caption of each frame, and no file of them is given; name it under captions_extra"):
        step.prepare(clip, replace(planted(clip), extra=None), settings=Train(), team=ALONE, device=CPU)
    with pytest.raises(ValueError, match="a file with a caption of each frame is given, and the method does not read it; leave it out"):
        step.prepare(other, replace(planted(other), extra=planted(clip).extra), settings=Train(), team=ALONE, device=CPU)


class Dropping(torch.nn.Module):
    def forward(self, features, _):
        return torch.nn.functional.dropout(features, 0.5)


def test_pieces_draw_the_same_random_numbers_again_and_then_go_on():
    clip = attached(("vop", {}))
    clip.frame_head.append(Dropping())
    torch.manual_seed(0)
    _, first = gradient(clip, chunk=2)
    after = torch.rand(1)
    torch.manual_seed(0)
    _, again = gradient(clip, chunk=2)
    assert torch.equal(after, torch.rand(1)) and apart(first, again) == 0
    torch.manual_seed(0)
    drawn = [torch.nn.functional.dropout(torch.ones(n, 4, 16), 0.5) for n in (2, 2, 2, 1)]
    clip.frame_head[-1] = lambda features, _: features * torch.cat(drawn).to(features)
    assert apart(gradient(clip)[1], first) < 1e-6


def _gradients(team):
    """The cases whose gradient in the team is not that of one process, in pieces and not."""
    wrong = []
    for case in TRAINABLE:
        clip = attached(case)
        loss, whole = plain(clip)
        for chunk in (0, 2):
            other, found = gradient(clip, chunk=chunk, team=team)
            if not (math.isclose(other, loss, rel_tol=1e-12) and apart(whole, found) < 1e-9):
                wrong.append((title(case), chunk, apart(whole, found)))
    return wrong


def test_two_processes_have_the_gradient_of_one_with_every_method():
    assert together(_gradients, size=2) == [[], []]


def _embedded(team):
    clip = attached(("mv_adapter", {}), torch.float32)
    made = embed(clip, planted(clip, videos=9, captions=2), device=CPU, team=team)
    return made.video.tolist(), made.text.tolist(), made.video_id, team.gather(torch.arange(5)[team.share(np.arange(5))], total=5).tolist()


@pytest.mark.parametrize("size", [2, 4])
def test_every_video_and_caption_is_embedded_once_whatever_the_number_of_processes(size):
    clip = attached(("mv_adapter", {}), torch.float32)
    made = embed(clip, planted(clip, videos=9, captions=2), device=CPU)
    for video, text, ids, numbers in together(_embedded, size=size):
        assert np.abs(made.video - video).max() < 1e-6 and np.abs(made.text - text).max() < 1e-6
        assert ids == made.video_id and len(text) == 18 and numbers == [0, 1, 2, 3, 4]


LR, EPS = 1e-2, 1e-2


def _fitted(team, folder=None):
    _, tensors, progress = fit("mv_adapter", folder, team=team, lr=LR, clip_lr=LR, eps=EPS, batch=10, gallery=8)
    return {name: t.tolist() for name, t in tensors.items()}, [(e["loss"], e["videos"], e["val"]["RSum"]) for e in progress.epochs]


@pytest.mark.parametrize("size", [2, 4])
def test_a_training_of_several_processes_ends_where_that_of_one_does(size, tmp_path):
    """Batches of ten over two and four processes, 4 steps in each of 3 epochs, float32.

    A gradient clipped to norm 1 is a sum that is rounded in another order: take 16 units in the last place of 1, d = 16 * 2**-24. Adam's
    step is lr * m / (sqrt(v) + eps), so it moves by at most lr * 2 * d / eps for it, and n steps by n times that, 2.3e-5 here.
    """
    one, lines = _fitted(ALONE, tmp_path)
    (tmp_path / "team").mkdir()
    bound = 12 * LR * 2 * 16 * 2**-24 / EPS
    for other, theirs in together(Fitted(tmp_path / "team"), size=size):
        assert max(np.abs(np.array(one[name]) - np.array(other[name])).max() for name in one) < bound
        for (loss, videos, best), (loss2, videos2, best2) in zip(lines, theirs, strict=True):
            assert loss2 == pytest.approx(loss, abs=1e-5) and videos2 == videos and best2 == best


class Fitted:
    """`_fitted` in a folder, for another process."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, team):
        return _fitted(team, self.folder)


class Refused:
    """The sentence with which a team is refused."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, team):
        try:
            fit("vop", self.folder, team=team, batch=2)
        except ValueError as error:
            return str(error)


def test_more_processes_than_pairs_are_refused(tmp_path):
    assert together(Refused(tmp_path), size=4) == ["a batch of 2 pairs cannot be shared by 4 processes; use fewer"] * 4


@pytest.mark.parametrize(("name", "stops"), [("lora", 0), ("mv_adapter", 0), ("aim", 0), ("vop_fc", 1)])
def test_a_compiled_step_is_one_program_but_for_recurrences_over_videos_of_any_length(name, stops):
    """Of all methods, and with the numbers: `python -m benchmarks.compiled`."""
    clip = attached((name, {}), torch.float32, layers=2)
    split = planted(clip, videos=4, captions=1)
    torch._dynamo.reset()

    def encode(pairs):
        return split.encode(clip, pairs)

    found = torch._dynamo.explain(encode)(split.pairs(np.arange(4)))
    places = {str(reason.user_stack[-1]) for reason in found.break_reasons}
    assert len(places) == stops, places


@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile on a CPU needs g++")
def test_compiled_towers_give_the_same_numbers_but_for_rounding():
    clip = attached(("vop", {}), torch.float32, layers=1)  # each layer more is compiled for ten seconds more
    split = planted(clip, videos=4, captions=1)
    found = []
    for compiled in (False, True):
        for parameter in clip.trained().values():
            parameter.grad = None
        work = step.prepare(clip, split, settings=Train(compile=compiled), team=ALONE, device=CPU)
        loss = work.backward(split.pairs(np.arange(4)), total=4)
        found.append((loss.item(), torch.cat([p.grad.flatten() for p in clip.trained().values()])))
    (loss, gradient), (other, made) = found
    assert other == pytest.approx(loss, rel=1e-5)
    assert (gradient - made).abs().max() < 1e-5 * gradient.abs().max()


GPU = "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 39.39 GiB of which 1.2 GiB is free."


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (Train(), r"train.chunk: 16 \(now 32 pairs at once\) or checkpointing: true; the batch stays 32"),
        (Train(chunk=4, checkpointing=True), r"train.chunk: 2 \(now 4 pairs at once\); the batch stays 32"),
        (Train(chunk=1, checkpointing=True), r"train.precision: bfloat16; the batch stays 32"),
        (Train(chunk=1, checkpointing=True, precision="bfloat16"), "needs a larger machine"),
    ],
)
def test_the_end_of_memory_says_how_much_was_needed_and_what_to_change(settings, sentence):
    with (
        pytest.raises(ValueError, match=r"out of memory on cpu in step 3 of epoch 1: 2.7 GB more were needed; .*" + sentence),
        out_of_memory.explained(settings=settings, rows=32, device=CPU, where="step 3 of epoch 1"),
    ):
        raise torch.OutOfMemoryError(GPU)


def test_a_cpu_without_memory_is_explained_too_and_other_errors_are_left_alone():
    with (
        pytest.raises(ValueError, match="4.0 PB|4000.0 TB more were needed"),
        out_of_memory.explained(settings=Train(), rows=32, device=CPU, where="step 1 of epoch 1"),
    ):
        torch.empty(10**15)
    with pytest.raises(RuntimeError, match="size"), out_of_memory.explained(settings=Train(), rows=32, device=CPU, where=""):
        torch.zeros(2) + torch.zeros(3)


CLAIM = """
import sys, pathlib
from pipeline.runtime.device import claim
print(claim(["a", "b"], folder=pathlib.Path(sys.argv[1])), flush=True)
input()
"""


def test_jobs_of_one_machine_take_different_gpus_and_a_third_waits_for_a_free_one(tmp_path):
    def start():
        return subprocess.Popen([sys.executable, "-c", CLAIM, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    first, second = start(), start()
    assert {first.stdout.readline(), second.stdout.readline()} == {"0\n", "1\n"}
    third = start()
    assert third.stdout.readline().startswith("all 2 GPUs here are at work for other jobs; waiting")
    second.kill()
    number = third.stdout.readline()
    assert number in ("0\n", "1\n")
    for process in (first, third):
        process.communicate("\n", timeout=60)
