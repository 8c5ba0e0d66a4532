"""The duties of every method, whatever it is. A method that cannot do one of these is wrong, not special."""

from collections import Counter

import pytest
import torch

from pipeline import methods
from pipeline.adapters import checkpoint
from pipeline.clip.folding import NO, PART, YES, folds
from pipeline.config import registry
from pipeline.cost.dead_parameters import _Smooth
from pipeline.evaluation.similarity import scores
from tests.conftest import COLOURS, FAMILIES, make_batch, small_clip
from tests.methods import naive
from tests.methods.cases import SHAPE, cases, last, title

WORDS = SHAPE.num_words
CASES = [(*case, family) for family in FAMILIES for case in cases(family)]
LAST = [(*case, family) for family in FAMILIES for case in last() if family == "plain" or case in cases(family)]
TRAINABLE = [case for case in CASES if case[0] != "zero_shot"]


METHODS = {}


def method_of(case):
    """Methods are frozen: one of each case does for all tests."""
    if title(case) not in METHODS:
        METHODS[title(case)] = methods.load(case[0], config=case[1])
    return METHODS[title(case)]


HEADER = {"run": "vop", "config": {}, "shape": {}, "train": {}, "dataset": "toy", "seed": 0}


def plain(case):
    """A small CLIP of the case's family."""
    return small_clip(family=(*case, "plain")[2])


def attached(case, seed=3):
    clip = plain(case)
    torch.manual_seed(seed)
    return methods.attach(clip, method_of(case), shape=SHAPE).eval()


