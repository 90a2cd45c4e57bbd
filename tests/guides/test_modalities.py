from __future__ import annotations

import pyro.distributions as dist
import pytest
import torch
from torch import nn

from guides.modalities import multiply
from guides.multimodal import MVAEGuide
from inference import Objective, fit
from ppl_models.errors import InputError
from ppl_models.multimodal import MVAE


def test_a_product_of_gaussians_is_proportional_to_the_product_of_their_densities() -> None:
    loc, scale = torch.randn(3, 1).double(), torch.rand(3, 1).double() + 0.2
    grid = torch.linspace(-4, 4, 9).double()[:, None]
    for prior in (True, False):
        mean, width = multiply(loc, scale, prior=prior)
        ratio = dist.Normal(mean, width).log_prob(grid) - dist.Normal(loc, scale).log_prob(
            grid[:, None]
        ).sum(1)
        if prior:
            ratio = ratio - dist.Normal(0.0, 1.0).log_prob(grid)
        assert (ratio - ratio[0]).abs().max() < 1e-9


def test_experts_that_are_absent_are_not_there_whatever_they_are() -> None:
    loc = torch.tensor([[1.0], [torch.nan]], requires_grad=True)
    scale = torch.tensor([[0.5], [torch.nan]], requires_grad=True)
    mean, width = multiply(loc, scale, torch.tensor([True, False]))
    assert torch.allclose(mean, torch.tensor([0.8])) and torch.allclose(width**2, torch.tensor(0.2))
    none = multiply(loc, scale, torch.tensor([False, False]), prior=False)
    assert torch.equal(none[0], torch.zeros(1)) and torch.equal(none[1], torch.ones(1))


def test_an_expert_that_knows_nothing_changes_nothing() -> None:
    mean, width = multiply(torch.tensor([[5.0]]), torch.tensor([[torch.inf]]))
    assert torch.equal(mean, torch.zeros(1)) and torch.equal(width, torch.ones(1))


def test_a_modality_that_training_never_showed_is_not_read() -> None:
    model = MVAE({"image": 4, "sound": 3}, 2, hidden_dims=(8, 8))
    guide = MVAEGuide(model)
    image, sound = torch.randn(32, 4), torch.randn(32, 3)
    guide.eval()
    before = guide.distribution(guide._trusted(_rows(guide, image, sound))).mean
    run = fit(model, guide, {"image": image, "sound": None}, epochs=1, progress=False)
    assert run.guide.known.tolist() == [True, False]
    data = {"image": image, "sound": sound}
    both, alone = (
        run.guide.distribution(run.guide._trusted(_rows(run.guide, image, s))).mean
        for s in (sound, None)
    )
    assert torch.equal(both, alone) and not torch.equal(both, before)
    bound = Objective().bound(run.model, run.guide, (), data)
    assert bound.isfinite().all()


def _rows(guide: MVAEGuide, *data: torch.Tensor | None) -> object:
    from ppl_models.modalities import read_rows

    return read_rows(guide.widths, data, {}, None, None, 1)


def test_an_encoder_for_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="encoders"):
        MVAEGuide(MVAE({"image": 4}, 2), encoders={"sound": nn.Linear(4, 4)})
