r"""The likelihood of some observed sites given others, by importance sampling.

With draws z of a guide and :math:`w_s = p(z_s)\, p(x_b \mid z_s) / q(z_s)`,

.. math:: \log p(x_a \mid x_b) \approx
    \log \frac{\sum_s w_s\, p(x_a \mid z_s)}{\sum_s w_s}

(Suzuki, Nakayama and Matsuo 2016, "Joint multimodal learning with deep generative models", section
4.1, and Shi et al. 2019, "Variational mixture-of-experts autoencoders", section 4.3, report it as
the test of generating one modality from another). Both sums use the same draws, of whatever the
guide reads; it is best if that is :math:`x_b`, so that w varies little.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from inference.diagnostics.pareto import khat_error, smooth
from inference.errors import PairError
from inference.tracing import Sampler, log_weights, mean_and_error, sampling, stack_draws


@dataclass(frozen=True)
class ConditionalLikelihood:
    r"""Estimates of :math:`\log p(x_a \mid x_b)`; consistent, and no bounds.

    Parameters
    ----------
    log_weights
        :math:`\log w_s`, the weights of the given sites alone, ``(S, B)`` in nats.
    log_likelihoods
        :math:`\log p(x_a \mid z_s)`, ``(S, B)``.
    targets
        The sites of :math:`x_a`.
    joint
        Whether the data are taken together, B being 1.
    """

    log_weights: Tensor
    log_likelihoods: Tensor
    targets: tuple[str, ...]
    joint: bool = False

    @property
    def pointwise(self) -> Tensor:
        r""":math:`\log p(x_a \mid x_b)` of each datum, ``(B,)`` in nats."""
        both = self.log_weights + self.log_likelihoods
        return both.logsumexp(0) - self.log_weights.logsumexp(0)

    @property
    def error(self) -> Tensor:
        """Standard error of each from the draws, ``(B,)``, by the delta method for a ratio."""
        above = (self.log_weights + self.log_likelihoods).softmax(0)
        below = self.log_weights.softmax(0)
        return ((above - below) ** 2).sum(0).sqrt()

    @property
    def khat(self) -> Tensor:
        """The larger k-hat of the two sums, ``(B,)``: above 0.7 the number cannot be trusted."""
        given = smooth(self.log_weights)[1]
        return given.maximum(smooth(self.log_weights + self.log_likelihoods)[1])

    @property
    def khat_error(self) -> Tensor:
        """Standard errors of `khat`."""
        return khat_error(self.khat, len(self.log_weights))

    @property
    def negative(self) -> tuple[float, float]:
        r""":math:`-\log p(x_a \mid x_b)`, nats a datum: mean and standard error over the data."""
        if self.joint:
            return -float(self.pointwise[0]), float(self.error[0])
        return mean_and_error(-self.pointwise)

    def __str__(self) -> str:
        mean, error = self.negative
        bad, over = int((self.khat > 0.7).sum()), "the draws" if self.joint else "the data"
        return (
            f"-log p({', '.join(self.targets)} | the rest) {mean:.3f} +- {error:.3f} nats "
            f"{'in all' if self.joint else 'a datum'} (s.e. over {over}; {len(self.log_weights)} "
            f"draws, k-hat at most {float(self.khat.max()):.2f}, over 0.70: {bad} of "
            f"{len(self.khat)})"
        )


def conditional_likelihood(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    *data: Any,
    target: str | Sequence[str],
    num_samples: int = 1000,
    joint: bool = False,
    seed: int = 0,
    plate: str | None = None,
    chunk: int | None = None,
    **named: Any,
) -> ConditionalLikelihood:
    """Estimate the likelihood of some observed sites given all others that are observed.

    Parameters
    ----------
    model, guide, *data, **named
        Any pair, and the data, those of the targets too. If the guide can leave the targets
        unread, tell it: the multimodal models take ``observed``, a mask of what it reads, beside
        ``mask``, of what is scored.
    target
        The observed site, or sites, whose likelihood is wanted.
    num_samples
        S.
    joint
        All data together, for a pair with latents outside the data plate.
    seed
        Where the draws begin.
    plate
        The name of the data plate, when it is ambiguous.
    chunk
        Draws held at a time.

    Raises
    ------
    PairError
        A target is no observed site; a site lies outside the data plate, and ``joint`` is not set.

    Examples
    --------
    >>> observed = torch.tensor([True, False]).expand(len(image), 2)
    >>> conditional_likelihood(
    ...     model, guide, image, sound, observed=observed, target="sound"
    ... )
    """
    targets = (target,) if isinstance(target, str) else tuple(target)
    with sampling(model, guide, data, named, seed, plate) as sampler:
        _check_targets(sampler, targets)
        whole, given = [], []
        for traces in sampler.chunks(num_samples, "summed", chunk):
            terms = traces.terms(sampler.plate)
            rest = replace(terms, rows=tuple(r for r in terms.rows if r.name not in targets))
            whole.append(log_weights(terms, joint))
            given.append(log_weights(rest, joint))
    both, weights = (stack_draws(parts).reshape(num_samples, -1) for parts in (whole, given))
    if bool((weights == -math.inf).all(0).any()):
        raise PairError(
            None,
            "a datum whose given sites are impossible under every draw",
            "draws of the guide that explain what is given",
            "raise num_samples, or look at the guide",
        )
    likelihoods = (both - weights).nan_to_num(nan=-math.inf)
    return ConditionalLikelihood(weights, likelihoods, targets, joint or sampler.plate is None)


def _check_targets(sampler: Sampler, targets: tuple[str, ...]) -> None:
    for name in targets or ("",):
        if name not in sampler.observed:
            raise PairError(
                name or None,
                f"target={name!r}" if name else "no target",
                f"observed sites of the model: {', '.join(sampler.observed)}",
                f"target='{sampler.observed[0]}'" if sampler.observed else "pass data to observe",
            )
