"""Every method and option on a pretended GPU: nothing is misplaced, the numbers are those of the CPU, and a step hardly waits."""

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence

from pipeline import methods
from pipeline.config.schema import Train
from pipeline.cost import measure
from pipeline.training import loop
from tests.conftest import small_clip
from tests.methods.cases import QUICK, SHAPE, cases, title
from tests.pretended_gpu import CPU, GPU, Misplaced, PretendedGpu, put
from tests.training.planted import planted

WAITS = 1  # of a step at most, whatever the number of layers
TRAINABLE = [case for case in cases() if case[0] != "zero_shot"]
METHODS = [case for case in TRAINABLE if case[1] == QUICK.get(case[0], {})]
OPTIONS = [case for case in TRAINABLE if case not in METHODS]


class Ended(Exception):
    pass


def attached(case):
    torch.manual_seed(7)
    return methods.attach(small_clip(), methods.load(case[0], config=case[1]), shape=SHAPE)


def splits(clip, *, videos, twins):
    """Training and validation of so many pairs each, with a padded video and `twins`."""
    found = planted(clip, videos=videos, captions=1), planted(clip, videos=videos, captions=1, seed=1)
    for split in found:
        split.store.mask[1, 2:] = False
        split.directed[:twins] = True
    return found


def train(clip, device, folder, *, report=lambda _: None, videos=4, twins=2, **settings):
    """Two epochs of one step, or what is left of them after a stop; each is validated."""
    data = splits(clip, videos=videos, twins=twins)
    clip.to(device)
    values = Train(**({"epochs": 2, "batch": 4, "warmup": 0.0, "precision": "float32"} | settings))
    shared = {"state": folder / f"{device.type}.pt", "fingerprint": "f", "report": report}
    return loop.train(clip, data, settings=values, seed=5, device=device, **shared)


def stop(epochs):
    """As a report: the training is killed after its first epoch."""
    if len(epochs) == 1:
        raise Ended


@pytest.fixture
def steps(monkeypatch):
    """The waits of each step on a pretended GPU, which is `steps.gpu`."""
    found, plain = Steps(), loop._Run.step

    def counted(*arguments, **options):
        before = found.gpu.waits.copy()
        try:
            return plain(*arguments, **options)
        finally:
            found.append(found.gpu.waits - before)

    monkeypatch.setattr(loop._Run, "step", counted)
    return found


class Steps(list):
    """The waits of each step by line."""

    gpu = None


def goes_on(case, folder, steps, **settings):
    """Tensors and epochs of a training on the pretended GPU that is killed after its first epoch and goes on, and what it counts."""
    with PretendedGpu() as steps.gpu:
        with pytest.raises(Ended):
            train(attached(case), GPU, folder, report=stop, **settings)
        clip = attached(case)
        tensors, progress = train(clip, GPU, folder, **settings)
        assert {p.device for p in clip.parameters()} == {GPU}
        counted = measure.macs(clip, num_frames=4, num_words=12, device=GPU)
        return {name: value.cpu() for name, value in tensors.items()}, progress.epochs, counted


@pytest.fixture(autouse=True)
def _one_arithmetic(monkeypatch):
    """AdamW as on a GPU: the fused one of a CPU rounds otherwise, and Adam makes a whole step of a gradient that is all rounding."""
    plain = torch.optim.AdamW
    monkeypatch.setattr(torch.optim, "AdamW", lambda *arguments, **options: plain(*arguments, **(options | {"fused": None})))


def same(case, folder, found, **settings):
    """The same training on the CPU, in one go, gives what was `found`."""
    tensors, epochs, counted = found
    clip = attached(case)
    plain, progress = train(clip, CPU, folder, **settings)
    assert plain.keys() == tensors.keys() and len(epochs) == len(progress.epochs)
    for name, value in plain.items():
        torch.testing.assert_close(tensors[name], value, atol=1e-6, rtol=1e-5, msg=lambda text, name=name: f"{name}: {text}")
    for one, other in zip(epochs, progress.epochs, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-5) and one["val"] == pytest.approx(other["val"])
    assert counted == measure.macs(clip, num_frames=4, num_words=12, device=CPU)


@pytest.mark.parametrize("case", METHODS, ids=title)
def test_every_method_trains_embeds_counts_and_goes_on_with_the_numbers_of_the_cpu(case, tmp_path, steps):
    found = goes_on(case, tmp_path, steps)
    assert len(steps) == 2 and all(waits.total() <= WAITS for waits in steps), steps
    same(case, tmp_path, found)


@pytest.mark.parametrize("case", OPTIONS, ids=title)
def test_every_option_too(case, tmp_path, steps):
    """One epoch, of which the training that goes on has nothing left to do."""
    with PretendedGpu() as steps.gpu:
        clip = attached(case)
        for _ in range(2):
            train(clip, GPU, tmp_path, epochs=1, videos=2, twins=0)
        measure.macs(clip, num_frames=4, num_words=12, device=GPU)
    assert len(steps) == 1 and steps[0].total() <= WAITS, steps


@pytest.mark.parametrize(
    ("settings", "more"),
    [
        ({"precision": "bfloat16", "chunk": 3, "checkpointing": True}, 3),  # two pieces go through the tower twice
        ({"precision": "float16"}, 1),  # whether it overflowed
        ({"optimiser": "bert_adam", "half": True}, 0),
    ],
    ids=str,
)
def test_other_precisions_pieces_and_optimisers(settings, more, tmp_path, steps):
    goes_on(("vop_fc", {}), tmp_path, steps, **settings)
    assert all(waits.total() <= WAITS + more for waits in steps), steps


