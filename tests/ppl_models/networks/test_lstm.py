"""Recurrences in segments: the same values, the same gradient, or a gradient that is cut."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from itertools import product
from typing import Any

import pyro
import pytest
import torch
from torch import Tensor, nn

from guides.dvae.dkf import DKFGuide
from guides.dvae.rvae import RVAEGuide
from guides.dvae.srnn import SRNNGuide
from guides.dvae.vrnn import VRNNGuide
from inference import Objective
from ppl_models.dvae.dkf import DKF
from ppl_models.dvae.rvae import RVAE
from ppl_models.dvae.srnn import SRNN
from ppl_models.dvae.vrnn import VRNN
from ppl_models.networks.lstm import Span, set_span
from ppl_models.networks.mlp import LSTM

PAIRS: dict[str, Any] = {
    "DKF": (DKF, DKFGuide, {}, {}),
    "RVAE": (RVAE, RVAEGuide, {}, {}),
    "RVAE, not causal": (RVAE, RVAEGuide, {"causal": False}, {}),
    "SRNN": (SRNN, SRNNGuide, {"likelihood": "gaussian"}, {"causal": False, "input_dim": 4}),
    "VRNN": (VRNN, VRNNGuide, {}, {}),
}
LENGTH = 7


def pair_of(name: str) -> tuple[Any, Any]:
    model_class, guide_class, options, guide_options = PAIRS[name]
    torch.manual_seed(0)
    model = model_class(3, 2, **options)
    guide = guide_class(model, **guide_options)
    return model.double(), guide.double()


def step(pair: tuple[Any, Any], span: Span, mask: Tensor | None = None) -> tuple[Tensor, ...]:
    """The loss of a step, and its gradient for all parameters."""
    s = torch.randn(2, LENGTH, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    pair[1].span = span
    with pyro.validation_enabled(False):
        objective = Objective("meanfield")
        objective.loss(*pair, (s, mask))  # what is asked once of a pair draws too
        torch.manual_seed(2)
        loss = objective.loss(*pair, (s, mask))
    return loss, *torch.autograd.grad(loss, list(nn.ModuleList(pair).parameters()))


def near(a: Iterable[Tensor], b: Iterable[Tensor]) -> list[bool]:
    return [torch.allclose(x, y, rtol=1e-6, atol=1e-9) for x, y in zip(a, b, strict=True)]


@pytest.mark.parametrize("name", PAIRS)
def test_checkpointed_segments_have_the_same_gradient(name: str) -> None:
    pair, mask = pair_of(name), torch.arange(LENGTH) < torch.tensor([[LENGTH], [4]])
    for frames, which in product((1, 3, LENGTH, 20), (None, mask)):
        assert all(near(step(pair, Span(frames), which), step(pair, Span(), which)))


@pytest.mark.parametrize("name", PAIRS)
def test_truncated_segments_have_the_same_value_and_another_gradient(name: str) -> None:
    pair = pair_of(name)
    whole, cut = step(pair, Span()), step(pair, Span(3, truncated=True))
    assert torch.equal(whole[0], cut[0]) and not all(near(whole[1:], cut[1:]))
    assert all(near(whole, step(pair, Span(LENGTH, truncated=True))))  # one segment: nothing to cut


@pytest.mark.parametrize("truncated", [False, True])
@pytest.mark.parametrize("backward", [False, True])
def test_the_gradient_of_an_lstm_stops_between_truncated_segments(
    truncated: bool, backward: bool
) -> None:
    torch.manual_seed(0)
    net, x = LSTM(2, 3, backward=backward), torch.randn(1, LENGTH, 2, requires_grad=True)
    set_span(Span(3, truncated), nn.Sequential(net))
    frames = list(range(LENGTH))[:: -1 if backward else 1]
    last = frames[-1]  # the last that is read, alone in the third segment
    (grad,) = torch.autograd.grad(net(x)[0, last].sum(), x)
    reached = {int(t) for t in grad[0].any(-1).nonzero()}
    assert reached == ({last} if truncated else set(frames))


def test_within_a_segment_the_truncated_gradient_is_that_of_the_segment_by_itself() -> None:
    torch.manual_seed(0)
    net, x = LSTM(2, 3), torch.randn(1, 6, 2)
    with torch.no_grad():
        handed = net.cell(x[:, :3])[1]
    alone = net.cell(x[:, 3:], handed)[0].square().sum()
    net.span = Span(3, truncated=True)
    weights = list(net.parameters())
    in_sequence = torch.autograd.grad(net(x)[:, 3:].square().sum(), weights)
    assert all(near(in_sequence, torch.autograd.grad(alone, weights)))


def test_a_span_is_shared_by_model_and_guide_and_survives_a_copy() -> None:
    model, guide = pair_of("RVAE")
    guide.span = Span(5)
    nets = [m for part in (model, guide) for m in part.modules() if isinstance(m, LSTM)]
    assert len(nets) == 3 and all(net.span == Span(5) for net in nets)
    twin_model, twin_guide = copy.deepcopy((model, guide))
    assert twin_guide.span == Span(5) and twin_guide.model is twin_model
    assert set(guide.state_dict()) == set(pair_of("RVAE")[1].state_dict())  # it is no weight
