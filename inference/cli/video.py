"""``ppl fit-video`` and ``ppl predict-video``: what happens next in videos, from a shell."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from inference.cli.progress import progress
from inference.cli.speech import Overwrite, Seed
from inference.cli.track_jobs import make_folder
from inference.cli.video_jobs import (
    as_painted,
    check_new,
    check_room,
    read_known,
    training_clips,
    write_answers,
)
from ppl_models.errors import unknown

SIDES = tuple(4 * 2**n for n in range(1, 8))


class Sizes(StrEnum):
    """Of the networks."""

    small = "small"
    published = "published"


def register(app: typer.Typer) -> None:
    """Add the commands of this file to ``ppl``."""
    app.command(name="fit-video")(fit_video)
    app.command(name="predict-video")(predict_video)


def fit_video(
    data: Annotated[
        Path, typer.Argument(help="A .npz, .npy, GIF, folder of pictures, or a folder of these.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the run; `predict-video --model` takes it.")],
    story: Annotated[str, typer.Option(help="A model of videos, or of sequences.")] = "SRVP",
    length: Annotated[int, typer.Option(min=2, help="Frames of a clip.")] = 15,
    side: Annotated[int, typer.Option(help="Pixels: 8, 16, 32, 64 and so on.")] = 32,
    stride: Annotated[
        int | None,
        typer.Option(min=1, help="Frames from clip to clip.", show_default="--length"),
    ] = None,
    colour: Annotated[bool, typer.Option("--colour", help="Keep colours.")] = False,
    sizes: Annotated[Sizes, typer.Option(help="Of the networks.")] = Sizes.small,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the data.", show_default="the recipe's")
    ] = None,
    seed: Seed = 0,
    accelerator: Annotated[str, typer.Option(help="cpu, gpu, and others of Lightning.")] = "cpu",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run that stopped.")
    ] = False,
) -> None:
    """Train a model of videos on your own: cut into clips, squares of --side pixels, grey.

    Videos shorter than a clip are named and left out.
    """
    if side not in SIDES:
        raise typer.BadParameter(f"--side takes one of {', '.join(map(str, SIDES))}; saw {side}")
    from inference.tasks.video import STORIES
    from inference.tasks.video import fit_video as fit

    names = {name.lower(): name for name in STORIES}
    if story.lower() not in names:
        raise unknown("--story", story, STORIES)
    clips = training_clips(data, length, side, stride, colour)
    try:
        path = fit(
            clips,
            names[story.lower()],
            out=out,
            sizes=sizes.value,
            epochs=epochs,
            seed=seed,
            resume=resume,
            tell=typer.echo,
            accelerator=accelerator,
        )
    except KeyboardInterrupt:
        if out.is_dir():
            typer.echo("stopped early; the same command with --resume goes on", err=True)
        raise
    typer.echo(f"saved: {path}")


def predict_video(
    clips: Annotated[
        Path, typer.Argument(metavar="CLIPS.npz", help="`frames` (B, T, H, W), uint8.")
    ],
    model: Annotated[
        str, typer.Option(metavar="RUN", help="A run's folder, its file, or srvp, which ships.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the answers.")],
    past: Annotated[int, typer.Option(min=1, help="Frames that are given.")] = 5,
    length: Annotated[int, typer.Option(min=2, help="Frames of a future, those included.")] = 25,
    samples: Annotated[int, typer.Option(min=1, help="Futures of each clip.")] = 100,
    show: Annotated[int, typer.Option(min=0, help="The clip that pictures are of.")] = 0,
    resize: Annotated[
        bool, typer.Option("--resize", help="Make frames of another size the model's.")
    ] = False,
    grey: Annotated[bool, typer.Option("--grey", help="Make colours grey levels.")] = False,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """Draw futures of clips, given their first frames; score them if CLIPS goes on.

    Written are samples.npz (`frames` (samples, B, length, H, W), the first --past reconstructed),
    futures.gif and futures.png of one clip, and scores.json.
    """
    known = read_known(clips, past, length, show)
    from inference.tasks.video import forecast, load_video, score_forecast

    trained = load_video(model)
    given = as_painted(known, trained.design.frame_shape, clips, resize, grey)
    check_room(samples, len(given.frames), length, trained.design.frame_shape)
    check_new(out, overwrite)
    make_folder(out)
    with progress(len(given.frames)) as step:
        step("predicting", 0)
        found = forecast(
            trained.model,
            trained.guide,
            given.frames[:, :past],
            length=length,
            num_samples=samples,
            seed=seed,
            progress=lambda done, total: step("predicting", done),
        )
        step("writing", len(given.frames))
        report = score_forecast(found, given.frames, given.mask)
        record: dict[str, Any] = {
            "clips": str(clips),
            "model": model,
            "story": trained.design.story,
        }
        record |= {"length": length, "seed": seed, "shown": show}
        write_answers(
            out, found, given, show, None if report is None else record | report.as_json()
        )
    if report is None:
        typer.echo(f"no clip goes on after the {past} frames given: nothing to compare with")
    else:
        typer.echo(str(report))
    typer.echo(f"saved: {out}")
