from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Normal

from inference.randomness import seeded
from ppl_models.errors import InputError
from ppl_models.mot import Camera, CameraWalk, apply_camera, undo_camera

CENTRE = torch.tensor([320.0, 240.0]).double()


def test_there_and_back_is_exact() -> None:
    with seeded(0):
        boxes = torch.randn(3, 1, 7, 4).double() * torch.tensor([100.0, 100, 1, 1])
        camera = torch.randn(3, 5, 7, 4).double() * torch.tensor([50.0, 50, 0.5, 1])
    there = apply_camera(boxes, camera, CENTRE)
    assert there.shape == (3, 5, 7, 4)
    back = undo_camera(there, camera, CENTRE)
    assert torch.allclose(back, boxes.expand_as(back), atol=1e-10)
    again = apply_camera(undo_camera(boxes, camera, CENTRE), camera, CENTRE)
    assert torch.allclose(again, boxes.expand_as(again), atol=1e-10)


def test_what_each_of_the_four_numbers_does() -> None:
    box = torch.tensor([420.0, 240.0, 3.0, 4.0]).double()

    def seen(*camera: float) -> list[float]:
        found: list[float] = apply_camera(box, torch.tensor(camera).double(), CENTRE).tolist()
        return found

    assert seen(0, 0, 0, 0) == box.tolist()
    assert seen(5, -7, 0, 0) == [425.0, 233.0, 3.0, 4.0]
    zoom = math.log(2)
    assert seen(0, 0, zoom, 0) == pytest.approx([520.0, 240.0, 3 + zoom, 4 + zoom])
    assert seen(0, 0, 0, math.pi / 2) == pytest.approx([320.0, 340.0, 3.0, 4.0])


def test_the_walk_is_scored_as_a_mixture_of_two_steps() -> None:
    camera = Camera(moving=0.2)
    height = torch.tensor(480.0).double()
    walk = camera.walk(3, height)
    unit = torch.tensor([480.0, 480, 1, 1]).double()
    path = torch.zeros(3, 4).double()
    path[1:] = 0.003 * unit
    still, moving = (
        Normal(torch.zeros(4).double(), unit * torch.tensor(x).double())
        for x in (camera.still_scale, camera.moving_scale)
    )
    expected = 0.0
    for step in (path[0], path[1] - path[0], path[2] - path[1]):
        each = [x.log_prob(step).sum().exp().item() for x in (still, moving)]
        expected += math.log(0.8 * each[0] + 0.2 * each[1])
    assert walk.log_prob(path).item() == pytest.approx(expected)


def test_drawn_steps_are_still_or_moving() -> None:
    """Variance of 40,000 steps, to 5 standard errors of a share of 0.1."""
    camera = Camera()
    with seeded(1):
        path = camera.walk(100, torch.full((400,), 100.0)).sample()
    step = path.diff(dim=-2) / torch.tensor([100.0, 100, 1, 1])
    moving = torch.tensor(camera.moving_scale)
    expected = 0.1 * moving**2 + 0.9 * torch.tensor(camera.still_scale) ** 2
    error = expected * math.sqrt(3 / 0.1 / step[..., 0].numel())  # kurtosis of the mixture
    assert ((step**2).mean((0, 1)) - expected).abs().lt(5 * error).all()


def test_frames_that_do_not_exist_count_nothing() -> None:
    mask = torch.tensor([[True, True, True, False], [True] * 4])
    with seeded(2):
        path = Camera().walk(4, torch.ones(2)).sample()
    path[0, 3] = math.nan
    path.requires_grad_()
    log_prob = Camera().walk(4, torch.ones(2), mask).log_prob(path)
    cut = Camera().walk(3, torch.ones(1)).log_prob(path[:1, :3])
    assert torch.allclose(log_prob[0], cut[0])
    [gradient] = torch.autograd.grad(log_prob.sum(), [path])
    assert torch.isfinite(gradient).all() and (gradient[0, 3] == 0).all()
    ones = torch.ones(4)
    alike = CameraWalk(4, ones, 2 * ones, 0.5, mask=mask)
    assert alike.batch_shape == (2,) and torch.isfinite(alike.log_prob(path)).all()
    wide = Camera().walk(4, torch.ones(2), mask).expand((5, 2))
    assert wide.batch_shape == (5, 2) and wide.sample().shape == (5, 2, 4, 4)


@pytest.mark.parametrize(
    "wrong", [{"moving": 0.0}, {"still_scale": (1.0, 1.0)}, {"moving_scale": (1.0, 1.0, 0.0, 1.0)}]
)
def test_constants_out_of_range_are_errors(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        Camera(**wrong)  # type: ignore[arg-type]
