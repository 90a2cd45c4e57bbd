from __future__ import annotations

import math
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.distributions import constraints
from torch import Tensor
from torch.distributions import kl_divergence

from inference.errors import PairError
from inference.objectives.kl import divergence, divergence_parts
from inference.tracing import to_plate
from inference.tracing.handlers import Sites
from ppl_models.distributions.sequences import AutoregressiveNormal


def normal(*shape: int) -> dist.Normal:
    return dist.Normal(torch.randn(*shape).double(), torch.rand(*shape).double() + 0.5)


def sequence(mask: Tensor | None = None) -> AutoregressiveNormal:
    """x_t ~ N(a x_{t-1}, s): a path of 4 frames of 3 numbers."""
    slope, scale = torch.randn(3).double(), torch.rand(3).double() + 0.5

    def moments(x: Tensor) -> tuple[Tensor, Tensor]:
        past = torch.cat([torch.zeros_like(x[..., :1, :]), x[..., :-1, :]], -2)
        return slope * past, scale.expand_as(x)

    def draw(shape: torch.Size) -> Tensor:
        return torch.randn(*shape, 4, 3).double()

    return AutoregressiveNormal(moments, draw, (4, 3), batch_shape=(5,), mask=mask)


class Framed(dist.TorchDistribution):
    """A sequence that says of itself only what each frame scores."""

    arg_constraints: dict[str, Any] = {}
    support = constraints.independent(constraints.real, 2)

    def __init__(self, inner: AutoregressiveNormal) -> None:
        self.inner = inner
        super().__init__(inner.batch_shape, inner.event_shape, validate_args=False)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.inner.rsample(sample_shape)

    def score_frames(self, value: Tensor) -> Tensor:
        return self.inner.score_frames(value)

    def log_prob(self, value: Tensor) -> Tensor:
        return self.inner.log_prob(value)


def drawn(q: Any, p: Any, *plates: int) -> tuple[Any, Any]:
    """The site z of a guide and of a model, in the plate data (5 rows) and others within it."""

    def run(fn: Any) -> None:
        with pyro.plate("data", 5, dim=-1 - len(plates)):
            if plates:
                with pyro.plate("frames", *plates, dim=-1):
                    pyro.sample("z", fn)
            else:
                pyro.sample("z", fn)

    with Sites() as guide:
        run(q)
    with Sites(guide.sites) as model:
        run(p)
    return guide.sites["z"], model.sites["z"]


MASK = torch.arange(4) < torch.tensor([[4], [3], [2], [1], [0]])
CASES: dict[str, Any] = {
    "number": lambda: (normal(5), normal(5), ()),
    "vector": lambda: (normal(5, 3).to_event(1), normal(3).to_event(1), ()),
    "matrix": lambda: (normal(5, 4, 3).to_event(2), normal(4, 3).to_event(2), ()),
    "plates": lambda: (normal(5, 4, 3).to_event(1), normal(3).to_event(1), (4,)),
    "wide prior": lambda: (normal(5, 3).to_event(1), normal(1).expand([3]).to_event(1), ()),
    "masked": lambda: (
        normal(5, 4, 3).mask(MASK[..., None]).to_event(2),
        normal(4, 3).expand([5, 4, 3]).mask(MASK[..., None]).to_event(2),
        (),
    ),
    "masked rows": lambda: (
        normal(5, 3).to_event(1).mask(MASK[:, 0]),
        normal(5, 3).to_event(1).mask(MASK[:, 0]),
        (),
    ),
    "no closed form": lambda: (
        normal(5, 3).to_event(1),
        dist.StudentT(torch.full((3,), 4.0).double()).to_event(1),
        (),
    ),
    "positive": lambda: (
        dist.LogNormal(torch.randn(5, 3).double(), 0.5).to_event(1),
        dist.LogNormal(torch.zeros(3).double(), 1.0).to_event(1),
        (),
    ),
    "sequence": lambda: (sequence(), sequence(), ()),
    "masked sequence": lambda: (sequence(MASK), sequence(MASK), ()),
    "frames": lambda: (Framed(sequence()), Framed(sequence()), ()),
    "joint": lambda: (
        normal(5, 3).to_event(1),
        dist.MultivariateNormal(torch.zeros(3).double(), 2 * torch.eye(3).double()),
        (),
    ),
}
STEPS = {"number": 1, "vector": 1, "plates": 4, "joint": 1, "masked rows": 1, "wide prior": 1}
STEPS |= {"no closed form": 1, "positive": 1}


