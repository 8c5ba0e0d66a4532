"""The whole workflow on a tiny CLIP of another family: pretrained by the same rule, trained with its loss, reported, indexed, searched."""

import json
from pathlib import Path

import pytest

from pipeline.adapters import checkpoint
from pipeline.search.session import Session

NAME = "clip-tiny-siglip"
RUN = Path(f"runs/motion/{NAME}/full_finetune/0")


@pytest.mark.usefixtures("one_thread")
def test_from_pretraining_to_the_report_and_the_first_answer(checkout):
    changes = {
        "clip-tiny": NAME,
        "words: 24": "words: 32",
        "[zero_shot, full_finetune, vop, mv_adapter]": "[full_finetune]",
        "method: mv_adapter": "method: full_finetune",
        "epochs: 3": "loss: sigmoid, epochs: 1",
    }
    for old, new in changes.items():
        checkout.edit("params.yaml", lambda text, old=old, new=new: text.replace(old, new))
    done = checkout.snakemake("all", "indexes")
    assert done.returncode == 0 and "11 of 11 steps" in done.output, done.output
    header = checkpoint.read_header(checkout.folder / RUN / "adapter.safetensors")
    assert header["backbone"] == NAME and header["train"]["loss"] == "sigmoid" and "preprocessing" not in header
    assert 0 <= json.loads((checkout.folder / RUN / "metrics.json").read_text())["t2v"]["R1"] <= 100
    assert NAME in (checkout.folder / "results/motion/report.html").read_text()
    assert "Counted by CLIP's tokeniser" in (checkout.folder / "results/motion/card.md").read_text()
    session = Session(checkout.folder / "indexes", place="cpu", backbone=NAME)
    assert len(session.text(f"motion/{NAME}/full_finetune/0", "a red star moves up", 5)) == 5
