"""SV2P: frames composed of the last one, at once and one after another."""

from __future__ import annotations

from typing import Any

import pyro.distributions as dist
import pytest
import torch
from pyro import poutine

from guides.video import SV2PGuide
from inference import Objective, fit
from ppl_models.dvae import Memory
from ppl_models.dvae.scheduled_sampling import SamplingSchedule
from ppl_models.errors import InputError
from ppl_models.video import SV2P
from tests.videos import B, D, T, assert_alike, blobs, gradients, latents, pair, ragged, scores

both = pytest.mark.parametrize("name", ["SV2P", "SV2P frames"])


def by_hand(model: Any, s: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """Log p(s_{2:T} | s_1, z), frame by frame."""
    memory, total = Memory(stepwise=True), torch.zeros(len(s)).double()
    for t in range(1, s.shape[1]):
        now = z[:, t - 1 : t] if model.time_variant else z
        mean = model.means(memory, s[:, t - 1 : t], s[:, :1], now)[:, 0]
        total = total + dist.Normal(mean, model.likelihood.scale).log_prob(s[:, t]).sum(-1)
    return total


@both
def test_at_once_is_frame_by_frame_in_value_and_gradient(name: str) -> None:
    model, guide = pair(name)
    s = blobs()
    z = latents(guide, s)
    prior = dist.Normal(0.0, 1.0).log_prob(z["z"]).flatten(1).sum(-1)
    wanted = prior + by_hand(model, s, z["z"])
    found = scores(model, z, s)
    assert_alike(found, wanted, 1e-8)
    assert_alike(gradients(found.sum(), model), gradients(wanted.sum(), model), 1e-7)


@both
def test_a_simulation_reads_its_own_draws(name: str) -> None:
    model, guide = pair(name)
    s = blobs()
    z = latents(guide, s)["z"]
    means, drawn = model.rollout(s[:, :1], z, T - 1, point=False)
    whole = torch.cat([s[:, :1], drawn], 1)
    assert_alike(means, model.means(Memory(), whole[:, :-1], s[:, :1], z), 1e-9)
    spread = (drawn - means).std() / model.likelihood.scale  # of B (T - 1) D numbers
    assert abs(spread - 1) < 5 / (2 * drawn.numel()) ** 0.5
    read = model.rollout(s[:, :1], z, T - 1, point=True)
    assert torch.equal(*read)


def test_the_prior_is_standard_and_counts_existing_frames() -> None:
    model, _ = pair("SV2P frames")
    s, mask = ragged(blobs())
    z = torch.randn(B, T - 1, 3).double()
    wanted = dist.Normal(0.0, 1.0).log_prob(z).sum(-1)
    assert_alike(model.prior(T - 1, s).log_prob(z), wanted.sum(-1), 1e-12)
    wanted = (wanted * mask[:, 1:]).sum(-1)
    assert_alike(model.prior(T - 1, s, mask=mask).log_prob(z), wanted, 1e-12)


@both
def test_a_mean_is_a_level_and_reads_the_past_alone(name: str) -> None:
    model, guide = pair(name)
    s = blobs()
    z = latents(guide, s)["z"]
    means = model.means(Memory(), s[:, :-1], s[:, :1], z)
    assert means.shape == (B, T - 1, D) and bool((means >= 0).all() and (means <= 1).all())
    other = s.clone()
    other[:, 2:] = 0
    assert_alike(model.means(Memory(), other[:, :-1], s[:, :1], z)[:, :2], means[:, :2], 1e-12)


@both
def test_a_future_reads_its_own_means(name: str) -> None:
    model, _ = pair(name)
    s = blobs()
    trace = poutine.trace(model).get_trace(s, future=3)
    z = trace.nodes["z"]["value"]
    if model.time_variant:
        z = torch.cat([z, trace.nodes["z_next"]["value"]], 1)
    memory, now, means = Memory(stepwise=True), s[:, :1], []
    for t in range(T + 2):
        now = s[:, t : t + 1] if t < T else now
        now = model.means(memory, now, s[:, :1], z[:, t : t + 1] if model.time_variant else z)
        means.append(now)
    assert_alike(trace.nodes["s_next"]["fn"].mean, torch.cat(means[-3:], 1), 1e-9)
    assert model.forecasts_from_prior


@both
@pytest.mark.parametrize("probability", [0.0, 0.4, 1.0])
def test_scheduled_sampling_reads_means_where_a_coin_says_so(
    name: str, probability: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, guide = pair(name)
    s = blobs()
    z = latents(guide, s)
    model.sampling = SamplingSchedule(0, 10)
    model.set_step(int(10 * probability))
    assert model.sampling_probability == probability
    forced = scores(model, z, s)  # in evaluation mode there are no coins
    model.train()
    toss = torch.tensor([0.1, 0.9, 0.3, 0.6])
    if probability:
        monkeypatch.setattr(torch, "rand", lambda *size: toss)
    found = scores(model, z, s)
    memory, total, own = Memory(stepwise=True), dist.Normal(0.0, 1.0).log_prob(z["z"]), s[:, :1]
    total = total.flatten(1).sum(-1)
    for t in range(T - 1):
        read = own if t and toss[t] < probability else s[:, t : t + 1]
        own = model.means(
            memory, read, s[:, :1], z["z"][:, t : t + 1] if model.time_variant else z["z"]
        )
        total = total + model.likelihood(own[:, 0]).log_prob(s[:, t + 1])
    assert_alike(found, total, 1e-8)
    assert bool(torch.isclose(found, forced).all()) == (probability == 0)
    assert_alike(gradients(found.sum(), model), gradients(total.sum(), model), 1e-7)


def test_a_z_of_a_video_is_a_map_or_spread_over_one() -> None:
    as_map, spread = SV2P((1, 32, 32), width=2), SV2P((1, 32, 32), 5, width=2)
    assert as_map.latent_dim == 64 and as_map.is_map and not list(as_map.spread.parameters())
    assert spread.latent_dim == 5 and spread.spread.weight.shape == (64, 5)


@pytest.mark.parametrize(
    ("options", "cure"),
    [
        ({"kernel_side": 4}, {"kernel_side": 5}),
        ({"scale": "decoded"}, {"scale": "shared"}),
        ({"width": 0}, {"width": 1}),
        ({"num_kernels": 0}, {"num_kernels": 1}),
        ({"latent_dim": 0}, {"latent_dim": 1}),
        ({"frame_shape": (1, 20, 20)}, {"frame_shape": (1, 16, 16)}),
    ],
)
def test_unusable_settings(options: dict[str, Any], cure: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(options))):
        SV2P(**{"frame_shape": (1, 8, 8), "width": 2} | options)
    SV2P(**{"frame_shape": (1, 8, 8), "width": 2} | cure)


@both
def test_a_shared_scale_is_learned(name: str) -> None:
    model = SV2P((1, 8, 8), width=2, scale="shared", time_variant=name != "SV2P")
    fit(model, SV2PGuide(model, width=2), blobs().float(), epochs=2, seed=0)
    assert model.likelihood.log_scale.item() < 0


def test_a_moving_blob_is_told_better_than_by_the_last_frame() -> None:
    """Squared error of one frame ahead, of videos it has not seen: below half of copying."""
    torch.manual_seed(1)
    train, test = blobs(48, 7, 16).float(), blobs(16, 7, 16).float()
    model = SV2P((1, 16, 16), 2, width=8, num_kernels=6, scale=0.1)
    guide = SV2PGuide(model, width=4)
    fit(
        model,
        guide,
        train,
        objective=Objective("meanfield"),
        epochs=25,
        batch_size=16,
        learning_rate=5e-3,
        seed=0,
    )
    with torch.no_grad():
        means = model.means(Memory(), test[:, 2:-1], test[:, :1], torch.zeros(16, 2))
    error, copying = ((x - test[:, 3:]).square().mean() for x in (means, test[:, 2:-1]))
    assert error < 0.5 * copying
