"""The paper's generator draws what the paper's draws, and walkers move as people can."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ppl_models.data.trajectories import (
    propose_boxes,
    synthetic_trajectories,
    to_object_frame,
    walking_trajectories,
)
from ppl_models.errors import InputError


def test_acceptance_and_static_share_are_the_reference_s() -> None:
    boxes, accepted = propose_boxes(np.random.default_rng(1), 20_000, 60)
    # 0.61 and 17 % were measured on the reference to two digits: half a digit and four standard
    # errors (0.0034 of the share kept; about 0.003 of the static share, whose unit is a segment)
    assert abs(accepted.mean() - 0.61) < 0.005 + 4 * 0.0034
    static = (np.diff(boxes[accepted, :, 0], axis=1) == 0).mean()
    assert abs(static - 0.17) < 0.005 + 4 * 0.003


def test_accepted_boxes_keep_the_bounds_and_the_convention() -> None:
    boxes = synthetic_trajectories(2_000, seed=3)
    assert boxes.shape == (2_000, 60, 4) and boxes.dtype == torch.float32
    low, high = boxes.amin((0, 1)), boxes.amax((0, 1))
    assert torch.all(low >= torch.tensor([-0.5, 0, 0, -1.5]))
    assert torch.all(high <= torch.tensor([1, 1.5, 0.8, 1]))
    x1, y1, x2, y2 = boxes.unbind(-1)
    ratio = (y1 - y2) / (x2 - x1)  # y2 = y1 - h, and h / w does not change in time
    spread = (ratio.amax(-1) - ratio.amin(-1)) / ratio.abs().amax(-1)
    narrow = (x2 - x1).amin(-1) > 1e-3  # float32 differences of coordinates near 1
    assert spread[narrow].max() < 1e-3


def test_motions_change_only_where_the_paper_splits() -> None:
    boxes, _ = propose_boxes(np.random.default_rng(0), 4_000, 60)
    jerk = np.abs(np.diff(boxes[..., 0], n=3, axis=1))  # zero within polynomials of degree two
    jumps, smooth = jerk > 1e-7, jerk < 1e-12
    chosen = (jumps | smooth).all(1) & jumps.any(1) & (jumps.sum(1) <= 8)  # no fast sinus
    assert chosen.sum() > 500
    # the change is in the last of a difference's four frames: the one repeated, or the two next
    ends = np.flatnonzero(jumps[chosen].any(0)) + 3
    assert all(min((t - split) % 60 for split in range(3, 60, 3)) <= 3 for t in ends)
    repeated = np.abs(np.diff(boxes[chosen, :, 0], axis=1)) < 1e-12
    assert repeated[:, 2::3].any(1).all()  # a segment begins where the one before it ended


@pytest.mark.parametrize("maker", [synthetic_trajectories, walking_trajectories])
def test_seeds_repeat_and_differ_and_leave_the_generators_alone(maker, untouched) -> None:
    a, b, c = maker(8, length=12, seed=1), maker(8, length=12, seed=1), maker(8, length=12, seed=2)
    assert torch.equal(a, b) and not torch.equal(a, c)
    assert a.shape == (8, 12, 4) and torch.isfinite(a).all()
    assert maker(1, length=1).shape == (1, 1, 4)


@pytest.mark.parametrize("maker", [synthetic_trajectories, walking_trajectories])
@pytest.mark.parametrize(("size", "length"), [(0, 5), (5, 0)])
def test_counts_below_one_are_refused(maker, size: int, length: int) -> None:
    with pytest.raises(InputError, match="at least 1"):
        maker(size, length=length)


def test_object_frame_is_the_same_wherever_and_however_large_the_box_is() -> None:
    boxes = synthetic_trajectories(50, seed=1)
    frame = to_object_frame(boxes)
    assert torch.all(frame[:, 0] == 0)
    moved = boxes * 0.5 + torch.tensor([0.1, 0.3, 0.1, 0.3])
    assert torch.allclose(to_object_frame(moved), frame, atol=1e-3)
    one = torch.tensor([[[0.0, 0.5, 0.1, 0.3], [0.1, 0.3, 0.3, -0.1]]])  # doubled, right and down
    height = 0.2
    expected = [0.15 * 1920 / 1080 / height, 0.3 / height, np.log(2), np.log(2)]
    assert np.allclose(to_object_frame(one)[0, 1], expected, atol=1e-5)


def test_walkers_walk_stop_and_approach() -> None:
    path = walking_trajectories(4_000, seed=0)
    assert torch.all(path[:, 0] == 0)
    step = path.diff(dim=1)
    speed = step[..., :2].norm(dim=-1)
    assert 0.005 < speed.median() < 0.03  # body heights a frame; 1.4 m/s at 30 a second is 0.027
    assert speed.quantile(0.99) < 0.2
    assert (speed.mean(1) < 0.005).float().mean() > 0.05  # some stand
    w, h = step[..., 2].flatten(), step[..., 3].flatten()
    grown = torch.corrcoef((path[:, -1] - path[:, 0])[:, 2:].T)[0, 1]
    assert grown > 0.8  # width and height grow together
    assert w.std() > 2 * h.std()  # the gait swings the width alone
    persistence = torch.corrcoef(torch.stack([step[:, :-1, 0].flatten(), step[:, 1:, 0].flatten()]))
    assert persistence[0, 1] > 0.9
