"""Guides against exact posteriors of kinds that no default was chosen on.

Run ``python -m benchmarks.posteriors_held_out`` (``--only``, ``--seed``, ``--mcmc``, ``--guides``).
Seven models with simulated data (the centred eight schools with Rubin's own). References are not
chains: what is conjugate is integrated by hand, the two or three parameters that are left on a
grid. Columns and verdicts are those of ``benchmarks.posteriordb``.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from benchmarks.posteriordb import GUIDES, Case, report, rows

Known = dict[str, dict[str, float]]
Ranges = list[tuple[float, float]]
_POINTS = 61
_ROUNDS = 3


def grid(log_density: Callable[..., Tensor], ranges: Ranges) -> tuple[list[Tensor], Tensor]:
    """Return points (one flat tensor a coordinate) and their weights, after zooming in."""
    bounds = list(ranges)
    for _ in range(_ROUNDS):
        axes = [torch.linspace(low, high, _POINTS, dtype=torch.double) for low, high in bounds]
        at = [axis.flatten() for axis in torch.meshgrid(*axes, indexing="ij")]
        log = torch.cat(
            [log_density(*part) for part in zip(*(a.split(20_000) for a in at), strict=True)]
        )
        weights = log.softmax(0)
        means = [float(weights @ a) for a in at]
        sds = [float(weights @ (a - m) ** 2) ** 0.5 for a, m in zip(at, means, strict=True)]
        bounds = [
            (max(low, m - 9 * s - 1e-3), min(high, m + 9 * s + 1e-3))
            for (low, high), m, s in zip(ranges, means, sds, strict=True)
        ]
    return at, weights


def known(weights: Tensor, **parameters: Any) -> Known:
    """Return moments of parameters: values at the grid's points, or (means, variances) there."""
    found = {}
    for name, value in parameters.items():
        mean, variance = value if isinstance(value, tuple) else (value, torch.zeros(()))
        center = weights @ mean
        spread = weights @ ((mean - center) ** 2 + variance)
        found[name] = {"mean": float(center), "sd": float(spread) ** 0.5}
    return found


