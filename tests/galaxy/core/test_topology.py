"""The kept topological order, against networkx as the oracle."""

from itertools import pairwise
from random import Random

import networkx as nx
import pytest

from galaxy.core.constellation import Constellation
from galaxy.core.edit import AddLine, AddStar, AnyOperation, RemoveLine, RemoveStar, drafted
from galaxy.core.errors import InvalidEdit
from galaxy.core.events import ConstellationEdited, Edit
from galaxy.core.snapshot import restored, taken
from galaxy.core.star import Line
from galaxy.core.topology import LEVEL_GAP

from .cost import calls_of
from .helpers import edit, star, submit


def constellation_of(graph: nx.DiGraph) -> Constellation:
    constellation = Constellation("c")
    constellation.apply(submit(*map(star, graph.nodes), *(Line(*ends) for ends in graph.edges)))
    return constellation


def assert_in_order(constellation: Constellation) -> None:
    for target, sources in constellation.into.items():
        for source in sources:
            assert constellation.levels[source] < constellation.levels[target], (source, target)
    assert constellation.levels.keys() == constellation.courses.keys()


def random_dag(random: Random, stars: int, lines: int) -> nx.DiGraph:
    names = [f"s{n}" for n in range(stars)]
    random.shuffle(names)
    graph = nx.DiGraph()
    graph.add_nodes_from(random.sample(names, stars))
    for _ in range(lines):
        a, b = sorted(random.sample(range(stars), 2))
        graph.add_edge(names[a], names[b])
    return graph


def random_edit(random: Random, graph: nx.DiGraph, n: int) -> tuple[list[AnyOperation], nx.DiGraph]:
    """Return some operations, and the graph that they would make: perhaps one with a cycle."""
    after, operations = graph.copy(), []
    for m in range(random.randint(1, 6)):
        nodes = list(after.nodes)
        kind = random.random()
        if kind < 0.2:
            operations.append(AddStar(star(f"n{n}-{m}")))
            after.add_node(f"n{n}-{m}")
        elif kind < 0.3 and len(nodes) > 3:
            gone = random.choice(nodes)
            operations.append(RemoveStar(gone))
            after.remove_node(gone)
        elif kind < 0.45 and after.edges:
            ends = random.choice(list(after.edges))
            operations.append(RemoveLine(*ends))
            after.remove_edge(*ends)
        else:
            ends = tuple(random.sample(nodes, 2))
            if not after.has_edge(*ends):
                operations.append(AddLine(Line(*ends)))
                after.add_edge(*ends)
    return operations, after


@pytest.mark.parametrize("seed", range(30))
def test_random_edits_are_refused_exactly_where_they_close_a_cycle_and_keep_the_order(seed):
    random = Random(seed)
    graph = random_dag(random, stars=random.randint(4, 25), lines=random.randint(0, 40))
    constellation = constellation_of(graph)
    assert_in_order(constellation)
    for n in range(40):
        operations, after = random_edit(random, graph, n)
        if not operations:
            continue
        if nx.is_directed_acyclic_graph(after):
            graph = after
            constellation.apply(edit(*operations))
            assert_in_order(constellation)
        else:
            with pytest.raises(InvalidEdit, match="cycle: ") as refusal:
                drafted(constellation, operations)
            circle = str(refusal.value).removeprefix("cycle: ").split(" -> ")
            assert "..." in circle or all(after.has_edge(a, b) for a, b in pairwise(circle))
        made = {(source, target) for target, sources in constellation.into.items() for source in sources}
        assert (set(constellation.courses), made) == (set(graph.nodes), set(graph.edges))
    assert_in_order(restored(taken(constellation)))


def test_a_long_cycle_is_named_only_at_its_begin():
    names = [f"s{n}" for n in range(40)]
    constellation = constellation_of(nx.path_graph(names, create_using=nx.DiGraph))
    with pytest.raises(InvalidEdit) as refusal:
        drafted(constellation, [AddLine(Line("s39", "s0"))])

    assert str(refusal.value) == "cycle: " + " -> ".join([*names[:12], "...", "s0"])


def test_there_is_room_between_two_levels_for_what_is_put_there_later():
    constellation = constellation_of(nx.DiGraph([("a", "b")]))
    before = dict(constellation.levels)
    constellation.apply(edit(AddStar(star("n")), AddLine(Line("a", "n")), AddLine(Line("n", "b"))))

    assert constellation.levels == {**before, "n": before["a"] + 1}
    assert before["b"] - before["a"] == LEVEL_GAP


def test_lifting_a_ladder_costs_what_it_has_lines_and_not_its_paths():
    """Two ways from each rung to the next, of different length: twice as many paths with each rung."""
    costs = {}
    for rungs in (10, 20, 40):
        ladder = nx.DiGraph()
        for n in range(rungs):
            nx.add_path(ladder, [f"a{n}", f"b{n}", f"c{n}", f"a{n + 1}"])
            ladder.add_edge(f"a{n}", f"a{n + 1}")
        high = [f"h{n}" for n in range(4 * rungs)]
        nx.add_path(ladder, high)
        constellation = constellation_of(ladder)
        operation = AddLine(Line(high[-1], "a0"))
        event = ConstellationEdited(at=1.0, constellation="c", base=1, edit=Edit((operation,)))
        costs[rungs] = calls_of(lambda constellation=constellation, event=event: constellation.apply(event))
        assert_in_order(constellation)

    assert costs[40] < 5 * costs[10]


def test_many_lines_at_once_that_run_against_the_order_cost_no_more():
    costs = {}
    for rungs in (10, 20, 40):
        graph = nx.DiGraph()
        nx.add_path(graph, [f"v{n}" for n in range(rungs + 1)])
        nx.add_path(graph, [f"h{n}" for n in range(3 * rungs)])
        for n in range(rungs):
            graph.add_edge(f"v{n}", f"w{n}")
            graph.add_edge(f"h{rungs}", f"w{n}")
        constellation = constellation_of(graph)
        operations = [AddLine(Line(f"w{n}", f"v{n + 1}")) for n in range(rungs)]
        event = edit(*operations, AddLine(Line(f"h{3 * rungs - 1}", "v0")))
        costs[rungs] = calls_of(lambda constellation=constellation, event=event: constellation.apply(event))
        assert_in_order(constellation)

    assert costs[40] < 5 * costs[10]
