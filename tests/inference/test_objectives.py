from __future__ import annotations

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn
from torch.distributions import kl_divergence

from inference.errors import NonFiniteError, PairError
from inference.objectives import Objective, explain_nonfinite
from inference.pair import bind
from inference.randomness import seeded
from inference.schedules import linear
from tests import pairs


def data(*shape: int) -> torch.Tensor:
    with seeded(3):
        return torch.randn(*shape, dtype=torch.float64)


@pytest.mark.parametrize("kind", ["auto", "trace"])
def test_exact_posterior_gives_the_evidence(kind: str) -> None:
    # log p(x, z) - log q(z | x) is the constant log p(x), whatever z: no Monte Carlo error
    x = data(7)
    model = pairs.Conjugate().double()
    guide = pairs.ConjugateGuide(exact=True).double()
    bound = Objective(kind).bound(model, guide, (x,))
    # parameters are stored as float32 and widened: 1e-6
    assert torch.allclose(bound, model.evidence(x), atol=1e-6)
    loss = Objective(kind).loss(model, guide, (x,))
    assert torch.isclose(-loss, model.evidence(x).mean(), atol=1e-6)


def test_exact_posterior_of_a_global_latent_gives_the_evidence() -> None:
    x = data(7)
    model = pairs.GlobalMean().double()
    exact = model.posterior(x)
    guide = pairs.GlobalMeanGuide(exact.loc.item(), exact.scale.item()).double()
    bound = Objective().bound(model, guide, (x,))
    assert bound.shape == ()
    assert math.isclose(bound.item(), model.evidence(x).item() / 7, abs_tol=1e-5)


def test_mean_field_bound_is_the_closed_form() -> None:
    x = data(5)
    model, guide = pairs.Conjugate().double(), pairs.ConjugateGuide().double()
    q = dist.Normal(guide.slope * x, guide.log_scale.exp())
    kl = kl_divergence(q, dist.Normal(torch.zeros(5, dtype=x.dtype), 2.0))
    with seeded(1):
        z = q.rsample()
    expected = dist.Normal(z, model.log_noise.exp()).log_prob(x) - kl
    with seeded(1):
        bound = Objective("meanfield").bound(model, guide, (x,))
    assert torch.allclose(bound, expected, atol=1e-12)


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0, 4.0])
def test_kl_weight_reaches_model_and_guide_in_closed_form(weight: float) -> None:
    x = data(5)
    model, guide = pairs.Conjugate().double(), pairs.ConjugateGuide().double()
    q = dist.Normal(guide.slope * x, guide.log_scale.exp())
    kl = kl_divergence(q, dist.Normal(torch.zeros(5, dtype=x.dtype), 2.0)).sum()
    with seeded(1):
        z = q.rsample()
    distortion = -dist.Normal(z, model.log_noise.exp()).log_prob(x).sum()
    with seeded(1):
        loss = Objective("meanfield", kl_weight=weight).loss(model, guide, (x,))
    assert torch.isclose(loss, (distortion + weight * kl) / 5, atol=1e-12)


@pytest.mark.parametrize("kind", ["trace", "enum"])
def test_kl_weight_of_a_sampled_bound(kind: str) -> None:
    x = data(5)
    model, guide = pairs.Conjugate().double(), pairs.ConjugateGuide().double()
    q = dist.Normal(guide.slope * x, guide.log_scale.exp())
    with seeded(1):
        z = q.rsample()
    ratio = q.log_prob(z) - dist.Normal(0 * x, 2.0).log_prob(z)
    expected = 0.25 * ratio - dist.Normal(z, model.log_noise.exp()).log_prob(x)
    with seeded(1):
        loss = Objective(kind, kl_weight=linear(4)).loss(model, guide, (x,), step=1)
    assert torch.isclose(loss, expected.mean(), atol=1e-12)