def shake(clip, size=0.05, seed=5):
    """Move every trainable tensor, so that zero-initialised ones take part."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in clip.trained().values():
            parameter.add_(size * torch.randn_like(parameter))
    return clip


def features(clip, batch):
    frames, mask, captions = batch
    return clip.encode_frames(frames, mask=mask), clip.encode_text(clip.tokenize(captions, num_words=WORDS))


def outputs(clip, batch):
    with torch.no_grad():
        return features(clip, batch)


def loss_of(clip, batch, scale=None):
    made = features(clip, batch)
    if clip.extra_captions:
        said = [f"a {word} frame {'again ' * place}" for word in COLOURS[: len(batch[1])] for place in range(batch[1].shape[1])]
        extra = clip.encode_text(clip.tokenize(said, num_words=WORDS), mask=batch[1])
        made = *made, extra.unflatten(0, batch[1].shape)
    assert all(part.dtype == torch.float32 for part in made)
    return naive.loss(clip, made, batch[1], scale=scale)


def gradients(clip, batch, *, loss=loss_of):
    for parameter in clip.trained().values():
        parameter.grad = None
    loss(clip, batch).backward()
    return {name: torch.zeros_like(p) if p.grad is None else p.grad.clone() for name, p in clip.trained().items()}


def each(cases):
    return pytest.mark.parametrize("case", cases, ids=title)


@each([case for case in CASES if method_of(case).identity_at_init])
def test_equals_clip_before_training_bit_for_bit(case, batch):
    clip, bare = attached(case), plain(case)
    # Torch chooses kernels by whether a weight wants a gradient, even where none is computed: the same flags, the same bits.
    bare.unfreeze(clip.unfrozen.__contains__)
    for ours, clips in zip(outputs(clip, batch), outputs(bare, batch), strict=True):
        torch.testing.assert_close(ours, clips, atol=0, rtol=0)


@each([case for case in CASES if not method_of(case).identity_at_init])
def test_differs_from_clip_before_training_where_it_says_so(case, batch):
    pairs = zip(outputs(attached(case), batch), outputs(plain(case), batch), strict=True)
    assert not all(torch.equal(ours, clips) for ours, clips in pairs)


# Entries that never get a gradient, by design: the second half of the release layout's text prompts, which no caption shorter than
# its row can see, and a map that makes nothing else; positions of frames that the videos do not have; what changes only the patches of the
# last block, which nobody reads; what only decides which regions are above the others; what of a kernel lies beside so few patches.
CONVPASS = {f"adapter.vision.2.{site}.conv.weight": 8 * 8 * 8 for site in ("attention", "mlp")}
PATCHES = {"cc.weight": 64 * 64, "cc.bias": 64, "fc1.weight": 16 * 128, "fc1.bias": 16, "fc2.weight": 64 * 16}
PATCHES = {f"adapter.vision.2.temporal.calibration.patches.{name}": number for name, number in PATCHES.items()}
STOP = {"adapter.vision.intra.motion.weight": 3 * 5 * 3 * 3, "adapter.vision.intra.motion.bias": 1}
# Of kernels of 15 and 11 patches only 7 ever lie on four.
STOP |= {f"adapter.vision.inter.{name}.weight": 9 * 3 * 25 * (15 - 7) for name in ("conv1", "conv2")}
STOP |= {"adapter.vision.inter.change.weight": 5 * 11 * (11 - 7)}
BEHIND = {"adapter.text.postfix.weight": 16 * 32, "adapter.text.postfix.bias": 16}
DEAD = {
    "convpass": CONVPASS,
    "convpass-text=frozen": CONVPASS,
    "convpass-last_blocks=1": CONVPASS,
    "mv_adapter-calibrate=patches": PATCHES,
    "mv_adapter-calibrate=both": PATCHES,
    "mv_adapter-last_blocks=2-calibrate=both": PATCHES,
    "dgl-text_layout=release": BEHIND,
    "stop-kernel=3": STOP,
    "stop_transformer-kernel=3": STOP,
    "stop-kernel=3-text_layout=release-regions=modulo-mlp_adapters=False": STOP | BEHIND,
    "vop-text_layout=release": {"adapter.text_prompts": 3 * 4 * 16},
    "clip4clip_transformer": {"adapter.position": (20 - 4) * 16},
    "clip4clip_transformer-start=random-layers=2": {"adapter.position": (20 - 4) * 16},
}
# Where attention over all tokens reads a tower, the patches of its last block are read; a text without end reads all its prompts.
READ = {name for name in DEAD if name.startswith(("convpass", "mv_adapter"))}
DEAD |= {f"pe:{name}": dead for name, dead in DEAD.items() if name not in READ}
DEAD |= {f"siglip:{name}": {"adapter.position": (12 - 4) * 32} for name in DEAD if name.startswith("clip4clip")}
DEAD |= {f"siglip:{name}": DEAD[name] for name in ("stop-kernel=3", "stop_transformer-kernel=3")}
TABLES = ("clip.token_embedding.weight", "clip.positional_embedding")  # rows of words and places that no caption has
# It moves all weights of a video alike: its gradient is rounding or, with torch 2.6, exactly nothing.
ROUNDING = ("adapter.video.out.bias",)


@each(TRAINABLE)
def test_every_trainable_entry_gets_gradient_or_is_named_as_dead_and_no_other_tensor_moves(case, batch):
    clip = attached(case)
    named, before = clip.trained(), {n: p.detach().clone() for n, p in clip.named_parameters()}
    touched = {n: torch.zeros_like(p, dtype=torch.bool) for n, p in named.items()}
    optimiser = torch.optim.SGD(named.values(), lr=0.5)
    for step in range(3):  # zeros behind zeros: what stands behind two of them is reached once two steps have been taken
        for n, gradient in gradients(clip, batch).items():
            touched[n] |= gradient != 0
        if step < 2:
            optimiser.step()
    unreached = [n for n, hit in touched.items() if not hit.any() and n not in DEAD.get(title(case), {}) and n not in ROUNDING]
    assert not unreached, "tensors without gradient after two steps"
    for draw in range(12):  # what one draw of weights and inputs does not reach, another may
        short = case[1].get("text_layout") == "release"  # whose dead half a caption that fills its row would wake
        other = shake(attached(case, seed=draw), 0.3, seed=draw)
        with _Smooth():  # a channel of the frozen CLIP that is never positive would hide what reads it through a ReLU
            found = gradients(other, make_batch(seed=draw, long=not short))
        for n, gradient in found.items():
            touched[n] |= gradient != 0
        dead = {n: int((~hit).sum()) for n, hit in touched.items() if n not in (*TABLES, *ROUNDING) and not hit.all()}
        if dead == DEAD.get(title(case), {}):
            break
    assert dead == DEAD.get(title(case), {})
    ours = {id(p) for p in named.values()}
    for n, p in clip.named_parameters():
        assert p.requires_grad == (id(p) in ours), n
        if id(p) not in ours:
            assert p.grad is None, f"{n} is frozen and has a gradient buffer"
            torch.testing.assert_close(p, before[n], atol=0, rtol=0)


@each(CASES)
def test_batch_order_padding_and_batch_size_never_change_an_embedding(case, batch):
    clip = shake(attached(case))
    frames, mask, captions = batch
    videos, texts = outputs(clip, batch)
    noisy = frames.clone()
    noisy[~mask] = 77
    padded, _ = outputs(clip, (noisy, mask, captions))
    torch.testing.assert_close(padded[mask], videos[mask], atol=1e-5, rtol=1e-5)
    back = [2, 1, 0]
    turned, said = outputs(clip, (frames[back], mask[back], [captions[i] for i in back]))
    torch.testing.assert_close(turned[back][mask], videos[mask], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(said[back], texts, atol=1e-5, rtol=1e-5)
    for row in range(3):
        single, word = outputs(clip, (frames[row : row + 1], mask[row : row + 1], captions[row : row + 1]))
        torch.testing.assert_close(single[0][mask[row]], videos[row][mask[row]], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(word[0], texts[row], atol=1e-5, rtol=1e-5)


# The released layout of VoP reads a padding token; tests/methods/test_vop.py shows that it does. SigLIP's texts have no end.
@each([case for case in CASES if case[1].get("text_layout") != "release" and case[2] != "siglip"])
def test_a_text_embedding_never_depends_on_what_follows_the_end_of_text(case, batch):
    clip = shake(attached(case))
    ids = clip.tokenize(batch[2], num_words=WORDS)
    other = ids.clone()
    other[ids == 0] = 5  # any word but the end of text, which has the largest id
    with torch.no_grad():
        torch.testing.assert_close(clip.encode_text(ids), clip.encode_text(other), atol=1e-6, rtol=1e-5)


@each(CASES)
def test_the_order_of_frames_matters_exactly_for_those_that_say_so(case, batch):
    clip = shake(attached(case), 0.3)
    frames, mask, _ = batch
    full = slice(0, 2)  # the videos without padding
    _, texts = outputs(clip, batch)
    with torch.no_grad():
        found = [clip.encode_frames(f, mask=mask[full]) for f in (frames[full], frames[full].flip(1))]
        forwards, backwards = (
            scores(texts, f, mask=mask[full], temperature=clip.query_temperature, weigh=clip.frame_weights) for f in found
        )
    moved = (forwards - backwards).abs().max()
    assert moved > 1e-4 if method_of(case).sees_time else moved < 1e-5, moved


@each(CASES)
def test_checkpoint_holds_what_was_trained_and_what_it_needs_beside_it_and_round_trips(case, batch, tmp_path):
    clip = shake(attached(case))
    header = HEADER | checkpoint.described(clip)
    checkpoint.save(tmp_path / "a.safetensors", clip.stored(), header=header)
    other = attached(case, seed=99)
    assert checkpoint.load_into(other, tmp_path / "a.safetensors") == header
    for ours, theirs in zip(outputs(other, batch), outputs(clip, batch), strict=True):
        torch.testing.assert_close(ours, theirs, atol=0, rtol=0)
    kept = sum(buffer.numel() for name, buffer in clip.adapter.named_buffers() if name in clip.adapter.state_dict())
    numbers = sum(p.numel() for p in clip.trained().values()) + kept
    assert 4 * numbers <= (tmp_path / "a.safetensors").stat().st_size <= 4 * numbers + 300 * len(clip.stored()) + 700


@each(CASES)
def test_detaching_gives_clip_back_bit_for_bit(case, batch):
    clip = shake(attached(case))
    clip.detach_all()
    for ours, clips in zip(outputs(clip, batch), outputs(plain(case), batch), strict=True):
        torch.testing.assert_close(ours, clips, atol=0, rtol=0)
    assert not clip.trained()
    assert not any(p.requires_grad for p in clip.parameters())
    assert clip.query_temperature is None and clip.frame_weights is None
    assert all(tower.side is None and not tower.taps for tower in (clip.vision, clip.text))


def test_weights_that_fold_into_those_of_clip_give_the_same_features(batch):
    """Of each method that folds away, or in part; of CLIP's own tensors nothing is left to fold."""
    found = {}
    for case in CASES:
        clip = attached(case)
        if not any(hooks.weights for tower in (clip.vision, clip.text) for hooks in tower.hooks):
            continue
        found.setdefault(case[0], folded := folds(clip))
        before = outputs(shake(clip, 0.1), batch)
        clip.merge()
        assert folds(clip) == (YES if folded == YES else NO)
        for ours, merged in zip(before, outputs(clip, batch), strict=True):
            torch.testing.assert_close(ours, merged, atol=1e-5, rtol=1e-5, msg=lambda text, case=case: f"{title(case)}: {text}")
    assert found.items() >= {"lora": YES, "dora": YES, "vera": YES, "pissa": YES, "tempme": PART, "discovla": PART}.items()


