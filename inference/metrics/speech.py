"""How well a sound was rebuilt, separated or enhanced: RMSE, SI-SDR, PESQ, ESTOI.

>>> speech_scores(clean, enhanced, rate=16000)
{'rmse': 0.021, 'si_sdr': 12.4, 'pesq_wb': 2.1, 'pesq_nb': 2.7, 'pesq_raw': 2.9, 'estoi': 0.88}

=========  =============================================================  =============  =======
metric     what it measures                                               range          perfect
=========  =============================================================  =============  =======
rmse       root mean square error, the estimate scaled to fit best        >= 0           0
si_sdr     signal to distortion, the reference scaled to fit best, dB     any            inf
pesq_wb    perceived quality, wide band (P.862.2), mean opinion score     1.04 to 4.64   4.64
pesq_nb    the same of the telephone's band (P.862.1)                     1.02 to 4.55   4.55
pesq_raw   P.862's own number before P.862.1, as in most published tables -0.5 to 4.5    4.5
estoi      extended short-time objective intelligibility                  about 0 to 1   1
=========  =============================================================  =============  =======

None changes with the level of the estimate. A score is NaN where it is not defined: the reference
or the estimate is silent; PESQ, of less than 1/4 s, or where it finds no speech in the reference;
ESTOI, where less than 30 frames (0.4 s) of the reference are within 40 dB of its loudest one.

Sources: J. Le Roux et al., "SDR: half-baked or well done?", ICASSP 2019, arXiv:1811.02508 (no mean
is subtracted here); ITU-T P.862, by way of the package ``pesq``; J. Jensen and C. H. Taal, "An
algorithm for predicting the intelligibility of speech masked by modulated noise maskers", 2016, by
way of ``pystoi``. Both packages are in the extra ``[audio]``.
"""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ppl_models.errors import InputError

FloatArray = NDArray[np.float64]

SHORTEST_ESTOI = (256 + 29 * 128) / 10000
"""30 frames of 256 samples, each 128 after the last, at ESTOI's own 10 kHz: seconds."""


class Mean(NamedTuple):
    """A mean over utterances, its standard error, and over how many utterances it is."""

    mean: float
    error: float
    utterances: int


def rmse(reference: Tensor, estimate: Tensor) -> Tensor:
    """Return the root mean square of alpha estimate - reference, (...), of sounds (..., N).

    alpha = <estimate, reference> / <estimate, estimate>, which makes it least. In the units of the
    reference.

    Raises
    ------
    InputError
        Two shapes, no samples, or numbers that are not finite.
    """
    reference, estimate = _check(reference, estimate)
    level, reference, estimate = _level(reference), _scaled(reference), _scaled(estimate)
    scale = (estimate * reference).sum(-1) / estimate.square().sum(-1)
    error = level[..., 0] * (scale[..., None] * estimate - reference).square().mean(-1).sqrt()
    return error.masked_fill(_silent(reference, estimate), math.nan)


def si_sdr(reference: Tensor, estimate: Tensor) -> Tensor:
    """Return the scale-invariant signal-to-distortion ratio (...), dB, of sounds (..., N).

    10 log10 of |alpha reference|^2 / |estimate - alpha reference|^2, with
    alpha = <estimate, reference> / <reference, reference>.

    Raises
    ------
    InputError
        Two shapes, no samples, or numbers that are not finite.
    """
    reference, estimate = _check(reference, estimate)
    reference, estimate = _scaled(reference), _scaled(estimate)
    scale = (estimate * reference).sum(-1) / reference.square().sum(-1)
    target = scale[..., None] * reference
    ratio = target.square().sum(-1) / (estimate - target).square().sum(-1)
    return (10 * ratio.log10()).masked_fill(_silent(reference, estimate), math.nan)


def pesq_wb(reference: Tensor, estimate: Tensor, rate: int = 16000) -> Tensor:
    """Return wide-band PESQ (...) of sounds (..., N) at 16 kHz: 1.04 to 4.64.

    Raises
    ------
    InputError
        Another rate; or two shapes, no samples, numbers that are not finite, no package pesq.
    """
    return _pesq(reference, estimate, rate, "wb", (16000,))


def pesq_nb(reference: Tensor, estimate: Tensor, rate: int = 16000) -> Tensor:
    """Return narrow-band PESQ (...) of sounds (..., N) at 8 or 16 kHz: 1.02 to 4.55.

    Raises
    ------
    InputError
        Another rate; or two shapes, no samples, numbers that are not finite, no package pesq.
    """
    return _pesq(reference, estimate, rate, "nb", (8000, 16000))


def pesq_raw(narrow_band: Tensor) -> Tensor:
    """Return P.862's own score of narrow-band PESQ: the logistic of P.862.1, undone.

    P.862.1 maps x to 0.999 + 4 / (1 + exp(4.6607 - 1.4945 x)).
    """
    return (4.6607 - (4 / (narrow_band - 0.999) - 1).log()) / 1.4945


