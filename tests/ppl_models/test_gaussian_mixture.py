from __future__ import annotations

import math
from itertools import product

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import TraceEnum_ELBO
from torch import Tensor

from guides.gaussian_mixture import GaussianMixtureGuide
from inference import check, enumerated
from ppl_models.errors import InputError
from ppl_models.gaussian_mixture import GaussianMixture

GLOBALS = ("weights", "locs", "scales")


def example(num_components: int = 3, size: int = 4) -> tuple[GaussianMixture, Tensor, dict]:
    """A mixture, data from it and values of its global sites."""
    torch.manual_seed(5)
    model = GaussianMixture(num_components, 2, loc_scale=2.0)
    trace = poutine.trace(model).get_trace(size=size)
    return model, trace.nodes["x"]["value"], {n: trace.nodes[n]["value"] for n in GLOBALS}


def joint_by_hand(x: Tensor, w: tuple[int, ...], values: dict[str, Tensor]) -> Tensor:
    """Sum over n of log p(w_n) + log p(x_n | w_n), by plain formulas."""
    total = torch.tensor(0.0)
    for datum, k in zip(x, w, strict=True):
        normal = torch.distributions.Normal(values["locs"][k], values["scales"][k])
        total = total + values["weights"][k].log() + normal.log_prob(datum).sum()
    return total


def test_sites_and_shapes() -> None:
    nodes = poutine.trace(GaussianMixture(3, 2)).get_trace(size=7).nodes
    shapes = {name: tuple(nodes[name]["value"].shape) for name in (*GLOBALS, "w", "x")}
    assert shapes == {"weights": (3,), "locs": (3, 2), "scales": (3, 2), "w": (7,), "x": (7, 2)}


def test_the_pair_passes_check() -> None:
    model = GaussianMixture(3, 2)
    report = check(model, GaussianMixtureGuide(model), torch.randn(6, 2))
    assert {row.name for row in report.sites if row.enumerated} == {"w"}


def test_density_and_exact_marginals_equal_brute_force() -> None:
    """All K^N assignments of N data, one by one, against Pyro's sum over each."""
    model, x, values = example()

    def at_values(x: Tensor | None = None) -> None:
        for name, value in values.items():
            pyro.sample(name, dist.Delta(value, event_dim=value.ndim))

    paths = list(product(range(3), repeat=len(x)))
    joint = torch.stack([joint_by_hand(x, w, values) for w in paths])
    fixed = poutine.condition(model, data=values)
    prior = poutine.trace(model).get_trace(x)
    prior = sum(prior.nodes[n]["fn"].log_prob(values[n]) for n in GLOBALS)
    bound = -TraceEnum_ELBO(max_plate_nesting=1).loss(fixed, lambda *_: None, x)
    assert bound == pytest.approx((joint.logsumexp(0) + prior).item(), rel=1e-5)

    posterior = joint.softmax(0)
    membership = torch.nn.functional.one_hot(torch.tensor(paths), 3).float()  # (K^N, N, K)
    marginals = torch.einsum("p,pnk->nk", posterior, membership)
    found = enumerated(model, at_values, x)["w"]
    assert torch.allclose(found.probs, marginals, atol=1e-5)
    assert torch.equal(found.map.squeeze(), marginals.argmax(-1))


def test_bound_of_a_draw_is_the_formula() -> None:
    model, x, _ = example(2, 3)
    guide = GaussianMixtureGuide(model)
    torch.manual_seed(8)
    q = poutine.trace(guide).get_trace(x)
    values = {n: q.nodes[n]["value"] for n in GLOBALS}
    prior = poutine.trace(poutine.condition(model, data=values)).get_trace(x)
    expected = sum(prior.nodes[n]["fn"].log_prob(values[n]) for n in GLOBALS) - q.log_prob_sum()
    paths = product(range(2), repeat=3)
    expected = expected + torch.stack([joint_by_hand(x, w, values) for w in paths]).logsumexp(0)
    torch.manual_seed(8)
    bound = -TraceEnum_ELBO(max_plate_nesting=1).loss(model, guide, x)
    assert bound == pytest.approx(expected.item(), rel=1e-5)


def test_draws_may_be_batched_by_an_outer_plate() -> None:
    model, x, _ = example()
    guide = GaussianMixtureGuide(model)
    with pyro.plate("draws", 5, dim=-2):
        q = poutine.trace(guide).get_trace(x)
        p = poutine.trace(poutine.replay(model, q)).get_trace(x)
    p.compute_log_prob()
    assert p.nodes["x"]["log_prob"].shape == (5, 4)
    one = {n: q.nodes[n]["value"][2].squeeze(0) for n in GLOBALS}
    w = tuple(p.nodes["w"]["value"][2].tolist())
    expected = joint_by_hand(x, w, one)
    found = p.nodes["x"]["log_prob"][2].sum() + p.nodes["w"]["log_prob"][2].sum()
    assert torch.isclose(found, expected, rtol=1e-5)


def test_bound_lies_below_the_evidence() -> None:
    """One component, one datum, known scale nearly: log p(x) by a grid over its place."""
    model = GaussianMixture(1, 1, loc_scale=2.0, scale_spread=1e-3)
    guide, x = GaussianMixtureGuide(model), torch.tensor([[1.5]])
    with torch.no_grad():
        guide.scale_log_scale.fill_(math.log(1e-3))
        guide.loc.fill_(0.5)
    exact = torch.distributions.Normal(0.0, math.sqrt(5.0)).log_prob(x).item()
    elbo = TraceEnum_ELBO(max_plate_nesting=1)
    draws = -torch.tensor([elbo.loss(model, guide, x) for _ in range(300)])
    error = draws.std().item() / math.sqrt(len(draws))
    # the posterior of the place is Normal(1.2, 0.8); the guide's is Normal(0.5, exp(-2))
    kl = torch.distributions.kl_divergence(
        torch.distributions.Normal(0.5, math.exp(-1)),
        torch.distributions.Normal(1.2, math.sqrt(0.8)),
    )
    assert draws.mean() + 4 * error < exact
    assert abs(draws.mean().item() - (exact - kl.item())) < 4 * error + 1e-3


@pytest.mark.parametrize("name", ["num_components", "concentration", "loc_scale", "scale"])
def test_a_setting_must_be_positive(name: str) -> None:
    with pytest.raises(InputError, match=name):
        GaussianMixture(**{name: 0})


def test_data_of_another_size_are_named() -> None:
    with pytest.raises(InputError, match=r"\(4, 3\)"):
        GaussianMixture(3, 2)(torch.zeros(4, 3))
