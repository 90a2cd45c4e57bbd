"""SRVP: a state that moves, a content that stays; with linear maps, a linear dynamical system."""

from __future__ import annotations

import math
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch import Tensor, nn

from guides.video import SRVPGuide
from inference import Objective, check, fit
from ppl_models.errors import InputError
from ppl_models.lds import LDS
from ppl_models.likelihoods import ConvFrames, Gaussian
from ppl_models.video import SRVP
from tests.videos import (
    B,
    D,
    T,
    assert_alike,
    blobs,
    gradients,
    latents,
    pair,
    ragged,
    scores,
)

both = pytest.mark.parametrize("name", ["SRVP", "SRVP skips"])


@both
def test_at_once_is_frame_by_frame_in_value_and_gradient(name: str) -> None:
    model, guide = pair(name)
    s = blobs()
    given = latents(guide, s)
    found = scores(model, given, s)
    w, maps = model.content(s)
    h, z = given["h_1"], given["z"]
    total = dist.Normal(0.0, 1.0).log_prob(h).sum(-1)
    for t in range(T):
        if t:
            now = z[:, t - 1]
            total = total + dist.Normal(*model.prior.moments(h)).log_prob(now).sum(-1)
            h = model.step(h, model.step.project(now))[0]
        of_frame = None if maps is None else [part[:, 0] for part in maps]
        painted = model.likelihood.painted(torch.cat([h, w], -1), of_frame)
        total = total + painted.log_prob(s[:, t])
    assert_alike(found, total, 1e-8)
    assert_alike(gradients(found.sum(), model), gradients(total.sum(), model), 1e-7)


def test_a_content_does_not_depend_on_the_order_of_its_frames() -> None:
    model, _ = pair("SRVP")
    s = blobs()
    order = torch.tensor([3, 0, 4, 1, 2])
    last = [0, 1, 2, 4, 3]  # of the two last ones, as many as training reads
    w = model.content(s)[0]
    assert_alike(model.content(s[:, last])[0], w, 1e-12)
    assert_alike(model.content(s, given=s)[0], w, 1e-12)
    assert_alike(model.content(s, given=s[:, last])[0], w, 1e-12)
    assert not torch.allclose(model.content(s[:, order])[0], w)
    assert not torch.allclose(model.content(s, given=s[:, order])[0], w)


@both
def test_a_content_of_a_ragged_batch_is_that_of_each_row_alone(name: str) -> None:
    model, _ = pair(name)
    s, mask = ragged(blobs())
    w, maps = model.content(s, mask=mask)
    for row, n in enumerate(mask.sum(-1).tolist()):
        alone, their_maps = model.content(s[row : row + 1, :n])
        assert_alike(w[row], alone[0], 1e-12)
        assert (maps is None) == (name == "SRVP")
        if maps is not None:
            assert_alike(maps[0][row], their_maps[0][0], 1e-12)


def test_a_content_is_of_existing_frames_and_of_random_ones_in_training_alone() -> None:
    model, _ = pair("SRVP")
    s, mask = ragged(blobs())
    chosen = model._choice(s, mask, at_random=False)
    assert chosen.tolist() == [[4, 3], [2, 1], [0, 0]]
    seen = torch.stack([model._choice(s, mask, at_random=True) for _ in range(100)])
    assert [set(seen[:, row].flatten().tolist()) for row in range(B)] == [
        {0, 1, 2, 3, 4},
        {0, 1, 2},
        {0},
    ]
    assert bool((seen[:, :2, 0] != seen[:, :2, 1]).all())  # two different ones, where there are two


