"""The picture of the workflow: its rules from left to right, each as late as it may be, as SVG of what `snakemake --rulegraph` prints."""

import re
from collections.abc import Mapping
from itertools import pairwise
from statistics import mean
from typing import Any

import networkx as nx

from pipeline.reporting.templates import rendered

RULE = re.compile(r'^\s*(\d+)\[label = "(\w+)', re.MULTILINE)
ARROW = re.compile(r"^\s*(\d+) -> (\d+)", re.MULTILINE)
STEP, ROW, BOX, EDGE = 108, 46, (84, 30), 10  # pixels: from column to column, row to row; of a box; around all


def graph(text: str) -> "nx.DiGraph[str]":
    """The rules, without arrows that follow from others. ValueError for a text that has no rules."""
    names = dict(RULE.findall(text))
    if not names:
        raise ValueError("this is no graph of rules; give what `snakemake --rulegraph` prints")
    whole: nx.DiGraph[str] = nx.DiGraph()
    whole.add_nodes_from(sorted(names.values()))
    whole.add_edges_from(sorted((names[a], names[b]) for a, b in ARROW.findall(text)))
    return nx.transitive_reduction(whole)


def svg(text: str, *, meanings: Mapping[str, str]) -> str:
    """`meanings`: rule -> what a pointer over its box shows."""
    rules = graph(text)
    columns = _columns(rules)
    routes = {edge: _route(edge, columns) for edge in sorted(rules.edges)}
    rows = _rows(columns, routes)
    place = {key: (EDGE + BOX[0] / 2 + STEP * key[1], EDGE + BOX[1] / 2 + ROW * row) for key, row in rows.items()}
    boxes = [
        {"name": rule, "x": place[rule, column][0], "y": place[rule, column][1], "title": meanings.get(rule, rule)}
        for rule, column in sorted(columns.items())
    ]
    arrows = [_path([place[key] for key in route]) for route in routes.values()]
    width = EDGE * 2 + STEP * max(columns.values()) + BOX[0]
    height = EDGE * 2 + ROW * max(rows.values()) + BOX[1]
    return rendered("rulegraph.svg.j2", width=width, height=round(height, 1), boxes=boxes, arrows=arrows, box=BOX) + "\n"


def _columns(rules: "nx.DiGraph[str]") -> dict[str, int]:
    """Each rule one column left of the first that waits for it."""
    late: dict[str, int] = {}
    for rule in reversed(list(nx.lexicographical_topological_sort(rules))):
        late[rule] = min((late[after] for after in rules.successors(rule)), default=0) - 1
    first = min(late.values())
    return {rule: column - first for rule, column in late.items()}


def _route(edge: tuple[str, str], columns: Mapping[str, int]) -> list[tuple[str, int]]:
    """The places that an arrow goes through: in columns between, one of its own, so that it crosses no box."""
    start, end = edge
    between = [(f"{start} {end}", column) for column in range(columns[start] + 1, columns[end])]
    return [(start, columns[start]), *between, (end, columns[end])]


def _rows(columns: Mapping[str, int], routes: Mapping[Any, list[tuple[str, int]]]) -> dict[tuple[str, int], float]:
    """Row of each place, from the last column to the first: beside what follows it, one below the other in the order of that."""
    steps = [pair for route in routes.values() for pair in pairwise(route)]
    places = sorted({*columns.items(), *(place for route in routes.values() for place in route)})
    rows: dict[tuple[str, int], float] = {}
    for column in range(max(columns.values()), -1, -1):
        here = [place for place in places if place[1] == column]
        wanted = {place: mean([rows[after] for before, after in steps if before == place] or [0.0]) for place in here}
        ordered = sorted(here, key=lambda place: (wanted[place], " " in place[0], place))
        at = [wanted[place] for place in ordered]
        for n in range(1, len(at)):
            at[n] = max(at[n], at[n - 1] + 1)
        rows |= dict(zip(ordered, at, strict=True))
    top = min(rows.values())
    return {place: row - top for place, row in rows.items()}


def _path(points: list[tuple[float, float]]) -> str:
    """A smooth line from the right side of a box to the left side of another."""
    half = BOX[0] / 2
    stops = [(points[0][0] + half, points[0][1])]
    for x, y in points[1:-1]:  # straight on between boxes above and below
        stops += [(x - half, y), (x + half, y)]
    stops.append((points[-1][0] - half - 2, points[-1][1]))
    path = f"M{stops[0][0]:g} {stops[0][1]:g}"
    for (x, y), (to_x, to_y) in pairwise(stops):
        middle = (x + to_x) / 2
        path += f"C{middle:g} {y:g} {middle:g} {to_y:g} {to_x:g} {to_y:g}"
    return path
