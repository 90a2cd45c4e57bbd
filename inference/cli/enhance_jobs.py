"""What ``ppl enhance`` reads and writes: noise runs, enhanced recordings, their scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from inference.cli.copying import Scores, named
from inference.cli.speech_jobs import SHOWN as SHORT
from inference.cli.speech_jobs import Copy, is_single
from ppl_models.data.corpora import SOUNDS
from ppl_models.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from ppl_models.data.sound import Sound
    from ppl_models.data.stft import STFT

BEFORE = "noisy: "
SHOWN = {
    **SHORT,
    "rmse": "RMSE {:.4f}",
    **{f"{BEFORE}{name}": f"{BEFORE * (name == 'si_sdr')}{form}" for name, form in SHORT.items()},
}
"""Scores of what was written, and of the recording before, in the order in which they are shown."""


def noise_run(out: Path) -> Path:
    """Return where a run of --train-noise is kept if --model does not say: beside ``out``."""
    return out.with_name(f"{out.stem or 'enhanced'}-noise")


def train_noise_in(
    folder: Path, run: Path, seed: int, reading: Mapping[str, Any], skip_errors: bool
) -> None:
    """Learn noise from recordings, or go on with a run that stopped, and print what is done.

    Raises
    ------
    InputError
        The folder cannot be learned from.
    """
    from inference.tasks.enhancement import train_noise

    resume = run.is_dir() and any(run.iterdir())
    try:
        path = train_noise(
            folder,
            run,
            seed=seed,
            resume=resume,
            on_error="skip" if skip_errors else "raise",
            tell=lambda line: typer.echo(line, err=line.startswith("skipped")),
            **reading,
        )
    except KeyboardInterrupt:
        typer.echo("stopped while learning the noise; the same command goes on", err=True)
        raise
    typer.echo(f"saved: {path}; --model {run} takes it next time")


def find_references(
    copies: Sequence[Copy], inputs: Sequence[Path], out: Path, report: Path | None
) -> dict[Copy, Path]:
    """Return the clean recording of each noisy one: the same name, of any kind of sound.

    Raises
    ------
    InputError
        There is none for one of them.
    """
    if report is None:
        return {}
    if is_single(inputs, out) and report.is_file():
        return {copies[0]: report}
    if not report.is_dir():
        cure = "give a folder of clean recordings, or, for one recording, its clean one"
        raise InputError("--report", f"{report}, no such folder", "clean recordings", cure)
    if is_single(inputs, out):
        return {copies[0]: _reference(report, Path(inputs[0].name))}
    return {copy: _reference(report, copy.target.relative_to(out)) for copy in copies}


def write_enhanced(
    copy: Copy,
    wave: Tensor,
    own: Sound,
    stft: STFT,
    model: str | None,
    how: Mapping[str, Any],
) -> None:
    """Enhance a recording ``wave`` (N,) at the model's rate, and write it at its ``own``."""
    import torch

    from inference.tasks.enhancement import enhance
    from inference.tasks.separation import FEW_BITS
    from ppl_models.data.resampling import parts_at_own_rate
    from ppl_models.data.sound import write_sound

    speech = torch.zeros_like(wave)
    if wave.any():
        with named([copy.source]):
            speech = enhance(wave, model=model, **how).wave.detach().cpu()
    parts = torch.stack([speech, wave - speech])
    enhanced = parts_at_own_rate(parts, stft, own.wave, own.rate)[0]
    few = own.subtype in FEW_BITS or copy.target.suffix.lower() != ".wav"
    copy.target.parent.mkdir(parents=True, exist_ok=True)
    kept = write_sound(copy.target, enhanced, own.rate, subtype="PCM_16" if few else "FLOAT")
    if kept < 1:
        typer.echo(f"{copy.target}: made softer, by {kept:.3f}, to fit into 16 bits", err=True)


def score_line(
    copy: Copy, reference: Path, rate: int, channel: int | Literal["mix"] | None
) -> Scores:
    """Compare what was written, and the recording, with clean speech; print and return scores.

    Raises
    ------
    InputError
        The clean recording cannot be read, or is not as long.
    """
    from inference.metrics import speech_scores
    from ppl_models.data.sound import read_sound

    def heard(path: Path, one: int | Literal["mix"] | None) -> Tensor:
        return read_sound(path, rate, resample=True, channel=one).wave

    noisy, enhanced = heard(copy.source, channel), heard(copy.target, None)
    clean = heard(reference, None)
    if len(clean) != len(noisy):
        found = f"{len(clean)} samples at {rate} Hz, for {len(noisy)} of {copy.source}"
        raise InputError(
            str(reference), found, "as many", "give the clean speech of this recording"
        )
    if not clean.any() or not enhanced.any():
        typer.echo(f"{copy.source} -> {copy.target}  silence, which has no scores")
        return {}
    before = speech_scores(clean, noisy, rate)
    scores = speech_scores(clean, enhanced, rate) | {BEFORE + n: v for n, v in before.items()}
    shown = (form.format(scores[name]) for name, form in SHOWN.items())
    typer.echo("  ".join((f"{copy.source} -> {copy.target}", *shown)))
    return scores


def _reference(report: Path, name: Path) -> Path:
    """Return the file of this name, whatever its suffix, in the folder of clean recordings."""
    wanted = report / name.parent / name.stem
    for suffix in (name.suffix, *SOUNDS):
        if (file := wanted.with_name(wanted.name + suffix)).is_file():
            return file
    kinds = ", ".join(SOUNDS)
    cure = "give a folder with the clean speech of each recording, or leave --report out"
    raise InputError("--report", f"no {wanted} ({kinds})", "a clean recording for each", cure)
