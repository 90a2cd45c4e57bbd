"""The camera of a window, read in rounds: from tracklets, and from the tracklets of boxes at rest.

A camera that jumps, or sets off, breaks all tracklets at once, and what is broken says nothing of
it. So the first tracklets are matched as if all errors were as large as a shake; wrong matches
among them are few, and weigh little. A camera for which the evidence speaks (`camera`) is kept if
tracklets do not become more by it; so is each round's.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from inference.tasks.tracking.kalman import IntArray
from inference.tasks.tracking.whole.camera import Camera, CameraLaw, at_rest, read_camera
from inference.tasks.tracking.whole.chains import Design, find_tracklets
from inference.tasks.tracking.whole.errors import ErrorLaw, learn_errors
from inference.tasks.tracking.whole.video import Video

SHAKE = 0.15
"""Standard deviation of a box's place about where it was expected, in heights, before the camera is
known: half the width of a person."""
ROUNDS = 3
"""Most readings of a camera."""
SLACK = 1.05
"""Times as many tracklets as of a camera that stands that the first reading may leave."""


class Steadied(NamedTuple):
    """A window whose camera was looked for."""

    camera: Camera | None
    """None if it stands."""
    runs: list[IntArray]
    """Tracklets, of boxes at rest."""


def steadied(video: Video, design: Design, errors: ErrorLaw, law: CameraLaw | None) -> Steadied:
    """Return the camera, and the tracklets that it leaves; ``law`` None for one that stands."""
    best = Steadied(None, find_tracklets(video, design))
    most = SLACK * len(best.runs)
    if law is None:
        return best
    noise = (SHAKE, SHAKE, *design.matching.noise[2:])
    wide = replace(design, matching=replace(design.matching, noise=noise))
    runs = find_tracklets(video, wide)
    for _ in range(ROUNDS):
        found = read_camera(video, runs, learn_errors(video, runs, errors), law)
        if found is None:
            break
        runs = find_tracklets(at_rest(video, found.path), design)
        if len(runs) > most:
            break
        best, most = Steadied(found, runs), len(runs)
    return best
