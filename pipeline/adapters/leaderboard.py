"""An adapter as a model of mteb, whose leaderboard of video embeddings (MVEB) has tasks, galleries and frames of its own.

mteb is imported here alone, and only where it is needed: it is an extra (`mteb`). It asks an encoder for no base class.
T frames, E embedding, H x W pixels.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pipeline.adapters.encoder import Encoder
from pipeline.config.dataset import Frames
from pipeline.config.schema import Backbone
from pipeline.core.formatting import markdown
from pipeline.video.sample import Pictures, square

NAME = "adapter"
# How the names of mteb's tasks begin whose videos or captions are of a dataset of ours.
TASKS = {"activitynet": "ActivityNetCaptions", "didemo": "DiDeMo", "msrvtt": "MSRVTT", "msvd": "MSVD", "vatex": "VATEX"}
HEAD = ("Task", "Main score", "Value", "Queries", "Gallery", "In domain")
NOTE = (
    "Not comparable with R@K of a paper or of this project's reports: mteb has galleries of its own (879 clips of MSR-VTT's 1,000, 660 of "
    "MSVD's 670) with one caption a video, its main score of retrieval is nDCG@10, and its frames are {frames} spread evenly from the "
    "first to the last, repeated where a video has fewer, whatever grid the adapter was trained with ({grid}). In domain: the adapter "
    "was trained on videos of that dataset."
)


class Model:
    """An encoder in mteb's sense: unit vectors of texts or of videos. `meta`: how mteb names it, where it runs it."""

    def __init__(self, adapter: Path, *, backbone: Backbone, device: torch.device) -> None:
        self._encoder = Encoder(backbone, device=device)
        self.header = self._encoder.add(NAME, adapter)
        if self._encoder.temperature(NAME) is not None:
            raise ValueError(f"{adapter} weighs frames by each query, so a video has no single vector, which mteb asks for")
        self.frames: Frames = self._encoder.shape(NAME).frames
        self.mteb_model_meta: Any = None
        self.encoded = Counter[tuple[str, str]]()  # by a task's name, and `query` or `document`

    def encode(self, inputs: Any, *, task_metadata: Any = None, prompt_type: Any = None, **_: Any) -> np.ndarray:
        """Unit vectors (N, E) of what is in the batches of a DataLoader: `text` or `video`. ValueError for both at once, or neither."""
        held = [name for name in ("text", "video") if name in inputs.dataset.features]
        if len(held) != 1:
            raise ValueError(
                f"a task asks for one vector of {' and '.join(held) or 'neither text nor video'}; there is one of either alone"
            )
        if held == ["video"]:
            inputs.collate_fn = module().models.modality_collators.FramesCollator(num_frames=self.frames.number)
        encode = self._videos if held == ["video"] else self._texts
        made = np.concatenate([np.empty((0, self._encoder.clip.embed_dim), np.float32), *(encode(batch[held[0]]) for batch in inputs)])
        self.encoded[getattr(task_metadata, "name", ""), getattr(prompt_type, "value", "")] += len(made)
        return made

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Tensor:
        """Dot products (N, M) of unit vectors (N, E) and (M, E)."""
        return torch.as_tensor(embeddings1) @ torch.as_tensor(embeddings2).T

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Tensor:
        """Dot products (N,) of unit vectors (N, E) and (N, E), row by row."""
        return (torch.as_tensor(embeddings1) * torch.as_tensor(embeddings2)).sum(dim=-1)

    def _texts(self, texts: Sequence[str]) -> np.ndarray:
        return self._encoder.texts(NAME, list(texts))

    def _videos(self, videos: Sequence[Tensor]) -> np.ndarray:
        """Of decoded frames (T, 3, H, W) uint8, made squares as the adapter's own were."""
        pictures = torch.from_numpy(np.stack([self._squares(video) for video in videos]))
        found = self._encoder.videos(NAME, pictures, torch.ones(pictures.shape[:2], dtype=torch.bool)).video
        assert found is not None, "a temperature was refused"
        return found

    def _squares(self, video: Tensor) -> Pictures:
        own = self.frames
        pictures = (Image.fromarray(picture) for picture in video.permute(0, 2, 3, 1).numpy())
        made = [square(picture, own.size, resize=own.resize, interpolation=own.interpolation) for picture in pictures]
        return np.stack([np.asarray(picture) for picture in made]).transpose(0, 3, 1, 2)


def module() -> ModuleType:
    """mteb. ValueError that says how to get it where it is not installed."""
    try:
        import_module("mteb.models.modality_collators")
        return import_module("mteb")
    except ImportError as error:
        raise ValueError(f"mteb cannot be imported ({error}); type: pip install 'petl-vtr[mteb]', or: pip install 'mteb[video]'") from error


def in_domain(task: str, dataset: str) -> bool:
    """Whether a task of mteb has videos or captions of the `dataset` that was trained on."""
    return dataset in TASKS and task.startswith(TASKS[dataset])


def describe(model: Model, *, sha256: str, tasks: Iterable[str]) -> None:
    """Tell mteb what the model is. `tasks`: names of all its tasks; those of the training's own dataset are said to be trained on."""
    header = model.header
    model.mteb_model_meta = module().models.ModelMeta(
        loader=None,
        name=f"petl-vtr/{header['run']}-{header['backbone']}-{header['dataset']}-{header['seed']}",
        revision=sha256,
        release_date=None,
        languages=["eng-Latn"],
        n_parameters=sum(parameter.numel() for parameter in model._encoder.clip.parameters()),
        memory_usage_mb=None,
        max_tokens=model._encoder.shape(NAME).words,
        embed_dim=model._encoder.clip.embed_dim,
        license=None,
        open_weights=True,
        public_training_code=None,
        public_training_data=None,
        framework=["PyTorch"],
        similarity_fn_name="cosine",
        use_instructions=False,
        training_datasets={task for task in tasks if in_domain(task, header["dataset"])},
        modalities=["video", "text"],
    )


def run(model: Model, tasks: Sequence[Any]) -> str:
    """The numbers of mteb on its `tasks`, as Markdown with the notes that have to stand beside them."""
    found = module().evaluate(model, tasks, cache=None, show_progress_bar=False, co2_tracker=False)
    rows = [_row(model, task, result) for task, result in zip(tasks, found.task_results, strict=True)]
    note = NOTE.format(frames=model.frames.number, grid=model.frames.grid)
    return f"{markdown(HEAD, rows)}\n{note}\n"


def _row(model: Model, task: Any, result: Any) -> list[str]:
    name = str(task.metadata.name)
    sizes = [model.encoded[name, kind] for kind in ("query", "document")]
    seen = "yes" if in_domain(name, model.header["dataset"]) else "no"
    shown = (f"{number:,}" if number else "\u2013" for number in sizes)
    return [name, str(task.metadata.main_score), f"{100 * float(result.get_score()):.2f}", *shown, seen]