def _indexed(name: str, means: Tensor, variances: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    columns = zip(means.T, variances.T, strict=True)
    return {f"{name}[{i + 1}]": pair for i, pair in enumerate(columns)}


def _half(scale: float, log_value: Tensor, kind: Any = dist.HalfNormal) -> Tensor:
    return kind(scale).log_prob(log_value.exp()) + log_value


def hierarchical(y: Tensor, group: Tensor) -> None:
    """Few values in each of ten groups, with unknown spreads within and between."""
    mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = pyro.sample("tau", dist.HalfNormal(2.0))
    sigma = pyro.sample("sigma", dist.HalfNormal(2.0))
    with pyro.plate("group", 10):
        a = pyro.sample("a", dist.Normal(mu, tau))
    with pyro.plate("row", len(y)):
        pyro.sample("y", dist.Normal(a[..., group], sigma), obs=y)


def hierarchical_case() -> Case:
    """Group means are normal given the other three."""
    group = torch.arange(10).repeat_interleave(torch.tensor([1, 2, 2, 3, 3, 4, 5, 6, 8, 10]))
    y = 1.5 + 0.8 * torch.randn(10)[group] + torch.randn(len(group))
    count = torch.bincount(group).double()
    mean = torch.zeros(10).double().index_add(0, group, y.double()) / count
    within = float(((y.double() - mean[group]) ** 2).sum())

    def log_density(mu: Tensor, log_tau: Tensor, log_sigma: Tensor) -> Tensor:
        tau2, sigma2 = (2 * log_tau).exp()[:, None], (2 * log_sigma).exp()[:, None]
        between = dist.Normal(mu[:, None], (tau2 + sigma2 / count).sqrt()).log_prob(mean).sum(1)
        inner = -within / (2 * sigma2[:, 0]) - (len(y) - 10) * log_sigma
        prior = dist.Normal(0.0, 5.0).log_prob(mu) + _half(2.0, log_tau) + _half(2.0, log_sigma)
        return between + inner + prior

    (mu, log_tau, log_sigma), w = grid(log_density, [(-5, 8), (-9, 2.5), (-2, 2)])
    precise = count * (-2 * log_sigma).exp()[:, None]
    total = precise + (-2 * log_tau).exp()[:, None]
    means = (precise * mean + (mu * (-2 * log_tau).exp())[:, None]) / total
    sites = {"mu": mu, "tau": log_tau.exp(), "sigma": log_sigma.exp()}
    found = known(w, **sites, **_indexed("a", means, 1 / total))
    return Case("hier", hierarchical, (y, group), found)


def schools(y: Tensor, sigma: Tensor) -> None:
    """Eight schools, centred: a funnel."""
    mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = pyro.sample("tau", dist.HalfCauchy(5.0))
    with pyro.plate("school", len(y)):
        theta = pyro.sample("theta", dist.Normal(mu, tau))
        pyro.sample("y", dist.Normal(theta, sigma), obs=y)


def schools_case() -> Case:
    """Effects are normal given the other two."""
    y = torch.tensor([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
    sigma = torch.tensor([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])

    def log_density(mu: Tensor, log_tau: Tensor) -> Tensor:
        spread = ((2 * log_tau).exp()[:, None] + sigma.double() ** 2).sqrt()
        fits = dist.Normal(mu[:, None], spread).log_prob(y.double()).sum(1)
        return fits + dist.Normal(0.0, 5.0).log_prob(mu) + _half(5.0, log_tau, dist.HalfCauchy)

    (mu, log_tau), w = grid(log_density, [(-40, 40), (-12, 7)])
    precise, prior = sigma.double() ** -2, (-2 * log_tau).exp()[:, None]
    means = (precise * y + mu[:, None] * prior) / (precise + prior)
    effects = _indexed("theta", means, 1 / (precise + prior))
    return Case("funnel", schools, (y, sigma), known(w, mu=mu, tau=log_tau.exp(), **effects))


def logistic(x: Tensor, y: Tensor) -> None:
    """A logistic regression of few rows."""
    beta = pyro.sample("beta", dist.Normal(0.0, 2.5).expand([3]).to_event(1))
    with pyro.plate("row", len(y)):
        pyro.sample("y", dist.Bernoulli(logits=(x * beta).sum(-1)), obs=y)


def _design(rows: int, columns: int) -> Tensor:
    return torch.cat([torch.ones(rows, 1), torch.randn(rows, columns)], 1)


def logistic_case() -> Case:
    """Three coefficients."""
    x = _design(30, 2)
    y = (torch.rand(30) < (x @ torch.tensor([-1.0, 2.0, -1.5])).sigmoid()).float()

    def log_density(*beta: Tensor) -> Tensor:
        at = torch.stack(beta, 1)
        fits = dist.Bernoulli(logits=at @ x.double().T).log_prob(y.double()).sum(1)
        return fits + dist.Normal(0.0, 2.5).log_prob(at).sum(1)

    beta, w = grid(log_density, [(-15.0, 15.0)] * 3)
    return Case("logit", logistic, (x, y), known(w, **_named(beta)))


def _named(beta: list[Tensor]) -> dict[str, Tensor]:
    return {f"beta[{i + 1}]": value for i, value in enumerate(beta)}


def student(x: Tensor, y: Tensor) -> None:
    """A linear regression whose noise has heavy tails."""
    beta = pyro.sample("beta", dist.Normal(0.0, 10.0).expand([2]).to_event(1))
    sigma = pyro.sample("sigma", dist.HalfCauchy(2.5))
    with pyro.plate("row", len(y)):
        loc = (x * beta).sum(-1)
        pyro.sample("y", dist.StudentT(2.0, loc, sigma), obs=y)


def student_case() -> Case:
    """Two coefficients and a scale."""
    x = _design(25, 1)
    y = x @ torch.tensor([1.0, -2.0]) + 0.7 * dist.StudentT(2.0).sample((25,))

    def log_density(first: Tensor, second: Tensor, log_sigma: Tensor) -> Tensor:
        loc = torch.stack([first, second], 1) @ x.double().T
        noise = dist.StudentT(torch.tensor(2.0).double(), loc, log_sigma.exp()[:, None])
        prior = dist.Normal(0.0, 10.0).log_prob(first) + dist.Normal(0.0, 10.0).log_prob(second)
        return noise.log_prob(y.double()).sum(1) + prior + _half(2.5, log_sigma, dist.HalfCauchy)

    (first, second, log_sigma), w = grid(log_density, [(-8, 8), (-8, 8), (-4, 3)])
    found = known(w, **_named([first, second]), sigma=log_sigma.exp())
    return Case("student", student, (x, y), found)


def counts(x: Tensor, y: Tensor) -> None:
    """A negative-binomial regression."""
    beta = pyro.sample("beta", dist.Normal(0.0, 2.5).expand([2]).to_event(1))
    phi = pyro.sample("phi", dist.HalfNormal(5.0))
    with pyro.plate("row", len(y)):
        rate = (x * beta).sum(-1).exp()
        pyro.sample("y", dist.GammaPoisson(phi, phi / rate), obs=y)


def counts_case() -> Case:
    """Two coefficients and a dispersion."""
    x = _design(40, 1)
    y = dist.GammaPoisson(1.5, 1.5 / (x @ torch.tensor([1.0, 0.7])).exp()).sample()

    def log_density(first: Tensor, second: Tensor, log_phi: Tensor) -> Tensor:
        log_rate = torch.stack([first, second], 1) @ x.double().T
        phi = log_phi.exp()[:, None]
        fits = dist.NegativeBinomial(phi, logits=log_rate - log_phi[:, None])
        prior = dist.Normal(0.0, 2.5).log_prob(first) + dist.Normal(0.0, 2.5).log_prob(second)
        return fits.log_prob(y.double()).sum(1) + prior + _half(5.0, log_phi)

    (first, second, log_phi), w = grid(log_density, [(-5, 6), (-5, 6), (-4, 4)])
    found = known(w, **_named([first, second]), phi=log_phi.exp())
    return Case("counts", counts, (x, y), found)


def modes(y: Tensor) -> None:
    """A mixture of two normals whose means nothing tells apart."""
    mu = pyro.sample("mu", dist.Normal(0.0, 5.0).expand([2]).to_event(1))
    parts = dist.Categorical(torch.tensor([0.5, 0.5]))
    with pyro.plate("row", len(y)):
        each = dist.Normal(mu, 1.0)
        pyro.sample("y", dist.MixtureSameFamily(parts, each), obs=y)


def modes_case() -> Case:
    """Two means, in two orders."""
    y = torch.cat([torch.randn(20) - 2, torch.randn(20) + 2])

    def log_density(first: Tensor, second: Tensor) -> Tensor:
        each = [dist.Normal(at[:, None], 1.0).log_prob(y.double()) for at in (first, second)]
        prior = dist.Normal(0.0, 5.0).log_prob(first) + dist.Normal(0.0, 5.0).log_prob(second)
        return (torch.logaddexp(*each) - math.log(2)).sum(1) + prior

    (first, second), w = grid(log_density, [(-6.0, 6.0)] * 2)
    found = known(w, **{"mu[1]": first, "mu[2]": second})
    return Case("modes", modes, (y,), found)


def scales(x: Tensor, y: Tensor) -> None:
    """A linear regression on raw scales: incomes, years, shares."""
    beta = pyro.sample("beta", dist.Normal(0.0, 1e5).expand([4]).to_event(1))
    sigma = pyro.sample("sigma", dist.HalfCauchy(100.0))
    with pyro.plate("row", len(y)):
        pyro.sample("y", dist.Normal((x * beta).sum(-1), sigma), obs=y)


def scales_case() -> Case:
    """Coefficients are normal given the noise's scale."""
    size = torch.tensor([1.0, 2e4, 8.0, 0.05])
    x = _design(60, 3) * size + torch.tensor([0.0, 5e4, 40.0, 0.3])
    y = x @ torch.tensor([2000.0, 0.05, 30.0, -4000.0]) + 500 * torch.randn(60)
    gram, moment = x.double().T @ x.double(), x.double().T @ y.double()
    eye = 1e-10 * torch.eye(4).double()

    def given(log_sigma: Tensor) -> tuple[Tensor, Tensor]:
        precision = gram * (-2 * log_sigma).exp()[:, None, None] + eye
        covariance = precision.inverse()
        return (covariance @ (moment * (-2 * log_sigma).exp()[:, None])[..., None])[
            ..., 0
        ], covariance

    def log_density(log_sigma: Tensor) -> Tensor:
        mean, covariance = given(log_sigma)
        residual = ((y.double() - mean @ x.double().T) ** 2).sum(1)
        fits = -residual / 2 * (-2 * log_sigma).exp() - len(y) * log_sigma
        prior = -(mean**2).sum(1) * 1e-10 / 2 + _half(100.0, log_sigma, dist.HalfCauchy)
        return fits + prior + torch.logdet(covariance) / 2

    (log_sigma,), w = grid(log_density, [(3.0, 10.0)])
    mean, covariance = given(log_sigma)
    beta = _indexed("beta", mean, covariance.diagonal(dim1=1, dim2=2))
    return Case("scales", scales, (x, y), known(w, **beta, sigma=log_sigma.exp()))


CASES = {
    "hier": hierarchical_case,
    "funnel": schools_case,
    "logit": logistic_case,
    "student": student_case,
    "counts": counts_case,
    "modes": modes_case,
    "scales": scales_case,
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--mcmc", action="store_true")
    parser.add_argument("--guides", nargs="*", default=list(GUIDES)[:1], choices=list(GUIDES))
    options = parser.parse_args()
    cases = []
    for name in options.only:
        pyro.set_rng_seed(20)
        cases.append(CASES[name]())
    report(rows(cases, options.seed, options.mcmc, options.guides))


if __name__ == "__main__":
    main()
