"""Priors whose density is a network's: an autoregressive flow, and a density ratio.

=====================  =============================================  =======================
part                   p(z)                                           `log_prob`
=====================  =============================================  =======================
`FlowPrior`            noise, made z by masked autoregressive layers  exact
`AggregatedPosterior`  Normal(0, I) exp(T(z)) / Z                     but for log Z, which is
                                                                      estimated, with an error
=====================  =============================================  =======================
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from pyro.distributions.torch_distribution import TorchDistribution
from pyro.nn import AutoRegressiveNN
from torch import Tensor, nn
from torch.distributions import constraints

from ppl_models.distributions import HALF_LOG_2PI
from ppl_models.inputs import check_count, check_widths
from ppl_models.networks import MLP
from ppl_models.priors.simple import Prior


class FlowPrior(Prior):
    """A masked autoregressive flow: layers of z_i = mean_i(z_{<i}) + scale_i(z_{<i}) e_i.

    Density in one pass of each layer; a draw takes L passes of each. Between layers the order of
    the dims is reversed. Papamakarios, Pavlakou and Murray, "Masked Autoregressive Flow for Density
    Estimation", NeurIPS 2017, equations 2-5; as the prior of a VAE, Chen et al., "Variational Lossy
    Autoencoder", ICLR 2017, section 3.2.

    Parameters
    ----------
    latent_dim : int
        L.
    num_layers : int
        Layers.
    hidden_dims : sequence of int
        Widths of the hidden layers of each layer's network, at least L each.
    """

    REACH = 4.0
    """Log scales lie between -REACH and REACH, so that no step of training breaks a draw."""

    def __init__(
        self, latent_dim: int, num_layers: int = 2, hidden_dims: Sequence[int] = (64, 64)
    ) -> None:
        super().__init__(latent_dim)
        check_count("num_layers", num_layers)
        sizes = list(check_widths(hidden_dims, least=latent_dim))
        order = torch.arange(latent_dim)
        with warnings.catch_warnings():  # Pyro's, that one dim needs no network
            warnings.simplefilter("ignore", UserWarning)
            nets = [
                AutoRegressiveNN(latent_dim, sizes, permutation=order, nonlinearity=nn.Tanh())  # type: ignore[arg-type]
                for _ in range(num_layers)
            ]
        self.layers = nn.ModuleList(nets)

    def distribution(self) -> TorchDistribution:
        """Return p(z), batch shape () and event shape (L,)."""
        return ByFunctions(self.score, self.draw, self.latent_dim)

    def score(self, z: Tensor) -> Tensor:
        """Return log p(z) of codes (..., L): (...)."""
        total = torch.zeros_like(z[..., 0])
        for layer in self.layers:
            mean, log_scale = self._moments(layer, z)
            z = ((z - mean) * (-log_scale).exp()).flip(-1)
            total = total - log_scale.sum(-1)
        return total + standard(z)

    def draw(self, shape: torch.Size) -> Tensor:
        """Draw codes (*shape, L)."""
        like = next(self.parameters())
        z = torch.randn(*shape, self.latent_dim, dtype=like.dtype, device=like.device)
        for layer in reversed(self.layers):
            noise, z = z.flip(-1), torch.zeros_like(z)
            for i in range(self.latent_dim):
                mean, log_scale = self._moments(layer, z)
                z[..., i] = mean[..., i] + log_scale[..., i].exp() * noise[..., i]
        return z

    def _moments(self, layer: nn.Module, z: Tensor) -> tuple[Tensor, Tensor]:
        mean, raw = layer(z)
        return mean, self.REACH * torch.tanh(raw / self.REACH)


class AggregatedPosterior(Prior):
    """p(z) = Normal(z; 0, I) exp(T(z)) / Z, where T is learned to be log q(z) / Normal(z; 0, I).

    The prior that makes the bound largest is the aggregated posterior q(z), the mean of q(z | x)
    over the data. Its log ratio to the standard normal is what a critic T learns that classifies
    draws as codes or as standard normal. Takahashi et al., "Variational Autoencoder with Implicit
    Optimal Priors", AAAI 2019, equations 6-12, where T is not normalised; here Z is estimated
    whenever T changes, so that a bound is a bound of a model, up to the error of log Z.

    T is learned by ``Objective(penalties=(DensityRatio(prior.critic),))``
    (`inference.objectives.penalties.ratio`), never by the bound's gradient: its parameters do not
    require one.

    Parameters
    ----------
    latent_dim : int
        L.
    critic : nn.Module, optional
        T, any network (..., L) -> (..., 1), in place of one of two layers of 128.
    num_samples : int
        M, standard draws that estimate Z = E exp(T(z)).
    candidates : int
        Standard draws of which one is kept for a draw of z, with weights exp(T): sampling
        importance resampling, exact as their number grows.
    """

    log_z: Tensor
    log_z_error: Tensor

    def __init__(
        self,
        latent_dim: int,
        critic: nn.Module | None = None,
        *,
        num_samples: int = 2**14,
        candidates: int = 200,
    ) -> None:
        super().__init__(latent_dim)
        check_count("num_samples", num_samples, 2)
        check_count("candidates", candidates)
        self.critic = critic or MLP(latent_dim, 128, 128, 1)
        self.critic.requires_grad_(False)
        self.num_samples, self.candidates = num_samples, candidates
        self.register_buffer("log_z", torch.zeros(()))
        self.register_buffer("log_z_error", torch.zeros(()))
        self.normalise()

    def distribution(self) -> TorchDistribution:
        """Return p(z), batch shape () and event shape (L,)."""
        return ByFunctions(self.score, self.draw, self.latent_dim)

    def score(self, z: Tensor) -> Tensor:
        """Return log p(z) of codes (..., L): (...); its error is ``log_z_error``, one for all."""
        return standard(z) + self.critic(z).squeeze(-1) - self.log_z

    def draw(self, shape: torch.Size) -> Tensor:
        """Draw codes (*shape, L), each one of ``candidates``."""
        pool = torch.randn(*shape, self.candidates, self.latent_dim).to(self.log_z)
        chosen = torch.distributions.Categorical(logits=self.critic(pool).squeeze(-1)).sample()
        index = chosen[..., None, None].expand(*shape, 1, self.latent_dim)
        return pool.gather(-2, index).squeeze(-2)

    @torch.no_grad()
    def normalise(self, num_samples: int | None = None, seed: int = 0) -> None:
        """Estimate log Z, and its standard error (delta method), from M standard draws.

        The error is that of the draws it had: where T is large at places that none of them came
        near, log Z is larger still, and bounds are too good by as much. Look at the error, and at
        another seed's estimate, before you trust bounds of many dims.
        """
        count = num_samples or self.num_samples
        generator = torch.Generator().manual_seed(seed)
        sizes = [min(4096, count - start) for start in range(0, count, 4096)]
        draws = (torch.randn(size, self.latent_dim, generator=generator) for size in sizes)
        logs = torch.cat([self.critic(z.to(self.log_z)).squeeze(-1) for z in draws])
        self.log_z.copy_(logs.logsumexp(0) - math.log(count))
        ratio = (logs - self.log_z).exp()
        self.log_z_error.copy_(ratio.std() / math.sqrt(count))

    def take(self, critic: nn.Module) -> None:
        """Copy the weights of a trained critic, and estimate log Z again."""
        self.critic.load_state_dict(critic.state_dict())
        self.normalise()


def standard(z: Tensor) -> Tensor:
    """Return log Normal(z; 0, I) of codes (..., L): (...)."""
    return -0.5 * (z * z).sum(-1) - HALF_LOG_2PI * z.shape[-1]


class ByFunctions(TorchDistribution):
    """A distribution of vectors, given by two functions.

    Parameters
    ----------
    score : callable
        From values (..., L), log densities (...).
    draw : callable
        From a shape, values (*shape, L).
    size : int
        L.
    batch_shape : tuple of int
        The enclosing plates expand it.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}
    support = constraints.real_vector

    def __init__(
        self,
        score: Callable[[Tensor], Tensor],
        draw: Callable[[torch.Size], Tensor],
        size: int,
        batch_shape: tuple[int, ...] = (),
    ) -> None:
        self.score, self.draw, self.size = score, draw, size
        super().__init__(torch.Size(batch_shape), torch.Size((size,)), validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> ByFunctions:
        """Return the same distribution with a larger batch shape: independent draws of it."""
        return ByFunctions(self.score, self.draw, self.size, tuple(batch_shape))

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw values (*sample_shape, *batch_shape, L)."""
        return self.draw(torch.Size(sample_shape) + self.batch_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density of values (..., L): (...)."""
        total = self.score(value)
        return total.expand(torch.broadcast_shapes(total.shape, self.batch_shape))
