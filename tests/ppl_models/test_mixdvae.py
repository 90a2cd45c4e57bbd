from __future__ import annotations

import itertools
import math

import pytest
import torch
from pyro import poutine
from torch import Tensor, nn
from torch.distributions import InverseGamma, Normal, Uniform

from guides.dvae.deepar import DeepARGuide
from guides.dvae.srnn import SRNNGuide
from guides.linear_motion import LinearMotionGuide
from guides.mixdvae import MixDVAEGuide
from inference import check, enumerated, posterior
from inference.objectives.objective import Objective
from inference.tracing.sampler import Sampler
from inference.vem import responsibilities
from ppl_models.dvae.deepar import DeepAR
from ppl_models.dvae.motion import Motion
from ppl_models.dvae.srnn import SRNN
from ppl_models.errors import InputError
from ppl_models.linear_motion import LinearMotion
from ppl_models.mixdvae import Detection, MixDVAE, place
from tests.clips import Data, Known, Nothing, White, WhiteGuide, frames, generate, mixture

ENUM = Objective("enum")


def pair(prior: str = "linear", **settings: float | None) -> tuple[MixDVAE, MixDVAEGuide]:
    source: nn.Module
    guide: nn.Module
    if prior == "linear":
        source = LinearMotion()
        guide = LinearMotionGuide(source)
    elif prior == "srnn":
        source = SRNN(likelihood=Motion(increments=True))
        guide = SRNNGuide(source)
    elif prior == "deepar":
        source = DeepAR(likelihood=Motion(increments=True))
        guide = DeepARGuide(source)
    else:
        source, guide = White(), WhiteGuide()
    model = MixDVAE(source, **settings).double()  # type: ignore[arg-type]
    return model, MixDVAEGuide(model, guide).double()


def known(data: Data, paths: Tensor, **settings: float | None) -> MixDVAE:
    """The model of clips whose paths and phi are known."""
    return MixDVAE(Known(paths), phi_strength=None, **settings).double()  # type: ignore[arg-type]


def brute_force(data: Data, paths: Tensor, phi: float, clutter: float) -> Tensor:
    """log p(o | s), (B,): the sum over each and every w, sequence by sequence."""
    boxes = place(paths, data["origin"], data["unit"])
    sources, result = boxes.shape[1], []
    for b, mask in enumerate(data["mask"]):
        uniform = Uniform(*data["region"][b]).log_prob(data["region"][b].mean(0)).sum()
        spots = mask.nonzero().tolist()
        each = []
        for w in itertools.product(range(sources + (clutter > 0)), repeat=len(spots)):
            total = torch.zeros(()).double()
            for n, (t, k) in zip(w, spots, strict=True):
                if n == sources:
                    total = total + math.log(clutter) + uniform
                    continue
                distribution = Normal(boxes[b, n, t], math.sqrt(phi) * data["size"][b, t, k])
                log_prob = distribution.log_prob(data["o"][b, t, k]).sum()
                total = total + math.log((1 - clutter) / sources) + log_prob
            each.append(total)
        result.append(torch.stack(each).logsumexp(0))
    return torch.stack(result)


def tiny(clutter: float = 0.1, phi: float = 0.3) -> tuple[Data, Tensor]:
    """Two sources so near each other, and so noisy, that any detection may be of either."""
    data = frames(batch=2, length=2, places=2)
    data["mask"] = torch.tensor([[[True, True], [True, False]], [[True, True], [True, True]]])
    data["o"] = torch.randn(2, 2, 2, 4).double()
    return data, torch.randn(2, 2, 2, 4).double()


@pytest.mark.parametrize("prior", ["linear", "srnn", "deepar", "own"])
def test_any_prior_can_be_plugged_in(prior: str) -> None:
    model, guide = pair(prior)
    data = generate(model).data
    rows = {row.name: row for row in check(model, guide, **data).sites}
    latent = ["phi", "z", "s"] if prior in ("linear", "srnn") else ["phi", "s"]
    assert list(rows) == [*latent, "w", "o"]
    assert rows["w"].kind == "enumerated" and rows["o"].kind == "observed"
    assert tuple(rows["s"].plates) == ("sequence", "source")
    assert tuple(rows["s"].batch_shape) == (2, 1, 2) and tuple(rows["s"].event_shape) == (5, 4)
    assert tuple(rows["w"].plates) == ("sequence", "frame", "detection")


@pytest.mark.parametrize("clutter", [0.1, 0.0])
def test_the_sum_over_w_is_exact(clutter: float) -> None:
    data, paths = tiny()
    model = known(data, paths, clutter_weight=clutter, phi=0.3)
    bound = ENUM.bound(model, Nothing(), (), data)
    expected = brute_force(data, paths, 0.3, clutter)
    assert bound.shape == (2,)
    assert torch.allclose(bound, expected, atol=1e-9)


