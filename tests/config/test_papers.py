"""Printed numbers agree with the papers, and every row is a run that a folder of papers/ plans, or says why it is none."""

from collections import Counter
from functools import cache
from pathlib import Path

import pytest
import torch

from pipeline.config import papers
from pipeline.config.params import known_files, load_params
from pipeline.datasets import variant
from pipeline.rules import plan
from pipeline.stages import frozen

ROOT = Path(__file__).parents[2]
PRINTED = papers.load()
CONFIGURATIONS = sorted(papers.FOLDER.glob("*/*/params.yaml"))
# paper, table, row, dataset, direction, metric, value: typed from the specifications
SPOTS = [
    ("mv_adapter", "table 1", "MV-Adapter", "msrvtt", "t2v", "R1", 46.2),
    ("mv_adapter", "table 1", "CM-Adapter", "msrvtt", "v2t", "R5", 69.9),
    ("mv_adapter", "table 2", "Hunyuan", "msvd", "v2t", "R1", 53.7),
    ("mv_adapter", "table 3", "Convpass", "lsmdc", "t2v", "RSum", 103.8),
    ("mv_adapter", "table 4", "ST-Adapter", "didemo", "v2t", "R10", 80.1),
    ("mv_adapter", "table 5", "CLIP4Clip", "activitynet", "t2v", "R10", 81.0),
    ("mv_adapter", "table 5", "MV-Adapter", "activitynet", "", "share", 2.40),
    ("mv_adapter", "table 6a", "+ TRM", "msrvtt", "v2t", "RSum", 202.9),
    ("mv_adapter", "table 6c", "MV-Adapter", "msrvtt", "t2v", "RSum", 209.3),
    ("mv_adapter", "table 7", "Up-Out", "msrvtt", "t2v", "R1", 46.0),
    ("mv_adapter", "table 8", "last 12", "msrvtt", "v2t", "RSum", 203.9),
    ("mv_adapter", "table 9", "8", "msrvtt", "t2v", "R1", 46.7),
    ("mv_adapter", "table 10", "w/o TA", "lsmdc", "t2v", "R5", 42.7),
    ("vop", "table 1", "VoP^F+C", "msrvtt", "t2v", "R1", 44.6),
    ("vop", "table 1", "Partial", "msrvtt", "v2t", "MnR", 15.5),
    ("vop", "DiDeMo", "VoP^C", "didemo", "v2t", "MdR", 3),
    ("vop", "ActivityNet", "Full", "activitynet", "t2v", "R10", 80.1),
    ("vop", "LSMDC", "Proj", "lsmdc", "t2v", "MnR", 83.7),
    ("vop", "table 2", "text only", "msrvtt", "t2v", "MnR", 20.3),
    ("vop", "table 3", "LSTM", "didemo", "t2v", "R10", 77.0),
    ("vop", "figure 3", "Proj", "activitynet", "t2v", "R1_minus_full", -7.0),
    ("vop", "figure 4 left", "layers 1-6", "msrvtt", "t2v", "R1", 38.8),
    ("stop", "MSR-VTT", "UPT", "msrvtt", "v2t", "MnR", 12.3),
    ("stop", "MSR-VTT", "STOP", "msrvtt", "", "params", 7.53),
    ("dgl", "similarity matrix", "DGL-Transformer", "msrvtt", "t2v", "MnR", 13.65),
    ("clip4clip", "DRL readme", "CLIP zero-shot", "msrvtt", "t2v", "R1", 31.1),
    ("cm_adapter", "table 2", "CM-Adapter", "activitynet", "t2v", "R5", 71.2),
    ("discovla", "abstract", "DiscoVLA", "msrvtt", "t2v", "R1", 50.5),
]


@pytest.mark.parametrize("spot", SPOTS, ids=lambda spot: " ".join(map(str, spot)))
def test_what_is_printed_is_in_the_list(spot):
    *where, value = spot
    found = [c.value for c in PRINTED if [c.paper, c.table, c.row, c.dataset, c.direction, c.metric] == where and c.variant == ""]
    assert found == [value]


def test_no_cell_of_the_tables_is_left_out():
    assert Counter(cell.paper for cell in PRINTED) == {
        "mv_adapter": 597, "vop": 787, "stop": 138, "cm_adapter": 64, "clip4clip": 43, "dgl": 17, "discovla": 2,
    }  # fmt: skip
    tables = Counter(cell.table for cell in PRINTED if cell.paper == "mv_adapter")
    assert {tables[f"table {n}"] for n in range(1, 6)} == {9 * 9}  # 9 methods: share, three recalls and a sum both ways
    assert tables["table 10"] == 4 * 3 * 8 and tables["table 7"] + tables["table 8"] + tables["table 9"] == 14 * 4
    tables = Counter(cell.table for cell in PRINTED if cell.paper == "vop")
    assert tables["MSR-VTT-7k"] == tables["DiDeMo"] == tables["ActivityNet"] == 12 * 10 and tables["figure 3"] == 6 * 12


