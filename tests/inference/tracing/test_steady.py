from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import autoguide
from torch import Tensor

from inference import check, enumerated, fit, importance, posterior, rates
from inference.errors import PairError

X = torch.full((4,), 0.6)
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "check": check,
    "fit": lambda model, guide, x: fit(model, guide, (x,), epochs=1, progress=False),
    "posterior": lambda *pair: posterior(*pair, num_samples=3),
    "importance": lambda *pair: importance(*pair, num_samples=3, joint=True),
    "rates": lambda *pair: rates(*pair, num_samples=3),
    "enumerated": enumerated,
}


def triangle(x: Tensor) -> None:
    a = pyro.sample("a", dist.Uniform(0.0, 1.0))
    b = pyro.sample("b", dist.Uniform(0.0, 1.0 - a))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(a + b, 1.0), obs=x)


def beyond(x: Tensor) -> None:
    pyro.sample("a", dist.Uniform(0.8, 1.0))
    pyro.sample("b", dist.Uniform(0.5, 1.0))


def within(x: Tensor) -> None:
    a = pyro.sample("a", dist.Uniform(0.0, 1.0))
    pyro.sample("b", dist.Uniform(0.0, 1.0 - a))


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("guide", [lambda: autoguide.AutoNormal(triangle), lambda: beyond])
def test_a_support_that_moves_is_refused_by_both_names(function: str, guide: Any) -> None:
    with pytest.raises(PairError, match="depends on 'a'") as error:
        FUNCTIONS[function](triangle, guide(), X)
    assert error.value.site == "b"


def test_a_guide_that_follows_the_support_is_taken() -> None:
    assert check(triangle, within, X).sites[1].kind == "latent"
    draws = posterior(triangle, within, X, num_samples=50).posterior
    assert float((draws["a"] + draws["b"]).max()) <= 1.0


def test_a_messenger_that_asks_the_prior_for_its_support_is_taken() -> None:
    guide = autoguide.AutoNormalMessenger(triangle)
    assert check(triangle, guide, X).sites[1].kind == "latent"
    draws = posterior(triangle, guide, X, num_samples=20).posterior
    assert float((draws["a"] + draws["b"]).max()) <= 1.0


def test_the_cure_of_a_moving_support_works() -> None:
    def cured(x: Tensor) -> None:
        a = pyro.sample("a", dist.Uniform(0.0, 1.0))
        share = pyro.sample("b_share", dist.Uniform(0.0, 1.0))
        b = pyro.deterministic("b", share * (1.0 - a))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(a + b, 1.0), obs=x)

    guide = autoguide.AutoNormal(cured)
    check(cured, guide, X)
    draws = posterior(cured, guide, X, num_samples=50).posterior
    assert float((draws["a"] + draws["b"]).max()) <= 1.0


def counted(x: Tensor) -> None:
    count = pyro.sample("count", dist.Poisson(3.0))
    for i in range(int(count)):
        pyro.sample(f"z{i}", dist.Normal(0.0, 1.0))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(0.0, 1.0), obs=x)


def counting(x: Tensor) -> None:
    rate = pyro.param("rate", torch.tensor(3.0))
    count = pyro.sample("count", dist.Poisson(rate))
    for i in range(int(count)):
        pyro.sample(f"z{i}", dist.Normal(0.0, 1.0))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_number_of_sites_that_is_drawn_is_refused_by_all(function: str) -> None:
    with pytest.raises(PairError, match="comes and goes") as error:
        FUNCTIONS[function](counted, counting, X)
    assert error.value.site is not None and error.value.site.startswith("z")


def test_the_second_run_leaves_the_draws_of_a_seed_as_they_are() -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    posterior(triangle, within, X, num_samples=2)
    assert torch.equal(state, torch.get_rng_state())
