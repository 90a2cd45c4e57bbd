"""Draw the rooms of the three packages and what they import, from the imports themselves.

    python -m tools.architecture            # write docs/architecture.svg and the text beside it
    python -m tools.architecture --check    # say whether they are in step; exit code 1 if not

A box is a room: a folder or a file of a package, but for the files of registered models and their
guides, which share a box. An arrow is an import. What follows from other arrows is not drawn; the
text has all of them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import permutations
from pathlib import Path

import grimp

from inference.cli.catalogue import STORIES

ROOT = Path(__file__).parents[1]
PICTURE, PAGE = ROOT / "docs/architecture.svg", ROOT / "docs/architecture.md"
BLOCK = re.compile(r"(<!-- imports -->\n).*?(<!-- end of imports -->)", re.DOTALL)
PACKAGES = ("inference", "guides", "ppl_models")  # from top to bottom
COLOURS = {"inference": "#dbe9f6", "guides": "#e5f3dc", "ppl_models": "#fbead1"}
WIDTH, BOX, ROW, MARGIN = 1120, 24, 62, 34

Graph = Mapping[str, frozenset[str]]
Place = tuple[float, float, float]  # middle, top and width of a box


def main(arguments: Sequence[str]) -> int:
    """Write what is out of step, or with ``--check`` only name it; return the exit code."""
    stale = {path: text for path, text in wanted() if _read(path) != text}
    for path, text in stale.items():
        if "--check" not in arguments:
            path.write_text(text)
        print(path.relative_to(ROOT))
    return int(bool(stale) and "--check" in arguments)


def wanted() -> Iterator[tuple[Path, str]]:
    """Yield each generated file and what it should contain."""
    graph = rooms()
    yield PICTURE, picture(graph)
    yield PAGE, BLOCK.sub(lambda block: block[1] + text(graph) + block[2], _read(PAGE))


@cache
def rooms() -> Graph:
    """Return each room and the rooms that its files import."""
    modules = grimp.build_graph(*PACKAGES, cache_dir=None)
    found: dict[str, set[str]] = {}
    for module in sorted(modules.modules - set(PACKAGES)):
        others = {room_of(m) for m in modules.find_modules_directly_imported_by(module)}
        found.setdefault(room_of(module), set()).update(others - set(PACKAGES))
    return {room: frozenset(others - {room}) for room, others in found.items()}


def room_of(module: str) -> str:
    """Return the room of a module; the files of registered models are one, and those of guides."""
    package, _, rest = module.partition(".")
    name = rest.partition(".")[0]
    if package == "inference" or not name:
        return f"{package}.{name}" if name else package
    registered = {story.path.partition(":")[0] for story in STORIES}
    return f"{package}.{'*' if name in registered else name}"


def levels(graph: Graph) -> dict[str, int]:
    """Return the length of the longest way down from each room.

    Raises
    ------
    ValueError
        Rooms import one another in a circle.
    """
    found: dict[str, int] = {}
    rest = dict(graph)
    while rest:
        free = [room for room, others in rest.items() if others <= found.keys()]
        if not free:
            raise ValueError(f"a circle of imports among {', '.join(sorted(rest))}")
        for room in free:
            found[room] = 1 + max((found[other] for other in rest[room]), default=-1)
        rest = {room: others for room, others in rest.items() if room not in found}
    return found


def reduced(graph: Graph) -> Graph:
    """Return the arrows that do not follow from others."""
    below: dict[str, set[str]] = {}
    for room in sorted(graph, key=levels(graph).__getitem__):
        below[room] = set(graph[room]).union(*(below[other] for other in graph[room]))
    return {
        room: frozenset(o for o in others if not any(o in below[via] for via in others))
        for room, others in graph.items()
    }


def text(graph: Graph) -> str:
    """Return all imports between rooms as a block of text, from the top down."""
    order = levels(graph)
    lines = []
    for package in PACKAGES:
        inside = [room for room in graph if room.startswith(f"{package}.")]
        for room in sorted(inside, key=lambda r: (-order[r], r)):
            lines.append(f"{room:24s} -> {', '.join(sorted(graph[room])) or '(nothing)'}")
        lines.append("")
    return "```text\n" + "\n".join(lines[:-1]) + "\n```\n"


def picture(graph: Graph) -> str:
    """Return the picture as SVG."""
    arrows = [(a, b) for a, others in reduced(graph).items() for b in sorted(others)]
    places, bands, height = _layout(graph, arrows)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="12">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="#667"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
    ]
    for package, (top, bottom) in bands.items():
        parts.append(
            f'<rect x="6" y="{top}" width="{WIDTH - 12}" height="{bottom - top}" rx="8" '
            f'fill="{COLOURS[package]}"/><text x="16" y="{top + 18}" font-weight="bold">'
            f"{package}</text>"
        )
    parts += [_arrow(places[a], places[b]) for a, b in arrows]
    parts += [_box(room, place) for room, place in places.items()]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _layout(
    graph: Graph, arrows: Sequence[tuple[str, str]]
) -> tuple[dict[str, Place], dict[str, tuple[int, int]], int]:
    """Place the rooms of each package in rows by level; return also the bands and the height."""
    rows: list[tuple[int, list[str]]] = []
    bands, top = {}, 6
    for package in PACKAGES:
        inside = {room for room in graph if room.startswith(f"{package}.")}
        order = levels({room: graph[room] & inside for room in sorted(inside)})
        depth = max(order.values())
        for level in range(depth, -1, -1):
            row = sorted(room for room in inside if order[room] == level)
            rows.append((top + MARGIN + (depth - level) * ROW, row))
        bands[package] = (top, top + MARGIN + depth * ROW + BOX + 12)
        top = bands[package][1] + 26
    return _spread(rows, arrows), bands, top - 20


def _spread(
    rows: Sequence[tuple[int, list[str]]], arrows: Sequence[tuple[str, str]]
) -> dict[str, Place]:
    """Place each row where arrows cross the fewest boxes and are short: three rounds over rows."""
    places: dict[str, Place] = {}
    for top, row in rows:
        places |= _row(row, top, 0)
    for _ in range(3):
        for top, row in rows:
            trials = (
                places | _row(list(order), top, shift)
                for order in (permutations(row) if len(row) < 6 else [tuple(row)])
                for shift in range(-240, 241, 60)
            )
            places = min(trials, key=lambda trial: _cost(trial, arrows))
    return places


def _row(row: Sequence[str], top: float, shift: float) -> dict[str, Place]:
    gap = WIDTH / (len(row) + 1)
    shift *= 1 if len(row) < 3 else gap / 400  # a full row has less room to move
    return {
        room: (gap * (i + 1) + shift, top, 7.0 * len(_title(room)) + 22)
        for i, room in enumerate(row)
    }


def _cost(places: Mapping[str, Place], arrows: Sequence[tuple[str, str]]) -> float:
    """Boxes that arrows run behind, and the arrows' lengths along the page, in widths of it."""
    crossed, length = 0, 0.0
    for one, other in arrows:
        (x, y, _), (u, v, _) = places[one], places[other]
        length += abs(x - u)
        for middle, top, width in places.values():
            if y < top < v:
                at = x + (u - x) * (top + BOX / 2 - y - BOX) / (v - y - BOX)
                crossed += abs(at - middle) < width / 2 + 6
    return crossed + length / WIDTH / 4


def _title(room: str) -> str:
    package, _, name = room.partition(".")
    if name != "*":
        return name
    return "a file for each model" if package == "ppl_models" else "a file for each guide"


def _arrow(above: Place, below: Place) -> str:
    return (
        f'<line x1="{above[0]:.0f}" y1="{above[1] + BOX:.0f}" x2="{below[0]:.0f}" '
        f'y2="{below[1]:.0f}" stroke="#667" stroke-width="1" marker-end="url(#tip)"/>'
    )


def _box(room: str, place: Place) -> str:
    middle, top, width = place
    return (
        f'<rect x="{middle - width / 2:.0f}" y="{top:.0f}" width="{width:.0f}" height="{BOX}" '
        f'rx="5" fill="white" stroke="#334"/><text x="{middle:.0f}" y="{top + 16:.0f}" '
        f'text-anchor="middle">{_title(room)}</text>'
    )


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
