from __future__ import annotations

import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.distributions import Gamma, Poisson

from guides import PoissonFactorsGuide
from inference import fit, importance, seeded
from ppl_models import InputError, PoissonFactors

Pair = tuple[PoissonFactors, PoissonFactorsGuide]


def blocks(data_dim: int = 12, latent_dim: int = 3) -> PoissonFactors:
    """Three factors, each mostly on a block of its own; neighbouring blocks overlap."""
    model = PoissonFactors(data_dim, latent_dim)
    width = data_dim // latent_dim
    with torch.no_grad():
        model.logits.fill_(-3.0)
        for k in range(latent_dim):
            model.logits[k, k * width : (k + 1) * width + 2] = 0.0
        model.log_shape.fill_(0.5).log_()
        model.log_mean.fill_(30.0).log_()
    return model


@pytest.fixture(scope="module")
def learned() -> tuple[PoissonFactors, Pair, Tensor]:
    """The truth, a pair fitted to data of it, and data that the pair has not seen."""
    with seeded(0):
        truth = blocks()
        x, fresh = truth(size=2000).detach(), truth(size=300).detach()
        model = PoissonFactors(12, 3).start_from(x)
        guide = PoissonFactorsGuide(model)
    fit(model, guide, x, epochs=40, learning_rate=0.01, progress=False)
    return truth, (model, guide), fresh


def bound(model: PoissonFactors, q: Gamma, x: Tensor, num_samples: int = 4000) -> Tensor:
    """The ELBO of a datum, (N,), by draws for log p(x | theta) and the closed form for the KL."""
    prior = Gamma(model.shape, model.rate)
    theta = q.sample((num_samples,))
    distortion = Poisson(theta @ model.loadings).log_prob(x).sum(-1).mean(0)
    return distortion - torch.distributions.kl_divergence(q, prior).sum(-1)


def coordinate_ascent(model: PoissonFactors, x: Tensor, steps: int = 500) -> Gamma:
    """The best independent Gamma posterior of each datum: shares of counts and means, in turn."""
    counts = (x.sum(-1, keepdim=True) / model.latent_dim).expand(-1, model.latent_dim)
    for _ in range(steps):
        log_theta = torch.digamma(model.shape + counts) - (model.rate + 1).log()
        shares = (log_theta[..., None] + model.loadings.log()).softmax(-2)
        counts = (shares * x[:, None]).sum(-1)
    return Gamma(model.shape + counts, model.rate + 1)


def test_with_one_factor_the_guide_is_the_posterior_untrained() -> None:
    model = PoissonFactors(4, 1).double()
    guide = PoissonFactorsGuide(model).double()
    x = model(size=20).detach()
    found, total = guide.posterior(x), x.sum(-1, keepdim=True)
    assert torch.allclose(found.concentration, model.shape + total)
    assert torch.allclose(found.rate, (model.rate + 1).expand(20, 1))
    report = importance(model, guide, x, num_samples=50)  # every draw's weight is the evidence
    assert torch.allclose(report.log_weights.std(0), torch.zeros(20).double(), atol=1e-8)


def test_every_count_is_shared_out_once() -> None:
    model = PoissonFactors(12, 3)
    x = model(size=7).detach()
    shared = PoissonFactorsGuide(model).posterior(x).concentration - model.shape
    assert (shared >= 0).all() and torch.allclose(shared.sum(-1), x.sum(-1), rtol=1e-5)


def test_loadings_are_recovered_up_to_their_order(
    learned: tuple[PoissonFactors, Pair, Tensor],
) -> None:
    truth, (model, _), _ = learned
    distance = torch.cdist(truth.loadings, model.loadings, p=1).detach() / 2  # total variation
    rows, columns = linear_sum_assignment(distance.numpy())
    # 0.013 to 0.033 over three seeds; another factor is 0.6 away
    assert distance[rows, columns].max() < 0.06
    mean = model.log_mean.exp().detach()[columns]
    assert torch.allclose(mean, truth.log_mean.exp(), rtol=0.2)


def test_the_network_reaches_nearly_the_best_independent_posterior(
    learned: tuple[PoissonFactors, Pair, Tensor],
) -> None:
    _, (model, guide), fresh = learned
    with torch.no_grad():
        best = bound(model, coordinate_ascent(model, fresh), fresh).mean()
        amortised = bound(model, guide.posterior(fresh), fresh).mean()
    # of some -29 nats; 0.01 is the error of either mean with these draws
    assert best - 0.1 < amortised < best + 0.02


def test_parameters_of_the_model_are_not_the_guide_s() -> None:
    guide = PoissonFactorsGuide(PoissonFactors(4, 2), hidden_dims=(8, 8))
    assert {name.partition(".")[0] for name, _ in guide.named_parameters()} == {"network"}
    assert sum(isinstance(layer, nn.Linear) for layer in guide.network) == 3


def test_data_of_another_shape_are_named() -> None:
    with pytest.raises(InputError, match=r"\(3, 5\)"):
        PoissonFactorsGuide(PoissonFactors(4, 2))(torch.zeros(3, 5))


def test_data_that_are_no_counts_are_named_before_the_guide_reads_them() -> None:
    """`fit` runs the guide first: the error is about the data, not about the guide's density."""
    model = PoissonFactors(5, 2)
    with pytest.raises(InputError, match="not all of them counts"):
        fit(model, PoissonFactorsGuide(model), -torch.ones(4, 5), epochs=1, progress=False)
