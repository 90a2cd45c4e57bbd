r"""The linear dynamical system: a latent state moves by a matrix, and a matrix maps it to a frame.

::

    z_1 -> z_2 -> ... -> z_T          z_1 ~ N(m, P),  z_t ~ N(A z_{t-1} + b, Q)
     |      |             |
    s_1    s_2           s_T          s_t ~ N(C z_t + d, R)

P, Q and R are diagonal. A change of basis of z makes Q diagonal, at no cost; a diagonal R costs
nothing in p(s) only if L may grow, by latents that carry what is correlated in a frame. It is a
dynamical VAE in which every network is linear, so evidence and posterior are exact. Two forms of
the one model:

======  ======  ===========  ============  =================================================
form    site    batch shape  event shape   the guide
======  ======  ===========  ============  =================================================
exact   ``s``   (B,)         (T, D)        empty: z is integrated out, by the Kalman filter
joint   ``z``   (B,)         (T, L)        samples z from p(z | s): the bound of every draw
        ``s``   (B,)         (T, D)        is the evidence
======  ======  ===========  ============  =================================================

References: R. E. Kalman 1960; R. H. Shumway, D. S. Stoffer, "An approach to time series smoothing
and forecasting using the EM algorithm", J. Time Series Analysis 1982; Z. Ghahramani, G. E. Hinton,
"Parameter estimation for linear dynamical systems", technical report CRG-TR-96-2, 1996.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ppl_models.distributions import (
    Filtered,
    GaussianChain,
    LinearGaussian,
    ObservedChain,
    Smoothed,
    kalman_filter,
    kalman_smoother,
)
from ppl_models.hmm import check_form
from ppl_models.inputs import check_count
from ppl_models.sequences import SequenceModel, check_paths, clean

LEAST = 1e-12
"""Least variance that expectation maximisation takes, in squared units."""


class LDS(SequenceModel):
    """A linear dynamical system of paths s (B, T, D), with L latent numbers a frame.

    Parameters
    ----------
    data_dim, latent_dim : int
        D and L.
    form : "exact" or "joint"
        Whether z is integrated out or a site; the evidence is the same.

    Raises
    ------
    InputError
        An unknown form, or a size that is no whole number from 1.
    """

    def __init__(
        self,
        data_dim: int = 4,
        latent_dim: int = 4,
        *,
        form: Literal["exact", "joint"] = "exact",
    ) -> None:
        super().__init__()
        check_count("data_dim", data_dim)
        check_count("latent_dim", latent_dim)
        check_form(form, ("exact", "joint"))
        self.data_dim, self.latent_dim, self.form = data_dim, latent_dim, form
        self.initial_mean = nn.Parameter(torch.zeros(latent_dim))
        self.initial_log_scale = nn.Parameter(torch.zeros(latent_dim))
        self.transition = nn.Parameter(0.9 * torch.eye(latent_dim))
        self.transition_offset = nn.Parameter(torch.zeros(latent_dim))
        self.process_log_scale = nn.Parameter(torch.full((latent_dim,), -1.0))
        self.emission = nn.Parameter(torch.randn(data_dim, latent_dim) / latent_dim**0.5)
        self.emission_offset = nn.Parameter(torch.zeros(data_dim))
        self.noise_log_scale = nn.Parameter(torch.full((data_dim,), -1.0))

    def path(
        self, length: int, s: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor | None, Tensor]:
        """Sample one path in each place of the enclosing plates; return (z or None, s)."""
        params, s = self.dynamics(), None if s is None else clean(s, mask)
        if self.form == "exact":
            return None, pyro.sample("s", ObservedChain(params, length, mask), obs=s)
        z = pyro.sample("z", GaussianChain.prior(params, length, mask))
        return z, pyro.sample("s", self.observation(z, mask), obs=s)

    def dynamics(self) -> LinearGaussian:
        """Return the parameters, the same for every frame."""
        return LinearGaussian(
            self.initial_mean,
            (2 * self.initial_log_scale).exp().diag_embed(),
            self.transition[None],
            self.transition_offset[None],
            (2 * self.process_log_scale).exp().diag_embed()[None],
            self.emission[None],
            self.emission_offset[None],
            (2 * self.noise_log_scale).exp()[None],
        )

    def observation(self, z: Tensor, mask: Tensor | None = None) -> dist.Independent:
        """Return p(s | z), event (T, D), for paths z (..., T, L)."""
        mean = z @ self.emission.mT + self.emission_offset
        distribution = dist.Normal(mean, self.noise_log_scale.exp(), validate_args=False)
        return (distribution if mask is None else distribution.mask(mask[..., None])).to_event(2)

    # --- exact answers ----------------------------------------------------------------------------

    def log_evidence(self, s: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return log p(s) (B,) in nats."""
        return self.filter(s, mask).log_evidence.sum(-1)

    def filter(self, s: Tensor, mask: Tensor | None = None) -> Filtered:
        """Return moments of p(z_t | s_{1:t}); after a path's last frame, of its forecast."""
        check_paths(s, mask, self.data_dim)
        return kalman_filter(self.dynamics(), clean(s, mask), mask)

    def smooth(self, s: Tensor, mask: Tensor | None = None) -> Smoothed:
        """Return moments of p(z_t | s_{1:T}); after a path's last frame, of its forecast."""
        return kalman_smoother(self.dynamics(), self.filter(s, mask))

    def posterior(self, s: Tensor, mask: Tensor | None = None) -> GaussianChain:
        """Return p(z_{1:T} | s), batch (B,), event (T, L): to draw paths from and score them."""
        return GaussianChain.posterior(self.dynamics(), self.filter(s, mask), mask)

    def forecast(self, s: Tensor, mask: Tensor | None = None, *, steps: int = 1) -> Forecast:
        """Return the distributions of the ``steps`` frames after the last one of each path.

        Raises
        ------
        InputError
            ``steps`` is no whole number from 1.
        """
        s, mask, at = ahead(s, mask, self.data_dim, steps)
        filtered = kalman_filter(self.dynamics(), s, mask)
        mean, cov = filtered.mean[at], filtered.cov[at]
        frames = cov_of(self.emission, cov) + (2 * self.noise_log_scale).exp().diag_embed()
        loc = mean @ self.emission.mT + self.emission_offset
        return Forecast(mean, cov, dist.MultivariateNormal(loc, frames, validate_args=False))

    # --- expectation maximisation -----------------------------------------------------------------

    def start_from(self, s: Tensor, mask: Tensor | None = None) -> LDS:
        """Initialise the emission from the principal axes of the frames of s; return self."""
        start_emission(self, s, mask)
        return self

    @torch.no_grad()
    def em_step(self, s: Tensor, mask: Tensor | None = None) -> float:
        """Take one step of EM (Shumway and Stoffer); return log p(s), summed, from before it.

        E: moments of p(z | s). M: of z_1, and two regressions, of z_{t+1} on z_t and of s_t on
        z_t, with offsets, expected under the posterior. The evidence never falls.
        """
        filtered = self.filter(s, mask)
        mean, cov, cross = kalman_smoother(self.dynamics(), filtered)
        cov, cross = (part.expand(*mean.shape[:1], *part.shape[-3:]) for part in (cov, cross))
        exists = torch.ones_like(s[..., 0]) if mask is None else mask.to(s.dtype)
        first, spread = mean[:, 0], cov[:, 0].diagonal(dim1=-2, dim2=-1)
        self.initial_mean.copy_(first.mean(0))
        variance = (spread + (first - self.initial_mean).square()).mean(0)
        self.initial_log_scale.copy_(0.5 * variance.clamp(LEAST).log())
        noise = self.noise_log_scale, self.emission, self.emission_offset
        flat = torch.zeros_like(s[..., None]).expand(*s.shape, self.latent_dim)
        outputs = RegressionMoments(clean(s, mask), torch.zeros_like(s), flat)
        _regress(noise, RegressionMoments(mean, cov, cov), outputs, exists)
        if bool(exists[:, 1:].any()):
            process = self.process_log_scale, self.transition, self.transition_offset
            after = RegressionMoments(mean[:, 1:], cov[:, 1:].diagonal(dim1=-2, dim2=-1), cross)
            before = RegressionMoments(mean[:, :-1], cov[:, :-1], cov[:, :-1])
            _regress(process, before, after, exists[:, 1:])
        return filtered.log_evidence.sum().item()


