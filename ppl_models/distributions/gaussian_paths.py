r"""Linear-Gaussian paths as one sample site: latent ones, and their observations.

`GaussianChain` runs forwards, as in a model, or backwards, as a posterior is sampled:

.. math:: p(z) = N(z_1) \prod_{t < T} N(z_{t+1}; A_t z_t + b_t, Q_t), \qquad
          p(z \mid s) = N(z_T) \prod_{t < T} N(z_t; G_t z_{t+1} + g_t, V_t).

`ObservedChain` is p(s), z integrated out: its density is the Kalman filter's. So is that of
`PseudoPath`, the codes a of a Kalman VAE, whose parameters follow from what was drawn before.

Reference: S. Sarkka, "Bayesian filtering and smoothing", 2013, sections 4.3 and 8.2.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from ppl_models.distributions.kalman import (
    Filtered,
    LinearGaussian,
    backward_steps,
    frames_of,
    kalman_filter,
    matvec,
)


class GaussianChain(TorchDistribution):
    """z_1 ~ N(mean, root root^T), z_{t+1} ~ N(A_t z_t + b_t, R_t R_t^T), event (T, N).

    Parameters
    ----------
    mean, root : Tensor
        (..., N) and (..., N, N): of the frame where it begins. Roots are lower triangular.
    steps, offsets, roots : Tensor
        A (..., T - 1, N, N), b (..., T - 1, N) and R (..., T - 1, N, N), by the frame that a step
        comes from, or, backwards, leads to; a time dim may be 1.
    length : int
        T.
    backward : bool
        Whether it begins at the last frame.
    mask : Tensor of bool, optional
        (..., T): frames that exist, the first ones; others count nothing in a density.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}
    support = constraints.independent(constraints.real, 2)
    has_rsample = True

    def __init__(
        self,
        mean: Tensor,
        root: Tensor,
        steps: Tensor,
        offsets: Tensor,
        roots: Tensor,
        length: int,
        *,
        backward: bool = False,
        mask: Tensor | None = None,
        batch_shape: Any = (),
    ) -> None:
        self.parts = mean, root, steps, offsets, roots
        self.backward, self.mask_frames = backward, mask
        batches = mean.shape[:-1], root.shape[:-2], steps.shape[:-3], offsets.shape[:-2]
        more = () if mask is None else (mask.shape[:-1],)
        batch = torch.broadcast_shapes(batch_shape, *batches, roots.shape[:-3], *more)
        super().__init__(batch, torch.Size([length, mean.shape[-1]]), validate_args=False)

    @classmethod
    def prior(
        cls, params: LinearGaussian, length: int, mask: Tensor | None = None
    ) -> GaussianChain:
        """Return p(z) of the hidden path of a linear-Gaussian model."""
        root = torch.linalg.cholesky(params.initial_cov)
        roots = torch.linalg.cholesky(params.process_cov)
        moves = params.transition, params.transition_offset, roots
        return cls(params.initial_mean, root, *moves, length, mask=mask)

    @classmethod
    def posterior(
        cls, params: LinearGaussian, filtered: Filtered, mask: Tensor | None = None
    ) -> GaussianChain:
        """Return p(z | s) from what the filter returned for these parameters and s."""
        steps, offsets, covs = backward_steps(params, filtered)
        if mask is not None:  # the last frame that exists is drawn from its filter
            goes_on = mask[..., 1:, None]
            steps = torch.where(goes_on[..., None], steps, torch.zeros_like(steps))
            offsets = torch.where(goes_on, offsets, filtered.mean[..., :-1, :])
            covs = torch.where(goes_on[..., None], covs, filtered.cov[..., :-1, :, :])
        root, roots = (torch.linalg.cholesky(cov) for cov in (filtered.cov[..., -1, :, :], covs))
        mean, length = filtered.mean[..., -1, :], filtered.mean.shape[-2]
        return cls(mean, root, steps, offsets, roots, length, backward=True, mask=mask)

    def expand(self, batch_shape: Any, _instance: object = None) -> GaussianChain:
        """Return the same distribution with a larger batch shape."""
        return GaussianChain(
            *self.parts,
            self.event_shape[0],
            backward=self.backward,
            mask=self.mask_frames,
            batch_shape=torch.Size(batch_shape),
        )

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draw paths (*sample_shape, *batch_shape, T, N), differentiably."""
        mean, root, steps, offsets, roots = self.parts
        shape = torch.Size(sample_shape) + self.batch_shape + self.event_shape
        noise = torch.randn(shape, dtype=mean.dtype, device=mean.device)
        at, rest = (-1, noise[..., :-1, :]) if self.backward else (0, noise[..., 1:, :])
        path = [mean + matvec(root, noise[..., at, :])]
        count = shape[-2] - 1
        pushes = (offsets + matvec(roots, rest)).unbind(-2)
        moves = list(zip(frames_of(steps, count), pushes, strict=True))
        for step, push in reversed(moves) if self.backward else moves:
            path.append(matvec(step, path[-1]) + push)
        return torch.stack(path[::-1] if self.backward else path, -2)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density of paths (..., T, N): (...)."""
        mean, root, steps, offsets, roots = self.parts
        early, late = value[..., :-1, :], value[..., 1:, :]
        if self.backward:
            first, moved, rest = value[..., -1:, :], early - matvec(steps, late), 0
        else:
            first, moved, rest = value[..., :1, :], late - matvec(steps, early), 1
        begins = _white_density(first - mean[..., None, :], root[..., None, :, :])
        others = _white_density(moved - offsets, roots)
        frames = [begins, others] if rest else [others, begins]
        batch = torch.broadcast_shapes(value.shape[:-2], self.batch_shape)
        total = torch.cat([part.expand(*batch, -1) for part in frames], -1)
        if self.mask_frames is not None:
            total = torch.where(self.mask_frames, total, torch.zeros_like(total))
        return total.sum(-1)


