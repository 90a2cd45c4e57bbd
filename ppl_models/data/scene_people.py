r"""People on the ground, seen by a camera: paths, when they come and go, and who hides whom.

A body is the unit of length on the ground (1.7 m). Somebody at depth Z stands focal / Z pixels
high, with the feet focal height / Z pixels below the horizon: who is nearer has the lower feet. The
camera's motion is that of `ppl_models.mot.apply_camera`, from the first frame's image on.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ppl_models.data.trajectories import gait, ground_velocity, ornstein_uhlenbeck

FloatArray = NDArray[np.float64]
Bools = NDArray[np.bool_]
AT_BORDER = 0.8
"""Share of people who come over a border at the side; others come anywhere, through doors."""
DOOR_SECONDS = 40.0
"""Mean seconds until somebody goes elsewhere than over a border."""
MARGIN = 0.1
"""Share of the image's size; who is so far outside it is gone."""
CAMERAS = ("still", "pan", "shake", "walk")
GRID = 10
"""Points across and down a box of which each is in view or not."""


class View(NamedTuple):
    """Where a camera stands, and how it moves."""

    length: int
    fps: float
    image: FloatArray  # (2,): width, height
    focal: float  # pixels
    height: float  # of the camera above the ground, bodies
    horizon: float  # pixels from the top, in the first frame
    near: float  # bodies: where feet are at the image's lower edge
    far: float  # bodies: to where people are
    camera: FloatArray  # (T, 4)

    @classmethod
    def draw(
        cls,
        rng: np.random.Generator,
        length: int,
        fps: float,
        kind: str,
        image_size: tuple[int, int],
    ) -> View:
        """Draw a view of the ground, its camera of one of `CAMERAS`."""
        image = np.array(image_size, float)
        focal, height = image[1] * rng.uniform(0.9, 1.4), rng.uniform(0.9, 3.0)
        horizon = image[1] * rng.uniform(0.1, 0.4)
        near = max(2.0, focal * height / (image[1] - horizon))
        far = near * rng.uniform(2.5, 5)
        camera = _camera(rng, kind, length, fps, image[1])
        return cls(length, fps, image, focal, height, horizon, near, far, camera)

    def boxes(self, x: FloatArray, depth: FloatArray, aspect: FloatArray) -> FloatArray:
        """Return boxes (P, T, 4), centre and size in pixels, of people at ``x``, ``depth``."""
        tall = self.focal / depth
        feet = self.horizon + tall * self.height
        place = np.stack([self.image[0] / 2 + tall * x, feet - tall / 2], -1)
        size = tall[..., None] * np.stack([0.4 * np.exp(aspect), np.ones_like(aspect)], -1)
        return self.seen(np.concatenate([place, size], -1), np.arange(self.length))

    def seen(self, box: FloatArray, t: NDArray[np.int64]) -> FloatArray:
        """Return boxes (..., 4) at rest in the first frame's image as frames ``t`` show them."""
        shift, zoom, roll = self._camera(t)
        place = zoom * _turned(box[..., :2] - self.image / 2, roll) + self.image / 2 + shift
        return np.concatenate([place, zoom * box[..., 2:]], -1)

    def at_rest(self, box: FloatArray, t: NDArray[np.int64]) -> FloatArray:
        """Return boxes (..., 4) of frames ``t`` as the first frame would show them."""
        shift, zoom, roll = self._camera(t)
        place = _turned((box[..., :2] - self.image / 2 - shift) / zoom, -roll) + self.image / 2
        return np.concatenate([place, box[..., 2:] / zoom], -1)

    def _camera(self, t: NDArray[np.int64]) -> tuple[FloatArray, FloatArray, FloatArray]:
        return self.camera[t, :2], np.exp(self.camera[t, 2:3]), self.camera[t, 3]

    def across(self, x: FloatArray, depth: FloatArray, t: NDArray[np.int64]) -> FloatArray:
        """Return where on the ground, across, somebody at image abscissa ``x`` in frame t is."""
        shift, zoom = self.camera[t, 0], np.exp(self.camera[t, 2])
        return (x - self.image[0] / 2 - shift) / zoom * depth / self.focal


def _turned(place: FloatArray, angle: FloatArray) -> FloatArray:
    x, y, cos, sin = place[..., 0], place[..., 1], np.cos(angle), np.sin(angle)
    return np.stack([cos * x - sin * y, sin * x + cos * y], -1)


