"""Eight models of posteriordb, as Pyro models of tensors; names are those of Stan's programs.

Magnusson et al., "posteriordb: a set of posteriors for Bayesian inference and probabilistic
programming", https://github.com/stan-dev/posteriordb. A parameter without a prior in Stan is flat
there on its support: ``mask(False)`` here. Stan's constraints that depend on other parameters are
written by a transformation whose prior is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor


def flat(size: int = 0, positive: bool = False) -> Any:
    """Return a density of 1 on the reals, or on the positive numbers; a vector of `size`."""
    base = dist.HalfNormal(1.0) if positive else dist.Normal(0.0, 1.0)
    shaped = base.expand([size]).to_event(1) if size else base
    return shaped.mask(False)


def eight_schools(y: Tensor, sigma: Tensor) -> None:
    """Effects of coaching in eight schools, non-centred (eight_schools_noncentered)."""
    mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = pyro.sample("tau", dist.HalfCauchy(5.0))
    with pyro.plate("school", len(y)):
        z = pyro.sample("theta_trans", dist.Normal(0.0, 1.0))
        theta = pyro.deterministic("theta", mu + tau * z, event_dim=0)
        pyro.sample("y", dist.Normal(theta, sigma), obs=y)


def regression(x: Tensor, y: Tensor) -> None:
    """A linear regression with flat priors (earn_height, mesquite)."""
    beta = pyro.sample("beta", flat(x.shape[1]))
    sigma = pyro.sample("sigma", flat(positive=True))
    with pyro.plate("row", len(y)):
        pyro.sample("y", dist.Normal((x * beta).sum(-1), sigma), obs=y)


def kidscore(x: Tensor, y: Tensor) -> None:
    """Test scores of children by their mothers' IQ (kidscore_momiq)."""
    beta = pyro.sample("beta", flat(x.shape[1]))
    sigma = pyro.sample("sigma", dist.HalfCauchy(2.5))
    with pyro.plate("row", len(y)):
        pyro.sample("y", dist.Normal((x * beta).sum(-1), sigma), obs=y)


def autoregression(lags: Tensor, y: Tensor) -> None:
    """An AR(5) series (arK); lags are (T, 5), the last value first."""
    alpha = pyro.sample("alpha", dist.Normal(0.0, 10.0))
    beta = pyro.sample("beta", dist.Normal(0.0, 10.0).expand([lags.shape[1]]).to_event(1))
    sigma = pyro.sample("sigma", dist.HalfCauchy(2.5))
    loc = alpha.unsqueeze(-1) + beta @ lags.T
    pyro.sample("y", dist.Normal(loc, sigma.unsqueeze(-1)).to_event(1), obs=y)


def garch(y: Tensor) -> None:
    """A GARCH(1, 1) series (garch11), sigma_1 = 0.5.

    (alpha1, beta1) is uniform on the triangle of sums below 1: alpha1 is Beta(1, 2), and beta1
    uniform below 1 - alpha1.
    """
    mu = pyro.sample("mu", flat())
    alpha0 = pyro.sample("alpha0", flat(positive=True))
    alpha1 = pyro.sample("alpha1", dist.Beta(1.0, 2.0))
    share = pyro.sample("share", dist.Uniform(0.0, 1.0))
    beta1 = pyro.deterministic("beta1", (1 - alpha1) * share, event_dim=0)
    variances = [torch.full_like(mu, 0.5**2)]
    for value in y[:-1]:
        variances.append(alpha0 + alpha1 * (value - mu) ** 2 + beta1 * variances[-1])
    sigma = torch.stack(variances, -1).sqrt()
    pyro.sample("y", dist.Normal(mu.unsqueeze(-1), sigma).to_event(1), obs=y)


def mixture(y: Tensor) -> None:
    """A mixture of two normals with ordered means (low_dim_gauss_mix)."""
    first = pyro.sample("first", flat())
    gap = pyro.sample("gap", flat(positive=True))
    mu = pyro.deterministic("mu", torch.stack([first, first + gap], -1), event_dim=1)
    pyro.factor("prior of mu", dist.Normal(0.0, 2.0).log_prob(mu).sum(-1))
    sigma = pyro.sample("sigma", dist.HalfNormal(2.0).expand([2]).to_event(1))
    theta = pyro.sample("theta", dist.Beta(5.0, 5.0))
    parts = dist.Categorical(torch.stack([theta, 1 - theta], -1))
    with pyro.plate("row", len(y)):
        pyro.sample("y", dist.MixtureSameFamily(parts, dist.Normal(mu, sigma)), obs=y)


def gaussian_process(x: Tensor, k: Tensor) -> None:
    """Counts whose log rate is a Gaussian process (gp_pois_regr)."""
    rho = pyro.sample("rho", dist.Gamma(25.0, 4.0))
    alpha = pyro.sample("alpha", dist.HalfNormal(2.0))
    z = pyro.sample("f_tilde", dist.Normal(0.0, 1.0).expand([len(x)]).to_event(1))
    distance = (x.unsqueeze(-1) - x).double() / rho.double()[..., None, None]
    covariance = alpha.double()[..., None, None] ** 2 * (-0.5 * distance**2).exp()
    factor = torch.linalg.cholesky(covariance + 1e-10 * torch.eye(len(x), dtype=torch.double))
    f = pyro.deterministic("f", (factor @ z.double().unsqueeze(-1)).squeeze(-1), event_dim=1)
    pyro.sample("k", dist.Poisson(f.exp()).to_event(1), obs=k)


class Posterior(NamedTuple):
    """A model, and how to make its arguments of a file's data."""

    model: Callable[..., None]
    arguments: Callable[[dict[str, Any]], tuple[Tensor, ...]]


def _columns(target: str, *names: str) -> Callable[[dict[str, Any]], tuple[Tensor, ...]]:
    def arguments(data: dict[str, Any]) -> tuple[Tensor, ...]:
        y = torch.tensor(data[target]).float()
        x = [torch.ones(len(y)), *(torch.tensor(data[name]).float() for name in names)]
        return torch.stack(x, 1), y

    return arguments


def _tensors(*names: str) -> Callable[[dict[str, Any]], tuple[Tensor, ...]]:
    return lambda data: tuple(torch.tensor(data[name]).float() for name in names)


def _lagged(data: dict[str, Any]) -> tuple[Tensor, ...]:
    y, order = torch.tensor(data["y"]).float(), data["K"]
    lags = [y[order - lag : len(y) - lag] for lag in range(1, order + 1)]
    return torch.stack(lags, 1), y[order:]


_MESQUITE = "diam1", "diam2", "canopy_height", "total_height", "density", "group"

POSTERIORS = {
    "eight": Posterior(eight_schools, _tensors("y", "sigma")),
    "earn": Posterior(regression, _columns("earn", "height")),
    "kid": Posterior(kidscore, _columns("kid_score", "mom_iq")),
    "mesq": Posterior(regression, _columns("weight", *_MESQUITE)),
    "arK": Posterior(autoregression, _lagged),
    "garch": Posterior(garch, _tensors("y")),
    "mix": Posterior(mixture, _tensors("y")),
    "gp": Posterior(gaussian_process, _tensors("x", "k")),
}
