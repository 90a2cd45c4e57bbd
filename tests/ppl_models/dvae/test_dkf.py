"""The deep Kalman filter: its transition, the LDS as an anchor, and recovery."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import softplus

from guides.dvae.dkf import DKFGuide
from inference import Objective, fit
from inference.randomness import seeded
from inference.schedules import cosine
from ppl_models.dvae.dkf import DKF, GatedTransition, LinearTransition
from ppl_models.lds import LDS
from ppl_models.likelihoods.basic import Gaussian
from tests.sequences import paths, scores


def test_a_gated_transition_is_krishnan_s() -> None:
    net, z = GatedTransition(3, 4).double(), torch.randn(5, 3).double()
    assert torch.equal(net.linear(z), z)  # starts as the identity
    torch.nn.init.normal_(net.linear.weight)
    gate, proposal = net.gate(z).sigmoid(), net.proposal(z)
    mean, scale = net(z)
    assert torch.allclose(mean, (1 - gate) * net.linear(z) + gate * proposal)
    assert torch.allclose(scale**2, softplus(net.spread(proposal.relu())), atol=2e-6)


def twins(latent_dim: int = 2) -> tuple[DKF, LDS]:
    """A linear DKF, and the LDS with its numbers: z_0 = 0, so z_1 ~ N(b, scale^2)."""
    noise = 0.4
    model = DKF(3, latent_dim, linear=True, likelihood=Gaussian(3, scale=noise)).double()
    lds, transition = LDS(3, latent_dim, form="joint").double(), model.transition
    assert isinstance(transition, LinearTransition)
    with torch.no_grad():
        rotation = torch.linalg.qr(torch.randn(latent_dim, latent_dim).double())[0]
        transition.linear.weight.copy_(0.9 * rotation)
        transition.linear.bias.copy_(0.3 * torch.randn(latent_dim))
        transition.log_scale.copy_(-0.3 * torch.rand(latent_dim))
        for mine, its in (
            (lds.initial_mean, transition.linear.bias),
            (lds.initial_log_scale, transition.log_scale),
            (lds.transition, transition.linear.weight),
            (lds.transition_offset, transition.linear.bias),
            (lds.process_log_scale, transition.log_scale),
            (lds.emission, model.emission.weight),
            (lds.emission_offset, model.emission.bias),
            (lds.noise_log_scale, torch.tensor(noise).log()),
        ):
            assert isinstance(its, Tensor)
            mine.copy_(its)
    return model, lds


def test_a_linear_dkf_is_an_lds() -> None:
    """Joint density, site by site; and with the exact posterior every draw's bound is log p(s)."""
    model, lds = twins()
    values, lengths = paths(model, 3, 8), torch.tensor([[8], [5], [1]])
    mask = torch.arange(8) < lengths
    with torch.no_grad():
        mine, its = scores(model, values, mask), scores(lds, values, mask)
    for name in ("z", "s"):
        assert torch.allclose(mine[name], its[name], rtol=1e-5)
    posterior = lds.posterior(values["s"])
    z = posterior.sample()
    joint = sum(scores(model, {"s": values["s"], "z": z}).values())
    evidence = lds.log_evidence(values["s"])
    assert torch.allclose(joint - posterior.log_prob(z), evidence, rtol=1e-5)


@pytest.mark.slow
def test_a_linear_dkf_learns_what_generated_the_data_up_to_its_evidence() -> None:
    """Its bound on new data is the truth's exact log p(s), to 0.1 nat a frame.

    The guide looks ahead with an LSTM, and its noise has no correlations, so that something is
    left; the bound of the new pair must have been far off.
    """
    with seeded(1):
        truth, lds = twins()
        s, new = (paths(truth, size, 10)["s"].float() for size in (600, 400))
        model = DKF(3, 2, linear=True, likelihood=Gaussian(3))
        guide = DKFGuide(model, input_dim=32, recurrent_dim=32)
    evidence = lds.log_evidence(new.double())
    objective, epochs, batch = Objective("meanfield"), 60, 50
    before = objective.bound(model, guide, (new,))
    steps = epochs * len(s) // batch
    run = fit(
        model,
        guide,
        s,
        epochs=epochs,
        batch_size=batch,
        objective=objective,
        learning_rate=cosine(steps, 1e-2),
        seed=0,
    )
    after = objective.bound(run.model, run.guide, (new,))
    missing = (evidence - after) / 10
    error = missing.std() / len(new) ** 0.5
    assert -4 * error < missing.mean() < 0.1 + 4 * error
    assert ((evidence - before) / 10).mean() > 1
