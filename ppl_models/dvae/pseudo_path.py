r"""Codes of a Kalman VAE as one sample site: of the model, and as a guide infers them from frames.

`PseudoPath` is p(a), the state integrated out. `CompletedPath` is what a guide says of a sequence
with gaps: codes of frames that were seen come from an encoder, each by itself, and those of a gap
from the dynamics, given all the others:

.. math:: q(a) = \prod_{t\ \mathrm{seen}} N(a_t; \mu_t, \sigma_t^2) \;
          p(a_\mathrm{gap} \mid a_\mathrm{seen}), \qquad
          p(a_\mathrm{gap} \mid a_\mathrm{seen}) = p(a) / p(a_\mathrm{seen}),

two Kalman filters. With one mode and no feedback that factor is exact, and cancels against the
model's p(a) whatever was drawn: the gap is then integrated out. With more, the matrices at a frame
depend on the codes before it, and are taken at their forecasts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from ppl_models.distributions import (
    LinearGaussian,
    ObservedChain,
    kalman_filter,
)
from ppl_models.sequences import Moments, clean


class PseudoPath(TorchDistribution):
    """p(a) of a `ppl_models.dvae.KVAE`, z integrated out; event (T, A)."""

    arg_constraints: dict[str, constraints.Constraint] = {}
    support = constraints.independent(constraints.real, 2)
    has_rsample = True

    def __init__(
        self, model: Any, length: int, mask: Tensor | None = None, batch_shape: Any = ()
    ) -> None:
        self.model, self.mask_frames = model, mask
        batch = torch.Size(batch_shape) if mask is None else mask.shape[:-1]
        batch = torch.broadcast_shapes(batch_shape, batch)
        event = torch.Size([length, model.pseudo_dim])
        super().__init__(batch, event, validate_args=False)

    def expand(self, batch_shape: Any, _instance: object = None) -> PseudoPath:
        """Return the same distribution with a larger batch shape."""
        return PseudoPath(self.model, self.event_shape[0], self.mask_frames, batch_shape)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draw codes (*sample_shape, *batch_shape, T, A), differentiably."""
        batch = torch.Size(sample_shape) + self.batch_shape
        return self.model.simulate(batch, self.event_shape[0])

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log p(a) of codes (..., T, A): (...)."""
        total = self.model.filter(value, self.mask_frames).log_evidence.sum(-1)
        return total.expand(torch.broadcast_shapes(total.shape, self.batch_shape))


class CompletedPath(TorchDistribution):
    """q(a) of a sequence with gaps; event (T, A).

    Parameters
    ----------
    moments : tuple of Tensor
        Mean and scale (..., T, A) of the code of each frame; read where it was seen.
    seen : Tensor of bool
        (..., T): frames of which something was seen.
    dynamics : callable
        From the codes (..., T, A) of the frames seen, zeros elsewhere, what rules all of them.
    mask : Tensor of bool, optional
        (..., T): frames that exist.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}
    support = constraints.independent(constraints.real, 2)
    has_rsample = True

    def __init__(
        self,
        moments: Moments,
        seen: Tensor,
        dynamics: Callable[[Tensor], LinearGaussian],
        mask: Tensor | None = None,
        batch_shape: Any = (),
    ) -> None:
        self.moments_seen, self.seen, self.dynamics, self.mask_frames = (
            moments,
            seen,
            dynamics,
            mask,
        )
        batch = torch.broadcast_shapes(batch_shape, moments[0].shape[:-2], seen.shape[:-1])
        super().__init__(batch, moments[0].shape[-2:], validate_args=False)

    def expand(self, batch_shape: Any, _instance: object = None) -> CompletedPath:
        """Return the same distribution with a larger batch shape."""
        parts = self.moments_seen, self.seen, self.dynamics, self.mask_frames
        return CompletedPath(*parts, torch.Size(batch_shape))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draw codes (*sample_shape, *batch_shape, T, A), differentiably."""
        mean, scale = self.moments_seen
        batch = torch.Size(sample_shape) + self.batch_shape
        a = clean(mean + scale * mean.new_empty(batch + self.event_shape).normal_(), self.seen)
        params = self.dynamics(a)
        rest = ObservedChain(params, a.shape[-2], self.seen, batch_shape=batch).complete(a)
        return torch.where(self.seen[..., None], a, rest)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log q(a) of codes (..., T, A): (...)."""
        given = clean(value, self.seen)
        encoded = torch.distributions.Normal(*self.moments_seen, validate_args=False)
        total = clean(encoded.log_prob(given), self.seen).sum((-2, -1))
        params = self.dynamics(given)
        whole, part = (
            kalman_filter(params, value, frames).log_evidence.sum(-1)
            for frames in (self.mask_frames, self.seen)
        )
        total = total + whole - part
        return total.expand(torch.broadcast_shapes(total.shape, self.batch_shape))
