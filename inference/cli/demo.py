"""``ppl demo``: whole videos followed, people coming and going, beside others' trackers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from inference.cli.track_jobs import Job, bundled
from inference.cli.track_run import run

if TYPE_CHECKING:
    from inference.metrics.tracking import Score
    from ppl_models.data.motchallenge import Boxes

VIDEOS = ("TUD-Stadtmitte", "TUD-Campus")
RATE, IMAGE_SIZE = 25.0, (640.0, 480.0)
"""Of both videos, as their data set says: frames a second, and pixels."""
RIVALS = {
    "SORT": "SORTTracker",
    "ByteTrack": "ByteTrackTracker",
    "OC-SORT": "OCSORTTracker",
    "C-BIoU": "CBIoUTracker",
    "BoT-SORT": "BoTSORTTracker",
}
"""Classes of the package ``trackers``."""


def demo(
    out: Annotated[Path, typer.Option(help="Folder of the answers.")] = Path("demo"),
) -> None:
    """Follow whoever comes and goes through two whole videos: TUD-Stadtmitte and TUD-Campus."""
    from inference.metrics.tracking import score, table, total
    from ppl_models.data.motchallenge import read_boxes, read_ground_truth

    folders = [bundled(name) for name in VIDEOS]
    found = [read_boxes(folder / "test.txt") for folder in folders]
    truths = [read_ground_truth(folder / "gt.txt") for folder in folders]
    spans = [(int(truth.frame[0]), int(truth.frame[-1])) for truth in truths]
    files = ", ".join(str(folder / "test.txt") for folder in folders)
    typer.echo(f"Detections: {files}; identities dropped, no scores")
    anonymous = [
        replace(one, id=np.full(len(one), -1), name=name)
        for one, name in zip(found, VIDEOS, strict=True)
    ]
    jobs = [
        Job(boxes, truth, span, out / boxes.name, IMAGE_SIZE, RATE)
        for boxes, truth, span in zip(anonymous, truths, spans, strict=True)
    ]
    ours = run(jobs, {"objects": None})

    def both(tracks: Sequence[Boxes]) -> Score:
        cut = [one.between(*span) for one, span in zip(tracks, spans, strict=True)]
        return total([score(truth, one) for truth, one in zip(truths, cut, strict=True)])

    rows = [(f"ours, {name}", one) for name, one in ours]
    rows.append(("ours, both", total([one for _, one in ours])))
    rows.append(("the file's own identities, both", both(found)))  # it is a tracker's output
    rows += [(f"{name}, both", both(tracks)) for name, tracks in rivals(anonymous)]
    typer.echo(table(rows))
    boxed = sum(map(len, anonymous)) / sum(map(len, truths))
    typer.echo(f"The detector boxed {boxed:.0%} of the people, so that no tracker is far above it.")
    for job in jobs:
        typer.echo(f"  {job.folder / 'tracks.png'}")


def rivals(videos: Sequence[Boxes]) -> Iterator[tuple[str, list[Boxes]]]:
    """Yield name and tracks of each tracker of the package ``trackers``, if it is installed."""
    if find_spec("trackers") is None or find_spec("supervision") is None:
        return
    import trackers

    for name, kind in RIVALS.items():
        make = getattr(trackers, kind, None)
        if make is not None:
            yield name, [_rival(make, boxes) for boxes in videos]


def _rival(make: Callable[..., Any], boxes: Boxes) -> Boxes:
    """Run a tracker, without images, at its own settings; boxes without scores are sure."""
    import supervision

    # its motion of the camera needs images
    options = {"enable_cmc": False} if make.__name__.startswith("BoT") else {}
    tracker, rows = make(frame_rate=RATE, **options), list[np.ndarray]()
    for frame in range(int(boxes.frame[0]), int(boxes.frame[-1]) + 1):
        ltwh = boxes.between(frame, frame).ltwh
        corners = np.concatenate([ltwh[:, :2], ltwh[:, :2] + ltwh[:, 2:]], 1).astype(np.float32)
        sure, kind = np.ones(len(ltwh), np.float32), np.zeros(len(ltwh), int)
        got = tracker.update(supervision.Detections(corners, confidence=sure, class_id=kind))
        ids = np.full(len(got.xyxy), -1) if got.tracker_id is None else got.tracker_id
        size = got.xyxy[:, 2:] - got.xyxy[:, :2]
        rows.append(np.c_[np.full(len(ids), frame), ids, got.xyxy[:, :2], size][ids >= 0])
    every = np.concatenate(rows)
    ones, name = np.ones(len(every)), boxes.name
    return type(boxes)(every[:, 0].astype(int), every[:, 1].astype(int), every[:, 2:], ones, name)
