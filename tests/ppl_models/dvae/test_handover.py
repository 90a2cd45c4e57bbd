"""What a guide computed on its way to z is used once, and never when it is out of date."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from pyro import poutine
from torch import Tensor

from tests.sequences import FAMILY, MOVING, Member, paths, ragged


def left(member: Member) -> tuple[Any, Any, Tensor, Any]:
    model, guide = member.pair()
    s = paths(model)["s"]
    return model, guide, s, poutine.trace(guide).get_trace(s)


LEAVING = pytest.mark.parametrize(
    "member",
    [m for m in (*FAMILY, *MOVING) if m.title in ("VRNN", "SRNN", "SRNN of motion")],
    ids=["VRNN", "SRNN", "SRNN of motion"],
)


@LEAVING
def test_what_a_guide_left_is_used_once(member: Member) -> None:
    model, _, s, guided = left(member)
    z = guided.nodes["z"]["value"]
    reading = model.take(z, s)
    assert reading is not None and reading.z is z
    h = model.read(model.teacher_forced_past(s, z))
    assert torch.allclose(reading.h, h)
    assert model.take(z, s) is None


@pytest.mark.parametrize(
    "cause", ["other z", "other s", "a step since", "no graph", "a copy", "a pickle"]
)
@LEAVING
def test_what_a_guide_left_is_never_stale(member: Member, cause: str) -> None:
    model, guide, s, guided = left(member)
    z = guided.nodes["z"]["value"]
    if cause == "a step since":
        with torch.no_grad():
            next(model.parameters()).mul_(1.1)
    elif cause == "no graph":
        with torch.no_grad():
            z = poutine.trace(guide).get_trace(s).nodes["z"]["value"]
    elif cause == "a copy":
        model, _ = copy.deepcopy((model, guide))
    elif cause == "a pickle":
        model = pickle.loads(pickle.dumps(model))
    z = z.clone() if cause == "other z" else z
    assert model.take(z, s + 1 if cause == "other s" else s) is None


@pytest.mark.parametrize("probability", [0.0, 0.5])
@LEAVING
def test_a_padded_batch_finds_what_the_guide_left(member: Member, probability: float) -> None:
    """With scheduled sampling, model and guide would else read different frames."""
    model, guide, s, _ = left(member)
    model.sampling_probability = probability
    padded, mask = ragged(s, (7, 4, 1))
    guided = poutine.trace(guide).get_trace(padded, mask)
    reading = model._left
    assert reading is not None
    trace = poutine.trace(poutine.replay(model, guided)).get_trace(padded, mask)
    trace.compute_log_prob()
    assert model._left is None
    raw = reading[0].raw
    if probability:
        wanted = model.likelihood(raw).log_prob(torch.where(mask[..., None], s, 0.0))
        assert torch.allclose(trace.nodes["s"]["log_prob"], (wanted * mask).sum(-1))
