"""One backbone and many indexes: the numbers of evaluation whatever was asked before, and indexes that come and go."""

import shutil
import threading

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline import methods
from pipeline.adapters import checkpoint
from pipeline.clip import load_backbone
from pipeline.config.dataset import Frames
from pipeline.config.schema import Backbone
from pipeline.config.settings import Sampling
from pipeline.evaluation import embed, validation
from pipeline.inputs.frames import ClipStore
from pipeline.inputs.split import Split
from pipeline.runtime import device
from pipeline.search.session import MAX_QUERY, Session
from pipeline.video.sample import sampled
from tests.adapters.files import SHAPE, write_adapter, write_backbone
from tests.search.conftest import RUNS, make_video

TEXTS = [f"caption {order} of {number}" for number in range(7) for order in range(2)]


def name_of(run, gallery="videos"):
    return f"{gallery}/clip-tiny/{run}/0"


def evaluated(world, run):
    """The embeddings that rule embed makes of the split, from its clips."""
    device.prepare(torch.device("cpu"), threads=1, seed=0)
    header = checkpoint.read_header(world.home / world.adapter(run))
    clip = load_backbone(Backbone("clip-tiny", str(world.weights)))
    methods.attach(clip, methods.load(run, config=header["config"]), shape=methods.Shape(4, 12))
    checkpoint.load_into(clip, world.home / world.adapter(run))
    shape = Sampling(words=12, frames=Frames(**SHAPE["frames"]))
    table = pd.read_parquet(world.home / "work/toy/test/captions.parquet")
    store = ClipStore(world.home / "work/toy/test/videos.parquet", world.home / "data/toy/clips", settings=shape.frames)
    rows = np.repeat(np.arange(7), 2)
    ids = clip.tokenize(table["text"].tolist(), num_words=shape.words)
    split = Split(store, None, ids, rows, np.ones(14, bool), table["caption_id"].tolist())
    return embed.embed(clip, split, device=torch.device("cpu"))


@pytest.fixture(scope="module")
def toy(dataset, tmp_path_factory):
    """The dataset indexed under all adapters."""
    world = dataset.copy(tmp_path_factory.mktemp("toy") / "home")
    world.index("--dataset", "toy", runs=RUNS)
    return world


@pytest.fixture(scope="module")
def session(toy):
    return Session(toy.indexes, place="cpu")


