"""What a graph library can say of a whole constellation: for people, off the hot path."""

from typing import Any

import networkx as nx

from ..core.constellation import Constellation
from ..core.course import Course

GUESS_S = 1.0  # for a star that has not run
END = ""  # no star's name


def analysed(constellation: Constellation) -> dict[str, Any]:
    """Return the critical path with its length in seconds, and how wide and deep the constellation is.

    A star weighs what its last attempt took, or what those of the same tool took on the mean, or a guess.
    """
    graph: nx.DiGraph[str] = nx.DiGraph()
    means = _means(constellation)
    for star_id, course in constellation.courses.items():
        ran_s = course.attempts[-1].ran_s if course.attempts else 0.0
        graph.add_node(star_id, weight=ran_s or means.get(course.star.tool, GUESS_S))
    for target, sources in constellation.into.items():
        graph.add_edges_from((source, target, {"weight": graph.nodes[source]["weight"]}) for source in sources)
    generations = [len(layer) for layer in nx.topological_generations(graph)]
    # A line weighs what its source does; behind the last stars stands an end, so that they count as well.
    graph.add_edges_from([(star, END, {"weight": graph.nodes[star]["weight"]}) for star in constellation.courses])
    path: list[str] = nx.dag_longest_path(graph, weight="weight")[:-1]
    return {
        "critical_path": path,
        "critical_path_s": round(sum(graph.nodes[star]["weight"] for star in path), 3),
        "depth": len(generations),
        "width": max(generations, default=0),
    }


def _means(constellation: Constellation) -> dict[str, float]:
    seen: dict[str, list[float]] = {}
    for course in constellation.courses.values():
        _remember(seen, course)
    return {tool: sum(runs) / len(runs) for tool, runs in seen.items()}


def _remember(seen: dict[str, list[float]], course: Course) -> None:
    if course.attempts and course.attempts[-1].ran_s:
        seen.setdefault(course.star.tool, []).append(course.attempts[-1].ran_s)
