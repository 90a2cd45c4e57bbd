"""The three parts of the KL term: against Gaussians, and against their own sum."""

from __future__ import annotations

from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

from inference import PairError
from inference.objectives.penalties import Decomposition, TotalCorrelation
from inference.schedules import linear
from ppl_models.errors import InputError
from tests.inference.objectives.penalties.views import (
    MIXING,
    Affine,
    GaussianModel,
    affine,
    gradients,
    view,
)


def truth(weight: Tensor = MIXING, shift: float = 0.0) -> tuple[float, float, float]:
    """I_q(x; z), total correlation and sum of KL(q(z_d) || p(z_d)) of the affine guide, in nats."""
    covariance = weight @ weight.T + 0.5**2 * torch.eye(len(weight))
    variances = covariance.diag()
    tc = 0.5 * (variances.log().sum() - covariance.logdet())
    mi = 0.5 * (covariance.logdet() - len(weight) * torch.tensor(0.5**2).log())
    dim = 0.5 * (variances + shift**2 - 1 - variances.log()).sum()
    return float(mi), float(tc), float(dim)


@pytest.mark.parametrize("estimator", ["mws", "mss"])
def test_parts_of_a_gaussian(estimator: Any) -> None:
    """Within 15 % of the truth from batches of 512 of 5000, whose own s.e. is 3 %."""
    found, model, guide = [], *affine(shift=1.0)
    for _ in range(8):
        trace = view(model, guide, torch.randn(512, 3), data_size=5000)
        with torch.no_grad():
            found.append(torch.stack(Decomposition(estimator=estimator).parts(trace)))
    expected = torch.tensor(truth(shift=1.0))
    assert expected[1] > 0.5  # there is a correlation to see
    assert ((torch.stack(found).mean(0) / expected - 1).abs() < 0.15).all()


def test_independent_codes_have_no_total_correlation() -> None:
    trace = view(GaussianModel(), Affine(torch.eye(3)), torch.randn(1000, 3))
    assert abs(TotalCorrelation(1.0)(trace).item()) < 0.1  # a tenth of the case above


def test_the_parts_add_up_to_the_sampled_kl() -> None:
    trace = view(*affine(), torch.randn(50, 3), data_size=200)
    site = trace.q["z"]
    kl = (site["fn"].log_prob(site["value"]) - trace.p["z"]["fn"].log_prob(site["value"])).mean()
    for estimator in ("mws", "mss"):
        parts = Decomposition(estimator=estimator).parts(trace)  # type: ignore[arg-type]
        assert torch.stack(parts).sum().item() == pytest.approx(kl.item(), abs=1e-5)
        taken_out = Decomposition(-1, -1, -1, estimator=estimator)(trace)  # type: ignore[arg-type]
        assert taken_out.item() == pytest.approx(-kl.item(), abs=1e-5)


def test_stratified_weights_are_exact_for_all_data_at_once() -> None:
    trace = view(*affine(), torch.randn(40, 3))
    stratified, plain = (Decomposition(estimator=e).parts(trace) for e in ("mss", "mws"))
    assert torch.allclose(torch.stack(stratified), torch.stack(plain), atol=1e-5)


def test_stratified_weights_estimate_the_density_without_bias() -> None:
    """The mean over batches that hold a datum is the mean over all data: 4 s.e. of 4000 batches."""
    data, weights = torch.rand(30).double(), Decomposition(estimator="mss")._log_weights(6, 30)
    batches = torch.stack([1 + torch.randperm(29)[:5] for _ in range(4000)])
    values = torch.cat([data[0].expand(4000, 1), data[batches]], 1)
    estimates = (weights[0].exp() * values).sum(1)
    error = estimates.std() / 4000**0.5
    assert abs(estimates.mean() - data.mean()) < 4 * error


def test_the_plain_estimate_is_chens_up_to_a_constant() -> None:
    """Theirs divides by N B: log q(z_i) = logsumexp_j sum_d log q(z_id | x_j) - log(N B)."""
    trace = view(*affine(), torch.randn(20, 3), data_size=700)
    base, z = trace.q["z"]["fn"].base_dist, trace.q["z"]["value"]
    pairs = base.log_prob(z[:, None])
    scale = torch.tensor(700.0 * 20).log()
    joint = pairs.sum(-1).logsumexp(1) - scale
    single = (pairs.logsumexp(1) - scale).sum(-1)
    theirs = (joint - single).mean() - 2 * torch.tensor(700.0).log()
    assert TotalCorrelation(1.0)(trace).item() == pytest.approx(theirs.item(), abs=1e-4)