@pytest.mark.parametrize("run", RUNS)
def test_rankings_are_those_of_evaluation(toy, session, run):
    made = evaluated(toy, run)
    expected = validation.similarities(made)
    for row, text in enumerate(TEXTS):
        hits = session.text(name_of(run, "toy"), text, 10)
        assert [hit.row for hit in hits] == np.argsort(-expected[row], kind="stable")[:10].tolist()
        np.testing.assert_allclose([hit.score for hit in hits], -np.sort(-expected[row])[:10], atol=1e-6)
    for video in range(7):
        hits = session.captions(name_of(run, "toy"), video, 10)
        assert [hit.row for hit in hits] == np.argsort(-expected[:, video], kind="stable")[:10].tolist()
        np.testing.assert_allclose([hit.score for hit in hits], -np.sort(-expected[:, video])[:10], atol=1e-6)
        assert all(hit.video == hit.row // 2 for hit in hits)


@pytest.mark.parametrize("run", RUNS)
def test_the_probe_scores_a_video_and_its_twin_as_evaluation_does(toy, session, run):
    own, twin, _ = validation.twin_scores(evaluated(toy, run))
    for row, text in enumerate(TEXTS):
        found = session.probe(name_of(run, "toy"), text, row // 2)
        np.testing.assert_allclose((found.forwards, found.backwards), (own[row], twin[row]), atol=1e-6)
        clip = session.gallery(name_of(run, "toy")).clip(row // 2)
        assert found.times == [index / SHAPE["clips"]["fps"] for index in sampled(clip, Frames(**SHAPE["frames"]))[1]]


def test_a_file_from_elsewhere_is_its_own_best_and_has_the_texts_of_its_row(indexed):
    session = Session(indexed.indexes, place="cpu")
    for run in ("vop", "cm_adapter"):
        gallery = session.gallery(name_of(run))
        for row in (0, 3):
            path = indexed.home / gallery.videos["source"][row]
            encoded = session.seen(name_of(run), path)
            np.testing.assert_allclose(encoded.frames[0], gallery.encoded(row).frames[0], atol=1e-5)
            hits = session.file(name_of(run), path, 7)
            np.testing.assert_allclose([hit.score for hit in hits], np.sort(session.scores(name_of(run), path))[::-1], atol=1e-6)
            if run == "vop":
                assert hits[0].score == pytest.approx(1, abs=1e-6)
            assert [hit.row for hit in session.captions(name_of(run), path, 3)] == [
                hit.row for hit in session.captions(name_of(run), row, 3)
            ]


def test_threads_that_share_a_session_get_what_one_alone_gets(session):
    asked = [(name_of(run, "toy"), text) for run in RUNS for text in TEXTS[:4]]
    expected = {pair: session.text(*pair, 5) for pair in asked}
    wrong = []

    def work(seed):
        for place in np.random.default_rng(seed).integers(0, len(asked), 40):
            pair = asked[place]
            found = session.text(*pair, 5)
            if found != expected[pair]:
                wrong.append((pair, found))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_what_is_no_question_is_one_sentence(session):
    name = name_of("vop", "toy")
    for query, message in (
        ("", "query is empty"),
        (" \n", "query is empty"),
        ("x" * (MAX_QUERY + 1), "1001 characters"),
        ("\ud800", "no text"),
    ):
        with pytest.raises(ValueError, match=message):
            session.text(name, query, 3)
    assert len(session.text(name, "\0\x07 💃 " + "x" * 900, 3)) == 3
    with pytest.raises(ValueError, match="there is no index 'toy/clip-tiny/vob/0'; did you mean 'toy/clip-tiny/vop/0'"):
        session.text("toy/clip-tiny/vob/0", "a red star", 3)
    for row in (-1, 7):
        with pytest.raises(ValueError, match=f"has no video {row}; it has 7"):
            session.video(name, row, 3)


def test_no_index_says_how_to_make_one(tmp_path):
    with pytest.raises(ValueError, match="there is no index below .*; make one: python -m pipeline.stages.index --folder"):
        Session(tmp_path / "indexes", place="cpu")


@pytest.fixture
def own(indexed, tmp_path):
    return indexed.copy(tmp_path / "home")


def test_an_index_whose_adapter_is_gone_or_another_is_refused_with_the_command_that_mends_it(own):
    (own.home / own.adapter("vop")).unlink()
    write_adapter(own.home / own.adapter("mv_adapter"), own.weights, "mv_adapter", RUNS["mv_adapter"], seed=8)
    session = Session(own.indexes, place="cpu")
    assert session.names == [name_of(run) for run in ("cm_adapter", "full_finetune", "zero_shot")]
    assert session.other.keys() == {name_of("vop"), name_of("mv_adapter")}
    with pytest.raises(
        ValueError, match="vop/0/adapter.safetensors, is gone; put it back, or index again: python -m pipeline.stages.index"
    ):
        session.text(name_of("vop"), "a red star", 3)
    command = "python -m pipeline.stages.index --folder videos --name videos --adapter runs/toy/clip-tiny/mv_adapter/0/adapter.safetensors"
    with pytest.raises(ValueError, match=f"is another one than it was made with; index again: {command}"):
        Session(own.indexes, names=[name_of("mv_adapter")], place="cpu")


def test_indexes_of_another_backbone_are_left_out_and_can_be_named(own):
    write_backbone(own.home / "work/second.safetensors", seed=5)
    path = own.home / "second.safetensors"
    write_adapter(path, own.home / "work/second.safetensors", "vop")
    own.index("--folder", "videos", "--name", "second", "--adapter", path.name, runs=(), weights="work/second.safetensors")
    second = name_of("vop", "second")
    session = Session(own.indexes, place="cpu")
    assert session.names == [name_of(run) for run in sorted(RUNS)] and session.other.keys() == {second}
    with pytest.raises(
        ValueError, match=rf"was made with backbone clip-tiny \(\w+\), and .* is in memory; search it by itself: --index {second}"
    ):
        session.text(second, "a red star", 1)
    alone = Session(own.indexes, place="cpu", names=[second])
    assert alone.names == [second] and alone.other == {} and alone.text(second, "a red star", 1)
    with pytest.raises(ValueError, match="in memory; search it by itself"):
        Session(own.indexes, place="cpu", names=[second, *session.names])
    with pytest.raises(ValueError, match="no index below .* is of backbone ViT-B-32"):
        Session(own.indexes, place="cpu", backbone="ViT-B-32")


def test_an_adapter_of_other_weights_is_refused_before_anything_is_indexed(world):
    write_backbone(world.weights, seed=5)
    with pytest.raises(ValueError, match="was trained on backbone clip-tiny .* use that backbone or train again"):
        world.index()
    assert not (world.indexes / "videos/clips").exists()


def test_refresh_sees_what_is_new_replaced_and_gone_and_forgets_nothing_else(own):
    session = Session(own.indexes, place="cpu")
    assert session.refresh() == []
    before = session.gallery(name_of("vop"))
    make_video(own.videos / "new.mp4", 20)
    own.index("--folder", "videos", runs=("vop",))
    assert len(before) == 7 and len(before.by_text(np.ones(128, np.float32), 9)) == 7  # what is open stays whole
    shutil.rmtree(own.indexes / "videos/clip-tiny/full_finetune")
    own.index("--folder", "videos/sub", "--name", "part", runs=("zero_shot",))
    assert session.refresh() == sorted([name_of("vop"), name_of("full_finetune"), name_of("zero_shot", "part")])
    assert len(session.gallery(name_of("vop"))) == 8
    assert name_of("full_finetune") not in session.names and name_of("zero_shot", "part") in session.names
    assert session.text(name_of("zero_shot", "part"), "a red star", 1) and session.refresh() == []
    (own.indexes / "videos/clip-tiny/vop/0/index.h5").write_bytes(b"garbage")
    assert session.refresh() == [name_of("vop")] and "cannot be used" in session.other[name_of("vop")]
    assert session.refresh() == []


def test_an_adapter_that_is_replaced_takes_the_indexes_it_no_longer_fits_out(own):
    own.index("--folder", "videos/sub", "--name", "part", runs=("vop",))
    session = Session(own.indexes, place="cpu")
    expected = session.text(name_of("vop"), "a red star", 3)
    write_adapter(own.home / own.adapter("vop"), own.weights, "vop", seed=8)
    assert session.refresh() == [] and session.text(name_of("vop"), "a red star", 3) == expected
    own.index("--folder", "videos/sub", "--name", "part", runs=("vop",))
    assert session.refresh() == [name_of("vop", "part")]
    assert name_of("vop") in session.other and "was replaced; index again" in session.other[name_of("vop")]
    assert session.text(name_of("vop", "part"), "a red star", 1)
    own.index("--folder", "videos", runs=("vop",))
    assert session.refresh() == [name_of("vop")] and session.text(name_of("vop"), "a red star", 3) != expected
