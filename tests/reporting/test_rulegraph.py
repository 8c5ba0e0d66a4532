"""The picture of the workflow: arrows that matter, boxes that no arrow crosses, and every rule of today."""

import re

import pytest

from pipeline.core.code import ROOT
from pipeline.reporting.rulegraph import graph, svg
from pipeline.rules.slurm import rules

# In no default run: searches of rates, indexes, tests on other datasets with what training has seen of them, transductive scores.
OTHERS = {"rates", "index", "seen", "transfer", "transductive"}
DOT = """digraph snakemake_dag {
	0[label = "last", color = "0.00 0.6 0.85", style="rounded"];
	1[label = "first", color = "0.1 0.6 0.85", style="rounded"];
	2[label = "middle", color = "0.1 0.6 0.85", style="rounded"];
	3[label = "aside", color = "0.1 0.6 0.85", style="rounded"];
	4[label = "more", color = "0.1 0.6 0.85", style="rounded"];
	1 -> 2
	1 -> 0
	2 -> 4
	4 -> 0
	3 -> 0
	1 -> 3
}"""


def test_an_arrow_that_follows_from_others_is_left_out():
    assert sorted(graph(DOT).edges) == [("aside", "last"), ("first", "aside"), ("first", "middle"), ("middle", "more"), ("more", "last")]


def test_boxes_stand_apart_and_in_the_order_of_the_work():
    drawn = svg(DOT, meanings={"first": "what <comes> first"})
    places = {name: (float(x), float(y)) for x, y, name in re.findall(r'<text x="([\d.]+)" y="([\d.]+)"[^>]*>(\w+)<', drawn)}
    assert places["first"][0] < places["middle"][0] < places["more"][0] == places["aside"][0] < places["last"][0]
    assert len(set(places.values())) == 5 and abs(places["aside"][1] - places["more"][1]) >= 40
    assert drawn.count("marker-end") == 5 and "what &lt;comes&gt; first" in drawn
    lines = DOT.splitlines()
    assert svg("\n".join(lines[::-1]), meanings={"first": "what <comes> first"}) == drawn, "Snakemake's order is no matter"


def test_what_is_no_graph_is_refused():
    with pytest.raises(ValueError, match="this is no graph of rules; give what `snakemake --rulegraph` prints"):
        svg("error: nothing", meanings={})


def test_the_picture_in_docs_has_the_rules_of_today():
    shown = set(re.findall(r'text-anchor="middle"[^>]*>(\w+)<', (ROOT / "docs/workflow.svg").read_text(encoding="utf-8")))
    assert shown - {"all"} == set(rules()) - OTHERS, "docs/workflow.svg has other rules: make docs"
