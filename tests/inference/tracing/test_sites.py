from __future__ import annotations

from contextlib import nullcontext

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer.reparam import LocScaleReparam

from inference.errors import NonFiniteError, PairError
from inference.tracing.sites import (
    is_deterministic,
    is_observed,
    mask_of,
    nesting_of,
    node,
    place_of,
    refuse_uncovered,
    sample_sites,
    unscaled_log_density,
)
from tests.inference.diagnostics.odd_pairs import Tracks


def traced(fn, *args):
    return poutine.trace(fn).get_trace(*args)


def test_a_layout_drops_the_gaps_and_keeps_the_plates_from_the_outermost_in():
    trace = traced(Tracks(sources=2), torch.randn(3, 4, 5))
    nesting = nesting_of(trace)
    place = place_of(node(trace, "s"), nesting)
    assert nesting == 3
    assert [p.name for p in place.plates] == ["sequence", "source"]
    value = node(trace, "s")["value"]  # (3, 1, 2, 4)
    assert place.value(value, 1).shape == (1, 3, 2, 4)
    assert place.value(value.expand(7, 3, 1, 2, 4), 7).shape == (7, 3, 2, 4)
    assert place.axis("source") == 2 and place.axis("frame") is None


def test_a_layout_keeps_a_plate_of_one_and_a_batch_dim_outside_any_plate():
    def model():
        with pyro.plate("one", 1, dim=-1):
            pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("free", dist.Normal(torch.zeros(3, 1), 1.0))

    trace = traced(model)
    nesting = nesting_of(trace)
    assert place_of(node(trace, "z"), nesting).batch(torch.zeros(1), 1).shape == (1, 1)
    assert place_of(node(trace, "free"), nesting).batch(torch.zeros(3, 1), 1).shape == (1, 3)


def test_subsampling_sites_are_not_listed():
    def model():
        with pyro.plate("data", 10, subsample_size=3):
            pyro.sample("z", dist.Normal(0.0, 1.0))

    assert list(sample_sites(traced(model))) == ["z"]


def test_a_distribution_s_density_is_masked_but_never_scaled():
    def model():
        with poutine.scale(scale=7.0), poutine.mask(mask=torch.tensor([True, False])):
            pyro.sample("x", dist.Normal(torch.zeros(2), 1.0), obs=torch.zeros(2))

    value = unscaled_log_density(node(traced(model), "x"))
    assert torch.allclose(value, torch.tensor([-0.9189385, 0.0]))


@pytest.mark.parametrize("loc", [float("nan")])
def test_a_nan_density_names_its_site(loc):
    def model():
        fn = dist.Normal(torch.tensor(loc), 1.0, validate_args=False)
        pyro.sample("x", fn, obs=torch.tensor(0.0))

    with pytest.raises(NonFiniteError) as caught:
        unscaled_log_density(node(traced(model), "x"))
    assert caught.value.site == "x"


def test_masks_are_found_wherever_they_are():
    mask = torch.tensor([[True, False, True]])
    base = dist.Normal(torch.zeros(2, 3, 4), 1.0).to_event(1)

    def model(fn, handler_mask):
        with poutine.mask(mask=handler_mask):
            pyro.sample("x", fn, obs=torch.zeros(2, 3, 4))

    def found(fn, handler_mask=True):
        mask = mask_of(node(traced(model, fn, handler_mask), "x"))
        return None if mask is None else mask.expand(2, 3, 4)

    wanted = mask.unsqueeze(-1).expand(2, 3, 4)
    assert found(base.to_event(2)) is None
    assert torch.equal(found(base.mask(mask)), wanted)
    assert torch.equal(found(base.mask(mask).to_event(1)), wanted)
    row = torch.tensor([[True], [False]])
    both = found(base.mask(mask), row)
    assert torch.equal(both, wanted & row.unsqueeze(-1))


def test_a_latent_that_nobody_draws_is_refused():
    def model():
        pyro.sample("z", dist.Normal(0.0, 1.0))

    with pytest.raises(PairError) as caught:
        refuse_uncovered(traced(model), poutine.Trace())
    assert caught.value.site == "z"


@pytest.mark.parametrize("plated", [False, True])
def test_what_a_reparametrisation_computes_is_deterministic(plated):
    def model(x):
        with pyro.plate("rows", 3) if plated else nullcontext():
            b = pyro.sample("b", dist.Normal(1.0, 2.0))
        with pyro.plate("data", 3):
            pyro.sample("x", dist.Delta(b + 0.0, torch.zeros(3)), obs=x)

    made = poutine.reparam(model, config={"b": LocScaleReparam(0.0)})
    for outer in (made, pyro.plate("draws", 4, dim=-2)(made)):
        sites = sample_sites(poutine.trace(outer).get_trace(torch.ones(3)))
        assert is_deterministic(sites["b"]) and not is_observed(sites["b"])
        assert is_observed(sites["x"])  # an implicit likelihood is a point mass too


@pytest.mark.parametrize("drawn", [False, True])
def test_a_number_is_put_back_to_where_a_trace_has_it(drawn):
    trace = poutine.trace(lambda: pyro.sample("b", dist.Normal(0.0, 1.0))).get_trace()
    place = place_of(sample_sites(trace)["b"], 0)
    values = torch.arange(4.0) if drawn else torch.ones(1)
    assert place.restore(values, drawn).shape == ((4,) if drawn else ())