def streams(clip, batch):
    """Tower and layer -> the tokens as they enter the block of it, and as they leave it, what is attached to it included."""
    found = {"in": {}, "out": {}}

    def note(kind, place):
        def hook(tokens, _):
            found[kind][place] = tokens
            return tokens

        return hook

    for tower in (clip.vision, clip.text):
        for layer, hooks in enumerate(tower.hooks):
            hooks.before.insert(0, note("in", (tower.name, layer)))
            hooks.after.append(note("out", (tower.name, layer)))
    outputs(clip, batch)
    return found["in"], found["out"]


@each(LAST)
def test_below_the_last_blocks_is_plain_clip_bit_for_bit_and_from_there_on_it_is_not(case, batch):
    entering, leaving = streams(shake(attached(case), 0.3), batch)
    below, left = streams(plain(case), batch)
    first = 3 - case[1]["last_blocks"]
    assert first > 0
    for tower in ("vision", "text"):
        for layer in range(first + 1):
            torch.testing.assert_close(entering[tower, layer], below[tower, layer], atol=0, rtol=0)
        assert not torch.equal(leaving[tower, first], left[tower, first])


@each(LAST)
def test_as_many_last_blocks_as_there_are_is_the_same_as_none_given(case, batch):
    clips = [shake(attached((case[0], case[1] | {"last_blocks": number}, case[2]))) for number in (3, None)]
    ours, every = (clip.trained() for clip in clips)
    assert [(name, p.shape) for name, p in ours.items()] == [(name, p.shape) for name, p in every.items()]
    for one, other in zip(*(outputs(clip, batch) for clip in clips), strict=True):
        torch.testing.assert_close(one, other, atol=0, rtol=0)