def _camera(
    rng: np.random.Generator, kind: str, length: int, fps: float, height: float
) -> FloatArray:
    """Draw the camera's path (T, 4), at rest in the first frame."""

    def wave(low: float, high: float) -> FloatArray:
        rate = np.array([[fps]])
        return ornstein_uhlenbeck(rng, rate, length, 1.0, (low, high))[0]

    path = np.zeros((length, 4))
    if kind in ("pan", "walk"):  # velocities that last for seconds, with rests
        speed = rng.uniform(0.05, 0.25) * height / fps
        moving = wave(2, 6) > 0
        path[:, 0] += np.cumsum(moving * speed * wave(2, 8))
        path[:, 1] += np.cumsum(moving * 0.1 * speed * wave(1, 4))
    if kind in ("shake", "walk"):
        shake = rng.uniform(0.002, 0.01) * height
        path[:, :2] += shake * np.stack([wave(0.1, 0.3), wave(0.1, 0.3)], -1)
        path[:, 3] += rng.uniform(0.001, 0.006) * wave(0.2, 0.6)
    if kind == "walk":
        step = 2 * np.pi * rng.uniform(1.6, 2.1) * np.arange(length) / fps
        path[:, 1] += rng.uniform(0.003, 0.01) * height * np.sin(step)
        path[:, 2] += rng.uniform(0, 0.02) * np.arange(length) / fps
    return path - path[0]


class People(NamedTuple):
    """P people in T frames."""

    boxes: FloatArray
    """(P, T, 4): centre x and y, width, height, pixels, in each frame's image."""
    present: Bools
    """(P, T): there, with the box's centre in the image."""
    visibility: FloatArray
    """(P, T): the share of the box that is in the image and not behind nearer people."""


def draw_people(rng: np.random.Generator, view: View, number: float, stay: float) -> People:
    """Draw people who come, walk, and go.

    Parameters
    ----------
    rng : numpy.random.Generator
    view : View
    number : float
        Expected people in the first frame; each second ``number / stay`` more come.
    stay : float
        About the mean seconds that somebody is in view, so that their number stays what it is.
    """
    length, fps = view.length, view.fps
    births = rng.poisson(number / stay / fps, length)
    births[0] = rng.poisson(number)
    begin = np.repeat(np.arange(length), births)
    end = begin + np.ceil(rng.exponential(DOOR_SECONDS * fps, len(begin)))
    if not len(begin):
        return People(np.zeros((0, length, 4)), np.zeros((0, length), bool), np.zeros((0, length)))
    boxes = _walk(rng, view, begin)
    frames = np.arange(length)
    alive = (frames >= begin[:, None]) & (frames < end[:, None])
    place, size = boxes[..., :2] / view.image, boxes[..., 3]
    far_out = ((place < -MARGIN) | (place > 1 + MARGIN)).any(-1) | (size > 2 * view.image[1])
    alive &= np.cumsum(far_out & alive, 1) == 0
    present = alive & ((place >= 0) & (place <= 1)).all(-1)
    kept = present.any(1)
    boxes, present = boxes[kept], present[kept]
    return People(boxes, present, _visibility(boxes, present, view.image))


def _walk(rng: np.random.Generator, view: View, begin: NDArray[np.int64]) -> FloatArray:
    """Draw boxes (P, T, 4) of people who are first seen in frames ``begin`` (P,)."""
    num, length, width = len(begin), view.length, view.image[0]
    rate = np.full((num, 1), view.fps)
    velocity, pace = ground_velocity(rng, rate, length)
    velocity[..., 1] *= 0.6  # most walk across or along, and few straight at the camera
    at_side = (begin > 0) & (rng.random(num) < AT_BORDER)
    left = rng.random(num) < 0.5
    soon = velocity[np.arange(num)[:, None], np.minimum(begin[:, None] + np.arange(25), length - 1)]
    turn = at_side & ((soon[..., 0].mean(1) > 0) != left)  # they come in, not out
    velocity[turn, :, 0] *= -1
    x_image = np.where(at_side, np.where(left, 0.0, width), rng.uniform(0, width, num))
    depth = np.sqrt(rng.uniform(view.near**2, view.far**2, num))  # the view widens with depth
    ground = np.cumsum(velocity / view.fps, 1)
    ground = ground - ground[np.arange(num), begin][:, None]
    z = np.maximum(depth[:, None] + ground[..., 1], 0.3 * view.near)
    x = view.across(x_image, depth, begin)[:, None] + ground[..., 0]
    return view.boxes(x, z, gait(rng, rate, pace))


def _visibility(boxes: FloatArray, present: Bools, image: FloatArray) -> FloatArray:
    """Return the shares (P, T), counted on a grid of points in each box."""
    share = np.zeros(present.shape)
    u = (np.arange(GRID) + 0.5) / GRID - 0.5
    grid = np.stack(np.meshgrid(u, u), -1).reshape(-1, 2)
    for t in range(present.shape[1]):
        here = np.flatnonzero(present[:, t])
        centre, size = boxes[here, t, :2], boxes[here, t, 2:]
        points = centre[:, None] + size[:, None] * grid  # (P, G, 2)
        feet = centre[:, 1] + size[:, 1] / 2
        inside = np.abs(points[:, None] - centre[:, None]) < size[:, None] / 2  # (P, P, G, 2)
        hidden = inside.all(-1) & (feet > feet[:, None])[..., None]
        seen = ((points >= 0) & (points <= image)).all(-1) & ~hidden.any(1)
        share[here, t] = seen.mean(-1)
    return share