def as_it_is(clip):
    return clip


def over_the_bound(folder, steps, *, attach=as_it_is):
    """Train VoP with a mistake in it for a step and once more after a stop; AssertionError if a step waits more often than it may."""
    with PretendedGpu() as steps.gpu:
        for report in (stop, lambda _: None):
            clip = attached(("vop", {}))
            attach(clip)
            try:
                train(clip, GPU, folder, report=report)
            except Ended:
                continue
    assert all(waits.total() <= WAITS for waits in steps), steps


def each_block(hook):
    """Attach a hook to the tokens of every block of vision."""

    def attach(clip):
        for hooks in clip.vision.hooks:
            hooks.before.append(hook)

    return attach


def test_nothing_planted_is_nothing_found(tmp_path, steps):
    over_the_bound(tmp_path, steps, attach=each_block(lambda tokens, _: tokens + 0))


def test_a_table_that_stayed_on_the_cpu_is_found_with_its_line(tmp_path, steps):
    table = torch.zeros(32)

    def add(tokens, _):
        return tokens + table

    with pytest.raises(Misplaced, match=r"^clip/tower.py:\d+: aten.add.Tensor of .* places: cuda \(16, \d+, 32\), cpu \(32,\)"):
        over_the_bound(tmp_path, steps, attach=each_block(add))


def test_a_mask_that_is_made_on_the_cpu_is_found(tmp_path, steps):
    def attach(clip):
        clip.vision.hooks[1].mask = lambda tokens, _: torch.zeros(tokens.shape[1], tokens.shape[1])

    with pytest.raises(Misplaced, match=r"^clip/attention.py:\d+: .*attention.*, cpu \(13, 13\)"):
        over_the_bound(tmp_path, steps, attach=attach)


@pytest.mark.parametrize(
    ("take", "error", "words"),
    [
        (lambda tokens, rows: tokens[rows], AssertionError, r"clip/tower.py:\d+': 3"),  # torch copies it to the GPU, in every layer
        (lambda tokens, rows: tokens.index_select(0, rows), Misplaced, "aten.index_select"),
    ],
)
def test_an_index_on_the_cpu_is_found(take, error, words, tmp_path, steps):
    with pytest.raises(error, match=words):
        over_the_bound(tmp_path, steps, attach=each_block(lambda tokens, _: take(tokens, torch.arange(len(tokens)))))


def test_a_generators_state_on_the_gpu_is_found(tmp_path, steps, monkeypatch):
    monkeypatch.setattr("pipeline.training.state.set_random_state", lambda state, device: torch.set_rng_state(state[0].to(device)))
    with pytest.raises(Misplaced, match=r"^training/state.py:\d+: the state of a generator on cuda:0"):
        over_the_bound(tmp_path, steps)


def test_an_optimisers_counters_on_the_gpu_are_found(tmp_path, steps, monkeypatch):
    load = torch.load
    monkeypatch.setattr(torch, "load", lambda path, **options: _on_the_gpu(load(path, **options)))
    with pytest.raises(AssertionError, match=r"training/loop.py:\d+"):
        over_the_bound(tmp_path, steps)


def _on_the_gpu(stored):
    """A state as it would be, read to the GPU."""
    for entry in stored["optimiser"]["state"].values():
        put(entry["step"], "cuda")
    return stored


def test_a_copy_to_the_host_in_every_layer_is_found(tmp_path, steps):
    with pytest.raises(AssertionError, match=r"clip/tower.py:\d+': 3"):
        over_the_bound(tmp_path, steps, attach=each_block(lambda tokens, _: tokens + tokens.detach().mean().item()))


def test_what_is_packed_by_lengths_stays_there_and_waits():
    with PretendedGpu() as gpu:
        x = torch.ones(3, 4, 2).to(GPU)
        gpu.waits.clear()
        packed = pack_padded_sequence(x, torch.tensor([2, 4, 1]), batch_first=True, enforce_sorted=False)
        assert packed.data.device == GPU and packed.batch_sizes.device == CPU and packed.data.shape == (7, 2)
    assert gpu.waits


def test_a_wait_is_counted_where_python_asks_for_a_value():
    ask = {
        "item": lambda x: x[0].item(),
        "bool": lambda x: bool((x > 0).all()),
        "cpu": lambda x: x.cpu(),
        "to": lambda x: x.to("cpu"),
        "tolist": lambda x: x.tolist(),
        "nonzero": lambda x: x.nonzero(),
        "mask": lambda x: x[x > 0],
        "repeat": lambda x: x.repeat_interleave(torch.ones(4, dtype=torch.long).to(x.device)),
        "equal": lambda x: torch.equal(x, x),
    }
    for name, function in ask.items():
        with PretendedGpu() as gpu:
            x = torch.arange(4.0, device=GPU)
            function(x)
        assert gpu.waits.total() == (2 if name == "repeat" else 1), name
    with PretendedGpu() as gpu:
        x = torch.arange(4.0).pin_memory().to(GPU, non_blocking=True)
        assert (x + 1).sum().device == GPU and x.to(GPU) is x and torch.zeros(1).device == CPU
        with pytest.raises(Misplaced, match="copy it to the CPU first"):
            x.numpy()
    assert not gpu.waits
