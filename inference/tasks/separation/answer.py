"""A separation on disk: the sources as sounds that add up, and their posterior as netCDF."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from ppl_models.data.files import write_whole
from ppl_models.data.sound import write_sound
from ppl_models.data.stft import STFT
from ppl_models.errors import InputError

if TYPE_CHECKING:
    from xarray import Dataset

FEW_BITS = ("PCM_16", "PCM_S8", "PCM_U8", "ULAW", "ALAW")
"""Kinds of samples that 16 bits hold; sources of others are written as floats."""
STEPS = 2**15
"""Of 16 bits, to full scale."""


class Separated(Protocol):
    """What is written and drawn of a separation."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the N sources."""

    @property
    def waves(self) -> Tensor:
        """(N, samples), which add up to the recording."""

    @property
    def mean(self) -> Tensor:
        """(N, T, F) complex, of the posterior of the sources' spectra."""

    @property
    def variance(self) -> Tensor:
        """(N, T, F), of the same: E|s - mean|^2."""

    @property
    def responsibilities(self) -> Tensor:
        """(N, T, F): whose a bin is, or each source's share of its power."""

    @property
    def bound(self) -> Tensor:
        """Nats, with its standard error; an objective that is no bound, if that is NaN."""

    @property
    def bound_error(self) -> Tensor:
        """Of the bound."""

    @property
    def objective(self) -> Tensor:
        """(iterations,), what the inference climbed."""


def to_dataset(found: Separated, stft: STFT) -> Dataset:
    """Return the posterior of the sources' spectra, with seconds and hertz, as xarray holds it.

    ``mean_re``, ``mean_im``, ``sd`` (of the complex number: the root of E|s - mean|^2),
    ``responsibility``, each (source, time, frequency), float32; ``objective`` (iteration); in its
    attributes the bound, its standard error, and how spectra were taken.

    Raises
    ------
    InputError
        The frames or bins are not those of the STFT.
    """
    from xarray import Dataset

    places = ("source", "time", "frequency")
    sources, frames, bins = found.mean.shape
    if (frames, bins) != (stft.frames(found.waves.shape[-1]), stft.bins):
        shape = f"{frames} frames of {bins} bins"
        expected = f"{stft.frames(found.waves.shape[-1])} of {stft.bins}"
        raise InputError("stft", shape, expected, "give the STFT of the sources")
    variables = {
        "mean_re": (places, _array(found.mean.real), {"long_name": "posterior mean, real part"}),
        "mean_im": (places, _array(found.mean.imag), {"long_name": "posterior mean, imaginary"}),
        "sd": (places, _array(found.variance.sqrt()), {"long_name": "root of E|s - mean|^2"}),
        "responsibility": (places, _array(found.responsibilities)),
        "objective": (("iteration",), found.objective.detach().cpu().reshape(-1).double().numpy()),
    }
    seconds = torch.arange(frames).double() * stft.hop / stft.rate
    hertz = torch.arange(bins).double() * stft.rate / stft.window
    coords = {
        "source": list(found.names),
        "time": ("time", seconds.numpy(), {"units": "s", "long_name": "centre of the frame"}),
        "frequency": ("frequency", hertz.numpy(), {"units": "Hz"}),
    }
    assert sources == len(found.names)
    return Dataset(variables, coords, attrs=_facts(found, stft))


def write_posterior(path: str | os.PathLike[str], found: Separated, stft: STFT) -> None:
    """Write `to_dataset` as netCDF, compressed: whole, or not at all."""
    data = to_dataset(found, stft)
    how = {str(name): {"zlib": True, "complevel": 1} for name, v in data.items() if v.ndim == 3}
    with tempfile.TemporaryDirectory() as scratch:  # netCDF is not written to memory
        file = Path(scratch) / "posterior.nc"
        data.to_netcdf(file, engine="h5netcdf", encoding=how)
        write_whole(path, file.read_bytes())


def write_parts(paths: Sequence[Path], parts: Tensor, rate: int, subtype: str = "FLOAT") -> str:
    """Write the parts of a recording as WAV, so that what is written adds up to it.

    Of a recording of 16 bits or fewer, 16 bits: each sample is the difference of rounded running
    sums over the parts, so that it is rounded by at most one step, and the sum of all parts is the
    recording, to the last bit. Where a part is louder than 16 bits can say, and of recordings of
    other kinds, all are floats of 32 bits, whose sum is the recording to their rounding.

    Parameters
    ----------
    paths
        A file ``*.wav`` each.
    parts
        (N, samples), which add up to the recording.
    rate
        Samples a second.
    subtype
        How the recording's file holds a sample (`Sound`).

    Returns
    -------
    str
        The subtype that was written, ``"PCM_16"`` or ``"FLOAT"``.
    """
    whole = _rounded(parts) if subtype in FEW_BITS else None
    if whole is None:
        for path, part in zip(paths, parts, strict=True):
            write_sound(path, part.float(), rate, subtype="FLOAT")
        return "FLOAT"
    for path, row in zip(paths, whole, strict=True):
        write_sound(path, row, rate)
    return "PCM_16"


def _rounded(parts: Tensor) -> Tensor | None:
    """Return parts as samples of 16 bits that add up, or None where these are too few."""
    sums = (parts.double() * STEPS).cumsum(0).round()
    steps = torch.cat([sums[:1], sums.diff(dim=0)])
    fits = bool((steps >= -STEPS).all() and (steps < STEPS).all())
    return steps.to(torch.int16) if fits else None


def _array(values: Tensor) -> Any:
    return values.detach().cpu().float().numpy()


def _facts(found: Separated, stft: STFT) -> dict[str, Any]:
    error = float(found.bound_error)
    kind = "objective, which is no bound" if math.isnan(error) else "evidence lower bound"
    return {
        "bound": float(found.bound),
        "bound_error": error,
        "bound_is": kind,
        "rate": stft.rate,
        "window_ms": stft.window_ms,
        "hop_ms": stft.hop_ms,
        "window": "sine",
    }