def test_sums_are_those_of_the_recalls_and_ranges_are_possible():
    """Recalls are rounded, so a printed sum is one of theirs to 0.15."""
    cells = {(c.paper, c.table, c.row, c.dataset, c.direction, c.backbone, c.metric): c.value for c in PRINTED if c.table[:6] != "figure"}
    for (*key, metric), value in cells.items():
        assert metric not in ("R1", "R5", "R10") or 0 < value < 100
        assert metric not in ("MdR", "MnR") or value >= 1
        parts = [cells.get((*key, f"R{k}")) for k in (1, 5, 10)]
        assert metric != "RSum" or None in parts or abs(sum(parts) - value) < 0.151, key


def test_a_difference_to_full_fine_tuning_is_that_of_the_table():
    found = [cell for cell in PRINTED if cell.paper == "vop" and cell.direction == "t2v" and cell.dataset != "average"]
    first = {(c.row, c.dataset, c.variant): c.value for c in found if c.metric == "R1"}
    for cell in (cell for cell in found if cell.metric == "R1_minus_full"):
        place = (cell.dataset, cell.variant)
        assert round(first[cell.row, *place] - first["Full", *place], 1) == cell.value


@cache
def load(file):
    return load_params(file)


def planned():
    """(run, dataset, variant, backbone) of every configuration."""
    for file in CONFIGURATIONS:
        params = load(file)
        for dataset in params.run.datasets:
            place = (dataset, variant(dataset, params.datasets[dataset].variant), params.backbone.name)
            yield from ((run, *place) for run in params.run.methods)


def test_every_row_is_a_run_of_a_folder_or_says_why_it_is_none():
    there = set(planned())
    missing = {(c.paper, c.row, c.run, c.dataset) for c in PRINTED if c.run and (c.run, c.dataset, c.variant, c.backbone) not in there}
    assert not missing
    assert not [cell for cell in PRINTED if not cell.run and len(cell.why) < 15]


@pytest.mark.parametrize("file", CONFIGURATIONS, ids=lambda file: "/".join(file.parts[-3:-1]))
def test_every_configuration_is_whole(file):
    """Recipes and datasets agree on frames and words; what a recipe says is not said again."""
    params = load(file)
    known_files(params, ROOT / "pipeline")
    assert set(params.methods) == set(params.run.methods)
    assert all(not entry.config and not entry.train for entry in params.methods.values())
    assert all(entry.validation == "paper" for entry in params.datasets.values())


@pytest.mark.papers  # 18 s: 29 folders on four backbones
def test_every_row_can_be_planned_on_the_backbone_of_its_paper(monkeypatch, tmp_path):
    """Each method attaches with its recipe, frames and words, and reads a store that it may read: what Snakemake asks before it plans."""
    known = {}

    def answer(question):
        key = str(question)
        if key not in known:
            known[key] = frozen._reaches(**question)
        return known[key]

    monkeypatch.setattr(plan, "_ask", lambda questions: [answer(question) for question in questions])
    monkeypatch.setattr(plan, "KNOWN", tmp_path / "frozen.json")
    with torch.device("meta"):
        chosen = {file: plan.choices(load(file)) for file in CONFIGURATIONS}
    assert {choice.whole for choices in chosen.values() for (run, _), choice in choices.items() if run.startswith("full_finetune@")} == {
        True
    }
    assert [len(choices) for choices in chosen.values()] == [len(load(file).methods) for file in CONFIGURATIONS]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("t,r,,msrvtt,,B,t2v,R1,1.0,,s,not here, nor there", "line 2 has another number of cells than the head; put a cell with a comma"),
        ("t,r,,msrvtt,,B,t2v,R1,1.0,,s", "papers/x/published.csv: line 2 has another number of cells than the head"),
        ("t,r,,msrvtt,,B,t2v,R1,1.0,,s,", "papers/x/published.csv: line 2: r has no run and no reason; fill run or why"),
        ("t,r,vop@paper,msrvtt,,B,t2v,R2,1.0,,s,", "line 2: unknown metric 'R2'"),
        ("t,r,vop@paper,msrvtt,,B,t3v,R1,1.0,,s,", "line 2: unknown direction 't3v'"),
        ("t,r,vop@paper,msrvtt,,B,t2v,R1,1.o,,s,", "line 2: 1.o ±  are no numbers; correct them"),
    ],
)
def test_a_line_that_is_wrong_is_named(tmp_path, line, sentence):
    (tmp_path / "x").mkdir()
    head = "table,row,run,dataset,variant,backbone,direction,metric,value,deviation,source,why"
    (tmp_path / "x/published.csv").write_text(f"{head}\n{line}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=sentence):
        papers.load(tmp_path)
    (tmp_path / "x/published.csv").write_text(f"table\n{line}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"papers/x/published.csv: the columns are table; they must be table, row, run"):
        papers.load(tmp_path)
