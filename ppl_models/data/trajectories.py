"""Single-object trajectories: the paper's synthetic boxes, and people who walk, stop and turn.

Two generating processes, seeded, with no bytes of any data set:

* `synthetic_trajectories`: boxes (x1, y1, x2, y2) in units of the image (1920 x 1080), coordinates
  piecewise static, linear, parabolic or sinusoidal, exactly as MixDVAE's authors pre-train. **Their
  y axis points up**: the second corner is x2 = x1 + w, y2 = y1 - h.
* `walking_trajectories`: a person on the ground seen by a camera, in the *object's own frame*
  (see `to_object_frame`), from physical reasoning: persistent velocities, stops, turns,
  perspective, gait, moving cameras.

Reference: X. Lin et al., "Mixture of dynamical variational autoencoders for multi-source
trajectory modeling and separation", TMLR 2023, and the generator published with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ppl_models.errors import InputError

Array = NDArray[np.float64]

STATIC, LINE, PARABOLA, SINUS = range(4)


@dataclass(frozen=True)
class Coordinate:
    """How a coordinate of the paper's generator moves: standard deviations, chances of motions."""

    chances: tuple[float, float, float, float]  # static, line, parabola, sinus
    velocity: float  # image units a frame
    acceleration: float  # image units a frame^2
    frequency: float = 0.0  # radians a frame
    phase: float = 0.0  # radians
    splits: int = 2  # at most this many points where the motion changes


ABSCISSA = Coordinate((0.15, 0.30, 0.30, 0.25), 0.00125, 0.000037, 0.003, 3.2)
ORDINATE = Coordinate((0.15, 0.30, 0.30, 0.25), 0.0006, 0.00002, 0.001, 3.2)
WIDTH = Coordinate((0.25, 0.60, 0.15, 0.0), 0.00032, 0.00001, splits=0)


def synthetic_trajectories(size: int, *, length: int = 60, seed: int = 0) -> Tensor:
    """Draw `num` accepted trajectories of the paper's generator.

    Boxes (num, T, 4): x1, y1, x2, y2 = y1 - h. Draws that leave the image too far are rejected
    (0.61 are kept at T = 60), and drawing goes on until `num` are there.

    Raises
    ------
    InputError
        `num` or `length` below one.
    """
    _check_counts(size, length)
    rng = np.random.default_rng(seed)
    kept: list[Array] = []
    while sum(map(len, kept)) < size:
        boxes, accepted = propose_boxes(rng, max(64, 2 * size), length)
        kept.append(boxes[accepted])
    return torch.from_numpy(np.concatenate(kept)[:size]).float()


def propose_boxes(
    rng: np.random.Generator, size: int, length: int
) -> tuple[Array, NDArray[np.bool_]]:
    """Draw boxes (num, T, 4), and say which of them the bounds accept (num,)."""
    x1 = _piecewise(rng, ABSCISSA, rng.uniform(size=size), length)
    y1 = _piecewise(rng, ORDINATE, rng.uniform(size=size), length)
    width = _piecewise(rng, WIDTH, rng.lognormal(-3.8, 0.7, size=size), length)
    height = rng.normal(5.26, 0.77, size=(size, 1)) * width
    x2, y2 = x1 + width, y1 - height
    boxes = np.stack([x1, y1, x2, y2], -1)
    low, high = np.array([-0.5, 0.0, 0.0, -1.5]), np.array([1.0, 1.5, 0.8, 1.0])
    inside = ((boxes >= low) & (boxes <= high)).all(-1) & (width >= 0)
    return boxes, np.all(inside, -1)


def _piecewise(rng: np.random.Generator, kind: Coordinate, start: Array, length: int) -> Array:
    """One coordinate (num, T): some changes of motion, each starting where the last one ended."""
    num, frames = len(start), np.arange(length)
    splits = _split_points(rng, num, length, kind.splits)
    value, path = start, np.empty((num, length))
    segment = (frames >= splits[..., None]).sum(-2)  # (num, T): 0, 1, ... along the path
    begins = np.concatenate([np.zeros((num, 1), int), splits], -1)
    for index in range(splits.shape[-1] + 1):
        inside = segment == index
        local = np.maximum(frames - begins[:, index, None], 0)
        path = np.where(inside, _motion(rng, kind, value, local), path)
        last = np.where(inside, frames, 0).max(-1)
        value = np.where(inside.any(-1), np.take_along_axis(path, last[:, None], 1)[:, 0], value)
    return path


