from __future__ import annotations

import math

import pyro
import pyro.distributions as dist
import torch
from torch import nn

from inference.errors import NonFiniteError
from inference.objectives import Objective
from inference.tracing import explain_nonfinite
from tests import pairs


def test_explain_nonfinite_names_a_parameter() -> None:
    model, guide = pairs.Amortised(), pairs.AmortisedGuide()
    with torch.no_grad():
        guide.encoder.weight[1, 2] = math.nan
    error = explain_nonfinite(model, guide, (torch.randn(3, 4),))
    assert isinstance(error, NonFiniteError)
    assert error.site == "guide.encoder.weight"
    assert "1 of 16" in error.found and "(1, 2)" in error.found


def test_explain_nonfinite_names_a_site_and_its_cause() -> None:
    model, guide = pairs.Amortised(), pairs.AmortisedGuide()
    x = torch.randn(3, 4)
    x[1, 2] = math.inf  # finite parameters, an encoder that overflows
    with pyro.validation_enabled(False):
        assert not Objective().loss(model, guide, (x,)).isfinite()
    error = explain_nonfinite(model, guide, (x,))
    assert error.site == "z" and "guide" in error.found


def test_explain_nonfinite_names_an_observed_site() -> None:
    model, guide = pairs.GlobalMean(), pairs.GlobalMeanGuide()
    x = torch.randn(5)
    x[3] = math.nan
    error = explain_nonfinite(model, guide, (x,))
    assert error.site == "x"
    assert "its value: 1 of 5" in error.found
    assert "data" in error.cure
    assert not pyro.get_param_store()


def test_explain_nonfinite_tries_every_value_of_an_enumerated_site() -> None:
    # the first component is drawn in all likelihood, the second makes the loss NaN
    class Mixture(nn.Module):
        def __init__(self, scale: float) -> None:
            super().__init__()
            self.scale = scale

        def forward(self, x: torch.Tensor) -> None:
            with pyro.plate("data", len(x), dim=-1):
                weights = dist.Categorical(torch.tensor([1 - 1e-6, 1e-6, 0.0]))
                w = pyro.sample("w", weights, infer={"enumerate": "parallel"})
                scale = torch.tensor([1.0, self.scale, 1.0])[w]
                pyro.sample("x", dist.Normal(0.0, scale), obs=x)

    x = torch.randn(4)
    with pyro.validation_enabled(False):
        assert not Objective().bound(Mixture(-1.0), pairs.NoLatents(), (x,)).isfinite().any()
    error = explain_nonfinite(Mixture(-1.0), pairs.NoLatents(), (x,))
    assert error.site == "x" and "scale" in error.found
    # a component of weight 0 is no fault
    assert Objective().bound(Mixture(1.0), pairs.NoLatents(), (x,)).isfinite().all()
    assert explain_nonfinite(Mixture(1.0), pairs.NoLatents(), (x,)).site is None