def test_another_content_leaves_the_path_as_it_is() -> None:
    model, guide = pair("SRVP")
    s = blobs()
    given = latents(guide, s)
    held = poutine.condition(model, given)
    own, swapped = (
        poutine.trace(held).get_trace(s, content=content).nodes for content in (None, s.flip(0))
    )
    assert_alike(own["residual"]["value"], swapped["residual"]["value"], 0.0)
    assert not torch.allclose(own["s"]["fn"].mean, swapped["s"]["fn"].mean)
    model.train()
    w = model.content(s, given=s)[0]  # what is given is not chosen from at random
    assert_alike(model.content(s, given=s)[0], w, 0.0)
    model.eval()
    same = poutine.trace(held).get_trace(s, content=s[:, -2:]).nodes
    assert_alike(own["s"]["fn"].mean, same["s"]["fn"].mean, 1e-12)


def test_without_noise_the_first_state_decides_all() -> None:
    sizes: Any = {"state_dim": 3, "content_dim": 4, "hidden_dims": (7,), "width": 4}
    model = SRVP((1, 8, 8), 2, stochastic=False, **sizes)
    guide, s = SRVPGuide(model, start_dims=(5,)), blobs().float()
    nodes = poutine.trace(model).get_trace(s, future=2).nodes
    assert "z" not in nodes and "z_next" not in nodes
    assert nodes["s_next"]["value"].shape == (B, 2, D)
    assert set(latents(guide, s)) == {"h_1"}


def test_a_future_goes_on_from_the_last_state() -> None:
    """The noise of the frames given and of those to come is one path."""
    model, guide = pair("SRVP")
    s = blobs()
    given = latents(guide, s)
    nodes = poutine.trace(poutine.condition(model, given)).get_trace(s, future=3).nodes
    h, w = given["h_1"], model.content(s)[0]
    for z in torch.cat([given["z"], nodes["z_next"]["value"]], 1).unbind(1):
        h = model.step(h, model.step.project(z))[0]
    last = model.likelihood.painted(torch.cat([h, w], -1)).mean
    assert_alike(nodes["s_next"]["fn"].mean[:, -1], last, 1e-9)


def test_sizes_and_unusable_settings() -> None:
    for name in ("latent_dim", "state_dim", "content_dim", "num_steps", "content_frames"):
        with pytest.raises(InputError, match=name):
            SRVP(**{name: 0})
    last = [SRVP((1, 8, 8), width=2, last_gain=g).step.rest[1][-1].weight for g in (1.41, 0.141)]
    assert last[0].norm().item() == pytest.approx(10 * last[1].norm().item(), rel=1e-4)
    layers = SRVP((1, 8, 8), width=2, decoder_dims=(6,)).likelihood.decoder.hidden
    assert layers[0].out_features == 6 and layers[0].in_features == 20 + 256
    likelihood = ConvFrames((1, 8, 8), 3 + 4, read_dim=5, width=4, kind="vgg", norm="none")
    model = SRVP(likelihood=likelihood, state_dim=3, content_dim=4, hidden_dims=(7,))
    check(model, SRVPGuide(model, start_dims=(5,)), blobs().float())


def test_a_moving_blob_is_learned() -> None:
    """The bound of videos it has not seen rises above that of a picture that does not move."""
    torch.manual_seed(1)
    train, test = blobs(64, 6).float(), blobs(32, 6).float()
    sizes: Any = {"state_dim": 8, "content_dim": 8, "hidden_dims": (32,), "width": 16}
    model = SRVP((1, 8, 8), 4, scale=0.15, **sizes)
    guide = SRVPGuide(model, start_dims=(32,), recurrent_dim=32)
    fit(model, guide, train, objective=Objective("meanfield"), epochs=60, learning_rate=3e-3)
    bound = Objective("meanfield").bound(model, guide, (test,)).mean()
    still = dist.Normal(train.mean((0, 1)), train.std((0, 1))).log_prob(test).sum((1, 2)).mean()
    copied = dist.Normal(test.mean(1, keepdim=True), 0.15).log_prob(test).sum((1, 2)).mean()
    assert bound > max(still, copied)


# Linear maps -------------------------------------------------------------------------------------

Y, W, NOISE = 2, 3, 0.7


