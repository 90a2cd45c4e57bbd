from __future__ import annotations

import math

import pytest
import torch
from pyro import poutine
from torch import Tensor, nn

from guides.linear_motion import LinearMotionGuide
from guides.mixdvae import MixDVAEGuide, unit_of
from inference import fit
from inference.objectives.objective import Objective
from ppl_models.errors import InputError
from ppl_models.linear_motion import LinearMotion
from ppl_models.mixdvae import MixDVAE
from tests.clips import Data, White, WhiteGuide, frames, generate

ENUM = Objective("enum")
GIVEN = ("o", "mask", "size", "origin", "unit", "start")


def pair(**settings: float | None) -> tuple[MixDVAE, MixDVAEGuide]:
    motion = LinearMotion()
    model = MixDVAE(motion, **settings).double()  # type: ignore[arg-type]
    return model, MixDVAEGuide(model, LinearMotionGuide(motion)).double()


def moments(guide: MixDVAEGuide, data: Data) -> tuple[Tensor, Tensor]:
    return guide.moments(*(data[name] for name in GIVEN))


def one(o: list[float], start: float = 0.0, phi: float = 0.01) -> tuple[MixDVAEGuide, Data]:
    """One source, one frame, one dim, detections of size 1 at ``o``: deviations of sqrt(phi)."""
    model = MixDVAE(White(1), phi=phi).double()
    guide = MixDVAEGuide(model, WhiteGuide()).double()
    data = frames(batch=1, length=1, places=len(o), sources=1, dims=1)
    data |= {
        "o": torch.tensor(o).double().reshape(1, 1, -1, 1),
        "mask": torch.ones(1, 1, len(o), dtype=torch.bool),
        "size": torch.ones(1, 1, len(o), 1).double(),
        "unit": torch.ones(1, 1, 1).double(),
        "start": torch.full((1, 1, 1, 1), start).double(),
    }
    return guide, data


def test_attention_finds_the_near_detection() -> None:
    """0.1 is one deviation from the path: it weighs e^(-1/2e^2) against e^(-9/2) of nobody."""
    guide, data = one([5.0, 0.1, -40.0])
    mean, scale = moments(guide, data)
    weight = math.exp(-0.5 / math.e**2)
    assert mean.item() == pytest.approx(0.1 * weight / (weight + math.exp(-4.5)))
    assert scale.item() == pytest.approx(0.1 * math.exp(-0.5))


def test_attention_reads_residuals_of_several_deviations_whole() -> None:
    """0.3 is three deviations from the path, and moves it by three times its weight."""
    guide, data = one([0.3])
    weight = math.exp(-0.5 * 9 / math.e**2)
    mean = moments(guide, data)[0].item()
    assert mean == pytest.approx(0.3 * weight / (weight + math.exp(-4.5)))


def test_with_nothing_near_the_path_stays() -> None:
    guide, data = one([50.0, -40.0], start=2.0)
    assert moments(guide, data)[0].item() == pytest.approx(2.0)
    guide, data = one([2.0, 2.1], start=2.5)
    data["mask"][:] = False
    assert moments(guide, data)[0].item() == pytest.approx(2.5)


def test_a_path_is_modelled_in_its_own_frame_of_reference() -> None:
    guide, data = one([3.1], start=3.0)
    data |= {"origin": torch.full((1, 1, 1), 3.0).double(), "unit": data["unit"] * 2}
    mean, scale = moments(guide, data)
    weight = math.exp(-0.5 / math.e**2)
    assert mean.item() == pytest.approx(0.05 * weight / (weight + math.exp(-4.5)))
    assert scale.item() == pytest.approx(0.05 * math.exp(-0.5))


def test_what_it_finds_is_nearer_the_truth_than_the_start() -> None:
    """Root mean square errors of 600 coordinates: a detection in three is closer, and is heard."""
    model, guide = pair(phi=0.01)
    clip = generate(model, batch=5, length=15, places=6)
    start = clip.boxes + 0.2 * torch.randn_like(clip.boxes)
    data = clip.data | {"start": start}
    boxes = data["origin"][:, :, None] + data["unit"][:, :, None] * moments(guide, data)[0]
    before, after = ((x - clip.boxes).square().mean().sqrt() for x in (start, boxes))
    assert after < 0.8 * before


