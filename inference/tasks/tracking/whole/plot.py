"""The picture of live tracks: paths in the image, and over time, and lives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from inference.diagnostics import Picture
from inference.tasks.tracking.plot import CLUTTER, colours

MOST = 60
"""Objects up to which each has its number, last box and band; of more they would hide all."""
SHADE = 0.05
"""Differences of p(present) that are too small to be drawn."""
SHOWN = 0.25
"""Least p(present) of a piece of a path that is drawn."""


class Lives(Protocol):
    """What is drawn of `LiveTracks`, whose attributes these are."""

    @property
    def first(self) -> Any:
        """Number of the first frame."""

    @property
    def length(self) -> Any:
        """T."""

    @property
    def objects(self) -> Any:
        """N."""

    @property
    def object(self) -> Any:
        """(P,)."""

    @property
    def frame(self) -> Any:
        """(P,)."""

    @property
    def boxes(self) -> Any:
        """(P, 4)."""

    @property
    def mean(self) -> Any:
        """(P, 4)."""

    @property
    def sd(self) -> Any:
        """(P, 4)."""

    @property
    def present(self) -> Any:
        """(P,)."""

    @property
    def seen(self) -> Any:
        """(P,)."""

    @property
    def assignment(self) -> Any:
        """(R,)."""

    @property
    def detections(self) -> Any:
        """R detections."""


def plot(tracks: Lives) -> Figure:
    """Draw the paths of the boxes' feet in the image, where each is over time, and its life.

    All is as opaque as p(present), and thin where an object is likelier hidden than seen. Bands are
    95 % credible intervals of the boxes' centres. Clutter is grey crosses.
    """
    figure = Picture(figsize=(12, 5.4), layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=(1.25, 1))
    image, lives = figure.add_subplot(grid[:, 0]), figure.add_subplot(grid[1, 1])
    across = figure.add_subplot(grid[0, 1], sharex=lives)
    _paths(tracks, image)
    _across(tracks, across)
    _lives(tracks, lives)
    if not tracks.objects:
        words = "nobody was followed" if len(tracks.detections) else "no detection, so nobody"
        for ax in (image, across, lives):
            ax.text(0.5, 0.5, words, ha="center", va="center", transform=ax.transAxes)
    return figure


def _each(tracks: Lives, least: float = 0.0) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield number, rows and colour of each object, in the order of frames."""
    for one, colour in zip(range(1, tracks.objects + 1), colours(tracks.objects), strict=True):
        rows = np.flatnonzero((tracks.object == one) & (tracks.present >= least))
        if len(rows):
            yield one, rows, colour


def _paths(tracks: Lives, ax: Axes) -> None:
    found = tracks.detections.ltwh
    clutter = tracks.assignment == 0
    foot = found[clutter, :2] + found[clutter, 2:] * [0.5, 1.0]
    ax.plot(*foot.T, "x", color=CLUTTER, ms=3, alpha=0.3, label="clutter", zorder=0)
    boxes = tracks.boxes
    feet = boxes[:, :2] + boxes[:, 2:] * [0.5, 1.0]
    for one, rows, colour in _each(tracks, SHOWN):
        ax.add_collection(_faded(tracks, feet[rows], rows, colour, 2.4))
        if tracks.objects > MOST:
            continue
        left, top, width, height = boxes[rows[-1]]
        ax.add_patch(
            Rectangle((left, top), width, height, fill=False, ec=colour, lw=0.8, alpha=0.6)
        )
        place = (left + width / 2, top)
        ax.annotate(str(one), place, color=colour, size=9, weight="bold", ha="center", va="bottom")
    ax.autoscale_view()
    ax.invert_yaxis()
    ax.set_aspect("equal", adjustable="datalim")
    ax.set(xlabel="x (pixels)", ylabel="y (pixels)")
    also = ", and the last box of each" * (tracks.objects <= MOST)
    ax.set_title(f"{tracks.objects} objects: paths of the feet{also}", size=10)
    if clutter.any():
        ax.legend(loc="upper right", fontsize=8)


def _across(tracks: Lives, ax: Axes) -> None:
    """Draw centre x over time, with its bands."""
    for _, rows, colour in _each(tracks, SHOWN):
        frame, x, wide = tracks.frame[rows], tracks.mean[rows, 0], 1.96 * tracks.sd[rows, 0]
        ax.add_collection(_faded(tracks, np.stack([frame, x], -1), rows, colour, 2.0))
        if tracks.objects > MOST:
            continue
        for part in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(frame) > 1) + 1):
            low, high = (x - wide)[part], (x + wide)[part]
            ax.fill_between(frame[part], low, high, color=colour, alpha=0.2, lw=0)
    ax.autoscale_view()
    ax.set_ylabel("centre x (pixels)")
    ax.tick_params(labelbottom=False)
    ax.set_title("over time" + ", with 95 % bands" * (tracks.objects <= MOST), size=10)


def _lives(tracks: Lives, ax: Axes) -> None:
    width = min(5.0, 180 / (tracks.objects + 1))  # points; the panel is some 200 high
    for one, rows, colour in _each(tracks):
        line = np.stack([tracks.frame[rows], np.full(len(rows), one)], -1).astype(float)
        ax.add_collection(_faded(tracks, line, rows, colour, width))
    ax.set(xlim=(tracks.first - 0.5, tracks.first + tracks.length - 0.5), xlabel="frame")
    ax.set(ylim=(tracks.objects + 1, 0), ylabel="object")
    ax.set_yticks(range(1, tracks.objects + 1, 1 + tracks.objects // 12))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    ax.set_title("lives: as opaque as p(present), thin where hidden", size=10)


def _faded(
    tracks: Lives, points: np.ndarray, rows: np.ndarray, colour: np.ndarray, width: float
) -> LineCollection:
    """Return a line through points (M, 2) of M rows, each piece as its end is.

    Pieces behind each other that look the same are one. A single row, which has no piece, gets
    one as long as half a frame to each side.
    """
    shade = np.round(tracks.present[rows] / SHADE) * SHADE
    hidden, frame = tracks.seen[rows] < 0.5, tracks.frame[rows]
    if len(rows) == 1:
        lines, ends = [points[0] + np.array([[-0.5, 0.0], [0.5, 0.0]])], np.array([0])
    else:
        apart = np.diff(frame) > 1
        new = (np.diff(shade) != 0) | (np.diff(hidden) != 0) | apart
        begins = np.r_[0, np.flatnonzero(new[1:] | apart[:-1]) + 1]
        ends = np.r_[begins[1:], len(rows) - 1]
        kept = ~apart[begins]
        lines = [points[a : b + 1] for a, b in zip(begins[kept], ends[kept], strict=True)]
        ends = ends[kept]
    shades = np.tile(colour, (len(lines), 1))
    shades[:, 3] = shade[ends].clip(0.05, 1.0)
    widths = np.where(hidden[ends], width / 4, width)
    return LineCollection(lines, colors=shades, linewidths=widths.tolist())
