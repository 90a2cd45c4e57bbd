"""The log likelihood of each observed site, enumerated sites summed: values, and the work."""

from __future__ import annotations

from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

from inference.tracing import pointwise as one_site
from inference.tracing import pointwise_sites, sum_product
from tests.inference.tracing.test_sum_product import summed_draws
from tests.pairs import NoLatents

ROWS = torch.tensor([[0.8, 0.2], [0.3, 0.7]])


class Chain(nn.Module):
    """A chain of two states; y_t sees the state, and z_t the states of now and before."""

    def forward(self, y: Tensor) -> None:
        state: Any = torch.tensor(0)
        for t in pyro.markov(range(len(y))):
            row, before = ROWS[state.long()], state
            state = pyro.sample(f"s{t}", dist.Categorical(row), infer={"enumerate": "parallel"})
            pyro.sample(f"y{t}", dist.Normal(2.0 * state, 1.0), obs=y[t])
            pyro.sample(f"z{t}", dist.Normal(1.0 * state - before, 0.5), obs=y[t])


def found(length: int) -> dict[str, Tensor]:
    y = torch.linspace(-1.0, 2.0, length)
    _, traces = summed_draws(Chain(), NoLatents(), y)
    names = [f"{name}{t}" for name in "yz" for t in range(length)]
    return pointwise_sites(traces.terms(None), names, names)


def test_a_chain_s_sites_are_summed_over_all_paths_without_the_other_data() -> None:
    y, length = torch.linspace(-1.0, 2.0, 4), 4
    paths = torch.cartesian_prod(*[torch.arange(2)] * length)
    before = torch.cat([torch.zeros(16, 1).long(), paths[:, :-1]], 1)
    prior = ROWS.log()[before, paths].sum(1)
    values = found(length)
    for t in range(length):
        of_y = dist.Normal(2.0 * paths[:, t], 1.0).log_prob(y[t])
        of_z = dist.Normal(1.0 * (paths[:, t] - before[:, t]), 0.5).log_prob(y[t])
        for name, term in (("y", of_y), ("z", of_z)):
            expected = (prior + term).logsumexp(0).double()
            assert values[f"{name}{t}"].flatten().tolist() == pytest.approx(
                [float(expected)] * values[f"{name}{t}"].numel(), abs=1e-5
            )


def test_the_work_is_linear_in_a_chain_s_length(monkeypatch: pytest.MonkeyPatch) -> None:
    factors: list[int] = []
    plain = sum_product.contract_to_tensor

    def counted(tree: Any, *args: Any, **kwargs: Any) -> Any:
        factors.append(sum(len(tensors) for tensors in tree.values()))
        return plain(tree, *args, **kwargs)

    monkeypatch.setattr(sum_product, "contract_to_tensor", counted)
    work = []
    for length in (4, 8, 16):
        factors.clear()
        found(length)
        work.append(sum(factors))
    assert work[1] == 2 * work[0] and work[2] == 2 * work[1]


def test_an_impossible_value_has_density_zero_and_no_nan() -> None:
    class Never(nn.Module):
        def forward(self, y: Tensor) -> None:
            with pyro.plate("data", len(y), dim=-1):
                sure = dist.Categorical(torch.tensor([1.0, 0.0]))
                w = pyro.sample("w", sure, infer={"enumerate": "parallel"})
                pyro.sample("y", dist.Delta(1.0 * w), obs=y)

    _, traces = summed_draws(Never(), NoLatents(), torch.tensor([0.0, 5.0]))
    value = one_site(traces.terms(None), "y", ["y"])
    assert value is not None
    # Categorical keeps a probability of 1e-7 where it is given none
    assert value[0].tolist() == [pytest.approx(0.0, abs=1e-6), -torch.inf]


def test_a_site_that_two_chains_meet_in_takes_the_product_of_their_priors() -> None:
    class Two(nn.Module):
        def forward(self, y: Tensor) -> None:
            infer = {"enumerate": "parallel"}
            with pyro.plate("data", len(y), dim=-1):
                a = pyro.sample("a", dist.Categorical(torch.tensor([0.3, 0.7])), infer=infer)
                b = pyro.sample("b", dist.Categorical(torch.tensor([0.6, 0.4])), infer=infer)
                pyro.sample("y", dist.Normal(1.0 * a + 3.0 * b, 1.0), obs=y)

    y = torch.tensor([0.5, 2.0, 4.0])
    _, traces = summed_draws(Two(), NoLatents(), y)
    value = one_site(traces.terms(None), "y", ["y"])
    a, b = torch.meshgrid(torch.arange(2.0), torch.arange(2.0), indexing="ij")
    prior = torch.tensor([[0.3 * 0.6, 0.3 * 0.4], [0.7 * 0.6, 0.7 * 0.4]]).log()
    joint = prior[..., None] + dist.Normal((a + 3 * b)[..., None], 1.0).log_prob(y)
    assert value is not None
    assert torch.allclose(value[0], joint.logsumexp((0, 1)).double(), atol=1e-5)
