r"""The camera's motion, read from what the boxes of all objects have in common.

In frame t the camera has c_t = (shift x, shift y, log zoom, roll), as `ppl_models.mot.apply_camera`
reads it, and its steps are :math:`c_{t,k} - c_{t-1,k} \sim N(0, \sigma_k^2)`. A tracklet of an
object that moves with the law of `errors` has detections o, of which to first order

.. math::
    o_d = H_d c + A b + n, \qquad n \sim N(0, K_d),

with A b a straight line of any place and any velocity (so that a group's walk says nothing of the
camera: only what all do at once, and undo, does), and K the covariance of changes of velocity and
of errors. Line and path integrate out: what a tracklet says of c is Gaussian, with the precision
:math:`H^T Q H`, :math:`Q = K^{-1} - K^{-1} A (A^T K^{-1} A)^{-1} A^T K^{-1}`. Tracklets add up in a
band matrix: the posterior of c is exact, given :math:`\sigma`. And each :math:`\sigma_k` is the one
that makes the boxes most probable (marginal likelihood), 0 where nothing moves. Large errors are
weighed down as a Student's would be.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from scipy.linalg import cho_solve_banded, cholesky_banded

from inference.tasks.tracking.kalman import FloatArray, IntArray
from inference.tasks.tracking.whole.errors import ErrorLaw
from inference.tasks.tracking.whole.video import Video
from ppl_models.mot import apply_camera, undo_camera

Moves = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
PARTS = 4
"""Shift x, shift y, log zoom, roll."""
HALVINGS = 10
"""Times that the size of a step is doubled, or halved, at most."""


@dataclass(frozen=True)
class CameraLaw:
    """How a camera's path is read.

    Attributes
    ----------
    first_step : tuple of float
        Standard deviation of a step, from which the search begins, of (shift x, shift y, log zoom,
        roll): in heights of objects, and radians. The search halves and doubles it.
    least : float
        Gain of log evidence, in nats, that a part of the camera's motion must bring.
    fewest, longest : int
        Detections of a tracklet that is read, and of a piece of one.
    degrees : float
        Of freedom of the detector's errors.
    """

    first_step: tuple[float, float, float, float] = (0.02, 0.02, 1e-3, 1e-3)
    least: float = 10.0
    fewest: int = 5
    longest: int = 60
    degrees: float = 4.0


class _Piece(NamedTuple):
    """L detections of an object: frames, what is seen (L, 4), and how each part moves it."""

    frame: IntArray
    o: FloatArray
    line: FloatArray
    """(L, 2): what a straight line is made of."""
    turn: FloatArray
    """(4, L, 4): by coordinate, what it gets of each part of the camera."""
    covariance: FloatArray
    """(4, L, L), without errors of one frame."""
    white: FloatArray
    """(4): variances of errors of one frame."""


class Camera(NamedTuple):
    """A camera's path, and what it costs to believe in it."""

    path: FloatArray
    """(T, 4)."""
    cost: float
    """Nats: log p(boxes | path) less log p(boxes), the path integrated out. A bound that takes the
    path as given is above one that infers it by as much."""


def read_camera(
    video: Video, runs: list[IntArray], errors: ErrorLaw, law: CameraLaw
) -> Camera | None:
    """Return the camera and its cost, or None where the boxes do not speak for one."""
    pieces = [_piece(video, rows, errors) for rows in _cut(runs, law)]
    if not pieces:
        return None
    height = float(np.exp(np.median(video.rows.o[:, 3])))
    weights = [np.ones((4, len(piece.frame))) for piece in pieces]
    camera = None
    for _ in range(2):
        information = _Information.of(pieces, weights, video.length)
        found = _search(information, np.asarray(law.first_step) * [height, height, 1, 1], law.least)
        if found is None:
            return None
        camera = Camera(found.path, _cost(information, found))
        weights = [_weights(piece, found.path, law.degrees) for piece in pieces]
    return camera


