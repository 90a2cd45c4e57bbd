from __future__ import annotations

from itertools import product

import pytest
import torch
from pyro import poutine

from guides.made import MADEGuide
from inference import check, fit
from ppl_models.errors import InputError
from ppl_models.made import MADE


@pytest.mark.parametrize("kind", ["real", "bits"])
def test_no_conditional_sees_its_own_number_or_a_later_one(kind: str) -> None:
    model = MADE(5, (16, 16), kind=kind, num_components=3)
    x = torch.randn(4, 5, requires_grad=True)
    others = torch.zeros(5)
    for d in range(5):
        distribution = model.conditionals(x)
        fixed = torch.ones(4, 5)  # scored elsewhere than at x: x counts as context alone
        (gradient,) = torch.autograd.grad(distribution.log_prob(fixed)[:, d].sum(), x)
        assert (gradient[:, d:] == 0).all()
        others[d] = gradient[:, :d].abs().min() if d else 1.0
    assert (others > 0).all()  # and each sees all of those before it


def test_the_density_of_bits_sums_to_one() -> None:
    model = MADE(6, (16, 16), kind="bits")
    every = torch.tensor(list(product([0.0, 1.0], repeat=6)))
    assert torch.isclose(model.density().log_prob(every).logsumexp(0), torch.zeros(()), atol=1e-5)


def test_the_density_of_real_numbers_integrates_to_one() -> None:
    model = MADE(2, (16, 16), num_components=3)
    axis = torch.linspace(-12, 12, 401)
    total = model.density().log_prob(torch.cartesian_prod(axis, axis)).exp().sum()
    assert abs(total.item() * (axis[1] - axis[0]).item() ** 2 - 1) < 1e-3


def test_draws_are_from_the_density() -> None:
    model = MADE(3, (16, 16), kind="bits")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    x = model(size=20_000)
    every = torch.tensor(list(product([0.0, 1.0], repeat=3)))
    expected = model.density().log_prob(every).exp()
    shares = (x[:, None] == every).all(-1).float().mean(0)
    assert (shares - expected).abs().max() < 4 * (0.25 / 20_000) ** 0.5  # four standard errors


def test_draws_of_real_numbers_have_the_entropy_of_the_density() -> None:
    model = MADE(2, (16, 16), num_components=3)
    values = model.density().log_prob(model(size=20_000))
    axis = torch.linspace(-12, 12, 401)
    grid = model.density().log_prob(torch.cartesian_prod(axis, axis))
    known = (grid.exp() * grid).sum() * (axis[1] - axis[0]) ** 2
    assert abs(values.mean() - known) < 4 * values.std() / 20_000**0.5 + 1e-3


@pytest.mark.parametrize("kind", ["real", "bits"])
def test_the_pair_passes_check(kind: str) -> None:
    x = (torch.rand(6, 4) < 0.5).float()
    model = MADE(4, (8, 8), kind=kind)
    assert check(model, MADEGuide(model), x).sites
    assert poutine.trace(model).get_trace(size=3).nodes["x"]["value"].shape == (3, 4)


def test_it_learns_that_numbers_depend_on_one_another() -> None:
    first = (torch.rand(500, 1) < 0.5).float()
    x = torch.cat([first, 1 - first, first], 1)
    model = MADE(3, (16, 16), kind="bits")
    run = fit(model, MADEGuide(model), x, epochs=15, learning_rate=0.03, progress=False)
    assert run.history[-1]["bound"] > -0.75  # ln 2 = 0.693 is the entropy


@pytest.mark.parametrize(
    "settings",
    [{"data_dim": 1}, {"kind": "words"}, {"num_components": 0}, {"floor": 0.0}],
)
def test_settings_out_of_range_are_named(settings: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(settings))):
        MADE(**settings)


@pytest.mark.parametrize("floor", [1e-2, 0.3])
def test_no_gaussian_is_narrower_than_the_floor(floor: float) -> None:
    model = MADE(3, (8, 8), num_components=2, floor=floor)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.network.layers[-1].bias.fill_(-50.0)  # of all outputs, log scales among them
    parts = model.conditionals(torch.randn(5, 3)).component_distribution
    assert torch.allclose(parts.scale, torch.full_like(parts.scale, floor))
