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
    LEAST,
    Filtered,
    GaussianChain,
    LinearGaussian,
    ObservedChain,
    RegressionMoments,
    Smoothed,
    kalman_filter,
    kalman_smoother,
    regress,
)
from ppl_models.inputs import check_count, check_form
from ppl_models.sequences import Mask, SequenceModel, check_paths, clean, masked, numbers_seen


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
        self,
        length: int,
        s: Tensor | None = None,
        mask: Tensor | None = None,
        *,
        observed: Tensor | None = None,
    ) -> tuple[Tensor | None, Tensor]:
        """Sample one path in each place of the enclosing plates; return (z or None, s)."""
        params, s = self.dynamics(), None if s is None else clean(s, mask, observed)
        if self.form == "exact":
            return None, pyro.sample("s", ObservedChain(params, length, mask, observed), obs=s)
        z = pyro.sample("z", GaussianChain.prior(params, length, mask))
        return z, pyro.sample("s", self.observation(z, mask, observed), obs=s)

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

    def observation(
        self, z: Tensor, mask: Tensor | None = None, observed: Tensor | None = None
    ) -> dist.Independent:
        """Return p(s | z), event (T, D), for paths z (..., T, L)."""
        mean = z @ self.emission.mT + self.emission_offset
        distribution = dist.Normal(mean, self.noise_log_scale.exp(), validate_args=False)
        return masked(distribution, mask, observed).to_event(2)

    # --- exact answers ----------------------------------------------------------------------------

    def log_evidence(self, s: Tensor, mask: Mask = None, observed: Mask = None) -> Tensor:
        """Return log p(s) (B,) in nats, of the numbers that were seen."""
        return self.filter(s, mask, observed).log_evidence.sum(-1)

    def filter(self, s: Tensor, mask: Mask = None, observed: Mask = None) -> Filtered:
        """Return moments of p(z_t | s_{1:t}); after a path's last frame, of its forecast."""
        check_paths(s, mask, self.data_dim, observed)
        observed = numbers_seen(s, mask, observed)
        return kalman_filter(self.dynamics(), clean(s, mask, observed), mask, observed)

    def smooth(self, s: Tensor, mask: Mask = None, observed: Mask = None) -> Smoothed:
        """Return moments of p(z_t | s_{1:T}); after a path's last frame, of its forecast."""
        return kalman_smoother(self.dynamics(), self.filter(s, mask, observed))

    def posterior(self, s: Tensor, mask: Mask = None, observed: Mask = None) -> GaussianChain:
        """Return p(z_{1:T} | s), batch (B,), event (T, L): to draw paths from and score them."""
        filtered = self.filter(s, mask, observed)
        return GaussianChain.posterior(self.dynamics(), filtered, mask)

    def impute(self, s: Tensor, mask: Mask = None, observed: Mask = None) -> dist.Normal:
        """Return p(s_{t,d} | all numbers seen) of each number (B, T, D), by itself.

        Of a number that was seen, it is the distribution of another one in its place.
        """
        mean, cov, _ = self.smooth(s, mask, observed)
        loc = mean @ self.emission.mT + self.emission_offset
        spread = cov_of(self.emission, cov).diagonal(dim1=-2, dim2=-1)
        scale = (spread + (2 * self.noise_log_scale).exp()).sqrt()
        return dist.Normal(loc, scale, validate_args=False)

    def forecast(
        self,
        s: Tensor,
        mask: Tensor | None = None,
        observed: Tensor | None = None,
        *,
        steps: int = 1,
    ) -> Forecast:
        """Return the distributions of the ``steps`` frames after the last one of each path.

        Raises
        ------
        InputError
            ``steps`` is no whole number from 1.
        """
        frames, mask, observed, at = ahead(s, mask, self.data_dim, steps, observed)
        filtered = kalman_filter(self.dynamics(), frames, mask, observed)
        mean, cov = filtered.mean[at], filtered.cov[at]
        cov_of_s = cov_of(self.emission, cov) + (2 * self.noise_log_scale).exp().diag_embed()
        loc = mean @ self.emission.mT + self.emission_offset
        return Forecast(mean, cov, dist.MultivariateNormal(loc, cov_of_s, validate_args=False))

    # --- expectation maximisation -----------------------------------------------------------------

    def start_from(self, s: Tensor, mask: Mask = None, observed: Mask = None) -> LDS:
        """Initialise the emission from the principal axes of the frames of s; return self.

        Numbers that were not seen are taken to be the mean of those seen in their place.
        """
        start_emission(self, s, mask, observed)
        return self

    @torch.no_grad()
    def em_step(self, s: Tensor, mask: Mask = None, observed: Mask = None) -> float:
        """Take one step of EM (Shumway and Stoffer); return log p(s), summed, from before it.

        E: moments of p(z | s). M: of z_1, and two regressions, of z_{t+1} on z_t and of s_t on
        z_t, with offsets, expected under the posterior; each number of s_t is regressed on the
        frames where it was seen (R is diagonal). The evidence never falls.
        """
        filtered = self.filter(s, mask, observed)
        mean, cov, cross = kalman_smoother(self.dynamics(), filtered)
        cov, cross = (part.expand(*mean.shape[:1], *part.shape[-3:]) for part in (cov, cross))
        exists = torch.ones_like(s[..., 0]) if mask is None else mask.to(s.dtype)
        first, spread = mean[:, 0], cov[:, 0].diagonal(dim1=-2, dim2=-1)
        self.initial_mean.copy_(first.mean(0))
        variance = (spread + (first - self.initial_mean).square()).mean(0)
        self.initial_log_scale.copy_(0.5 * variance.clamp(LEAST).log())
        noise = self.noise_log_scale, self.emission, self.emission_offset
        flat = torch.zeros_like(s[..., None]).expand(*s.shape, self.latent_dim)
        seen = numbers_seen(s, mask, observed)
        outputs = RegressionMoments(clean(s, mask, seen), torch.zeros_like(s), flat)
        weight = exists[..., None] if seen is None else seen.to(s.dtype)
        regress(noise, RegressionMoments(mean, cov, cov), outputs, weight)
        if bool(exists[:, 1:].any()):
            process = self.process_log_scale, self.transition, self.transition_offset
            after = RegressionMoments(mean[:, 1:], cov[:, 1:].diagonal(dim1=-2, dim2=-1), cross)
            before = RegressionMoments(mean[:, :-1], cov[:, :-1], cov[:, :-1])
            regress(process, before, after, exists[:, 1:, None])
        return filtered.log_evidence.sum().item()


