"""``ppl track`` and ``ppl demo``: follow objects through detections, from a shell."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inference.cli.progress import progress
from inference.cli.track_jobs import (
    CONFIDENT,
    Job,
    bundled,
    check_size,
    folders_of,
    frame_rate,
    keep_sums,
    make_folder,
    parse_size,
    parse_window,
    present_throughout,
    read_job,
)
from inference.cli.words import LARGEST_SEED, finite, positive

if TYPE_CHECKING:
    from inference.metrics.tracking import Score
    from inference.tasks.tracking import LiveTracks, Tracks

DEMO_FRAMES, DEMO_OBJECTS = (23, 62), 7


class Method(StrEnum):
    """How the posterior is found."""

    vem = "vem"
    svi = "svi"


class Prior(StrEnum):
    """What is known of motion."""

    linear = "linear"
    srnn = "srnn"
    deepar = "deepar"


Detections = Annotated[
    list[Path], typer.Argument(metavar="DET.txt...", help="Detections, MOTChallenge text.")
]
GroundTruth = Annotated[
    list[Path] | None,
    typer.Option(metavar="GT.txt", help="Ground truth; one for each DET.txt, in order."),
]
ImageSize = Annotated[
    str | None,
    typer.Option(
        metavar="WIDTHxHEIGHT", help="In pixels.", show_default="extent of the detections"
    ),
]
Frames = Annotated[
    str | None,
    typer.Option(
        metavar="A:B", help="First and last frame.", show_default="those of GT.txt, or all"
    ),
]
LeastScore = Annotated[
    float | None,
    typer.Option(
        callback=finite,
        help="Drop detections scored lower.",
        show_default=f"{CONFIDENT} where scores are probabilities",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this file to ``ppl``."""
    app.command()(track)
    app.command()(demo)


def track(
    detections: Detections,
    out: Annotated[Path, typer.Option(help="Folder of the answers: one folder a file in it.")],
    objects: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=10_000,
            help="How many objects there are, in all frames.",
            show_default="whoever comes, hides and goes",
        ),
    ] = None,
    image_size: ImageSize = None,
    gt: GroundTruth = None,
    frames: Frames = None,
    min_score: LeastScore = None,
    rate: Annotated[
        float | None,
        typer.Option(
            callback=positive,
            help="Frames a second.",
            show_default="of the seqinfo.ini beside a det.txt, or as the boxes move",
        ),
    ] = None,
    method: Annotated[
        Method | None,
        typer.Option(help="With --objects: ascent, or random gradients.", show_default="vem"),
    ] = None,
    prior: Annotated[
        Prior | None,
        typer.Option(help="With --objects: of how they move.", show_default="srnn"),
    ] = None,
    clutter: Annotated[
        bool | None,
        typer.Option(
            "--clutter/--no-clutter",
            help="With --objects: detections may be of nothing.",
            show_default="clutter",
        ),
    ] = None,
    iterations: Annotated[
        int | None,
        typer.Option(min=1, help="With --objects: of coordinate ascent.", show_default="10"),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=LARGEST_SEED,
            help="With --objects: the same seed gives the same numbers.",
            show_default="0",
        ),
    ] = None,
) -> None:
    """Follow objects through detections: whoever comes, hides and goes, or so many (--objects).

    Writes tracks.txt, posterior.nc and tracks.png, and with --gt also metrics.json, to a folder
    named after each file, in the folder given by --out.
    """
    size, window = parse_size(image_size), parse_window(frames)
    folders = folders_of(detections, out)
    if gt and len(gt) != len(detections):
        found = f"{len(detections)} files of detections, but --gt {len(gt)} times"
        raise typer.BadParameter(f"{found}; give one for each, in the same order")
    truths: Sequence[Path | None] = gt or [None] * len(detections)
    if objects is None and min_score is None:
        min_score = -math.inf  # scores are weighed, and none is too low
    jobs = [
        read_job(path, truth, window, min_score, folder)
        for path, truth, folder in zip(detections, truths, folders, strict=True)
    ]
    settings: dict[str, Any] = {"objects": objects, "image_size": size}
    options = {
        "method": method and method.value,
        "prior": prior and prior.value,
        "clutter": clutter,
        "iterations": iterations,
        "seed": seed,
    }
    given = {name: value for name, value in options.items() if value is not None}
    if objects is None and given:
        words = f"--{next(iter(given))} goes with --objects: give both, or neither"
        raise typer.BadParameter(words)
    if objects is None:
        settings["rate"] = [rate or frame_rate(path) for path in detections]
    elif rate is not None:
        raise typer.BadParameter("--rate goes without --objects, whose motion is a frame's")
    _follow(jobs, settings | given)


