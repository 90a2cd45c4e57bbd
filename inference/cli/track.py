"""``ppl track`` and ``ppl demo``: follow objects through detections, from a shell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from enum import StrEnum
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
    keep_sums,
    make_folder,
    parse_size,
    parse_window,
    present_throughout,
    read_job,
)
from inference.cli.words import LARGEST_SEED, finite

if TYPE_CHECKING:
    from inference.metrics.tracking import Score
    from inference.tasks.tracking import Tracks

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
    objects: Annotated[int, typer.Option(min=1, max=10_000, help="How many objects to follow.")],
    out: Annotated[Path, typer.Option(help="Folder of the answers: one folder a file in it.")],
    image_size: ImageSize = None,
    gt: GroundTruth = None,
    method: Annotated[Method, typer.Option(help="Ascent, or random gradients.")] = Method.vem,
    prior: Annotated[Prior, typer.Option(help="Of how objects move.")] = Prior.srnn,
    frames: Frames = None,
    clutter: Annotated[bool, typer.Option(help="Detections may be of nothing.")] = True,
    min_score: LeastScore = None,
    iterations: Annotated[int, typer.Option(min=1, help="Of coordinate ascent.")] = 10,
    seed: Annotated[
        int, typer.Option(min=0, max=LARGEST_SEED, help="The same seed gives the same numbers.")
    ] = 0,
) -> None:
    """Follow objects, present in every frame, through detections; many files share one batch.

    Writes tracks.txt, posterior.nc and tracks.png, and with --gt also metrics.json, to a folder
    named after each file, in the folder given by --out.
    """
    size, window = parse_size(image_size), parse_window(frames)
    folders = folders_of(detections, out)
    if gt and len(gt) != len(detections):
        found = f"{len(detections)} files of detections, but --gt {len(gt)} times"
        raise typer.BadParameter(f"{found}; give one for each, in the same order")
    truths: Sequence[Path | None] = gt or [None] * len(detections)
    jobs = [
        read_job(path, truth, window, min_score, folder)
        for path, truth, folder in zip(detections, truths, folders, strict=True)
    ]
    settings = {
        "objects": objects,
        "image_size": size,
        "method": method.value,
        "prior": prior.value,
        "clutter": clutter,
        "iterations": iterations,
        "seed": seed,
    }
    _follow(jobs, settings)


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


def _answers(jobs: Sequence[Job], settings: dict[str, Any]) -> Iterator[Tracks]:
    """Follow all jobs in one batch, then yield the answers to be written, with a bar meanwhile."""
    with progress() as step:
        step("loading")
        from inference.tasks.tracking import track as follow

        step("following")
        found = follow(
            [job.detections for job in jobs], frames=[job.frames for job in jobs], **settings
        )
        for done, tracks in enumerate(found):
            step("writing", done, len(jobs))
            yield tracks


def _write(job: Job, tracks: Tracks) -> tuple[str, Score | None]:
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
    head = f"{job.detections.name}: {len(tracks.boxes)} objects, frames {first} to {last}"
    return f"{head} -> {job.folder}/ ({names})", result


def _show(scores: Sequence[tuple[str, Score]]) -> None:
    from inference.metrics.tracking import table, total

    rows = list(scores)
    if len(rows) > 1:
        rows.append(("all", total([score for _, score in scores])))
    typer.echo(table(rows))
