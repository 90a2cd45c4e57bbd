"""Pyro's idioms in the exported posterior: names of dims, rows of a subsample, masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoNormal
from pyro.nn import PyroModule, pyro_method
from torch import Tensor, nn

from guides import HMMGuide
from inference import check, enumerated, fit, importance, posterior, rates, sbc
from inference.errors import PairError
from ppl_models import HMM

X = torch.tensor([0.5, 1.0, -1.0, 2.0])
DRAWS = 6


def weight(x: Tensor, y: Tensor | None = None) -> None:
    pyro.sample("b", dist.Normal(0.0, 1.0))


def exported(value: Any, inside: bool, event_dim: int | None = None) -> Any:
    """The posterior of a regression with a ``deterministic`` inside or beside its plate."""

    def model(x: Tensor, y: Tensor | None = None) -> None:
        b = pyro.sample("b", dist.Normal(0.0, 1.0))
        if not inside:
            pyro.deterministic("d", value(b, x), event_dim=event_dim)
        with pyro.plate("data", len(x)):
            if inside:
                pyro.deterministic("d", value(b, x), event_dim=event_dim)
            pyro.sample("y", dist.Normal(b * x, 1.0), obs=y)

    check(model, weight, X, 2 * X)
    return posterior(model, weight, X, 2 * X, num_samples=DRAWS).posterior


@pytest.mark.parametrize(
    ("value", "inside", "event_dim", "dims"),
    [
        (lambda b, x: b * x, True, None, ("data",)),
        (lambda b, x: b * x, True, 0, ("data",)),
        (lambda b, x: b * x, False, None, ("d_dim_0",)),
        (lambda b, x: 2 * b, False, None, ()),
        (lambda b, x: (b * x)[..., None] * torch.ones(3), True, None, ("data", "d_dim_0")),
        (lambda b, x: (b * x)[..., None] * torch.ones(3), True, 1, ("data", "d_dim_0")),
        (lambda b, x: (b * x)[..., None] * torch.ones(3), False, None, ("d_dim_0", "d_dim_1")),
    ],
)
def test_a_deterministic_has_the_dims_of_its_plate_and_then_its_own(
    value: Any, inside: bool, event_dim: int | None, dims: tuple[str, ...]
) -> None:
    found = exported(value, inside, event_dim)
    assert found["d"].dims == ("chain", "draw", *dims)
    for draw in range(DRAWS):
        b = torch.tensor(found["b"].values[0, draw])
        assert np.allclose(found["d"].values[0, draw], value(b, X).numpy(), atol=1e-5)


def local(x: Tensor) -> None:
    with pyro.plate("data", len(x), subsample_size=40) as rows:
        z = pyro.sample("z", dist.Normal(0.0, 2.0))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x[rows])


class Local(nn.Module):
    """The exact posterior of each datum."""

    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x), subsample_size=40) as rows:
            pyro.sample("z", dist.Normal(0.8 * x[rows], 0.8**0.5))


DATA = torch.linspace(-4.0, 4.0, 200)


def test_all_draws_are_of_one_subsample_and_its_rows_are_the_coordinate() -> None:
    found = posterior(local, Local(), DATA, num_samples=400)
    rows = found.posterior.coords["data"].values
    assert len(set(rows)) == 40 and rows.max() < 200
    seen, z = found.observed_data["x"].values, found.posterior["z"].values[0]
    assert np.array_equal(seen, DATA.numpy()[rows])
    # 400 draws of sd 0.89: a mean is within 5 standard errors
    assert np.allclose(z.mean(0), 0.8 * seen, atol=5 * 0.9 / 20)
    density = dist.Normal(torch.tensor(z), 1.0).log_prob(torch.tensor(seen)).numpy()
    assert np.allclose(found.log_likelihood["x"].values[0], density, atol=1e-4)


def test_weights_rates_and_calibration_of_a_subsample_are_of_its_rows() -> None:
    draws = posterior(local, Local(), DATA, num_samples=2).posterior
    rows = draws.coords["data"].values.copy()
    each = dist.Normal(0.0, 5**0.5).log_prob(DATA[rows]).double()
    # the guide is the posterior: every weight is the evidence, without noise
    weights = importance(local, Local(), DATA, num_samples=10).log_weights
    assert torch.allclose(weights, each.expand_as(weights), atol=1e-4)
    assert rates(local, Local(), DATA, num_samples=10).bound == pytest.approx(
        float(each.mean()), abs=1e-4
    )
    assert sbc(local, Local(), DATA, simulations=200, num_samples=19).pvalue() > 1e-3


def test_rows_that_a_model_chooses_by_itself_in_each_run_are_refused() -> None:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x), subsample=torch.randperm(len(x))[:3]) as rows:
            pyro.sample("x", dist.Normal(0.0, 1.0), obs=x[rows])

    with pytest.raises(PairError, match="another one in each run") as error:
        posterior(model, lambda x: None, DATA, num_samples=4)
    assert error.value.site == "data"


class Pair(PyroModule):
    def __init__(self) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.tensor(0.0))

    @pyro_method
    def model(self, x: Tensor) -> None:
        mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(mu, 1.0), obs=x)

    @pyro_method
    def guide(self, x: Tensor) -> None:
        pyro.sample("mu", dist.Normal(self.loc, 0.1))


def test_methods_of_one_module_have_its_parameters_and_no_others() -> None:
    pair, x = Pair(), torch.linspace(-0.5, 1.5, 50)
    check(pair.model, pair.guide, x)
    run = fit(pair.model, pair.guide, x, epochs=300, learning_rate=0.02, progress=False)
    names = [name for name, _ in run.guide.named_parameters()]
    assert names == ["owner.loc"]
    assert pair.loc.item() == pytest.approx(25 / 51, abs=0.07)  # half an sd: Adam's own noise


@pytest.mark.parametrize("kind", ["AutoNormal", "AutoDiagonalNormal", "AutoNormalMessenger"])
def test_a_guide_starts_where_its_user_said_and_looking_does_not_move_it(kind: str) -> None:
    from pyro.infer import autoguide

    start = autoguide.init_to_value(values={"b": torch.tensor(0.7)})

    def model(x: Tensor) -> None:
        b = pyro.sample("b", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(b, 1.0), obs=x)

    guide = getattr(autoguide, kind)(model, init_loc_fn=start, init_scale=0.01)
    for _ in range(2):
        check(model, guide, X)
        drawn = posterior(model, guide, X, num_samples=20).posterior["b"].values
        assert abs(drawn.mean() - 0.7) < 0.02  # 20 draws of sd 0.01: 9 standard errors
    places = [p for n, p in guide.named_parameters() if "loc" in n]
    assert [p.item() for p in places] == pytest.approx([0.7])


def test_frames_of_padding_are_drawn_from_the_chain_not_uniformly() -> None:
    model = HMM(data_dim=1, num_states=2, form="enumerated")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=torch.manual_seed(0)) * 2)
    s, mask = torch.zeros(1, 4, 1), torch.tensor([[True, True, False, False]])
    guide = HMMGuide(model)
    states = enumerated(model, guide, s, mask, num_samples=150)
    exact = model.smooth(s, mask)[0].detach()
    for t, site in enumerate(states.values()):
        share = site.samples.reshape(150, -1)[:, 0].double().mean()
        # 150 draws of a probability: within 4 standard errors of 0.041
        assert float(share) == pytest.approx(float(exact[t, 1]), abs=0.164)
        assert float(site.probs.reshape(-1, 2)[0, 1]) == pytest.approx(float(exact[t, 1]), abs=1e-4)


def test_an_autoguide_is_not_calibrated_on_data_that_it_does_not_read() -> None:
    with pytest.raises(PairError, match="reads no data"):
        guide = AutoNormal(weighted)
        sbc(weighted, guide, X, simulations=20)


def weighted(x: Tensor) -> None:
    b = pyro.sample("b", dist.Normal(0.0, 1.0))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(b, 1.0), obs=x)


@pytest.mark.parametrize(
    ("prior", "extra", "words"),
    [
        (dist.ImproperUniform(dist.constraints.real, (), ()), False, "flat prior"),
        (dist.Normal(0.0, 1.0), True, "pyro.factor"),
    ],
)
def test_a_model_that_is_no_joint_distribution_is_not_simulated(
    prior: Any, extra: bool, words: str
) -> None:
    def model(x: Tensor) -> None:
        b = pyro.sample("b", prior)
        if extra:
            pyro.factor("more", -b.square())
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(b, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        pyro.sample("b", dist.Normal(x.mean(), 0.5))

    report = check(model, guide, X)
    assert any("flat prior" in note for note in report.notes) == (not extra)
    with pytest.raises(PairError, match=words):
        sbc(model, guide, X, simulations=20)
