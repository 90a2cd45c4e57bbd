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
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from torch import Tensor

from inference.diagnostics.figures import axes_of
from inference.diagnostics.pareto import smooth
from inference.tracing import log_weights, mean_and_error, sampling, stack_draws

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
    """

    log_weights: Tensor
    joint: bool = False
    size: int = 1

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
    def threshold(self) -> float:
        """The k-hat under which S draws are enough (Vehtari et al. 2024, section 3.2.4)."""
        draws = len(self.log_weights)
        return min(1 - 1 / math.log10(draws), 0.7) if draws > 10 else 0.0

    @property
    def ess(self) -> Tensor:
        """Effective number of draws of the posterior, from smoothed weights: ``(B,)``, 1 to S."""
        return (-(2 * self._smoothed[0]).logsumexp(0)).exp()

    @property
    def elbo(self) -> Tensor:
        """The evidence lower bound, ``(B,)`` in nats a datum: the mean log weight."""
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
        k, ess = self.khat, self.ess
        bad = int((k > self.threshold).sum())
        what = f"{data} data, one weight each" if not self.joint else "one joint weight"
        return "\n".join(
            [
                f"importance of {draws} draws ({what}), nats a datum",
                "  ELBO     {:10.3f} +- {:.3f}".format(*self.elbo_mean),
                "  IWAE-{:<4d}{:9.3f} +- {:.3f}".format(draws, *self.iwae_mean),
                f"  k-hat    median {float(k.median()):.2f}, largest {float(k.max()):.2f};"
                f" over {self.threshold:.2f}: {bad} of {len(k)}",
                f"  ESS      median {float(ess.median()):.0f}, least {float(ess.min()):.0f}",
            ]
        )

    def plot(self, ax: Axes | None = None) -> Axes:
        """Plot k-hat by datum, with the threshold; returns the matplotlib axes."""
        ax = axes_of(ax)
        ax.scatter(range(len(self.khat)), self.khat.clamp(min=-0.5), s=8, color="C0")
        ax.axhline(self.threshold, color="C1", label=f"trusted below {self.threshold:.2f}")
        ax.set(xlabel="datum", ylabel="k-hat")
        ax.legend()
        return ax


def importance(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    *data: Any,
    num_samples: int = 1000,
    seed: int = 0,
    joint: bool = False,
    plate: str | None = None,
    chunk: int | None = None,
    **named: Any,
) -> Importance:
    """Weigh a guide's draws against the posterior, one weight a draw and a datum.

    Enumerated sites are summed exactly inside the weights. Masks hold, and so do scales that the
    pair itself has, but for that of a data plate that subsamples itself: a weight is one datum's
    (`inference.tracing.terms`).

    Parameters
    ----------
    model, guide, *data, **named
        Any pair, and the data, as it takes them.
    num_samples
        S, the number of draws; k-hat wants a thousand or more.
    seed
        Where the draws begin.
    joint
        One weight a draw for the whole data set: for a pair with latents outside the data plate.
        Expect a large k-hat when the data are many.
    plate
        The name of the data plate, when it is ambiguous.
    chunk
        Draws held at a time; by default as many as a fixed budget allows.

    Raises
    ------
    PairError
        A site lies outside the data plate, and ``joint`` is not set.
    NonFiniteError
        A log density is NaN or plus infinity.
    """
    with sampling(model, guide, data, named, seed, plate) as sampler:
        draws = sampler.chunks(num_samples, "summed", chunk)
        parts = [log_weights(t.terms(sampler.plate), joint) for t in draws]
    weights = stack_draws(parts)
    size = sampler.plate.size if sampler.plate and joint else 1
    return Importance(weights.reshape(len(weights), -1), joint or sampler.plate is None, size)
