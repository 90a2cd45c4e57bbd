"""What commands of sound read and write: recordings, their copies, and what was done so far."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from inference.cli.track_jobs import make_folder
from inference.cli.words import in_options
from ppl_models.errors import InputError

if TYPE_CHECKING:
    from ppl_models.data.sound import Sound

LOUD = 1e-3
"""Share of samples at full scale from which a recording is called clipped."""
SHOWN = {"si_sdr": "SI-SDR {:.2f} dB", "pesq_wb": "PESQ {:.2f}", "estoi": "ESTOI {:.3f}"}
RECORD = "resynth.json"
_WRITTEN = (".wav", ".flac")
_OTHERS = {f".{s}" for s in "mp3 ogg oga opus m4a mp4 aac wma aif aiff au caf sph wv webm".split()}


@dataclass(frozen=True)
class Copy:
    """A recording, and where what is made of it goes."""

    source: Path
    target: Path


def copies_of(
    inputs: Sequence[Path], out: Path, kinds: Sequence[str] = (".wav",), within: str = ""
) -> list[Copy]:
    """List what is to be made: of files, and of all sounds in folders.

    One file may go to a file (``out`` ends in .wav or .flac); else ``out`` is a folder, in which
    folders are mirrored.

    Parameters
    ----------
    inputs, out
    kinds
        Recordings of these kinds keep their suffix there; others get the first.
    within
        The name of a file: then each recording has a folder of its own, named as it is, and this
        file in it is the target.

    Raises
    ------
    InputError
        A folder without sounds, two recordings of one name, or a copy in its recording's place.
    """
    if within:
        _check_apart(inputs, out)
    if is_single(inputs, out) and not within:
        copies = [Copy(inputs[0], out)]
    else:
        check_folder_name(out)
        copies = [copy for path in inputs for copy in _mirrored(path, out, kinds)]
    if within:
        copies = [Copy(copy.source, copy.target.with_suffix("") / within) for copy in copies]
    sources: dict[Path, Path] = {}
    for copy in copies:
        if copy.source.resolve() == copy.target.resolve():
            found = f"{copy.target}, the recording itself"
            raise InputError("--out", found, "another place", "name another folder")
        if copy.target in sources:
            found = f"both {sources[copy.target]} and {copy.source}"
            cure = "rename one, or give them separate commands with their own --out"
            raise InputError(str(copy.target), found, "one recording a copy", cure)
        sources[copy.target] = copy.source
    return copies


def _check_apart(inputs: Sequence[Path], out: Path) -> None:
    """Refuse folders of answers among the recordings of a folder: they would become recordings."""
    if any(path.is_dir() and path.resolve() == out.resolve() for path in inputs):
        found, cure = f"{out}, the folder of recordings itself", "name a folder in it or beside it"
        raise InputError("--out", found, "another folder", cure)


def check_folder_name(out: Path) -> None:
    """Refuse a folder that is named as a file of sound.

    Raises
    ------
    InputError
        It is.
    """
    suffix = out.suffix.lower()
    if suffix in _WRITTEN:
        raise InputError("--out", f"{out}, a file", "a folder for several", "name a folder")
    if suffix in _OTHERS and not out.is_dir():
        found = f"{out}, a kind of file that is not written"
        expected = f"a file {' or '.join(_WRITTEN)} for one recording, or a folder"
        raise InputError("--out", found, expected, f"--out {out.with_suffix('.wav')}")


def is_single(inputs: Sequence[Path], out: Path) -> bool:
    """Whether one file goes to one file."""
    return len(inputs) == 1 and not inputs[0].is_dir() and out.suffix.lower() in _WRITTEN


def _mirrored(path: Path, out: Path, kinds: Sequence[str]) -> Iterator[Copy]:
    def named(file: Path) -> Path:
        return file if file.suffix.lower() in kinds else file.with_suffix(kinds[0])

    from ppl_models.data.corpora import speech_folder

    if not path.is_dir():
        yield Copy(path, out / named(path).name)
        return
    made, inside = out.resolve(), path.resolve() in out.resolve().parents
    files = [u.file for u in speech_folder(path, validation=0.0, test=0.0).train]
    for file in sorted(files):
        if not (inside and made in file.resolve().parents):
            yield Copy(file, out / named(file.relative_to(path)))


def left_to_do(
    copies: Sequence[Copy],
    out: Path,
    made: dict[str, Any],
    again: bool,
    record_name: str = RECORD,
) -> set[Path]:
    """Return the targets that are to be written, and keep in ``out`` how they are made.

    ``again``: all of them. Else those that are not there; but copies that were made in another
    way, which look like the new ones, are refused.

    Raises
    ------
    InputError
        Such copies.
    """
    there = [copy.target for copy in copies if copy.target.exists()]
    record = out / record_name
    if there and not again and _recorded(record) != made:
        found = f"{len(there)} of the copies, made with another model or other options"
        cure = "--overwrite makes them again; or name another folder"
        raise InputError(str(out), found, "a new folder, or one of the same command", cure)
    if again:
        for target in there:
            target.unlink()
    make_folder(out)
    from ppl_models.data.files import sealed_json, write_whole

    write_whole(record, sealed_json(made))
    return {copy.target for copy in copies} - (set() if again else set(there))


def _recorded(record: Path) -> Any:
    """Return how copies were made; earlier versions wrote it without a checksum."""
    from ppl_models.data.files import read_sealed_json

    try:
        value = json.loads(record.read_text(encoding="utf-8"))
        return read_sealed_json(record) if "checksum" in value else value
    except (OSError, ValueError, TypeError):
        return None


def mark(path: Path) -> str:
    """Return a mark of a file's bytes."""
    return sha256(path.read_bytes()).hexdigest()


def read_channel(text: str | None) -> int | Literal["mix"] | None:
    """Read ``--channel``."""
    if text is None or text == "mix":
        return text  # type: ignore[return-value]
    if not text.isdecimal():
        raise typer.BadParameter(f"--channel takes mix, 0, 1 and so on, saw {text!r}")
    return int(text)


def read(
    path: Path, rate: int | None, resample: bool, channel: int | Literal["mix"] | None
) -> Sound:
    """Read a recording; cures are in options of the command.

    Raises
    ------
    InputError
        As `read_sound`.
    """
    from ppl_models.data.sound import read_sound

    try:
        return read_sound(path, rate, resample=resample, channel=channel)
    except InputError as error:
        name, found, expected, cure = error.args
        cure = in_options(cure).replace("or leave it out", "or leave it out (--skip-errors)")
        raise InputError(name, found, expected, cure) from None


def sum_up(
    total: int,
    kept: int,
    skipped: list[InputError],
    rows: list[dict[str, float]],
    scores: Mapping[str, str] = SHOWN,
) -> None:
    """Print how many recordings were done, and their mean scores.

    Raises
    ------
    InputError
        All were skipped.
    """
    from inference.metrics import mean_scores

    if rows := [row for row in rows if row]:
        means = mean_scores(rows)
        shown = "  ".join(form.format(means[name].mean) for name, form in scores.items())
        typer.echo(f"mean of {len(rows)}: {shown}")
    if total > 1 or kept:
        summary = f"{total - kept - len(skipped)} written"
        summary += f", {kept} already there (--overwrite makes them again)" if kept else ""
        typer.echo(summary + (f", {len(skipped)} skipped" if skipped else ""))
    if len(skipped) == total:
        raise InputError("inputs", f"{total}, all skipped", "one that can be used", "see above")
