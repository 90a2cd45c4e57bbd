"""What x may be given its code: masses and densities by hand, odd data, and how encoders read."""

from __future__ import annotations

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

from ppl_models.errors import InputError
from ppl_models.likelihoods.basic import Bernoulli, Gaussian, Laplace, Likelihood, named
from ppl_models.likelihoods.discrete import Categorical, DiscretizedLogistic

ALL = [
    lambda: Bernoulli(3),
    lambda: Gaussian(3),
    lambda: Gaussian(3, "pixel"),
    lambda: Gaussian(3, "decoded"),
    lambda: Gaussian(3, 0.5),
    lambda: Laplace(3),
    lambda: Categorical(3, 4),
    lambda: DiscretizedLogistic(3, 16),
]
NAMES = "bernoulli shared pixel decoded fixed laplace categorical levels".split()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("make", ALL, ids=NAMES)
def test_shapes_and_dtypes(make, dtype: torch.dtype) -> None:
    part: Likelihood = make().to(dtype)
    raw = torch.randn(5, 2, part.raw_dim, dtype=dtype, requires_grad=True)
    distribution = part(raw)
    assert distribution.batch_shape == (5, 2) and distribution.event_shape == (3,)
    x = distribution.sample()
    part.check(x)
    features, point = part.features(x), part.point(raw)
    assert features.shape == (5, 2, part.feature_dim) and features.dtype == dtype
    assert point.shape == (5, 2, 3)
    log_prob = distribution.log_prob(x)
    assert log_prob.shape == (5, 2) and log_prob.dtype == dtype and log_prob.isfinite().all()
    log_prob.sum().backward()
    assert raw.grad is not None and raw.grad.isfinite().all()


@pytest.mark.parametrize("make", ALL, ids=NAMES)
def test_a_decoder_of_another_size_is_named(make) -> None:
    part = make()
    with pytest.raises(InputError, match=f"expected: {part.raw_dim}"):
        part(torch.zeros(5, part.raw_dim + 1))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float32])
def test_classes_and_levels_come_in_any_dtype(dtype: torch.dtype) -> None:
    x = torch.tensor([[0, 3, 1], [2, 2, 0]], dtype=dtype)
    for part in (Categorical(3, 4), DiscretizedLogistic(3, 4)):
        raw = torch.randn(2, part.raw_dim)
        part.check(x)
        assert torch.equal(part(raw).log_prob(x), part(raw).log_prob(x.long()))
        assert torch.equal(part.features(x), part.features(x.long()))
    assert DiscretizedLogistic(3, 4).features(x)[0].tolist() == pytest.approx([-1, 1, -1 / 3])
    assert Categorical(3, 4).features(x)[1].reshape(3, 4).argmax(-1).tolist() == [2, 2, 0]


# --- levels ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("log_scale", [-30.0, -6.0, -2.0, 0.0, 3.0])
@pytest.mark.parametrize("loc", [-1.5, -1.0, 0.0, 0.013, 1.0, 40.0])
def test_masses_of_levels_sum_to_one(loc: float, log_scale: float) -> None:
    part = DiscretizedLogistic(1, 256)
    raw = torch.tensor([loc, log_scale], dtype=torch.float64)
    levels = torch.arange(256)[:, None]
    assert part(raw).log_prob(levels).exp().sum().item() == pytest.approx(1, abs=1e-6)
    masses = part(raw.float()).log_prob(levels)
    assert masses.isfinite().all() and masses.exp().sum().item() == pytest.approx(1, abs=1e-4)


def test_the_mass_of_a_level_is_a_difference_of_the_cdf() -> None:
    loc, scale, n = 0.2, 0.1, 8
    grid = torch.arange(n, dtype=torch.float64)
    edges = (2 * grid[:-1] + 1) / (n - 1) - 1
    cdf = torch.cat([torch.zeros(1), torch.sigmoid((edges - loc) / scale), torch.ones(1)])
    raw = torch.tensor([loc, math.log(scale)], dtype=torch.float64)
    masses = DiscretizedLogistic(1, n)(raw).log_prob(grid[:, None]).exp()
    # the floor, 1e-3 of half a level, is 1.4e-3 of this scale
    assert torch.allclose(masses, cdf.diff(), atol=1e-3)


def test_simulated_levels_have_those_masses() -> None:
    raw = torch.tensor([0.7, -1.0])
    distribution = DiscretizedLogistic(1, 6)(raw)
    x = distribution.sample((20_000,)).long()
    share = torch.bincount(x.flatten(), minlength=6) / len(x)
    mass = distribution.log_prob(torch.arange(6)[:, None]).exp()
    assert (share - mass).abs().max() < 4 * math.sqrt(0.25 / 20_000)


