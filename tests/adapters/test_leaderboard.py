"""An adapter as a model of mteb: our side alone, and a made-up task of mteb's own code without network."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pipeline.adapters import leaderboard
from pipeline.config.schema import Backbone
from tests.adapters.files import TEXTS, write_adapter, write_backbone

SIZES = ((48, 64), (64, 48), (80, 80))  # height and width of each made-up video


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("leaderboard")
    weights = write_backbone(folder / "weights.safetensors")
    return folder, weights, write_adapter(folder / "vop.safetensors", weights, "vop", dataset="msrvtt")


@pytest.fixture
def model(files, one_thread):  # noqa: ARG001
    _, weights, adapter = files
    return leaderboard.Model(adapter, backbone=Backbone("clip-tiny", str(weights)), device=torch.device("cpu"))


def video(number, frames=4):
    """uint8 (T, 3, H, W), as mteb's collator gives a decoded video."""
    drawn = np.random.default_rng(number).integers(0, 256, (frames, 3, *SIZES[number]), dtype=np.uint8)
    return torch.from_numpy(drawn)


class Loader:
    """As much of a DataLoader as an encoder sees."""

    def __init__(self, batches, *features):
        self.batches, self.dataset, self.collate_fn = batches, SimpleNamespace(features=dict.fromkeys(features)), None

    def __iter__(self):
        return iter(self.batches)


def collated(monkeypatch):
    """mteb as far as it is asked for its collator."""
    collators = SimpleNamespace(FramesCollator=lambda **settings: settings)
    monkeypatch.setattr(leaderboard, "module", lambda: SimpleNamespace(models=SimpleNamespace(modality_collators=collators)))


def test_texts_and_videos_are_unit_vectors_whatever_the_batches(model, monkeypatch):
    collated(monkeypatch)
    texts = model.encode(Loader([{"text": TEXTS[:2]}, {"text": TEXTS[2:]}], "text", "id"))
    loader = Loader([{"video": [video(0), video(1)]}, {"video": [video(2)]}], "video", "id")
    videos = model.encode(loader, task_metadata=None, hf_split="test", hf_subset="default", prompt_type="document", batch_size=2)
    assert loader.collate_fn == {"num_frames": 4}
    assert texts.shape == videos.shape == (3, 128) and texts.dtype == videos.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(np.concatenate([texts, videos]), axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(model.similarity(texts, videos).numpy(), texts @ videos.T, rtol=1e-5)
    np.testing.assert_allclose(model.similarity_pairwise(texts, videos).numpy(), (texts * videos).sum(axis=1), rtol=1e-5)
    alone = model.encode(Loader([{"video": [video(1)]}], "video"))
    np.testing.assert_allclose(alone[0], videos[1], atol=1e-5)
    assert model.encode(Loader([], "text")).shape == (0, 128)


def test_frames_are_made_squares_as_those_of_the_adapter(model):
    wide = torch.zeros(1, 3, 64, 128, dtype=torch.uint8)
    wide[..., 32:96] = 200
    assert model._squares(wide).shape == (1, 3, 64, 64) and (model._squares(wide) == 200).all()


@pytest.mark.parametrize(("features", "sentence"), [(("text", "video"), "of text and video"), (("audio",), "neither text nor video")])
def test_a_task_that_asks_for_something_else_is_refused(model, features, sentence):
    with pytest.raises(ValueError, match=sentence):
        model.encode(Loader([], *features))


def test_an_adapter_without_one_vector_a_video_is_refused(files):
    folder, weights, _ = files
    adapter = write_adapter(folder / "query.safetensors", weights, "cm_adapter", {"pooling": "query"})
    with pytest.raises(ValueError, match="weighs frames by each query, so a video has no single vector, which mteb asks for"):
        leaderboard.Model(adapter, backbone=Backbone("clip-tiny", str(weights)), device=torch.device("cpu"))


def test_where_mteb_is_missing_a_sentence_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "mteb", None)
    with pytest.raises(ValueError, match=r"mteb cannot be imported .*pip install 'petl-vtr\[mteb\]'"):
        leaderboard.module()


@pytest.mark.parametrize(
    ("task", "dataset", "seen"),
    [
        ("MSRVTTT2V", "msrvtt", True),
        ("VATEXV2TRetrieval.v2", "vatex", True),
        ("MSVDT2VRetrieval", "msrvtt", False),
        ("MSRVTTT2V", "mine", False),
    ],
)
def test_a_task_of_the_dataset_that_was_trained_on_is_in_domain(task, dataset, seen):
    assert leaderboard.in_domain(task, dataset) is seen


class Decoder:
    """A video as mteb's collator decodes it."""

    def __init__(self, number):
        self.frames = video(number, frames=7)
        self.metadata = SimpleNamespace(num_frames=len(self.frames))

    def get_frames_at(self, rows):
        return SimpleNamespace(data=self.frames[rows])


def made_up():
    """A task of mteb with three videos and their captions, which are in no network."""
    from datasets import Dataset
    from mteb.abstasks.retrieval import AbsTaskRetrieval
    from mteb.abstasks.retrieval_dataset_loaders import RetrievalSplitData
    from mteb.abstasks.task_metadata import TaskMetadata

    class MSRVTTMadeUp(AbsTaskRetrieval):
        metadata = TaskMetadata(
            name="MSRVTTMadeUp",
            description="Made up.",
            dataset={"path": "none", "revision": "0"},
            type="Any2AnyRetrieval",
            category="t2v",
            modalities=["video", "text"],
            eval_langs=["eng-Latn"],
            main_score="ndcg_at_10",
        )

        def load_data(self, num_proc=None, **kwargs):  # noqa: ARG002
            ids = [str(number) for number in range(3)]
            corpus = Dataset.from_dict({"id": ids, "video": [0, 1, 2]})
            corpus = corpus.with_transform(lambda rows: rows | {"video": [Decoder(number) for number in rows["video"]]})
            queries = Dataset.from_dict({"id": ids, "text": TEXTS})
            found = RetrievalSplitData(queries=queries, corpus=corpus, relevant_docs={n: {n: 1} for n in ids}, top_ranked=None)
            self.dataset, self.data_loaded = {"default": {"test": found}}, True

    return MSRVTTMadeUp()


def test_a_made_up_task_has_the_score_that_its_ranks_give(model, tmp_path, monkeypatch):
    pytest.importorskip("mteb", reason="needs the package mteb: pip install -e '.[mteb]'")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    leaderboard.describe(model, sha256="a" * 64, tasks=["MSRVTTMadeUp", "MSVDT2VRetrieval"])
    assert model.mteb_model_meta.training_datasets == {"MSRVTTMadeUp"}
    text = leaderboard.run(model, [made_up()])
    rows = np.round(np.arange(4) * 2).astype(int)  # four of seven frames, the first and the last among them
    videos = model._videos([video(number, frames=7)[rows] for number in range(3)])
    scores = model._encoder.texts(leaderboard.NAME, TEXTS) @ videos.T
    ranks = (scores > scores.diagonal()[:, None]).sum(axis=1)
    expected = 100 * np.mean(1 / np.log2(ranks + 2))
    assert f"| MSRVTTMadeUp | ndcg_at_10 | {expected:.2f} | 3 | 3 | yes |" in text
    assert "4 spread evenly" in text and "nDCG@10" in text
