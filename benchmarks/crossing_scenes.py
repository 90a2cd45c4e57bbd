"""People who cross, simulated, and a detector that misses, errs, and sees clutter."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ppl_models.mot import covered, covers

LENGTH, PHI, DETECTION, CLUTTER = 60, 0.06, 0.9, 0.5
"""Frames; errors of a box, in boxes; chance of a detection; clutter a frame."""
HIDDEN = 0.7
"""By which share the chance of a detection is lower where a box is wholly covered."""
REGION = torch.tensor([[-3.0, -1.0, -1.4, -0.5], [3.0, 1.0, -0.4, 0.5]]).double()
"""Where clutter is, uniformly."""
STEP = torch.tensor([0.004, 0.002, 0.004, 0.004]).double()
"""Standard deviation of the change of velocity, a frame; heights, and log sizes."""


class Scenes(NamedTuple):
    """B scenes of N people; lengths in heights of a person."""

    paths: Tensor
    """(B, T, N, 4): centre x and y, log width, log height."""
    o: Tensor
    """(B, T, K, 4), those of a frame in random order; 0 where there is none."""
    source: Tensor
    """(B, T, K): the person, N for clutter, -1 where there is none."""


def simulate(scenes: int, people: int, doubled: float = 0.0, *, seed: int = 0) -> Scenes:
    """Simulate people who cross in the middle of a clip; scene i depends on seed and i alone.

    ``doubled`` is the probability that a detection has a second one beside it, of the same person.
    """
    made = [
        _scene(np.random.default_rng([seed, people, i]), people, doubled) for i in range(scenes)
    ]
    places = max(len(x) for one in made for x in one[1])
    o = torch.zeros(scenes, LENGTH, places, 4).double()
    source = torch.full((scenes, LENGTH, places), -1)
    for i, (_, boxes, owners) in enumerate(made):
        for t, (box, owner) in enumerate(zip(boxes, owners, strict=True)):
            o[i, t, : len(box)] = torch.as_tensor(box)
            source[i, t, : len(box)] = torch.as_tensor(owner)
    return Scenes(torch.stack([torch.as_tensor(one[0]) for one in made]), o, source)


def _scene(
    rng: np.random.Generator, people: int, doubled: float
) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
    speed = rng.uniform((-0.04, -0.004, 0, 0), (0.04, 0.004, 0, 0), (people, 4))
    change = STEP.numpy() * rng.standard_normal((LENGTH, people, 4))
    path = np.cumsum(speed + np.cumsum(change, 0), 0)
    meeting = rng.integers(LENGTH // 2 - 4, LENGTH // 2 + 5, people)
    place = rng.normal((0, 0, math.log(0.4), 0), (0.05, 0.08, 0.05, 0.05), (people, 4))
    path += place - path[meeting, np.arange(people)]
    hidden = covered(covers(torch.as_tensor(path)), 1 - torch.eye(people)).numpy()  # (T, N)
    (low, high), boxes, owners = REGION.numpy(), [], []
    for t in range(LENGTH):
        found = np.flatnonzero(rng.random(people) < DETECTION * (1 - HIDDEN * hidden[t]))
        found = np.concatenate([found, found[rng.random(len(found)) < doubled]])
        error = PHI * rng.standard_normal((len(found), 4)) * _unit(path[t, found])
        clutter = low + (high - low) * rng.random((rng.poisson(CLUTTER), 4))
        box = np.concatenate([path[t, found] + error, clutter])
        owner = np.concatenate([found, np.full(len(clutter), people)])
        order = rng.permutation(len(box))
        boxes.append(box[order])
        owners.append(owner[order])
    return path, boxes, owners


def _unit(box: np.ndarray) -> np.ndarray:
    return np.concatenate([np.exp(box[..., 2:]), np.ones_like(box[..., 2:])], -1)