class LinearDecoder(nn.Linear):
    """Paints the state alone, and not the content."""

    skips = False

    def forward(self, code: Tensor, maps: Any = None) -> Tensor:
        return super().forward(code[..., :Y])


class LinearEncoder(nn.Linear):
    def with_maps(self, frames: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        return self(frames), ()


class LinearFrames(ConvFrames):
    """Real numbers for pixels, linear in a code."""

    def __init__(self) -> None:
        super().__init__((1, 8, 8), Y + W, read_dim=4, width=1, pixels=Gaussian(D, NOISE))
        self.decoder, self.encoder = LinearDecoder(Y, D), LinearEncoder(D, 4)

    def _check_support(self, x: Tensor) -> None: ...


class LinearStep(nn.Module):
    """h + F h + G z."""

    def __init__(self) -> None:
        super().__init__()
        self.of_noise = nn.Linear(Y, Y, bias=False)
        self.of_noise.weight.data = torch.tensor([[0.5, 0.0], [0.0, 0.8]])
        self.of_state = nn.Linear(Y, Y)

    def project(self, z: Tensor) -> Tensor:
        return self.of_noise(z)

    def forward(self, h: Tensor, projected: Tensor) -> tuple[Tensor, Tensor]:
        step = self.of_state(h) + projected
        return h + step, step


class Standard(nn.Module):
    def moments(self, h: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(h), torch.ones_like(h)


def linear_pair() -> tuple[SRVP, LDS]:
    """A linear SRVP, and the linear dynamical system that it is."""
    model = SRVP(latent_dim=Y, state_dim=Y, content_dim=W, likelihood=LinearFrames())
    model.step, model.prior = LinearStep(), Standard()
    model.double().eval()
    lds = LDS(D, Y).double()
    with torch.no_grad():
        lds.initial_mean.zero_()
        lds.initial_log_scale.zero_()
        lds.transition.copy_(torch.eye(Y) + model.step.of_state.weight)
        lds.transition_offset.copy_(model.step.of_state.bias)
        lds.process_log_scale.copy_(model.step.of_noise.weight.diag().log())
        lds.emission.copy_(model.likelihood.decoder.weight)
        lds.emission_offset.copy_(model.likelihood.decoder.bias)
        lds.noise_log_scale.fill_(math.log(NOISE))
    return model, lds


def log_weights(model: SRVP, lds: LDS, s: Tensor, draws: int, wide: float) -> Tensor:
    """Log p(s, h_1, z) / q of draws of the exact posterior, ``wide`` times as far from its mean."""
    posterior = lds.posterior(s)
    h = posterior.sample((draws,))
    log_q = posterior.log_prob(h) - h[0, 0].numel() * math.log(wide)
    mean = lds.smooth(s).mean
    h = mean + wide * (h - mean)
    drift = h[..., :-1, :] + model.step.of_state(h[..., :-1, :])
    scale = model.step.of_noise.weight.diag()
    values = {"h_1": h[..., 0, :], "z": (h[..., 1:, :] - drift) / scale}
    log_q = log_q + (s.shape[1] - 1) * scale.log().sum()
    with pyro.plate("draws", draws, dim=-2):
        return scores(model, values, s) - log_q


@pytest.mark.parametrize("length", [1, 3, 4])
def test_with_linear_maps_its_evidence_is_that_of_the_linear_dynamical_system(length: int) -> None:
    """With the exact posterior each draw's weight is the evidence, exactly.

    With a wider one the mean weight is, to 3 standard errors.
    """
    model, lds = linear_pair()
    with torch.no_grad():
        s = lds(size=2, length=length)
        evidence = lds.log_evidence(s)
        exact = log_weights(model, lds, s, 5, 1.0)
        assert_alike(exact, evidence.expand(5, 2), 1e-7)
        weights = (log_weights(model, lds, s, 4000, 1.3) - evidence).exp()
    error = weights.std(0) / 4000**0.5
    assert bool((error < 0.05).all()) and bool(((weights.mean(0) - 1).abs() < 3 * error).all())
