r"""Ascent for `SourceSum`: latents by gradients, everything else in closed form.

With the sources integrated out exactly, what is climbed is

.. math:: E_q \sum_{tf} \log N_c(o_{tf}; 0, \textstyle\sum_n v_{n,tf} + \mathrm{noise})
          - \sum_n KL(q(z_n) \,\|\, p(z_n)),

by one draw an iteration. An iteration draws z (E-Z), improves activations and spectra by closed
updates that cannot lower it at that draw (M), and takes a step of Adam on means and scales of all
z. E|s_n|^2, which networks of autoregressive parts read, is that of the Wiener filter,
|m|^2 + v (E-S); for them the objective is no bound.

The bound at the end is estimated by fresh draws; where a part reads past frames, these are drawn
frame by frame from their exact posterior (`guides.audio.SourcesGiven`). Where activations are point
estimates, it is one of the joint density of recording and activations.

References: those of `ppl_models.audio.source_sum`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from guides.audio import SourcesGiven
from inference.errors import NonFiniteError
from inference.randomness import derive, seeded
from inference.tasks.separation.states import FreeLatents, Noise, Reading, State
from ppl_models.audio import SourceSum, wiener
from ppl_models.likelihoods import bin_power
from ppl_models.sequences import clean


class Posterior(NamedTuple):
    """What is known of N sources in B recordings."""

    mean: Tensor
    """(B, N, T, 2 F): E[s | o]."""
    variance: Tensor
    """(B, N, T, F): E|s - mean|^2."""
    shares: Tensor
    """(B, N, T, F): q(w = n), or each source's share of the sources' expected power."""
    bound: Tensor
    """(B), nats."""
    bound_error: Tensor
    """(B): standard error, from draws; NaN where `bound` is an objective, and bounds nothing."""
    objective: Tensor
    """(iterations, B)"""


class Ascent(NamedTuple):
    """How an ascent goes.

    Parameters
    ----------
    iterations : int
    learning_rate : float
        Of Adam, falling to a twentieth along a cosine.
    num_samples : int
        Draws behind the posterior and its bound.
    """

    iterations: int = 100
    learning_rate: float = 0.3
    num_samples: int = 8


Progress = Callable[[int], None]


def ascend(
    model: SourceSum,
    states: Sequence[State],
    o: Tensor,
    start: Tensor,
    mask: Tensor,
    how: Ascent = Ascent(),  # noqa: B008 it is a tuple
    *,
    seed: int | Sequence[int] = 0,
    progress: Progress | None = None,
) -> Posterior:
    """Climb the bound from the states' starts; return the posterior of the sources.

    Parameters
    ----------
    model : SourceSum
    states : sequence of State
        One of each part, in order; changed in place.
    o : Tensor
        (B, T, 2 F), bins of recordings.
    start : Tensor
        (B, N, T, F), powers of sources that autoregressive parts read at first.
    mask : Tensor of bool
        (B, T), frames that exist.
    how : Ascent
    seed : int or sequence of int
        Of all recordings, or of each.
    progress : callable, optional
        Called with the number of iterations done.

    Raises
    ------
    NonFiniteError
        A source's variances or rate stopped being finite: it is named.
    """
    noise = noise_of(seed, "ascent", len(o))
    power, past, objective = bin_power(clean(o, mask)), start, list[Tensor]()
    free = [p for state in states for p in state.parameters()]
    optimizer = torch.optim.Adam(free, lr=how.learning_rate) if free else None
    for i in range(how.iterations):
        readings = [state.read(noise, past[:, n]) for n, state in enumerate(states)]
        check_finite(model.names, readings, i + 1)
        readings = _improved(model, states, power, readings)
        value = _value(model, readings, power, mask)
        objective.append(value.detach())
        if optimizer is not None:
            for group in optimizer.param_groups:
                group["lr"] = how.learning_rate * _cosine(i / how.iterations)
            _step(optimizer, free, -value.sum())
        past = _expected_power(model, readings, power)
        if progress is not None:
            progress(i + 1)
    return _summary(model, states, o, past, mask, how, objective, seed)


def noise_of(seed: int | Sequence[int], place: str, rows: int) -> Noise:
    """Return noise whose rows are functions of their seeds and the place where it is drawn."""
    seeds = [derive(seed, i) for i in range(rows)] if isinstance(seed, int) else seed
    return Noise([derive(one, place) for one in seeds])


@torch.no_grad()
def check_finite(names: Sequence[str], readings: Sequence[Reading], iteration: int) -> None:
    """Name the first source whose variances or rate are not finite.

    Raises
    ------
    NonFiniteError
        There is one.
    """
    sums = [(r.variance.sum((-2, -1)) + r.rate).sum() for r in readings]
    if torch.stack(sums).isfinite().all():
        return
    name = next(name for name, one in zip(names, sums, strict=True) if not one.isfinite())
    found = f"variances or a rate that are not finite, in iteration {iteration}"
    cure = "train that source longer, take another, or lower the learning_rate of the settings"
    raise NonFiniteError(name, found, "finite numbers", cure)


def _improved(
    model: SourceSum,
    states: Sequence[State],
    power: Tensor,
    drawn: Sequence[Reading],
) -> list[Reading]:
    """Take the closed updates of draws, each given what the others are now."""
    readings = list(drawn)
    for n, state in enumerate(states):
        others = (r.variance.detach() for m, r in enumerate(readings) if m != n)
        rest = sum(others, torch.zeros_like(power)) + model.noise
        readings[n] = state.improve(power, rest, readings[n])
    return readings


def _value(model: SourceSum, readings: Sequence[Reading], power: Tensor, mask: Tensor) -> Tensor:
    """Return the objective (B) at some draws."""
    total = sum((r.variance for r in readings), torch.full_like(power, model.noise))
    frames = -(total.log() + power / total + math.log(math.pi)).sum(-1)
    fit = torch.where(mask, frames, 0.0).sum(-1)
    return fit - sum((r.rate for r in readings), torch.zeros_like(fit))


def _step(optimizer: torch.optim.Optimizer, free: list[Tensor], loss: Tensor) -> None:
    for parameter, grad in zip(free, torch.autograd.grad(loss, free), strict=True):
        parameter.grad = grad
    optimizer.step()


def _cosine(done: float) -> float:
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done))


@torch.no_grad()
def _expected_power(model: SourceSum, readings: Sequence[Reading], power: Tensor) -> Tensor:
    """Return E|s_n|^2 (B, N, T, F) of the Wiener filter."""
    v = torch.stack([r.variance for r in readings], 1)
    total = v.sum(1, keepdim=True) + model.noise
    share = v / total
    return share.square() * power[:, None] + v * (1 - share)


def _summary(
    model: SourceSum,
    states: Sequence[State],
    o: Tensor,
    past: Tensor,
    mask: Tensor,
    how: Ascent,
    objective: list[Tensor],
    seed: int | Sequence[int],
) -> Posterior:
    """Average the Wiener filters of fresh draws of q(z), and estimate the bound."""
    draw = _by_frames if any(_reads_past(state) for state in states) else _at_once
    o = clean(o, mask)

    def at(noise: Noise) -> tuple[list[Reading], Tensor]:
        return draw(model, states, o, past, mask, noise)

    noise, count = noise_of(seed, "summary", len(o)), how.num_samples
    found = summarise(o, at, noise, count, objective, model.noise)
    if all(state.exact for state in states):
        return found
    return found._replace(bound_error=torch.full_like(found.bound, torch.nan))


@torch.no_grad()
def summarise(
    o: Tensor,
    at: Callable[[Noise], tuple[list[Reading], Tensor]],
    noise: Noise,
    num_samples: int,
    objective: Sequence[Tensor],
    rest: float = 0.0,
) -> Posterior:
    """Average what draws of latents make of the sources of o (B, T, 2 F).

    ``at`` makes a draw: a reading of each source, and the bound (B); ``rest`` is a variance that is
    no source's. Given latents the sources are Gaussian: mean and variance are those of the mixture
    over draws.
    """
    rows = list[tuple[Tensor, Tensor, Tensor]]()
    for _ in range(num_samples):
        readings, bound = at(noise)
        rows.append((*filtered(o, [r.variance for r in readings], rest), bound))
    means, variances, bounds = (torch.stack(part) for part in zip(*rows, strict=True))
    mean = means.mean(0)
    variance = variances.mean(0) + bin_power(means - mean).mean(0)
    expected = bin_power(mean) + variance
    shares = expected / expected.sum(1, keepdim=True)
    error = bounds.std(0, correction=min(1, num_samples - 1)) / math.sqrt(num_samples)
    error = error if num_samples > 1 else torch.full_like(error, torch.nan)
    climbed = torch.stack(list(objective)) if objective else bounds.new_zeros(0, len(o))
    return Posterior(mean, variance, shares, bounds.mean(0), error, climbed)


def _at_once(
    model: SourceSum,
    states: Sequence[State],
    o: Tensor,
    past: Tensor,
    mask: Tensor,
    noise: Noise,
) -> tuple[list[Reading], Tensor]:
    """Return readings and bound at one draw of latents, sources integrated out."""
    readings = [state.read(noise, past[:, n]) for n, state in enumerate(states)]
    return readings, _value(model, readings, bin_power(o), mask)


def _by_frames(
    model: SourceSum,
    states: Sequence[State],
    o: Tensor,
    past: Tensor,
    mask: Tensor,
    noise: Noise,
) -> tuple[list[Reading], Tensor]:
    """Return the same where networks read past frames of sources, which are drawn frame by frame.

    q(s_t | s_{<t}, z, o_t) is exact, so that what a draw leaves of the bound is
    sum_t log N_c(o_t; 0, sum_n v_n,t + noise) less the rates of z given the drawn past.
    """
    readings = [state.read(noise, past[:, n]) for n, state in enumerate(states)]
    given = SourcesGiven(model, [r.latents for r in readings], o, mask)
    with seeded(noise.seed()):
        for n in range(len(states)):
            given.s[n] = given.source(n).sample()
    v = [x.expand_as(past[:, 0]) for x in given.variances(given.s)]
    rates = [
        state.rate_of(r.latents, s)
        if isinstance(state, FreeLatents) and _reads_past(state)
        else r.rate
        for state, r, s in zip(states, readings, given.drawn, strict=True)
    ]
    bound = model.log_marginal(o, v, mask) - sum(rates[1:], rates[0])
    return [r._replace(variance=x) for r, x in zip(readings, v, strict=True)], bound


def filtered(o: Tensor, variances: Sequence[Tensor], rest: float) -> tuple[Tensor, Tensor]:
    """Return mean (B, N, T, 2 F) and variance (B, N, T, F) of the sources, given variances."""
    total = sum(variances, torch.full_like(variances[0], rest))
    found = [wiener(o, v, total - v) for v in variances]
    return torch.stack([m for m, _ in found], 1), torch.stack([v for _, v in found], 1)


def _reads_past(state: Any) -> bool:
    return bool(getattr(state.part, "autoregressive", False))
