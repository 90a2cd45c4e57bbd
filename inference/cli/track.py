"""``ppl track``: follow objects through detections, from a shell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from inference.cli.demo import demo
from inference.cli.track_jobs import (
    CONFIDENT,
    Job,
    folders_of,
    frame_rate,
    parse_size,
    parse_window,
    read_job,
    with_images,
)
from inference.cli.track_run import run, show
from inference.cli.words import LARGEST_SEED, finite, positive


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
        metavar="WIDTHxHEIGHT",
        help="In pixels.",
        show_default="that of --images, or the extent of the detections",
    ),
]
Images = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FOLDER",
        help="Images of the video, to draw the boxes into (frames/); one for each DET.txt.",
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
    images: Images = None,
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

    Writes tracks.txt, posterior.nc and tracks.png, with --gt also metrics.json, and with --images
    also frames/, to a folder named after each file, in the folder given by --out. Stopped without
    --objects, it keeps what is done, and the same command goes on.
    """
    size, window = parse_size(image_size), parse_window(frames)
    folders = folders_of(detections, out)
    truths, pictures = _one_each("--gt", gt, detections), _one_each("--images", images, detections)
    if objects is None and min_score is None:
        min_score = -math.inf  # scores are weighed, and none is too low
    jobs = [
        with_images(read_job(path, truth, window, min_score, folder, objects is None), shown, size)
        for path, truth, shown, folder in zip(detections, truths, pictures, folders, strict=True)
    ]
    options = {
        "method": method and method.value,
        "prior": prior and prior.value,
        "clutter": clutter,
        "iterations": iterations,
        "seed": seed,
    }
    given = {name: value for name, value in options.items() if value is not None}
    if objects is None:
        jobs = _with_rates(jobs, detections, rate, given)
    elif rate is not None:
        raise typer.BadParameter("--rate goes without --objects, whose motion is a frame's")
    elif len({job.image_size for job in jobs}) > 1:
        raise typer.BadParameter("--images are of several sizes: give each file its own command")
    show(run(jobs, {"objects": objects, **given}))


def _one_each(
    name: str, given: Sequence[Path] | None, detections: Sequence[Path]
) -> Sequence[Path | None]:
    """Return the value of an option for each file, in order."""
    if given and len(given) != len(detections):
        found = f"{len(detections)} files of detections, but {name} {len(given)} times"
        raise typer.BadParameter(f"{found}; give one for each, in the same order")
    return given or [None] * len(detections)


def _with_rates(
    jobs: Sequence[Job], detections: Sequence[Path], rate: float | None, given: dict[str, Any]
) -> list[Job]:
    """Return the jobs with their frames a second, as given or of their files."""
    if given:
        words = f"--{next(iter(given))} goes with --objects: give both, or neither"
        raise typer.BadParameter(words)
    rates = [rate or frame_rate(path) for path in detections]
    return [replace(job, rate=one) for job, one in zip(jobs, rates, strict=True)]
