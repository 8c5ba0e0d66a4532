"""Each folder of papers/ from raw videos to metrics: a dozen made videos under the publisher's names and one epoch, on a narrow CLIP.

All else is as the folder says: runs, recipes, splits, frames, words, and blocks of the backbone. Minutes for a large folder, so none runs
unless it is asked for (docs/reproducing.md):

    python -m pytest -n 0 -m papers tests/workflow/test_papers.py
"""

import json
import math
import shutil
import subprocess
from dataclasses import replace

import imageio_ffmpeg
import open_clip
import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import save_file

from pipeline import datasets
from pipeline.config import papers, recipes, resolve
from pipeline.config.params import load_params
from pipeline.datasets import lsmdc
from pipeline.datasets.annotations.rows import in_split
from tests.datasets.conftest import authentic  # noqa: F401
from tests.workflow.conftest import fresh

pytestmark = pytest.mark.papers

FILES = sorted(papers.FOLDER.glob("*/*/params.yaml"))
# Blocks of the vision tower; 77 tokens, as CLIP has them, and pictures of 4 x 4 patches.
BLOCKS = {"B": 12, "L": 24}
NARROW = {
    "embed_dim": 32,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 64, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 12},
}
SPLITS = {"train": 3, "val": 1, "test": 8}
INCOMPLETE = ("didemo", "lsmdc")  # of the first, a file is too large to be kept beside the others; the second is gated


def size(backbone):
    return backbone.split("-")[1]


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A checkout that knows the narrow CLIPs, their random weights, and twelve videos."""
    checkout = fresh(tmp_path_factory.mktemp("papers"), warm=True)
    for letter, layers in BLOCKS.items():
        config = NARROW | {"vision_cfg": NARROW["vision_cfg"] | {"layers": layers}}
        (checkout.folder / f"pipeline/clip/clip-tiny-{letter}.json").write_text(json.dumps(config), encoding="utf-8")
        torch.manual_seed(0)
        save_file(open_clip.CLIP(**config).state_dict(), checkout.folder / f"{letter}.safetensors")
    (checkout.folder / "made").mkdir()
    for number in range(sum(SPLITS.values())):
        picture = f"testsrc2=s=128x96:r=6:d=3,hue=h={30 * number}"
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-i", picture, checkout.folder / f"made/{number}.mp4"]
        subprocess.run(command, check=True)
    return checkout


def written(file, house, annotations):
    """The folder of a params.yaml in `house`, with what makes it small: one seed, one epoch, one shard, a narrow CLIP."""
    params = OmegaConf.load(file)
    [dataset], letter = params.run.datasets, size(params.backbone.name)
    folder = house.folder / file.relative_to(papers.FOLDER.parent).parent
    small = {
        "run": {"seeds": params.run.seeds[:1]},
        "device": "cpu",
        "backbone": {"name": f"clip-tiny-{letter}", "weights": str(house.folder / f"{letter}.safetensors")},
        "methods": {run: {"train": {"epochs": 1}, "config": narrowed(run, dataset)} for run in params.methods},
        "datasets": {
            dataset: {
                "annotations": str(annotations / dataset),
                "videos": str(folder / "videos"),
                "exclude": str(folder / "exclude.tsv"),
                "counts": "report" if dataset in INCOMPLETE else "assert",
                "missing": dict.fromkeys(SPLITS, 1.0),
                "clips": {"shard": 200_000},
                "frames": {"size": NARROW["vision_cfg"]["image_size"]},
            }
        },
        "score": {"bootstrap": 20},
    }
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(OmegaConf.merge(params, small), folder / "params.yaml")
    return folder, dataset


def narrowed(run, dataset):
    """Settings that do not fit the narrow CLIP: a width that both towers of the real one have."""
    width = NARROW["embed_dim"]
    return {"shared": width} if recipes.part(run, dataset).config.get("shared", 0) > width else {}


def gated(folder):
    """LSMDC's annotation files, of clips that nobody has filmed."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (split, (name, *_)) in enumerate(lsmdc.FILES.items()):
        clips = (f"{3000 + number}_FILM_00.00.{n:02d}.000-00.00.{n + 3:02d}.000" for n in range(SPLITS[split]))
        times = "00.00.00.000\t00.00.03.000\t00.00.00.000\t00.00.03.000"
        (folder / name).write_text("".join(f"{clip}\t{times}\tSOMEONE sees the film of {clip[:4]}.\n" for clip in clips), encoding="utf-8")


def names(params, dataset, annotations, exclude):
    """The first videos of each split under their official names; all others are left out by the file `exclude`, as a user would.

    No video is taken twice, though papers train on those of validation.
    """
    source, settings = datasets.load(dataset, params.datasets[dataset]), replace(resolve.annotate(params, dataset), exclude="")
    videos, _ = source.tables(annotations / dataset, settings, dataset)
    taken = dict[str, str]()
    for split in ("val", "test", "train"):
        rows = in_split(videos, split)
        left = rows[~rows["video_id"].isin(taken)].head(SPLITS[split])
        taken |= dict(zip(left["video_id"], left["official_name"], strict=True))
    others = videos.loc[~videos["video_id"].isin(taken), ["video_id"]]
    others.assign(reason="not one of the dozen").to_csv(exclude, sep="\t", index=False)
    return list(taken.values())


@pytest.mark.parametrize("file", FILES, ids=lambda file: "/".join(file.parts[-3:-1]))
def test_every_row_of_a_folder_runs_from_videos_to_metrics(file, house, authentic, tmp_path):  # noqa: F811
    annotations = tmp_path / "annotations"
    shutil.copytree(authentic, annotations)
    gated(annotations / "lsmdc")
    folder, dataset = written(file, house, annotations)
    params = load_params(folder / "params.yaml")
    (folder / "videos").mkdir()
    for number, name in enumerate(names(params, dataset, annotations, folder / "exclude.tsv")):
        suffix = "" if name.lower().endswith((".mp4", ".avi", ".mov", ".m4v", ".3gp", ".mpg", ".wmv")) else ".mp4"
        shutil.copy(house.folder / f"made/{number}.mp4", folder / f"videos/{name}{suffix}")
    done = house.snakemake("-s", "Snakefile", "--directory", str(folder), "--keep-going", "--until", "evaluate", "--quiet")
    assert done.returncode == 0, done.output[-6000:]
    seed = params.run.seeds[0]
    for run in params.run.methods:
        assert (folder / f"metrics/{dataset}/{run}.json").is_file(), run
        record = json.loads((folder / f"runs/{dataset}/{params.backbone.name}/{run}/{seed}/train.json").read_text(encoding="utf-8"))
        losses = [epoch["loss"] for epoch in record["epochs"]]
        assert len(losses) == (run != "zero_shot") and all(map(math.isfinite, losses)), (run, losses)
    shutil.rmtree(folder)
