from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pyro import poutine
from torch import Tensor, nn
from torch.distributions import Poisson

from guides.linear_motion import LinearMotionGuide
from guides.mot import BirthDeathMixDVAEGuide
from inference import check
from inference.objectives.objective import Objective
from inference.randomness import seeded
from ppl_models.errors import InputError
from ppl_models.linear_motion import LinearMotion
from ppl_models.mixdvae import MixDVAE
from ppl_models.mot import (
    SEEN,
    BinnedScores,
    BirthDeathMixDVAE,
    Camera,
    LastingError,
    Life,
    apply_camera,
    box_units,
)
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


def test_mixdvae_is_the_special_case_of_objects_that_are_all_there() -> None:
    """Less the law of counts, and scores that say nothing."""
    with seeded(1):
        data, paths = tiny(length=4, places=3)
    del data["score"]
    life = Life(births=0.0, alive=2.0, death=0.0, hide=0.0, hide_behind=0.0, rate=0.9)
    model = known(paths, exclusive=False, life=life)
    weight = 0.7 / (2 * 0.9 + 0.7)
    paper = MixDVAE(Known(paths), clutter_weight=weight, phi=0.3, phi_strength=None).double()
    counts = Poisson(2 * 0.9 + 0.7).log_prob(data["mask"].sum(-1).double()).sum()
    ours = ENUM.bound(model, Nothing(), (), data)
    assert torch.allclose(ours, ENUM.bound(paper, Nothing(), (), data) + counts, atol=1e-6)


@pytest.mark.parametrize("exclusive", [False, True])
def test_what_is_masked_is_not_read(exclusive: bool) -> None:
    with seeded(2):
        data, paths = tiny(places=3)
    data["mask"][0, 1, 0] = False
    gone = ~data["mask"]
    answers = []
    for fill in (1.0, math.nan):
        filled = {n: data[n].masked_fill(gone[..., None], fill) for n in ("o", "size")}
        filled["score"] = data["score"].masked_fill(gone, fill)
        model = known(paths, exclusive)
        loss = ENUM.loss(model, Nothing(), (), data | filled, step=0)
        answers.append((loss, *torch.autograd.grad(loss, list(model.prior.parameters()))))
    for a, b in zip(*answers, strict=True):
        assert torch.isfinite(a).all() and torch.allclose(a, b)


@pytest.mark.parametrize("exclusive", [False, True])
def test_the_order_of_detections_means_nothing(exclusive: bool) -> None:
    with seeded(3):
        data, paths = tiny(places=3)
    other = data | {name: data[name].flip(2) for name in ("o", "mask", "size", "score")}
    bounds = [ENUM.bound(known(paths, exclusive), Nothing(), (), x) for x in (data, other)]
    assert torch.allclose(*bounds, atol=1e-9)


def everything(**settings: Any) -> tuple[BirthDeathMixDVAE, BirthDeathMixDVAEGuide]:
    """The story with all its parts, of two linear paths, and its guide."""
    prior = LinearMotion()
    parts = {"camera": Camera(), "error": LastingError(), "life": BUSY, **settings}
    model = BirthDeathMixDVAE(prior, **parts).double()
    return model, BirthDeathMixDVAEGuide(model, LinearMotionGuide(prior)).double()


def video(batch: int = 2, length: int = 3, places: int = 3) -> Data:
    """Data of videos with paths to start from."""
    with seeded(batch + length):
        data, paths = tiny(length, places)
        data = {name: x.repeat(batch, *[1] * (x.dim() - 1)) for name, x in data.items()}
        return data | {"start": paths.repeat(batch, 1, 1, 1)}


@pytest.mark.parametrize("exclusive", [False, True])
def test_the_pair_with_all_its_parts_passes_check(exclusive: bool) -> None:
    model, guide = everything(exclusive=exclusive)
    rows = {row.name: row for row in check(model, guide, **video()).sites}
    assert list(rows)[:5] == ["phi", "camera", "z", "s", "error"]
    assert rows["life_1_2"].kind == "enumerated" and rows["score_2"].kind == "observed"
    summed = "match_2" if exclusive else "w_2"
    assert rows[summed].kind == "enumerated"
    assert tuple(rows["error"].batch_shape) == (2, 1, 2) and rows["camera"].event_shape == (3, 4)


@pytest.mark.parametrize("part", ["camera", "error", "phi_strength"])
def test_each_part_may_be_left_out(part: str) -> None:
    model, guide = everything(**{part: None})
    names = {row.name for row in check(model, guide, **video()).sites}
    assert part.removesuffix("_strength") not in names


def test_detections_lie_where_camera_and_lasting_error_put_them() -> None:
    """With hardly any white noise, an object's detection is its box, moved by both."""
    life = Life(births=0.0, alive=1.0, death=0.0, hide=0.0, rate=40.0)
    model, _ = everything(life=life, phi=1e-12, phi_strength=None, clutter_rate=1e-9)
    given = {name: x[:1, ..., :] for name, x in video(places=2).items()}
    given = {n: given[n] for n in ("mask", "size", "unit", "region")} | {
        "origin": given["origin"][:, :1],
        "unit": given["unit"][:, :1],
    }
    with seeded(4):
        nodes = poutine.trace(model).get_trace(None, **given).nodes
    s, camera, error = (nodes[name]["value"][0, 0, 0] for name in ("s", "camera", "error"))
    box = apply_camera(s, camera, torch.zeros(2).double())
    assert torch.allclose(nodes["_RETURN"]["value"][0, 0], box)
    expected = box + box_units(box) * error
    for t in range(3):
        assert torch.allclose(nodes[f"o_{t}"]["value"][0, 0, 0], expected[t], atol=1e-4)
    assert error.abs().max() > 1e-3 and camera.abs().max() > 1e-5