def test_bound_is_never_weighted() -> None:
    x = data(5)
    model, guide = pairs.Conjugate().double(), pairs.ConjugateGuide().double()
    with seeded(0):
        plain = Objective().bound(model, guide, (x,))
    with seeded(0):
        weighted = Objective(kl_weight=0.1).bound(model, guide, (x,))
    assert torch.equal(plain, weighted)
    x, model, guide = data(5), pairs.GlobalMean().double(), pairs.GlobalMeanGuide().double()
    with seeded(0):
        plain = Objective().bound(model, guide, (x,))
    with seeded(0):
        weighted = Objective(kl_weight=0.1).bound(model, guide, (x,))
    assert torch.equal(plain, weighted)


@pytest.mark.parametrize("kind", ["trace", "meanfield", "enum"])
def test_batches_average_to_the_whole(kind: str) -> None:
    # one draw of mu for all batches: then the mean over a partition is the whole bound exactly
    x = data(12)
    model, guide = pairs.GlobalMean().double(), pairs.GlobalMeanGuide().double()
    objective = Objective(kind, kl_weight=0.7)
    with seeded(5):
        whole = objective.loss(model, guide, (x,))
    parts = []
    for batch in x.split(4):
        with seeded(5):
            parts.append(objective.loss(model, guide, (batch,), data_size=12))
    assert torch.isclose(torch.stack(parts).mean(), whole, atol=1e-12)
    params = [*guide.parameters()]
    expected = torch.autograd.grad(whole, params)
    for got, want in zip(
        torch.autograd.grad(torch.stack(parts).mean(), params), expected, strict=True
    ):
        assert torch.isclose(got, want, atol=1e-12)


def test_uneven_batches_weigh_by_their_size() -> None:
    x = data(7)
    model, guide = pairs.GlobalMean().double(), pairs.GlobalMeanGuide().double()
    with seeded(5):
        whole = Objective().bound(model, guide, (x,))
    total = 0.0
    for batch in x.split(3):  # sizes 3, 3, 1
        with seeded(5):
            total += len(batch) / 7 * Objective().bound(model, guide, (batch,), data_size=7)
    assert torch.isclose(torch.as_tensor(total), whole, atol=1e-12)


def test_a_story_that_subsamples_itself_is_scaled_once() -> None:
    x = data(12)
    index = torch.tensor([1, 5, 6])

    def model(x: torch.Tensor) -> None:
        mu = pyro.sample("mu", dist.Normal(torch.zeros((), dtype=x.dtype), 3.0))
        with pyro.plate("data", len(x), subsample=index, dim=-1) as rows:
            pyro.sample("x", dist.Normal(mu, 1.0), obs=x[rows])

    guide = pairs.GlobalMeanGuide().double()
    bound_model, guide = bind(model, guide, x)
    with seeded(2):
        mu = torch.distributions.Normal(guide.loc, guide.log_scale.exp()).rsample()
    ratio = guide_ratio(guide, mu)
    expected = (dist.Normal(mu, 1.0).log_prob(x[index]).sum() * 4 + ratio) / 12
    with seeded(2):
        loss = Objective().loss(bound_model, guide, (x,), data_size=12)
    assert torch.isclose(-loss, expected, atol=1e-12)


def guide_ratio(guide: nn.Module, mu: torch.Tensor) -> torch.Tensor:
    q = dist.Normal(guide.loc, guide.log_scale.exp())
    return dist.Normal(0.0 * mu, 3.0).log_prob(mu) - q.log_prob(mu)


def test_enumerated_bound_is_the_evidence_per_datum() -> None:
    x = data(6)
    model, guide = pairs.TwoComponents().double(), pairs.NoLatents()
    bound = Objective().bound(model, guide, (x,))
    assert bound.shape == (6,)
    assert torch.allclose(bound, model.evidence(x), atol=1e-12)
    loss = Objective(kl_weight=0.3).loss(model, guide, (x,), data_size=600)
    assert torch.isclose(-loss, model.evidence(x).mean(), atol=1e-12)