class Forecast(NamedTuple):
    """Predictive distributions of H further frames, each by itself."""

    mean: Tensor
    """(B, H, L): E(z_{T+h} | s_{1:T})."""
    cov: Tensor
    """(B, H, L, L): Cov(z_{T+h} | s_{1:T})."""
    frames: dist.MultivariateNormal
    """p(s_{T+h} | s_{1:T}), batch (B, H), event (D,)."""


class RegressionMoments(NamedTuple):
    """Moments of the inputs of a regression, or of its outputs."""

    mean: Tensor
    """(B, T, L) of inputs, or (B, T, D) of outputs."""
    cov: Tensor
    """(B, T, L, L) of inputs, or its diagonal (B, T, D) of outputs."""
    cross: Tensor
    """(B, T, D, L): covariance of outputs with inputs."""


def _regress(
    target: tuple[Tensor, ...], x: RegressionMoments, y: RegressionMoments, weight: Tensor
) -> None:
    """Put the best y = W x + d + noise, expected over x and y, into (log scale, W, d)."""
    log_scale, matrix, offset = target
    total, wide = weight.sum(), weight[..., None]
    x_mean, y_mean = ((wide * part.mean).sum((0, 1)) / total for part in (x, y))
    dx, dy = x.mean - x_mean, y.mean - y_mean
    xx = torch.einsum("btl,btm->lm", wide * dx, dx) + torch.einsum("bt,btlm->lm", weight, x.cov)
    yx = torch.einsum("btd,btl->dl", wide * dy, dx) + torch.einsum("bt,btdl->dl", weight, y.cross)
    matrix.copy_(torch.linalg.solve(xx, yx.mT).mT)
    offset.copy_(y_mean - matrix @ x_mean)
    left = (dy - dx @ matrix.mT).square() + y.cov  # a sum of squares, and then what x explains
    left = left - 2 * torch.einsum("btdl,dl->btd", y.cross, matrix)
    left = left + torch.einsum("dl,btlm,dm->btd", matrix, x.cov, matrix)
    variance = (wide * left).sum((0, 1)) / total
    log_scale.copy_(0.5 * variance.clamp(LEAST).log())