def test_so_is_its_gradient() -> None:
    data, paths = tiny()
    model = known(data, paths, phi=0.3)
    prior = model.prior
    loss = ENUM.loss(model, Nothing(), (), data, step=0)
    [gradient] = torch.autograd.grad(loss, [prior.paths])  # type: ignore[list-item]
    given = paths.clone().requires_grad_()
    [expected] = torch.autograd.grad(-brute_force(data, given, 0.3, 0.1).mean(), [given])
    assert torch.allclose(gradient, expected, atol=1e-9) and expected.abs().min() > 0


@pytest.mark.parametrize("clutter", [0.1, 0.0])
def test_vem_and_the_model_agree_on_w(clutter: float) -> None:
    """At paths without doubt, E-W is the exact posterior of w, and its fit the exact evidence."""
    data, paths = tiny()
    model = known(data, paths, clutter_weight=clutter, phi=0.3)
    boxes = place(paths, data["origin"], data["unit"])
    phi = torch.full((2,), 0.3).double()
    eta, fit = responsibilities(mixture(model, data), boxes, 0 * boxes, phi)
    probs = enumerated(model, Nothing(), **data)["w"].probs
    assert probs.shape == (2, 2, 2, 2 + (clutter > 0))
    assert torch.allclose(eta[data["mask"]], probs[data["mask"]], atol=1e-9)
    assert torch.allclose(fit, ENUM.bound(model, Nothing(), (), data), atol=1e-9)


def test_a_guide_that_is_nearly_sure_agrees_with_vem_too() -> None:
    model, guide = pair(phi=0.05)
    data = generate(model).data
    guide.refined(2, 2, 5)["log_scale"].data -= 12.0  # standard deviations of e^-12
    mean, scale = guide.moments(
        *(data[n] for n in ("o", "mask", "size", "origin", "unit", "start"))
    )
    boxes = place(mean, data["origin"], data["unit"])
    eta, _ = responsibilities(mixture(model, data), boxes, 0 * boxes, guide.phi(data["size"]))
    probs = enumerated(model, guide, **data)["w"].probs
    assert scale.max() < 1e-4
    assert torch.allclose(eta[data["mask"]], probs[data["mask"]], atol=1e-3)


def test_the_prior_of_phi_is_that_of_vem() -> None:
    from inference.vem import _log_prior

    model, _ = pair(phi=0.002, phi_strength=12.0)
    data = generate(model).data
    phi = torch.tensor([0.001, 0.003]).double()
    sites = poutine.trace(poutine.condition(model, {"phi": phi[:, None, None]})).get_trace(**data)
    sites.compute_log_prob()
    log_prob = sites.nodes["phi"]["log_prob"].squeeze()
    assert torch.allclose(log_prob, _log_prior(mixture(model, data), phi))
    assert torch.allclose(log_prob, InverseGamma(6.0, 6 * 0.002).log_prob(phi))


@pytest.mark.parametrize("prior", ["linear", "srnn"])
def test_what_is_masked_is_not_read(prior: str) -> None:
    model, guide = pair(prior)
    data = generate(model).data
    gone = ~data["mask"][..., None]
    assert gone.any()
    answers = []
    for fill in (1.0, math.nan):
        data |= {name: data[name].masked_fill(gone, fill) for name in ("o", "size")}
        torch.manual_seed(3)
        loss = ENUM.loss(model, guide, (), data, step=0)
        gradient = torch.autograd.grad(loss, [*model.parameters(), *guide.parameters()])
        answers.append((loss, *gradient))
    for a, b in zip(*answers, strict=True):
        assert torch.isfinite(a).all() and torch.allclose(a, b, rtol=1e-10, atol=1e-10)


def test_the_order_of_detections_means_nothing() -> None:
    model, guide = pair()
    data = generate(model, places=4).data
    order = torch.rand(data["mask"].shape).argsort(-1)
    other = data | {"mask": data["mask"].gather(-1, order)}
    wide = order[..., None].expand_as(data["o"])
    other |= {name: data[name].gather(-2, wide) for name in ("o", "size")}
    assert not torch.equal(data["o"], other["o"])
    bounds, w = [], []
    for one in (data, other):
        torch.manual_seed(3)
        bounds.append(ENUM.bound(model, guide, (), one))
        w.append(enumerated(model, guide, **one)["w"].probs)
    assert torch.allclose(*bounds, atol=1e-9)
    reordered = w[0].gather(-2, order[..., None].expand_as(w[0]))
    assert torch.allclose(reordered, w[1], atol=1e-9)


