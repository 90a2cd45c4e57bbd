r"""The restricted Boltzmann machine, an energy-based density: x and hidden bits z share an energy.

::

    p(x) = sum_z exp(-E(z, x)) / C            H hidden bits z, an undirected model

Given x, the bits of z are independent, and given z, the numbers of x: that is what *restricted*
means. But the normaliser C is a sum of 2^H terms, and sampling runs a Markov chain.

References
----------
Hinton, "A Practical Guide to Training Restricted Boltzmann Machines", 2010, sections 2 and 13.2.
Salakhutdinov and Murray, "On the Quantitative Analysis of Deep Belief Networks", ICML 2008.
"""

from __future__ import annotations

import copy
import math

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn
from torch.nn.functional import softplus

from ppl_models.distributions import DataKind, Density, check_kind
from ppl_models.errors import InputError
from ppl_models.inputs import check_count, count_rows
from ppl_models.ppca import finite

ENUMERABLE = 20  # bits: a million states


class RBM(nn.Module):
    r"""A restricted Boltzmann machine: an energy-based density with H hidden bits.

    .. math:: E(z, x) = -b^T x - c^T z - x^T W z \quad \mathrm{(bits)}, \qquad
              E(z, x) = |x - b|^2 / (2 s^2) - c^T z - x^T W z / s^2 \quad \mathrm{(real)}

    One site, ``x`` (D,), in the plate ``data``: z is summed in closed form, and its posterior is
    known (`posterior`). The normaliser C is exact up to 20 hidden bits (or visible ones): then the
    model is scored, simulated and fitted like any other, with its empty guide. Beyond, it is
    trained by `inference.training.contrastive` and C estimated by
    `inference.diagnostics.annealed_importance`, and simulation runs a Markov chain, whose draws are
    only as good as it is long.

    Parameters
    ----------
    data_dim, hidden_dim : int
        D and H.
    kind : "bits" or "real"
        Given z, x is Bernoulli(logits=b + W z) or Normal(b + W z, s^2), a mixture of 2^H Gaussians.
    sweeps : int
        Length of the chain of a simulation where C is out of reach.

    Raises
    ------
    InputError
        A setting out of its range.
    """

    def __init__(
        self,
        data_dim: int = 64,
        hidden_dim: int = 12,
        *,
        kind: DataKind = "bits",
        sweeps: int = 1000,
    ) -> None:
        super().__init__()
        check_count("data_dim", data_dim)
        check_count("hidden_dim", hidden_dim)
        check_kind(kind)
        self.data_dim, self.hidden_dim, self.kind, self.sweeps = data_dim, hidden_dim, kind, sweeps
        spread = 1.0 if kind == "real" else 0.1
        self.weight = nn.Parameter(spread * torch.randn(data_dim, hidden_dim))
        self.bias = nn.Parameter(torch.zeros(data_dim))
        self.hidden_bias = nn.Parameter(torch.zeros(hidden_dim))
        self.log_scale = nn.Parameter(torch.zeros(())) if kind == "real" else None

    def forward(self, x: Tensor | None = None, size: int = 1) -> Tensor:
        """Score data ``x`` (N, D); without data, simulate ``size`` of them.

        Raises
        ------
        InputError
            ``x`` does not have the shape (N, data_dim), or C is out of reach.
        """
        size = size if x is None else count_rows(x, self.data_dim)
        with pyro.plate("data", size, dim=-1):
            return pyro.sample("x", self.density(), obs=x)

    @torch.no_grad()
    def start_from(self, x: Tensor) -> None:
        """Initialise from ``x`` (N, D): hidden bits on half of the time, real noise of a third."""
        mean = finite(x, self.data_dim).mean(0)
        if self.log_scale is None:
            self.bias.copy_(mean.clamp(0.01, 0.99).logit())
        else:
            self.log_scale.copy_((x - mean).square().mean().sqrt().clamp(min=1e-3).log() - 1)
            self.weight.mul_(1.5 * self.log_scale.exp())
            self.bias.copy_(mean - self.weight.sum(1) / 2)
        self.hidden_bias.copy_(-(mean @ self.weight) * self.precision)

    def density(self) -> Density:
        """Return p(x), event shape (D,)."""
        return Density(self._draw, self._log_prob, self.data_dim, self.kind)

    def posterior(self, x: Tensor) -> TorchDistribution:
        """Return the exact p(z | x), event shape (H,), for x (..., D)."""
        logits = self.hidden_bias + (x @ self.weight) * self.precision
        return dist.Bernoulli(logits=logits, validate_args=False).to_event(1)

    def observation(self, z: Tensor) -> TorchDistribution:
        """Return p(x | z), event shape (D,), for z (..., H)."""
        raw = self.bias + z @ self.weight.T
        if self.log_scale is None:
            return dist.Bernoulli(logits=raw, validate_args=False).to_event(1)
        return dist.Normal(raw, self.log_scale.exp(), validate_args=False).to_event(1)

    @property
    def precision(self) -> Tensor:
        """One over s^2; 1 for bits."""
        return self.weight.new_ones(()) if self.log_scale is None else (-2 * self.log_scale).exp()

    def free_energy(self, x: Tensor) -> Tensor:
        """Return F(x) (...) = -log sum_z exp(-E(z, x)) for x (..., D): p(x) = exp(-F(x)) / C."""
        hidden = softplus(self.hidden_bias + (x @ self.weight) * self.precision).sum(-1)
        if self.log_scale is None:
            return -(x @ self.bias) - hidden
        return 0.5 * (x - self.bias).square().sum(-1) * self.precision - hidden

    @torch.no_grad()
    def transition(self, x: Tensor) -> Tensor:
        """Take a Gibbs step, which leaves p(x) invariant: draw z given x, then x given z."""
        return self.observation(self.posterior(x).sample()).sample()

    def log_partition(self) -> Tensor:
        """Return log C, exactly, in nats.

        Raises
        ------
        InputError
            There are more than 20 bits on either side.
        """
        if self.kind == "bits" and self.data_dim < self.hidden_dim:
            self._check_enumerable(self.data_dim)
            return (-self.free_energy(states(self.data_dim).to(self.bias))).logsumexp(0)
        self._check_enumerable(self.hidden_dim)
        return self._hidden_score(states(self.hidden_dim).to(self.bias)).logsumexp(0)

    def at(self, heat: float) -> RBM:
        """Return the machine with couplings and hidden biases times ``heat``: 1 is this one."""
        other = copy.deepcopy(self)
        with torch.no_grad():
            other.weight.mul_(heat)
            other.hidden_bias.mul_(heat)
        return other

    def base_log_partition(self) -> Tensor:
        """Return the exact log C of ``at(0)``, whose numbers are all independent."""
        return self.hidden_dim * math.log(2) + self._visible(self.bias)

    def _hidden_score(self, z: Tensor) -> Tensor:
        """Log of the integral of exp(-E(z, x)) over x."""
        return z @ self.hidden_bias + self._visible(self.bias + z @ self.weight.T)

    def _visible(self, logits: Tensor) -> Tensor:
        if self.log_scale is None:
            return softplus(logits).sum(-1)
        squares = 0.5 * self.precision * (logits.square() - self.bias.square()).sum(-1)
        return squares + self.data_dim * (0.5 * math.log(2 * math.pi) + self.log_scale)

    def _check_enumerable(self, bits: int) -> None:
        if bits > ENUMERABLE:
            found = f"{self.hidden_dim} hidden bits: the sum has 2^{bits} terms"
            cure = (
                "train by inference.training.fit_energy, and estimate C by annealed_log_partition"
            )
            raise InputError(
                "hidden_dim", found, f"at most {ENUMERABLE} for an exact density", cure
            )

    def _log_prob(self, x: Tensor) -> Tensor:
        return -self.free_energy(x) - self.log_partition()

    def _draw(self, shape: torch.Size) -> Tensor:
        if self.hidden_dim <= ENUMERABLE:
            z = states(self.hidden_dim).to(self.bias)
            chosen = dist.Categorical(logits=self._hidden_score(z)).sample(shape)
            return self.observation(z[chosen]).sample()
        x = self.observation(self.bias.new_zeros(*shape, self.hidden_dim)).sample()
        for _ in range(self.sweeps):
            x = self.transition(x)
        return x


def states(bits: int) -> Tensor:
    """Return all states of some bits, (2^bits, bits) of 0 and 1."""
    return (torch.arange(2**bits)[:, None] >> torch.arange(bits)) & 1
