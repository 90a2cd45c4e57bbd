"""What ``ppl track`` does once all is read: follow, write, draw, score."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import typer

from inference.cli.progress import progress
from inference.cli.track_jobs import Job, check_size, keep_sums, make_folder

if TYPE_CHECKING:
    from inference.metrics.tracking import Score
    from inference.tasks.tracking import LiveTracks, Tracks

Step = Callable[..., None]

WINDOWS = ".windows"
"""Folder, in that of an answer, of the windows that are done while the command runs."""
FRAMES = "frames"


def run(jobs: Sequence[Job], settings: dict[str, Any]) -> list[tuple[str, Score]]:
    """Follow all jobs; write and report each; return the scores of those that have a truth.

    Windows of whole videos are kept until all is written, so that the same command goes on.
    """
    from inference.tasks.tracking import kept_windows, remove_windows

    if any(job.truth is not None for job in jobs):
        from inference.metrics.tracking import require_motmetrics

        require_motmetrics()  # now, not after the work
    if settings["objects"] is not None:
        check_size(jobs, settings["objects"])
    for job in jobs:
        make_folder(job.folder)
    lines, scores = [], []
    try:
        with progress() as step:
            for job, tracks in zip(jobs, _answers(jobs, settings, step), strict=True):
                line, score = _write(job, tracks, step)
                lines.append(line)
                scores += [] if score is None else [(job.folder.name, score)]
                keep_sums(job.folder)
    except KeyboardInterrupt:
        kept = sum(len(kept_windows(job.folder / WINDOWS)) for job in jobs)
        said = f"; windows done are kept ({kept}), and the same command goes on" * (kept > 0)
        typer.echo(f"stopped: {len(lines)} of {len(jobs)} written, each file whole{said}", err=True)
        raise
    for job, line in zip(jobs, lines, strict=True):
        remove_windows(job.folder / WINDOWS)
        typer.echo(line)
    return scores


def show(scores: Sequence[tuple[str, Score]]) -> None:
    """Print the scores, and that of all together."""
    from inference.metrics.tracking import table, total

    rows = list(scores)
    if len(rows) > 1:
        rows.append(("all", total([score for _, score in scores])))
    if rows:
        typer.echo(table(rows))


def _answers(
    jobs: Sequence[Job], settings: dict[str, Any], step: Step
) -> Iterator[Tracks | LiveTracks]:
    """Yield the answers to be written: of so many objects in one batch, else one by one."""
    step("loading")
    from inference.tasks.tracking import track

    if settings["objects"] is not None:
        step("following")
        frames, size = [job.frames for job in jobs], jobs[0].image_size
        found = track([job.detections for job in jobs], frames=frames, image_size=size, **settings)
        for done, one in enumerate(found):
            step("writing", done, len(jobs))
            yield one
        return
    for job in jobs:
        what = "following" if len(jobs) == 1 else f"following {job.folder.name}"
        step(what)
        [lives] = track(
            [job.detections],
            frames=[job.frames],
            image_size=job.image_size,
            rate=job.rate,
            progress=partial(step, what),
            directory=job.folder / WINDOWS,
            **settings,
        )
        step("writing")
        yield lives


def _write(job: Job, tracks: Tracks | LiveTracks, step: Step) -> tuple[str, Score | None]:
    """Write one answer; return the line with its place, and its score."""
    from inference.tasks.tracking import draw_frames, remove_frames

    metrics = job.folder / "metrics.json"
    metrics.unlink(missing_ok=True)  # an earlier run's is not of these tracks
    remove_frames(job.folder / FRAMES)  # nor are its frames
    written = list(tracks.write(job.folder).values())
    result = None
    if job.truth is not None:
        from inference.metrics.tracking import score
        from ppl_models.data.files import sealed_json, write_whole

        result = score(job.truth.between(*job.frames), tracks.as_boxes())
        write_whole(metrics, sealed_json(result.to_dict()))
        written.append(metrics)
    names = [path.name for path in written]
    if job.images is not None:
        draw_frames(tracks, job.images, job.folder / FRAMES, partial(step, "drawing"))
        names.append(f"{FRAMES}/")
    first, last = job.frames
    head = f"{job.detections.name}: {tracks.objects} objects, frames {first} to {last}"
    return f"{head} -> {job.folder}/ ({', '.join(names)})", result
