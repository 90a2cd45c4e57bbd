"""What single lines of the models' docstrings say, where no other test of theirs would notice."""

from __future__ import annotations

import math

import pytest
import torch
from pyro import poutine
from torch import Tensor

from guides.dvae import Evidence
from guides.dvae.motion_filter import filter_source
from guides.linear_motion import LinearMotionGuide
from guides.multimodal import DMVAEGuide
from guides.poisson_factors import PoissonFactorsGuide
from ppl_models.dvae import KVAE, DeepAR
from ppl_models.dvae.motion import Motion
from ppl_models.hmm import HMM
from ppl_models.likelihoods import ComplexGaussian, Gaussian
from ppl_models.linear_motion import LinearMotion
from ppl_models.modalities import read_rows
from ppl_models.multimodal import DMVAE
from ppl_models.networks.attention import WindowAttention
from ppl_models.poisson_factors import PoissonFactors
from ppl_models.slds import SLDS
from ppl_models.text_vae import TextVAE


@pytest.mark.parametrize("floor", [1e-3, 0.5])
def test_em_gives_a_state_the_variance_of_its_frames_floor_included(floor: float) -> None:
    """One state has all frames: its mean and variance are theirs, of which the floor is a part."""
    model = HMM(2, 1, likelihood=Gaussian(2, "decoded", floor=floor)).double()
    s = torch.randn(3, 20, 2).double() * torch.tensor([1.0, 2.0])
    model.em_step(s)
    state = model.observation(model.emission[0])
    assert torch.allclose(state.mean, s.mean((0, 1)))
    assert torch.allclose(state.variance, s.flatten(0, 1).var(0, correction=0))


def test_regimes_of_frames_that_do_not_exist_count_nothing() -> None:
    """A padded path has the density of one that is cut, the regimes sampled by the guide."""
    model = SLDS(2, 2, 3).double()
    with torch.no_grad():
        model.switch_logits.copy_(torch.randn(3, 3))
        model.regime_logits.copy_(torch.randn(3))
    s, k = torch.randn(1, 6, 2).double(), torch.tensor([[0, 1, 1, 2, 0, 2]])
    mask = torch.arange(6)[None] < 4
    found = []
    for data in ((s, mask), (s[:, :4],)):
        path = poutine.condition(model, {"k": k[:, : data[0].shape[1]]})
        trace = poutine.trace(path).get_trace(*data)
        trace.compute_log_prob()
        found.append([trace.nodes[name]["log_prob"] for name in ("k", "s")])
    for padded, cut in zip(*found, strict=True):
        assert torch.allclose(padded, cut)


def test_counts_are_shared_out_by_loadings_and_intensity() -> None:
    """The shares by hand, of factors whose logits are not normalised."""
    model = PoissonFactors(4, 3)
    guide = PoissonFactorsGuide(model)
    with torch.no_grad():
        model.logits.add_(torch.tensor([[0.0], [2.0], [-1.0]]))  # the loadings stay as they are
    x = torch.tensor([[3.0, 0.0, 5.0, 1.0], [0.0, 2.0, 7.0, 4.0]])
    u = guide.network(x.log1p())
    weighed = model.loadings * u.exp()[..., None]
    shares = weighed / weighed.sum(1, keepdim=True)
    q = guide.posterior(x)
    assert torch.allclose(q.concentration, model.shape + (shares * x[:, None]).sum(-1), rtol=1e-4)
    assert torch.allclose(q.rate, (model.rate + 1).expand(2, 3))


def test_sentences_are_scored_as_they_are_drawn() -> None:
    """Token by token, from the beginning that is no token, by the recursion that generates."""
    model = TextVAE(5, 2, length=4)
    z, x = torch.randn(3, 2), torch.randint(0, 5, (3, 4))
    state, token, total = model.recurrence.start((3,), z), torch.full((3,), 5), torch.zeros(3)
    for t in range(4):
        state = model.recurrence.step(torch.cat([model.embedding(token), z], -1), state)
        token = x[:, t]
        total = total + model.readout(state[0]).log_softmax(-1)[torch.arange(3), token]
    assert torch.allclose(model.observation(z, x).log_prob(x), total, atol=1e-5)


