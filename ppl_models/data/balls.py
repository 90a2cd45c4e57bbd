"""A ball that bounces in a box, observed as small pictures of bits.

It goes straight on at a constant speed, and a wall throws it back as a mirror does: linear motion
but for the moments at a wall. The picture is a nonlinear function of the position.

Reference: M. Fraccaro et al., "A disentangled recognition and nonlinear dynamics model for
unsupervised learning", NeurIPS 2017, section 5.1 (there 32 x 32, from a physics engine).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ppl_models.inputs import check_count, check_positive


class Balls(NamedTuple):
    """Paths of balls and their pictures."""

    pictures: Tensor
    """Bits as floats (B, T, side^2), row by row."""
    places: Tensor
    """Centres (B, T, 2), in pixels: column and row."""


def bouncing_balls(
    size: int,
    *,
    length: int = 20,
    side: int = 16,
    radius: float = 2.0,
    speed: tuple[float, float] = (0.8, 1.6),
    seed: int = 0,
) -> Balls:
    """Draw ``size`` balls of ``length`` frames, from anywhere in the box, in any direction.

    Parameters
    ----------
    size, length, side
        B, T, and pixels along a wall.
    radius
        In pixels; the centre keeps as far from the walls.
    speed
        Least and largest, in pixels a frame.
    seed
        Of all that is drawn.

    Raises
    ------
    InputError
        A number that counts something below one, or a radius that is not positive.
    """
    for name, count in {"size": size, "length": length, "side": side}.items():
        check_count(name, count)
    check_positive("radius", radius)
    rng = np.random.default_rng(seed)
    room = side - 2 * radius
    angle, pace = rng.uniform(0, 2 * np.pi, (size, 1)), rng.uniform(*speed, (size, 1))
    velocity = pace * np.concatenate([np.cos(angle), np.sin(angle)], -1)
    straight = rng.uniform(0, room, (size, 1, 2)) + np.arange(length)[:, None] * velocity[:, None]
    places = radius + room - np.abs(straight % (2 * room) - room)  # unfolded by mirrors
    pixels = np.arange(side) + 0.5
    across, down = pixels - places[..., :1], pixels - places[..., 1:]
    inside = across[..., None, :] ** 2 + down[..., :, None] ** 2 <= radius**2
    pictures = torch.from_numpy(inside).flatten(-2).float()
    return Balls(pictures, torch.from_numpy(places).float())
