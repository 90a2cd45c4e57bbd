"""The picture of live tracks: paths in the image, and lives over time."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from inference.diagnostics import Picture
from inference.tasks.tracking.plot import CLUTTER, colours

SHOWN = 0.25
"""Least p(present) of a piece of a path that is drawn."""
MOST = 60
"""Objects whose lives have a line each with a label; more are thinner, without."""


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
    """Draw the paths of the boxes' feet in the image, and a line for each object's life.

    A path and a life are as opaque as p(present). Clutter is grey crosses.
    """
    figure = Picture(figsize=(12, 5.4), layout="constrained")
    image, lives = figure.subplots(1, 2, width_ratios=(1.2, 1))
    _paths(tracks, image)
    _lives(tracks, lives)
    return figure


def _paths(tracks: Lives, ax: Axes) -> None:
    found = tracks.detections.ltwh
    clutter = tracks.assignment == 0
    foot = found[clutter, :2] + found[clutter, 2:] * [0.5, 1.0]
    ax.plot(*foot.T, "x", color=CLUTTER, ms=3, alpha=0.4, label="clutter")
    feet = tracks.boxes[:, :2] + tracks.boxes[:, 2:] * [0.5, 1.0]
    for one, colour in zip(range(1, tracks.objects + 1), colours(tracks.objects), strict=True):
        rows = np.flatnonzero((tracks.object == one) & (tracks.present >= SHOWN))
        if not len(rows):
            continue
        ax.add_collection(_faded(feet[rows], tracks.present[rows], colour))
        ax.annotate(str(one), feet[rows[-1]], color=colour, size=8)
    ax.autoscale_view()
    ax.invert_yaxis()
    ax.set_aspect("equal", adjustable="datalim")
    ax.set(xlabel="x (pixels)", ylabel="y (pixels)")
    ax.set_title(f"paths of the feet of {tracks.objects} objects; as opaque as p(present)", size=9)
    if clutter.any():
        ax.legend(loc="upper right", fontsize=8)


def _lives(tracks: Lives, ax: Axes) -> None:
    for one, colour in zip(range(1, tracks.objects + 1), colours(tracks.objects), strict=True):
        rows = np.flatnonzero(tracks.object == one)
        line = np.stack([tracks.frame[rows], np.full(len(rows), one)], -1).astype(float)
        ax.add_collection(_faded(line, tracks.present[rows], colour, width=3))
        hidden = rows[(tracks.seen[rows] < 0.5) & (tracks.present[rows] >= 0.5)]
        ax.plot(tracks.frame[hidden], np.full(len(hidden), one), "|", color="k", ms=3, mew=0.5)
    ax.set(xlim=(tracks.first - 0.5, tracks.first + tracks.length - 0.5), xlabel="frame")
    ax.set(ylim=(tracks.objects + 1, 0), ylabel="object")
    if tracks.objects <= MOST:
        ax.set_yticks(range(1, tracks.objects + 1, 1 + tracks.objects // 20))
    ax.set_title("lives; ticks: there, but hidden", size=9)


def _faded(
    points: np.ndarray, present: np.ndarray, colour: np.ndarray, width: float = 1.6
) -> LineCollection:
    """Return a line through points (M, 2), each piece as opaque as p(present) at its end."""
    pieces = np.stack([points[:-1], points[1:]], 1)
    shades = np.tile(colour, (len(pieces), 1))
    shades[:, 3] = present[1:].clip(0.05, 1.0)
    return LineCollection(list(pieces), colors=shades, linewidths=width)
