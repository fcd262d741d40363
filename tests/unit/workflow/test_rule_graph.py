"""Which edges and places the picture of the rules has."""

import networkx as nx
import numpy as np
import pytest

from rim.workflow import rule_graph


def shortcuts(graph: nx.DiGraph) -> set[tuple[str, str]]:
    """The edges without which their ends are still joined."""
    return {edge for edge in graph.edges if nx.has_path(nx.restricted_view(graph, [], [edge]), *edge)}


@pytest.mark.parametrize("seed", range(10))
def test_only_edges_that_a_longer_way_replaces_are_left_out(seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = nx.DiGraph((f"r{a}", f"r{b}") for a in range(9) for b in range(a + 1, 9) if rng.random() < 0.4)
    assert rule_graph._direct(graph) == set(graph.edges) - shortcuts(graph)


@pytest.mark.parametrize("seed", range(10))
def test_a_box_lies_below_all_that_it_needs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = nx.DiGraph((f"r{a}", f"r{b}") for a in range(9) for b in range(a + 1, 9) if rng.random() < 0.4)
    graph.add_node("alone")
    places = rule_graph._places(graph)
    assert set(places) == set(graph)
    assert len(set(places.values())) == len(places)
    assert all(places[first][1] < places[second][1] for first, second in graph.edges)


def test_rules_in_a_circle_keep_their_edges_and_stay_joined_to_the_others() -> None:
    circle = [("prepare", "rewrite"), ("rewrite", "prepare")]
    graph = nx.DiGraph([*circle, ("first", "prepare"), ("first", "rewrite"), ("prepare", "last"), ("first", "last")])
    kept = rule_graph._direct(graph)
    assert kept == set(graph.edges) - {("first", "last")}
    places = rule_graph._places(graph)
    assert places["first"][1] < places["prepare"][1] == places["rewrite"][1] < places["last"][1]
