"""Checks of the arguments of `track`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np

from inference.tasks.tracking.batch import WHOLE
from ppl_models.data.motchallenge import Boxes
from ppl_models.errors import InputError


def check_choice(name: str, value: Any, options: Any) -> None:
    """Raise InputError unless the value is one of a Literal's."""
    if value not in get_args(options):
        known = ", ".join(get_args(options))
        raise InputError(name, repr(value), f"one of {known}", "check the spelling")


def check_detections(detections: Any) -> None:
    """Raise InputError unless this is a sequence of Boxes, finite and of positive size."""
    if isinstance(detections, Boxes) or not isinstance(detections, Sequence):
        found = type(detections).__name__
        raise InputError("detections", found, "a list of Boxes", "pass a list, also of one")
    if not detections:
        raise InputError("detections", "no sequence", "one or more", "pass a list of Boxes")
    for one in detections:
        if not isinstance(one, Boxes):
            cure = "read files with read_boxes"
            raise InputError("detections", f"a {type(one).__name__} in it", "Boxes", cure)
        good = np.isfinite(one.ltwh).all(-1) & (one.ltwh[:, 2:] > 0).all(-1)
        if not good.all():
            row = int(np.argmin(good))
            found = f"{one.ltwh[row].tolist()} in frame {one.frame[row]}"
            raise InputError(one.name, found, "finite boxes of positive size", "drop these rows")


def check_image_size(image_size: Any) -> None:
    """Raise InputError unless this is None or two positive numbers."""
    if image_size is None:
        return
    try:
        size = np.asarray(image_size, float)
        good = size.shape == (2,) and bool(np.isfinite(size).all() and (size > 0).all())
    except (TypeError, ValueError):
        good = False
    if not good:
        expected = "(width, height) in pixels, both positive"
        raise InputError("image_size", repr(image_size), expected, "pass (1920, 1080), or None")


def ranges_of(detections: Sequence[Boxes], frames: Any) -> list[tuple[int, int]]:
    """Return (first, last) of each sequence: as given, or from its first detection to its last.

    Raises
    ------
    InputError
        Not a range, or not one for each sequence; no range given, and no detection.
    """
    if frames is None:
        for d in detections:
            if not len(d):
                raise InputError(d.name, "no detections", "some, or `frames`", "pass frames=(1, T)")
        return [(int(d.frame.min()), int(d.frame.max())) for d in detections]
    given = frames if isinstance(frames, Sequence) and not isinstance(frames, str) else [frames]
    one = len(given) == 2 and all(isinstance(x, WHOLE) for x in given)
    ranges = [given] * len(detections) if one else list(given)
    if len(ranges) != len(detections):
        raise InputError(
            "frames", f"{len(ranges)} ranges", f"one, or {len(detections)}", "pass one a sequence"
        )
    return [_range(one) for one in ranges]


def _range(given: Any) -> tuple[int, int]:
    """Return one range of frames as numbers."""
    pair = isinstance(given, Sequence) and len(given) == 2
    if not pair or not all(isinstance(x, WHOLE) for x in given):
        expected = "(first, last), two whole numbers"
        raise InputError("frames", repr(given), expected, "pass (1, 60), or one such a sequence")
    first, last = int(given[0]), int(given[1])
    if not 1 <= first <= last:
        raise InputError("frames", f"{first}:{last}", "1 <= first <= last", "swap or count on")
    return first, last