@each(TRAINABLE)
def test_activation_checkpointing_gives_the_same_gradients(case, batch):
    clip = shake(attached(case))
    kept = gradients(clip, batch)
    clip.checkpointing(True)
    for name, gradient in gradients(clip, batch).items():
        torch.testing.assert_close(gradient, kept[name], atol=1e-6, rtol=1e-5)


HALF = [(case, kind) for case in TRAINABLE for kind in ("bfloat16", "float16") if kind == "bfloat16" or case[2] == "plain"]


@pytest.mark.parametrize(("case", "precision"), HALF, ids=[f"{title(case)}-{kind}" for case, kind in HALF])
def test_half_precision_gives_float32_features_and_gradients_close_to_those_of_float32(case, precision, batch):
    clip = shake(attached(case))

    def scaled(clip, batch):
        return loss_of(clip, batch, scale=torch.tensor(5.0))

    exact = gradients(clip, batch, loss=scaled)
    clip.compute_in(precision)
    found = gradients(clip, batch, loss=scaled)
    assert all(g.dtype == torch.float32 and g.isfinite().all() for g in found.values())
    one, other = (torch.cat([g.flatten() for g in all_.values()]) for all_ in (exact, found))
    assert torch.nn.functional.cosine_similarity(one, other, dim=0) > 0.9