def at_rest(video: Video, camera: FloatArray | None) -> Video:
    """Return the video as a camera that stands would have seen it."""
    if camera is None:
        return video
    o = moved(video.rows.o, camera[video.rows.frame], video.image_size, undo_camera)
    return video.moved(o)


def in_image(mean: FloatArray, camera: FloatArray | None, video: Video) -> FloatArray:
    """Return boxes (N, T, 4) of the world, as they are in each frame's image."""
    return mean if camera is None else moved(mean, camera, video.image_size, apply_camera)


def moved(
    o: FloatArray, camera: FloatArray, image_size: tuple[float, float], how: Moves
) -> FloatArray:
    """Move boxes (..., 4) by ``how``, `apply_camera` or `undo_camera`, of cameras (..., 4)."""
    centre = torch.tensor(image_size, dtype=torch.double) / 2
    there: FloatArray = how(torch.as_tensor(o), torch.as_tensor(camera), centre).numpy()
    return there


def _cut(runs: list[IntArray], law: CameraLaw) -> list[IntArray]:
    """Cut tracklets into pieces of about the same length."""
    cut = [np.array_split(run, max(1, -(-len(run) // law.longest))) for run in runs]
    return [piece for pieces in cut for piece in pieces if len(piece) >= law.fewest]


def _piece(video: Video, rows: IntArray, errors: ErrorLaw) -> _Piece:
    frame, o = video.rows.frame[rows], video.rows.o[rows].copy()
    o[:, :2] -= np.asarray(video.image_size) / 2
    unit = np.exp(np.median(o[:, 3])) ** np.array([1, 1, 0, 0])
    time = (frame - frame[0]) / video.rate
    line = np.stack([np.ones_like(time), time - time.mean()], 1)
    place = line @ np.linalg.lstsq(line, o[:, :2], rcond=None)[0]  # o's own errors are not in it
    turn = np.zeros((4, len(frame), PARTS))
    turn[0, :, 0] = turn[1, :, 1] = turn[2, :, 2] = turn[3, :, 2] = 1
    turn[0, :, 2], turn[0, :, 3] = place[:, 0], -place[:, 1]
    turn[1, :, 2], turn[1, :, 3] = place[:, 1], place[:, 0]
    late, early = np.maximum(time[:, None], time), np.minimum(time[:, None], time)
    bend, last = early**2 * (3 * late - early) / 6, np.exp(-(late - early) / errors.seconds)
    change, lasting, white = (
        (np.asarray(x) * unit)[:, None, None] ** 2
        for x in (errors.change, errors.lasting, errors.white)
    )
    return _Piece(frame, o, line, turn, change * bend + lasting * last, white[:, 0, 0])


def _precisions(piece: _Piece, weight: FloatArray) -> FloatArray:
    """Return Q (4, L, L), errors of one frame divided by weights (4, L)."""
    noise = (piece.white[:, None] / weight)[..., None] * np.eye(len(piece.frame))
    inverse = np.asarray(np.linalg.inv(piece.covariance + noise))
    along = inverse @ piece.line
    line = np.linalg.solve(piece.line.T @ along, along.swapaxes(-1, -2))
    precision: FloatArray = inverse - along @ line
    return precision


def _weights(piece: _Piece, path: FloatArray, degrees: float) -> FloatArray:
    """Return the weights (4, L) of detections, by how far each is from what the others say."""
    precision = _precisions(piece, np.ones((4, len(piece.frame))))
    left = piece.o.T - np.einsum("dlk,lk->dl", piece.turn, path[piece.frame])
    square = (precision @ left[..., None])[..., 0] ** 2 / np.einsum("dll->dl", precision)
    weights: FloatArray = (degrees + 1) / (degrees + square)
    return weights


class _Information(NamedTuple):
    """What all pieces say of c (T, 4), flat: the lower band of its precision, and that times c."""

    band: FloatArray
    vector: FloatArray

    @classmethod
    def of(cls, pieces: list[_Piece], weights: list[FloatArray], length: int) -> _Information:
        width = PARTS * max(int(piece.frame[-1] - piece.frame[0]) + 1 for piece in pieces)
        band, vector = np.zeros((width, PARTS * length)), np.zeros(PARTS * length)
        for piece, weight in zip(pieces, weights, strict=True):
            precision = _precisions(piece, weight)
            flat = (PARTS * piece.frame[:, None] + np.arange(PARTS)).ravel()
            pulled = precision @ piece.o.T[..., None]
            vector[flat] += np.einsum("dlk,dl->lk", piece.turn, pulled[..., 0]).ravel()
            block = np.einsum("dlk,dlm,dmj->lkmj", piece.turn, precision, piece.turn, optimize=True)
            block = block.reshape(len(flat), len(flat))
            row, column = np.tril_indices(len(flat))
            band[flat[row] - flat[column], flat[column]] += block[row, column]
        return cls(band, vector)

    def solve(self, step: FloatArray) -> tuple[float, FloatArray]:
        """Return the log evidence against a camera that stands, and the path, given steps (4)."""
        moving = np.flatnonzero(step > 0)
        length, parts = len(self.vector) // PARTS, len(moving)
        kept = (PARTS * np.arange(length)[:, None] + moving).ravel()
        band = self._of(moving, length)
        band[0] += np.tile(2 / step[moving] ** 2, length)
        band[0, -parts:] -= 1 / step[moving] ** 2
        band[parts, : parts * (length - 1)] -= np.tile(1 / step[moving] ** 2, length - 1)
        factor = cholesky_banded(band, lower=True)
        vector = self.vector[kept]
        mean = cho_solve_banded((factor, True), vector)
        gain = vector @ mean / 2 - np.log(factor[0]).sum() - length * np.log(step[moving]).sum()
        path = np.zeros((length, PARTS))
        path[:, moving] = mean.reshape(length, parts)
        return float(gain), path

    def _of(self, moving: IntArray, length: int) -> FloatArray:
        """Return the band of some parts of the camera."""
        parts, frames = len(moving), self.band.shape[0] // PARTS
        band = np.zeros((parts * max(frames, 2), parts * length))
        for j, column in enumerate(moving):
            for ahead in range(parts * frames - j):
                row = moving[(j + ahead) % parts]
                away = (j + ahead) // parts * PARTS + row - column
                if 0 <= away < len(self.band):
                    band[ahead, j::parts] = self.band[away, column::PARTS]
        return band


def _search(information: _Information, first: FloatArray, least: float) -> _Found | None:
    """Return the likeliest steps (4), found part by part; None if none gains.

    Shifts come first: they are what turns and zooms are small beside.
    """
    best = _Found(0.0, np.zeros(0), np.zeros(PARTS))
    for part in (0, 1, 3, 2):
        found = _best_size(information, best.step, part, first[part])
        if found.gain > best.gain + least:
            best = found
    return best if len(best.path) else None


def _cost(information: _Information, found: _Found) -> float:
    """Return `Camera.cost`: half the path's squared steps, and log det (posterior / prior) / 2."""
    moving = found.step > 0
    steps = np.diff(found.path, axis=0, prepend=0)[:, moving] / found.step[moving]
    return float((steps**2).sum() / 2 + information.vector @ found.path.ravel() / 2 - found.gain)


class _Found(NamedTuple):
    gain: float
    path: FloatArray
    step: FloatArray


def _best_size(information: _Information, step: FloatArray, part: int, first: float) -> _Found:
    """Double or halve the step of one part while the evidence rises."""

    def tried(size: float) -> _Found:
        new = step.copy()
        new[part] = size
        return _Found(*information.solve(new), new)

    here, wider = tried(first), tried(2 * first)
    factor = 2.0 if wider.gain > here.gain else 0.5
    new = wider if factor > 1 else tried(first / 2)
    for _ in range(HALVINGS):
        if new.gain <= here.gain:
            break
        here, new = new, tried(new.step[part] * factor)
    return here
