"""The picture of tracks: paths in the image, each coordinate over time with its credible band."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from inference.diagnostics import Picture

CLUTTER = "0.6"
WIDE = 0.5
"""Bands wider than this share of what is shown are drawn as their edges, thin, and not filled."""


class Paths(Protocol):
    """What is drawn of `Tracks`, whose attributes these are."""

    @property
    def first(self) -> Any:
        """Number of the first frame."""

    @property
    def mean(self) -> Any:
        """(N, T, 4)."""

    @property
    def sd(self) -> Any:
        """(N, T, 4)."""

    @property
    def detections(self) -> Any:
        """(T, K, 4)."""

    @property
    def boxes(self) -> Any:
        """(N, T, 4)."""

    @property
    def assignment(self) -> Any:
        """(T, K)."""


def plot(tracks: Paths, ax: Axes | None = None) -> Figure:
    """Draw the paths of the boxes' centres in the image; without ``ax``, also x and y over time.

    A notebook shows what is returned without ``ax`` as it is.

    Detections are dots in the colour of the object they most likely are of, grey crosses where
    they are clutter. Bands are 95 % credible intervals; one that would cover half the panel, of an
    object that hardly anything was seen of, is drawn as two dotted lines.
    """
    if ax is not None:
        _image(tracks, ax)
        return ax.get_figure()  # type: ignore[return-value]
    figure = Picture(figsize=(12, 5.4), layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=(1.3, 1))
    _image(tracks, figure.add_subplot(grid[:, 0]))
    for row, (axis, name) in enumerate((("x", "centre x"), ("y", "centre y"))):
        panel = figure.add_subplot(grid[row, 1])
        _over_time(tracks, panel, row)
        panel.set_ylabel(f"{name} (pixels)")
        if row == 0:
            panel.set_title("95 % bands; dashed: hardly seen, edges of its band dotted", size=9)
        if axis == "y":
            panel.invert_yaxis()
            panel.set_xlabel("frame")
    return figure


def colours(count: int) -> np.ndarray:
    """Return as many colours (count, 4), alike as little as may be."""
    return colormaps["tab10" if count <= 10 else "tab20"](np.arange(count) % 20)


def _detections(tracks: Paths, ax: Axes, x: np.ndarray, y: np.ndarray) -> None:
    """Put a mark at x, y (T, K) for each detection."""
    n, assignment = len(tracks.mean), tracks.assignment
    for source, colour in enumerate(colours(n)):
        mine = assignment == source
        ax.plot(x[mine], y[mine], ".", color=colour, ms=3, alpha=0.45)
    clutter = assignment == n
    ax.plot(x[clutter], y[clutter], "x", color=CLUTTER, ms=4, alpha=0.8)


def _image(tracks: Paths, ax: Axes) -> None:
    centres = tracks.detections[..., :2] + tracks.detections[..., 2:] / 2
    _detections(tracks, ax, centres[..., 0], centres[..., 1])
    for n, (mean, colour) in enumerate(zip(tracks.mean, colours(len(tracks.mean)), strict=True)):
        ax.plot(mean[:, 0], mean[:, 1], color=colour, lw=1.8, alpha=0.8)
        ax.annotate(str(n + 1), mean[-1, :2], color=colour, weight="bold")
        left, top, width, height = tracks.boxes[n, -1]
        ax.add_patch(_box(left, top, width, height, colour))
    ax.invert_yaxis()
    ax.set_aspect("equal", adjustable="datalim")
    ax.set(xlabel="x (pixels)", ylabel="y (pixels)")
    last = tracks.first + tracks.mean.shape[1] - 1
    ax.set_title(f"{len(tracks.mean)} objects, frames {tracks.first} to {last}; boxes: the last")


def _over_time(tracks: Paths, ax: Axes, coordinate: int) -> None:
    frames = np.arange(tracks.mean.shape[1]) + tracks.first
    seen = tracks.detections[..., coordinate] + tracks.detections[..., coordinate + 2] / 2
    _detections(tracks, ax, np.broadcast_to(frames[:, None], seen.shape), seen)
    values = np.concatenate([tracks.mean[..., coordinate].ravel(), seen[~np.isnan(seen)]])
    margin = 0.1 * max(float(np.ptp(values)), 1.0)  # an unseen object's band may fill the panel
    low, high = values.min() - margin, values.max() + margin
    ax.set_ylim(low, high)
    for mean, sd, colour in zip(tracks.mean, tracks.sd, colours(len(tracks.mean)), strict=True):
        centre, wide = mean[:, coordinate], 1.96 * sd[:, coordinate]
        vague = 2 * np.median(wide) > WIDE * (high - low)
        ax.plot(frames, centre, color=colour, lw=1.2, ls="--" if vague else "-")
        if vague:
            for edge in (centre - wide, centre + wide):
                ax.plot(frames, edge, color=colour, lw=0.8, ls=":", alpha=0.7)
        else:
            ax.fill_between(frames, centre - wide, centre + wide, color=colour, alpha=0.2, lw=0)


def _box(left: float, top: float, width: float, height: float, colour: np.ndarray) -> Rectangle:
    return Rectangle((left, top), width, height, fill=False, edgecolor=colour, lw=1)
