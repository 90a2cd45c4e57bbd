"""How the digits of moving MNIST go about in their frame, and where they may be later.

Three published processes. "srvp": straight on, and at a wall a new velocity is drawn at the moment
and the place of the meeting, so that the frame rate changes nothing. "deterministic": the same with
walls that are mirrors. "svg": a digit that has left the frame is put back on its border (the rest
of the step is lost) and a new velocity is drawn.

References
----------
J.-Y. Franceschi et al., "Stochastic latent residual video prediction", ICML 2020, arXiv:2002.09219,
appendix D.
E. Denton and R. Fergus, "Stochastic video generation with a learned prior", ICML 2018,
arXiv:1802.07687, section 4.1.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ppl_models.errors import InputError, unknown
from ppl_models.inputs import check_count

PUBLISHED = 64
"""Pixels along a wall of the published frames, in which speeds are whole numbers."""
DIGITS = {"srvp": 28, "deterministic": 28, "svg": 32}
"""The processes, and the side of a digit in a published frame."""
LEAST_SIDE = 8
"""Pixels along the wall of a frame; in fewer, no digit can be told from another."""
_TOLERANCE = 1e-8  # pixels: a digit so far outside a wall is at it, as in the published code

Floats = NDArray[np.float64]


class Box(NamedTuple):
    """A frame that digits go about in, in pixels of that frame."""

    process: str
    digit_side: int
    """Pixels along a digit."""
    room: float
    """The largest row or column of a digit's top left corner; the least is 0."""
    unit: float
    """What one pixel of the published frame is."""
    max_speed: int
    """In units a frame and axis."""

    def speeds(self, rng: np.random.Generator, shape: tuple[int, ...], least: int = 0) -> Floats:
        """Draw components of velocities: either way, or from ``least`` on if that is not 0."""
        first = least if least else -self.max_speed
        return np.asarray(self.unit * rng.integers(first, self.max_speed + 1, shape), np.float64)


def box(side: int, process: str = "srvp", max_speed: int = 4, digit_side: int | None = None) -> Box:
    """Return the frame of a process.

    Parameters
    ----------
    side
        Pixels along a wall.
    process
        "srvp", "svg" or "deterministic".
    max_speed
        Of a digit, in an axis and a frame: in pixels of a frame of 64 x 64.
    digit_side
        Pixels along a digit; by default the published share of the frame, 28/64 ("svg": 32/64).

    Raises
    ------
    InputError
        An unknown process, a side below `LEAST_SIDE`, a speed that is none, or a digit that is as
        large as the frame.
    """
    if process not in DIGITS:
        raise unknown("process", str(process), DIGITS)
    check_count("side", side, LEAST_SIDE)
    check_count("max_speed", max_speed)
    if max_speed > PUBLISHED:
        cure = "count in pixels of a frame of 64 x 64: 4 is the published one"
        raise InputError("max_speed", str(max_speed), f"at most {PUBLISHED}", cure)
    if digit_side is None:
        digit_side = round(DIGITS[process] * side / PUBLISHED)
    check_count("digit_side", digit_side)
    if digit_side >= side:
        found = f"{digit_side} pixels in a frame of {side}"
        cure = f"give at most {side - 1}, or None for the published share of the frame"
        raise InputError("digit_side", found, "digits smaller than the frame", cure)
    unit = side / PUBLISHED
    lost = unit if process == "svg" else 0.0  # its last place is 31 of 0 to 32
    return Box(process, digit_side, side - digit_side - lost, unit, max_speed)