@pytest.mark.parametrize("start_scale", [0.5, 1.0, 3.0])
def test_a_first_position_is_as_wide_as_its_start_scale(start_scale: float) -> None:
    """Without evidence a posterior is the prior; with some, a product of two Gaussians."""
    o, precision = 2.0, 0.7
    some = torch.zeros(1, 3, 4)
    some[:, 0] = precision
    evidence = Evidence(some, some * o)
    motion = Motion(increments=True, start_scale=start_scale)
    filtered = filter_source(DeepAR(likelihood=motion), evidence)[0]
    linear = LinearMotion(start_scale=start_scale)
    exact = LinearMotionGuide(linear, causal=True).source_posterior(evidence)
    variance = 1 / (precision + start_scale**-2)
    for q in (filtered, exact):
        assert torch.allclose(q.variance[:, 0], torch.tensor(variance))
        assert torch.allclose(q.mean[:, 0], torch.tensor(variance * precision * o))
    first = poutine.trace(linear.path).get_trace(1).nodes["s"]["fn"]
    assert torch.allclose(first.start, torch.tensor(start_scale))


def test_a_private_code_is_not_inferred_from_padding() -> None:
    """What is observed for the shared code, and missing in the row, leaves the prior."""
    model = DMVAE({"a": 3, "b": 2}, 2, private_dim=1)
    guide, data = DMVAEGuide(model), {"a": torch.randn(2, 3), "b": torch.randn(2, 2)}
    mask = torch.tensor([[True, True], [True, False]])
    rows = read_rows(guide.widths, (), data, mask, torch.ones(2, 2, dtype=torch.bool), 1)
    informed = guide._informed(rows, 1)
    assert informed is not None and informed.tolist() == [True, False]


def test_centre_and_spread_are_those_of_frames_that_exist() -> None:
    """The spread is about each frequency's own centre, by hand."""
    s = torch.rand(2, 5, 3) * torch.tensor([1.0, 100.0, 1e4])
    mask = torch.arange(5) < torch.tensor([[5], [2]])
    part = ComplexGaussian(3).start_from(torch.where(mask[..., None], s, 7.0), mask)
    levels = (s[mask] + 1e-6).log()
    assert torch.allclose(part.reader.centre, levels.mean(0), atol=1e-5)
    assert torch.allclose(part.reader.spread, levels.std(0, correction=0).square().mean().sqrt())


@pytest.mark.parametrize("length", [3, 6, 20])
def test_attention_frame_by_frame_is_attention_at_once(length: int) -> None:
    """With biases of distance that differ, over more frames than the window and fewer."""
    part = WindowAttention(4, 2, 5, causal=True)
    with torch.no_grad():
        part.bias.copy_(torch.randn(2, 5))
    x = torch.randn(2, length, 4)
    state, rows = part.start((2,), x), list[Tensor]()
    for t in range(length):
        state = part.step(x[:, t], x[:, t], state)
        rows.append(state[0])
    assert torch.allclose(part(x), torch.stack(rows, 1), atol=1e-5)
    distance = torch.arange(length)[:, None] - torch.arange(length)
    visible = (distance >= 0) & (distance < 5)
    key, value = part._pair(x)
    scores = part._queries(x) @ key.mT
    scores = scores + part.bias[:, distance.clamp(0, 4)]
    weights = scores.masked_fill(~visible, -math.inf).softmax(-1)
    by_hand = part.out((weights @ value).transpose(-3, -2).flatten(-2))
    assert torch.allclose(part(x), by_hand, atol=1e-5)


@pytest.mark.parametrize("start_scale", [0.5, 4.0])
def test_a_simulated_state_is_as_wide_as_its_start_scale(start_scale: float) -> None:
    """Of one frame: a = C z + noise, z ~ N(0, start_scale^2 I), C the mean of the modes'."""
    model = KVAE(2, 1, 2, 1, start_scale=start_scale, noise_scale=0.1)
    with torch.no_grad():
        model.emission.copy_(torch.tensor([[[0.6, -0.8]]]))
    a = model.simulate((4000,), 1)
    expected = (start_scale**2 + 0.01) ** 0.5
    assert a.std().item() == pytest.approx(expected, rel=4 / 8000**0.5)  # four standard errors
