"""Options of the newer diagnostics with another value than their default, against what they say."""

from __future__ import annotations

import sys
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

from inference.diagnostics.arviz_adapter import Variable, to_arviz
from inference.diagnostics.conditional import conditional_likelihood
from inference.diagnostics.importance import importance
from inference.diagnostics.loo import loo
from inference.diagnostics.mcmc import mcmc
from inference.diagnostics.vsbc import vsbc
from inference.errors import PairError
from inference.objectives import TransportObjective
from inference.randomness import seeded
from tests.pairs import Conjugate, ConjugateGuide, GlobalMean, GlobalMeanGuide

X = torch.tensor([0.5, -3.0, 2.5, 0.1, 1.0, -0.7])
LEAN: Any = {"num_chains": 2, "num_warmup": 3, "start": None, "progress": False}
quiet_steps = pytest.mark.filterwarnings("ignore:.*steps diverged:UserWarning")


def two_plates(x: Tensor) -> None:
    """Two plates of the same size, so that the data plate has to be named."""
    with pyro.plate("rows", 3, dim=-2), pyro.plate("columns", 3, dim=-1):
        z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([3, 3]))
        pyro.sample("x", dist.Normal(z, 0.5), obs=x)


def exact_of_two_plates(x: Tensor) -> None:
    with pyro.plate("rows", 3, dim=-2), pyro.plate("columns", 3, dim=-1):
        pyro.sample("z", dist.Normal(0.8 * x, 0.2**0.5))


CELLS = torch.randn(3, 3, generator=torch.Generator().manual_seed(3)) + torch.arange(3.0)


class NoPenalty(nn.Module):
    """A penalty of nothing, so that the likelihood is left."""

    def forward(self, pair: object) -> Tensor:
        return torch.zeros(())


@pytest.mark.parametrize(("plate", "axis"), [("rows", 1), ("columns", 0)])
def test_the_plate_that_is_named_is_the_one_that_weights_are_of(plate: str, axis: int) -> None:
    evidence = dist.Normal(0.0, 1.25**0.5).log_prob(CELLS).sum(axis).double()
    call = two_plates, exact_of_two_plates, CELLS
    assert torch.allclose(importance(*call, num_samples=9, plate=plate).iwae, evidence, atol=1e-5)
    found = conditional_likelihood(*call, target="x", num_samples=9, plate=plate)
    assert found.pointwise.shape == (3,) and not found.joint
    # what the cells of a row sum to, or of a column; and its mean is the loss
    objective, pair = TransportObjective(NoPenalty()), (two_plates, exact_of_two_plates, (CELLS,))
    with seeded(1):
        bound = objective.bound(*pair, plate=plate)
    with seeded(1):
        z = 0.8 * CELLS + 0.2**0.5 * torch.randn(3, 3)
    assert torch.allclose(bound, dist.Normal(z, 0.5).log_prob(CELLS).sum(axis))
    with seeded(1):
        measured = objective.measure(*pair, plate=plate)
    assert torch.allclose(measured.loss, -bound.mean())


@pytest.mark.parametrize("plate", ["rows", "columns"])
def test_leaving_out_a_cell_takes_the_weight_of_its_own_row_or_column(plate: str) -> None:
    """From the prior as guide, p(x_i | the rest) is its evidence: cells are independent."""

    def prior(x: Tensor) -> None:
        with pyro.plate("rows", 3, dim=-2), pyro.plate("columns", 3, dim=-1):
            pyro.sample("z", dist.Normal(0.0, 1.0).expand([3, 3]))

    x = CELLS / 3
    found = loo(two_plates, prior, x, num_samples=20_000, plate=plate)
    exact = dist.Normal(0.0, 1.25**0.5).log_prob(x)
    # an effective sample size of some 1,500: standard errors of about 0.03
    assert (found.pointwise - exact).abs().max() < 0.12


