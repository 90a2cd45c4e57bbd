"""The guide of SV2P: what it reads, and the three stages of its training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pyro import poutine
from pyro.infer import TraceMeanField_ELBO
from torch.distributions import kl_divergence

from guides.video import SV2PGuide
from inference import Objective, fit
from inference.schedules import linear
from inference.tasks.video import forecast
from ppl_models.errors import InputError
from ppl_models.video import SV2P
from tests.videos import ENDS, B, T, assert_alike, blobs, latents, pair, ragged, scores

both = pytest.mark.parametrize("time_variant", [False, True])


def posterior(guide: Any, *data: torch.Tensor) -> Any:
    return poutine.trace(guide).get_trace(*data).nodes["z"]["fn"]


def kl(model: Any, guide: Any, s: torch.Tensor) -> torch.Tensor:
    """KL(q || p) of each video."""
    theirs = poutine.trace(guide).get_trace(s)
    ours = poutine.trace(poutine.replay(model, trace=theirs)).get_trace(s)
    found: torch.Tensor = kl_divergence(theirs.nodes["z"]["fn"], ours.nodes["z"]["fn"])
    return found


@both
def test_in_the_first_stage_the_guide_is_the_prior(time_variant: bool) -> None:
    model = SV2P((1, 8, 8), 3, time_variant=time_variant, width=2)
    guide, s = SV2PGuide(model, width=4, prior_steps=3), blobs().float()
    guide.set_step(2)
    assert torch.equal(kl(model, guide, s), torch.zeros(B))
    z = latents(guide, s)
    shown = scores(guide, z, s)
    prior = torch.distributions.Normal(0.0, 1.0).log_prob(z["z"]).flatten(1).sum(-1)
    assert_alike(shown, prior)
    guide.eval()  # what is reported is of the posterior
    assert bool((kl(model, guide, s) > 0.1).all())
    guide.train()
    guide.set_step(3)
    assert bool((kl(model, guide, s) > 0.1).all())


@both
def test_the_three_stages_are_a_schedule(time_variant: bool) -> None:
    """Through `fit`: z from the prior, then from the posterior at no cost, then at a rising one."""
    torch.manual_seed(0)
    model = SV2P((1, 8, 8), 3, time_variant=time_variant, width=2)
    guide, s = SV2PGuide(model, width=4, prior_steps=4), blobs(6).float()
    objective = Objective("meanfield", kl_weight=linear(4, end=0.4, wait=8))
    start = [p.detach().clone() for p in guide.parameters()]
    rates, learned = list[float](), list[bool]()

    def watch(step: int, loss: float) -> None:
        rates.append(kl(model, guide, s).sum().item())
        learned.append(
            any(not torch.equal(a, b) for a, b in zip(start, guide.parameters(), strict=True))
        )

    run = fit(
        model, guide, s, objective=objective, epochs=14, on_step=watch, seed=0, report_every=1
    )
    assert rates[:4] == [0.0] * 4 and min(rates[4:]) > 0
    assert learned == [False] * 4 + [True] * 10
    weights = [row["kl_weight"] for row in run.history]
    assert weights == pytest.approx([0.0] * 9 + [0.1, 0.2, 0.3, 0.4, 0.4])


@both
def test_a_loss_of_the_first_stage_is_the_distortion_alone(time_variant: bool) -> None:
    model = SV2P((1, 8, 8), 3, time_variant=time_variant, width=2)
    guide, s = SV2PGuide(model, width=4, prior_steps=1), blobs().float()
    losses = []
    for weight in (0.0, 1.0):
        torch.manual_seed(3)
        losses.append(Objective("meanfield", kl_weight=weight).loss(model, guide, (s,)))
    assert_alike(*losses, 0.0)
    torch.manual_seed(3)
    assert_alike(TraceMeanField_ELBO()(model, guide)(s) / B, losses[0], 1e-5)


def test_a_latent_of_a_frame_reads_that_frame_and_the_one_before() -> None:
    _, guide = pair("SV2P frames")
    s = blobs()
    mean, scale = posterior(guide, s).moments(None)
    other = s.clone()
    other[:, 2] = 0
    changed = (posterior(guide, other).moments(None)[0] - mean).abs().amax((0, -1)) > 0
    assert changed.tolist() == [False, True, True, False]  # of z_2, ..., z_5
    assert scale.shape == (B, T - 1, 3)


def test_a_latent_of_a_video_reads_the_mean_over_its_pairs() -> None:
    """A video twice as long, there and back again and again, has the posterior of a short one."""
    _, guide = pair("SV2P")
    first, second = blobs(length=2).unbind(1)
    there_and_back = torch.stack([first, second, first], 1)
    longer = torch.stack([first, second, first, second, first], 1)
    short, long = (posterior(guide, s).base_dist for s in (there_and_back, longer))
    assert_alike((short.loc, short.scale), (long.loc, long.scale), 1e-10)
    s, mask = ragged(blobs())
    found = posterior(guide, s, mask).base_dist
    alone = ENDS.index(1)
    assert torch.equal(found.loc[alone], torch.zeros(16).double())  # one frame: the prior
    assert torch.equal(found.scale[alone], torch.ones(16).double())


def test_unusable_settings() -> None:
    model = SV2P((1, 8, 8), width=2)
    for wrong in ({"width": 0}, {"prior_steps": -1}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            SV2PGuide(model, **wrong)
    with pytest.raises(InputError, match="simulate"):
        SV2PGuide(model, width=2)()


@pytest.mark.parametrize("name", ["SV2P", "SV2P frames"])
def test_a_forecast_draws_z_from_the_prior(name: str) -> None:
    """In known frames too: the guide would have read what comes after them."""
    model, guide = pair(name)
    model, guide = model.float(), guide.float()
    known = (255 * blobs()).byte().unflatten(-1, (8, 8)).numpy()
    first = forecast(model, guide, known, length=8, num_samples=2, seed=1).frames
    assert first.shape == (2, B, 8, 8, 8)
    with torch.no_grad():
        for parameter in guide.parameters():
            parameter.mul_(-3.0)
    assert np.array_equal(
        first, forecast(model, guide, known, length=8, num_samples=2, seed=1).frames
    )
    assert not np.array_equal(first[0], first[1])