def walk(
    places: Floats, velocities: Floats, length: int, within: Box, rng: np.random.Generator
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Let R digits go: return their places, velocities and bounces in ``length`` frames.

    Parameters
    ----------
    places, velocities
        In the first frame, (R, 2): row and column, in pixels. A digit with NaN stays so.
    length
        T, the first frame included.
    within
        The frame.
    rng
        Draws what is drawn at the walls.

    Returns
    -------
    places, velocities : float64 (T, R, 2)
    bounces : bool (T, R)
        It met a wall on its way to this frame.
    """
    move = _clamped if within.process == "svg" else _reflected
    now = places, velocities, np.zeros(len(places), bool)
    frames = [now]
    for _ in range(length - 1):
        now = move(now[0], now[1], within, rng)
        frames.append(now)
    there, speeds, bounces = zip(*frames, strict=True)
    return np.stack(there), np.stack(speeds), np.stack(bounces)


def digit_futures(
    places: Tensor | NDArray[Any],
    velocities: Tensor | NDArray[Any],
    *,
    steps: int,
    samples: int,
    side: int = 32,
    process: str = "srvp",
    max_speed: int = 4,
    digit_side: int | None = None,
    seed: int = 0,
) -> Floats:
    """Draw later places of digits from the true law, given where they are and go.

    Parameters
    ----------
    places, velocities
        In one frame, exact, (N, D, 2), as ``MovingDigits.places[:, t]`` and ``.velocities[:, t]``.
        Absent digits have NaN in both, and stay absent.
    steps
        Frames to come.
    samples
        Draws for each clip.
    side, process, max_speed, digit_side
        Those of the clips.
    seed
        Of the draws.

    Returns
    -------
    numpy.ndarray
        Places (samples, N, steps, D, 2), in pixels; the first step is the next frame.

    Raises
    ------
    InputError
        Shapes that are not alike, a place outside the frame, or what `box` refuses.
    """
    check_count("steps", steps)
    check_count("samples", samples)
    within = box(side, process, max_speed, digit_side)
    starts, speeds = (np.asarray(a, np.float64) for a in (places, velocities))
    _check_states(starts, speeds, within)
    rng = np.random.default_rng(seed)
    many = [np.broadcast_to(a, (samples, *a.shape)).reshape(-1, 2) for a in (starts, speeds)]
    later = walk(many[0], many[1], steps + 1, within, rng)[0][1:]
    return np.moveaxis(later.reshape(steps, samples, *starts.shape), 0, 2)


def _reflected(
    places: Floats, velocities: Floats, within: Box, rng: np.random.Generator
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Go one frame on; at each wall on the way, bounce there and use the time that is left."""
    velocities, left = velocities.copy(), np.ones((len(places), 1))
    target = places + velocities
    places, bounced = places.copy(), np.zeros(len(places), bool)
    rows = np.flatnonzero(_outside(target, within).any(-1))
    while rows.size:
        speed, walls = velocities[rows], np.where(velocities[rows] > 0, within.room, 0.0)
        times = np.full(speed.shape, np.inf)
        over = _outside(target[rows], within)
        np.divide(walls - places[rows], speed, out=times, where=over)
        first = times.min(-1, keepdims=True)
        hit = times <= first + _TOLERANCE  # a corner has two walls
        places[rows] = np.where(hit, walls, (places[rows] + first * speed).clip(0, within.room))
        velocities[rows] = _turned(speed, hit, within, rng)
        left[rows] -= first
        bounced[rows] = True
        target[rows] = places[rows] + left[rows] * velocities[rows]
        rows = rows[_outside(target[rows], within).any(-1)]
    return target.clip(0, within.room), velocities, bounced


def _turned(speed: Floats, hit: NDArray[np.bool_], within: Box, rng: np.random.Generator) -> Floats:
    """Return velocities after meeting the walls that are ``hit`` (by axis): away from them."""
    if within.process == "deterministic":
        return np.where(hit, -speed, speed)
    drawn = within.speeds(rng, speed.shape)
    return np.where(hit, -np.sign(speed) * np.abs(drawn), drawn)


def _clamped(
    places: Floats, velocities: Floats, within: Box, rng: np.random.Generator
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Go one frame on; then put what is outside back on the border, rows first, and redraw."""
    places, velocities = places + velocities, velocities.copy()
    bounced = np.zeros(len(places), bool)
    for axis in range(2):
        rows = np.flatnonzero(_outside(places[:, axis], within))
        away = np.where(places[rows, axis] < 0, 1, -1)
        velocities[rows] = within.speeds(rng, (len(rows), 2))
        velocities[rows, axis] = away * within.speeds(rng, (len(rows),), least=1)
        places[:, axis] = places[:, axis].clip(0, within.room)
        bounced[rows] = True
    return places, velocities, bounced


def _outside(places: Floats, within: Box) -> NDArray[np.bool_]:
    """Whether each coordinate is beyond a wall; NaN is not."""
    return (places < -_TOLERANCE) | (places > within.room + _TOLERANCE)


def _check_states(places: Floats, velocities: Floats, within: Box) -> None:
    """Refuse states that no digit of these frames can have."""
    if places.ndim != 3 or places.shape[-1] != 2 or places.shape != velocities.shape:
        found = f"shapes {places.shape} and {velocities.shape}"
        cure = "take one frame of the clips: clips.places[:, t], clips.velocities[:, t]"
        raise InputError("places, velocities", found, "two of (N, D, 2), alike", cure)
    absent = np.isnan(places).any(-1)
    if not (np.isfinite(velocities[~absent]).all() and np.isfinite(places[~absent]).all()):
        cure = "give NaN for both to a digit that is absent"
        raise InputError("velocities", "numbers that are not finite", "pixels a frame", cure)
    there = places[~absent]
    if there.size and (there.min() < -1e-3 or there.max() > within.room + 1e-3):
        found = f"places from {there.min():.3g} to {there.max():.3g}"
        cure = "give the side, process and digit_side that the clips were made with"
        raise InputError("places", found, f"pixels from 0 to {math.floor(within.room)}", cure)
