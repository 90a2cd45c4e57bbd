r"""The switching linear dynamical system: a latent state moves by one of K matrices at a time.

::

    k_1 -> k_2 -> ... -> k_T          k_1 ~ Categorical(initial),  k_t ~ Categorical(step[k_{t-1}])
            |             |
    z_1 -> z_2 -> ... -> z_T          z_1 ~ N(m, P),  z_t ~ N(A_k z_{t-1} + b_k, Q_k),  k = k_t
     |      |             |
    s_1    s_2           s_T          s_t ~ N(C z_t + d, R)

Given the regimes it is a linear dynamical system, so z is integrated out exactly, by the Kalman
filter, and sites are

======  ==========================================  ===========
site    batch shape                                 event shape
======  ==========================================  ===========
``k``   (B,), or all paths of regimes (K^T, 1)      (T,)
``s``   (B,)                                        (T, D)
======  ==========================================  ===========

What is exact, and what is not:

* ``form="enumerated"``: every path of regimes is summed, K^T Kalman filters. The bound is the
  evidence. For short paths: K^T at most `MOST`.
* ``form="sampled"``: the guide samples k (`guides.slds`), and s is scored exactly given it. The
  bound is below the evidence by KL(q(k) || p(k | s)).
* `log_evidence` sums all paths; with ``particles`` it estimates, and exp of the estimate is
  unbiased for p(s). `filter` and `forecast` always use particles.

No polynomial algorithm is exact: the filter is a mixture of K^t Gaussians.

References: C.-J. Kim, "Dynamic linear models with Markov-switching", J. Econometrics 1994;
A. Doucet, N. de Freitas, K. Murphy, S. Russell, "Rao-Blackwellised particle filtering for dynamic
Bayesian networks", UAI 2000; Z. Ghahramani, G. E. Hinton, "Variational learning for switching
state-space models", Neural Computation 2000.
"""

from __future__ import annotations

from typing import Literal

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ppl_models.distributions import (
    GaussianChain,
    LinearGaussian,
    MarkovPath,
    ObservedChain,
    Tracked,
    kalman_filter,
    matvec,
    track,
)
from ppl_models.errors import InputError
from ppl_models.inputs import check_count, check_form
from ppl_models.lds import ahead, cov_of, start_emission
from ppl_models.sequences import Mask, SequenceModel, check_paths, clean, numbers_seen

MOST = 100_000
"""Paths of regimes that are summed one by one."""


