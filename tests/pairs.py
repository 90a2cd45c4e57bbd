"""Small pairs whose evidence and posterior are known: the targets of the engine's tests."""

from __future__ import annotations

import math

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import constraints


class Conjugate(nn.Module):
    """z_i ~ N(0, 2), x_i ~ N(z_i, 0.5): every site in the data plate; evidence N(0, 4.25)."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("prior", torch.tensor(2.0))
        self.log_noise = nn.Parameter(torch.tensor(math.log(0.5)))

    def forward(self, x: Tensor | None = None, size: int = 1) -> Tensor:
        with pyro.plate("data", size if x is None else len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(0 * self.prior, self.prior))
            return pyro.sample("x", dist.Normal(z, self.log_noise.exp()), obs=x)

    def evidence(self, x: Tensor) -> Tensor:
        """log p(x_i), shape (B,)."""
        variance = self.prior**2 + self.log_noise.exp() ** 2
        return dist.Normal(0 * variance, variance.sqrt()).log_prob(x)

    def posterior(self, x: Tensor) -> dist.Normal:
        """p(z_i | x_i), batch shape (B,)."""
        noise, prior = self.log_noise.exp() ** 2, self.prior**2
        return dist.Normal(x * prior / (prior + noise), (prior * noise / (prior + noise)).sqrt())


class ConjugateGuide(nn.Module):
    """q(z_i | x_i) = N(slope x_i, scale): the posterior of `Conjugate` at (4, sqrt 1) / 4.25."""

    def __init__(self, exact: bool = False) -> None:
        super().__init__()
        slope, scale = (4 / 4.25, math.sqrt(1 / 4.25)) if exact else (0.7, 0.8)
        self.slope = nn.Parameter(torch.tensor(slope))
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))

    def forward(self, x: Tensor | None = None, size: int = 1) -> None:
        with pyro.plate("data", size if x is None else len(x), dim=-1):
            pyro.sample("z", dist.Normal(self.slope * x, self.log_scale.exp()))


class GlobalMean(nn.Module):
    """mu ~ N(0, 3) once, x_i ~ N(mu, 1) in the data plate."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("prior", torch.tensor(3.0))
        self.register_buffer("noise", torch.tensor(1.0))

    def forward(self, x: Tensor | None = None, size: int = 1) -> Tensor:
        mu = pyro.sample("mu", dist.Normal(0 * self.prior, self.prior))
        with pyro.plate("data", size if x is None else len(x), dim=-1):
            return pyro.sample("x", dist.Normal(mu, self.noise), obs=x)

    def posterior(self, x: Tensor) -> dist.Normal:
        """p(mu | x)."""
        precision = 1 / self.prior**2 + len(x) / self.noise**2
        return dist.Normal(x.sum() / self.noise**2 / precision, precision.rsqrt())

    def evidence(self, x: Tensor) -> Tensor:
        """log p(x), a scalar."""
        ones = torch.ones(len(x), len(x), dtype=x.dtype)
        covariance = self.prior**2 * ones + self.noise**2 * torch.eye(len(x), dtype=x.dtype)
        return dist.MultivariateNormal(torch.zeros_like(x), covariance).log_prob(x)


class GlobalMeanGuide(nn.Module):
    """q(mu) = N(loc, scale)."""

    def __init__(self, loc: float = 0.3, scale: float = 0.5) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.tensor(float(loc)))
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))

    def forward(self, x: Tensor | None = None, size: int = 1) -> None:
        pyro.sample("mu", dist.Normal(self.loc, self.log_scale.exp()))


class TwoComponents(nn.Module):
    """w_i in {0, 1} summed exactly, x_i ~ N(loc[w_i], scale[w_i])."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor([0.3, -0.4]))
        self.loc = nn.Parameter(torch.tensor([-1.0, 1.5]))
        self.log_scale = nn.Parameter(torch.tensor([0.0, -0.5]))

    def forward(self, x: Tensor | None = None, size: int = 1) -> Tensor:
        with pyro.plate("data", size if x is None else len(x), dim=-1):
            weights = dist.Categorical(logits=self.logits)
            w = pyro.sample("w", weights, infer={"enumerate": "parallel"})
            component = dist.Normal(self.loc[w], self.log_scale.exp()[w])
            return pyro.sample("x", component, obs=x)

    def joint(self, x: Tensor) -> Tensor:
        """log p(x_i, w_i = k), shape (B, 2)."""
        component = dist.Normal(self.loc, self.log_scale.exp()).log_prob(x[:, None])
        return self.logits.log_softmax(-1) + component

    def evidence(self, x: Tensor) -> Tensor:
        """log p(x_i), shape (B,)."""
        return self.joint(x).logsumexp(-1)


class NoLatents(nn.Module):
    """A guide for a model whose latent sites are all summed out."""

    def forward(self, x: Tensor | None = None, size: int = 1) -> None:
        pass


class MixturePrior(nn.Module):
    """w_i in {0, 1} summed exactly, z_i ~ N(loc[w_i], 1), x_i ~ N(z_i, 0.5)."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor([0.3, -0.4]))
        self.loc = nn.Parameter(torch.tensor([-2.0, 1.0]))
        self.register_buffer("noise", torch.tensor(0.5))

    def forward(self, x: Tensor | None = None, size: int = 1) -> Tensor:
        with pyro.plate("data", size if x is None else len(x), dim=-1):
            weights = dist.Categorical(logits=self.logits)
            w = pyro.sample("w", weights, infer={"enumerate": "parallel"})
            z = pyro.sample("z", dist.Normal(self.loc[w], 2 * self.noise))
            return pyro.sample("x", dist.Normal(z, self.noise), obs=x)


def function_model(x: Tensor) -> None:
    """`GlobalMean` with a learned noise, as a plain function."""
    noise = pyro.param("noise", torch.tensor(1.0), constraint=constraints.positive)
    mu = pyro.sample("mu", dist.Normal(0.0, 3.0))
    with pyro.plate("data", len(x), dim=-1):
        pyro.sample("x", dist.Normal(mu, noise), obs=x)


def function_guide(x: Tensor) -> None:
    """q(mu) = N(loc, scale), as a plain function."""
    loc = pyro.param("loc", torch.tensor(0.3))
    scale = pyro.param("scale", torch.tensor(0.5), constraint=constraints.positive)
    pyro.sample("mu", dist.Normal(loc, scale))


class Amortised(nn.Module):
    """A linear VAE: z_i ~ N(0, I_2), x_i ~ N(decoder(z_i), 0.5 I_4)."""

    def __init__(self) -> None:
        super().__init__()
        self.decoder = nn.Linear(2, 4)
        self.register_buffer("zero", torch.zeros(2))

    def forward(self, x: Tensor | None = None, size: int = 1) -> Tensor:
        with pyro.plate("data", size if x is None else len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(self.zero, 1 + self.zero).to_event(1))
            loc = self.decoder(z)
            return pyro.sample("x", dist.Normal(loc, 0.5).to_event(1), obs=x)

    def evidence(self, x: Tensor) -> Tensor:
        """log p(x_i), shape (B,)."""
        noise = 0.25 * torch.eye(4, dtype=x.dtype)
        factor = self.decoder.weight
        return dist.MultivariateNormal(self.decoder.bias, factor @ factor.T + noise).log_prob(x)


class AmortisedGuide(nn.Module):
    """q(z_i | x_i) = N(encoder(x_i)), diagonal."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(4, 4)

    def forward(self, x: Tensor | None = None, size: int = 1) -> None:
        with pyro.plate("data", size if x is None else len(x), dim=-1):
            loc, log_scale = self.encoder(x).chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))
