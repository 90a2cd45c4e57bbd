"""A model as a drawing: variables, the plates around them, and what depends on what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerPatch
from matplotlib.lines import Line2D
from matplotlib.patches import Ellipse, FancyArrowPatch, FancyBboxPatch, Patch

from inference.checking.rows import SiteRow
from inference.diagnostics import Picture

WIDE, HIGH = 2.7, 1.3
"""Inches between the middles of neighbours."""
RADIUS, LETTER = 0.34, 0.058
"""Of a variable; and how wide a letter beside it is."""
PAD = 0.18
"""What a plate leaves around what is inside it."""
FACES = {"observed": "0.82", "enumerated": "white", "latent": "white"}
NAMES = {
    "latent": "latent",
    "enumerated": "latent, summed exactly",
    "observed": "observed",
    "factor": "factor",
    "deterministic": "deterministic",
}
Place = tuple[float, float]


@dataclass(frozen=True)
class Edge:
    """A variable that another depends on: of the same step, or, in sequences, of earlier ones."""

    parent: str
    child: str
    earlier: bool


@dataclass(frozen=True)
class Node:
    """A variable and its place."""

    row: SiteRow
    place: Place

    @property
    def half(self) -> float:
        """Half its width: names of more than four letters need more."""
        return RADIUS * min(max(1.0, 0.25 * len(self.row.name)), 2.6)

    @property
    def words(self) -> str:
        """Its distribution, and the shape of one draw."""
        words = self.row.distribution.partition(", guide")[0]
        shape = " x ".join(map(str, self.row.event_shape))
        return f"{words}\n{shape}" if shape else words

    @property
    def right(self) -> float:
        """Where the words beside it end."""
        letters = max(len(line) for line in self.words.split("\n"))
        return self.place[0] + self.half + 0.04 + LETTER * letters


def draw_plates(
    rows: Sequence[SiteRow], parents: Mapping[str, Iterable[str]], sizes: Mapping[str, int | None]
) -> Figure:
    """Draw a model's sites, plates, and dependencies.

    Parameters
    ----------
    rows
        The sites, in the order in which they are sampled.
    parents
        By site, those that its distribution is a function of. A parent that is sampled later is one
        of earlier steps of a sequence, since a trajectory is one site.
    sizes
        By plate.
    """
    order = [row.name for row in rows]
    edges = _edges(order, parents)
    ranks = _ranks(order, edges)
    columns = _Columns(rows, ranks).columns
    nodes = {r.name: Node(r, (WIDE * columns[r.name], -HIGH * ranks[r.name])) for r in rows}
    depth = max((len(row.plates) for row in rows), default=0)
    figure, ax = _canvas(nodes.values(), RADIUS + PAD * (depth + 1))
    _draw_boxes(ax, nodes.values(), sizes)
    patches = {name: _draw_node(ax, node) for name, node in nodes.items()}
    for edge in edges:
        _draw_edge(ax, edge, patches, {name: node.place for name, node in nodes.items()})
    _explain(ax, rows, edges)
    return figure


def _canvas(nodes: Iterable[Node], margin: float) -> tuple[Figure, Axes]:
    """Return axes in inches, as large as the drawing, with room for the legend below."""
    left = min(node.place[0] - node.half for node in nodes) - margin
    right = max(max(node.right for node in nodes) + margin, left + 3.4)
    low, high = min(node.place[1] for node in nodes) - margin - 0.5, margin
    figure = Picture(figsize=(right - left, high - low))
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(left, right), ylim=(low, high))
    ax.axis("off")
    return figure, ax


def _edges(order: list[str], parents: Mapping[str, Iterable[str]]) -> list[Edge]:
    place = {name: at for at, name in enumerate(order)}
    pairs = [(p, child) for child in order for p in parents.get(child, ()) if p in place]
    return [Edge(p, child, place[p] > place[child]) for p, child in pairs if p != child]


def _ranks(order: list[str], edges: Sequence[Edge]) -> dict[str, int]:
    """Return each site's row: one below the lowest of those it depends on."""
    ranks: dict[str, int] = {}
    for name in order:
        above = [ranks[e.parent] for e in edges if e.child == name and not e.earlier]
        ranks[name] = 1 + max(above, default=-1)
    return ranks


class _Columns:
    """Places across: a plate has columns of its own in the rows that it spans."""

    def __init__(self, rows: Sequence[SiteRow], ranks: Mapping[str, int]) -> None:
        self.ranks = ranks
        self.columns: dict[str, float] = {}
        self._place(rows, 0, 0.0)

    def _place(self, rows: Sequence[SiteRow], level: int, left: float) -> float:
        """Place what lies in a plate, which is the ``level``-th from outside; return its width."""
        own = [row for row in rows if len(row.plates) <= level]
        inner: dict[str, list[SiteRow]] = {}
        for row in rows:
            if len(row.plates) > level:
                inner.setdefault(row.plates[level], []).append(row)
        width, spanned = 0.0, set[int]()
        for inside in inner.values():
            width += self._place(inside, level + 1, left + width)
            found = [self.ranks[row.name] for row in inside]
            spanned |= set(range(min(found), max(found) + 1))
        by_rank: dict[int, list[str]] = {}
        for row in own:
            by_rank.setdefault(self.ranks[row.name], []).append(row.name)
        beside = max((len(n) for rank, n in by_rank.items() if rank in spanned), default=0)
        total = max(width + beside, *(float(len(n)) for n in by_rank.values()), 1.0)
        for rank, found_names in by_rank.items():
            start = left + width if rank in spanned else left + (total - len(found_names)) / 2
            for at, name in enumerate(found_names):
                self.columns[name] = start + at
        return total


