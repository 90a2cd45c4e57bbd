r"""The hierarchical VAE: codes on several levels, each told from all those above it.

::

    z0 ~ Normal(0, I)                         the top level
    zn ~ Normal(mean(h_n), scale(h_n))        n = 1, ..., N; h_n tells of z0, ..., z(n-1)
    x  ~ likelihood(decoder(h_(N+1)))

    z0 --> h_1 -----+--> h_2 -----+--> ... --> h_(N+1) --> x
            |      /      |      /
            '--> z1       '--> z2

The stream h goes down through residual blocks, and takes up each code on its way:
h_(n+1) = block(h_n + drift(h_n) + write(z_n)). A guide can walk the same way down (top-down
inference), so that prior and posterior of a level differ in what x adds alone.

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
    """Where the way down has come to: the stream, and what it says of the next code.

    Shapes: ``stream`` and ``drift`` (..., H); ``loc`` and ``scale`` of the prior (..., L_n). Below
    the last code there is but the stream, and all four are it.
    """

    stream: Tensor
    loc: Tensor
    scale: Tensor
    drift: Tensor


class Residual(nn.Module):
    """A residual block, (..., H) -> (..., H), that begins near the identity.

    Parameters
    ----------
    width : int
        H.
    share : float
        How much of the first step the block may make.
    """

    def __init__(self, width: int, share: float = 1.0) -> None:
        super().__init__()
        last = nn.Linear(width, width)
        self.change = nn.Sequential(nn.GELU(), nn.Linear(width, width), nn.GELU(), last)
        with torch.no_grad():
            for parameter in last.parameters():
                parameter.mul_(share)

    def forward(self, h: Tensor) -> Tensor:
        """Return the stream, changed a little."""
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
        H, width of the stream and of all hidden layers.
    likelihood : "gaussian", "bernoulli" or Likelihood
        What x is given its codes (`ppl_models.likelihoods`).

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
        # of level n: its prior and drift, read off the stream; its code, written to it
        self.read = nn.ModuleList(MLP(hidden_dim, hidden_dim, 2 * n + hidden_dim) for n in below)
        self.write = nn.ModuleList(nn.Linear(n, hidden_dim) for n in self.latent_dims)
        self.block = nn.ModuleList(Residual(hidden_dim, share) for _ in self.latent_dims)
        self.decoder = nn.Sequential(nn.GELU(), nn.Linear(hidden_dim, self.likelihood.raw_dim))
        self.register_buffer("zero", torch.zeros(self.latent_dims[0]), persistent=False)
        self._left: dict[int, tuple[Any, ...]] = {}

    def forward(self, x: Tensor | None = None, num_data: int = 1) -> Tensor:
        """Tell how ``x`` (N, D) came to be; without it, simulate ``num_data`` data.

        Raises
        ------
        InputError
            ``x`` does not have the shape (N, data_dim), or cannot be data of the likelihood
            (looked at while Pyro's validation is on).
        """
        num_data = num_data if x is None else self._count(x)
        with pyro.plate("data", num_data, dim=-1):
            rung: Rung | None = None
            for n in range(len(self.latent_dims)):
                z = pyro.sample(f"z{n}", self.prior(rung))
                rung = self.descend(n, rung, z)
            return pyro.sample("x", self.observation(cast(Rung, rung)), obs=x)

    def prior(self, rung: Rung | None) -> TorchDistribution:
        """Return the distribution of the next code, event shape (L_n,); None is the top."""
        if rung is None:
            return dist.Normal(self.zero, 1.0).to_event(1)
        return dist.Normal(rung.loc, rung.scale, validate_args=False).to_event(1)

    def observation(self, rung: Rung) -> TorchDistribution:
        """Return p(x | z), event shape (D,), at the end of the way down."""
        distribution: TorchDistribution = self.likelihood(self.decoder(rung.stream))
        return distribution

    def descend(self, n: int, rung: Rung | None, z: Tensor, leave: bool = False) -> Rung:
        """Return where the way goes on after level n, whose code is z (..., L_n).

        With ``leave``, as a guide calls it, the model finds the answer when it comes by with this
        very code, and need not walk the way twice in a step.
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
        said, drift = self.read[n](stream).split([size, self.hidden_dim], -1)
        return Rung(stream, *split_normal(said), drift)

    def _fresh(self, reached: Rung, version: int) -> bool:
        """Whether it would come out the same now, with a gradient if one is asked for."""
        same = version == self._state_of_weights()
        return same and (reached.stream.requires_grad or not torch.is_grad_enabled())

    def _state_of_weights(self) -> int:
        return sum(parameter._version for parameter in self.parameters())

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_left": {}}  # tensors of a graph can be neither copied nor sent

    def _count(self, x: Tensor) -> int:
        num_data = count_rows(x, self.data_dim)
        self.likelihood.check(x)
        return num_data
