from __future__ import annotations

from typing import Any

import pytest
import torch
from pyro import poutine
from torch import Tensor

from inference import Objective
from inference.errors import PairError
from inference.objectives import SiteNorm
from inference.randomness import seeded
from inference.schedules import linear
from ppl_models.data import float_frames
from ppl_models.errors import InputError
from tests.inference.video_runs import DESIGNS, blobs, pair


def videos() -> tuple[Tensor, Tensor]:
    return float_frames(blobs()), torch.arange(8) < torch.tensor([8, 4, 1])[:, None]


def penalty(*data: Tensor, site: str = "residual", step: int = 0, **settings: Any) -> float:
    """What a penalty adds to the loss of the same draws."""
    model, guide = pair(DESIGNS["SRVP"])
    losses = []
    for penalties in ((), (SiteNorm(site, **settings),)):
        objective = Objective("meanfield", penalties=penalties)
        with seeded(3), torch.no_grad():
            losses.append(float(objective.loss(model, guide, data, step=step)))
    return losses[1] - losses[0]


def norms(*data: Tensor) -> Tensor:
    """The norms (B, T - 1) of the steps that these draws make."""
    model, guide = pair(DESIGNS["SRVP"])
    with seeded(3), torch.no_grad():
        drawn = poutine.trace(guide).get_trace(*data)
        nodes = poutine.trace(poutine.replay(model, trace=drawn)).get_trace(*data).nodes
    found: Tensor = nodes["residual"]["value"].square().sum(-1).sqrt()
    return found


def test_it_is_the_sum_of_norms_of_a_site_by_its_weight() -> None:
    s, _ = videos()
    want = float(norms(s).sum(-1).mean())
    assert want > 0.1 and penalty(s) == pytest.approx(want, rel=1e-2)  # float32 of a large loss
    assert penalty(s, weight=20.0) == pytest.approx(20 * want, rel=1e-3)
    assert penalty(s, weight=linear(10), step=5) == pytest.approx(want / 2, rel=1e-2)
    assert penalty(s, weight=0.0) == 0


def test_steps_that_a_mask_leaves_out_have_no_norm() -> None:
    s, mask = videos()
    each = norms(s, mask)
    want = float((each * mask[:, 1:]).sum(-1).mean())
    assert penalty(s, mask, weight=20.0, masked_like="z") == pytest.approx(20 * want, rel=1e-3)
    every = penalty(s, mask, weight=20.0)
    assert every == pytest.approx(20 * float(each.sum(-1).mean()), rel=1e-3) and every > 20 * want


def test_wrong_sites_and_weights_are_named() -> None:
    s, _ = videos()
    with pytest.raises(PairError, match="no such site in the data plate\n.*\n.*residual"):
        penalty(s, site="residuals")
    with pytest.raises(InputError, match="weight"):
        SiteNorm("residual", -1.0)
    assert "weight=2.0" in repr(SiteNorm("residual", 2.0)) and "'z'" in repr(
        SiteNorm("residual", masked_like="z")
    )