def _draw_boxes(ax: Axes, nodes: Iterable[Node], sizes: Mapping[str, int | None]) -> None:
    """Draw the plates, outer ones wider."""
    found = [(node.row.plates, node) for node in nodes]
    paths = dict.fromkeys(plates[: at + 1] for plates, _ in found for at in range(len(plates)))
    deepest = max((len(path) for path in paths), default=0)
    for path in paths:
        inside = [node for plates, node in found if plates[: len(path)] == path]
        room = PAD * (1 + deepest - len(path))
        left = min(node.place[0] - node.half for node in inside) - room
        right = max(node.right for node in inside) + room
        low = min(node.place[1] for node in inside) - RADIUS - room - 0.05
        high = max(node.place[1] for node in inside) + RADIUS + room
        box = FancyBboxPatch((left, low), right - left, high - low, "round,pad=0,rounding_size=.08")
        box.set(fill=False, edgecolor="0.4")
        ax.add_patch(box)
        count = sizes.get(path[-1])
        label = path[-1] if count is None else f"{path[-1]}: {count}"
        ax.text(right - 0.07, low + 0.04, label, ha="right", fontsize=8, color="0.3")


def _draw_node(ax: Axes, node: Node) -> Patch:
    """Draw one variable: its name inside, its distribution and event shape beside it."""
    row, (x, y) = node.row, node.place
    shape = _look(Ellipse(node.place, 2 * node.half, 2 * RADIUS, zorder=3), row.kind)
    ax.add_patch(shape)
    ax.text(x, y, _symbol(row.name), ha="center", va="center", fontsize=11, zorder=4)
    beside = x + node.half + 0.04
    ax.text(beside, y + 0.2, node.words, fontsize=6.5, color="0.35", va="center", zorder=4)
    return shape


def _symbol(name: str) -> str:
    """Return a name as mathematics where it looks like some: ``z``, ``h_1``."""
    head, *feet = name.split("_")
    if len(head) != 1 or len(feet) > 1 or not "".join([head, *feet]).isalnum():
        return name.replace("$", r"\$")
    return f"${head}_{{\\mathrm{{{feet[0]}}}}}$" if feet else f"${head}$"


def _draw_edge(
    ax: Axes, edge: Edge, patches: Mapping[str, Patch], places: Mapping[str, Place]
) -> None:
    """Draw an arrow: dashed if it is from earlier steps, bent where something is in between."""
    ends = places[edge.parent], places[edge.child]
    others = [place for name, place in places.items() if name not in (edge.parent, edge.child)]
    bend = 0.35 if edge.earlier else 0.3 if any(_between(*ends, o) for o in others) else 0.0
    arrow = FancyArrowPatch(
        *ends,
        patchA=patches[edge.parent],
        patchB=patches[edge.child],
        arrowstyle="-|>",
        mutation_scale=12,
        connectionstyle=f"arc3,rad={bend}",
        linestyle="dashed" if edge.earlier else "solid",
        color="0.2",
        zorder=2,
    )
    ax.add_patch(arrow)


def _between(start: Place, end: Place, point: Place) -> bool:
    """Whether a straight arrow would touch the variable at ``point``."""
    (x0, y0), (x1, y1), (x, y) = start, end, point
    length = ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5
    along = ((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / length
    off = abs((x - x0) * (y1 - y0) - (y - y0) * (x1 - x0)) / length
    return 0 < along < length and off < RADIUS


def _explain(ax: Axes, rows: Sequence[SiteRow], edges: Sequence[Edge]) -> None:
    """Say what shades and dashes mean, of those that are there."""
    shades = list(_shades({row.kind for row in rows}))
    handles: list[Any] = [*shades]
    if any(edge.earlier for edge in edges):
        handles.append(Line2D([], [], color="0.2", ls="dashed", label="of earlier steps"))
    ax.legend(
        handles=handles,
        handler_map={Ellipse: HandlerPatch(_small)},
        loc="lower left",
        ncols=2,
        fontsize=7,
        frameon=False,
        borderaxespad=0.1,
    )


def _shades(kinds: set[str]) -> Iterator[Ellipse]:
    """Yield a sample of each kind of variable that is there."""
    for kind in (kind for kind in NAMES if kind in kinds):
        yield _look(Ellipse((0, 0), 1, 1, label=NAMES[kind]), kind)


def _small(orig_handle: Patch, xdescent: float, width: float, height: float, **_: Any) -> Ellipse:
    """Return a variable of the size that a legend has room for."""
    size = 1.5 * height
    return Ellipse((width / 2 - xdescent, height / 2), size, size)


def _look(shape: Ellipse, kind: str) -> Ellipse:
    """Shade what is observed, dash what is summed."""
    shape.set(facecolor=FACES.get(kind, "0.95"), edgecolor="black")
    shape.set_linestyle((0, (3, 1.5)) if kind == "enumerated" else "solid")
    return shape