def test_enumerated_bound_of_one_datum() -> None:
    x = data(1)
    model, guide = pairs.TwoComponents().double(), pairs.NoLatents()
    bound = Objective().bound(model, guide, (x,))
    assert bound.shape == (1,)
    assert torch.allclose(bound, model.evidence(x), atol=1e-12)


@pytest.mark.parametrize("weight", [1.0, 0.25])
def test_a_prior_that_depends_on_an_enumerated_site(weight: float) -> None:
    # the common poutine.scale that Pyro asks for never breaks: z is weighted inside the sum
    x = data(6)
    model, guide = pairs.MixturePrior().double(), pairs.ConjugateGuide().double()
    q = dist.Normal(guide.slope * x, guide.log_scale.exp())
    with seeded(4):
        z = q.rsample()
    prior = dist.Normal(model.loc, 1.0).log_prob(z[:, None])
    marginal = (model.logits.log_softmax(-1) + weight * prior).logsumexp(-1)
    expected = dist.Normal(z, 0.5).log_prob(x) + marginal - weight * q.log_prob(z)
    with seeded(4):
        loss = Objective(kl_weight=weight).loss(model, guide, (x,), data_size=60)
    assert torch.isclose(-loss, expected.mean(), atol=1e-12)
    if weight == 1.0:
        with seeded(4):
            bound = Objective().bound(model, guide, (x,))
        assert torch.allclose(bound, expected, atol=1e-12)


class TwoPlates(nn.Module):
    """B clips of N sources s and T x K detections, each from a source: the shape of MixDVAE."""

    def __init__(self, missing: torch.Tensor | None = None) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.tensor([-1.0, 0.5, 2.0], dtype=torch.float64))
        self.missing = missing

    def forward(self, x: torch.Tensor) -> None:
        num_clips, frames, detections = x.shape
        clips = pyro.plate("clips", num_clips, dim=-3)
        with clips, pyro.plate("sources", 3, dim=-1):
            s = pyro.sample("s", dist.Normal(self.loc, 1.0).expand([num_clips, 1, 3]))
        frame, detection = (
            pyro.plate("frames", frames, dim=-2),
            pyro.plate("detections", detections, dim=-1),
        )
        with clips, frame, detection:
            weights = torch.tensor([0.5, 0.3, 0.2], dtype=x.dtype)
            w = pyro.sample("w", dist.Categorical(weights), infer={"enumerate": "parallel"})
            rows = torch.arange(num_clips)[:, None, None]
            mask = True if self.missing is None else ~self.missing
            pyro.sample("x", dist.Normal(s[rows, 0, w], 0.5).mask(mask), obs=x)


class TwoPlatesGuide(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.tensor([-1.2, 0.4, 1.9], dtype=torch.float64))

    def forward(self, x: torch.Tensor) -> None:
        with pyro.plate("clips", len(x), dim=-3), pyro.plate("sources", 3, dim=-1):
            pyro.sample("s", dist.Normal(self.loc, 0.3).expand([len(x), 1, 3]))


def two_plates_by_hand(x: torch.Tensor, seed: int, seen: torch.Tensor) -> torch.Tensor:
    model, guide = TwoPlates(), TwoPlatesGuide()
    q = dist.Normal(guide.loc, 0.3).expand([len(x), 1, 3])
    with seeded(seed):
        s = q.rsample()
    weights = torch.tensor([0.5, 0.3, 0.2], dtype=x.dtype).log()
    terms = weights + dist.Normal(s[:, :, None], 0.5).log_prob(x[..., None])
    data_term = (terms.logsumexp(-1) * seen).sum((1, 2))
    ratio = dist.Normal(model.loc, 1.0).log_prob(s) - q.log_prob(s)
    return data_term + ratio.sum((1, 2))


def test_enumerated_bound_per_datum_under_three_plates() -> None:
    x = data(4, 2, 5)
    with seeded(8):
        bound = Objective().bound(TwoPlates(), TwoPlatesGuide(), (x,), plate="clips")
    assert torch.allclose(bound, two_plates_by_hand(x, 8, torch.ones_like(x)), atol=1e-10)


