from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from scipy.stats import chisquare

from inference.diagnostics.sbc import SBC, sbc
from inference.errors import PairError
from tests.inference.diagnostics.odd_pairs import (
    Hierarchy,
    HierarchyGuide,
    Sequence,
    SequenceGuide,
)
from tests.inference.diagnostics.test_replace import Doubled, DoubledGuide
from tests.pairs import Conjugate, ConjugateGuide, MixturePrior, NoLatents, TwoComponents

X = torch.zeros(100)


def changed(width: float = 1.0, shift: float = 0.0) -> ConjugateGuide:
    class Shifted(ConjugateGuide):
        def forward(self, x, size=1):
            super().forward(x + shift)

    guide = Shifted(exact=True)
    guide.log_scale.data += math.log(width)
    return guide


def test_the_posterior_passes():
    result = sbc(Conjugate(), ConjugateGuide(exact=True), X, simulations=2000, seed=4)
    assert result.ranks["z"].shape == (2000, 1)
    assert result.ranks["z"].min() == 0 and result.ranks["z"].max() == 99
    assert result.pvalue("z") > 0.01
    # the mean of uniforms: standard error 0.29 / sqrt(2000) = 0.0065
    assert abs(float(result.uniform("z").mean()) - 0.5) < 0.026


def test_p_values_of_right_guides_are_uniform():
    values = torch.tensor(
        [
            sbc(Conjugate(), ConjugateGuide(True), X, simulations=200, seed=s).pvalue()
            for s in range(60)
        ]
    )
    # Kolmogorov-Smirnov distance of 60 uniforms exceeds 0.25 once in 1,000
    steps = torch.arange(60) / 60
    ordered = values.sort().values
    assert max((ordered - steps).max(), (steps + 1 / 60 - ordered).max()) < 0.25


@pytest.mark.parametrize("wrong", [{"width": 0.7}, {"width": 1.4}, {"shift": 0.3}])
def test_a_wrong_guide_fails(wrong):
    result = sbc(Conjugate(), changed(**wrong), X, simulations=2000, seed=4)
    assert result.pvalue() < 1e-4


def test_sequences_give_a_dim_a_frame_and_feature():
    x, mask = torch.zeros(50, 3, 2), torch.arange(3) < torch.tensor([3] * 49 + [1]).unsqueeze(-1)
    result = sbc(Sequence(), SequenceGuide(), x, mask, simulations=500, num_samples=49)
    assert result.ranks["z"].shape == (500, 6)
    assert result.pvalues("z").shape == (6,)
    assert result.pvalue() > 0.01
    assert result.pvalue() == pytest.approx(min(1.0, 6 * float(result.pvalues("z").min())))


def test_a_latent_outside_the_plate_makes_a_data_set_a_simulation():
    x = torch.zeros(5)
    result = sbc(Hierarchy(), HierarchyGuide(), x, simulations=300, num_samples=19)
    assert result.ranks["mu"].shape == (300, 1) and result.ranks["z"].shape == (300, 1)
    assert result.pvalue() > 0.01


def test_enumerated_sites_are_ranked_with_ties_at_random():
    result = sbc(TwoComponents(), NoLatents(), X, simulations=1000, num_samples=29, seed=1)
    assert result.pvalue("w") > 0.01
    wide = sbc(MixturePrior(), ConjugateGuide(), X, simulations=1000, num_samples=29)
    assert set(wide.ranks) == {"z", "w"} and wide.pvalue("z") < 1e-4


def test_quantities_of_several_latents_are_ranked_too():
    def squares(latents):
        return latents["z"].square()

    result = sbc(
        Conjugate(), changed(width=0.6), X, simulations=1000, quantities={"energy": squares}
    )
    assert result.ranks["energy"].shape == (1000, 1)
    assert result.pvalue("energy") < 1e-4


def test_a_quantity_must_keep_the_data_apart():
    with pytest.raises(PairError, match="a number a datum"):
        sbc(Conjugate(), ConjugateGuide(), X, quantities={"sum": lambda z: z["z"].sum(1)})


def test_data_that_enter_changed_must_be_placed():
    with pytest.raises(PairError, match="replace="):
        sbc(Doubled(), DoubledGuide(), X + 1)


def test_too_few_simulations_are_refused():
    with pytest.raises(ValueError, match="simulations: saw 3"):
        sbc(Conjugate(), ConjugateGuide(), X, simulations=3)


def test_unknown_sites_are_named():
    result = SBC({"z": torch.zeros(30, 1).long(), "w": torch.zeros(30, 1).long()}, 9)
    with pytest.raises(KeyError, match="'z', 'w'"):
        result.pvalue("y")
    with pytest.raises(ValueError, match="name one of"):
        result.plot()


@pytest.mark.parametrize("kind", ["ecdf", "histogram"])
def test_the_plots_draw(kind):
    result = SBC({"z": torch.randint(0, 100, (400, 2))}, 99)
    ax = Figure().subplots()
    assert result.plot("z", ax, kind=kind) is ax
    own = result.plot(kind=kind)
    drawn = own.lines if kind == "ecdf" else own.patches
    assert len(drawn) == 2 and own.figure is not None
    assert "z" in str(result) and "400" in str(result)


@pytest.mark.parametrize(("draws", "count", "bins"), [(99, 400, 20), (9, 400, 10), (99, 50, 5)])
def test_the_p_value_is_that_of_scipys_chi_square(draws, count, bins):
    result = SBC({"z": torch.randint(0, draws + 1, (count, 3))}, draws, seed=2)
    for uniform, found in zip(result.uniform("z").T, result.pvalues("z"), strict=True):
        seen = np.histogram(uniform.numpy(), bins, (0, 1))[0]
        assert float(found) == pytest.approx(chisquare(seen).pvalue, rel=1e-6)
