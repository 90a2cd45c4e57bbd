"""Rows of small images in one figure; importing this imports matplotlib."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor


class Picture(Figure):
    """A figure that a notebook shows as it is, made without pyplot and its global state."""

    def _repr_png_(self) -> bytes:
        stream = io.BytesIO()
        self.savefig(stream, format="png", bbox_inches="tight")
        return stream.getvalue()


class PictureAxes(Axes):
    """Axes of a `Picture`: a notebook shows them by their figure."""

    def _repr_png_(self) -> bytes | None:
        figure = self.get_figure(root=True)
        return figure._repr_png_() if isinstance(figure, Picture) else None


class Panels(list[Axes]):
    """Several axes of one figure: a notebook shows them by that, once."""

    def _repr_png_(self) -> bytes | None:
        figure = self[0].get_figure(root=True) if self else None
        return figure._repr_png_() if isinstance(figure, Picture) else None


def draw_rows(
    rows: Sequence[Sequence[Tensor | None]],
    titles: Sequence[str],
    heads: Sequence[str] = (),
    limits: tuple[float, float] | None = None,
    marks: Sequence[Tensor | None] = (),
) -> Picture:
    """Draw rows of images on one grey scale.

    Parameters
    ----------
    rows
        Images (H, W) or (H, W, 3), None for an empty place.
    titles, heads
        Words at the left of each row, and above each column.
    limits
        Values shown white and black; by default those of all images together.
    marks
        By column, pixels (H, W) to tint in every row: what was missing.
    """
    width = max(len(row) for row in rows)
    figure = Picture(figsize=(0.8 * width + 1.2, 0.85 * len(rows)))
    axes = figure.subplots(len(rows), width, squeeze=False)
    shown = [image for row in rows for image in row if image is not None]
    low, high = limits or _range(shown)
    for i, row in enumerate(rows):
        for j in range(width):
            axis, image = axes[i][j], row[j] if j < len(row) else None
            axis.set(xticks=[], yticks=[])
            if image is None:
                axis.axis("off")
                continue
            axis.imshow(image.numpy(), cmap="gray_r", vmin=low, vmax=max(high, low + 1e-9))
            if j < len(marks) and marks[j] is not None:
                tint = np.zeros((*marks[j].shape, 4))  # type: ignore[union-attr]
                tint[..., 0], tint[..., 3] = 0.8, 0.25 * marks[j].numpy()  # type: ignore[union-attr]
                axis.imshow(tint)
            if i == 0 and j < len(heads):
                axis.set_title(heads[j], fontsize=8)
        axes[i][0].set_ylabel(titles[i], rotation=0, ha="right", va="center", fontsize=8)
    return figure


def _range(images: Sequence[Tensor]) -> tuple[float, float]:
    """Return the least and the largest value that is not NaN; 0 and 1 if none is."""
    values = [image[~image.isnan()] for image in images]
    values = [value for value in values if value.numel()]
    return (
        min((float(value.min()) for value in values), default=0.0),
        max((float(value.max()) for value in values), default=1.0),
    )
