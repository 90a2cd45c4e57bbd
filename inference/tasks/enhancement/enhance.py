r"""Speech out of noise, by what is known of the noise.

======  ===============================================================  ====================
method  noise                                                            learned from
======  ===============================================================  ====================
nmf     smooth spectra and a hum (`inference.tasks.enhancement.NMFNoise`)  the recording
una     a network (`ppl_models.audio.NeuralNoise`)                       the recording
und     the same                                                         noisy recordings
unda    the same                                                         both
======  ===============================================================  ====================

None has heard a recording with and without its noise. A long recording is cut into pieces of 10 s,
eight of which share what is learned of their noise.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from inference.randomness import derive
from inference.tasks.enhancement.files import NOISE, SPEECH, NoiseModel, fresh, load_noise
from inference.tasks.enhancement.neural_noise import Adaptation, infer_noisy
from inference.tasks.enhancement.nmf_noise import NMFNoise, infer_speech
from inference.tasks.separation import AT_ONCE, Posterior, lay, level, samples, starts
from inference.tasks.speech import check_wave, load_speech
from ppl_models.audio import as_source_pair
from ppl_models.data.speech import padded
from ppl_models.data.stft import STFT
from ppl_models.errors import InputError, unknown
from ppl_models.likelihoods import to_bins, to_complex

Method = Literal["nmf", "und", "una", "unda"]
METHODS = ("nmf", "und", "una", "unda")


class Enhanced(NamedTuple):
    """Speech, and the rest of a recording."""

    wave: Tensor
    """(samples,)"""
    noise: Tensor
    """(samples,): what was taken out."""
    bound: Tensor
    """Nats of the recording brought to a largest modulus of 1, summed over pieces."""
    bound_error: Tensor
    """Standard error, from draws; NaN where the bound is an objective, and bounds nothing."""
    objective: Tensor
    """(iterations,): what was climbed, summed over pieces."""
    rate: int

    @property
    def iterations(self) -> int:
        """Of the ascent; 0 of ``und``, and of silence."""
        return self.objective.numel()


class EnhancementSettings(NamedTuple):
    """How recordings are enhanced.

    Parameters
    ----------
    nmf : NMFNoise
        The noise of ``nmf``.
    una, unda : Adaptation
        How networks are adapted to a recording.
    kind : {"LV", "NO", "NOLV"}
        The noise network of ``una``.
    speech : str or path
        The source of ``nmf`` and ``una``.
    resolution : int
        Bins over which the spectra of that network are smooth; 1 is the paper's.
    """

    nmf: NMFNoise = NMFNoise()
    una: Adaptation = Adaptation(iterations=100)
    unda: Adaptation = Adaptation(iterations=30)
    kind: str = "LV"
    speech: str | os.PathLike[str] = SPEECH
    resolution: int = 65


@torch.no_grad()
def enhance(
    wave: Tensor,
    *,
    method: Method = "nmf",
    model: str | os.PathLike[str] | None = None,
    seed: int = 0,
    settings: EnhancementSettings | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Enhanced:
    """Enhance one recording (samples,) of speech, at the model's rate.

    Parameters
    ----------
    wave : Tensor
        One channel. Silence stays silence.
    method : {"nmf", "und", "una", "unda"}
    model : str or path, optional
        Of noisy speech (`train_noise`), for ``und`` and ``unda``; by default the one that ships.
    seed : int
    settings : EnhancementSettings, optional
    progress : callable, optional
        Called with batches of pieces done, and how many there are.

    Raises
    ------
    InputError
        No sound, no such method, or a ``model`` that the method makes no use of.
    CheckpointError
        A file is damaged.
    NonFiniteError
        The ascent left finite numbers: what made them is named.
    """
    settings = settings or EnhancementSettings()
    stft, infer = _method(method, model, seed, settings)
    check_wave(wave)
    loud, length = level(wave), samples(stft)[0]
    speech, places = torch.zeros_like(wave.float()), list(starts(len(wave), stft))
    values = [torch.zeros(()), torch.zeros(()), torch.zeros(())]
    for first in range(0, len(places) if wave.any() else 0, AT_ONCE):
        some = places[first : first + AT_ONCE]
        pieces = [wave[at : at + length].float() / loud for at in some]
        sounds, found = _enhance_batch(pieces, stft, infer, [derive(seed, at) for at in some])
        for at, sound in zip(some, sounds, strict=True):
            lay(speech, at, loud * sound, stft)
        error = found.bound_error.square().sum()
        now = (found.bound.sum(), error, found.objective.sum(-1))
        values = [a + b for a, b in zip(values, now, strict=True)]
        if progress is not None:
            progress(first // AT_ONCE + 1, -(-len(places) // AT_ONCE))
    bound, square, objective = values
    objective = objective if wave.any() else objective.new_zeros(0)
    return Enhanced(speech, wave - speech, bound, square.sqrt(), objective, stft.rate)


Infer = Callable[[Tensor, Tensor, Sequence[int]], Posterior]


def _method(
    method: str, model: Any, seed: int, settings: EnhancementSettings
) -> tuple[STFT, Infer]:
    """Return the STFT, and what infers speech (the first source) of pieces."""
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    if model is not None and method in ("nmf", "una"):
        cure = "leave it out, or method='unda'"
        raise InputError("model", f"{model}, for {method!r}", "None: it learns anew", cure)
    if method == "nmf":
        stft, pair = _speech(os.fspath(settings.speech), _stamp(settings.speech))

        def by_nmf(o: Tensor, mask: Tensor, seeds: Sequence[int]) -> Posterior:
            return infer_speech(pair, o, mask, settings.nmf, seeds=seeds)

        return stft, by_nmf
    how = {"und": Adaptation(iterations=0), "una": settings.una, "unda": settings.unda}[method]
    if method == "una":
        found = fresh(settings.speech, settings.kind, settings.resolution, seed)
    else:
        found = _noisy(*_named(model))

    def by_network(o: Tensor, mask: Tensor, seeds: Sequence[int]) -> Posterior:
        if method == "una":
            found.model.noise.start_from(o, mask)
        return infer_noisy(found.model, found.guide, o, mask, how, seeds=seeds)

    return found.stft, by_network


def stft_and_files(
    method: Method = "nmf", model: str | os.PathLike[str] | None = None
) -> tuple[STFT, list[Path]]:
    """Return the STFT of a method, and the files that it reads.

    Raises
    ------
    InputError, CheckpointError
        As `enhance`.
    """
    settings = EnhancementSettings()
    stft, _ = _method(method, model, 0, settings)
    if method in ("nmf", "una"):
        return stft, [load_speech(settings.speech).path]
    return stft, [_noisy(*_named(model)).path]


def _enhance_batch(
    waves: Sequence[Tensor], stft: STFT, infer: Infer, seeds: Sequence[int]
) -> tuple[list[Tensor], Posterior]:
    rows, mask = padded([to_bins(stft.analyse(wave)) for wave in waves])
    o = torch.where(mask[..., None], rows, 0.0)
    with torch.enable_grad():
        found = infer(o, mask, seeds)
    means = to_complex(found.mean[:, 0])
    sounds = [
        stft.invert(mean[: stft.frames(len(wave))], length=len(wave))
        for mean, wave in zip(means, waves, strict=True)
    ]
    return sounds, found


def _named(model: str | os.PathLike[str] | None) -> tuple[str, float]:
    path = os.fspath(NOISE if model is None else model)
    return path, _stamp(path)


def _stamp(path: str | os.PathLike[str]) -> float:
    """Return when a file, or what is in a folder, was last written: models are kept by it."""
    file = Path(path)
    files = [*file.iterdir()] if file.is_dir() else [file]
    return max((f.stat().st_mtime for f in files if f.exists()), default=0.0)


@lru_cache(maxsize=4)
def _speech(name: str, stamp: float) -> tuple[STFT, tuple[Any, Any]]:
    found = load_speech(name, argument="speech")
    pair = as_source_pair(found.model, found.guide)
    for module in pair:
        module.requires_grad_(False)
    return found.stft, pair


@lru_cache(maxsize=4)
def _noisy(path: str, stamp: float) -> NoiseModel:
    return load_noise(path)
