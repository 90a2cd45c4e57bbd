from __future__ import annotations

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from matplotlib.figure import Figure

from inference.diagnostics.importance import importance
from inference.diagnostics.rates import rates
from inference.errors import NonFiniteError, PairError
from tests.inference.diagnostics.odd_pairs import Tracks, TracksGuide
from tests.pairs import (
    Conjugate,
    ConjugateGuide,
    GlobalMean,
    GlobalMeanGuide,
    TwoComponents,
    function_guide,
    function_model,
)


def scaled_guide(width: float) -> ConjugateGuide:
    guide = ConjugateGuide(exact=True)
    guide.log_scale.data += math.log(width)
    return guide


def test_the_posterior_itself_has_equal_weights_and_the_evidence():
    model, x = Conjugate(), torch.randn(5)
    result = importance(model, ConjugateGuide(exact=True), x, num_samples=200)
    assert result.log_weights.shape == (200, 5)
    assert (result.khat == -torch.inf).all()
    assert torch.allclose(result.ess, torch.full((5,), 200.0).double(), rtol=1e-6)
    assert torch.allclose(result.elbo, model.evidence(x).double(), atol=1e-5)
    assert torch.allclose(result.iwae, result.elbo, atol=1e-5)


def test_khat_a_datum_does_not_grow_with_the_data_and_the_joint_one_does():
    model, guide = Conjugate(), scaled_guide(0.9)
    medians, joints = [], []
    for size in (10, 1000):
        x = model.prior * torch.randn(size, generator=torch.Generator().manual_seed(3))
        medians.append(float(importance(model, guide, x, num_samples=1000).khat.median()))
        joints.append(float(importance(model, guide, x, num_samples=1000, joint=True).khat))
    # Density ratios p / q of normals, q 10 % narrower: tail shape 1 - 0.81 = 0.19 in the limit.
    # A k-hat from 95 exceedances has a standard error of 0.12, its median over 10 data 0.05.
    assert abs(medians[0] - 0.19) < 0.2 and abs(medians[1] - 0.19) < 0.1
    assert joints[1] > 0.7 > joints[0]


def test_a_guide_half_as_wide_is_not_trusted():
    x = 2 * torch.randn(200, generator=torch.Generator().manual_seed(0))
    result = importance(Conjugate(), scaled_guide(0.5), x, num_samples=2000)
    # shape 1 - 0.25 = 0.75 in the limit, over the threshold of 0.7
    assert float(result.khat.median()) > 0.6
    assert result.threshold == pytest.approx(1 - 1 / math.log10(2000))
    assert float(result.ess.median()) < 1000


def test_the_bounds_are_ordered_and_tighten():
    model, x = Conjugate(), torch.randn(400, generator=torch.Generator().manual_seed(2))
    result = importance(model, ConjugateGuide(), x, num_samples=2000)
    evidence = float(model.evidence(x).detach().mean())
    (elbo, _), (iwae, _) = result.elbo_mean, result.iwae_mean
    assert elbo < iwae
    assert abs(iwae - evidence) < 0.01  # 2,000 draws a datum, 400 data
    exact = ConjugateGuide()
    q = torch.distributions.Normal(exact.slope * x, exact.log_scale.exp())
    gap = torch.distributions.kl_divergence(q, model.posterior(x)).mean()
    assert elbo == pytest.approx(evidence - float(gap.detach()), abs=0.02)


def test_a_latent_outside_the_plate_asks_for_joint_weights():
    x = torch.randn(6)
    with pytest.raises(PairError, match="joint=True") as caught:
        importance(GlobalMean(), GlobalMeanGuide(), x)
    assert caught.value.site == "mu"