def simulated(model: BirthDeathMixDVAE, batch: int, length: int, places: int) -> dict[str, Tensor]:
    """Sites of simulated videos of two slots, frames side by side."""
    given = {
        "mask": torch.ones(batch, length, places, dtype=torch.bool),
        "size": torch.ones(batch, length, places, 4),
        "origin": torch.tensor([[-1.0, 0, 0, 0], [1.0, 0, 0, 0]]).repeat(batch, 1, 1),
        "unit": torch.ones(batch, 2, 4),
        "region": torch.tensor([[-5.0] * 4, [5.0] * 4]).repeat(batch, 1, 1),
    }
    nodes = poutine.trace(model).get_trace(None, **given).nodes
    names = ["count", "o", "score", "match" if model.exclusive else "w"]
    each = {n: [nodes[f"{n}_{t}"]["value"] for t in range(length)] for n in names}
    lives = [
        torch.cat([nodes[f"life_{n}_{t}"]["value"] for t in range(length)], 1) for n in range(2)
    ]
    return {n: torch.cat(x, 1) for n, x in each.items()} | {"life": torch.cat(lives, -1)}


@pytest.mark.parametrize("exclusive", [False, True])
def test_simulated_videos_have_the_statistics_of_the_story(exclusive: bool) -> None:
    """2,000 videos of 6 frames: counts given who is seen, clutter, scores; 5 standard errors."""
    life = Life(births=0.1, alive=0.8, death=0.1, hide=0.1, show=0.4, border=1.0)
    scores = BinnedScores(4)
    settings = {"exclusive": exclusive, "clutter_rate": 0.6, "phi_strength": None}
    model = BirthDeathMixDVAE(LinearMotion(), life=life, scores=scores, **settings)  # type: ignore[arg-type]
    with seeded(5):
        sites = simulated(model, 2000, 6, 8)
    seen, count = (sites["life"] == SEEN).sum(-1), sites["count"][..., 0]
    for s in range(3):
        some = count[seen == s]
        each = life.detection if exclusive else life.rate
        spread = each * (1 - each) if exclusive else each
        expected, error = s * each + 0.6, math.sqrt((s * spread + 0.6) / len(some))
        assert abs(some.mean() - expected) < 5 * error
    born = (sites["life"] > 0).any(1).double().mean()
    assert abs(born - life.objects(6) / 2) < 5 * math.sqrt(0.25 / 4000)
    if not exclusive:
        there = torch.arange(8) < sites["count"]
        clutter = (sites["w"] == 2) & there
        mean = clutter.sum() / 12_000
        assert abs(mean - 0.6) < 5 * math.sqrt(0.6 / 12_000)
        share = (sites["score"][clutter] > 0.75).double().mean()
        expected = scores.masses[1, 3].item()
        assert abs(share - expected) < 5 * math.sqrt(0.25 / int(clutter.sum()))


def test_frames_that_do_not_exist_cost_nothing() -> None:
    """The bound of paths that are known, padded by two frames of nonsense, is that of the clip."""
    model, guide = everything(phi_strength=None)
    data = video(length=3)
    wild = {"o": math.nan, "mask": True, "size": math.nan, "score": 0.5, "start": 50.0}
    longer = data | {"exists": (torch.arange(5) < 3).expand(2, -1)}
    for name, value in wild.items():
        dim = 2 if name == "start" else 1
        rest = torch.full_like(data[name].narrow(dim, 0, 1), value)
        longer[name] = torch.cat([data[name], rest, rest], dim)
    longer["mask"][:, 3:] = False
    with seeded(6):
        drawn = poutine.trace(guide).get_trace(**longer)
    values = {n: drawn.nodes[n]["value"] for n in ("camera", "z", "s", "error")}
    cut = {n: x[..., :3, :] for n, x in values.items()}
    bounds = []
    for some, known_values in ((longer, values), (data, cut)):
        told = poutine.condition(model, data=known_values)
        bounds.append(ENUM.bound(told, Nothing(), (), some))
    assert torch.allclose(*bounds, atol=1e-6)
    assert torch.isfinite(ENUM.bound(model, guide, (), longer)).all()


def test_what_cannot_be_is_an_error() -> None:
    for rate in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(InputError, match="clutter_rate"):
            BirthDeathMixDVAE(nn.Identity(), clutter_rate=rate)
    data, paths = tiny()
    model = known(paths, exclusive=False, life=Life(births=1.0, alive=1.0))
    with pytest.raises(InputError, match="(?s)slots: saw 2, while 3 objects.*3 rows"):
        model(**data)
    flat = data | {"size": torch.ones(1, 3, 2, 5)}
    with pytest.raises(InputError, match="5 numbers a box"):
        known(paths, exclusive=False)(**flat)
