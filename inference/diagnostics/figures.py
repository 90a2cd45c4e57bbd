"""Axes for the plots of the diagnostics, made without pyplot and so without its global state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def axes_of(ax: Axes | None) -> Axes:
    """Return the axes given, or those of a figure of their own (which a notebook shows)."""
    return axes_row([ax] if ax is not None else None, 1)[0]


def axes_row(axes: Sequence[Axes] | None, count: int) -> list[Axes]:
    """Return `count` axes: those given, or a row of them in a figure of their own.

    Raises
    ------
    ValueError
        If another number was given.
    """
    if axes is not None:
        if len(axes) != count:
            raise ValueError(f"ax: saw {len(axes)} axes, expected {count}; pass a list of {count}")
        return list(axes)
    from inference.diagnostics.canvas import Panels, Picture, PictureAxes

    figure = Picture(figsize=(min(4.0 * count, 16.0) if count > 1 else 6.0, 3.6), layout="tight")
    shown = {"axes_class": PictureAxes}
    return Panels(figure.add_subplot(1, count, place + 1, **shown) for place in range(count))