def _split_points(rng: np.random.Generator, size: int, length: int, most: int) -> NDArray[np.int_]:
    """Sorted frames (num, most) where motions change, from {3, 6, ...}; `length` is "none"."""
    candidates = np.arange(3, length - 2, 3)
    most = min(most, len(candidates))
    if most == 0:
        return np.empty((size, 0), int)
    order = rng.random((size, len(candidates))).argsort(-1)[:, :most]
    many = rng.integers(0, most + 1, size=(size, 1))
    return np.sort(np.where(np.arange(most) < many, candidates[order], length), -1)


def _motion(rng: np.random.Generator, kind: Coordinate, c: Array, u: NDArray[np.int_]) -> Array:
    """Motions (num, T) from the values c (num,) on local times u (num, T), a type a row."""
    num = len(c)
    motion = rng.choice(4, size=(num, 1), p=kind.chances)
    v = rng.normal(0, kind.velocity, (num, 1)) * (motion != STATIC)
    a = rng.normal(0, kind.acceleration, (num, 1)) * (motion == PARABOLA)
    omega = rng.normal(0, 1, (num, 1)) * kind.frequency
    phi = rng.normal(0, 1, (num, 1)) * kind.phase
    c = c[:, None]
    polynomial = c + v * u + a * u**2
    if kind.chances[SINUS] == 0:
        return polynomial
    return np.where(motion == SINUS, c / np.sin(phi) * np.sin(omega * u + phi), polynomial)


def to_object_frame(boxes: Tensor, *, aspect: float = 1920 / 1080) -> Tensor:
    """Return each path of boxes (..., T, 4), of the paper's convention, in its own frame.

    The frame: ((cx, cy) - start) / height, log(w / w_start), log(h / h_start), with `height` that
    of the first box in pixels, and y pointing down as in an image. `aspect` is the image's width
    over its height, since the paper's x and y have different units.
    """
    x1, y1, x2, y2 = boxes.unbind(-1)
    width, height = (x2 - x1) * aspect, y1 - y2
    centre = torch.stack([(x1 + x2) / 2 * aspect, -(y1 + y2) / 2], -1)
    place = (centre - centre[..., :1, :]) / height[..., :1, None]
    size = torch.stack([width, height], -1).log()
    return torch.cat([place, size - size[..., :1, :]], -1)


def walking_trajectories(size: int, *, length: int = 60, seed: int = 0) -> Tensor:
    """Draw `num` walkers seen by a camera, each in its own frame (num, T, 4), the first at zero.

    The unit of length is the person (1.7 m). A clip has its own frame rate (14 to 30 a second),
    distance (3 to 25 bodies) and camera height (0.8 to 4).

    * Ground: walking and standing by turns (semi-Markov, seconds each), at 0.3 to 1.1 bodies a
      second (1.4 m/s is 0.8), the velocity following within 0.3 to 0.8 s; headings drift, and turn
      suddenly now and then; a sway of the velocity (Ornstein-Uhlenbeck, 0.5 to 4 s) on top.
    * Picture: perspective. At depth Z a person is Z_1 / Z times as high as at first, so place and
      both sizes move together when somebody approaches.
    * Gait: the width swings by a few per cent at step rate; the aspect ratio drifts slowly.
    * Camera: pans in a share of clips, shakes in another.

    Raises
    ------
    InputError
        `num` or `length` below one.
    """
    _check_counts(size, length)
    rng = np.random.default_rng(seed)
    fps = rng.uniform(14, 30, (size, 1))
    velocity, pace = ground_velocity(rng, fps, length)  # bodies a second (num, T, 2), (num, T)
    depth = np.exp(rng.uniform(np.log(3), np.log(25), (size, 1)))
    start = rng.normal(0, 0.3, (size, 1)) * depth  # left or right of the axis
    ground = np.cumsum(velocity / fps[..., None], 1)
    ground = ground - ground[:, :1]
    scale = depth / np.maximum(depth + ground[..., 1], 0.3 * depth)  # h_t / h_1
    camera = rng.uniform(0.8, 4, (size, 1)) - 0.5  # above the person's middle
    x = (start + ground[..., 0]) * scale - start
    y = camera * (scale - 1)
    pan = _camera_path(rng, fps, length)
    log_h = np.log(scale)
    log_w = log_h + gait(rng, fps, pace)
    path = np.stack([x + pan[..., 0], y + pan[..., 1], log_w, log_h], -1)
    return torch.from_numpy(path - path[:, :1]).float()


