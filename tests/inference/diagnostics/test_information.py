from __future__ import annotations

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoNormal
from torch import nn

from inference.diagnostics.information import mutual_information
from inference.errors import PairError
from tests.inference.diagnostics.odd_pairs import (
    Hierarchy,
    HierarchyGuide,
    OwnNoiseGuide,
    Sequence,
    SequenceGuide,
    Tracks,
    TracksGuide,
)
from tests.pairs import Conjugate, ConjugateGuide, GlobalMean, GlobalMeanGuide, MixturePrior


def data(size: int, scale: float = math.sqrt(4.25)) -> torch.Tensor:
    return scale * torch.randn(size, generator=torch.Generator().manual_seed(1))


class Chain(nn.Module):
    """a ~ N(0, 1), b ~ N(a, 1), x ~ N(b, 1)."""

    def forward(self, x):
        with pyro.plate("data", len(x), dim=-1):
            a = pyro.sample("a", dist.Normal(torch.zeros(()), 1.0))
            b = pyro.sample("b", dist.Normal(a, 1.0))
            pyro.sample("x", dist.Normal(b, 1.0), obs=x)


class ChainGuide(nn.Module):
    """q(a | x) = N(x / 3, 2 / 3), q(b | a, x) = N((a + x) / 2, 1 / 2): the exact posterior."""

    def forward(self, x):
        with pyro.plate("data", len(x), dim=-1):
            a = pyro.sample("a", dist.Normal(x / 3, math.sqrt(2 / 3)))
            pyro.sample("b", dist.Normal((a + x) / 2, math.sqrt(0.5)))


@pytest.mark.usefixtures("untouched")
def test_it_is_that_of_a_linear_gaussian_channel():
    # x ~ N(0, 4.25), z | x ~ N(4 x / 4.25, 1 / 4.25): I = log(var z / var z|x) / 2 = log(17) / 2
    found = mutual_information(Conjugate(), ConjugateGuide(exact=True), data(2000))
    truth = 0.5 * math.log(17)
    assert found.error < 0.03
    assert found.nats - 4 * found.error < truth < found.upper + 4 * found.upper_error
    assert found.upper - found.nats < 0.05  # the bracket is of order e^I / N
    assert found.nats == pytest.approx(truth, abs=4 * found.error + 0.01)
    # the exact posterior's aggregate is the prior, so that the whole rate is information
    assert abs(found.marginal_kl) < 0.05


def test_the_marginal_term_is_the_aggregates_distance_to_the_prior():
    guide = ConjugateGuide()  # z | x ~ N(0.7 x, 0.8): z ~ N(0, 0.49 * 4.25 + 0.64)
    found = mutual_information(Conjugate(), guide, data(2000), num_samples=2)
    variance = 0.49 * 4.25 + 0.64
    marginal = dist.Normal(0.0, math.sqrt(variance))
    truth = float(torch.distributions.kl_divergence(marginal, dist.Normal(0.0, 2.0)))
    # N = 2,000 data have their variance to 3 %: 0.02 nat
    assert found.marginal_kl == pytest.approx(truth, abs=0.04)
    assert found.nats == pytest.approx(0.5 * math.log(variance / 0.64), abs=0.05)


def test_a_collapsed_guide_carries_no_information():
    guide = ConjugateGuide()
    guide.slope.data.zero_()
    found = mutual_information(Conjugate(), guide, data(50))
    assert found.nats == pytest.approx(0.0, abs=1e-6)
    assert found.upper == pytest.approx(0.0, abs=1e-6)
    assert found.rate == pytest.approx(found.marginal_kl) and found.rate > 0.05


def test_a_guide_that_knows_each_datum_reaches_the_ceiling_and_says_so():
    guide = ConjugateGuide(exact=True)
    guide.log_scale.data.fill_(-20.0)
    found = mutual_information(Conjugate(), guide, data(50))
    assert found.nats == pytest.approx(math.log(50), abs=1e-6) == pytest.approx(found.ceiling)
    assert found.upper > 1000
    assert "log N = 3.91" in str(found)
    assert "log N" not in str(mutual_information(Conjugate(), ConjugateGuide(), data(200)))


