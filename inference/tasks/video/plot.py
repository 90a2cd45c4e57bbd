"""Pictures of forecasts: a strip of frames, and the fan of the places that something may go to."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from inference.diagnostics import Picture
from inference.tasks.video.choice import Shown, chosen
from inference.tasks.video.forecast import Forecast
from ppl_models.errors import InputError

Bytes = NDArray[np.uint8]
Places = NDArray[np.floating[Any]]
COLUMNS = 15
"""Most frames of a strip."""
LEVELS = (0.95, 0.8, 0.5)
"""Shares of the samples that the bands of a fan hold, the widest first."""
GIVEN, PREDICTED = "#2a9d3a", "#d62728"
_CELL, _LEFT, _RIGHT, _TOP, _BOTTOM, _BETWEEN = 0.62, 0.85, 0.75, 0.5, 0.1, 0.06  # inches


def draw_strip(
    found: Forecast,
    truth: Bytes | None = None,
    *,
    mask: NDArray[np.bool_] | None = None,
    video: int = 0,
    columns: int = COLUMNS,
) -> Figure:
    """Draw the futures of one clip frame by frame.

    Rows are the truth, if given; the best, a typical and the worst future (without truth: a typical
    one and the farthest from all); the mean of all; and how far they scatter, pixel by pixel. Left
    of the line are the frames that were given, reconstructed.

    Parameters
    ----------
    found
        Of `forecast`.
    truth, mask
        As of `score_forecast`.
    video
        Which clip.
    columns
        Most frames to show: evenly apart, with those beside the line.

    Raises
    ------
    InputError
        No such clip, a truth that is not that of the forecast, or fewer than two columns.
    """
    if columns < 2:
        raise InputError("columns", str(columns), "two or more", f"columns={COLUMNS}")
    shown = chosen(found, truth, mask, video)
    length = found.frames.shape[2]
    times = _times(length, found.past, columns)
    rows = dict(shown.films)
    if len(found.frames) > 1:
        rows["mean"] = shown.mean
    width = len(times) * _CELL + (len(times) - 1) * _BETWEEN
    height = (len(rows) + 1) * (_CELL + _BETWEEN) + _TOP + _BOTTOM
    figure = Picture(figsize=(_LEFT + width + _RIGHT, height))
    axes = [_row_axes(figure, row, width, height) for row in range(len(rows) + 1)]
    for ax, (name, film) in zip(axes, rows.items(), strict=False):
        ax.imshow(_mosaic(film, times), interpolation="nearest")
        _label(ax, name)
    _draw_spread(figure, axes[-1], shown, times, width, height)
    _number(axes[0], shown, times)
    for ax in axes:
        _divide(ax, shown, times)
    return figure


def _times(length: int, past: int, columns: int) -> NDArray[np.int64]:
    """Return which frames are shown: of those given and of those predicted about alike."""
    columns = min(columns, length)
    given = min(past, columns, max(1, round(columns * past / length)))
    if length > past:
        given = min(given, columns - 1)
    parts = (past - given, past - 1, given), (past, length - 1, columns - given)
    if given > 2:
        parts = (0, past - 1, given), parts[1]
    return np.concatenate([np.linspace(*part).round().astype(int) for part in parts])


def _row_axes(figure: Figure, row: int, width: float, height: float) -> Axes:
    """Return axes of one row, at a place in inches."""
    low = height - _TOP - (row + 1) * _CELL - row * _BETWEEN
    whole = figure.get_figwidth()
    ax = figure.add_axes((_LEFT / whole, low / height, width / whole, _CELL / height))
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    return ax


def _gap(side: int) -> int:
    """Return the pixels between two frames."""
    return max(1, round(side * _BETWEEN / _CELL))


def _mosaic(film: NDArray[Any], times: NDArray[np.int64], fill: float = 255) -> NDArray[Any]:
    """Put frames beside one another, (H, n W + gaps, ...); those that are missing are white."""
    height, side = film.shape[1:3]
    step = side + _gap(side)
    colour = film.ndim == 4 or film.dtype == np.uint8
    shape = (height, len(times) * step - _gap(side), *((3,) if colour else ()))
    canvas = np.full(shape, fill, film.dtype)
    for place, time in enumerate(times):
        if time < len(film):
            frame = film[time]
            frame = frame[..., None] if colour and frame.ndim == 2 else frame
            canvas[:, place * step : place * step + side] = frame
    return canvas


def _draw_spread(
    figure: Figure,
    ax: Axes,
    shown: Shown,
    times: NDArray[np.int64],
    width: float,
    height: float,
) -> None:
    """Draw the standard deviation over futures, with its colours."""
    spread = _mosaic(shown.spread, times, np.nan)
    most = max(float(shown.spread[times].max()), 1.0)
    image = ax.imshow(spread, cmap="magma", vmin=0, vmax=most, interpolation="nearest")
    _label(ax, "standard\ndeviation")
    whole, low = figure.get_figwidth(), ax.get_position().y0
    bar = figure.add_axes(((_LEFT + width + 0.1) / whole, low, 0.1 / whole, _CELL / height))
    figure.colorbar(image, cax=bar)
    bar.tick_params(labelsize=7, length=2)
    bar.set_ylabel("grey levels", size=7)


def _label(ax: Axes, text: str) -> None:
    ax.set_ylabel(text, rotation=0, ha="right", va="center", size=8)


def _number(ax: Axes, shown: Shown, times: NDArray[np.int64]) -> None:
    """Write the numbers of frames above them, and which were given."""
    side = shown.mean.shape[2]
    step = side + _gap(side)
    middles = [place * step + (side - 1) / 2 for place in range(len(times))]
    ax.set_xticks(middles, [str(time + 1) for time in times], size=8)
    ax.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, length=0, pad=1)
    given = int((times < shown.past).sum())
    parts = (("given", GIVEN, middles[:given]), ("predicted", PREDICTED, middles[given:]))
    for text, colour, at in parts:
        if at:
            place = (at[0] + at[-1]) / 2
            kind: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "size": 8}
            heights = ("data", "axes fraction")
            ax.annotate(text, (place, 1), (0, 14), xycoords=heights, color=colour, **kind)


def _divide(ax: Axes, shown: Shown, times: NDArray[np.int64]) -> None:
    """Draw the line where the frames given end."""
    given = int((times < shown.past).sum())
    if 0 < given < len(times):
        side = shown.mean.shape[2]
        at = given * (side + _gap(side)) - _gap(side) / 2 - 0.5
        reach = _BETWEEN / _CELL / 2
        ax.plot([at, at], [-reach, 1 + reach], transform=ax.get_xaxis_transform(), clip_on=False,
                color=PREDICTED, linewidth=1.6)  # fmt: skip


def draw_fan(
    places: Places,
    truth: Places | None = None,
    *,
    given: Places | None = None,
    wall: tuple[float, float] | None = None,
    paths: int = 30,
    title: str = "",
) -> Figure:
    """Draw where samples say that something goes: down and across, over the frames.

    Parameters
    ----------
    places
        (S, K, 2): of each sample, rows and columns in K frames.
    truth
        (K, 2), where it went.
    given
        (P, 2), where it was in the frames before; these are numbered 1 to P, the others from P + 1.
    wall
        The least and the largest place that there is, by either axis.
    paths
        Samples whose own paths are drawn, thin.
    title

    Raises
    ------
    InputError
        Other shapes.
    """
    cloud = np.asarray(places, float)
    if cloud.ndim != 3 or cloud.shape[-1] != 2 or not cloud.size:
        cure = "give one sample a dim of its own: places[None]"
        raise InputError("places", f"shape {cloud.shape}", "(samples, frames, 2)", cure)
    others = {"truth": truth, "given": given}
    lines = {name: np.asarray(line, float) for name, line in others.items() if line is not None}
    for name, line in lines.items():
        wanted = (cloud.shape[1], 2) if name == "truth" else (len(line), 2)
        if line.shape != wanted:
            cure = f"cut it to the frames of places: {name}[:{cloud.shape[1]}]"
            raise InputError(name, f"shape {line.shape}", f"{wanted}", cure)
    before = len(lines.get("given", ()))
    figure = Picture(figsize=(9, 3.4), layout="constrained")
    axes = figure.subplots(1, 2, sharex=True, sharey=True)
    for axis, (ax, name) in enumerate(zip(axes, ("down", "across"), strict=True)):
        one = {key: line[:, axis] for key, line in lines.items()}
        _draw_axis(ax, cloud[..., axis], one, before, paths)
        for at in wall or ():
            ax.axhline(at, color="0.4", linestyle=":", linewidth=1.2, label="wall")
        ax.set(title=f"{name} (pixels)", xlabel="frame")
        ax.xaxis.get_major_locator().set_params(integer=True)
    axes[0].invert_yaxis()  # as pictures are: row 0 is above
    handles, names = axes[0].get_legend_handles_labels()
    once = dict(zip(names, handles, strict=True))
    figure.legend(once.values(), once.keys(), loc="outside right center", fontsize=8, frameon=False)
    figure.suptitle(title, size=11)
    return figure


def _draw_axis(ax: Axes, cloud: Places, lines: dict[str, Places], before: int, paths: int) -> None:
    """Draw bands, paths (S, K), and what is known, of one axis."""
    start = before + 1
    frames = np.arange(start, start + cloud.shape[1])
    if "given" in lines:  # samples start where it was last
        last = np.full((len(cloud), 1), lines["given"][-1])
        cloud, frames = np.concatenate([last, cloud], 1), np.arange(before, start + len(frames))
        ax.axvline(before + 0.5, color=PREDICTED, linewidth=1)
    for shade, level in zip((0.16, 0.3, 0.5), LEVELS, strict=True):
        low, high = np.quantile(cloud, [(1 - level) / 2, (1 + level) / 2], axis=0)
        name = f"{level:.0%} of samples"
        ax.fill_between(frames, low, high, color="tab:blue", alpha=shade, linewidth=0, label=name)
    for place, path in enumerate(cloud[:paths]):
        label = "samples" if place == 0 else None
        ax.plot(frames, path, color="tab:blue", linewidth=0.5, alpha=0.45, label=label)
    if "given" in lines:
        seen = np.arange(1, start)
        ax.plot(seen, lines["given"], color=GIVEN, marker=".", linewidth=1.5, label="given")
    if "truth" in lines:
        after = frames[-len(lines["truth"]) :]
        ax.plot(after, lines["truth"], color="black", marker=".", linewidth=1.5, label="truth")
