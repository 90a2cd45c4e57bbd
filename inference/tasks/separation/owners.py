r"""Ascent for `BinMixture`: `inference.vem`, with bins as detections of two numbers.

* E-W and M: those of `inference.vem`, in T F places of one detection each.
* E-S: given variances v_n, q(s_n,tf) = N_c(V e o / v_o, V), V = (e / v_o + 1 / v_n)^{-1} with
  e = eta_tfn.
* E-Z: the encoder reads E|s_n|^2 = |m|^2 + V, of the iteration before, and the networks of an
  autoregressive model too; or, from there, some steps of Adam on the moments of q(z_n) climb
  -sum_tf (log v_n + E|s_n|^2 / v_n) - KL(q(z_n) || p(z_n)).

The rate of a source is E_q[log q(s_n, z_n) - log p(s_n, z_n)], by draws of z; where networks read
past frames, by joint draws of s and z, at the end.

Reference: X. Lin, L. Girin, X. Alameda-Pineda, "Mixture of dynamical variational autoencoders for
multi-source trajectory modeling and separation", TMLR 2023, section 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from inference.tasks.separation.states import FreeLatents, Noise, Reading, State
from inference.tasks.separation.sums import Posterior, Progress, check_finite, noise_of
from inference.vem import Mixture, vem
from ppl_models.audio import BinMixture
from ppl_models.likelihoods import bin_power
from ppl_models.sequences import clean


class Ownership(NamedTuple):
    """How an ascent goes.

    Parameters
    ----------
    iterations : int
    steps : int
        Steps of Adam on q(z) an iteration; 0 takes what the encoder says, as the paper does.
    learning_rate : float
    learn_noise : bool
        Whether phi, one a recording, is learned, or stays the model's.
    num_samples : int
        Draws behind the bound.
    """

    iterations: int = 10
    steps: int = 4
    learning_rate: float = 0.1
    learn_noise: bool = False
    num_samples: int = 8


def own(
    model: BinMixture,
    states: Sequence[State],
    o: Tensor,
    start: tuple[Tensor, Tensor],
    mask: Tensor,
    how: Ownership = Ownership(),  # noqa: B008 it is a tuple
    *,
    seed: int | Sequence[int] = 0,
    progress: Progress | None = None,
) -> Posterior:
    """Run coordinate ascent; return the posterior of the sources, and who owns each bin.

    Parameters
    ----------
    model : BinMixture
    states : sequence of State
        One of each part, in order; changed in place.
    o : Tensor
        (B, T, 2 F), bins of recordings.
    start : pair of Tensor
        Mean (B, N, T, 2 F) and variance (B, N, T, F) of q(s) at first.
    mask : Tensor of bool
        (B, T), frames that exist.
    how : Ownership
    seed, progress
        As of `inference.tasks.separation.sums.ascend`.
    """
    o = clean(o, mask)
    steps = _Steps(model, states, start, mask, how, seed, progress)
    found = vem(
        Mixture(
            **model.detections(o, mask),  # type: ignore[arg-type]
            phi=model.noise,
            phi_strength=model.noise_strength or 20.0,
            learn_phi=how.learn_noise,
        ),
        _to_places(start[0]),
        steps.update,
        iterations=how.iterations,
        rate_draws=steps.rate_draws,
    )
    mean, per_number = (_from_places(x, o.shape[1]) for x in (found.mean, found.variance))
    shares = found.responsibilities[:, :, 0].unflatten(1, (o.shape[1], -1)).movedim(-1, 1)
    exact = all(state.exact for state in states)
    error = found.elbo_error if exact else torch.full_like(found.elbo_error, torch.nan)
    variance = 2 * per_number[..., : model.bins]
    return Posterior(mean, variance, shares, found.elbo, error, found.objective)


class _Steps:
    """The E-S and E-Z steps, and the rates, of all sources; shapes of places are (B, N, T F, 2)."""

    def __init__(
        self,
        model: BinMixture,
        states: Sequence[State],
        start: tuple[Tensor, Tensor],
        mask: Tensor,
        how: Ownership,
        seed: int | Sequence[int],
        progress: Progress | None,
    ) -> None:
        self.model, self.states, self.mask, self.how = model, states, mask, how
        self.variance, self.frames = start[1], start[0].shape[2]
        self.seed, self.progress, self.done = seed, progress, 0
        self.noise = noise_of(seed, "own", len(mask))
        self.v, self.posterior = start[1], start[1]

    def update(self, precision: Tensor, weighted: Tensor, previous: Tensor) -> _Sources:
        """Take the E-Z step, then the E-S step."""
        path = _from_places(previous, self.frames)
        expected = bin_power(path) + self.variance
        readings = [self._improve(n, state, expected[:, n]) for n, state in enumerate(self.states)]
        check_finite(self.model.names, readings, self.done + 1)
        self.v = torch.stack([r.variance for r in readings], 1)
        prior = 2 / _to_places(torch.cat([self.v, self.v], -1))
        variance = 1 / (precision + prior)
        mean = variance * weighted
        self.variance = 2 * _from_places(variance, self.frames)[..., : self.model.bins]
        gaussian = 0.5 * ((mean.square() + variance) * prior - 1 - (variance * prior).log())
        rate = gaussian.sum((-2, -1)) + torch.stack([r.rate for r in readings], 1)
        self.done += 1
        if self.progress is not None:
            self.progress(self.done)
        return _Sources(mean, variance, rate)

    def _improve(self, n: int, state: State, expected: Tensor) -> Reading:
        """Improve q(z) of a source given E|s|^2 (B, T, F), which its networks read too."""
        nothing = torch.full_like(expected, 1e-12)
        if not isinstance(state, FreeLatents):
            return state.improve(expected, nothing, state.read(None, expected))
        if not self.how.steps:
            state.encode(expected, scales=True)
        else:
            self._climb(state, expected)
        with torch.no_grad():
            return state.improve(expected, nothing, state.read(None, expected))

    @torch.enable_grad()
    def _climb(self, state: FreeLatents, expected: Tensor) -> None:
        """Take steps of Adam on the moments of q(z)."""
        free = state.parameters()
        if not free:
            return
        optimizer = torch.optim.Adam(free, lr=self.how.learning_rate)
        for _ in range(self.how.steps):
            reading = state.read(self.noise, expected)
            frames = (reading.variance.log() + expected / reading.variance).sum(-1)
            loss = torch.where(self.mask, frames, 0.0).sum() + reading.rate.sum()
            for parameter, grad in zip(free, torch.autograd.grad(loss, free), strict=True):
                parameter.grad = grad
            optimizer.step()

    def rate_draws(self, precision: Tensor, weighted: Tensor, previous: Tensor) -> Tensor:
        """Return R estimates (R, B, N) of the rate of q(s) q(z) where the ascent ended."""
        prior = 2 / _to_places(torch.cat([self.v, self.v], -1))
        per_number = 1 / (precision + prior)
        mean = _from_places(per_number * weighted, self.frames)
        noise = noise_of(self.seed, "rates", len(self.mask))
        rows = [
            torch.stack([self._rate(n, mean[:, n], noise) for n in range(len(self.states))], 1)
            for _ in range(self.how.num_samples)
        ]
        return torch.stack(rows)

    def _rate(self, n: int, mean: Tensor, noise: Noise) -> Tensor:
        """Return one estimate (B) of E_q[log q(s, z) - log p(s, z)] of source n."""
        state, variance = self.states[n], self.variance[:, n]
        power = bin_power(mean) + variance
        if getattr(state.part, "autoregressive", False):
            deviation = (0.5 * variance).sqrt()
            drawn = mean + torch.cat([deviation, deviation], -1) * noise(mean)
            power = bin_power(drawn)
        reading = state.read(noise, power)
        v = reading.variance
        frames = (v.log() + power / v - 1 - variance.log()).sum(-1)
        return torch.where(self.mask, frames, 0.0).sum(-1) + reading.rate


class _Sources(NamedTuple):
    """What `inference.vem` asks of an E-S step."""

    mean: Tensor
    variance: Tensor
    rate: Tensor


def _to_places(bins: Tensor) -> Tensor:
    """Return bins (B, N, T, 2 F) as (B, N, T F, 2)."""
    return bins.unflatten(-1, (2, -1)).transpose(-1, -2).flatten(-3, -2)


def _from_places(places: Tensor, frames: int) -> Tensor:
    """Return (B, N, T F, 2) as bins (B, N, T, 2 F)."""
    return places.unflatten(-2, (frames, -1)).transpose(-1, -2).flatten(-2)