def test_chunks_change_nothing():
    x = data(30)
    whole = mutual_information(Conjugate(), ConjugateGuide(), x, num_samples=3)
    parts = mutual_information(Conjugate(), ConjugateGuide(), x, num_samples=3, chunk=7)
    assert whole.nats == pytest.approx(parts.nats, abs=1e-9)
    assert whole.upper == pytest.approx(parts.upper, abs=1e-9)


def test_one_datum_carries_no_information():
    found = mutual_information(Conjugate(), ConjugateGuide(), data(1))
    assert found.nats == 0.0 and math.isnan(found.upper) and math.isnan(found.error)


def test_sites_together_and_one_that_stands_alone():
    x = data(1500, math.sqrt(3.0))
    both = mutual_information(Chain(), ChainGuide(), x)
    # b alone has all that x informs of: x -> b is a channel of variance 3 into 3 * 4 / 9 + 2 / 3
    assert both.nats == pytest.approx(0.5 * math.log(3), abs=0.06)
    first = mutual_information(Chain(), ChainGuide(), x, site="a")
    assert first.nats == pytest.approx(0.5 * math.log(1.5), abs=0.06)
    assert first.sites == ("a",)
    with pytest.raises(PairError, match="together") as caught:
        mutual_information(Chain(), ChainGuide(), x[:20], site="b")
    assert caught.value.site == "b"


def test_an_enumerated_component_is_summed_out_of_the_prior():
    model, x = MixturePrior(), data(400)
    found = mutual_information(model, ConjugateGuide(), x, num_samples=3)
    q = dist.Normal(0.7 * x, 0.8)
    z = q.sample((4000,))
    prior = dist.MixtureSameFamily(
        dist.Categorical(logits=model.logits.detach()), dist.Normal(model.loc.detach(), 1.0)
    )
    rate = (q.log_prob(z) - prior.log_prob(z)).mean()
    assert found.rate == pytest.approx(float(rate), abs=0.1)  # of 1,200 draws, deviation about 1


def test_sequences_further_plates_and_masks():
    x, mask = torch.randn(6, 4, 2), torch.ones(6, 4, dtype=torch.bool)
    found = mutual_information(Sequence(), SequenceGuide(), x, mask)
    assert 0 < found.nats <= math.log(6)
    tracks = mutual_information(Tracks(), TracksGuide(), torch.randn(5, 3, 2), plate="sequence")
    assert 0 < tracks.nats <= math.log(5) and tracks.sites == ("s",)


def test_a_pair_that_cannot_be_drawn_at_once_gives_the_same():
    class Alone(ConjugateGuide):
        def forward(self, x, size=1):
            with pyro.plate("data", len(x), dim=-1):
                z = pyro.sample("z", dist.Normal(self.slope * x, self.log_scale.exp()))
                assert z.dim() == 1

    x = data(12)
    one = mutual_information(Conjugate(), Alone(), x, num_samples=20)
    many = mutual_information(Conjugate(), ConjugateGuide(), x, num_samples=20)
    assert one.nats == pytest.approx(many.nats, abs=0.2)  # other draws of the same distribution


def test_an_autoguide_in_a_plate():
    model = Conjugate()
    guide = AutoNormal(model)
    found = mutual_information(model, guide, data(40))
    assert 0 <= found.nats < 0.1 and found.sites == ("z_unconstrained",)


@pytest.mark.parametrize(
    ("pair", "named", "words"),
    [
        ((GlobalMean(), GlobalMeanGuide()), {}, "outside the data plate"),
        ((Hierarchy(), HierarchyGuide()), {}, "outside the data plate"),
        ((Hierarchy(), HierarchyGuide()), {"site": "z"}, "changes with other draws"),
        ((Conjugate(), OwnNoiseGuide()), {}, "no random draw"),
        ((Conjugate(), ConjugateGuide()), {"site": "y"}, r"some of \['z'\]"),
    ],
)
def test_what_has_no_aggregate_says_so(pair, named, words):
    with pytest.raises(PairError, match=words):
        mutual_information(*pair, data(8), **named)
