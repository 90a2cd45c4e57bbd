from __future__ import annotations

import pytest
import torch
from pyro import poutine

from inference.errors import PairError
from inference.tracing.pointwise import pointwise
from inference.tracing.sampler import Sampler
from inference.tracing.sum_product import expected_factors, log_joint, log_weights
from tests.inference.diagnostics.odd_pairs import (
    LocalGuide,
    LoopedTracks,
    SharedSwitch,
    Tracks,
    TracksGuide,
    TwoViews,
    TwoViewsGuide,
)
from tests.pairs import NoLatents, TwoComponents

DETECTIONS = torch.tensor(
    [[[0.1, -1.2], [0.7, 2.0], [-0.4, 0.3]], [[1.0, 1.1], [0.0, -2.0], [0.2, 0.2]]]
)
X, Y = torch.tensor([0.5, -3.0, 2.5, 0.0]), torch.tensor([1.0, -1.0, 2.0, 0.0])


def summed_draws(model, guide, *data, draws=4, vectorised=None):
    with torch.no_grad():
        sampler = Sampler(model, guide, data, {}, vectorised=vectorised)
        return sampler, sampler.traces(draws if sampler.vectorised else None, "summed")


@pytest.mark.parametrize(("model_class", "vectorised"), [(Tracks, True), (LoopedTracks, False)])
def test_sums_over_assignments_match_brute_force(model_class, vectorised):
    sampler, traces = summed_draws(model_class(), TracksGuide(), DETECTIONS)
    assert sampler.vectorised == vectorised
    total = log_joint(traces.terms(sampler.plate))
    s = traces.value("s")
    brute = torch.stack([Tracks().joint(DETECTIONS, one) for one in s])
    assert total.shape == (traces.size, 2) and total.dtype == torch.double
    assert torch.allclose(total, brute.double(), atol=1e-4)
    assert torch.allclose(log_joint(traces.terms(None)), brute.double().sum(1), atol=1e-4)


def test_one_datum_and_one_draw_keep_their_shape():
    sampler, traces = summed_draws(
        Tracks(), TracksGuide(), DETECTIONS[:1], draws=1, vectorised=True
    )
    total = log_joint(traces.terms(sampler.plate))
    assert total.shape == (1, 1)
    assert torch.allclose(
        total[0], Tracks().joint(DETECTIONS[:1], traces.value("s")[0]).double(), atol=1e-4
    )


def test_a_pair_without_a_latent_in_the_guide_gives_the_evidence():
    sampler, traces = summed_draws(TwoComponents(), NoLatents(), X)
    weights = log_weights(traces.terms(sampler.plate))
    assert torch.allclose(weights, TwoComponents().evidence(X).double().expand(4, -1), atol=1e-6)


def test_expectations_are_under_the_exact_posterior():
    model = TwoViews()
    sampler, traces = summed_draws(model, TwoViewsGuide(), X, Y)
    table = traces.terms(sampler.plate)
    assert set(table.dense) == {"y"} and set(table.summed) == {"w", "z", "x"}
    total, expected = expected_factors(table, table.summed)
    terms = model.terms(X, Y, traces.value("z"))
    joint = terms["w"] + terms["z"] + terms["x"]
    assert torch.allclose(total, joint.logsumexp(0).double(), atol=1e-5)
    for name in table.summed:
        brute = (joint.softmax(0) * terms[name]).sum(0)
        assert torch.allclose(expected[name], brute.double(), atol=1e-5)


def test_impossible_values_stay_impossible_and_make_no_nan():
    class Hard(TwoComponents):
        def __init__(self):
            super().__init__()
            self.logits.data = torch.tensor([0.0, -torch.inf])

    sampler, traces = summed_draws(Hard(), NoLatents(), X)
    table = traces.terms(sampler.plate)
    total, expected = expected_factors(table, table.summed)
    assert torch.allclose(total[0], Hard().joint(X)[:, 0].double(), atol=1e-6)
    assert torch.allclose(expected["w"], torch.zeros(4, 4).double())

    class Never(TwoComponents):
        def __init__(self):
            super().__init__()
            self.logits.data = torch.zeros(2)

        def forward(self, x):
            with poutine.mask(mask=True):
                super().forward(x)

    model = Never()
    model.loc.data = torch.tensor([1e30, 1e30])
    _, traces = summed_draws(model, NoLatents(), X)
    assert (log_joint(traces.terms(None)) == -torch.inf).all()


def test_pointwise_sums_leave_out_the_other_data():
    model = TwoViews()
    _, traces = summed_draws(model, TwoViewsGuide(), X, Y)
    terms = model.terms(X, Y, traces.value("z"))
    with_x = (terms["w"] + terms["z"] + terms["x"]).logsumexp(0)
    without = (terms["w"] + terms["z"]).logsumexp(0)
    found = pointwise(traces.terms(None), "x", ["x", "y"])
    assert torch.allclose(found, (with_x - without).double(), atol=1e-5)
    assert torch.allclose(pointwise(traces.terms(None), "y", ["x", "y"]), terms["y"][0], atol=1e-5)


def test_pointwise_sums_in_nested_plates():
    _, traces = summed_draws(Tracks(), TracksGuide(), DETECTIONS)
    found = pointwise(traces.terms(None), "o", ["o"])
    assert found.shape == (4, 2, 3, 2)
    s = traces.value("s")
    prior = torch.distributions.Normal(torch.linspace(-1, 1, 2).reshape(-1, 1), 1.0)
    brute = Tracks().joint(DETECTIONS, s[0]) - prior.log_prob(s[0]).sum((1, 2))
    assert torch.allclose(found[0].sum((1, 2)), brute.double(), atol=1e-4)


def test_a_shared_switch_has_no_pointwise_sum_and_no_weight_a_datum():
    sampler, traces = summed_draws(SharedSwitch(), LocalGuide(), X)
    with pytest.raises(PairError) as caught:
        log_joint(traces.terms(sampler.plate))
    assert caught.value.site == "c"
    scales = torch.tensor([1.0, 2.0]).reshape(2, 1, 1)
    z = traces.value("z")
    prior = torch.distributions.Normal(0.0, scales).log_prob(z).sum(-1)
    brute = (prior + torch.tensor([0.4, 0.6]).log().reshape(2, 1)).logsumexp(0)
    brute = brute + torch.distributions.Normal(z, 0.5).log_prob(X).sum(-1)
    assert torch.allclose(log_joint(traces.terms(None)), brute.double(), atol=1e-5)


def test_a_site_that_depends_on_a_shared_switch_is_conditioned_on_it():
    class Direct(SharedSwitch):
        def forward(self, x):
            import pyro
            import pyro.distributions as dist

            c = pyro.sample("c", dist.Bernoulli(0.5), infer={"enumerate": "parallel"})
            with pyro.plate("data", len(x), dim=-1):
                pyro.sample("x", dist.Normal(c, 0.5), obs=x)

    _, traces = summed_draws(Direct(), NoLatents(), X)
    assert pointwise(traces.terms(None), "x", ["x"]) is None