@each(CASES)
def test_in_bfloat16_no_token_is_float32_between_the_blocks(case, batch):
    """Nor before a hook has seen it: what a method puts among the tokens has their type."""
    clip = shake(attached(case))
    clip.compute_in("bfloat16")
    kinds = Counter()
    for tower in (clip.vision, clip.text):
        watched = [tower.embedding, *(list_ for hooks in tower.hooks for list_ in (hooks.before, hooks.after))]
        for hooks in watched:
            hooks[:] = [lambda tokens, flow, hook=hook: kinds.update([(made := hook(tokens, flow)).dtype]) or made for hook in hooks]
        for block in tower.blocks:
            block.ln_1.register_forward_hook(lambda _, given, made: kinds.update([given[0].dtype, made.dtype]))
            block.mlp.gelu.register_forward_hook(lambda _, given, made: kinds.update([given[0].dtype, made.dtype]))
    outputs(clip, batch)
    assert set(kinds) == {torch.bfloat16} and kinds.total() > 10


def test_the_same_adapter_gives_the_same_file_byte_for_byte(tmp_path):
    for name in ("a", "b"):
        checkpoint.save(tmp_path / name, attached(("mv_adapter", {})).trained(), header={"b": 1, "a": [2]})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_checkpoint_of_another_backbone_is_refused_with_both_names(tmp_path):
    clip = attached(("vop", {}))
    checkpoint.save(tmp_path / "a", clip.trained(), header=HEADER | {"backbone": "ViT-X", "backbone_digest": "0" * 64})
    with pytest.raises(ValueError, match=r"trained on backbone ViT-X \(000000000000\), not on small"):
        checkpoint.load_into(clip, tmp_path / "a")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint at all", b"\x80\x04\x95"])
def test_a_file_that_is_no_checkpoint_is_refused_by_name(tmp_path, content):
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match="a.safetensors is not an adapter checkpoint"):
        checkpoint.read_header(tmp_path / "a.safetensors")


def test_other_settings_than_the_checkpoints_are_refused(tmp_path):
    clip = attached(("mv_adapter", {}))
    checkpoint.save(tmp_path / "a", clip.trained(), header=HEADER | {"backbone": clip.name, "backbone_digest": clip.digest})
    with pytest.raises(ValueError, match="has shape"):
        checkpoint.load_into(attached(("mv_adapter", {"middle": 32})), tmp_path / "a")
    with pytest.raises(ValueError, match="holds the unknown 'clip"):
        checkpoint.load_into(attached(("mv_adapter", {"clip_biases": False})), tmp_path / "a")


def test_unknown_hyperparameter_and_wrong_type_are_one_sentence():
    with pytest.raises(ValueError, match=r"methods.vop.config: .*visual_promts"):
        methods.load("vop", config={"visual_promts": 4})
    with pytest.raises(ValueError, match=r"methods.vop.config"):
        methods.load("vop", config={"visual_prompts": "many"})


def test_every_method_names_its_paper_and_every_file_has_a_test():
    from pathlib import Path

    for name, entry in registry.entries().items():
        method = methods.load(name, config={})
        assert method.paper.startswith("arXiv:")
        assert type(method).__doc__ and method.paper in __import__(entry.module, fromlist=["x"]).__doc__
        assert (Path(__file__).parent / f"test_{entry.file.stem}.py").is_file()