@pytest.mark.parametrize("raw", [[-0.3, -3.0], [0.9, 0.0], [-0.1, 2.0], [5.0, -1.0]])
def test_the_point_is_the_most_probable_level(raw: list[float]) -> None:
    part, raw_ = DiscretizedLogistic(1, 16), torch.tensor(raw)
    best = part(raw_).log_prob(torch.arange(16)[:, None]).argmax()
    assert part.point(raw_).item() == best


# --- the scale of real numbers --------------------------------------------------------------------


@pytest.mark.parametrize("scale", ["shared", "pixel", "decoded"])
def test_a_pixel_that_never_changes_has_a_finite_density(scale: str) -> None:
    part = Gaussian(3, scale, floor=0.01)
    raw = torch.zeros(3)
    if scale == "decoded":
        raw = torch.cat([raw, torch.full((3,), -200.0)])
    else:
        with torch.no_grad():
            part.log_scale.fill_(-200)
    raw.requires_grad_()
    log_prob = part(raw).log_prob(torch.zeros(3))
    assert log_prob.item() == pytest.approx(3 * dist.Normal(0.0, 0.01).log_prob(torch.zeros(())))
    log_prob.backward()
    assert raw.grad is not None and raw.grad.isfinite().all()


def test_an_infinite_decoded_scale_is_no_density() -> None:
    raw = torch.tensor([0.0, 200.0])
    assert Gaussian(1, "decoded")(raw).log_prob(torch.zeros(1)) == -math.inf


def test_pixels_have_scales_of_their_own() -> None:
    part = Gaussian(2, "pixel")
    with torch.no_grad():
        part.log_scale.copy_(torch.tensor([0.0, 1.0]))
    distribution, x = part(torch.zeros(2)), torch.tensor([0.3, -2.0])
    by_hand = dist.Normal(0.0, torch.tensor([1.0, math.e])).log_prob(x).sum()
    assert torch.allclose(distribution.log_prob(x), by_hand, atol=1e-5)


@pytest.mark.parametrize("scale", ["sharde", 0.0, -1.0, math.nan])
def test_a_wrong_scale_is_named(scale: object) -> None:
    with pytest.raises(InputError, match="scale"):
        Gaussian(3, scale)  # type: ignore[arg-type]


@pytest.mark.parametrize("floor", [0.0, -1.0])
def test_a_floor_is_positive(floor: float) -> None:
    with pytest.raises(InputError, match="floor"):
        Gaussian(3, floor=floor)


# --- what x may be --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        (Bernoulli(2), 0.5, "bits"),
        (Bernoulli(2, grey=True), 1.5, "grey"),
        (Bernoulli(2, grey=True), math.nan, "grey"),
        (Categorical(2, 3), 3.0, "classes"),
        (Categorical(2, 3), 0.5, "not all whole"),
        (DiscretizedLogistic(2, 3), -1.0, "levels"),
        (DiscretizedLogistic(2, 3), math.nan, "levels"),
    ],
)
def test_what_x_cannot_be_is_named(part: Likelihood, value: float, message: str) -> None:
    x = torch.zeros(4, 2)
    part.check(x)
    x[1, 1] = value
    with pytest.raises(InputError, match=message):
        part.check(x)
    with pyro.validation_enabled(False):
        part.check(x)


def test_bits_are_floats() -> None:
    with pytest.raises(InputError, match=r"x.float\(\)"):
        Bernoulli(2).check(torch.zeros(4, 2, dtype=torch.bool))


def test_grey_values_are_scored_by_cross_entropy() -> None:
    logit, x = torch.tensor([0.4]), torch.tensor([0.3])
    p = logit.sigmoid()
    by_hand = (x * p.log() + (1 - x) * (1 - p).log()).sum()
    assert torch.allclose(Bernoulli(1, grey=True)(logit).log_prob(x), by_hand)


def test_names_and_parts_of_the_right_size() -> None:
    part = Categorical(2, 3)
    assert named(part, 2) is part
    assert isinstance(named("bernoulli", 4), Bernoulli)
    assert named("gaussian", 4, 0.5).scale.item() == pytest.approx(0.5)
    with pytest.raises(InputError, match="data_dim 2"):
        named(part, 3)
    with pytest.raises(InputError, match="poisson"):
        named("poisson", 3)
    with pytest.raises(InputError, match="scale"):
        named("bernoulli", 3, 0.5)


def test_too_few_classes_are_named() -> None:
    with pytest.raises(InputError, match="num_classes"):
        Categorical(2, 1)
