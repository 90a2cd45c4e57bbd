"""The fast form of lives and matchings, against the story's enumerated one."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, Poisson

from inference import enumerated
from inference.objectives.objective import Objective
from inference.randomness import seeded
from ppl_models.mot import (
    HIDDEN,
    SEEN,
    BirthDeathMixDVAE,
    Life,
    Objects,
    border_factor,
    infer_objects,
)
from tests.clips import Known, Nothing

ENUM = Objective("enum")
ALONE = Life(births=0.05, alive=0.4, death=0.1, hide=0.2, hide_behind=0.2, show=0.4)
PAIR = Life(births=0.1, alive=1.0, death=0.05, hide=0.1, hide_behind=0.1, show=0.3)


def videos(
    slots: int, apart: float, length: int = 5
) -> tuple[BirthDeathMixDVAE, dict[str, Tensor]]:
    """Boxes ``apart`` from one another, and two noisy detections a frame, some missing."""
    paths = 0.5 * torch.randn(1, slots, length, 4).double()
    paths[..., 0] += apart * torch.arange(slots)[:, None]
    near = paths[0, torch.randint(slots, (length, 2)), torch.arange(length)[:, None]]
    data = {
        "o": (near + 0.4 * torch.randn_like(near))[None],
        "mask": torch.rand(1, length, 2) < 0.8,
        "size": torch.ones(1, length, 2, 4).double(),
        "origin": torch.zeros(1, slots, 4).double(),
        "unit": torch.ones(1, slots, 4).double(),
        "region": torch.tensor([[[-6.0] * 4, [6.0] * 4]]).double(),
        "score": torch.rand(1, length, 2).double(),
    }
    life = ALONE if slots == 1 else PAIR
    settings = {"life": life, "clutter_rate": 0.7, "phi": 0.3, "phi_strength": None}
    model = BirthDeathMixDVAE(Known(paths), exclusive=True, **settings).double()  # type: ignore[arg-type]
    return model, data


def fast(model: BirthDeathMixDVAE, data: dict[str, Tensor]) -> tuple[Objects, Tensor]:
    """What belief propagation says, and log p(o, score, K) of the sequence."""
    paths, life = model.prior.paths[0], model.life  # type: ignore[index, union-attr]
    slots, length = paths.shape[:2]
    o, score, mask = data["o"][0], data["score"][0], data["mask"][0]
    volume = (data["region"][0, 1] - data["region"][0, 0]).log().sum()
    law = Normal(paths.transpose(0, 1)[:, :, None], math.sqrt(model.phi))
    log_odds = law.log_prob(o[:, None]).sum(-1) + volume + model.scores.log_odds(score)[:, None]
    log_odds = log_odds + math.log(life.detection / model.clutter_rate)
    steps = life.transition(slots, length, border=border_factor(paths, data["region"], life.border))
    missed = math.log(1 - life.detection)
    found = infer_objects(
        life.initial(slots, paths), steps, log_odds, missed, mask, tolerance=1e-9, most_rounds=200
    )
    clutter = model.scores.given(torch.ones_like(mask)).log_prob(score) - volume
    counts = Poisson(model.clutter_rate).log_prob(mask.sum(-1).double()).sum()
    return found, found.log_evidence + torch.where(mask, clutter, 0.0).sum() + counts


@pytest.mark.parametrize("seed", range(3))
def test_one_object_is_exact(seed: int) -> None:
    """Births at the border, scores, missing boxes: all of the story but occlusion by others."""
    with seeded(seed):
        model, data = videos(1, 0.0)
    assert torch.allclose(fast(model, data)[1], ENUM.bound(model, Nothing(), (), data), atol=1e-6)


@pytest.mark.parametrize(
    ("apart", "nats", "error"), [(0.0, 0.8, 0.2), (1.0, 0.8, 0.2), (5.0, 1e-3, 1e-3)]
)
def test_two_objects_are_near(apart: float, nats: float, error: float) -> None:
    """Six videos of each: evidence too low by what Bethe's approximation loses, lives near."""
    for seed in range(6):
        with seeded(seed):
            model, data = videos(2, apart, length=4)
        found, total = fast(model, data)
        exact = ENUM.bound(model, Nothing(), (), data)
        assert -nats < (total - exact).item() < 1e-5
        sites = enumerated(model, Nothing(), **data)
        for n in range(2):
            for t in range(4):
                probs = sites[f"life_{n}_{t}"].probs.flatten()
                here = found.lives.states[n, t].exp()
                assert (here - probs).abs().max() < error
                present = found.lives.present[n, t] - probs[SEEN] - probs[HIDDEN]
                assert present.abs() < error


def test_batches_do_not_meet_and_rounds_are_bounded() -> None:
    with seeded(9):
        log_odds = 3 * torch.randn(2, 6, 3, 4)
    steps = PAIR.transition(3, 6)
    together = infer_objects(PAIR.initial(3), steps, log_odds, -2.0, most_rounds=3)
    assert together.log_evidence.shape == (2,) and together.lives.states.shape == (2, 3, 6, 4)
    for i in range(2):
        alone = infer_objects(PAIR.initial(3), steps, log_odds[i], -2.0, most_rounds=3)
        assert torch.allclose(alone.lives.states.exp(), together.lives.states[i].exp(), atol=1e-3)


def test_boxes_that_leave_no_doubt_stay_finite() -> None:
    """Odds of e^300 in single precision: who is seen, and which box is whose, is sure."""
    log_odds = torch.full((6, 2, 2), -300.0)
    log_odds[:, [0, 1], [0, 1]] = 300.0
    found = infer_objects(PAIR.initial(2), PAIR.transition(2, 6), log_odds, -2.3)
    assert torch.isfinite(found.log_evidence) and found.log_evidence > 3500
    assert torch.allclose(found.lives.seen, torch.ones(2, 6), atol=1e-3)
    assert torch.allclose(found.beliefs.marginals, torch.eye(2).expand(6, 2, 2), atol=1e-3)


def test_a_video_without_detections_is_no_error() -> None:
    empty = infer_objects(PAIR.initial(2), PAIR.transition(2, 5), torch.zeros(5, 2, 0), -2.3)
    assert torch.isfinite(empty.log_evidence) and empty.lives.seen.max() < 0.5
    nobody = infer_objects(PAIR.initial(2), PAIR.transition(2, 5), torch.zeros(5, 0, 3), -2.3)
    assert nobody.log_evidence.item() == 0