def ground_velocity(rng: np.random.Generator, fps: Array, length: int) -> tuple[Array, Array]:
    """Draw velocities (num, T, 2) in bodies a second (across, away), and the pace (num, T)."""
    num = len(fps)
    speed = rng.uniform(0.3, 1.1, num)
    walk_for, stop_for = rng.uniform(2, 20, num), rng.uniform(0.7, 8, num)  # mean seconds
    walking = rng.random(num) < 0.75
    turn_rate = rng.exponential(0.05, num)  # sudden turns a second
    heading, drift = (
        rng.uniform(-np.pi, np.pi, num),
        ornstein_uhlenbeck(rng, fps, length, 0.25, (1, 4)),
    )
    follow = np.exp(-1 / (fps[:, 0] * rng.uniform(0.3, 0.8, num)))
    target = speed * walking
    velocity = target[:, None] * np.stack([np.cos(heading), np.sin(heading)], -1)
    velocities, paces = [], []
    for t in range(length):
        rate = 1 / np.where(walking, walk_for, stop_for) / fps[:, 0]
        walking = walking ^ (rng.random(num) < rate)
        turn = (rng.random(num) < turn_rate / fps[:, 0]) * rng.uniform(-2.5, 2.5, num)
        heading = heading + turn + drift[:, t] / fps[:, 0]
        target = (speed * walking)[:, None] * np.stack([np.cos(heading), np.sin(heading)], -1)
        velocity = follow[:, None] * velocity + (1 - follow)[:, None] * target
        velocities.append(velocity)
        paces.append(np.hypot(*velocity.T))
    size = rng.uniform(0.01, 0.08, (num, 1))  # sway, bodies a second
    sway = np.stack(
        [ornstein_uhlenbeck(rng, fps, length, 1.0, (0.5, 4)) * size for _ in range(2)], -1
    )
    return np.stack(velocities, 1) + sway, np.stack(paces, 1)


def ornstein_uhlenbeck(
    rng: np.random.Generator,
    fps: Array,
    length: int,
    deviation: float,
    seconds: tuple[float, float],
) -> Array:
    """Draw stationary paths (num, T), their time constants between the two ``seconds``."""
    num = len(fps)
    keep = np.exp(-1 / (fps[:, 0] * rng.uniform(*seconds, num)))
    value = rng.normal(0, 1, num)
    noise, path = rng.normal(0, 1, (length, num)), np.empty((length, num))
    for t in range(length):
        value = keep * value + np.sqrt(1 - keep**2) * noise[t]
        path[t] = value
    return deviation * path.T


def _camera_path(rng: np.random.Generator, fps: Array, length: int) -> Array:
    """What a moving camera adds to the place (num, T, 2), in heights: slow pans, a small shake."""
    num = len(fps)
    pans, shakes = rng.random((num, 1)) < 0.35, rng.random((num, 1)) < 0.35
    pan_speed = pans * rng.uniform(
        0.1, 0.5, (num, 1)
    )  # heights a second; 0.5 is 0.02 to 0.04 a frame
    shake = shakes * rng.uniform(0.001, 0.008, (num, 1))  # heights
    paths = []
    for share in (1.0, 0.3):  # across, up and down
        pan = np.cumsum(ornstein_uhlenbeck(rng, fps, length, share, (0.7, 4)) * pan_speed / fps, 1)
        paths.append(pan + shake * ornstein_uhlenbeck(rng, fps, length, 1.0, (0.1, 0.3)))
    return np.stack(paths, -1)


def gait(rng: np.random.Generator, fps: Array, pace: Array) -> Array:
    """Draw log aspect ratios (num, T): steps swing, as strong as the pace, and a slow drift."""
    num, length = pace.shape
    step_rate = rng.uniform(1.5, 2.2, (num, 1))  # steps a second
    cycle = 2 * np.pi * (step_rate * np.arange(length) / fps + rng.random((num, 1)))
    swing = rng.uniform(0, 0.06, (num, 1)) * np.minimum(pace / 0.8, 1.5) * np.sin(cycle)
    return swing + ornstein_uhlenbeck(rng, fps, length, 1.0, (2, 6)) * rng.uniform(
        0.005, 0.03, (num, 1)
    )


def _check_counts(size: int, length: int) -> None:
    if size < 1 or length < 1:
        found = f"num={size}, length={length}"
        raise InputError("num, length", found, "both at least 1", "ask for one path or more")
