from __future__ import annotations

import pyro
import pytest
import torch
from torch import Tensor

from inference.errors import PairError
from inference.objectives import PairTrace
from inference.objectives.pair_trace import trace_pair
from inference.objectives.pathwise_elbo import pathwise_bound
from inference.objectives.rate_distortion import average, rate_distortion
from inference.randomness import seeded
from inference.tracing.layout import layout
from tests import pairs
from tests.inference.objectives.test_pathwise_elbo import AUTO, NAMES, Coin, CoinGuide, case


def traced(name: str, size: int | None = None) -> PairTrace:
    model, guide, x = case(name)
    shape = layout(model, guide, (x,))
    with seeded(5):
        return trace_pair(model, guide, (x,), {}, shape, size or len(x))


# guides that draw several sites at once have no closed forms
@pytest.mark.parametrize(
    ("name", "closed_form"),
    [(n, c) for n in NAMES for c in (False, True)] + [(n, False) for n in AUTO],
)
@pytest.mark.parametrize("validation", [True, False])
def test_terms_add_up_to_the_bound(name: str, closed_form: bool, validation: bool) -> None:
    with pyro.validation_enabled(validation):
        trace = traced(name)
    found = rate_distortion(trace, closed_form)
    with seeded(5):
        whole = pathwise_bound(trace.model, trace.guide, trace.args, {}, closed_form)
    assert whole is not None
    # every site counts once, or 6 / 4 times where the plate draws 4 of 6 itself
    torch.testing.assert_close(-(found.distortion + found.rate) * trace.data_size, whole)


def test_a_batch_stands_for_the_data_set() -> None:
    model, guide, x = case("global")
    with seeded(5):
        trace = trace_pair(model, guide, (x,), {}, layout(model, guide, (x,)), 60)
    found = rate_distortion(trace, True)
    (rate,) = found.rates.values()
    kl = torch.distributions.kl_divergence(trace.guide_sites["mu"]["fn"], trace.p["mu"]["fn"])
    torch.testing.assert_close(rate, kl[None] / 60)  # once a data set
    data = trace.p["x"]["fn"].log_prob(x)
    torch.testing.assert_close(found.distortion, -data.mean())  # once a datum
    assert not trace.q and trace.batch == 6 and trace.data_size == 60


def test_a_view_has_the_draws() -> None:
    trace = traced("vae")
    assert trace.codes("z").shape == (6, 2) and trace.codes("z").requires_grad
    x = trace.args[0]
    log_prob = trace.p["x"]["fn"].log_prob(x)
    torch.testing.assert_close(trace.observed(), log_prob)
    kl = trace.kl("z", "element")
    assert kl.shape == (6, 2)
    torch.testing.assert_close(kl.sum(1, keepdim=True), trace.kl("z"))
    fixed = trace.detached()
    assert not fixed.codes("z").requires_grad and torch.equal(fixed.codes("z"), trace.codes("z"))
    with pytest.raises(PairError, match="one of: z"):
        trace.codes("x")


def test_a_site_of_the_guide_alone_has_no_kl() -> None:
    trace = traced("masked")
    assert trace.kl("z").shape == (6, 1) and trace.codes("e").shape == (6, 1)
    with pytest.raises(PairError, match="a site of the guide alone"):
        trace.kl("e")
    with pytest.raises(PairError, match="one posterior for several sites"):
        rate_distortion(trace, True, {"z": "total"})


def test_draws_are_averaged() -> None:
    first, second = (rate_distortion(traced("vae"), False) for _ in range(2))
    mean = average([first, second])
    torch.testing.assert_close(mean.rate, (first.rate + second.rate) / 2)
    torch.testing.assert_close(mean.distortion, (first.distortion + second.distortion) / 2)
    assert average([first]) is first


def refusal(model: torch.nn.Module, guide: torch.nn.Module, x: Tensor) -> PairError:
    with pytest.raises(PairError) as caught:
        trace_pair(model, guide, (x,), {}, layout(model, guide, (x,)), len(x))
    return caught.value


def test_what_has_no_terms_of_one_draw_is_refused() -> None:
    x = torch.randn(4)
    assert "summed out" in refusal(pairs.TwoComponents(), pairs.NoLatents(), x).found
    assert "no differentiable function" in refusal(Coin(), CoinGuide(), x).found
    with pyro.validation_enabled(False):
        assert "does not name" in refusal(pairs.Conjugate(), pairs.NoLatents(), x).found


def test_nothing_is_left_behind(untouched: None) -> None:
    with seeded(0):
        model, guide = pairs.Conjugate(), pairs.ConjugateGuide()
        x = torch.arange(3.0)
        trace_pair(model, guide, (x,), {}, layout(model, guide, (x,)), 3)
