"""Checks of the arguments of `track`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from inspect import signature
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


Detections = Boxes | tuple[Any, Any, Any]
"""Boxes, or arrays (frame, ltwh, score)."""
Frames = tuple[int, int] | Sequence[tuple[int, int]] | None


def as_boxes(detections: Any) -> list[Boxes]:
    """Return a sequence of Boxes or of (frame, ltwh, score) as a list of Boxes.

    Raises
    ------
    InputError
        As `check_detections`, or arrays of other shapes.
    """
    if isinstance(detections, Sequence) and not isinstance(detections, Boxes):
        detections = [_boxes(one, i) if _arrays(one) else one for i, one in enumerate(detections)]
    check_detections(detections)
    return list(detections)


def _arrays(one: Any) -> bool:
    return isinstance(one, tuple) and len(one) == 3


def _boxes(one: tuple[Any, Any, Any], i: int) -> Boxes:
    try:
        frame, ltwh, score = (np.asarray(part, float) for part in one)
    except (TypeError, ValueError) as error:
        cure = "give numbers, NaN for a score that is not known"
        raise InputError(f"detections[{i}]", str(error), "arrays of numbers", cure) from None
    if not frame.shape == ltwh.shape[:1] == score.shape or ltwh.shape[1:] != (4,):
        found = f"shapes {frame.shape}, {ltwh.shape}, {score.shape}"
        expected = "(frame, ltwh, score): (R,), (R, 4), (R,)"
        raise InputError(f"detections[{i}]", found, expected, "give a row to each box")
    if not (np.abs(frame) < 2**53).all():
        found, cure = "a frame that is no number, or beyond 2^53", "number frames from 1"
        raise InputError(f"detections[{i}]", found, "whole numbers", cure)
    whole = frame.astype(np.int64)
    if (whole != frame).any():
        cure = "number frames by whole numbers"
        raise InputError(f"detections[{i}]", "a frame that is a fraction", "whole numbers", cure)
    unknown = np.full(len(whole), -1)
    return Boxes(whole, unknown, ltwh, score, f"detections[{i}]")


def check_names(options: Mapping[str, Any], function: Callable[..., Any]) -> None:
    """Raise TypeError, as Python does, for an option that a function does not have."""
    for name in options:
        if name not in signature(function).parameters:
            raise TypeError(f"track() got an unexpected keyword argument {name!r}")


def check_together(objects: int | None, **options: Any) -> None:
    """Raise InputError where an option that is given does not go with ``objects``, given or not."""
    for name, value in options.items():
        if value is None:
            continue
        if objects is None:
            cure = f"pass objects, or leave {name} out"
            raise InputError(name, f"{value!r} without objects", "objects=N with it", cure)
        cure = f"leave out {name}, or objects"
        raise InputError(name, f"{value!r}, with objects={objects}", "no objects with it", cure)


def check_settings_are(settings: Any, kind: type) -> None:
    """Raise InputError unless the settings are of this kind, or None."""
    if settings is not None and not isinstance(settings, kind):
        cure = f"pass {kind.__name__}(), or None"
        raise InputError("settings", f"a {type(settings).__name__}", kind.__name__, cure)


def rates_of(rate: Any, count: int) -> list[float | None]:
    """Return frames a second of each of so many sequences, None where nobody says.

    Raises
    ------
    InputError
        A rate that is not positive, or not one for each.
    """
    rate = rate.tolist() if isinstance(rate, np.ndarray) else rate
    several = isinstance(rate, Sequence) and not isinstance(rate, str)
    rates = list(rate) if several else [rate] * count
    if len(rates) != count:
        raise InputError("rate", f"{len(rates)} rates", f"one, or {count}", "pass one a sequence")
    for one in rates:
        number = isinstance(one, float | int | np.number) and not isinstance(one, bool)
        if one is not None and not (number and 0 < one < np.inf):
            raise InputError("rate", repr(one), "frames a second, above 0", "pass 30, or None")
    return rates


def extent(boxes: Boxes) -> tuple[float, float]:
    """Return width and height of the smallest image, from (0, 0), that holds all boxes' centres."""
    if not len(boxes):
        return 1.0, 1.0
    width, height = (boxes.ltwh[:, :2] + boxes.ltwh[:, 2:] / 2).max(0).clip(min=1.0)
    return float(width), float(height)


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