class ObservedChain(TorchDistribution):
    """p(s) of the observations of a latent linear-Gaussian path, which is integrated out.

    Parameters
    ----------
    params : LinearGaussian
        Of the model; batch dims broadcast.
    length : int
        T; the event shape is (T, D).
    mask : Tensor of bool, optional
        (..., T): frames that exist; others count nothing, whatever they hold.
    observed : Tensor of bool, optional
        (..., T, D): numbers that were seen; likewise.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}
    support = constraints.independent(constraints.real, 2)
    has_rsample = True

    def __init__(
        self,
        params: LinearGaussian,
        length: int,
        mask: Tensor | None = None,
        observed: Tensor | None = None,
        *,
        batch_shape: Any = (),
    ) -> None:
        self.params, self.mask_frames, self.observed = params, mask, observed
        more = [] if mask is None else [mask.shape[:-1]]
        more += [] if observed is None else [observed.shape[:-2]]
        batch = torch.broadcast_shapes(batch_shape, *_batches(params), *more)
        event = torch.Size([length, params.emission.shape[-2]])
        super().__init__(batch, event, validate_args=False)

    def expand(self, batch_shape: Any, _instance: object = None) -> ObservedChain:
        """Return the same distribution with a larger batch shape."""
        shape, length = torch.Size(batch_shape), self.event_shape[0]
        masks = self.mask_frames, self.observed
        return ObservedChain(self.params, length, *masks, batch_shape=shape)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draw paths (*sample_shape, *batch_shape, T, D), differentiably."""
        params = self.params
        hidden = GaussianChain.prior(params, self.event_shape[0]).expand(self.batch_shape)
        return self._emit(hidden.rsample(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log p(s) of paths (..., T, D): (...)."""
        masks = self.mask_frames, self.observed
        total = kalman_filter(self.params, value, *masks).log_evidence.sum(-1)
        return total.expand(torch.broadcast_shapes(total.shape, self.batch_shape))

    def complete(self, value: Tensor) -> Tensor:
        """Draw all numbers (*batch_shape, T, D) given those of paths (..., T, D) that were seen."""
        filtered = kalman_filter(self.params, value, self.mask_frames, self.observed)
        hidden = GaussianChain.posterior(self.params, filtered)
        return self._emit(hidden.expand(self.batch_shape).rsample())

    def _emit(self, hidden: Tensor) -> Tensor:
        """Draw frames (..., T, D) of hidden paths (..., T, N)."""
        mean = matvec(self.params.emission, hidden) + self.params.emission_offset
        return mean + self.params.noise_variance.sqrt() * torch.randn_like(mean)


def _batches(params: LinearGaussian) -> list[torch.Size]:
    """Return the batch shape of each of the parameters."""
    dims = (1, 2, 3, 2, 3, 3, 2, 2)
    return [part.shape[: part.dim() - n] for part, n in zip(params, dims, strict=True)]


def _white_density(error: Tensor, root: Tensor) -> Tensor:
    """Return log N(error; 0, root root^T), (...)."""
    shape = torch.broadcast_shapes(error.shape[:-1], root.shape[:-2])
    wide = error.expand(*shape, -1)[..., None]
    white = torch.linalg.solve_triangular(root, wide, upper=False)[..., 0]
    log_det = root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return -0.5 * (white.square() + math.log(2 * math.pi)).sum(-1) - log_det