@pytest.mark.parametrize(("places", "sources"), [(1, 4), (5, 1), (3, 3)])
def test_as_many_detections_as_there_are(places: int, sources: int) -> None:
    model, guide = pair()
    data = generate(model, places=places, sources=sources).data
    assert data["o"].shape == (2, 5, places, 4)
    check(model, guide, **data)
    assert torch.isfinite(ENUM.bound(model, guide, (), data)).all()


def test_a_frame_without_detections_changes_nothing() -> None:
    """Two clips that differ in an empty frame's places only have the same bound."""
    model, guide = pair()
    data = generate(model).data
    data["mask"][:, 2] = False
    moved = data | {"o": data["o"].clone()}
    moved["o"][:, 2] += 100.0
    bounds = []
    for one in (data, moved):
        torch.manual_seed(0)
        bounds.append(ENUM.bound(model, guide, (), one))
    assert torch.equal(*bounds)


def test_without_clutter_there_is_no_such_class() -> None:
    model, guide = pair(clutter_weight=0.0)
    clip = generate(model, places=5)
    assert set(clip.w.unique().tolist()) == {0, 1}
    assert enumerated(model, guide, **clip.data)["w"].probs.shape[-1] == 2


def test_phi_may_be_fixed() -> None:
    model, guide = pair(phi_strength=None)
    data = generate(model).data
    assert "phi" not in {row.name for row in check(model, guide, **data).sites}
    model, guide = pair()
    assert "phi" in {row.name for row in check(model, guide, **data).sites}


def test_simulated_detections_are_near_their_source() -> None:
    """Standardised errors of 4 dims of some 600 detections are N(0, 1), to 5 standard errors."""
    model, _ = pair(phi=0.05, phi_strength=None)
    clip = generate(model, batch=20, length=10, places=4)
    assert clip.boxes.shape == (20, 2, 10, 4) and clip.w.shape == (20, 10, 4)
    boxes = clip.boxes.transpose(1, 2).gather(
        2, clip.w.clamp(max=1)[..., None].expand(*clip.w.shape, 4)
    )
    error = (clip.data["o"] - boxes) / (math.sqrt(0.05) * clip.data["size"])
    mine = clip.data["mask"] & (clip.w < 2)
    error = error[mine].flatten()
    assert error.mean().abs() < 5 / math.sqrt(len(error))
    assert (error.var() - 1).abs() < 5 * math.sqrt(2 / len(error))
    clutter = clip.data["o"][clip.data["mask"] & (clip.w == 2)]
    assert len(clutter) and (clutter >= -5).all() and (clutter <= 9).all()
    share = (clip.w[clip.data["mask"]] == 2).double().mean()
    count = int(clip.data["mask"].sum())
    assert (share - 0.1).abs() < 5 * math.sqrt(0.09 / count)
    assert clutter.std() > 3  # uniform on 14: 4.04


def test_float32_is_kept() -> None:
    model, guide = pair()
    data = {
        name: x.float() if x.is_floating_point() else x for name, x in generate(model).data.items()
    }
    bound = ENUM.bound(model.float(), guide.float(), (), data)
    assert bound.dtype == torch.float32 and torch.isfinite(bound).all()


def test_draws_are_made_all_at_once() -> None:
    """Draws from the guide's own distributions: means to 5 standard errors."""
    model, guide = pair("deepar", phi=0.05)
    data = generate(model).data
    sampler = Sampler(model, guide, (), data)
    assert sampler.vectorised, sampler.reason
    draws = 200
    idata = posterior(
        model, guide, **data, num_samples=draws, predictive=False, log_likelihood=False
    )
    s = torch.as_tensor(idata.posterior["s"].to_numpy()[0])
    assert tuple(idata.posterior["s"].dims[2:4]) == ("sequence", "source")
    mean, scale = guide.moments(
        *(data[n] for n in ("o", "mask", "size", "origin", "unit", "start"))
    )
    off = (s.mean(0) - mean) / scale * math.sqrt(draws)
    assert off.abs().max() < 5
    w = torch.as_tensor(idata.posterior["w"].to_numpy()[0])
    often = torch.stack([(w == k).double().mean(0) for k in range(3)], -1)
    many = {name: x.repeat(1000, *[1] * (x.dim() - 1)) for name, x in data.items()}
    paths = Normal(mean, scale).sample((1000,)).flatten(0, 1)
    boxes = place(paths, many["origin"], many["unit"])
    eta, _ = responsibilities(mixture(model, many), boxes, 0 * boxes, guide.phi(many["size"]))
    expected = eta.unflatten(0, (1000, 2)).mean(0)
    expected[~data["mask"]] = torch.tensor([0.45, 0.45, 0.1]).double()  # the prior's
    assert (often - expected).abs().max() < 5 * math.sqrt(0.25 / draws)


