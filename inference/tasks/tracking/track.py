"""Follow objects through detections: everyone who comes and goes, or N that are always there.

>>> from ppl_models.data.motchallenge import read_boxes
>>> from inference.tasks.tracking import track
>>> [lives] = track([read_boxes("det.txt")])  # `LiveTracks`: who is there when, and how sure
>>> [tracks] = track([read_boxes("det.txt")], objects=3)  # `Tracks`, by MixDVAE

Without ``objects`` `inference.tasks.tracking.whole` follows, with it
`inference.tasks.tracking.known_number`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, overload

from inference.tasks.tracking.ascent import Prior
from inference.tasks.tracking.batch import TrackerSettings
from inference.tasks.tracking.checks import (
    Detections,
    Frames,
    as_boxes,
    check_image_size,
    check_names,
    check_settings_are,
    check_together,
    extent,
    ranges_of,
    rates_of,
)
from inference.tasks.tracking.known_number import Method, track_known
from inference.tasks.tracking.tracks import Tracks
from inference.tasks.tracking.whole import LiveTracks, WholeSettings, follow


@overload
def track(
    detections: Sequence[Detections],
    *,
    objects: None = None,
    image_size: tuple[float, float] | None = None,
    frames: Frames = None,
    rate: float | Sequence[float | None] | None = None,
    settings: WholeSettings | None = None,
    progress: Callable[[int, int], None] | None = None,
    directory: str | os.PathLike[str] | None = None,
) -> list[LiveTracks]: ...


@overload
def track(
    detections: Sequence[Detections],
    *,
    objects: int,
    image_size: tuple[float, float] | None = None,
    frames: Frames = None,
    method: Method = "vem",
    prior: Prior = "srnn",
    clutter: bool = True,
    iterations: int | None = None,
    settings: TrackerSettings | None = None,
    seed: int = 0,
) -> list[Tracks]: ...


def track(
    detections: Sequence[Detections],
    *,
    objects: int | None = None,
    image_size: tuple[float, float] | None = None,
    frames: Frames = None,
    rate: float | Sequence[float | None] | None = None,
    settings: TrackerSettings | WholeSettings | None = None,
    progress: Callable[[int, int], None] | None = None,
    directory: str | os.PathLike[str] | None = None,
    **options: Any,
) -> list[Tracks] | list[LiveTracks]:
    """Follow everyone who comes and goes, or N objects that are always there.

    Parameters
    ----------
    detections : sequence of Boxes, or of (frame, ltwh, score)
        One a sequence, pixels; identities and order within a frame are not read. Arrays (R,),
        (R, 4) and (R,) are as good as `Boxes`; a score may be NaN where there is none.
    objects : int, optional
        N of `track_known`, whose other ``options`` go with it. Without it, who is there and when
        is inferred, and the other arguments below are read.
    image_size : (width, height), optional
        In pixels; by default the extent of the detections.
    frames : (first, last) or a sequence of them, optional
        Frames to follow, both included; by default from the first detection to the last.
    rate : float, or one (or None) a sequence, optional
        Frames a second; by default the rate at which the boxes move as objects do.
    settings : WholeSettings, optional
    progress : callable, optional
        Called with windows done, and how many there are, of each sequence.
    directory : path, optional
        A folder that keeps the windows that are done. The same call, after an interruption, goes
        on from them, to the numbers that it would have reached unbroken; other detections or
        settings begin anew. What is in it is not removed.

    Returns
    -------
    list of LiveTracks, or of Tracks
        One a sequence.

    Raises
    ------
    InputError
        For no sequences, boxes without a size, an empty range, an image without a size, a rate that
        is not positive, options that do not go together.
    OSError
        A window cannot be written to the directory.
    """
    detections = as_boxes(detections)
    if objects is not None:
        check_together(objects, rate=rate, progress=progress, directory=directory)
        check_settings_are(settings, TrackerSettings)
        return track_known(
            detections,
            objects=objects,
            image_size=image_size,
            frames=frames,
            settings=settings,  # type: ignore[arg-type]
            **options,
        )
    check_names(options, track_known)
    check_together(objects, **options)
    check_settings_are(settings, WholeSettings)
    check_image_size(image_size)
    return [
        follow(
            one,
            *span,
            image_size or extent(one),
            speed,
            settings or WholeSettings(),  # type: ignore[arg-type]
            progress,
            None if directory is None else Path(directory),
        )
        for one, span, speed in zip(
            detections,
            ranges_of(detections, frames),
            rates_of(rate, len(detections)),
            strict=True,
        )
    ]
