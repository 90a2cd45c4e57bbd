"""Who stands before whom, and where births are: what the places of boxes say about lives.

Boxes are (centre x, centre y, log width, log height), y pointing down. On a common ground the
person nearer to the camera has the lower feet in the image: of two boxes that overlap, the one
whose bottom edge is lower is in front.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

BORDER = 0.05
"""Share of the image's width and height over which births at the border thin out by e."""


def covers(boxes: Tensor) -> Tensor:
    """Return the share of box n that box m, in front of it, covers: (..., N, 4) -> (..., N, N)."""
    centre, size = boxes[..., :2], boxes[..., 2:].exp()
    low, high = centre - size / 2, centre + size / 2
    start = torch.maximum(low[..., :, None, :], low[..., None, :, :])
    end = torch.minimum(high[..., :, None, :], high[..., None, :, :])
    share = (end - start).clamp(min=0).prod(-1) / size.prod(-1)[..., :, None]
    bottom = high[..., 1]
    return torch.where(bottom[..., None, :] > bottom[..., :, None], share, torch.zeros_like(share))


def covered(covers: Tensor, present: Tensor) -> Tensor:
    """Return the share of a box that others cover, as if they lay there independently: (...).

    Parameters
    ----------
    covers : Tensor
        (..., N): the share that each other would cover.
    present : Tensor
        (..., N), bool or a probability: whether it is there.
    """
    return 1 - (1 - covers * present).prod(-1)


def border_factor(boxes: Tensor, region: Tensor, border: float) -> Tensor:
    r"""Return how much more often births are at the boxes' centres than anywhere: (...).

    A place (u, v) in the unit square that is the image has the factor
    (1 + (border - 1) g(u, v)) / mean, where g = 1 - (1 - e(u)) (1 - e(v)) is 1 at the border and
    0 far from it, e(u) ~ exp(-u / l) + exp(-(1 - u) / l), l = `BORDER`. Its mean over the image is
    one, exactly. Places outside count as the nearest ones of the border.

    Parameters
    ----------
    boxes : Tensor
        (..., 4).
    region : Tensor
        (..., 2, 4): lower and upper bounds; batch dims broadcast with those of the boxes.
    border : float
        The ratio of border and middle.
    """
    low, high = region[..., 0, :2], region[..., 1, :2]
    place = ((boxes[..., :2] - low) / (high - low)).clamp(0, 1)
    most = 1 + math.exp(-1 / BORDER)
    edge = ((-place / BORDER).exp() + ((place - 1) / BORDER).exp()) / most
    mean = 2 * BORDER * (1 - math.exp(-1 / BORDER)) / most
    near = 1 - (1 - edge).prod(-1)
    return (1 + (border - 1) * near) / (1 + (border - 1) * (1 - (1 - mean) ** 2))
