"""Priors: the distribution of a latent code, as parts of a model.

Each is called inside the model's plate, samples its sites, and returns the code z (..., L):
``z = self.prior()``. Its `log_prob` is the exact marginal density of z.

===================  ==============================================  =============================
part                 p(z)                                            learns
===================  ==============================================  =============================
`StandardPrior`      Normal(0, I)                                    nothing
`MixturePrior`       K Gaussians, ``component`` summed out           weights, means, scales
`VampPrior`          the mean of K posteriors q(z | u_k)             K pseudo-data u_k
`ConditionalPrior`   a Gaussian given a condition                    a network
===================  ==============================================  =============================

`ppl_models.priors.density` has two more: an autoregressive flow, and the aggregated posterior by
density ratio.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn

from ppl_models.distributions import DiagonalMixture
from ppl_models.errors import InputError
from ppl_models.inputs import check_count, check_widths
from ppl_models.networks import MLP, split_normal


class Prior(nn.Module):
    """What all priors share: one site, of event shape (L,).

    Parameters
    ----------
    latent_dim : int
        L.
    """

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        check_count("latent_dim", latent_dim)
        self.latent_dim = latent_dim

    def forward(self, name: str = "z") -> Tensor:
        """Sample the site ``name`` in the plate around: (..., L)."""
        return pyro.sample(name, self.distribution())

    def distribution(self) -> TorchDistribution:
        """Return p(z), batch shape () and event shape (L,)."""
        raise NotImplementedError

    def log_prob(self, z: Tensor) -> Tensor:
        """Return log p(z) of codes (..., L): (...)."""
        return self.distribution().log_prob(z)


class StandardPrior(Prior):
    """z ~ Normal(0, I)."""

    zero: Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__(latent_dim)
        self.register_buffer("zero", torch.zeros(latent_dim), persistent=False)

    def distribution(self) -> TorchDistribution:
        """Return p(z), batch shape () and event shape (L,)."""
        return dist.Normal(self.zero, 1.0).to_event(1)


class MixturePrior(Prior):
    """component ~ Categorical(weights); z ~ Normal(loc[component], diag scale[component]^2).

    The site ``component`` is marked for enumeration: `Objective` sums it out exactly, so a guide
    names z alone, and `inference.enumeration` has its posterior. Jiang et al., "Variational Deep
    Embedding", IJCAI 2017, equations 1-3.

    Parameters
    ----------
    latent_dim : int
        L.
    num_components : int
        K. Means start as draws of Normal(0, I), scales at 1, weights equal.
    summed : bool
        Leave the site ``component`` out, and give z its marginal density: the same bound in less
        time, and the form that penalties need, which take a draw of every latent site.
    """

    def __init__(self, latent_dim: int, num_components: int, *, summed: bool = False) -> None:
        super().__init__(latent_dim)
        self.summed = summed
        check_count("num_components", num_components)
        self.logits = nn.Parameter(torch.zeros(num_components))
        self.loc = nn.Parameter(torch.randn(num_components, latent_dim))
        self.log_scale = nn.Parameter(torch.zeros(num_components, latent_dim))

    def forward(self, name: str = "z") -> Tensor:
        """Sample the sites ``component``, unless it is summed out, and ``name``."""
        if self.summed:
            return super().forward(name)
        weights, loc, scale = dist.Categorical(logits=self.logits), self.loc, self.log_scale.exp()
        k = pyro.sample("component", weights, infer={"enumerate": "parallel"})
        return pyro.sample(name, dist.Normal(loc[k], scale[k]).to_event(1))

    def distribution(self) -> DiagonalMixture:
        """Return p(z), the component summed out."""
        return DiagonalMixture(self.loc, self.log_scale.exp(), self.logits)


class ConditionalPrior(Prior):
    """z ~ Normal(loc(c), diag scale(c)^2), both of them a network's outputs for a condition c.

    Sohn, Lee and Yan, "Learning Structured Output Representation using Deep Conditional Generative
    Models", NeurIPS 2015, section 4.1.

    Parameters
    ----------
    condition_dim, latent_dim : int
        C, L.
    hidden_dims : sequence of int
        Widths of the network's hidden layers.
    """

    def __init__(
        self, condition_dim: int, latent_dim: int, hidden_dims: Sequence[int] = (128,)
    ) -> None:
        super().__init__(latent_dim)
        self.network = MLP(condition_dim, *check_widths(hidden_dims), 2 * latent_dim)

    def forward(self, name: str = "z", *, condition: Tensor) -> Tensor:  # type: ignore[override]
        """Sample the site ``name`` given the condition (..., C)."""
        return pyro.sample(name, self.distribution(condition))

    def distribution(self, condition: Tensor) -> TorchDistribution:  # type: ignore[override]
        """Return p(z | c), batch shape that of the condition (..., C)."""
        return dist.Normal(*split_normal(self.network(condition))).to_event(1)

    def log_prob(self, z: Tensor, condition: Tensor) -> Tensor:  # type: ignore[override]
        """Return log p(z | c) of codes (..., L): (...)."""
        return self.distribution(condition).log_prob(z)


class VampPrior(Prior):
    """p(z) = mean_k q(z | u_k): the mean of the encoder's posteriors of K learned pseudo-data.

    Tomczak and Welling, "VAE with a VampPrior", AISTATS 2018, equation 9: the prior that makes the
    bound largest is the aggregated posterior, the mean of q(z | x) over all data; this is it for K
    pseudo-data, learned with everything else.

    Parameters
    ----------
    encoder : nn.Module
        The guide's own (features (..., F) -> means and log scales (..., 2 L)): hand the same module
        to both.
    pseudo_inputs : Tensor
        (K, F), what the u_k are at first, as the encoder reads data (`Likelihood.features`).
    bounds : (float, float), optional
        The data's range, in which the u_k stay: they are the sigmoid of a parameter, rescaled, and
        start ``MARGIN`` of the range inside. None leaves them free.

    Raises
    ------
    InputError
        A pseudo-input out of bounds, or an encoder whose outputs are not 2 L.
    """

    MARGIN = 0.01

    def __init__(
        self,
        encoder: nn.Module,
        pseudo_inputs: Tensor,
        bounds: tuple[float, float] | None = (0.0, 1.0),
    ) -> None:
        with torch.no_grad():
            outputs = encoder(pseudo_inputs[:1]).shape[-1]
        if outputs % 2:
            cure = "give the network that the guide has: means, then log scales"
            raise InputError("encoder", f"{outputs} outputs", "two a latent number", cure)
        super().__init__(outputs // 2)
        self.encoder, self.bounds = encoder, bounds
        self.raw_inputs = nn.Parameter(self._inverse(pseudo_inputs))

    @classmethod
    def from_data(
        cls,
        encoder: nn.Module,
        features: Tensor,
        num_rows: int,
        *,
        seed: int = 0,
        bounds: tuple[float, float] | None = (0.0, 1.0),
    ) -> VampPrior:
        """Start at ``num_rows`` of the training data (N, F), as an encoder reads them.

        Raises
        ------
        InputError
            Fewer data than pseudo-data: equal ones would stay equal.
        """
        return cls(encoder, _some(features, num_rows, seed), bounds)

    @classmethod
    def from_noise(
        cls, encoder: nn.Module, shape: tuple[int, int], mean: float, std: float, *, seed: int = 0
    ) -> VampPrior:
        """Start at noise of shape (K, F) in [0, 1]; in the paper, 0.05 and 0.01 for MNIST."""
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        return cls(encoder, (mean + std * noise).clamp(0, 1))

    def distribution(self) -> DiagonalMixture:
        """Return p(z), event shape (L,)."""
        return DiagonalMixture(*split_normal(self.encoder(self.pseudo_inputs)))

    @property
    def pseudo_inputs(self) -> Tensor:
        """The u_k, (K, F)."""
        if self.bounds is None:
            return self.raw_inputs
        low, high = self.bounds
        return low + (high - low) * self.raw_inputs.sigmoid()

    def start_from(self, features: Tensor, seed: int = 0) -> None:
        """Start at K of these data (N, F); where they are fewer, the other u_k stay."""
        rows = _some(features, min(len(features), len(self.raw_inputs)), seed)
        with torch.no_grad():
            self.raw_inputs[: len(rows)] = self._inverse(rows)

    def _inverse(self, inputs: Tensor) -> Tensor:
        if self.bounds is None:
            return inputs.detach().clone()
        low, high = self.bounds
        if not (inputs.min() >= low and inputs.max() <= high):
            found = f"numbers from {inputs.min():g} to {inputs.max():g}"
            cure = "give the data's range as bounds, or None"
            raise InputError("pseudo_inputs", found, f"numbers from {low:g} to {high:g}", cure)
        share = (inputs.detach() - low) / (high - low)
        return share.clamp(self.MARGIN, 1 - self.MARGIN).logit()


def _some(features: Tensor, num_rows: int, seed: int) -> Tensor:
    """Pick rows, none twice."""
    if not 1 <= num_rows <= len(features):
        cure = "take fewer pseudo-data, or give more data"
        raise InputError("num_rows", str(num_rows), f"from 1 to the {len(features)} data", cure)
    order = torch.randperm(len(features), generator=torch.Generator().manual_seed(seed))
    return features[order[:num_rows].to(features.device)]
