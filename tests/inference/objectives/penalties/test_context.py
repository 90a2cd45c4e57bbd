"""The critic that reads the context: it sees what codes of all contexts together hide."""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

from inference.objectives.pair_trace import PairTrace, trace_pair
from inference.objectives.penalties import ContextCritic, WassersteinCritic
from inference.tracing import layout
from ppl_models.errors import InputError


class Signed(nn.Module):
    """p(z | c) = N(3 c, 0.1) of contexts -1 and 1; the guide has it the other way round."""

    def __init__(self, sign: float) -> None:
        super().__init__()
        self.sign = nn.Parameter(torch.tensor(sign))

    def forward(self, x: Tensor, c: Tensor) -> None:
        with pyro.plate("data", len(c), dim=-1):
            pyro.sample("z", dist.Normal(3 * self.sign * c, 0.1).to_event(1))


class Blank(Signed):
    """With data that say nothing."""

    def forward(self, x: Tensor, c: Tensor) -> None:
        with pyro.plate("data", len(c), dim=-1):
            pyro.sample("z", dist.Normal(3 * self.sign * c, 0.1).to_event(1))
            pyro.sample("x", dist.Normal(torch.zeros(len(c)), 1.0), obs=x)


def view(context: Tensor) -> PairTrace:
    args = torch.zeros(len(context)), context
    model, guide = Blank(1.0), Signed(-1.0)
    shape = layout(model, guide, args)
    return trace_pair(model, guide, args, {}, shape, len(context))


def test_it_sees_codes_that_belong_to_other_contexts() -> None:
    context = torch.tensor([[-1.0], [1.0]]).repeat(50, 1)
    seen = {}
    for critic in (
        ContextCritic(1.0, hidden_dims=(32,), critic_steps=2, learning_rate=5e-3),
        WassersteinCritic(1.0, hidden_dims=(32,), critic_steps=2, learning_rate=5e-3),
    ):
        for _ in range(60):
            critic.learn(view(context).detached())
        with torch.no_grad():
            seen[type(critic)] = float(critic(view(context)))
    # 6 apart in each context, and the same two heaps together; a penalty of 10 lets T lean by up
    # to 6 / 20 more than it should
    assert 5.0 < seen[ContextCritic] < 8.0
    assert abs(seen[WassersteinCritic]) < 0.5


def test_the_context_can_be_named_and_must_be_there() -> None:
    trace = view(torch.ones(4, 1))
    with pytest.raises(InputError, match="'topic'"):
        ContextCritic(1.0, "topic")(trace)
    with pytest.raises(InputError, match="condition"):
        ContextCritic(1.0, 2)(trace)