def test_enumerated_bound_per_datum_with_a_mask() -> None:
    x = data(4, 2, 5)
    missing = torch.zeros(4, 2, 5, dtype=torch.bool)
    missing[0, 1, 3:] = missing[2, 0] = True
    with seeded(8):
        bound = Objective().bound(TwoPlates(missing), TwoPlatesGuide(), (x,))
    expected = two_plates_by_hand(x, 8, (~missing).double())
    assert torch.allclose(bound, expected, atol=1e-10)
    with seeded(8):
        loss = Objective().loss(TwoPlates(missing), TwoPlatesGuide(), (x,))
    assert torch.isclose(-loss, expected.mean(), atol=1e-10)


class EnumeratedGuide(nn.Module):
    """A guide that sums over its own q(w | x), as in semi-supervised learning."""

    def forward(self, x: torch.Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            logits = torch.stack([x, -x], -1)
            pyro.sample("w", dist.Categorical(logits=logits), infer={"enumerate": "parallel"})


def test_enumeration_in_the_guide_per_datum() -> None:
    x = data(6)
    model = pairs.TwoComponents().double()
    q = torch.stack([x, -x], -1).log_softmax(-1)
    expected = (q.exp() * (model.joint(x) - q)).sum(-1)
    bound = Objective().bound(model, EnumeratedGuide(), (x,))
    assert torch.allclose(bound, expected, atol=1e-10)
    loss = Objective().loss(model, EnumeratedGuide(), (x,))
    assert torch.isclose(-loss, expected.mean(), atol=1e-10)


def test_particles_average() -> None:
    x = data(4)
    model, guide = pairs.Conjugate().double(), pairs.ConjugateGuide().double()
    q = dist.Normal(guide.slope * x, guide.log_scale.exp())
    with seeded(1):
        draws = torch.stack([q.rsample() for _ in range(3)])
    each = dist.Normal(draws, 0.5).log_prob(x) + dist.Normal(0 * x, 2.0).log_prob(draws)
    expected = (each - q.log_prob(draws)).mean(0)
    for kind in ("trace", "enum"):
        with seeded(1):
            bound = Objective(kind, num_particles=3).bound(model, guide, (x,))
        assert torch.allclose(bound, expected, atol=1e-6)  # log_noise is a float32, widened
        with seeded(1):
            loss = Objective(kind, num_particles=3).loss(model, guide, (x,))
        assert torch.isclose(-loss, expected.mean(), atol=1e-6)


def test_a_batch_needs_a_plate() -> None:
    class NoPlate(nn.Module):
        def forward(self, x: torch.Tensor) -> None:
            mu = pyro.sample("mu", dist.Normal(0.0, 3.0))
            pyro.sample("x", dist.Normal(mu, 1.0).expand(x.shape).to_event(1), obs=x)

    x = torch.randn(4)
    with pytest.raises(PairError, match="no plate of size 4"):
        Objective().loss(NoPlate(), pairs.GlobalMeanGuide(), (x,), data_size=40)
    assert Objective().loss(NoPlate(), pairs.GlobalMeanGuide(), (x,)).isfinite()


def test_a_global_enumerated_site_cannot_be_batched() -> None:
    class WhichMean(nn.Module):
        def forward(self, x: torch.Tensor) -> None:
            w = pyro.sample("w", dist.Categorical(torch.ones(2)), infer={"enumerate": "parallel"})
            with pyro.plate("data", len(x), dim=-1):
                pyro.sample("x", dist.Normal(torch.tensor([-1.0, 1.0])[w], 1.0), obs=x)

    x = torch.randn(4)
    with pytest.raises(PairError, match="outside the plate 'data'") as error:
        Objective().loss(WhichMean(), pairs.NoLatents(), (x,), data_size=40)
    assert error.value.site == "w"
    joint = torch.stack([dist.Normal(m, 1.0).log_prob(x).sum() for m in (-1.0, 1.0)])
    bound = Objective().bound(WhichMean(), pairs.NoLatents(), (x,))
    assert torch.isclose(bound, (joint.logsumexp(0) - math.log(2)) / 4)


def test_a_sampling_objective_refuses_an_enumerated_site() -> None:
    with pytest.raises(PairError, match="kind='enum'"):
        Objective("trace").loss(pairs.TwoComponents(), pairs.NoLatents(), (torch.randn(3),))


@pytest.mark.parametrize(
    "wrong", [{"kind": "iwae"}, {"num_particles": 0}, {"kl_weight": -1.0}, {"kl_weight": math.nan}]
)
def test_settings_are_checked(wrong: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Objective(**wrong)


def test_a_schedule_that_goes_wrong_is_named() -> None:
    with pytest.raises(ValueError, match="kl_weight is -1"):
        Objective(kl_weight=lambda step: -1.0).weight(3)


def test_explain_nonfinite_names_a_parameter() -> None:
    model, guide = pairs.Amortised(), pairs.AmortisedGuide()
    with torch.no_grad():
        guide.encoder.weight[1, 2] = math.nan
    error = explain_nonfinite(model, guide, (torch.randn(3, 4),))
    assert isinstance(error, NonFiniteError)
    assert error.site == "guide.encoder.weight"
    assert "1 of 16" in error.seen and "(1, 2)" in error.seen


def test_explain_nonfinite_names_a_site_and_its_cause() -> None:
    model, guide = pairs.Amortised(), pairs.AmortisedGuide()
    x = torch.randn(3, 4)
    x[1, 2] = math.inf  # finite parameters, an encoder that overflows
    with pyro.validation_enabled(False):
        assert not Objective().loss(model, guide, (x,)).isfinite()
    error = explain_nonfinite(model, guide, (x,))
    assert error.site == "z" and "guide" in error.seen
    error = explain_nonfinite(model, pairs.AmortisedGuide(), (x.nan_to_num(posinf=1e30),))
    assert error.site in ("z", "x")


def test_explain_nonfinite_names_an_observed_site() -> None:
    model, guide = pairs.GlobalMean(), pairs.GlobalMeanGuide()
    x = torch.randn(5)
    x[3] = math.nan
    error = explain_nonfinite(model, guide, (x,))
    assert error.site == "x"
    assert "its value: 1 of 5" in error.seen
    assert "data" in error.cure
    assert not pyro.get_param_store()


def test_explain_nonfinite_tries_every_value_of_an_enumerated_site() -> None:
    # the first component is drawn in all likelihood, the second makes the loss NaN
    class Mixture(nn.Module):
        def __init__(self, scale: float) -> None:
            super().__init__()
            self.scale = scale

        def forward(self, x: torch.Tensor) -> None:
            with pyro.plate("data", len(x), dim=-1):
                weights = dist.Categorical(torch.tensor([1 - 1e-6, 1e-6, 0.0]))
                w = pyro.sample("w", weights, infer={"enumerate": "parallel"})
                scale = torch.tensor([1.0, self.scale, 1.0])[w]
                pyro.sample("x", dist.Normal(0.0, scale), obs=x)

    x = torch.randn(4)
    with pyro.validation_enabled(False):
        assert not Objective().bound(Mixture(-1.0), pairs.NoLatents(), (x,)).isfinite().any()
    error = explain_nonfinite(Mixture(-1.0), pairs.NoLatents(), (x,))
    assert error.site == "x" and "scale" in error.seen
    # a component of weight 0 is no fault
    assert Objective().bound(Mixture(1.0), pairs.NoLatents(), (x,)).isfinite().all()
    assert explain_nonfinite(Mixture(1.0), pairs.NoLatents(), (x,)).site is None


def test_loss_leaves_nothing_behind(untouched: None) -> None:
    model, guide = pairs.Conjugate(), pairs.ConjugateGuide()
    with seeded(0):
        Objective().loss(model, guide, (torch.arange(3.0),))
        Objective().bound(model, guide, (torch.arange(4.0),))
