"""The best disjoint chains through a graph in time: a minimum-cost flow.

Successive shortest paths: each pass finds the chain that adds most, allowed to undo what earlier
ones took, by Dijkstra's algorithm on reduced costs. After n passes the n chains are the best n
together. (A linear program has the same solution; on 20,000 nodes this is fifty times faster.)

Reference: R. K. Ahuja, T. L. Magnanti, J. B. Orlin, "Network Flows", 1993, sec. 9.7; for tracking:
J. Berclaz et al., "Multiple object tracking using k-shortest paths optimization", TPAMI 2011.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import dijkstra

from inference.tasks.tracking.kalman import BoolArray, FloatArray, IntArray

_FAR = 1e300


def best_flow(
    begin: FloatArray, source: IntArray, target: IntArray, link: FloatArray, count: int
) -> tuple[BoolArray, BoolArray]:
    """Choose exactly ``count`` disjoint chains of the highest total gain.

    Parameters
    ----------
    begin : FloatArray
        (M): gain of a chain that begins at each node; a node may begin one or follow another.
    source, target : IntArray
        (E): links, source < target: nodes are in the order of time.
    link : FloatArray
        (E): gain of following each link.
    count : int
        At most M.

    Returns
    -------
    begins, follows : BoolArray
        (M) and (E): which nodes begin a chain, and which links are followed.
    """
    m, e = len(begin), len(link)
    graph = _Residual(begin, source, target, link)
    for _ in range(count):
        graph.augment()
    return graph.used[:m], graph.used[m : m + e]


class _Residual:
    """The residual graph: arcs that may still be taken, and those taken, to be undone.

    Node i is entered at i and left at m + i; the flow runs from 2m to 2m + 1. Arcs are stored
    forward, then backward, once for all; those that are not there cost more than all others.
    """

    def __init__(
        self, begin: FloatArray, source: IntArray, target: IntArray, link: FloatArray
    ) -> None:
        m = len(begin)
        node, start, end = np.arange(m), np.full(m, 2 * m), np.full(m, 2 * m + 1)
        tail = np.concatenate([start, m + source, node, m + node])
        head = np.concatenate([node, target, m + node, end])
        self.cost = np.concatenate([-begin, -link, np.zeros(2 * m)])
        self.used = np.zeros(len(tail), bool)
        self.nodes = 2 * m + 2
        self.tail, self.head = np.concatenate([tail, head]), np.concatenate([head, tail])
        place = coo_matrix(
            (np.arange(1, 2 * len(tail) + 1), (self.tail, self.head)), shape=(self.nodes,) * 2
        ).tocsr()
        self.indices, self.indptr, self.order = place.indices, place.indptr, place.data - 1
        self.potential = _first_potential(begin, source, target, link)

    def augment(self) -> None:
        """Send one more chain along the cheapest way."""
        reduced = self.cost + self.potential[self.tail[: len(self.cost)]]
        reduced = reduced - self.potential[self.head[: len(self.cost)]]
        # Rounding leaves some arcs of the cheapest ways a little below zero
        ways = np.concatenate([reduced, -reduced]).clip(min=0)
        closed = np.concatenate([self.used, ~self.used])
        weights = np.where(closed, np.inf, ways)[self.order]
        graph = csr_matrix((weights, self.indices, self.indptr), shape=(self.nodes,) * 2)
        distance, before = dijkstra(
            graph, indices=self.nodes - 2, return_predecessors=True, limit=_FAR
        )
        path = [self.nodes - 1]
        while path[-1] != self.nodes - 2:
            path.append(int(before[path[-1]]))
        self._turn(np.array(path[::-1]))
        self.potential += np.minimum(distance, distance[-1])

    def _turn(self, path: IntArray) -> None:
        """Take the arcs of a path, or undo those that were taken."""
        for tail, head in zip(path[:-1], path[1:], strict=True):
            row = slice(self.indptr[tail], self.indptr[tail + 1])
            arc = self.order[row][np.flatnonzero(self.indices[row] == head)[0]]
            self.used[arc % len(self.used)] = arc < len(self.used)


def _first_potential(
    begin: FloatArray, source: IntArray, target: IntArray, link: FloatArray
) -> FloatArray:
    """Cheapest way to each node while nothing is taken: one pass in the order of time."""
    cost = -begin
    order = np.argsort(target, kind="stable")
    bounds = np.searchsorted(target[order], np.arange(len(begin) + 1))
    source, link = source[order], link[order]
    for i in np.flatnonzero(np.diff(bounds)):
        into = slice(bounds[i], bounds[i + 1])
        cost[i] = min(cost[i], (cost[source[into]] - link[into]).min())
    return np.concatenate([cost, cost, [0.0, cost.min(initial=0.0)]])