@pytest.mark.parametrize("estimator", ["mws", "mss"])
def test_the_gradient_reaches_the_guide_alone(estimator: Any) -> None:
    model, guide = affine()
    value = TotalCorrelation(2.0, estimator=estimator)(view(model, guide, torch.randn(30, 3)))
    assert gradients(value, model) == [False]
    assert gradients(value, guide) == [True, False, True]  # a shift changes no correlation


def test_its_gradient_makes_codes_independent() -> None:
    model, guide = affine()
    optimizer = torch.optim.Adam([guide.weight], 0.03)
    for _ in range(40):
        optimizer.zero_grad()
        TotalCorrelation(1.0)(view(model, guide, torch.randn(128, 3))).backward()
        optimizer.step()
    assert truth(guide.weight.detach())[1] < 0.1 * truth()[1]


def test_weights_are_schedules_too() -> None:
    trace = view(*affine(), torch.randn(30, 3), step=25)
    half = TotalCorrelation(linear(50))(trace)
    assert half.item() == pytest.approx(0.5 * TotalCorrelation(1.0)(trace).item())


def test_one_datum_has_no_parts_but_its_rate() -> None:
    for estimator in ("mws", "mss"):
        trace = view(*affine(), torch.randn(1, 3), data_size=100)
        mi, tc, _ = Decomposition(estimator=estimator).parts(trace)  # type: ignore[arg-type]
        assert mi.item() == tc.item() == 0


def test_scalar_and_sequence_sites() -> None:
    class Path(nn.Module):
        def forward(self, x: Tensor) -> None:
            with pyro.plate("data", len(x), dim=-1):
                pyro.sample("z", dist.Normal(x, 0.5).to_event(2))
                pyro.sample("w", dist.Normal(x[:, 0, 0], 0.5))

    trace = view(Path(), Path(), torch.randn(20, 4, 2))
    assert TotalCorrelation(1.0, site="z")(trace).isfinite()
    assert TotalCorrelation(1.0, site="w")(trace).item() == pytest.approx(0, abs=1e-6)


def test_masked_data_do_not_count() -> None:
    """A datum of which nothing is known has a NaN for a mean, and changes nothing."""

    class Masked(Affine):
        def forward(self, x: Tensor, size: int = 1) -> None:
            known = ~x.isnan().any(1)
            with pyro.plate("data", len(x), dim=-1), pyro.poutine.mask(mask=known):
                loc = torch.where(known[:, None], x, 0.0) @ self.weight.T
                pyro.sample("z", dist.Normal(loc, self.scale).to_event(1))

    model, guide, x = GaussianModel(), Masked(MIXING), torch.randn(40, 3)
    x[10:] = torch.nan
    trace = view(model, guide, x)
    whole = view(model, guide, x[:10])
    z = whole.q["z"]["value"] = trace.q["z"]["value"][:10]
    assert len(z) == 10
    for penalty in (TotalCorrelation(1.0), Decomposition(1.0, 1.0, 1.0)):
        assert penalty(trace).item() == pytest.approx(penalty(whole).item(), abs=1e-5)
    trace.q["z"]["mask"] = torch.zeros(40, dtype=torch.bool)
    assert TotalCorrelation(1.0)(trace).item() == 0


def test_dependent_dims_are_refused_with_a_cure() -> None:
    class Full(nn.Module):
        def forward(self, x: Tensor) -> None:
            with pyro.plate("data", len(x), dim=-1):
                pyro.sample("z", dist.MultivariateNormal(x, torch.eye(3)))

    with pytest.raises(PairError, match="FactorCritic") as found:
        TotalCorrelation(1.0)(view(GaussianModel(), Full(), torch.randn(5, 3)))
    assert found.value.site == "z"


@pytest.mark.parametrize(
    ("settings", "argument"),
    [
        ({"tc": -2.0}, "tc"),
        ({"mi": float("nan")}, "mi"),
        ({"estimator": "mwss"}, "estimator"),
        ({"data_size": 0}, "data_size"),
    ],
)
def test_settings_are_looked_at(settings: dict[str, Any], argument: str) -> None:
    with pytest.raises(InputError) as found:
        Decomposition(**settings)
    assert found.value.argument == argument
