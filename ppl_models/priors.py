"""Priors: what a code is before a datum is seen, as parts of a story.

Each is called inside the story's plate, samples its sites, and returns the code z (..., L):
``z = self.prior()``. Its `log_prob` is the marginal density of z.
"""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ppl_models.distributions import DiagonalMixture
from ppl_models.errors import InputError
from ppl_models.networks import split_normal


class StandardPrior(nn.Module):
    """z ~ Normal(0, I).

    Parameters
    ----------
    latent_dim : int
        L.
    """

    zero: Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.register_buffer("zero", torch.zeros(latent_dim), persistent=False)

    def forward(self, name: str = "z") -> Tensor:
        """Sample the site ``name``."""
        return pyro.sample(name, self.law())

    def law(self) -> dist.TorchDistribution:
        """Return p(z), event shape (L,)."""
        return dist.Normal(self.zero, 1.0).to_event(1)

    def log_prob(self, z: Tensor) -> Tensor:
        """Return log p(z) of codes (..., L): (...)."""
        return self.law().log_prob(z)


class VampPrior(nn.Module):
    """p(z) = mean_k q(z | u_k): what the encoder makes of K learned data, in equal parts.

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
        super().__init__()
        self.encoder, self.bounds = encoder, bounds
        self.raw_inputs = nn.Parameter(self._inverse(pseudo_inputs))
        with torch.no_grad():
            outputs = encoder(pseudo_inputs[:1]).shape[-1]
        if outputs % 2:
            cure = "give the network that the guide has: means, then log scales"
            raise InputError("encoder", f"{outputs} outputs", "two a latent number", cure)
        self.latent_dim = outputs // 2

    @classmethod
    def from_data(
        cls,
        encoder: nn.Module,
        features: Tensor,
        num: int,
        *,
        seed: int = 0,
        bounds: tuple[float, float] | None = (0.0, 1.0),
    ) -> VampPrior:
        """Start at ``num`` of the training data (N, F), as an encoder reads them.

        Raises
        ------
        InputError
            Fewer data than pseudo-data: equal ones would stay equal.
        """
        return cls(encoder, _some(features, num, seed), bounds)

    @classmethod
    def from_noise(
        cls, encoder: nn.Module, shape: tuple[int, int], mean: float, std: float, *, seed: int = 0
    ) -> VampPrior:
        """Start at noise of shape (K, F) in [0, 1]; in the paper, 0.05 and 0.01 for MNIST."""
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        return cls(encoder, (mean + std * noise).clamp(0, 1))

    def forward(self, name: str = "z") -> Tensor:
        """Sample the site ``name``."""
        return pyro.sample(name, self.law())

    def law(self) -> DiagonalMixture:
        """Return p(z), event shape (L,)."""
        return DiagonalMixture(*split_normal(self.encoder(self.pseudo_inputs)))

    def log_prob(self, z: Tensor) -> Tensor:
        """Return log p(z) of codes (..., L): (...)."""
        return self.law().log_prob(z)

    @property
    def pseudo_inputs(self) -> Tensor:
        """The u_k, (K, F)."""
        if self.bounds is None:
            return self.raw_inputs
        low, high = self.bounds
        return low + (high - low) * self.raw_inputs.sigmoid()

    def start_from(self, features: Tensor, seed: int = 0) -> None:
        """Start anew, at K of these data (N, F)."""
        with torch.no_grad():
            self.raw_inputs.copy_(self._inverse(_some(features, len(self.raw_inputs), seed)))

    def _inverse(self, inputs: Tensor) -> Tensor:
        if self.bounds is None:
            return inputs.detach().clone()
        low, high = self.bounds
        if not (inputs.min() >= low and inputs.max() <= high):
            seen = f"numbers from {inputs.min():g} to {inputs.max():g}"
            cure = "give the data's range as bounds, or None"
            raise InputError("pseudo_inputs", seen, f"numbers from {low:g} to {high:g}", cure)
        share = (inputs.detach() - low) / (high - low)
        return share.clamp(self.MARGIN, 1 - self.MARGIN).logit()


def _some(features: Tensor, num: int, seed: int) -> Tensor:
    """Pick rows, none twice."""
    if not 1 <= num <= len(features):
        cure = "take fewer pseudo-data, or give more data"
        raise InputError("num", str(num), f"from 1 to the {len(features)} data", cure)
    order = torch.randperm(len(features), generator=torch.Generator().manual_seed(seed))
    return features[order[:num].to(features.device)]
