r"""Sequences of a known number of objects, as a camera that stands would have seen them.

A hand that shakes moves all boxes of a frame at once, by more than people's own motion in it. A
prior of one object's path knows nothing of that: it takes such jumps for errors of the detector,
smooths them away, and the boxes that it reports lag behind. What objects have in common is read
exactly, and the evidence decides whether there is anything (`inference.tasks.tracking.whole`,
`camera`).

Of a camera's path c, :math:`\log p(o) \ge \log p(o \mid c) - \mathrm{cost}(c)` (nearly: Laplace's
form, exact for tracklets that are Gaussian), so a bound of :math:`\log p(o \mid c)`, less that, is
comparable with the bound of a camera that stands.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from torch import Tensor

from inference.tasks.tracking.batch import to_centre, to_ltwh
from inference.tasks.tracking.checks import extent
from inference.tasks.tracking.kalman import FloatArray
from inference.tasks.tracking.whole import CameraLaw, Design, ErrorLaw, Video, moved, steadied
from ppl_models.data.motchallenge import Boxes
from ppl_models.mot import apply_camera, undo_camera

RATE = 30.0
"""Frames a second that the priors of motion take a sequence to have."""


class Rest(NamedTuple):
    """A sequence seen by a camera that stands, and the way back."""

    boxes: FloatArray
    """(T, K, 4): left, top, width, height; NaN where there is none."""
    path: FloatArray
    """(T, 4): the camera's shift x and y (pixels), log zoom and roll."""
    image_size: tuple[float, float]
    cost: float
    """Nats to take off a bound of these boxes, to compare it with one of the boxes as they were:
    what the camera's path costs, and the change of coordinates."""

    def in_image(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Return paths (N, T, 4) as they are in each frame's image."""
        seen = moved(mean.numpy(), self.path, self.image_size, apply_camera)
        stretch = np.exp(2 * self.path[:, 2:3]) * [1, 1, 0, 0] + [0, 0, 1, 1]
        return mean.new_tensor(seen), variance * variance.new_tensor(stretch)


def at_rest(boxes: FloatArray, image_size: tuple[float, float] | None) -> Rest | None:
    """Return a sequence (T, K, 4) at rest, or None where the boxes do not speak for a camera."""
    detections = Boxes.from_padded(boxes)
    size = image_size or extent(detections)
    video = Video(detections, 1, len(boxes), size, RATE)
    found = steadied(video, Design(), ErrorLaw(), CameraLaw()).camera
    if found is None:
        return None
    there = ~np.isnan(boxes[..., 0])
    frame = np.nonzero(there)[0]
    rest = np.full_like(boxes, np.nan)
    rest[there] = to_ltwh(moved(to_centre(boxes[there]), found.path[frame], size, undo_camera))
    stretched = 2 * float(found.path[frame, 2].sum())  # log det of the boxes' two positions
    return Rest(rest, found.path, size, found.cost + stretched)
