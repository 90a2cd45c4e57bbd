"""Scores of separated sounds, each against its source, and what they cost."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from inference.metrics import pesq_wb, rmse, si_sdr
from ppl_models.data import STFT, Mix

SOURCES = ("speech", "flute")
LEVELS = (0.5, 0.8, 0.95)
"""Of the regions of q(s) whose share of true bins is counted."""


class Estimates(NamedTuple):
    """What a row makes of M mixtures."""

    waves: Tensor
    """(M, 2, samples)."""
    bound: Tensor | None = None
    """(M,) nats, where the row has an evidence lower bound."""
    objective: Tensor | None = None
    """(M,) what it climbs instead, where that is no bound."""
    mean: Tensor | None = None
    """(M, 2, T, F) complex: E[s | o], where it has a posterior of bins."""
    variance: Tensor | None = None
    """(M, 2, T, F): E|s - mean|^2."""


Row = Callable[[Mix], Estimates]


def blind(separate: Callable[[Tensor], Estimates]) -> Row:
    """Return the row of a method that sees the mixtures (M, samples) and nothing else."""
    return lambda mixed: separate(mixed.mixture)


def judged(row: Row, mixed: Mix, perceptual: bool = True) -> dict[str, Any]:
    """Run a row; return lists of M scores, and seconds of process time and of sound."""
    began = time.process_time()
    found = row(mixed)
    seconds = time.process_time() - began
    scores: dict[str, Any] = {
        "seconds": seconds,
        "sound": mixed.mixture.numel() / 16000,
        "bound": _listed(found.bound),
        "objective": _listed(found.objective),
    }
    truth = STFT().analyse(mixed.parts)
    for n, source in enumerate(SOURCES):
        pair = mixed.parts[:, n].contiguous(), found.waves[:, n].contiguous()
        scores[source] = {"si_sdr": si_sdr(*pair).tolist(), "rmse": rmse(*pair).tolist()}
        if perceptual:
            scores[source]["pesq"] = pesq_wb(*pair).tolist()
        if found.mean is not None and found.variance is not None:
            posterior = found.mean[:, n], found.variance[:, n]
            scores[source]["regions"] = regions(*posterior, truth[:, n])
    return scores


def regions(mean: Tensor, variance: Tensor, truth: Tensor) -> list[float]:
    """Return the share of true bins in the disc of each of `LEVELS` about their means.

    A circular complex Gaussian of variance v has 1 - exp(-r^2 / v) of its mass within r.
    """
    mass = 1 - (-(truth - mean).abs().square() / variance).exp()
    return [(mass <= level).double().mean().item() for level in LEVELS]


def _listed(values: Tensor | None) -> list[float] | None:
    return None if values is None else torch.as_tensor(values).tolist()
