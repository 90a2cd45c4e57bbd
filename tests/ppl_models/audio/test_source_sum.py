from __future__ import annotations

import math

import pytest
import torch
from pyro import poutine

from ppl_models.audio import SourceSum
from ppl_models.errors import InputError
from ppl_models.likelihoods import bin_power, to_complex
from tests.sounds import F, T, given, several


def test_what_is_simulated_has_the_sum_of_variances() -> None:
    """An exponential's standard deviation is its mean: 5 standard errors of 4,000 recordings."""
    model = SourceSum({"a": given()[0], "b": given()[0]}, noise=0.3)
    with torch.no_grad():
        power = bin_power(model(size=4_000, length=T))
        v = sum(part.v for _, part in model.named_parts()) + 0.3
    assert ((power.mean(0) - v).abs() < 5 * v / math.sqrt(4_000)).all()


def test_the_marginal_is_the_density_of_complex_gaussians() -> None:
    v = [torch.rand(T, F).double() + 0.1, torch.rand(1, F).double()]
    o = torch.randn(2, T, 2 * F).double()
    model = SourceSum({"a": given()[0]}, noise=0.2)
    total = v[0] + v[1] + 0.2
    expected = -(to_complex(o).abs().square() / total + total.log() + math.log(math.pi))
    assert torch.allclose(model.log_marginal(o, v), expected.sum((-1, -2)))
    mask = torch.arange(T) < torch.tensor([[T], [1]])
    found = model.log_marginal(torch.where(mask[..., None], o, math.nan), v, mask)
    assert torch.allclose(found, torch.where(mask, expected.sum(-1), 0.0).sum(-1))


@pytest.mark.parametrize("kinds", [("rvae", "nmf"), ("srnn", "hum")])
def test_padded_frames_reach_nothing(kinds: tuple[str, ...]) -> None:
    model = SourceSum(several(*kinds)[0]).double()
    mask = torch.arange(T) < torch.tensor([[T], [2]])
    with torch.no_grad():
        values = poutine.trace(model).get_trace(size=2, length=T)
    sites = {n: values.nodes[n]["value"] for n in values.stochastic_nodes if n != "o"}
    o = values.nodes["o"]["value"].clone()

    def scored(o: torch.Tensor) -> torch.Tensor:
        trace = poutine.trace(poutine.condition(model, sites)).get_trace(o, mask)
        return trace.log_prob_sum()

    hidden = torch.where(mask[..., None], o, math.nan)
    found, shown = scored(hidden), scored(o)
    assert torch.equal(found, shown)
    found.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_recordings_are_checked() -> None:
    model = SourceSum({"a": given()[0]})
    with pytest.raises(InputError, match="o: saw NaN"):
        model(torch.full((1, T, 2 * F), math.nan))
    with pytest.raises(InputError, match="o: saw real numbers of shape"):
        model(torch.zeros(1, T, 2 * F + 1))
    with pytest.raises(InputError, match="noise"):
        SourceSum({"a": given()[0]}, noise=0.0)
    x = torch.randn(2, T, F, dtype=torch.complex128)
    assert torch.equal(to_complex(model(x)), x)
    assert torch.equal(to_complex(model(x, start=torch.ones(2, 1, T, F))), x)
