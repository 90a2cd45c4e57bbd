r"""Errors of a detector that last: partly the same from frame to frame.

The error of object n in frame t, e_t (D), is a stationary autoregression in units of the object's
box (its width, its height, and 1 for log sizes):

.. math::
    e_1 \sim N(0, \tau^2), \qquad e_t \sim N(\rho e_{t-1}, (1 - \rho^2) \tau^2),

so that every e_t has standard deviation tau, and e_t and e_{t+j} the correlation rho^j. A detection
is at the box plus this error, plus the white noise phi of MixDVAE.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ppl_models.errors import InputError
from ppl_models.linear_motion import Walk


@dataclass(frozen=True)
class LastingError:
    """Constants of the error: tau and rho.

    Parameters
    ----------
    scale : float
        tau: its standard deviation, in boxes.
    correlation : float
        rho: that of one frame with the next, in [0, 1).

    Raises
    ------
    InputError
        One of the two out of range.
    """

    scale: float = 0.03
    correlation: float = 0.9

    def __post_init__(self) -> None:
        if not 0 < self.scale < math.inf:
            raise InputError("scale", str(self.scale), "above 0", "pass 0.03")
        if not 0 <= self.correlation < 1:
            found = str(self.correlation)
            raise InputError("correlation", found, "0 <= correlation < 1", "pass 0.9")

    def walk(self, length: int, like: Tensor, mask: Tensor | None = None) -> Walk:
        """Return the law of error paths (T, D); ``like`` (D,) says D, and the kind of numbers."""
        start = torch.full_like(like, self.scale)
        step = start * math.sqrt(1 - self.correlation**2)
        decay = torch.full_like(like, self.correlation)
        return Walk(like.new_zeros(length, len(like)), step, start, decay, mask)


def box_units(boxes: Tensor) -> Tensor:
    """Return the unit of each number of boxes (..., 4): width, height, 1, 1."""
    size = boxes[..., 2:].exp()
    return torch.cat([size, torch.ones_like(size)], -1)