def test_joint_weights_estimate_the_evidence_of_all_data():
    model, x = GlobalMean(), torch.tensor([0.2, 1.0, -0.5])
    posterior = model.posterior(x)
    exact = GlobalMeanGuide(float(posterior.mean), float(posterior.stddev))
    result = importance(model, exact, x, num_samples=50, joint=True)
    assert result.log_weights.shape == (50, 1) and result.joint
    assert float(result.elbo) == pytest.approx(float(model.evidence(x).detach()) / 3, abs=1e-5)
    wide = importance(model, GlobalMeanGuide(), x, num_samples=20_000, joint=True)
    mean, error = wide.iwae_mean
    assert abs(mean - float(model.evidence(x).detach()) / 3) < 4 * error
    assert 0 < error < 0.01


def test_a_derived_value_outside_the_plate_weighs_nothing():
    class WithNoise(Conjugate):
        def forward(self, x, size=1):
            pyro.deterministic("noise", self.log_noise.exp())
            return super().forward(x)

    class WithWidth(ConjugateGuide):
        def forward(self, x, size=1):
            pyro.deterministic("width", self.log_scale.exp())
            super().forward(x)

    x = torch.randn(4)
    a = importance(WithNoise(), WithWidth(), x, num_samples=10)
    b = importance(Conjugate(), ConjugateGuide(), x, num_samples=10)
    assert torch.equal(a.log_weights, b.log_weights)
    assert [row.site for row in rates(WithNoise(), WithWidth(), x, num_samples=3).rows] == [
        "z",
        "x",
    ]


def test_a_discrete_site_that_the_guide_draws_is_not_summed():
    class Drawing(ConjugateGuide):
        def forward(self, x, size=1):
            with pyro.plate("data", len(x), dim=-1):
                distribution = dist.Categorical(logits=torch.zeros(len(x), 2))
                pyro.sample("w", distribution, infer={"enumerate": "parallel"})

    model, x = TwoComponents(), torch.tensor([0.3, -2.0])
    result = importance(model, Drawing(), x, num_samples=4000)
    joint = model.joint(x).detach()
    assert {round(float(v), 4) for v in result.log_weights[:, 0] + math.log(0.5)} <= {
        round(float(v), 4) for v in joint[0]
    }
    # a bound that tightens to the evidence: relative error of a mean of 4,000 weights under 0.02
    assert torch.allclose(result.iwae, model.evidence(x).double(), atol=0.08)


def test_plain_functions_are_weighed():
    result = importance(function_model, function_guide, torch.randn(4), num_samples=30, joint=True)
    assert result.log_weights.shape == (30, 1)


def test_chunks_bound_memory_and_change_nothing_else():
    o = torch.randn(2, 3, 2)
    result = importance(Tracks(), TracksGuide(), o, num_samples=50, chunk=7)
    assert result.log_weights.shape == (50, 2)


def test_keyword_data_and_the_name_of_the_plate():
    x = torch.randn(4)
    a = importance(Conjugate(), ConjugateGuide(), x=x, num_samples=20, plate="data")
    b = importance(Conjugate(), ConjugateGuide(), x, num_samples=20)
    assert torch.equal(a.log_weights, b.log_weights)
    with pytest.raises(PairError):
        importance(Conjugate(), ConjugateGuide(), x, num_samples=20, plate="rows")


def test_nan_names_its_site():
    model = Conjugate()
    model.prior.fill_(math.nan)
    with pytest.raises(NonFiniteError) as caught:
        importance(model, ConjugateGuide(), torch.randn(4), num_samples=5)
    assert caught.value.site == "z"
    pyro.enable_validation(False)  # as in production: nothing but our own look finds it
    with pytest.raises(NonFiniteError) as caught:
        importance(model, ConjugateGuide(), torch.randn(4), num_samples=5)
    assert caught.value.site == "z"


def test_the_summary_reads_and_the_plot_draws():
    result = importance(Conjugate(), ConjugateGuide(), torch.randn(5), num_samples=100)
    text = str(result)
    assert "ELBO" in text and "IWAE-100" in text and "k-hat" in text
    ax = Figure().subplots()
    assert result.plot(ax) is ax
    assert len(result.plot().collections[0].get_offsets()) == 5
