"""A picture of the workflow as it ran: one box per rule, with how many of its jobs ran now and how many were reused."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rim.workflow.lineage import Lineage

if TYPE_CHECKING:
    import networkx as nx

WIDTH, HEIGHT, GAP_X, GAP_Y = 168, 38, 14, 30  # of a box and between boxes, in pixels
ACROSS = 5  # boxes side by side
Edges = set[tuple[str, str]]


def rule_graph(lineage: Lineage, began: float) -> str:
    """The SVG: rules from top to bottom by how many jobs come before theirs; empty when nothing is recorded."""
    if not lineage.jobs:
        return ""
    import networkx as nx

    jobs = Counter(job.rule for job in lineage.jobs)
    ran = Counter(job.rule for job in lineage.jobs if job.ended >= began)
    needs = {(before.rule, job.rule) for job in lineage.jobs for before in lineage.direct_upstream(job)}
    graph = nx.DiGraph((first, second) for first, second in needs if first != second)
    graph.add_nodes_from(jobs)
    places = _places(graph)
    width = max(x for x, _ in places.values()) + WIDTH + GAP_X
    height = max(y for _, y in places.values()) + HEIGHT + GAP_Y
    words = f"Graph of {len(jobs)} rules and {len(lineage.jobs)} jobs, of which {ran.total()} ran in the latest run."
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" style="max-width:{width}px" role="img" '
        f'aria-label="{words}" font-family="sans-serif" font-size="12">'
    ]
    parts += [_edge(places[first], places[second]) for first, second in sorted(_direct(graph))]
    parts += [_box(rule, *places[rule], jobs[rule], ran[rule]) for rule in sorted(places)]
    return "".join([*parts, "</svg>"])


def _direct(graph: nx.DiGraph) -> Edges:
    """The edges that no longer way replaces; all of those between rules that need each other in turn."""
    import networkx as nx

    groups = nx.condensation(graph)
    group = groups.graph["mapping"]  # rule -> its group, most often of itself alone
    kept = set(nx.transitive_reduction(groups).edges)
    return {(a, b) for a, b in graph.edges if group[a] == group[b] or (group[a], group[b]) in kept}


def _places(graph: nx.DiGraph) -> dict[str, tuple[int, int]]:
    """Where the box of each rule goes: below everything it needs, except where rules need each other in turn."""
    import networkx as nx

    groups = nx.condensation(graph)
    rows = [
        sorted(rule for group in generation for rule in groups.nodes[group]["members"])
        for generation in nx.topological_generations(groups)
    ]
    lines = [row[i : i + ACROSS] for row in rows for i in range(0, len(row), ACROSS)]
    widest = max(map(len, lines))
    places = {}
    for y, line in enumerate(lines):
        indent = (widest - len(line)) * (WIDTH + GAP_X) // 2
        for x, rule in enumerate(line):
            places[rule] = (GAP_X + indent + x * (WIDTH + GAP_X), GAP_Y // 2 + y * (HEIGHT + GAP_Y))
    return places


def _edge(start: tuple[int, int], end: tuple[int, int]) -> str:
    x0, y0, x1, y1 = start[0] + WIDTH // 2, start[1] + HEIGHT, end[0] + WIDTH // 2, end[1]
    bend = max(GAP_Y // 2, abs(y1 - y0) // 2)
    return f'<path d="M{x0} {y0} C{x0} {y0 + bend} {x1} {y1 - bend} {x1} {y1}" fill="none" stroke="#999" stroke-width="1"/>'


def _box(rule: str, x: int, y: int, jobs: int, ran: int) -> str:
    kinds = [f"{count} {word}" for count, word in ((ran, "ran now"), (jobs - ran, "reused")) if count]
    look = 'fill="#dcebf5" stroke="#0072b2"' if ran else 'fill="#fff" stroke="#767676" stroke-dasharray="4 3"'
    centre = x + WIDTH // 2
    return (
        f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="4" {look}/>'
        f'<text x="{centre}" y="{y + 16}" text-anchor="middle" font-weight="bold">{rule}</text>'
        f'<text x="{centre}" y="{y + 31}" text-anchor="middle" fill="#444">{", ".join(kinds)}</text>'
    )