def test_portions_change_no_answer() -> None:
    """With a guide of no randomness to speak of, draws of any portion are the same."""
    pair = Conjugate(), ConjugateGuide(exact=True)
    for chunk in (1, 7):
        left = loo(*pair, X, num_samples=4000, chunk=4000 // chunk)
        whole = loo(*pair, X, num_samples=4000)
        assert left.num_samples == 4000
        assert (left.pointwise - whole.pointwise).abs().max() < 1.0  # k-hat is 0.94: a wide tail
    found = conditional_likelihood(*pair, X, target="x", num_samples=20, chunk=3)
    assert found.log_likelihoods.shape == (20, len(X))
    # all 20 weights and their draws belong together: w p(x | z) is the evidence, draw by draw
    total = (found.log_weights + found.log_likelihoods).float()
    assert torch.allclose(total, pair[0].evidence(X).detach().expand(20, -1), atol=1e-4)


def test_loo_begins_where_its_seed_says() -> None:
    pair = Conjugate(), ConjugateGuide()
    one, same, other = (loo(*pair, X, num_samples=50, seed=s).pointwise for s in (4, 4, 5))
    assert torch.equal(one, same) and not torch.equal(one, other)


@pytest.mark.parametrize("chunk", [None, 6])
def test_weights_do_not_depend_on_whether_draws_are_kept(chunk: int | None) -> None:
    pair = Conjugate(), ConjugateGuide()
    kept = importance(*pair, X, num_samples=20, chunk=chunk)
    bare = importance(*pair, X, num_samples=20, chunk=chunk, keep_draws=False)
    assert torch.equal(kept.log_weights, bare.log_weights)
    assert set(kept.draws) == {"z"} and not bare.draws


def test_a_smaller_error_of_khat_takes_more_draws_up_to_the_most_allowed() -> None:
    guide = ConjugateGuide(exact=True)
    guide.log_scale.data -= 0.3  # too narrow: heavy tails, k-hat near 0.45
    sizes = [
        len(importance(Conjugate(), guide, X, khat_error=error, max_samples=most).log_weights)
        for error, most in ((0.5, None), (0.06, None), (0.06, 1500))
    ]
    assert sizes[0] == 1000 < sizes[1] and sizes[2] == 1500


def test_a_matrix_of_draws_is_cut_into_chains_in_order_and_groups_carry_their_words() -> None:
    groups = {"posterior": {"z": Variable(np.arange(6.0), [])}}
    said = {"posterior": {"sampler": "none", "count": 6}}
    found = to_arviz(groups, chains=3, attrs=said)["posterior"]
    assert found["z"].values.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert found.attrs["sampler"] == "none" and found.attrs["count"] == 6


@quiet_steps
def test_chains_label_their_dims_and_come_in_portions_like_any_posterior() -> None:
    def vector(y: Tensor) -> None:
        b = pyro.sample("b", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        with pyro.plate("n", len(y), dim=-1):
            pyro.sample("y", dist.Normal(b.sum(-1, keepdim=True), 1.0), obs=y)

    y = torch.tensor([0.3, -0.2, 1.0])
    names: Any = {"dims": {"b": ["side"]}, "coords": {"side": ["left", "right"]}}
    found, apart = (
        mcmc(vector, y, num_samples=4, plate="n", chunk=chunk, **names, **LEAN)
        for chunk in (None, 3)
    )
    b = found["posterior"]["b"]
    assert b.dims == ("chain", "draw", "side") and list(b["side"].values) == ["left", "right"]
    assert np.array_equal(b.values, apart["posterior"]["b"].values)
    known = dist.Normal(torch.tensor(b.values.sum(-1))[..., None], 1.0).log_prob(y)
    for part in (found, apart):  # draw by draw, also across the edges of portions
        assert np.allclose(part["log_likelihood"]["y"].values, known.numpy(), atol=1e-5)


@quiet_steps
def test_a_higher_acceptance_takes_smaller_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []
    module = sys.modules[mcmc.__module__]

    class Spy(module.NUTS):  # type: ignore[name-defined]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            asked.append(kwargs["target_accept_prob"])
            super().__init__(*args, **kwargs)

    monkeypatch.setattr(module, "NUTS", Spy)
    found = mcmc(GlobalMean(), X, num_samples=2, target_accept=0.95, **LEAN)
    assert set(asked) == {0.95}
    assert found["sample_stats"]["diverging"].shape == (2, 2)  # fewer draws than r-hat needs


# --- bias of a guide ------------------------------------------------------------------------------

FEW: Any = {"simulations": 60, "num_samples": 99}


def test_bias_is_looked_for_in_the_quantities_that_are_asked_for() -> None:
    """A guide too narrow is right on z by symmetry, and its z squared is too small, by half."""
    x = torch.zeros(60)
    guide = ConjugateGuide(exact=True)
    guide.slope.data.zero_()  # it reads nothing, and the truth is about zero all the same
    guide.log_scale.data.fill_(-2.0)

    def square(draws: dict[str, Tensor], *_: Any) -> Tensor:
        return draws["z"] ** 2

    found = vsbc(Conjugate(), guide, x, quantities={"square": square}, **FEW)
    # |z| of the truth is above all of the guide's but a share 0.14 of the time: e^-2 / 1
    assert float(found.bias("square")) > 0.25 and found.pvalue("square") < 1e-4
    assert found.pvalue("z") > 0.01
    one, same, other = (
        vsbc(Conjugate(), guide, x, seed=s, **FEW).probabilities["z"] for s in (1, 1, 2)
    )
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_a_histogram_goes_into_the_axes_that_are_given() -> None:
    found = vsbc(Conjugate(), ConjugateGuide(exact=True), torch.zeros(60), plate="data", **FEW)
    figure, axes = plt.subplots(1, 2)
    assert found.plot("z", ax=axes[1]) is axes[1] and not axes[0].patches
    plt.close(figure)


def test_a_plate_of_another_name_is_refused_and_named() -> None:
    with pytest.raises(PairError, match="data"):
        vsbc(Conjugate(), ConjugateGuide(exact=True), torch.zeros(60), plate="rows", **FEW)


def test_a_guide_of_all_data_is_weighed_jointly_in_any_portions() -> None:
    exact = GlobalMean().posterior(X)
    guide = GlobalMeanGuide(float(exact.mean), float(exact.stddev))
    found = conditional_likelihood(
        GlobalMean(), guide, X, target="x", joint=True, num_samples=30, chunk=7
    )
    total = found.log_weights + found.log_likelihoods
    assert torch.allclose(total.float(), GlobalMean().evidence(X).detach().expand(30, 1), atol=1e-4)
