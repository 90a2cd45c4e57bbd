from __future__ import annotations

import math

import pytest
import torch
from matplotlib.figure import Figure

from inference.diagnostics.ppc import Check, ppc
from tests.inference.diagnostics.odd_pairs import Sequence, SequenceGuide, Tracks, TracksGuide
from tests.pairs import Conjugate, ConjugateGuide, GlobalMean, GlobalMeanGuide

X = torch.randn(200, generator=torch.Generator().manual_seed(6)) + 0.4


def exact_guide(model: GlobalMean) -> GlobalMeanGuide:
    q = model.posterior(X)
    return GlobalMeanGuide(float(q.mean), float(q.stddev))


def test_a_right_model_is_central():
    model = GlobalMean()
    table = ppc(model, exact_guide(model), X)
    for name in ("mean", "sd", "min", "max"):
        assert 0.02 < table["x", name].pvalue < 0.98
    check = table["x", "sd"]
    assert check.observed == pytest.approx(float(X.std()), rel=1e-5)
    low, high = check.interval
    assert low < check.observed < high
    assert check.replicates.shape == (500,)


def test_a_wrong_variance_is_extreme():
    model = GlobalMean()
    model.noise.fill_(1.5)
    table = ppc(model, exact_guide(model), X, statistic=["sd", "mean"])
    assert table["x", "sd"].pvalue > 0.999
    assert 0.05 < table["x", "mean"].pvalue < 0.95
    assert len(table.checks) == 2


def test_own_statistics():
    model = GlobalMean()

    def share_positive(x):
        return (x > 0).double().mean()

    table = ppc(model, exact_guide(model), X, statistic={"positive": share_positive})
    assert table["x", "positive"].observed == pytest.approx(float((X > 0).double().mean()))
    # 1 - Phi(-mean): the replicates' mean, to 500 draws
    wanted = 0.5 * (1 + math.erf(float(X.mean()) / math.sqrt(2)))
    assert float(table["x", "positive"].replicates.mean()) == pytest.approx(wanted, abs=0.02)


def test_statistics_see_whole_sites_and_leave_out_what_is_masked():
    shapes = []

    def note(x):
        shapes.append(tuple(x.shape))
        return x.max()

    ppc(Tracks(), TracksGuide(), torch.randn(2, 3, 4), statistic={"max": note}, num_samples=2)
    assert set(shapes) == {(2, 3, 4)}
    x = torch.zeros(2, 3, 1)
    x[0, 2] = 1e6
    mask = torch.tensor([[True, True, False], [True, True, True]])
    shapes.clear()
    table = ppc(Sequence(), SequenceGuide(), x, mask, statistic={"max": note}, num_samples=2)
    assert set(shapes) == {(5,)}
    assert table["x", "max"].observed == 0.0


def test_masks_can_be_given():
    x = torch.tensor([0.0, 1.0, 50.0])
    masks = {"x": torch.tensor([True, True, False])}
    table = ppc(Conjugate(), ConjugateGuide(), x, statistic="max", masks=masks, num_samples=5)
    assert table["x", "max"].observed == 1.0
    seq = torch.zeros(2, 3, 1)
    seq[0, 2], seq[1, 0] = 7.0, 3.0
    own = torch.tensor([[True, True, False], [True, True, True]])
    given = {"x": torch.tensor([[True, True, True], [False, True, True]])}
    table = ppc(Sequence(), SequenceGuide(), seq, own, statistic="max", masks=given, num_samples=5)
    assert table["x", "max"].observed == 0.0
    for wrong in ({"z": masks["x"]}, {"x": torch.ones(2).bool()}, {"x": torch.ones(3)}):
        with pytest.raises(ValueError, match="masks: saw"):
            ppc(Conjugate(), ConjugateGuide(), x, masks=wrong, num_samples=5)


def test_ties_count_half():
    table = ppc(Conjugate(), ConjugateGuide(), X, statistic="zeros", num_samples=20)
    assert table["x", "zeros"].pvalue == 0.5


def test_what_is_no_statistic_is_refused():
    with pytest.raises(ValueError, match="statistic: saw"):
        ppc(Conjugate(), ConjugateGuide(), X, statistic="median")
    with pytest.raises(ValueError, match="expected one number"):
        ppc(Conjugate(), ConjugateGuide(), X, statistic={"all": lambda x: x}, num_samples=2)
    with pytest.raises(ValueError, match="finite"):
        ppc(
            Conjugate(),
            ConjugateGuide(),
            X,
            statistic={"log": lambda x: x.log().mean()},
            num_samples=2,
        )
    with pytest.raises(KeyError, match="'x', 'mean'"):
        ppc(Conjugate(), ConjugateGuide(), X, statistic="mean", num_samples=2)["x", "sd"]


def test_the_table_reads_and_the_plot_draws():
    table = ppc(Conjugate(), ConjugateGuide(), X, statistic=["mean", "sd"], num_samples=30)
    lines = str(table).splitlines()
    assert len(lines) == 3 and "observed" in lines[0] and lines[2].split()[1] == "sd"
    axes = table.plot()
    assert len(axes) == 2 and all(len(ax.patches) == 30 for ax in axes)
    own = list(Figure().subplots(1, 2))
    assert table.plot(own) == own
    with pytest.raises(ValueError, match="expected 2"):
        table.plot(own[:1])


def test_the_interval_holds_the_central_nine_tenths_and_ties_count_half():
    check = Check("x", "mean", 25.0, torch.arange(101.0).double())
    assert check.interval == pytest.approx((5.0, 95.0))
    assert check.pvalue == pytest.approx(75.5 / 101)