@torch.no_grad()
def start_emission(model: Any, s: Tensor, mask: Tensor | None) -> None:
    """Put C on the principal axes of the frames of s (B, T, D), d on their mean, R on the rest."""
    check_paths(s, mask, model.data_dim)
    x = s.flatten(0, 1) if mask is None else s[mask]
    mean = x.mean(0)
    left, lengths, axes = torch.linalg.svd(x - mean, full_matrices=False)
    n = min(model.latent_dim, len(lengths))
    rest = x - mean - (left[:, :n] * lengths[:n]) @ axes[:n]
    least = 0.1 * (lengths.square().sum() / x.numel()).sqrt() + LEAST  # of a typical number
    model.emission_offset.copy_(mean)
    model.emission[:, :n] = axes[:n].T * (lengths[:n] / len(x) ** 0.5)
    model.noise_log_scale.copy_(rest.square().mean(0).sqrt().clamp(min=least).log())


def cov_of(matrix: Tensor, cov: Tensor) -> Tensor:
    """Return the covariance of a matrix times a vector with that covariance."""
    return matrix @ cov @ matrix.mT


def ahead(
    s: Tensor, mask: Tensor | None, data_dim: int, steps: int
) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
    """Add missing frames; return s, its mask, and where the ``steps`` after each end are.

    Raises
    ------
    InputError
        As `check_paths`, and where ``steps`` is no whole number from 1.
    """
    check_paths(s, mask, data_dim)
    check_count("steps", steps)
    size, length = s.shape[:2]
    exists = s.new_ones(size, length, dtype=torch.bool) if mask is None else mask
    empty = s.new_zeros(size, steps, data_dim)
    frames = exists.sum(-1)[:, None] + torch.arange(steps, device=s.device)
    at = torch.arange(size, device=s.device)[:, None], frames
    longer = torch.cat([exists, exists.new_zeros(size, steps)], 1)
    return torch.cat([clean(s, mask), empty], 1), longer, at