def estoi(reference: Tensor, estimate: Tensor, rate: int = 16000) -> Tensor:
    """Return the extended short-time objective intelligibility (...) of sounds (..., N).

    Raises
    ------
    InputError
        Two shapes, no samples, numbers that are not finite, or no package pystoi.
    """
    pystoi = _require("pystoi")

    def score(x: FloatArray, y: FloatArray) -> float:
        if len(x) < rate * SHORTEST_ESTOI:
            return math.nan
        with warnings.catch_warnings(), _numpy_seeded():  # it adds noise of 1e-16 to its spectra
            warnings.filterwarnings("error", "Not enough STFT frames", RuntimeWarning)
            try:
                return float(pystoi.stoi(x, y, rate, extended=True))
            except RuntimeWarning:
                return math.nan

    return _each(reference, estimate, score)


def speech_scores(reference: Tensor, estimate: Tensor, rate: int = 16000) -> dict[str, float]:
    """Return every score of one sound (N,); a PESQ that has no such rate is NaN.

    Raises
    ------
    InputError
        Not one sound each, of the same length; no samples; numbers that are not finite; or one of
        the packages is missing.
    """
    if reference.ndim != 1:
        shape = str(tuple(reference.shape))
        raise InputError("reference", shape, "one sound (N,)", "score sounds one by one")
    absent = torch.tensor(math.nan)
    wide = pesq_wb(reference, estimate, rate) if rate == 16000 else absent
    narrow = pesq_nb(reference, estimate, rate) if rate in (8000, 16000) else absent
    return {
        "rmse": float(rmse(reference, estimate)),
        "si_sdr": float(si_sdr(reference, estimate)),
        "pesq_wb": float(wide),
        "pesq_nb": float(narrow),
        "pesq_raw": float(pesq_raw(narrow)),
        "estoi": float(estoi(reference, estimate, rate)),
    }


def mean_scores(scores: Sequence[dict[str, float]]) -> dict[str, Mean]:
    """Return the mean of each score over those utterances for which it is not NaN.

    Raises
    ------
    InputError
        There is no utterance.
    """
    if not scores:
        raise InputError("scores", "none", "one utterance or more", "score an utterance first")
    means = {}
    for name in scores[0]:
        values = torch.tensor([one[name] for one in scores], dtype=torch.float64)
        values = values[~values.isnan()]
        count = len(values)
        error = float(values.std() / math.sqrt(count)) if count > 1 else math.nan
        means[name] = Mean(float(values.mean()), error, count)
    return means


def _pesq(
    reference: Tensor, estimate: Tensor, rate: int, mode: str, rates: tuple[int, ...]
) -> Tensor:
    package = _require("pesq")
    if rate not in rates:
        expected = " or ".join(f"{one} Hz" for one in rates)
        raise InputError("rate", f"{rate} Hz", expected, "resample both sounds")

    def score(x: FloatArray, y: FloatArray) -> float:
        x, y = x / np.abs(x).max(), y / np.abs(y).max()  # it takes what is very soft for silence
        try:
            return float(package.pesq(rate, x, y, mode))
        except (package.NoUtterancesError, package.BufferTooShortError):
            return math.nan

    return _each(reference, estimate, score)


def _each(
    reference: Tensor, estimate: Tensor, score: Callable[[FloatArray, FloatArray], float]
) -> Tensor:
    """Score sounds one by one, and silence as NaN."""
    reference, estimate = _check(reference, estimate)
    shape, silent = reference.shape[:-1], _silent(reference, estimate).reshape(-1).tolist()
    rows = [x.reshape(-1, x.shape[-1]).cpu().numpy() for x in (reference, estimate)]
    pairs = zip(silent, *rows, strict=True)
    return torch.tensor([math.nan if s else score(x, y) for s, x, y in pairs]).reshape(shape)


def _check(reference: Tensor, estimate: Tensor) -> tuple[Tensor, Tensor]:
    """Return both in double precision."""
    shapes = tuple(reference.shape), tuple(estimate.shape)
    if shapes[0] != shapes[1] or not reference.numel() or not reference.ndim:
        found = f"shapes {shapes[0]} and {shapes[1]}"
        raise InputError("estimate", found, "two equal shapes (..., N)", "cut both to one length")
    for name, wave in (("reference", reference), ("estimate", estimate)):
        if not wave.isfinite().all():
            found = f"{int((~wave.isfinite()).sum())} samples that are not finite"
            raise InputError(name, found, "finite samples", "mend what made them")
    return reference.detach().double(), estimate.detach().double()


def _level(wave: Tensor) -> Tensor:
    """Return the largest modulus of each sound (..., 1), 1 for silence."""
    level = wave.abs().amax(-1, keepdim=True)
    return torch.where(level > 0, level, torch.ones_like(level))


def _scaled(wave: Tensor) -> Tensor:
    """Bring sounds to a largest modulus of 1, so that squares of soft ones are not 0."""
    return wave / _level(wave)


def _silent(reference: Tensor, estimate: Tensor) -> Tensor:
    return (reference == 0).all(-1) | (estimate == 0).all(-1)


def _require(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        expected, cure = "the extra [audio]", "pip install 'ppl-models[audio]'"
        raise InputError("metrics of speech", f"no {name} here ({error})", expected, cure) from None


@contextmanager
def _numpy_seeded() -> Iterator[None]:
    """Give NumPy's global generator seed 0 within the block, and its own state after it."""
    state = np.random.get_state()  # noqa: NPY002 pystoi draws from it
    np.random.seed(0)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002
