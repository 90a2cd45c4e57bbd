"""Positions or increments: one is the other's inverse, and densities change by a constant."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Normal

from ppl_models.dvae.motion import Motion
from ppl_models.errors import InputError
from ppl_models.sequences import check_paths, clean, shift


@pytest.mark.parametrize("length", [1, 2, 7])
@pytest.mark.parametrize("increments", [False, True])
def test_moves_and_paths_invert_each_other(increments: bool, length: int) -> None:
    motion = Motion(3, increments=increments, unit=0.1)
    s = torch.randn(2, 4, length, 3)
    assert torch.allclose(motion.paths(motion.moves(s), s[..., 0, :]), s, atol=1e-5)
    assert shift(s).shape == s.shape and torch.all(shift(s)[..., 0, :] == 0)


def test_increments_say_nothing_of_where_the_path_is() -> None:
    motion = Motion(3, increments=True, unit=0.1)
    s = torch.randn(2, 7, 3, dtype=torch.float64)
    assert torch.allclose(motion.moves(s), motion.moves(s + 5.0), atol=1e-6)


@pytest.mark.parametrize("inertia", [False, True])
@pytest.mark.parametrize("length", [1, 5])
def test_density_of_a_path_is_that_of_its_moves_over_the_unit(length: int, inertia: bool) -> None:
    motion = Motion(2, increments=True, inertia=inertia, unit=0.1, start_scale=0.7)
    s, m, r = torch.randn(length, 2), torch.randn(length, 2), torch.rand(length, 2) + 0.5
    mean, scale = motion.place((m, r), s)
    frames = Normal(mean, scale).log_prob(s)
    assert torch.allclose(frames[0], Normal(0.0, 0.7).log_prob(s[0]))
    m = m + motion.carried(motion.moves(s)) if inertia else m
    moves = Normal(m, r).log_prob(motion.moves(s)) - torch.tensor(0.1).log()
    assert torch.allclose(frames[1:], moves[1:], atol=1e-4)


def test_inertia_carries_a_constant_velocity_on() -> None:
    motion = Motion(1, increments=True, inertia=True)
    share, keep = motion.kept()
    moves = torch.ones(40, 1)
    carried = motion.carried(moves)
    assert torch.all(carried[0] == 0)
    assert torch.allclose(carried[1], share * (1 - keep))
    assert torch.allclose(carried[-1], share, atol=1e-3)
    (late,) = torch.autograd.grad(motion.carried(moves.requires_grad_())[5], moves)
    assert torch.equal(late[:, 0] != 0, torch.arange(40) < 5)
    with pytest.raises(ValueError, match="increments=True"):
        Motion(1, increments=False, inertia=True)


@pytest.mark.parametrize("options", [{"unit": 0.0}, {"start_scale": -1.0}])
def test_scales_must_be_positive(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        Motion(2, increments=True, **options)


def test_clean_zeros_missing_frames() -> None:
    s, mask = torch.full((1, 3, 2), float("nan")), torch.zeros(1, 3, dtype=torch.bool)
    assert torch.all(clean(s, mask) == 0) and clean(s, None) is s


@pytest.mark.parametrize(
    ("s", "mask", "says"),
    [
        (torch.zeros(5, 4), None, "paths, frames, 4"),
        (torch.zeros(2, 5, 3), None, "paths, frames, 4"),
        (torch.zeros(0, 5, 4), None, "paths, frames, 4"),
        (torch.zeros(2, 5, 4), torch.ones(2, 5), "torch.bool"),
        (torch.zeros(2, 5, 4), torch.ones(5, dtype=torch.bool), "torch.bool"),
        (torch.zeros(1, 3, 4), torch.tensor([[True, False, True]]), "existing frames first"),
    ],
)
def test_paths_of_a_wrong_form_are_refused(s, mask, says: str) -> None:
    with pytest.raises(InputError, match=says):
        check_paths(s, mask, 4)
