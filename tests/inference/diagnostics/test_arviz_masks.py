"""What the export says of values that masks do not reach."""

from __future__ import annotations

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from inference import posterior

MASK = torch.tensor([[True, True, True], [True, False, False]])


def model(x: Tensor, mask: Tensor) -> None:
    with pyro.plate("data", len(x), dim=-1):
        z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([len(x), 3]).mask(mask).to_event(1))
        pyro.deterministic("twice", 2 * z, event_dim=1)
        pyro.sample("x", dist.Normal(z, 0.5).mask(mask).to_event(1), obs=x)


def guide(x: Tensor, mask: Tensor) -> None:
    with pyro.plate("data", len(x), dim=-1):
        pyro.sample("z", dist.Normal(0.8 * x, 0.4).mask(mask).to_event(1))


def test_what_a_model_computes_is_exported_whole_and_says_where_masks_would_be() -> None:
    draws = posterior(model, guide, torch.ones(2, 3), MASK, num_samples=4).posterior
    assert np.array_equal(np.isnan(draws["z"].values[0, 0]), ~MASK.numpy())
    assert np.isfinite(draws["twice"].values).all()
    there = np.broadcast_to(MASK.numpy(), draws["z"].shape)
    assert np.allclose(draws["twice"].values[there], 2 * draws["z"].values[there])
    assert "also where masks hide" in draws["twice"].attrs["masked"]


def test_without_padding_there_is_nothing_to_say() -> None:
    whole = torch.ones(2, 3, dtype=torch.bool)
    draws = posterior(model, guide, torch.ones(2, 3), whole, num_samples=4).posterior
    assert "masked" not in draws["twice"].attrs
