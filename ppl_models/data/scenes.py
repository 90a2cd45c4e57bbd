r"""Whole scenes of people, simulated, with the truth: to learn constants on, and to test trackers.

People walk on the ground (`trajectories.ground_velocity`), seen through a pinhole camera at some
height. They are there at first or come, most over the image's borders, and go there or somewhere
else. Who is nearer hides who is behind. A detector misses those who are hidden, and others by
chance or for a while; its boxes have errors that last, and scores; and it sees things that are
none, of which some stay for a while. The camera stands, pans, shakes, or is carried.

No number is taken from a data set. All constants are in seconds, pixels' shares and bodies, so that
scenes of any frame rate are of the same world.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ppl_models.data.motchallenge import Boxes
from ppl_models.data.scene_detector import DetectorLaw, as_boxes, detect
from ppl_models.data.scene_people import CAMERAS, View, draw_people
from ppl_models.errors import InputError, unknown

FloatArray = NDArray[np.float64]


class Scene(NamedTuple):
    """One simulated video: what a detector says, and the truth."""

    detections: Boxes
    """R boxes, those of a frame in random order."""
    source: NDArray[np.int64]
    """(R,): the id of the person whose box it is; -1 for clutter."""
    truth: Boxes
    """S boxes: everybody whose box has its centre in the image; ids from 1."""
    visibility: FloatArray
    """(S,): the share of the box that is in the image and not behind nearer people."""
    camera: FloatArray
    """(T, 4): shift x, shift y (pixels), log zoom, roll, from the first frame's image on; see
    `ppl_models.mot.apply_camera`."""
    image_size: tuple[int, int]
    """Width and height, pixels."""


def simulate_scenes(
    size: int,
    *,
    length: int = 300,
    fps: float = 25.0,
    people: float | None = None,
    camera: str | None = None,
    image_size: tuple[int, int] = (1920, 1080),
    stay: float = 12.0,
    detector: DetectorLaw | None = None,
    seed: int = 0,
) -> list[Scene]:
    """Simulate ``size`` scenes; scene i depends on seed and i alone.

    Parameters
    ----------
    size, length : int
        Scenes, and frames of each.
    fps : float
        Frames a second.
    people : float, optional
        Expected number of people at once; by default uniform between 0 and 30, scene by scene.
    camera : str, optional
        One of ``still``, ``pan``, ``shake``, ``walk``; by default half of the scenes stand still.
    image_size : (int, int)
        Width and height, pixels.
    stay : float
        Each second, people / stay more come: about the mean seconds that somebody is in view.
    detector : DetectorLaw, optional
        What is detected, and how.
    seed : int

    Raises
    ------
    InputError
        No scene, no frame, a rate that is not positive, fewer than no people, an unknown camera.
    """
    rules = (
        ("size", size, size >= 1, "1 or more"),
        ("length", length, length >= 1, "1 or more"),
        ("fps", fps, 0 < fps < np.inf, "above 0"),
        ("people", people, people is None or 0 <= people < np.inf, "0 or more"),
        ("stay", stay, 0 < stay < np.inf, "above 0"),
    )
    for name, value, good, expected in rules:
        if not good:
            raise InputError(name, str(value), expected, f"pass {name}=25")
    if camera is not None and camera not in CAMERAS:
        raise unknown("camera", camera, CAMERAS)
    scenes = []
    for index in range(size):
        rng = np.random.default_rng([seed, index])
        number = rng.uniform(0, 30) if people is None else people
        kind = camera or str(rng.choice(CAMERAS, p=(0.5, 0.2, 0.15, 0.15)))
        view = View.draw(rng, length, fps, kind, image_size)
        scenes.append(_scene(rng, view, number, stay, detector or DetectorLaw()))
    return scenes


def _scene(
    rng: np.random.Generator, view: View, number: float, stay: float, law: DetectorLaw
) -> Scene:
    people = draw_people(rng, view, number, stay)
    t, n = np.nonzero(people.present.T)
    truth = as_boxes(t, n + 1, people.boxes[n, t], np.ones(len(t)), "simulated truth")
    detections, source = detect(rng, view, people, law)
    size = (int(view.image[0]), int(view.image[1]))
    return Scene(detections, source, truth, people.visibility[n, t], view.camera, size)
