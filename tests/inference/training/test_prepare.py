"""What `fit` looks at before it trains: no data at all, and a first batch as `check` sees it."""

from __future__ import annotations

from typing import Any

import pyro
import pyro.contrib.gp as gp
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

from guides import VAEGuide
from inference import PairError, check, fit
from ppl_models import VAE, InputError
from tests import pairs
from tests.inference.training.fitting import QUIET, data

TIMES = torch.linspace(0, 5, 30)
WAVE = TIMES.sin()


@pytest.mark.parametrize("nothing", [None, (), {}, []], ids=["none", "tuple", "dict", "list"])
def test_a_model_that_holds_its_data_takes_a_step_an_epoch(nothing: Any) -> None:
    """The log evidence of a Gaussian process, in nats in all, rises with its hyperparameters."""
    process = gp.models.GPRegression(TIMES, WAVE, gp.kernels.RBF(1), noise=torch.tensor(0.1))
    before = process.kernel.lengthscale.item()
    rates: dict[str, Any] = {"epochs": 20, "learning_rate": 0.05}
    run = fit(process.model, process.guide, nothing, report_every=1, **rates, **QUIET)
    assert run.history[-1]["step"] == 20
    covariance = process.kernel(TIMES) + process.noise * torch.eye(30)
    exact = dist.MultivariateNormal(torch.zeros(30), covariance).log_prob(WAVE).item()
    assert run.history[-1]["bound"] == pytest.approx(exact, rel=1e-3)  # its own jitter of 1e-6
    assert exact > run.history[0]["bound"] + 5 and process.kernel.lengthscale.item() != before


def test_data_in_a_closure_train_without_an_argument() -> None:
    """The mean of a Gaussian, by maximum likelihood: the mean of the data, to Adam's last steps."""
    x = data(50)

    def model() -> None:
        loc = pyro.param("loc", torch.zeros(()))
        with pyro.plate("data", 50):
            pyro.sample("x", dist.Normal(loc, 1.0), obs=x)

    def guide() -> None:
        pass

    run = fit(model, guide, epochs=300, learning_rate=0.05, **QUIET)
    (loc,) = run.model.parameters()
    assert abs(loc.item() - x.mean().item()) < 0.01


def test_a_model_that_observes_nothing_without_data_is_refused() -> None:
    model = VAE(4, 2)
    with pytest.raises(InputError, match="observes nothing"):
        fit(model, VAEGuide(model), **QUIET)


def test_data_that_a_model_needs_are_missed() -> None:
    def model(x: Tensor) -> None:
        pyro.sample("x", dist.Normal(0.0, 1.0).expand([len(x)]).to_event(1), obs=x)

    with pytest.raises(InputError, match="what the model takes"):
        fit(model, model, **QUIET)


def lacks(x: Tensor | None = None, size: int = 1) -> None:
    pyro.param("unused", torch.zeros(()))


def adds(x: Tensor | None = None, size: int = 1) -> None:
    pairs.ConjugateGuide()(x)
    pyro.sample("more", dist.Normal(pyro.param("loc", torch.zeros(())), 1.0))


def of_other_shape(x: Tensor | None = None, size: int = 1) -> None:
    assert x is not None
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(pyro.param("loc", torch.zeros(2)), 1.0).to_event(1))


@pytest.mark.parametrize("guide", [lacks, adds, of_other_shape])
def test_fit_and_check_say_the_same_of_a_wrong_pair(guide: Any) -> None:
    said = []
    for look in (lambda g: fit(pairs.Conjugate(), g, data(20), **QUIET), check_conjugate):
        with pytest.raises(PairError) as raised:
            look(guide)
        said.append(str(raised.value))
    assert said[0] == said[1]


def check_conjugate(guide: Any) -> Any:
    return check(pairs.Conjugate(), guide, data(20))


def test_the_look_leaves_the_pair_and_its_noise_alone() -> None:
    """The look may not move what training draws: the same run as without it, by its own seed."""
    torch.manual_seed(3)
    before = torch.get_rng_state()
    fit(pairs.Conjugate(), pairs.ConjugateGuide(), data(), epochs=1, **QUIET)
    assert torch.equal(torch.get_rng_state(), before)
