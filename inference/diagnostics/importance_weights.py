r"""How far the guide is from the posterior: importance weights of its own draws, datum by datum.

With :math:`z_s \sim q(z \mid x)` and :math:`\log w_s = \log p(x, z_s) - \log q(z_s \mid x)`, the
mean of :math:`\log w` is the ELBO and the log of the mean of :math:`w` the tighter IWAE bound
(Burda, Grosse and Salakhutdinov 2016, "Importance weighted autoencoders", equation 8). The shape
k-hat of the weights' tail says whether the guide covers the posterior at all (Yao et al. 2018,
"Yes, but did it work?"). Weights of a whole plate multiply, so that the joint k-hat of a good
amortised guide grows with the number of data; one k-hat a datum does not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from torch import Tensor

from inference.diagnostics.figures import axes_of
from inference.diagnostics.marginal_khat import marginal_khat
from inference.diagnostics.pareto import khat_error, smooth
from inference.diagnostics.resample import resample, systematic
from inference.randomness import seeded
from inference.tracing import mean_and_error

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Importance:
    r"""Importance weights of a guide's draws, and what they say.

    Unlike the r-hat and effective sample size of Markov chains, which mean nothing for independent
    draws of a guide, k-hat and the effective sample size here measure what is in doubt: whether
    the guide is the posterior.

    Parameters
    ----------
    log_weights
        :math:`\log w`, ``(S, B)`` in nats, double precision; ``(S, 1)`` if ``joint``.
    joint
        Whether one weight stands for the whole data set.
    size
        The number of data that one weight stands for: bounds are divided by it.
    draws
        The draws that were weighed: by site, ``(S, plates..., event...)``. Latent sites of the
        guide, and ``pyro.deterministic`` values where nothing is enumerated; empty if not kept.
    axes
        By site, the axis of its draws that counts the data; None where there is none.
    plate
        The name of the data plate; None where there is none, and all figures are of all data.
    asked
        The error of k-hat that was asked for; None where the number of draws was given.
    """

    log_weights: Tensor
    joint: bool = False
    size: int = 1
    draws: Mapping[str, Tensor] = field(default_factory=dict, repr=False)
    axes: Mapping[str, int | None] = field(default_factory=dict, repr=False)
    plate: str | None = "data"
    asked: float | None = None

    @cached_property
    def _smoothed(self) -> tuple[Tensor, Tensor]:
        return smooth(self.log_weights)

    @property
    def khat(self) -> Tensor:
        """Shape of the tail of the weights, ``(B,)``.

        Under `threshold` the weights can be trusted; above 1 the guide misses part of the
        posterior; minus infinity where the guide is the posterior.
        """
        return self._smoothed[1]

    @property
    def khat_error(self) -> Tensor:
        """Standard error of `khat` from one set of draws to the next, ``(B,)``."""
        return khat_error(self.khat, len(self.log_weights))

    @property
    def weights(self) -> Tensor:
        """Smoothed weights of the draws, ``(S, B)``: they sum to one over the draws.

        A posterior mean of a function h is ``(weights * h(draws)).sum(0)``.
        """
        return self._smoothed[0].exp()

    @cached_property
    def khats(self) -> dict[str, Tensor]:
        """A k-hat for each parameter, by site: ``(plates..., event...)``.

        It says which parameter the guide has wrong; an approximation, by
        `inference.diagnostics.marginal_khat`. Sites of integers are left out.
        """
        return {n: self._khats(n, v) for n, v in self.draws.items() if v.is_floating_point()}

    def _khats(self, name: str, values: Tensor) -> Tensor:
        axis, draws = None if self.joint else self.axes.get(name), len(values)
        if axis is None:
            khat = marginal_khat(values.reshape(draws, -1), self.log_weights[:, :1])
            return khat.reshape(values.shape[1:])
        moved = values.movedim(axis, 1)
        numbers = moved.reshape(draws, moved.shape[1], -1)
        columns = self.log_weights.unsqueeze(2).expand(numbers.shape)
        khat = marginal_khat(numbers.flatten(1), columns.flatten(1))
        return khat.reshape(moved.shape[1:]).movedim(0, axis - 1)

    @cached_property
    def sd_error(self) -> float:
        r"""Largest relative standard error of a weighted standard deviation, over all parameters.

        By the delta method, :math:`\tfrac12 \sqrt{\sum_s w_s^2 (u_s^2 - 1)^2}` with u the parameter
        standardised under the weights: where a posterior has a long tail it needs more draws than
        k-hat does. NaN where no draws were kept.
        """
        found = [self._sd_error(n, v) for n, v in self.draws.items() if v.is_floating_point()]
        return max(found, default=math.nan)

    def _sd_error(self, name: str, values: Tensor) -> float:
        axis, weights = None if self.joint else self.axes.get(name), self.weights
        moved = values.unsqueeze(1) if axis is None else values.movedim(axis, 1)
        w = weights[:, : moved.shape[1]].reshape(*weights.shape[:1], moved.shape[1], 1)
        numbers = moved.reshape(*moved.shape[:2], -1).double()
        away = (numbers - (w * numbers).sum(0)) ** 2
        variance = (w * away).sum(0)
        error = 0.5 * (w**2 * (away / variance.clamp(min=1e-300) - 1) ** 2).sum(0).sqrt()
        return float(error[variance > 0].max()) if bool((variance > 0).any()) else 0.0

    def resample(self, num_samples: int = 1000, seed: int = 0) -> dict[str, Tensor]:
        """Draw from the posterior: the guide's draws, each as often as its weight says.

        Systematic resampling of smoothed weights: a draw of weight w comes floor(w S) or
        ceil(w S) times (Kitagawa 1996, "Monte Carlo filter and smoother", appendix). Each datum's
        latents are drawn by its own weights, those of a joint weight together.

        Parameters
        ----------
        num_samples
            S of the result.
        seed
            Where the draws begin.

        Returns
        -------
        dict of str to Tensor
            By site, ``(S, plates..., event...)``.
        """
        with seeded(seed):
            index = systematic(self._smoothed[0], num_samples)
        axes = {n: None if self.joint else axis for n, axis in self.axes.items()}
        return {n: resample(v, index, axes.get(n)) for n, v in self.draws.items()}

    @property
    def threshold(self) -> float:
        """The k-hat under which S draws are enough (Vehtari et al. 2024, section 3.2.4)."""
        draws = len(self.log_weights)
        return min(1 - 1 / math.log10(draws), 0.7) if draws > 10 else 0.0

    @property
    def ess(self) -> Tensor:
        """Effective number of draws of the posterior, from smoothed weights: ``(B,)``, 1 to S."""
        return (-(2 * self._smoothed[0]).logsumexp(0)).exp()

    @property
    def reliable(self) -> Tensor:
        """Whether the weights can be trusted, (B,).

        `khat` and two errors are under `threshold`; and, for one joint weight, weighted standard
        deviations are known to 5 % (`sd_error`).
        """
        sure = self.khat + 2 * self.khat_error < self.threshold
        return sure & self._known(0.05)

    def _known(self, error: float) -> bool:
        return not self.joint or not self.draws or self.sd_error <= error

    def settled(self, error: float) -> Tensor:
        """Say which weights need no more draws, (B,).

        Their k-hat is known to that error, and (for one joint weight) is two errors under the
        threshold and standard deviations are known to 3 %; and their effective sample size is 1,000
        (400 where each datum has weights of its own). Or k-hat is two errors above the threshold,
        which draws do not mend.
        """
        hopeless = self.khat.isfinite() & (self.khat - 2 * self.khat_error > self.threshold)
        enough = self.ess >= (1000 if self.joint else 400)
        exact = self.khat == -math.inf
        if self.joint:
            enough = enough & self.reliable & self._known(0.03)
        return (self.khat_error <= error) & enough | hopeless | exact

    @property
    def unit(self) -> str:
        """What bounds are in: ``nats a datum``, or ``nats in all`` without a data plate."""
        return "nats in all" if self.plate is None else "nats a datum"

    @property
    def elbo(self) -> Tensor:
        """The evidence lower bound, ``(B,)`` in nats a datum (`unit`): the mean log weight."""
        return self.log_weights.mean(0) / self.size

    @property
    def iwae(self) -> Tensor:
        """The importance weighted bound IWAE-S, ``(B,)`` in nats a datum: the log mean weight."""
        lw = self.log_weights
        return (lw.logsumexp(0) - math.log(len(lw))) / self.size

    @property
    def elbo_mean(self) -> tuple[float, float]:
        """The ELBO over the data: its mean and standard error (over draws, if joint)."""
        if self.joint:
            return mean_and_error(self.log_weights.flatten() / self.size)
        return mean_and_error(self.elbo)

    @property
    def iwae_mean(self) -> tuple[float, float]:
        """The IWAE bound over the data: its mean and standard error (over draws, if joint)."""
        if not self.joint:
            return mean_and_error(self.iwae)
        ratio = (self.log_weights - self.log_weights.max()).exp().flatten()
        mean, error = mean_and_error(ratio)
        return float(self.iwae[0]), error / mean / self.size  # delta method

    def __str__(self) -> str:
        draws, data = self.log_weights.shape
        k, ess, error = self.khat, self.ess, self.khat_error
        bad = int((~self.reliable).sum())
        what = f"{data} data, one weight each" if not self.joint else "one joint weight"
        worst = int(k.argmax())
        return "\n".join(
            [
                f"importance of {draws} draws ({what}), {self.unit}",
                "  ELBO     {:10.3f} +- {:.3f}".format(*self.elbo_mean),
                "  IWAE-{:<4d}{:9.3f} +- {:.3f}".format(draws, *self.iwae_mean),
                f"  k-hat    median {float(k.median()):.2f}, largest {float(k[worst]):.2f} +- "
                f"{float(error[worst]):.2f}; not surely under {self.threshold:.2f}: "
                f"{bad} of {len(k)}",
                f"  ESS      median {float(ess.median()):.0f}, least {float(ess.min()):.0f}",
                *self._remarks(),
            ]
        )

    def _remarks(self) -> list[str]:
        few = int((self.khat == math.inf).sum())
        lines = [f"  too few draws to estimate k-hat: {few} of {len(self.khat)}"] if few else []
        unsettled = 0 if self.asked is None else int((~self.settled(self.asked)).sum())
        if unsettled:
            lines.append(
                f"  too few draws: k-hat's error is above {self.asked:g}, or few draws carry the "
                f"weight, for {unsettled} of {len(self.khat)}; raise max_samples"
            )
        return lines

    def plot(self, ax: Axes | None = None) -> Axes:
        """Plot k-hat by datum, with the threshold; returns the matplotlib axes."""
        ax = axes_of(ax)
        ax.scatter(range(len(self.khat)), self.khat.clamp(min=-0.5), s=8, color="C0")
        ax.axhline(self.threshold, color="C1", label=f"trusted below {self.threshold:.2f}")
        ax.set(xlabel="datum", ylabel="k-hat")
        ax.legend()
        return ax
