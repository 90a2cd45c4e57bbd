"""The variational autoencoder: a datum is what a network makes of a few standard normal numbers.

::

    z ~ Normal(0, I)                          L numbers nobody observes
    x ~ Normal(decoder(z), scale)             D numbers, or
    x ~ Bernoulli(logits=decoder(z))          D bits

References
----------
Kingma and Welling, "Auto-Encoding Variational Bayes", ICLR 2014, sections 2-3 and appendix C.
Rybkin, Daniilidis and Levine, "Simple and Effective VAE Training with Calibrated Decoders", ICML
2021, section 3: one learned scale.
"""

from __future__ import annotations

import math
from typing import Literal

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from pyro.poutine.util import is_validation_enabled
from torch import Tensor, nn

from ppl_models.errors import InputError
from ppl_models.inputs import count_rows
from ppl_models.networks import MLP


class VAE(nn.Module):
    """A deep latent-variable model of vectors.

    Sites: ``z`` (L,) and ``x`` (D,), both in the plate ``data``.

    Parameters
    ----------
    data_dim : int
        D, numbers a datum.
    latent_dim : int
        L, numbers of its code.
    hidden_dim : int
        Width of the decoder's one hidden layer.
    likelihood : "gaussian" or "bernoulli"
        What x is given its code. Bits are floats, 0 or 1.
    scale : float, optional
        Standard deviation of the Gaussian, in the units of x. By default one number is learned; it
        shrinks towards zero where the decoder can copy the data exactly.
    decoder : nn.Module, optional
        Any network (..., L) -> (..., D), in place of the one made from ``hidden_dim``.

    Raises
    ------
    InputError
        An unknown likelihood, or a scale that is not a positive number.
    """

    zero: Tensor
    log_scale: Tensor

    def __init__(
        self,
        data_dim: int = 64,
        latent_dim: int = 8,
        *,
        hidden_dim: int = 128,
        likelihood: Literal["gaussian", "bernoulli"] = "gaussian",
        scale: float | None = None,
        decoder: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.data_dim, self.latent_dim, self.likelihood = data_dim, latent_dim, likelihood
        self.decoder = decoder or MLP(latent_dim, hidden_dim, data_dim)
        self.register_buffer("zero", torch.zeros(latent_dim), persistent=False)
        if likelihood == "gaussian":
            self._set_scale(scale)
        elif likelihood != "bernoulli":
            cure = "choose one of the two, or write your own story in 20 lines (README)"
            raise InputError("likelihood", repr(likelihood), '"gaussian" or "bernoulli"', cure)

    def _set_scale(self, scale: float | None) -> None:
        if scale is None:
            self.log_scale = nn.Parameter(torch.tensor(0.0))
        elif 0 < scale < math.inf:
            self.register_buffer("log_scale", torch.tensor(math.log(scale)))
        else:
            cure = "give the noise of x in the units of x, or None to learn it"
            raise InputError("scale", str(scale), "a positive number", cure)

    def forward(self, x: Tensor | None = None, num_data: int = 1) -> Tensor:
        """Tell how ``x`` (N, D) came to be; without it, simulate ``num_data`` data.

        Raises
        ------
        InputError
            ``x`` does not have the shape (N, data_dim), or is to be bits and is not; bits are
            looked at while Pyro's validation is on.
        """
        num_data = num_data if x is None else self._count(x)
        with pyro.plate("data", num_data, dim=-1):
            z = pyro.sample("z", dist.Normal(self.zero, 1.0).to_event(1))
            return pyro.sample("x", self.observation(z), obs=x)

    def observation(self, z: Tensor) -> TorchDistribution:
        """Return p(x | z), of batch shape (...,) and event shape (D,), for codes z (..., L)."""
        # torch's own look at every number of x and of the decoder would cost a tenth of a step
        if self.likelihood == "bernoulli":
            return dist.Bernoulli(logits=self.decoder(z), validate_args=False).to_event(1)
        scale = self.log_scale.exp()
        return dist.Normal(self.decoder(z), scale, validate_args=False).to_event(1)

    def _count(self, x: Tensor) -> int:
        """Return N for data (N, D) that the likelihood can have told."""
        num_data = count_rows(x, self.data_dim)
        watched = self.likelihood == "bernoulli" and is_validation_enabled()
        if watched and not (x * x - x).abs().max() == 0:
            cure = 'make bits of them, (x > 0.5).float(), or use likelihood="gaussian"'
            raise InputError("x", "other numbers than 0 and 1", "bits, as floats", cure)
        return num_data
