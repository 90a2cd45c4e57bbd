"""``ppl resynth`` and ``ppl generate``: speech, from a shell."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inference.cli.copying import (
    Scores,
    copy_each,
    keep_sums,
    read_recording,
    require_audio,
    to_write,
)
from inference.cli.progress import progress
from inference.cli.speech_jobs import (
    SHOWN,
    Copy,
    check_folder_name,
    copies_of,
    mark,
    read,
    read_channel,
)
from inference.cli.track_jobs import make_folder
from inference.cli.words import LARGEST_SEED, finite
from ppl_models.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from inference.tasks.speech import SpeechModel

Model = Annotated[
    str, typer.Option(metavar="RUN", help="A run's folder, its file, or a name that ships.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Make again what is there.")]
Resample = Annotated[bool, typer.Option("--resample", help="Turn another rate into the model's.")]
Channel = Annotated[
    str | None,
    typer.Option(metavar="mix|0|1", help="Of several channels.", show_default="refuse them"),
]
SkipErrors = Annotated[
    bool, typer.Option("--skip-errors", help="Name files that cannot be used, and go on.")
]
Seed = Annotated[
    int, typer.Option(min=0, max=LARGEST_SEED, help="The same seed gives the same numbers.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this file to ``ppl``."""
    app.command()(resynth)
    app.command()(generate)


def resynth(
    inputs: Annotated[
        list[Path], typer.Argument(metavar="IN.wav|FOLDER...", help="Recordings, or folders.")
    ],
    model: Model,
    out: Annotated[Path, typer.Option(help="A file for one recording; else a folder.")],
    swap: Annotated[
        Path | None,
        typer.Option(metavar="OTHER.wav", help="Tell them with the voice of this recording."),
    ] = None,
    report: Annotated[
        bool, typer.Option("--report", help="Score PESQ and ESTOI too, and the means.")
    ] = False,
    resample: Resample = False,
    channel: Channel = None,
    skip_errors: SkipErrors = False,
    overwrite: Overwrite = False,
) -> None:
    """Encode recordings and decode them, in a closed loop, with their own phases.

    Copies that are there already are kept: a command that was stopped goes on. A recording that
    cannot be used ends it all, unless --skip-errors; what was written is whole.
    """
    one = read_channel(channel)
    if swap is not None and report:
        raise typer.BadParameter("--report scores copies, and --swap makes none: choose one")
    require_audio(report)
    copies = copies_of(inputs, out)
    from inference.tasks.speech import load_speech

    voice = load_speech(model)
    code, settings = _voice_of(swap, voice, resample, one), {"resample": resample, "channel": one}
    made = {"model": mark(voice.path), "swap": swap and mark(swap), **settings}
    todo, folder = to_write(copies, inputs, out, made, overwrite)

    def make(copy: Copy, new: bool) -> Scores:
        if new:
            _resynthesise(copy, voice, code, settings)
        if swap is None and (report or new):
            return _scored(copy, voice, settings, report)
        if new:
            typer.echo(f"{copy.source} -> {copy.target}")
        return {}

    copy_each(copies, todo, folder, skip_errors, make, report)


def generate(
    model: Model,
    out: Annotated[Path, typer.Option(help="Folder of the sounds.")],
    count: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many.")] = 4,
    seconds: Annotated[
        float, typer.Option(min=0.01, max=600, callback=finite, help="Length of each.")
    ] = 3.0,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """Tell speech-like sounds from the prior alone; phases are Griffin-Lim's.

    Sound i depends on the model, the length, the seed and i only.
    """
    require_audio(False)
    from inference.randomness import derive
    from inference.tasks.speech import generate as generate_speech
    from inference.tasks.speech import load_speech
    from ppl_models.data.sound import write_sound

    check_folder_name(out)
    voice = load_speech(model)
    targets = [out / f"generated-{number:03d}.wav" for number in range(count)]
    if there := [target for target in targets if target.exists() and not overwrite]:
        cure = "--overwrite makes it again; or name another folder"
        raise InputError("--out", f"{there[0]}, which is there", "a new folder", cure)
    make_folder(out)
    samples = max(1, round(seconds * voice.stft.rate))
    frames, point = voice.stft.frames(samples), voice.design.scheduled
    with progress(count) as step:
        for number, target in enumerate(targets):
            step(target.name, number)
            one = derive(seed, "sound", number)
            made = generate_speech(voice.model, 1, frames, voice.stft, seed=one, point=point)
            write_sound(target, made.wave[0, :samples], voice.stft.rate)
            typer.echo(f"{target}")
    keep_sums(out, targets)


def _voice_of(swap: Path | None, voice: SpeechModel, resample: bool, channel: Any) -> Tensor | None:
    """Return the global latent w of the recording whose voice is wanted."""
    if swap is None:
        return None
    from inference.tasks.speech import encode_global

    wave = read(swap, voice.stft.rate, resample, channel).wave
    if not wave.any():
        raise InputError(f"--swap {swap}", "silence", "a voice", "give a recording of speech")
    return encode_global(voice.model, voice.guide, wave, voice.stft)


def _resynthesise(
    copy: Copy, voice: SpeechModel, w: Tensor | None, settings: dict[str, Any]
) -> None:
    """Write one copy."""
    from inference.tasks.speech import resynthesise_long
    from ppl_models.data.sound import write_sound

    sound = read_recording(copy.source, voice.stft.rate, **settings)
    wave = resynthesise_long(voice.model, voice.guide, sound.wave, voice.stft, w=w)
    copy.target.parent.mkdir(parents=True, exist_ok=True)
    write_sound(copy.target, wave, voice.stft.rate)


def _scored(copy: Copy, voice: SpeechModel, settings: dict[str, Any], report: bool) -> Scores:
    """Compare a copy, as written, with its recording; print the line, return the scores."""
    from inference.metrics.speech import si_sdr, speech_scores

    rate = voice.stft.rate
    wave, decoded = (
        read(copy.source, rate, **settings).wave,
        read(copy.target, rate, False, None).wave,
    )
    head = f"{copy.source} -> {copy.target}"
    if not wave.any():
        typer.echo(f"{head}  silence")
        return {}
    if not decoded.any():
        typer.echo(f"{head}  silence: the recording is softer than 16 bits can say")
        return {}
    scores = (
        speech_scores(wave, decoded, rate) if report else {"si_sdr": float(si_sdr(wave, decoded))}
    )
    shown = (form.format(scores[name]) for name, form in SHOWN.items() if name in scores)
    typer.echo("  ".join((head, *shown)))
    return scores
