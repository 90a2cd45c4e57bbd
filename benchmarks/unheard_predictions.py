"""What a model says of a tone that may not have been heard: for `benchmarks.unheard_tones`."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from inference.randomness import derive
from inference.tasks.acquisition import Draws
from ppl_models.acquisition import NotMIWAE

LEVEL = 0.8
"""Of intervals."""
NODES = 9
"""Thresholds of a tone, of equal probability, that an expectation is taken over."""


class Prediction(NamedTuple):
    """Of a tone, for N people."""

    mean: Tensor
    """Of the threshold, dB."""
    low: Tensor
    high: Tensor
    """Ends of the central interval of `LEVEL`."""
    silent: Tensor
    """Probability of no response."""


def predict(model: Any, kind: str, draws: Draws, tone: int, limit: float, told: bool) -> Prediction:
    """Return what a model says of a tone, from draws of z given the others.

    ``told``: that it was not heard, which a model weighs by its own p(not heard | x).
    """
    part = model.likelihood.parts(draws.raw, ("censored" if kind == "censored" else "real",))[0]
    loc, scale = (value[..., tone].double() for value in (part.loc, part.scale))
    weights = draws.weights.double()
    above = torch.special.ndtr((loc - limit) / scale)
    silent = (weights * above).sum(0)
    order = torch.Generator().manual_seed(derive(0, "values", tone))
    u = (torch.randperm(len(loc), generator=order).double() + 0.5) / len(loc)
    u = u[:, None].expand_as(loc)
    if told and kind == "censored":
        weights = weights * above
        u = 1 - above * (1 - u)  # of the part above the limit
    values = loc + scale * torch.special.ndtri(u.clamp(1e-12, 1 - 1e-12))
    if told and kind == "censored":
        values = values.clamp(min=limit)
    if told and kind == "NotMIWAE":
        weights = weights * _missing(model, values, tone)
    weights = weights / weights.sum(0).clamp_min(1e-300)
    low, high = _ends(values, weights)
    return Prediction((weights * values).sum(0), low, high, silent)


def weighted(model: NotMIWAE, draws: Draws, quiet: Tensor) -> Tensor:
    """Return weights (S, N) of draws that know which others of a person's tones were not heard.

    Those of z alone know what was heard: with p(not heard | z), a mean over `NODES` thresholds of
    each tone, they are those of p(z | what was heard, and what not), in double precision.
    """
    part: Any = model.likelihood.parts(draws.raw, ("real",))[0]
    nodes = torch.special.ndtri((torch.arange(NODES) + 0.5).double() / NODES)
    weights = draws.weights.double()
    for tone in quiet.any(0).nonzero()[:, 0].tolist():
        loc, scale = part.loc[..., tone, None], part.scale[..., tone, None]
        silent = _missing(model, loc + scale * nodes, tone).mean(-1)
        weights = torch.where(quiet[:, tone], weights * silent, weights)
    return weights / weights.sum(0)


def _missing(model: NotMIWAE, values: Tensor, tone: int) -> Tensor:
    """Return the probability that a tone of these thresholds is missing."""
    columns = model.likelihood
    standard = (values - columns.shift[tone]) / columns.scale[tone]
    logit = model.level[tone] + model.slopes()[tone] * standard
    return torch.sigmoid(-logit)


def _ends(values: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the ends of the central interval of weighted values (S, N)."""
    ordered, places = values.sort(0)
    below = weights.gather(0, places).cumsum(0)
    tail = (1 - LEVEL) / 2
    at = [(below < level).sum(0).clamp(max=len(values) - 1) for level in (tail, 1 - tail)]
    low, high = (ordered.gather(0, each[None])[0] for each in at)
    return low, high
