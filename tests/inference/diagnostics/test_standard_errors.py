"""Standard errors against simulation: each is the spread of its figure over seeded replications."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from inference.diagnostics.annealed_importance import annealed_log_partition
from inference.diagnostics.importance import importance
from inference.diagnostics.information import mutual_information
from inference.diagnostics.rates import rates
from inference.tracing import mean_and_error
from ppl_models.rbm import RBM
from tests.pairs import Conjugate, ConjugateGuide, GlobalMean, GlobalMeanGuide

TIMES = 80
PAIR = Conjugate(), ConjugateGuide()
WHOLE = GlobalMean(), GlobalMeanGuide(0.6, 0.5)
X = torch.tensor([0.5, -0.3, 2.5, 0.1])


def data(seed: int, size: int = 60) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return 4.25**0.5 * torch.randn(size, generator=draw)  # as the model has them


def elbo(seed: int) -> tuple[float, float]:
    return importance(*PAIR, data(seed), num_samples=20, seed=seed).elbo_mean


def iwae(seed: int) -> tuple[float, float]:
    return importance(*PAIR, data(seed), num_samples=20, seed=seed).iwae_mean


def joint_elbo(seed: int) -> tuple[float, float]:
    return importance(*WHOLE, X, num_samples=200, seed=seed, joint=True).elbo_mean


def joint_iwae(seed: int) -> tuple[float, float]:
    return importance(*WHOLE, X, num_samples=200, seed=seed, joint=True).iwae_mean


def rate(seed: int) -> tuple[float, float]:
    row = rates(*PAIR, data(seed), num_samples=20, seed=seed)["z"]
    return row.nats, row.error


def bound(seed: int) -> tuple[float, float]:
    found = rates(*PAIR, data(seed), num_samples=20, seed=seed)
    return found.bound, found.error


def shared_rate(seed: int) -> tuple[float, float]:
    row = rates(*WHOLE, X, num_samples=200, seed=seed)["mu"]
    return row.nats, row.error


def annealed(seed: int) -> tuple[float, float]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = RBM(5, 3)
        torch.nn.init.normal_(model.weight)
    found = annealed_log_partition(model, temperatures=20, chains=50, seed=seed)
    return found.value, found.error


def plain_mean(seed: int) -> tuple[float, float]:
    return mean_and_error(data(seed))


@pytest.mark.parametrize(
    "figure",
    [elbo, iwae, joint_elbo, joint_iwae, rate, bound, shared_rate, annealed, plain_mean],
)
def test_an_error_is_the_spread_over_replications(figure: Callable[[int], tuple]) -> None:
    values, errors = torch.tensor([figure(seed) for seed in range(TIMES)]).double().T
    # a deviation of 80 values is known to 8 %, errors are near each other: within four times that
    assert float(errors.mean()) == pytest.approx(float(values.std()), rel=0.32)


def test_the_error_of_an_information_is_its_spread_over_data_sets() -> None:
    found = [mutual_information(*PAIR, data(seed, 80), seed=seed) for seed in range(TIMES)]
    for name in ("nats", "upper"):
        values = torch.tensor([getattr(one, name) for one in found]).double()
        error = "error" if name == "nats" else "upper_error"
        errors = torch.tensor([getattr(one, error) for one in found]).double()
        assert float(errors.median()) == pytest.approx(float(values.std()), rel=0.6), name
