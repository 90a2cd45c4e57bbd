"""Motion: moves and paths are one another's inverse, and densities change by a constant."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from ppl_models.dvae.deepar import DeepAR
from ppl_models.dvae.motion import Inertia, Motion
from ppl_models.dvae.past import Memory, Past


def past_of(motion: Motion, s: Tensor) -> Past:
    return DeepAR(s.shape[-1], likelihood=motion).teacher_forced_past(s, s[..., :0])


@pytest.mark.parametrize("length", [1, 2, 7])
@pytest.mark.parametrize("increments", [False, True])
def test_moves_and_paths_invert_each_other(increments: bool, length: int) -> None:
    motion = Motion(3, increments=increments, unit=0.1)
    s = torch.randn(2, 4, length, 3)
    moves = motion.features(s)
    back = s[..., :1, :] + motion.unit * moves.cumsum(-2) if increments else moves
    assert torch.allclose(back, s, atol=1e-5)
    if length > 1:  # a frame by itself has the same move, given the frame before
        alone = motion.features(s[..., -1:, :], s[..., -2:-1, :])
        assert torch.equal(alone, moves[..., -1:, :])


def test_increments_do_not_depend_on_where_the_path_is() -> None:
    motion = Motion(3, increments=True, unit=0.1)
    s = torch.randn(2, 7, 3, dtype=torch.float64)
    assert torch.allclose(motion.features(s), motion.features(s + 5.0), atol=1e-6)


@pytest.mark.parametrize("inertia", [False, True])
@pytest.mark.parametrize("length", [1, 5])
def test_density_of_a_path_is_that_of_its_moves_over_the_unit(length: int, inertia: bool) -> None:
    motion = Motion(2, increments=True, inertia=inertia, unit=0.1, start_scale=0.7, floor=0.3)
    s, raw = torch.randn(length, 2), torch.randn(length, 4)
    m, r = raw[:, :2], (raw[:, 2:].exp() + 0.3**2).sqrt()
    past = past_of(motion, s)
    frames = motion(motion.given(raw, past)).base_dist.log_prob(s)
    assert torch.allclose(frames[0], Normal(0.0, 0.7).log_prob(s[0]), atol=1e-5)
    m = m + motion.inertia(past.frame_features) if motion.inertia is not None else m
    moves = Normal(m, r).log_prob(motion.features(s)) - torch.tensor(0.1).log()
    assert torch.allclose(frames[1:], moves[1:], atol=1e-4)


def test_positions_are_the_outputs_own_moments() -> None:
    motion, raw = Motion(2, floor=0.3), torch.randn(5, 4)
    past = past_of(motion, torch.randn(5, 2))
    assert past.frame is None and motion.given(raw, past) is raw
    frames = motion(raw).base_dist
    assert torch.equal(frames.loc, raw[:, :2]) and torch.equal(motion.point(raw), raw[:, :2])
    assert torch.allclose(frames.scale, (raw[:, 2:].exp() + 0.3**2).sqrt())


def test_inertia_carries_a_constant_velocity_on() -> None:
    inertia = Inertia(1)
    share, keep = inertia.rates()
    moves = torch.ones(40, 1)
    moves[0] = 0  # nothing is read before the first frame
    carried = inertia(moves)
    assert torch.all(carried[0] == 0)
    assert torch.allclose(carried[1], share * (1 - keep))
    assert torch.allclose(carried[-1], share, atol=1e-3)
    (late,) = torch.autograd.grad(inertia(moves.requires_grad_())[5], moves)
    assert torch.equal(late[:, 0] != 0, torch.arange(40) < 6)
    with pytest.raises(ValueError, match="increments=True"):
        Motion(1, increments=False, inertia=True)


def test_inertia_frame_by_frame_is_inertia_at_once() -> None:
    inertia, moves, memory = Inertia(2), torch.randn(3, 6, 2), Memory(stepwise=True)
    steps = [memory(inertia, moves[:, t : t + 1]) for t in range(6)]
    assert torch.allclose(torch.cat(steps, 1), inertia(moves), atol=1e-6)


@pytest.mark.parametrize("options", [{"unit": 0.0}, {"start_scale": -1.0}])
def test_scales_must_be_positive(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        Motion(2, increments=True, **options)
    with pytest.raises(ValueError, match="above unit"):
        Motion(2, increments=True, unit=0.5, floor=1.0, start_scale=0.5)