class Forecast(NamedTuple):
    """Predictive distributions of H further frames, each by itself."""

    mean: Tensor
    """(B, H, L): E(z_{T+h} | s_{1:T})."""
    cov: Tensor
    """(B, H, L, L): Cov(z_{T+h} | s_{1:T})."""
    frames: dist.MultivariateNormal
    """p(s_{T+h} | s_{1:T}), batch (B, H), event (D,)."""


@torch.no_grad()
def start_emission(
    model: Any, s: Tensor, mask: Tensor | None, observed: Tensor | None = None
) -> None:
    """Put C on the principal axes of the frames of s (B, T, D), d on their mean, R on the rest."""
    check_paths(s, mask, model.data_dim, observed)
    x = frames_filled(s, mask, numbers_seen(s, mask, observed))
    mean = x.mean(0)
    left, lengths, axes = torch.linalg.svd(x - mean, full_matrices=False)
    n = min(model.latent_dim, len(lengths))
    rest = x - mean - (left[:, :n] * lengths[:n]) @ axes[:n]
    least = 0.1 * (lengths.square().sum() / x.numel()).sqrt() + LEAST  # of a typical number
    model.emission_offset.copy_(mean)
    model.emission[:, :n] = axes[:n].T * (lengths[:n] / len(x) ** 0.5)
    model.noise_log_scale.copy_(rest.square().mean(0).sqrt().clamp(min=least).log())


def frames_filled(s: Tensor, mask: Tensor | None, observed: Tensor | None) -> Tensor:
    """Return the frames (frames, D) that exist and of which something was seen.

    What was not seen of them is the mean of what was seen in its place.
    """
    if observed is None:
        return s.flatten(0, 1) if mask is None else s[mask]
    x, seen = (part[observed.any(-1)] for part in (clean(s, mask, observed), observed))
    return torch.where(seen, x, x.sum(0) / seen.sum(0).clamp(min=1))


def cov_of(matrix: Tensor, cov: Tensor) -> Tensor:
    """Return the covariance of a matrix times a vector with that covariance."""
    return matrix @ cov @ matrix.mT


def ahead(
    s: Tensor, mask: Tensor | None, data_dim: int, steps: int, observed: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor | None, tuple[Tensor, Tensor]]:
    """Add missing frames; return s, what exists and was seen, and where the steps after an end are.

    Raises
    ------
    InputError
        As `check_paths`, and where ``steps`` is no whole number from 1.
    """
    check_paths(s, mask, data_dim, observed)
    check_count("steps", steps)
    size, length = s.shape[:2]
    seen = numbers_seen(s, mask, observed)
    exists = s.new_ones(size, length, dtype=torch.bool) if mask is None else mask
    empty = s.new_zeros(size, steps, data_dim)
    frames = exists.sum(-1)[:, None] + torch.arange(steps, device=s.device)
    at = torch.arange(size, device=s.device)[:, None], frames
    longer = torch.cat([exists, exists.new_zeros(size, steps)], 1)
    more = None if seen is None else torch.cat([seen, seen.new_zeros(size, steps, data_dim)], 1)
    return torch.cat([clean(s, mask, seen), empty], 1), longer, more, at