@pytest.mark.parametrize("closed_form", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_parts_add_up_to_the_whole(name: str, closed_form: bool) -> None:
    q, p = drawn(*CASES[name]()[:2], *CASES[name]()[2])
    whole = to_plate(divergence(q, p, closed_form, "data"), q, "data")
    parts = divergence_parts(q, p, closed_form)
    total = parts.per("total", q, "data")[0]
    torch.testing.assert_close(total[:, 0], whole, rtol=1e-12, atol=1e-12)
    steps = parts.per("step", q, "data")[0]
    assert steps.shape == (5, STEPS.get(name, 4))
    torch.testing.assert_close(steps.sum(1), whole, rtol=1e-12, atol=1e-12)
    if name in ("joint", "frames"):
        with pytest.raises(PairError, match='per="total"'):
            parts.per("element", q, "data")
    else:
        elements = parts.per("element", q, "data")[0]
        assert elements.shape[1] == math.prod(q["value"].shape[1:])
        torch.testing.assert_close(elements.sum(1), whole, rtol=1e-12, atol=1e-12)


def test_elements_are_those_of_the_formula() -> None:
    q, p = normal(5, 3), normal(3)
    site = drawn(q.to_event(1), p.to_event(1))
    values, weights = divergence_parts(*site, True).per("element", site[0], "data")
    by_hand = (p.scale / q.scale).log() + (q.scale**2 + (q.loc - p.loc) ** 2) / (2 * p.scale**2)
    torch.testing.assert_close(values, by_hand - 0.5, rtol=1e-12, atol=1e-12)
    assert torch.equal(weights, torch.ones(5, 3).double())


@pytest.mark.parametrize("name", ["vector", "matrix", "masked", "positive"])
def test_closed_form_and_draws_agree(name: str) -> None:
    q, p, _ = CASES[name]()
    closed = divergence_parts(*drawn(q, p), True).values
    draws = torch.stack([divergence_parts(*drawn(q, p), False).values for _ in range(400)])
    error = draws.std(0) / math.sqrt(len(draws))
    # four standard errors in each of at most 60 elements: one in 260 sets of draws would fail
    assert bool(((draws.mean(0) - closed).abs() <= 4 * error + 1e-12).all())


def test_a_sequence_keeps_its_inner_closed_form() -> None:
    q, p = drawn(sequence(), sequence())
    inner = kl_divergence(q["fn"], p["fn"])  # of the conditionals, at the path last drawn
    parts = divergence_parts(q, p, True).per("total", q, "data")[0]
    torch.testing.assert_close(parts[:, 0], inner, rtol=1e-12, atol=1e-12)


def test_weights_say_what_exists_and_how_much_it_counts() -> None:
    with pyro.poutine.scale(scale=0.5):
        q, p = drawn(*CASES["masked"]()[:2])
    parts = divergence_parts(q, p, True)
    steps = parts.per("step", q, "data")[1]
    assert torch.equal(steps, 0.5 * MASK.double())
    total = parts.per("total", q, "data")[1]
    assert torch.equal(total[:, 0], 0.5 * MASK.any(1).double())
    assert bool((parts.per("step", q, "data")[0][~MASK] == 0).all())
    q, p = drawn(*CASES["masked sequence"]()[:2])
    assert torch.equal(divergence_parts(q, p, True).per("step", q, "data")[1], MASK.double())


def test_a_site_outside_the_plate_is_one_row() -> None:
    with Sites() as guide:
        pyro.sample("z", normal(3).to_event(1))
    site = guide.sites["z"]
    values, weights = divergence_parts(site, site, True).per("element", site, "data")
    assert values.shape == weights.shape == (1, 3)
