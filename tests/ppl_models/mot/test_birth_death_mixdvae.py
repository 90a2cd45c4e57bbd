from __future__ import annotations

import math

import pytest
import torch
from pyro import poutine
from torch import Tensor
from torch.distributions import Poisson

from inference.objectives.objective import Objective
from inference.randomness import seeded
from ppl_models.errors import InputError
from ppl_models.mixdvae import MixDVAE
from ppl_models.mot import BinnedScores, BirthDeathMixDVAE, Camera, LastingError, Life
from ppl_models.mot.birth_death_mixdvae import Frame
from ppl_models.linear_motion import LinearMotion
from tests.clips import Known, Nothing
from tests.ppl_models.mot import brute_force

ENUM = Objective("enum")
BUSY = Life(births=0.3, alive=0.8, death=0.1, hide=0.2, hide_behind=0.7, show=0.4, rate=0.8)
Data = dict[str, Tensor]


def tiny(length: int = 3, places: int = 2, slots: int = 2) -> tuple[Data, Tensor]:
    """Boxes that overlap, so noisy that any detection may be of any of them; some are missing."""
    mask = torch.rand(1, length, places) < 0.8
    score = torch.rand(1, length, places).double()
    score[0, 0, 0] = math.nan
    data = {
        "o": torch.randn(1, length, places, 4).double(),
        "mask": mask,
        "size": 0.5 + torch.rand(1, length, places, 4).double(),
        "origin": torch.zeros(1, slots, 4).double(),
        "unit": torch.ones(1, slots, 4).double(),
        "region": torch.tensor([-3.0, 3.0]).double()[None, :, None].repeat(1, 1, 4),
        "score": score,
    }
    return data, 0.5 * torch.randn(1, slots, length, 4).double()


def known(paths: Tensor, exclusive: bool, life: Life = BUSY) -> BirthDeathMixDVAE:
    """The story of paths that are known: lives and assignments are left."""
    settings = {"life": life, "exclusive": exclusive, "phi": 0.3, "phi_strength": None}
    return BirthDeathMixDVAE(Known(paths), clutter_rate=0.7, **settings).double()  # type: ignore[arg-type]


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize(("length", "slots", "places"), [(3, 2, 2), (4, 2, 2), (4, 1, 3)])
def test_the_sum_over_lives_and_assignments_is_exact(
    exclusive: bool, length: int, slots: int, places: int
) -> None:
    """Value and gradient in the paths, against a sum over each and every life and assignment."""
    with seeded(length + 10 * slots):
        data, paths = tiny(length, places, slots)
        if slots == 1:
            data["mask"][:] = True
    life = BUSY if slots == 2 else Life(births=0.1, alive=0.5, death=0.1, hide=0.2, show=0.4)
    model = known(paths, exclusive, life)
    bound = ENUM.bound(model, Nothing(), (), data)
    given = paths.clone().requires_grad_()
    expected = brute_force.total(model, data, given[0])
    assert abs(bound.item() - expected.item()) < 1e-6
    loss = ENUM.loss(model, Nothing(), (), data, step=0)
    [gradient] = torch.autograd.grad(loss, [model.prior.paths])  # type: ignore[list-item]
    [slope] = torch.autograd.grad(-expected, [given])
    assert torch.allclose(gradient, slope, atol=1e-6) and slope.abs().max() > 0.1
