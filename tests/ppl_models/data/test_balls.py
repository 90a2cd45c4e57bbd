from __future__ import annotations

import numpy as np
import pytest
import torch

from ppl_models.data.balls import bouncing_balls
from ppl_models.errors import InputError


def test_a_ball_keeps_its_speed_between_walls_and_stays_in_the_box(untouched: None) -> None:
    pictures, places = bouncing_balls(200, length=30)
    assert pictures.shape == (200, 30, 256) and places.shape == (200, 30, 2)
    assert places.min() >= 2 and places.max() <= 14
    # an unfolded path is straight: where no wall is near, a step is the last one
    steps = places.diff(dim=1)
    inner = ((places > 4) & (places < 12)).all(-1)[:, 1:-1]
    assert inner.sum() > 500
    assert torch.allclose(steps[:, 1:][inner], steps[:, :-1][inner], atol=1e-5)
    speed = steps.norm(dim=-1)
    # a mirror shortens the step that goes through it, and no other
    assert speed.max() < 1.6 + 1e-5
    assert (speed.amax(-1) > 0.8 - 1e-5).all()
    # every component turns: speeds of 0.8 or more cross the box of 12 pixels in 30 frames
    assert ((steps[..., 0] > 0).any(-1) & (steps[..., 0] < 0).any(-1)).float().mean() > 0.5


def test_a_picture_shows_a_disc_about_its_place() -> None:
    pictures, places = bouncing_balls(5, length=4)
    image = pictures.view(5, 4, 16, 16)
    assert set(image.unique().tolist()) == {0.0, 1.0}
    pixels = torch.arange(16) + 0.5
    count = image.sum((-2, -1))
    centre = torch.stack(
        [(image.sum(-2) * pixels).sum(-1) / count, (image.sum(-1) * pixels).sum(-1) / count], -1
    )
    assert (centre - places).abs().max() < 0.3  # of a pixel
    assert (count / (np.pi * 4) - 1).abs().max() < 0.35  # a disc of radius 2 has 12.6 of them


def test_seed() -> None:
    one, same, other = (bouncing_balls(3, seed=seed).pictures for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize(("given", "message"), [({"size": 0}, "size"), ({"radius": 0.0}, "radius")])
def test_refused(given: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        bouncing_balls(**{"size": 2, **given})
