from __future__ import annotations

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from matplotlib.figure import Figure
from pyro.infer.autoguide import AutoNormal

from inference.diagnostics.vsbc import symmetry_pvalue, vsbc
from inference.errors import PairError
from inference.tracing import bind
from tests.pairs import Conjugate, ConjugateGuide, GlobalMean

X = torch.zeros(100)


def guide_of(width: float = 1.0, shift: float = 0.0) -> ConjugateGuide:
    class Shifted(ConjugateGuide):
        def forward(self, x=None, size=1):
            with pyro.plate("data", len(x), dim=-1):
                pyro.sample("z", dist.Normal(self.slope * x + shift, self.log_scale.exp()))

    guide = Shifted(exact=True)
    guide.log_scale.data += math.log(width)
    return guide


def test_the_exact_guide_passes():
    found = vsbc(Conjugate(), guide_of(), X, simulations=500)
    assert found.probabilities["z"].shape == (500, 1)
    assert found.pvalue() > 0.01 and abs(float(found.bias("z"))) < 0.05  # s.e. 0.013


def test_a_narrow_guide_with_the_right_centre_passes_though_sbc_would_not():
    found = vsbc(Conjugate(), guide_of(width=0.5), X, simulations=500)
    assert found.pvalue() > 0.01
    assert float(found.probabilities["z"].std()) > 0.33  # uniform would be 0.29


@pytest.mark.parametrize("shift", [-0.2, 0.2])
def test_a_biased_guide_is_flagged_and_the_side_is_told(shift):
    found = vsbc(Conjugate(), guide_of(shift=shift), X, simulations=500)
    assert found.pvalue() < 1e-3
    assert float(found.bias("z")) * shift < 0  # a guide too high leaves little below the truth
    assert "the guide too low" in str(found)


def test_an_autoguide_is_fitted_to_each_simulation():
    x = torch.zeros(5)

    def refit(model, x, shift=0.0):
        exact = model.posterior(x)  # what a fit would find
        guide = AutoNormal(model, init_scale=float(exact.stddev))
        bind(model, guide, x)
        guide.locs.mu = exact.mean.detach() + shift
        return guide

    def biased(model, x):
        return refit(model, x, 0.4)

    given = {"simulations": 60, "num_samples": 99}
    good = vsbc(GlobalMean(), AutoNormal(GlobalMean()), x, refit=refit, **given)
    bad = vsbc(GlobalMean(), AutoNormal(GlobalMean()), x, refit=biased, **given)
    assert good.probabilities["mu"].shape == (60, 1)
    assert good.pvalue() > 0.01 and bad.pvalue() < 0.01


def test_an_autoguide_without_a_refit_is_refused():
    with pytest.raises(PairError, match="refit="):
        vsbc(GlobalMean(), AutoNormal(GlobalMean()), torch.zeros(3), simulations=20)


def test_the_pvalue_of_symmetry_is_exact():
    # four signs: P(max |S_k| >= 4) = 2/16, >= 3: all paths through +-3, 4/16
    assert symmetry_pvalue(torch.tensor([0.9, 0.8, 0.7, 0.6])) == pytest.approx(2 / 16)
    assert symmetry_pvalue(torch.tensor([0.9, 0.8, 0.7, 0.4])) == pytest.approx(4 / 16)
    assert symmetry_pvalue(torch.full((9,), 0.5)) == 1.0


def test_pvalues_of_symmetric_samples_are_uniform():
    random = torch.Generator().manual_seed(0)
    uniform = torch.rand(400, 200, generator=random)
    found = torch.tensor([symmetry_pvalue(row) for row in uniform])
    # discrete, so no smaller than uniform: at level 0.1 at most 40 of 400, s.e. 6
    assert 15 < int((found <= 0.1).sum()) < 58
    beta = torch.distributions.Beta(torch.tensor(2.0), torch.tensor(2.5)).sample((200,))
    assert symmetry_pvalue(beta) < 0.05


def test_the_histogram_shows_itself():
    found = vsbc(Conjugate(), guide_of(), X, simulations=100)
    assert isinstance(found.plot("z").figure, Figure)


def test_simulated_values_go_into_the_argument_that_is_named():
    class Doubled(Conjugate):
        def forward(self, half):  # what is observed is twice the argument, so no argument is it
            return super().forward(2 * half)

    class Reading(ConjugateGuide):
        def forward(self, half):
            super().forward(half)  # of the simulated value, which stands where `half` did

    x = torch.ones(100)
    with pytest.raises(PairError, match="replace="):
        vsbc(Doubled(), Reading(exact=True), x, simulations=100)
    found = vsbc(Doubled(), Reading(exact=True), x, simulations=300, replace={"x": 0})
    assert found.pvalue() > 0.01 and abs(float(found.bias("z"))) < 0.08  # s.e. 0.017
