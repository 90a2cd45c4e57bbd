from __future__ import annotations

from typing import Any

import pytest
import torch
from pyro import poutine
from torch import Tensor

from guides.linear_motion import LinearMotionGuide
from guides.mot import BirthDeathMixDVAEGuide
from inference.objectives.objective import Objective
from inference.randomness import seeded
from ppl_models.errors import InputError
from ppl_models.linear_motion import LinearMotion
from ppl_models.mot import BirthDeathMixDVAE, Camera, LastingError, Life

ENUM = Objective("enum")
Data = dict[str, Tensor]
STAY = Life(births=0.01, alive=1.6, death=0.01, hide=0.05)


def pair(**settings: Any) -> tuple[BirthDeathMixDVAE, BirthDeathMixDVAEGuide]:
    prior = LinearMotion()
    model = BirthDeathMixDVAE(prior, life=STAY, **settings).double()
    return model, BirthDeathMixDVAEGuide(model, LinearMotionGuide(prior), hidden_dim=4).double()


def panned(shift: float = 0.3, length: int = 6) -> Data:
    """Two objects that stand, seen by a camera that jumps by ``shift`` after half of the frames."""
    still = torch.tensor([[-1.0, 0, 0, 0], [1.0, 0, 0, 0]]).double()
    start = still[None, :, None].repeat(1, 1, length, 1)
    moved = start.clone()
    moved[:, :, length // 2 :, 0] += shift
    size = torch.ones(1, length, 2, 4).double()
    return {
        "o": moved.transpose(1, 2),
        "mask": torch.ones(1, length, 2, dtype=torch.bool),
        "size": size,
        "origin": still[None],
        "unit": torch.ones(1, 2, 4).double(),
        "region": torch.tensor([[[-5.0] * 4, [5.0] * 4]]).double(),
        "start": start,
    }


def test_what_all_paths_have_in_common_is_taken_for_the_camera_in_a_share() -> None:
    model, guide = pair(camera=Camera(moving_scale=(0.05, 0.05, 0.05, 0.05)))
    data = panned()
    guide.camera_share.data[:] = 1.0
    guide.paths.log_reach.data += 2.0  # residuals of seven standard deviations count
    with seeded(0):
        sites = poutine.trace(guide).get_trace(**data).nodes
    camera, s = sites["camera"]["fn"].base_dist.loc, sites["s"]["fn"].base_dist.loc
    assert camera.shape == (1, 1, 1, 6, 4)
    assert camera[0, 0, 0, :3].abs().max() < 1e-9 and (camera[0, 0, 0, 3:, 0] > 0.2).all()
    assert s[..., 0].abs().max() < 0.1  # the paths themselves stand


def test_a_jump_of_all_boxes_is_the_camera_where_that_is_likelier() -> None:
    """The bound with the jump in the camera is above that with the jump in the paths."""
    model, guide = pair(camera=Camera(moving_scale=(0.05, 0.05, 0.05, 0.05)), phi_strength=None)
    guide.paths.log_reach.data += 2.0
    bounds = []
    for share in (0.0, 1.0):
        guide.camera_share.data[:] = share
        with seeded(1):
            bounds.append(ENUM.bound(model, guide, (), panned()).item())
    assert bounds[1] > bounds[0] + 10


def test_errors_take_their_share_of_what_each_path_has_by_itself() -> None:
    model, guide = pair(error=LastingError())
    data = panned(0.05)
    guide.error_share.data[:] = 0.5
    sites = poutine.trace(guide).get_trace(**data).nodes
    error = sites["error"]["fn"].base_dist
    moved = sites["s"]["fn"].base_dist.loc[0, 0] + data["origin"][0, :, None] - data["start"][0]
    assert torch.allclose(error.loc[0, 0], 0.5 * moved)  # boxes of size one
    assert torch.allclose(error.scale, torch.full_like(error.scale, 0.03))


@pytest.mark.parametrize("missing", ["o", "start"])
def test_it_conditions_on_data(missing: str) -> None:
    _, guide = pair()
    with pytest.raises(InputError, match=missing):
        guide(**(panned() | {missing: None}))


def test_frames_that_do_not_exist_and_scores_change_nothing_of_what_it_draws() -> None:
    """A clip padded by nonsense: the same densities of all sites at the same values."""
    _, guide = pair(camera=Camera(), error=LastingError())
    data = panned(length=4) | {"score": torch.full((1, 4, 2), 0.7).double()}
    longer = panned(length=6) | {"exists": torch.tensor([[True] * 4 + [False] * 2])}
    longer["o"][:, :4], longer["start"][:, :, :4] = data["o"], data["start"]
    longer["mask"][:, 4:] = False
    with seeded(2):
        long = poutine.trace(guide).get_trace(**longer)
    names = ["camera", "s", "z", "error"]
    values = {name: long.nodes[name]["value"][..., :4, :] for name in names}
    short = poutine.trace(poutine.condition(guide, data=values)).get_trace(**data)
    for trace in (long, short):
        trace.compute_log_prob()
    for name in names:
        pair_of = (trace.nodes[name]["log_prob"] for trace in (long, short))
        assert torch.allclose(*pair_of), name


def test_its_own_parts_are_those_of_the_model() -> None:
    _, guide = pair()
    names = {name for name, _ in guide.named_parameters()}
    assert not {name for name in names if name.startswith(("camera", "error"))}
    assert guide.paths.rnn.hidden_size == 4