@pytest.mark.parametrize("weight", [-0.1, 1.0, 1.5, math.nan])
def test_a_share_of_clutter_out_of_range_is_an_error(weight: float) -> None:
    with pytest.raises(InputError, match="0 <= weight < 1"):
        MixDVAE(White(), clutter_weight=weight)


def test_the_distribution_of_detections_can_be_expanded() -> None:
    w = torch.tensor([[[0, 1, 2]]])
    boxes, scale = torch.randn(1, 2, 1, 4), 0.1 * torch.ones(1, 1, 3, 4)
    region = torch.tensor([[[-1.0] * 4, [1.0] * 4]])
    distribution = Detection(w, boxes, scale, region)
    wide = distribution.expand((5, 1, 1, 3))
    value = torch.randn(1, 1, 3, 4)
    assert wide.batch_shape == (5, 1, 1, 3) and wide.event_shape == (4,)
    assert torch.equal(wide.log_prob(value), distribution.log_prob(value).expand(5, 1, 1, 3))
    assert wide.sample().shape == (5, 1, 1, 3, 4) and distribution.sample((7,)).shape == (
        7,
        1,
        1,
        3,
        4,
    )
    expected = Normal(boxes[0, :, 0], 0.1).log_prob(value[0, 0, :2]).sum(-1)
    assert torch.allclose(distribution.log_prob(value)[0, 0, :2], expected)
    assert distribution.log_prob(value)[0, 0, 2].item() == pytest.approx(-4 * math.log(2))


def padded_data(data: Data, extra: int) -> Data:
    """The same clips with frames that do not exist, and nonsense in them."""
    wild = {"o": math.nan, "mask": False, "size": math.nan, "start": 50.0}
    longer = dict(data)
    for name, value in wild.items():
        dim = 2 if name == "start" else 1
        rest = torch.full_like(data[name].narrow(dim, 0, 1), value)
        longer[name] = torch.cat([data[name], *[rest] * extra], dim)
    batch, length = data["mask"].shape[:2]
    return longer | {"exists": (torch.arange(length + extra) < length).expand(batch, -1)}


@pytest.mark.parametrize("prior", ["linear", "srnn", "deepar"])
def test_frames_that_do_not_exist_cost_nothing(prior: str) -> None:
    """Sites of paths and latents have the densities of the clip that is cut, in model and guide."""
    model, guide = pair(prior)
    torch.nn.init.normal_(guide.head.weight)
    data = generate(model, batch=2, length=5).data
    longer = padded_data(data, 3)
    found = []
    for some in (longer, data):
        guided = poutine.trace(guide).get_trace(**some)
        for name in ("s", "z") if found and prior != "deepar" else ("s",) if found else ():
            guided.nodes[name]["value"] = found[0][0].nodes[name]["value"][..., :5, :]
        guided = poutine.trace(poutine.replay(guide, guided)).get_trace(**some)
        scored = poutine.trace(poutine.replay(model, guided)).get_trace(**some)
        guided.compute_log_prob()
        scored.compute_log_prob()
        found.append((guided, scored))
    for long, cut in zip(*found, strict=True):
        for name in ("phi", "s", *(() if prior == "deepar" else ("z",))):
            values = (x.nodes[name]["log_prob"] for x in (long, cut))
            assert torch.allclose(*values), name


def test_a_trained_guide_reads_from_the_last_frame_that_exists() -> None:
    """One clip of two is padded: its moments are those of it alone."""
    model, guide = pair("linear")
    torch.nn.init.normal_(guide.head.weight)
    data = generate(model, batch=2, length=6).data
    exists = torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
    data["mask"] = data["mask"] & exists[..., None]
    given = ("o", "mask", "size", "origin", "unit", "start")
    both = guide.moments(*(data[name] for name in given), exists)
    cut = {k: v[1:] if k in ("origin", "unit") else v[1:, :4] for k, v in data.items()}
    alone = guide.moments(*({**cut, "start": data["start"][1:, :, :4]}[name] for name in given))
    for whole, part in zip(both, alone, strict=True):
        assert torch.allclose(whole[1:, :, :4], part)


def test_a_prior_without_a_mask_says_so_where_frames_are_padded() -> None:
    model, guide = pair("white")
    data = generate(model, batch=2, length=5).data
    with pytest.raises(InputError, match="(?s)exists: saw padded frames, and path.*mask=None"):
        ENUM.bound(model, guide, (), padded_data(data, 1))
    everything = torch.ones(2, 5, dtype=torch.bool)
    assert torch.isfinite(ENUM.bound(model, guide, (), data | {"exists": everything})).all()
