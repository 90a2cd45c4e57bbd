"""Follow everyone through a whole video: who comes, hides and goes is inferred."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from inference.tasks.tracking.kalman import FloatArray, IntArray
from inference.tasks.tracking.whole.camera import CameraLaw, at_rest, in_image
from inference.tasks.tracking.whole.camera_rounds import steadied
from inference.tasks.tracking.whole.chains import (
    Design,
    detected_share,
    find_objects,
)
from inference.tasks.tracking.whole.errors import ErrorLaw, learn_errors
from inference.tasks.tracking.whole.kept import KeptWindows
from inference.tasks.tracking.whole.live_tracks import LiveTracks
from inference.tasks.tracking.whole.lives import LifeLaw, Presence, presence
from inference.tasks.tracking.whole.smoothing import smooth
from inference.tasks.tracking.whole.time_scale import USUAL, infer_rate
from inference.tasks.tracking.whole.video import Video
from inference.tasks.tracking.whole.windows import (
    LONGEST,
    OVERLAP,
    Followed,
    Window,
    join,
    middle,
    windows,
)
from ppl_models.data.motchallenge import Boxes

LEAST = 0.05
"""p(present) below which a box is not kept."""
VAGUE = 0.3
"""Standard deviation of a centre, in heights, from which on a box is not kept: it would overlap
with the object by chance."""


@dataclass(frozen=True)
class WholeSettings:
    """What is believed of videos, and how they are cut.

    Attributes
    ----------
    design : Design
        Motion, matches, links and scores.
    errors : ErrorLaw
        Of the detector, before a video is seen.
    camera : CameraLaw, optional
        None for one that is known to stand.
    life : LifeLaw
    window, overlap : int
        Frames of a window, and of what two have in common.
    """

    design: Design = field(default_factory=Design)
    errors: ErrorLaw = field(default_factory=ErrorLaw)
    camera: CameraLaw | None = field(default_factory=CameraLaw)
    life: LifeLaw = field(default_factory=LifeLaw)
    window: int = LONGEST
    overlap: int = OVERLAP


def follow(
    detections: Boxes,
    first: int,
    last: int,
    image_size: tuple[float, float],
    rate: float | None,
    settings: WholeSettings,
    progress: Callable[[int, int], None] | None = None,
    directory: Path | None = None,
) -> LiveTracks:
    """Follow all objects of one video; see `track`."""
    detections = detections.between(first, last)
    spans = list(windows(first, last, settings.window, settings.overlap))
    asked = (first, last, tuple(map(float, image_size)), rate and float(rate), settings)
    kept = None if directory is None else KeptWindows(directory, detections, *asked)
    rate = rate or _rate(detections, spans, image_size, settings)
    found, end, steps = Followed.none(), first, np.zeros((last - first + 1, 4))
    for i, (begin, stop) in enumerate(spans):
        new = kept.read(i + 1, begin, stop) if kept else None
        if new is None:
            video = Video(detections, begin, stop, image_size, rate)
            new = _numbered(_follow_window(video, settings), video, detections)
            if kept is not None:
                kept.write(i + 1, new)
        since = middle(begin, end) if i else first
        steps[since - first : stop - first + 1] = new.steps[since - begin :]
        found = join(found, new.boxes, begin, end) if i else new.boxes
        end = stop
        if progress is not None:
            progress(i + 1, len(spans))
    return _tracks(found, steps, detections, first, rate)


def _rate(
    detections: Boxes,
    spans: list[tuple[int, int]],
    image_size: tuple[float, float],
    settings: WholeSettings,
) -> float:
    """Return the frames a second that the window with the most detections looks like."""
    span = max(spans, key=lambda one: len(detections.between(*one)))
    video = Video(detections, *span, image_size, USUAL)
    return infer_rate(video, settings.design.matching, settings.design.matches)


def _follow_window(video: Video, settings: WholeSettings) -> Window:
    """Follow the objects of a window; detections are rows of the window."""
    design = settings.design
    found, runs = steadied(video, design, settings.errors, settings.camera)
    camera = None if found is None else found.path
    video = at_rest(video, camera)
    chains, odds, learned = find_objects(video, runs, design)
    errors = learn_errors(video, chains, settings.errors)
    mean, variance = smooth(video, chains, design.smoothing, errors)
    image = in_image(mean, camera, video)
    detected = detected_share(video, chains)
    worth = learned.of_detections
    lives = presence(
        video, chains, (mean, variance), image, worth, design.smoothing, settings.life, detected
    )
    lives = lives.given(1 / (1 + np.exp(-odds)))
    boxes = image, variance
    parts = [_rows(video, n, chain, boxes, lives) for n, chain in enumerate(chains)]
    steps = np.zeros((video.length, 4)) if camera is None else np.diff(camera, axis=0, prepend=0)
    if not parts:
        return Window(Followed.none(), steps)
    every = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Window(Followed._make(every), steps)


def _rows(
    video: Video,
    n: int,
    chain: IntArray,
    boxes: tuple[FloatArray, FloatArray],
    lives: Presence,
) -> Followed:
    """Return the rows of one object, numbered n + 1."""
    mean, variance, present, seen = (part[n] for part in (*boxes, *lives))
    detection = np.full(video.length, -1)
    detection[video.rows.frame[chain]] = chain
    vague = np.sqrt(variance[:, 0]) > VAGUE * np.exp(mean[:, 3])
    frame = np.flatnonzero((present > LEAST) & ~vague)
    named = np.full(video.length, n + 1)
    every = Followed(named, np.arange(video.length), mean, variance, present, seen, detection)
    return every.of(frame)


def _numbered(new: Window, video: Video, detections: Boxes) -> Window:
    """Return rows with frames, and rows of detections, of the whole video."""
    found, before = new.boxes, int(np.searchsorted(detections.frame, video.first))
    row = np.where(found.detection >= 0, found.detection + before, -1)
    return new._replace(boxes=found._replace(frame=found.frame + video.first, detection=row))


def _tracks(
    found: Followed, steps: FloatArray, detections: Boxes, first: int, rate: float
) -> LiveTracks:
    """Number objects by their first frame, then from left to right."""
    order = np.lexsort((found.frame, found.object))
    found = found.of(order)
    names, begins = np.unique(found.object, return_index=True)
    rank = np.lexsort((found.mean[begins, 0], found.frame[begins]))
    number = np.empty(len(names), np.int64)
    number[rank] = np.arange(len(names)) + 1
    renamed = number[np.searchsorted(names, found.object)]
    found = found._replace(object=renamed).of(np.lexsort((found.frame, renamed)))
    return LiveTracks(
        detections.name,
        first,
        len(steps),
        rate,
        found.object,
        found.frame,
        found.mean,
        np.sqrt(found.variance),
        found.present,
        found.seen,
        found.detection,
        detections,
        steps.cumsum(0),
    )
