r"""The hierarchical VAE: latent codes on several levels, each drawn given all those above it.

::

    z0 ~ Normal(0, I)                         the top level
    zn ~ Normal(mean(h_n), scale(h_n))        n = 1, ..., N; h_n is a function of z0, ..., z(n-1)
    x  ~ likelihood(decoder(h_(N+1)))

    z0 --> h_1 -----+--> h_2 -----+--> ... --> h_(N+1) --> x
            |      /      |      /
            '--> z1       '--> z2

The features h go down through residual blocks, and each code is added to them on the way:
h_(n+1) = block(h_n + drift(h_n) + write(z_n)). The guide runs down the same blocks (top-down
inference), so that prior and posterior of a level differ only by what x adds.

References
----------
Child, "Very Deep VAEs Generalize Autoregressive Models and Can Outperform Them on Images", ICLR
2021, section 3: the top-down block. Sonderby et al., "Ladder Variational Autoencoders", NeurIPS
2016.
R. M. T. Høegh, "On Learning Useful Variational Autoencoder Representations", PhD thesis, Technical
University of Denmark 2022, equations 2.3 to 2.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn

from ppl_models.errors import InputError
from ppl_models.inputs import check_count, count_rows
from ppl_models.likelihoods import Likelihood, named
from ppl_models.networks import MLP, split_normal


class Rung(NamedTuple):
    """The state of the pass down before a level: its features h_n, and the prior of its code.

    Shapes: ``stream``, which is h_n, and ``drift`` (..., H); ``loc`` and ``scale`` of the prior
    (..., L_n). Below the last code there is no prior, and all four are the features.
    """

    stream: Tensor
    loc: Tensor
    scale: Tensor
    drift: Tensor


class Residual(nn.Module):
    """A residual block, (..., H) -> (..., H), near the identity at initialisation.

    Parameters
    ----------
    width : int
        H.
    share : float
        Factor of the initial weights of its last layer.
    """

    def __init__(self, width: int, share: float = 1.0) -> None:
        super().__init__()
        last = nn.Linear(width, width)
        self.change = nn.Sequential(nn.GELU(), nn.Linear(width, width), nn.GELU(), last)
        with torch.no_grad():
            for parameter in last.parameters():
                parameter.mul_(share)

    def forward(self, h: Tensor) -> Tensor:
        """Return h plus its change."""
        return h + self.change(h)


class HierarchicalVAE(nn.Module):
    r"""A VAE with N + 1 levels of codes.

    .. math:: p(x, z) = p(z_0) \prod_{n=1}^N p(z_n \mid z_{<n}) \; p(x \mid z)

    Sites: ``z0`` (L_0,), ..., ``zN`` (L_N,), top first, and ``x`` (D,), in the plate ``data``. With
    one level it is a VAE.

    Parameters
    ----------
    data_dim : int
        D, numbers a datum.
    latent_dims : sequence of int
        L_0, ..., L_N, numbers of each level's code, top first.
    hidden_dim : int
        H, width of the features and of all hidden layers.
    likelihood : "gaussian", "bernoulli" or Likelihood
        The distribution of x given its codes (`ppl_models.likelihoods`).

    Raises
    ------
    InputError
        No level, a level of no numbers, or an unknown likelihood.
    """

    zero: Tensor

    def __init__(
        self,
        data_dim: int = 64,
        latent_dims: Sequence[int] = (4, 8),
        *,
        hidden_dim: int = 128,
        likelihood: str | Likelihood = "gaussian",
    ) -> None:
        super().__init__()
        if isinstance(latent_dims, int) or not len(latent_dims):
            cure = "give the numbers of each level's code, top first: latent_dims=(4, 8)"
            raise InputError("latent_dims", repr(latent_dims), "a list of sizes", cure)
        for size in latent_dims:
            check_count("latent_dims", size)
        check_count("hidden_dim", hidden_dim)
        self.data_dim, self.latent_dims = data_dim, tuple(latent_dims)
        self.hidden_dim, below = hidden_dim, self.latent_dims[1:]
        self.likelihood, share = named(likelihood, data_dim), len(latent_dims) ** -0.5
        # of level n: its prior and drift, from the features; its code, added to them
        self.head = nn.ModuleList(MLP(hidden_dim, hidden_dim, 2 * n + hidden_dim) for n in below)
        self.write = nn.ModuleList(nn.Linear(n, hidden_dim) for n in self.latent_dims)
        self.block = nn.ModuleList(Residual(hidden_dim, share) for _ in self.latent_dims)
        self.decoder = nn.Sequential(nn.GELU(), nn.Linear(hidden_dim, self.likelihood.raw_dim))
        self.register_buffer("zero", torch.zeros(self.latent_dims[0]), persistent=False)
        self._left: dict[int, tuple[Any, ...]] = {}

    def forward(self, x: Tensor | None = None, size: int = 1) -> Tensor:
        """Score data ``x`` (N, D); without data, simulate ``size`` of them.

        Raises
        ------
        InputError
            ``x`` does not have the shape (N, data_dim), or cannot be data of the likelihood
            (checked while Pyro's validation is on).
        """
        size = size if x is None else self._count(x)
        with pyro.plate("data", size, dim=-1):
            rung: Rung | None = None
            for n in range(len(self.latent_dims)):
                z = pyro.sample(f"z{n}", self.prior(rung))
                rung = self.descend(n, rung, z)
            return pyro.sample("x", self.observation(cast(Rung, rung)), obs=x)

    def prior(self, rung: Rung | None) -> TorchDistribution:
        """Return the prior of the next code, event shape (L_n,); None is before the top."""
        if rung is None:
            return dist.Normal(self.zero, 1.0).to_event(1)
        return dist.Normal(rung.loc, rung.scale, validate_args=False).to_event(1)

    def observation(self, rung: Rung) -> TorchDistribution:
        """Return p(x | z), event shape (D,), from the state after the last level."""
        distribution: TorchDistribution = self.likelihood(self.decoder(rung.stream))
        return distribution

    def descend(self, n: int, rung: Rung | None, z: Tensor, leave: bool = False) -> Rung:
        """Return the state after level n, whose code is z (..., L_n).

        With ``leave``, as the guide calls it, the result is kept for the model's own pass with this
        very code, so that a training step runs each block once.
        """
        left = self._left.pop(n, None)
        if left is not None and left[0] is rung and left[1] is z and self._fresh(*left[2:]):
            return left[2]
        reached = self._step(n, rung, z)
        if leave:
            self._left[n] = (rung, z, reached, self._state_of_weights())
        return reached

    def _step(self, n: int, rung: Rung | None, z: Tensor) -> Rung:
        written = self.write[n](z)
        stream = written if rung is None else rung.stream + rung.drift + written
        stream = self.block[n](stream)
        if n + 1 == len(self.latent_dims):
            return Rung(stream, stream, stream, stream)
        size = 2 * self.latent_dims[n + 1]
        raw, drift = self.head[n](stream).split([size, self.hidden_dim], -1)
        return Rung(stream, *split_normal(raw), drift)

    def _fresh(self, reached: Rung, version: int) -> bool:
        """Whether a kept result is still right, and has a gradient if one is asked for."""
        same = version == self._state_of_weights()
        return same and (reached.stream.requires_grad or not torch.is_grad_enabled())

    def _state_of_weights(self) -> int:
        return sum(parameter._version for parameter in self.parameters())

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_left": {}}  # tensors of a graph can be neither copied nor sent

    def _count(self, x: Tensor) -> int:
        size = count_rows(x, self.data_dim)
        self.likelihood.check(x)
        return size
