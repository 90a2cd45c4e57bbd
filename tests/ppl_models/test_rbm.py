from __future__ import annotations

import pytest
import torch

from guides.rbm import RBMGuide
from inference import check, fit
from ppl_models.errors import InputError
from ppl_models.rbm import RBM, states


def machine(kind: str = "bits", data_dim: int = 4, hidden_dim: int = 3) -> RBM:
    """A machine with every parameter away from zero, in double precision."""
    model = RBM(data_dim, hidden_dim, kind=kind).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.8 * torch.randn(parameter.shape))
    return model


def energy(model: RBM, z: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """E(z, x) as the docstring has it, for every pair of a z and an x: (Z, X)."""
    scale = 1.0 if model.log_scale is None else model.log_scale.exp() ** 2
    coupling = (z @ model.weight.T @ x.T) / scale
    hidden = (z @ model.hidden_bias)[:, None]
    if model.log_scale is None:
        return -(x @ model.bias)[None] - hidden - coupling
    return (x - model.bias).square().sum(-1)[None] / (2 * scale) - hidden - coupling


def test_the_normaliser_is_the_brute_sum_over_4_by_3_bits() -> None:
    model = machine()
    every_z, every_x = states(3).double(), states(4).double()
    table = (-energy(model, every_z, every_x)).exp()
    assert torch.isclose(model.log_partition(), table.sum().log())
    assert torch.allclose((-model.free_energy(every_x)).exp(), table.sum(0))
    assert torch.allclose(model.density().log_prob(every_x).exp(), table.sum(0) / table.sum())
    posterior = table[:, 5] / table[:, 5].sum()
    assert torch.allclose(model.posterior(every_x[5]).log_prob(every_z).exp(), posterior)


def test_either_side_can_be_summed() -> None:
    narrow, wide = machine(data_dim=3, hidden_dim=5), machine(data_dim=5, hidden_dim=3)
    with torch.no_grad():
        wide.weight.copy_(narrow.weight.T)
        wide.bias.copy_(narrow.hidden_bias)
        wide.hidden_bias.copy_(narrow.bias)
    assert torch.isclose(narrow.log_partition(), wide.log_partition())


def test_the_density_of_real_numbers_integrates_to_one() -> None:
    model = machine("real", data_dim=2)
    axis = torch.linspace(-15, 15, 401).double()
    grid = torch.cartesian_prod(axis, axis)
    total = model.density().log_prob(grid).exp().sum() * (axis[1] - axis[0]) ** 2
    assert abs(total.item() - 1) < 1e-4
    z, x = states(3).double(), grid[::1000]
    assert torch.allclose(-(-energy(model, z, x)).logsumexp(0), model.free_energy(x))


def test_a_transition_and_a_simulation_leave_the_density_as_it_is() -> None:
    model, count = machine(), 20_000
    every = states(4).double()
    expected = model.density().log_prob(every).exp()
    x = model(size=count)
    for draws in (x, model.transition(x), model.transition(model.transition(x))):
        shares = (draws[:, None] == every).all(-1).double().mean(0)
        assert (shares - expected).abs().max() < 4 * (0.25 / count) ** 0.5  # four standard errors


def test_a_simulation_out_of_reach_of_the_sum_runs_the_chain() -> None:
    model = RBM(3, 21, sweeps=20)
    assert model(size=50).shape == (50, 3)


def test_a_machine_without_couplings_has_independent_numbers() -> None:
    for kind in ("bits", "real"):
        model = machine(kind)
        assert torch.isclose(model.at(0.0).log_partition(), model.base_log_partition())
        assert torch.isclose(model.at(1.0).log_partition(), model.log_partition())


def test_a_sum_of_too_many_terms_is_an_error_with_its_cure() -> None:
    with pytest.raises(InputError, match="fit_energy"):
        RBM(30, 40).density().log_prob(torch.zeros(2, 30))


@pytest.mark.parametrize("kind", ["bits", "real"])
def test_the_pair_passes_check(kind: str) -> None:
    x = (torch.rand(6, 4) < 0.5).float()
    model = RBM(4, 3, kind=kind)
    assert check(model, RBMGuide(model), x).sites


def test_where_the_sum_is_in_reach_fit_maximises_the_likelihood_itself() -> None:
    first = (torch.rand(500, 1) < 0.5).float()
    x = torch.cat([first, 1 - first, first], 1)
    model = RBM(3, 4)
    run = fit(model, RBMGuide(model), x, epochs=20, learning_rate=0.1, progress=False)
    assert run.history[-1]["bound"] > -0.8  # ln 2 = 0.693 is the entropy; 2.08 at first


@pytest.mark.parametrize("kind", ["bits", "real"])
def test_it_begins_where_the_data_are(kind: str) -> None:
    x = 5 * torch.rand(500, 4) + 3 if kind == "real" else (torch.rand(500, 4) < 0.2).float()
    model = RBM(4, 6, kind=kind)
    before = model.density().log_prob(x).mean()
    model.start_from(x)
    assert model.density().log_prob(x).mean() > before + 0.3
    assert (model.posterior(x).mean.mean(0) - 0.5).abs().max() < 0.2


def test_settings_out_of_range_are_named() -> None:
    for settings in ({"data_dim": 0}, {"hidden_dim": 0}, {"kind": "words"}):
        with pytest.raises(InputError, match=next(iter(settings))):
            RBM(**settings)


@pytest.mark.parametrize("sweeps", [1, 60])
def test_draws_beyond_enumeration_are_of_the_density_if_the_chain_is_long(sweeps: int) -> None:
    """21 hidden bits are too many to sum, 3 visible ones are not: their marginals are exact."""
    model, count = RBM(3, 21, sweeps=sweeps).double(), 10_000
    with torch.no_grad():
        model.weight.copy_(0.25 + 0.2 * torch.randn(3, 21))
        model.bias.copy_(torch.tensor([-2.0, -1.5, -3.0]))
        model.hidden_bias.zero_()
    every = states(3).double()
    expected = (-model.free_energy(every)).softmax(0)
    shares = (model(size=count)[:, None] == every).all(-1).double().mean(0)
    near = (shares - expected).abs().max() < 4 * (0.25 / count) ** 0.5  # four standard errors
    assert near == (sweeps > 1)


@pytest.mark.parametrize("kind", ["bits", "real"])
def test_it_begins_with_the_mean_of_the_data(kind: str) -> None:
    """With hidden bits on half of the time, x has its data's mean: exactly for real numbers."""
    x = 5 * torch.rand(500, 4) + 3 if kind == "real" else (torch.rand(500, 4) < 0.3).float()
    model = RBM(4, 6, kind=kind)
    model.start_from(x)
    half = torch.full((6,), 0.5)
    if kind == "real":
        assert torch.allclose(model.observation(half).mean, x.mean(0), atol=1e-4)
        noise = model.log_scale.exp() / x.std(0).square().mean().sqrt()
        assert noise.item() == pytest.approx(torch.tensor(-1.0).exp().item(), rel=1e-2)
    else:
        assert torch.allclose(model.bias.sigmoid(), x.mean(0), atol=1e-5)
    at_mean = model.posterior(x.mean(0)).mean
    assert torch.allclose(at_mean, half, atol=1e-4)
