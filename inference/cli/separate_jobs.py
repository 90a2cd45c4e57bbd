"""What ``ppl separate`` reads and writes: mixtures in batches, and a folder of answers for each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import typer

from inference.cli.copying import read_recording
from inference.cli.speech_jobs import Copy, read
from ppl_models.errors import InputError

if TYPE_CHECKING:
    from inference.tasks.separation import Separated
    from ppl_models.data.sound import Sound
    from ppl_models.data.stft import STFT

PICTURE, POSTERIOR = "spectrograms.png", "posterior.nc"
"""Of a recording's answers; the picture is written last: a folder that has it is whole."""
RECORD = "separate.json"
AT_ONCE, SECONDS = 8, 120.0
"""Recordings of a batch, and their length in all; a longer one is a batch of its own."""
MOST_BINS = 20_000_000
"""Sources times frames times bins of a posterior that is written: 5 minutes of two sources."""


class Mixture(NamedTuple):
    """A recording at the rate of the sources, and as its file has it."""

    heard: Sound
    own: Sound


def check_places(copies: Sequence[Copy], names: Sequence[str]) -> None:
    """Look at where sources will be written, before any work.

    Raises
    ------
    InputError
        One of them in the place of a recording.
    """
    recordings = {copy.source.resolve() for copy in copies}
    for copy in copies:
        for path in _places(copy, names):
            if path.resolve() in recordings:
                found = f"{path}, a recording itself, in the place of a source"
                raise InputError("--out", found, "another place", "name another folder")


def batches(copies: Sequence[Copy]) -> Iterator[list[Copy]]:
    """Put recordings together that are separated at once.

    By their place and their headers alone: a command that is taken up again has the same batches,
    and so the same numbers.
    """
    batch: list[Copy] = []
    length = 0.0
    for copy in copies:
        seconds = _seconds(copy.source)
        if batch and (len(batch) == AT_ONCE or length + seconds > SECONDS):
            yield batch
            batch, length = [], 0.0
        batch.append(copy)
        length += seconds
    if batch:
        yield batch


def read_mixture(
    path: Path, rate: int, resample: bool, channel: int | Literal["mix"] | None
) -> Mixture:
    """Read a recording at the rate of the sources; with ``resample``, also at its own.

    Raises
    ------
    InputError
        As `read_sound`.
    """
    heard = read_recording(path, rate, resample, channel)
    return Mixture(heard, read(path, None, False, channel) if resample else heard)


def write_answer(copy: Copy, mixture: Mixture, found: Separated, stft: STFT) -> list[Path]:
    """Write the sources, their posterior and the picture into a folder; return the files.

    The picture, which is ``copy.target``, is written last.

    Raises
    ------
    InputError
        Sources are not finite: nothing is written.
    """
    from inference.tasks.separation import write_parts, write_posterior
    from ppl_models.data.files import write_whole
    from ppl_models.data.resampling import parts_at_own_rate

    folder = copy.target.parent
    paths = _places(copy, found.names)
    if not found.waves.isfinite().all():
        cure = "train the sources longer, or take others"
        raise InputError(str(copy.source), "sources that are not finite", "finite sounds", cure)
    folder.mkdir(parents=True, exist_ok=True)
    _name_others(folder, paths)
    own = mixture.own
    parts = parts_at_own_rate(found.waves.detach().cpu(), stft, own.wave, own.rate)
    kept = write_parts(paths, parts, own.rate, own.subtype)
    if kept == "FLOAT" and own.subtype == "PCM_16":
        why = "a source is louder than 16 bits can say: all are written as floats"
        typer.echo(f"{copy.source}: {why}", err=True)
    posterior = folder / POSTERIOR
    posterior.unlink(missing_ok=True)  # an earlier command's is not of these sources
    if found.mean.numel() <= MOST_BINS:
        write_posterior(posterior, found, stft)
    else:
        why = f"{POSTERIOR} is left out: {found.mean.numel():,} bins, of at most {MOST_BINS:,}"
        typer.echo(f"{copy.source}: {why}; cut the recording to have it", err=True)
    write_whole(copy.target, _picture(found, stft, copy.source.name))
    return [path for path in (*paths, posterior, copy.target) if path.exists()]


def _places(copy: Copy, names: Sequence[str]) -> list[Path]:
    return [copy.target.parent / f"{name}.wav" for name in names]


def _picture(found: Separated, stft: STFT, title: str) -> bytes:
    from io import BytesIO

    from inference.tasks.separation import plot_separation

    picture = BytesIO()
    plot_separation(found, stft, title=title).savefig(picture, format="png", dpi=110)
    return picture.getvalue()


def _name_others(folder: Path, paths: Sequence[Path]) -> None:
    """Name sounds in a folder of answers that are not of this separation."""
    if others := sorted(file.name for file in folder.glob("*.wav") if file not in paths):
        words = f"also there: {', '.join(others)}, not of this separation"
        typer.echo(f"{folder}: {words}", err=True)


def _seconds(path: Path) -> float:
    """Return the length of a recording by its header; 0 of one that cannot be read."""
    import soundfile

    try:
        about = soundfile.info(path)
    except (OSError, RuntimeError):
        return 0.0
    return float(about.frames / about.samplerate)