class SLDS(SequenceModel):
    """A switching linear dynamical system of paths s (B, T, D).

    Parameters
    ----------
    data_dim, latent_dim, num_regimes : int
        D, L and K.
    form : "sampled" or "enumerated"
        Whether regimes are sampled by the guide or summed.

    Raises
    ------
    InputError
        An unknown form, or a size that is no whole number from 1.
    """

    def __init__(
        self,
        data_dim: int = 4,
        latent_dim: int = 4,
        num_regimes: int = 2,
        *,
        form: Literal["sampled", "enumerated"] = "sampled",
    ) -> None:
        super().__init__()
        for name, size in (
            ("data_dim", data_dim),
            ("latent_dim", latent_dim),
            ("num_regimes", num_regimes),
        ):
            check_count(name, size)
        check_form(form, ("sampled", "enumerated"))
        self.data_dim, self.latent_dim, self.num_regimes = data_dim, latent_dim, num_regimes
        self.form, shape = form, (num_regimes, latent_dim)
        self.regime_logits = nn.Parameter(torch.zeros(num_regimes))
        self.switch_logits = nn.Parameter(3 * torch.eye(num_regimes))  # regimes last a while
        self.initial_mean = nn.Parameter(torch.zeros(latent_dim))
        self.initial_log_scale = nn.Parameter(torch.zeros(latent_dim))
        near = 0.9 * torch.eye(latent_dim) + 0.1 * torch.randn(*shape, latent_dim)
        self.transition = nn.Parameter(near)
        self.transition_offset = nn.Parameter(torch.zeros(shape))
        self.process_log_scale = nn.Parameter(torch.full(shape, -1.0))
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
    ) -> tuple[Tensor, Tensor]:
        """Sample one path in each place of the enclosing plates; return (k, s)."""
        s = None if s is None else clean(s, mask, observed)
        summed = self.form == "enumerated" and s is not None
        if summed:
            self._check_paths_of_regimes(length)
        chain = self.regimes(length, mask, summed=summed)
        k = pyro.sample("k", chain, infer={"enumerate": "parallel"} if summed else {})
        frames = ObservedChain(self.dynamics(k), length, mask, observed)
        return k, pyro.sample("s", frames, obs=s)

    def regimes(self, length: int, mask: Mask = None, *, summed: bool = False) -> MarkovPath:
        """Return p(k), event (T,); ``mask`` and ``summed`` as `MarkovPath` takes them."""
        steps = self.switch_logits.expand(length - 1, -1, -1)
        return MarkovPath(self.regime_logits, steps, mask, summed=summed)

    def dynamics(self, k: Tensor) -> LinearGaussian:
        """Return the linear-Gaussian model given regimes k (..., T); k_1 has no transition."""
        moves = k[..., 1:]
        return LinearGaussian(
            *self.start(),
            self.transition[moves],
            self.transition_offset[moves],
            (2 * self.process_log_scale).exp().diag_embed()[moves],
            *self.emission_params(),
        )

    # --- exact answers ----------------------------------------------------------------------------

    def states(
        self, s: Tensor, k: Tensor, mask: Tensor | None = None, observed: Tensor | None = None
    ) -> GaussianChain:
        """Return p(z | s, k), batch (B,), event (T, L), of paths s whose regimes are k (B, T)."""
        check_paths(s, mask, self.data_dim, observed)
        params, seen = self.dynamics(k), numbers_seen(s, mask, observed)
        filtered = kalman_filter(params, clean(s, mask, seen), mask, seen)
        return GaussianChain.posterior(params, filtered, mask)

    def joint(self, s: Tensor, mask: Mask = None, observed: Mask = None) -> tuple[Tensor, Tensor]:
        """Return all paths of regimes (K^T, T), and log p(s, k) of each (K^T, B).

        Frames that do not exist have regimes too, of the chain's own.

        Raises
        ------
        InputError
            There are more than `MOST` paths.
        """
        check_paths(s, mask, self.data_dim, observed)
        self._check_paths_of_regimes(s.shape[1])
        chain, seen = self.regimes(s.shape[1]), numbers_seen(s, mask, observed)
        k = chain.enumerate_support()
        frames = ObservedChain(self.dynamics(k[:, None]), s.shape[1], mask, seen)
        return k, chain.log_prob(k)[:, None] + frames.log_prob(clean(s, mask, seen))

    def log_evidence(
        self,
        s: Tensor,
        mask: Tensor | None = None,
        observed: Tensor | None = None,
        *,
        num_particles: int | None = None,
        seed: int = 0,
    ) -> Tensor:
        """Return log p(s) (B,) in nats: exactly, or as ``num_particles`` estimate."""
        if num_particles is None:
            return self.joint(s, mask, observed)[1].logsumexp(0)
        cloud = self.filter(s, mask, observed, num_particles=num_particles, seed=seed)
        return cloud.log_evidence

    # --- estimates --------------------------------------------------------------------------------

    def filter(
        self,
        s: Tensor,
        mask: Tensor | None = None,
        observed: Tensor | None = None,
        *,
        num_particles: int = 100,
        seed: int = 0,
    ) -> Tracked:
        """Estimate p(k_t, z_t | s_{1:t}), by particles."""
        return track(self, s, mask, observed, num_particles=num_particles, seed=seed)

    def forecast(
        self,
        s: Tensor,
        mask: Tensor | None = None,
        observed: Tensor | None = None,
        *,
        steps: int = 1,
        num_particles: int = 100,
        seed: int = 0,
    ) -> dist.MixtureSameFamily:
        """Estimate the distributions of the ``steps`` frames after the last one of each path.

        Returns a mixture of a Gaussian a particle: batch (B, H), event (D,), each frame by itself.

        Raises
        ------
        InputError
            ``steps`` or ``num_particles`` is no whole number from 1.
        """
        s, mask, observed, at = ahead(s, mask, self.data_dim, steps, observed)
        cloud = track(self, s, mask, observed, num_particles=num_particles, seed=seed)
        mean, cov = cloud.mean[at], cloud.cov[at]
        loc = mean @ self.emission.mT + self.emission_offset
        frames = cov_of(self.emission, cov) + (2 * self.noise_log_scale).exp().diag_embed()
        each = dist.MultivariateNormal(loc, frames, validate_args=False)
        return dist.MixtureSameFamily(dist.Categorical(logits=torch.zeros_like(loc[..., 0])), each)

    def start_from(self, s: Tensor, mask: Mask = None, observed: Mask = None) -> SLDS:
        """Initialise the emission from the principal axes of the frames of s; return self."""
        start_emission(self, s, mask, observed)
        return self

    # --- one frame --------------------------------------------------------------------------------

    def branch(
        self, mean: Tensor, cov: Tensor, frame: Tensor, seen: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Move z ~ N(mean, cov), (..., L), by each regime, and `update` it with a frame (..., D).

        Returns moments (..., K, L) and (..., K, L, L), and log p(s_t | k_t, past) (..., K).
        """
        noise = (2 * self.process_log_scale).exp().diag_embed()
        mean = matvec(self.transition, mean[..., None, :]) + self.transition_offset
        cov = cov_of(self.transition, cov[..., None, :, :]) + noise
        return self.update(mean, cov, frame[..., None, :], seen[..., None, :])

    def update(
        self, mean: Tensor, cov: Tensor, frame: Tensor, seen: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return moments of z ~ N(mean, cov) given a frame, and its log evidence.

        ``seen`` (..., D) says which of its numbers there are.
        """
        none = cov.new_zeros(0, *cov.shape[-2:])  # steps of a path of one frame
        own = LinearGaussian(mean, cov, none, none[..., 0], none, *self.emission_params())
        found = kalman_filter(own, frame[..., None, :], None, seen[..., None, :])
        return found.mean[..., 0, :], found.cov[..., 0, :, :], found.log_evidence[..., 0]

    def start(self) -> tuple[Tensor, Tensor]:
        """Return m and P."""
        return self.initial_mean, (2 * self.initial_log_scale).exp().diag_embed()

    def emission_params(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return C, d and the diagonal of R, with a time dim."""
        noise = (2 * self.noise_log_scale).exp()
        return self.emission[None], self.emission_offset[None], noise[None]

    def _check_paths_of_regimes(self, length: int) -> None:
        paths = self.num_regimes**length
        if paths > MOST:
            found, cure = f"{self.num_regimes}^{length} paths of regimes", 'take form="sampled"'
            cure = f"{cure}, give particles, or pass shorter paths"
            raise InputError("s", found, f"at most {MOST}, to sum one by one", cure)