def demo(
    out: Annotated[Path, typer.Option(help="Folder of the answers.")] = Path("demo"),
) -> None:
    """Follow seven people through real detections: TUD-Stadtmitte, frames 23 to 62."""
    from ppl_models.data.motchallenge import read_boxes, read_ground_truth

    folder = bundled("TUD-Stadtmitte")
    found, truth = read_boxes(folder / "test.txt"), read_ground_truth(folder / "gt.txt")
    anonymous = replace(found, id=found.id * 0 - 1, name="TUD-Stadtmitte")
    truth = present_throughout(truth, *DEMO_FRAMES)
    job = Job(anonymous, truth, DEMO_FRAMES, out / "TUD-Stadtmitte")
    typer.echo(f"Detections: {folder / 'test.txt'}, identities dropped")
    _follow([job], {"objects": DEMO_OBJECTS})
    boxed = len(anonymous.between(*DEMO_FRAMES)) / len(truth)
    typer.echo(f"The detector boxed {boxed:.0%} of the people in these frames: the paths through")
    typer.echo("the rest are the model's own, with the uncertainty that the picture shows:")
    typer.echo(f"  {job.folder / 'tracks.png'}")


def _follow(jobs: Sequence[Job], settings: dict[str, Any]) -> None:
    """Track all jobs in one batch; write, score and report."""
    if any(job.truth is not None for job in jobs):
        from inference.metrics.tracking import require_motmetrics

        require_motmetrics()  # now, not after the work
    if settings["objects"] is not None:
        check_size(jobs, settings["objects"])
    for job in jobs:
        make_folder(job.folder)
    lines, scores = [], []
    try:
        for job, tracks in zip(jobs, _answers(jobs, settings), strict=True):
            line, score = _write(job, tracks)
            lines.append(line)
            scores += [] if score is None else [(job.folder.name, score)]
            keep_sums(job.folder)
    except KeyboardInterrupt:
        typer.echo(f"stopped: {len(lines)} of {len(jobs)} written, each file whole", err=True)
        raise
    for line in lines:
        typer.echo(line)
    if scores:
        _show(scores)


def _answers(jobs: Sequence[Job], settings: dict[str, Any]) -> Iterator[Tracks | LiveTracks]:
    """Follow all jobs in one batch, then yield the answers to be written, with a bar meanwhile."""
    with progress() as step:
        step("loading")
        from inference.tasks.tracking import track as follow

        step("following")
        if settings["objects"] is None:
            settings = {**settings, "progress": partial(step, "following")}
        found = follow(
            [job.detections for job in jobs], frames=[job.frames for job in jobs], **settings
        )
        for done, tracks in enumerate(found):
            step("writing", done, len(jobs))
            yield tracks


def _write(job: Job, tracks: Tracks | LiveTracks) -> tuple[str, Score | None]:
    """Write one answer; return the line with its place, and its score."""
    metrics = job.folder / "metrics.json"
    metrics.unlink(missing_ok=True)  # an earlier run's is not of these tracks
    written = list(tracks.write(job.folder).values())
    result = None
    if job.truth is not None:
        from inference.metrics.tracking import score
        from ppl_models.data.files import sealed_json, write_whole

        result = score(job.truth.between(*job.frames), tracks.as_boxes())
        write_whole(metrics, sealed_json(result.to_dict()))
        written.append(metrics)
    first, last = job.frames
    names = ", ".join(path.name for path in written)
    head = f"{job.detections.name}: {tracks.objects} objects, frames {first} to {last}"
    return f"{head} -> {job.folder}/ ({names})", result


def _show(scores: Sequence[tuple[str, Score]]) -> None:
    from inference.metrics.tracking import table, total

    rows = list(scores)
    if len(rows) > 1:
        rows.append(("all", total([score for _, score in scores])))
    typer.echo(table(rows))