def test_refining_adds_offsets_to_the_network_s_outputs() -> None:
    model, guide = pair()
    data = generate(model).data
    before = set(guide.state_dict())
    mean, scale = moments(guide, data)
    offset = guide.refined(2, 2, 5)
    assert set(guide.state_dict()) - before == {
        f"offset.{n}" for n in ("shift", "log_scale", "log_phi")
    }
    assert {n: tuple(p.shape) for n, p in offset.items()} == {
        "shift": (2, 2, 5, 4),
        "log_scale": (2, 2, 5, 4),
        "log_phi": (2,),
    }
    same, sure = moments(guide, data)
    assert torch.equal(same, mean) and torch.equal(sure, scale)
    with torch.no_grad():
        offset["shift"][0, 1, 2] += 1.5
        offset["log_scale"][1] += 0.5
        offset["log_phi"][1] += 1.0
    moved, surer = moments(guide, data)
    spread = 0.04 * unit_of(data["size"], data["mask"]) / data["unit"]
    assert torch.allclose((moved - mean)[0, 1, 2], 1.5 * spread[0, 1])
    assert ((moved - mean).abs().sum(-1) > 0).sum() == 1
    assert torch.allclose(surer[1] / scale[1], torch.tensor(math.exp(0.5)).double())
    assert torch.equal(surer[0], scale[0])
    expected = 0.04**2 * torch.tensor([1.0, math.e]).double()
    assert torch.allclose(guide.phi(data["size"]), expected)


def test_other_clips_get_offsets_of_their_own() -> None:
    model, guide = pair()
    guide.refined(2, 2, 5)["shift"].data += 1.0
    assert not guide.refined(3, 1, 7)["shift"].any()
    ENUM.bound(model, guide, (), generate(model, batch=3, sources=1, length=7).data)


def test_a_fixed_phi_leaves_no_parameter_of_it() -> None:
    model, guide = pair(phi=0.3, phi_strength=None)
    guide.refined(2, 2, 5)
    assert not [name for name in guide.state_dict() if "phi" in name]
    phi = guide.phi(torch.zeros(2, 5, 3, 4).double())
    assert torch.allclose(phi, torch.tensor(0.3).double())
    data = generate(model).data
    assert "phi" not in poutine.trace(guide).get_trace(**data).nodes


@pytest.mark.parametrize("refine", [False, True])
def test_gradient_reaches_all_parameters(refine: bool) -> None:
    """At first through the last layer only, whose weights are 0: so they are moved."""
    model, guide = pair()
    data = generate(model).data
    if refine:
        guide.refined(2, 2, 5)
    with torch.no_grad():
        guide.head.weight.normal_(0, 0.1)
    loss = ENUM.loss(model, guide, (), data, step=0)
    named = {**dict(model.named_parameters()), **dict(guide.named_parameters())}
    for name, gradient in zip(named, torch.autograd.grad(loss, [*named.values()]), strict=True):
        assert torch.isfinite(gradient).all() and gradient.abs().max() > 0, name


def test_the_state_dict_is_the_guides_alone() -> None:
    model, guide = pair()
    assert not [name for name in guide.state_dict() if name.startswith("model") or "prior" in name]
    other = pair()[1]
    other.load_state_dict(guide.state_dict())


def test_it_takes_clips_of_any_size() -> None:
    model, guide = pair()
    for sizes in ({"batch": 1, "length": 1, "places": 1, "sources": 1}, {"batch": 4, "length": 30}):
        data = generate(model, **sizes).data
        assert moments(guide, data)[0].shape == data["start"].shape
        assert torch.isfinite(ENUM.bound(model, guide, (), data)).all()


def test_the_unit_of_a_clip_is_the_size_of_what_is_observed() -> None:
    size = torch.tensor([[[[3.0], [4.0], [math.nan]]], [[[7.0], [math.nan], [math.nan]]]])
    mask = torch.tensor([[[True, True, False]], [[False, False, False]]])
    assert torch.allclose(unit_of(size, mask)[:, 0, 0], torch.tensor([math.sqrt(12.5), 1.0]))


@pytest.mark.parametrize("missing", ["o", "start"])
def test_without_data_to_condition_on_it_says_so(missing: str) -> None:
    model, guide = pair()
    with pytest.raises(InputError, match=rf"(?s){missing}.*a tensor to condition on"):
        guide(**(generate(model).data | {missing: None}))


def test_a_prior_without_a_number_of_coordinates_is_named() -> None:
    model = MixDVAE(nn.Identity())
    with pytest.raises(InputError, match="prior: saw data_dim None"):
        MixDVAEGuide(model, WhiteGuide())


@pytest.mark.slow
def test_training_on_simulated_clips_makes_it_better_on_others() -> None:
    """By 10 standard errors of the difference, clip by clip; both bounds with the same draws."""
    model, guide = pair(phi=0.01)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    train, held_out = generate(model, batch=256, length=12), generate(model, batch=64, length=12)

    def bounds() -> Tensor:
        torch.manual_seed(1)
        return ENUM.bound(model, guide, (), held_out.data)

    before = bounds()
    run = fit(model, guide, train.data, epochs=8, batch_size=32, learning_rate=1e-2, progress=False)
    guide = run.guide  # type: ignore[assignment]
    gain = bounds() - before
    assert gain.mean() > 10 * gain.std() / math.sqrt(len(gain))
