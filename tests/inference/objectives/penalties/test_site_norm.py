from __future__ import annotations

from dataclasses import replace
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
    assert not each[~mask[:, 1:]].any() and each[mask[:, 1:]].all()
    want = float(each.sum(-1).mean())
    assert penalty(s, mask, weight=20.0) == pytest.approx(20 * want, rel=1e-3)


@pytest.mark.parametrize("stochastic", [True, False])
def test_a_mask_and_a_state_without_noise_go_together(stochastic: bool) -> None:
    s, mask = videos()
    design = DESIGNS["SRVP"]
    options = {**design.options, "stochastic": stochastic}
    model, guide = pair(replace(design, options=options))
    objective = Objective("meanfield", penalties=(SiteNorm("residual"),))
    with seeded(3):
        objective.loss(model, guide, (s, mask)).backward()
    grads = [p.grad for p in model.step.parameters() if p.grad is not None]
    assert grads and all(bool(grad.isfinite().all()) for grad in grads)


def test_wrong_sites_and_weights_are_named() -> None:
    s, _ = videos()
    with pytest.raises(PairError, match="no such site in the data plate\n.*\n.*residual"):
        penalty(s, site="residuals")
    with pytest.raises(InputError, match="weight"):
        SiteNorm("residual", -1.0)
    assert "weight=2.0" in repr(SiteNorm("residual", 2.0))
