"""The flow against all sets of disjoint chains, tried one by one."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest

from inference.tasks.tracking.kalman import BoolArray, FloatArray, IntArray
from inference.tasks.tracking.min_cost_flow import best_flow

Problem = tuple[FloatArray, IntArray, IntArray, FloatArray]


def problem(seed: int, m: int, density: float = 0.7) -> Problem:
    """M nodes in the order of time, links forward; gains of either sign."""
    draw = np.random.default_rng(seed)
    pairs = [(i, j) for i, j in itertools.combinations(range(m), 2) if draw.random() < density]
    source, target = np.array(pairs, np.int64).reshape(-1, 2).T
    return draw.normal(-1, 3, m), source, target, draw.normal(0, 3, len(pairs))


def chain_sets(m: int, links: set[tuple[int, int]]) -> Iterator[list[list[int]]]:
    """All sets of disjoint chains: each node left out, begun with, or put at a chain's end."""

    def place(node: int, chains: list[list[int]]) -> Iterator[list[list[int]]]:
        if node == m:
            yield chains
            return
        yield from place(node + 1, chains)
        yield from place(node + 1, [*chains, [node]])
        for i, chain in enumerate(chains):
            if (chain[-1], node) in links:
                yield from place(node + 1, [*chains[:i], [*chain, node], *chains[i + 1 :]])

    return place(0, [])


def best_by_hand(graph: Problem, count: int) -> float:
    begin, source, target, link = graph
    gain = dict(zip(zip(source.tolist(), target.tolist(), strict=True), link, strict=True))
    totals = [
        sum(begin[c[0]] + sum(gain[pair] for pair in itertools.pairwise(c)) for c in chains)
        for chains in chain_sets(len(begin), set(gain))
        if len(chains) == count
    ]
    return float(max(totals))


def assert_disjoint_chains(graph: Problem, begins: BoolArray, follows: BoolArray) -> None:
    _, source, target, _ = graph
    entered = np.bincount(target[follows], minlength=len(begins)) + begins
    left = np.bincount(source[follows], minlength=len(begins))
    assert (entered <= 1).all() and (left <= entered).all()


@pytest.mark.parametrize("m", range(1, 7))
@pytest.mark.parametrize("seed", range(6))
def test_best_of_all_sets_of_chains(seed: int, m: int) -> None:
    graph = problem(seed, m)
    begin, _, _, link = graph
    for count in range(1, m + 1):
        begins, follows = best_flow(*graph, count)
        assert begins.sum() == count
        assert_disjoint_chains(graph, begins, follows)
        total = begin[begins].sum() + link[follows].sum()
        assert np.isclose(total, best_by_hand(graph, count), atol=1e-9)


def test_no_links() -> None:
    none = np.zeros(0, np.int64)
    begins, follows = best_flow(np.array([1.0, 3.0, -2.0]), none, none, np.zeros(0), 2)
    assert begins.tolist() == [True, True, False] and not len(follows)


def test_equal_gains_and_zeros() -> None:
    """Arcs that cost nothing are there all the same."""
    source, target = np.array([0, 0, 1, 2]), np.array([1, 2, 3, 3])
    begins, follows = best_flow(np.zeros(4), source, target, np.zeros(4), 2)
    assert begins.sum() == 2
    assert_disjoint_chains((np.zeros(4), source, target, np.zeros(4)), begins, follows)
    begins, _ = best_flow(np.zeros(4), source, target, np.zeros(4), 4)
    assert begins.all()


def test_a_linear_program_agrees_on_a_larger_graph() -> None:
    from scipy.optimize import linprog
    from scipy.sparse import coo_matrix

    graph = problem(3, 60, 0.2)
    begin, source, target, link = graph
    begins, follows = best_flow(*graph, 7)
    assert_disjoint_chains(graph, begins, follows)
    m, node, edge = 60, np.arange(60), 60 + np.arange(len(link))
    rows = np.concatenate([node, target, m + node, m + target, m + source])
    columns = np.concatenate([node, edge, node, edge, edge])
    values = np.concatenate([np.ones(m + len(link)), -np.ones(m + len(link)), np.ones(len(link))])
    answer = linprog(
        -np.concatenate([begin, link]),
        A_ub=coo_matrix((values, (rows, columns))),
        b_ub=np.concatenate([np.ones(m), np.zeros(m)]),
        A_eq=np.concatenate([np.ones(m), np.zeros(len(link))])[None],
        b_eq=[7],
        bounds=(0, 1),
    )
    assert np.isclose(begin[begins].sum() + link[follows].sum(), -answer.fun)
