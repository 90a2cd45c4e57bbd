"""The conditional VAE: exact where it is linear, and which prior a rich condition wants."""

from __future__ import annotations

import math
from typing import Literal

import pytest
import torch
from pyro import poutine
from torch import Tensor, nn

from guides.cvae import CVAEGuide
from inference import check, fit
from inference.diagnostics.importance import importance
from inference.objectives.objective import Objective
from ppl_models.cvae import CVAE, beside
from ppl_models.errors import InputError
from ppl_models.likelihoods.discrete import Categorical, DiscretizedLogistic
from ppl_models.networks.mlp import MLP

PRIORS: tuple[Literal["standard", "learned"], ...] = ("standard", "learned")
NOISE, SPREAD = 0.5, 0.8  # scales of x given z, and of z given c


def linear_pair() -> tuple[CVAE, CVAEGuide, Tensor, Tensor, Tensor]:
    """z ~ N(P c, SPREAD^2), x ~ N(W z + B c, NOISE^2), with W' W diagonal, and its posterior."""
    weight = torch.linalg.qr(torch.randn(3, 2)).Q * torch.tensor([1.5, 0.7])  # W
    shift, lift = torch.randn(3, 2), torch.randn(2, 2)  # B, P
    decoder, prior, encoder = nn.Linear(4, 3), nn.Linear(2, 4), nn.Linear(5, 4)
    precision = weight.T @ weight / NOISE**2 + torch.eye(2) / SPREAD**2
    gain = torch.linalg.solve(precision, weight.T / NOISE**2)
    of_c = torch.linalg.solve(precision, lift / SPREAD**2) - gain @ shift
    with torch.no_grad():
        for layer in (decoder, prior, encoder):
            layer.weight.zero_()
            layer.bias.zero_()
        decoder.weight.copy_(torch.cat([weight, shift], -1))
        prior.weight[:2] = lift
        prior.bias[2:] = math.log(SPREAD)
        encoder.weight[:2] = torch.cat([gain, of_c], -1)
        encoder.bias[2:] = -0.5 * precision.diagonal().log()
    model = CVAE(3, 2, 2, prior="learned", scale=NOISE, decoder=decoder)
    model.prior.network = prior
    return model, CVAEGuide(model, encoder=encoder), weight, shift, lift


def test_bound_equals_exact_evidence_where_the_guide_is_exact() -> None:
    model, guide, weight, shift, lift = linear_pair()
    c = torch.randn(6, 2)
    x = model(None, c).detach()
    mean = c @ (weight @ lift + shift).T
    covariance = SPREAD**2 * weight @ weight.T + NOISE**2 * torch.eye(3)
    exact = torch.distributions.MultivariateNormal(mean, covariance).log_prob(x)
    assert torch.allclose(Objective().bound(model, guide, (x, c)), exact, atol=1e-4)


@pytest.mark.parametrize("prior", PRIORS)
def test_the_pair_passes_check_and_the_condition_is_not_scored(prior) -> None:
    model = CVAE(5, 3, 2, prior=prior)
    guide, c = CVAEGuide(model), torch.randn(6, 3)
    x = model(None, c).detach()
    assert {row.name for row in check(model, guide, x, c).sites} == {"z", "x"}
    assert model(None, c[:1]).shape == (1, 5)
    distributions = poutine.trace(model).get_trace(x, c).nodes
    assert (distributions["z"]["fn"].mean.std(0) > 0).all() == (prior == "learned")
    assert Objective().bound(model, guide, (x[:1], c[:1])).isfinite().all()


def test_classes_given_a_class() -> None:
    part = Categorical(4, 3)
    c = nn.functional.one_hot(torch.arange(6) % 2, 2).double()
    model = CVAE(4, 2, 2, likelihood=part, prior="learned").double()
    guide = CVAEGuide(model).double()
    x = model(None, c).to(torch.uint8)
    assert check(model, guide, x, c).sites
    run = fit(model, guide, {"x": x, "c": c}, epochs=1, progress=False)
    assert math.isfinite(run.history[-1]["bound"])


def test_codes_and_conditions_broadcast() -> None:
    both = beside(torch.zeros(4, 1, 2), torch.ones(3, 5, dtype=torch.int64))
    assert both.shape == (4, 3, 7) and both.dtype == torch.float32 and both.sum() == 60


@pytest.mark.parametrize(
    ("x", "c", "message"),
    [
        (torch.zeros(4, 5), torch.zeros(4, 2), "c: saw shape"),
        (torch.zeros(4, 6), torch.zeros(4, 3), "x: saw shape"),
        (torch.zeros(3, 5), torch.zeros(4, 3), "x: saw 3 data"),
    ],
)
def test_wrong_shapes_are_named(x: Tensor, c: Tensor, message: str) -> None:
    model = CVAE(5, 3, 2)
    for part in (model, CVAEGuide(model)):
        with pytest.raises(InputError, match=message):
            part(x, c)


def test_an_unknown_prior_is_named() -> None:
    with pytest.raises(InputError, match="flat"):
        CVAE(prior="flat")  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_rich_condition_wants_the_learned_prior() -> None:
    """Chen (2020), section 2.1.1: right halves of digits, given the left ones; IWAE-64, held out.

    1.6 nats apart, with an error of 0.1, when this was written.
    """
    digits = pytest.importorskip("sklearn.datasets").load_digits().images
    order = torch.randperm(len(digits), generator=torch.Generator().manual_seed(0))
    x = torch.as_tensor(digits).float()[order]
    c, x = x[..., :4].flatten(1) / 16, x[..., 4:].flatten(1)
    bounds = {}
    for prior in PRIORS:
        torch.manual_seed(0)
        part = DiscretizedLogistic(32, 17)
        model = CVAE(32, 32, 8, prior=prior, likelihood=part)
        guide = CVAEGuide(model, encoder=MLP(64, 128, 16))
        data = x[:1400], c[:1400]
        fit(model, guide, data, epochs=40, batch_size=100, learning_rate=2e-3, progress=False)
        bounds[prior] = importance(model, guide, x[1400:], c[1400:], num_samples=64).iwae
    difference = bounds["learned"] - bounds["standard"]
    assert difference.mean() > 4 * difference.std() / math.sqrt(len(difference))
