from __future__ import annotations

import itertools

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch import nn

from inference.enumeration import enumerated
from inference.randomness import seeded
from tests import pairs

PARALLEL = {"enumerate": "parallel"}


def data(*shape: int) -> torch.Tensor:
    with seeded(3):
        return torch.randn(*shape, dtype=torch.float64)


def test_responsibilities_of_a_mixture(untouched: None) -> None:
    x = data(9)
    model = pairs.TwoComponents().double()
    site = enumerated(model, pairs.NoLatents(), x)["w"]
    expected = model.joint(x).softmax(-1)
    assert torch.allclose(site.probs, expected, atol=1e-12)
    assert torch.equal(site.map, expected.argmax(-1))
    assert site.samples.shape == (1, 9)


def test_responsibilities_agree_with_mixture_same_family() -> None:
    # the gradient of log p(x) with respect to the mixing log weights is the responsibility
    x = data(9)
    model = pairs.TwoComponents().double()
    logits = model.logits.log_softmax(-1).detach().expand(9, 2).clone().requires_grad_()
    components = dist.Normal(model.loc, model.log_scale.exp())
    # unnormalised weights: Categorical subtracts their sum, whose gradient is the prior
    mixture = dist.MixtureSameFamily(dist.Categorical(logits=logits), components.expand([9, 2]))
    (gradient,) = torch.autograd.grad(mixture.log_prob(x).sum(), logits)
    prior = model.logits.softmax(-1)
    site = enumerated(model, pairs.NoLatents(), x)["w"]
    assert torch.allclose(site.probs, gradient + prior, atol=1e-12)


def test_one_datum_and_one_draw_keep_their_shape() -> None:
    site = enumerated(pairs.TwoComponents().double(), pairs.NoLatents(), data(1))["w"]
    assert site.probs.shape == (1, 2) and site.map.shape == (1,) and site.samples.shape == (1, 1)


def test_probabilities_are_averaged_over_the_guide() -> None:
    x = data(5)
    model, guide = pairs.MixturePrior().double(), pairs.ConjugateGuide().double()
    site = enumerated(model, guide, x, num_samples=4, seed=2)["w"]
    one = enumerated(model, guide, x, num_samples=1, seed=2)["w"]
    assert site.samples.shape == (4, 5) and site.map.shape == (5,)
    assert torch.equal(site.map, site.probs.argmax(-1))
    with seeded(2):
        z = dist.Normal(guide.slope * x, guide.log_scale.exp()).rsample()
    joint = model.logits + dist.Normal(model.loc, 1.0).log_prob(z[:, None])
    assert torch.allclose(one.probs, joint.softmax(-1), atol=1e-12)
    # 40 draws for each of 50 copies: the posterior under q(z), which quadrature knows
    many = enumerated(model, guide, x.repeat(50), num_samples=40)["w"]
    grid = torch.linspace(-8, 8, 4001, dtype=x.dtype)[:, None]
    q = dist.Normal(guide.slope * x, guide.log_scale.exp()).log_prob(grid).exp()
    joint = model.logits + dist.Normal(model.loc, 1.0).log_prob(grid[..., None])
    quadrature = (q[..., None] * joint.softmax(-1)).sum(0) * 16 / 4000
    # what is averaged lies in [0, 1], its deviation is at most 1/2: 4.5 standard errors of 2,000
    error = 4.5 * 0.5 / 2000**0.5
    assert torch.allclose(many.probs.reshape(50, 5, 2).mean(0), quadrature, atol=error)
    frequency = many.samples.reshape(40 * 50, 5).double().mean(0)
    assert torch.allclose(frequency, quadrature[:, 1], atol=error)


class Clips(nn.Module):
    """Plates clips (-3), frames (-2), detections (-1) and sources (-1); w gathers s."""

    def forward(self, x: torch.Tensor) -> None:
        num_clips, frames, detections = x.shape
        clips = pyro.plate("clips", num_clips, dim=-3)
        with clips, pyro.plate("sources", 3, dim=-1):
            prior = dist.Normal(torch.zeros(3, dtype=x.dtype), 1.0)
            s = pyro.sample("s", prior.expand([num_clips, 1, 3]))
        frame = pyro.plate("frames", frames, dim=-2)
        with clips, frame, pyro.plate("detections", detections, dim=-1):
            weights = torch.tensor([0.5, 0.3, 0.2], dtype=x.dtype)
            w = pyro.sample("w", dist.Categorical(weights), infer=PARALLEL)
            rows = torch.arange(num_clips)[:, None, None]
            pyro.sample("x", dist.Normal(s[rows, 0, w], 0.5), obs=x)


class ClipsGuide(nn.Module):
    def forward(self, x: torch.Tensor) -> None:
        with pyro.plate("clips", len(x), dim=-3), pyro.plate("sources", 3, dim=-1):
            loc = torch.tensor([-1.2, 0.4, 1.9], dtype=x.dtype)
            pyro.sample("s", dist.Normal(loc, 0.3).expand([len(x), 1, 3]))


@pytest.mark.parametrize("shape", [(4, 2, 5), (1, 2, 5), (4, 1, 5), (4, 2, 1), (1, 1, 1)])
def test_two_plates_and_a_gathered_latent(shape: tuple[int, ...]) -> None:
    x = data(*shape)
    site = enumerated(Clips(), ClipsGuide(), x, seed=6)["w"]
    with seeded(6):
        s = poutine.trace(ClipsGuide()).get_trace(x).nodes["s"]["value"]
    weights = torch.tensor([0.5, 0.3, 0.2], dtype=x.dtype)
    joint = weights.log() + dist.Normal(s[:, :, None], 0.5).log_prob(x[..., None])
    assert site.probs.shape == (*shape, 3)
    assert torch.allclose(site.probs, joint.softmax(-1), atol=1e-10)
    assert torch.equal(site.map, joint.argmax(-1))
    assert site.samples.shape == (1, *shape)


class Chain(nn.Module):
    """A hidden Markov model of 2 states, one site a step."""

    start = torch.tensor([0.8, 0.2], dtype=torch.float64)
    move = torch.tensor([[0.7, 0.3], [0.4, 0.6]], dtype=torch.float64)
    loc = torch.tensor([-0.7, 0.7], dtype=torch.float64)

    def forward(self, x: torch.Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            w = None
            for t in pyro.markov(range(x.shape[1])):
                probs = self.start if w is None else self.move[w]
                w = pyro.sample(f"w_{t}", dist.Categorical(probs), infer=PARALLEL)
                pyro.sample(f"x_{t}", dist.Normal(self.loc[w], 1.0), obs=x[:, t])

    def paths(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """All paths (2^T, T) and their posterior given one sequence, shape (2^T,)."""
        every = torch.tensor(list(itertools.product(range(2), repeat=len(x))))
        log_joint = self.start.log()[every[:, 0]]
        for t in range(1, len(x)):
            log_joint = log_joint + self.move.log()[every[:, t - 1], every[:, t]]
        log_joint = log_joint + dist.Normal(self.loc[every], 1.0).log_prob(x).sum(-1)
        return every, log_joint.softmax(0)


def test_a_hidden_markov_model_against_all_paths() -> None:
    x = data(6, 4)
    model = Chain()
    sites = enumerated(model, pairs.NoLatents(), x)
    assert list(sites) == ["w_0", "w_1", "w_2", "w_3"]
    for row in range(6):
        every, posterior = model.paths(x[row])
        best = every[posterior.argmax()]
        for t in range(4):
            marginal = torch.stack([posterior[every[:, t] == k].sum() for k in range(2)])
            assert torch.allclose(sites[f"w_{t}"].probs[row], marginal, atol=1e-12)
            assert sites[f"w_{t}"].map[row] == best[t]  # the most probable path, not step by step


def test_draws_of_a_chain_have_the_joint_distribution() -> None:
    model, copies = Chain(), 20_000
    x = data(1, 3)
    sites = enumerated(model, pairs.NoLatents(), x.expand(copies, 3))
    path = sum(sites[f"w_{t}"].samples[0] * 2 ** (2 - t) for t in range(3))
    _, posterior = model.paths(x[0])
    frequency = torch.bincount(path, minlength=8) / copies
    error = (posterior * (1 - posterior) / copies).sqrt()
    assert ((frequency - posterior).abs() < 4.5 * error).all()  # 8 tests at 4.5 standard errors


def test_a_mask_hides_what_is_missing() -> None:
    x = data(5)
    observed = torch.tensor([True, False, True, True, False])

    class Masked(nn.Module):
        def forward(self, x: torch.Tensor) -> None:
            with pyro.plate("data", len(x), dim=-1):
                probs = torch.tensor([0.9, 0.1], dtype=x.dtype)
                w = pyro.sample("w", dist.Categorical(probs), infer=PARALLEL)
                loc = torch.tensor([-1.0, 1.0], dtype=x.dtype)[w]
                pyro.sample("x", dist.Normal(loc, 1.0).mask(observed), obs=x)

    site = enumerated(Masked(), pairs.NoLatents(), x)["w"]
    assert torch.allclose(site.probs[~observed], torch.tensor([0.9, 0.1], dtype=x.dtype))
    assert not torch.allclose(site.probs[0], torch.tensor([0.9, 0.1], dtype=x.dtype))


def test_a_bernoulli_site() -> None:
    x = data(5)

    def model(x: torch.Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            w = pyro.sample("w", dist.Bernoulli(0.3 + 0 * x[0].abs()), infer=PARALLEL)
            pyro.sample("x", dist.Normal(2 * w - 1, 1.0), obs=x)

    site = enumerated(model, lambda x: None, x)["w"]
    joint = (
        torch.stack([dist.Normal(-1.0, 1.0).log_prob(x), dist.Normal(1.0, 1.0).log_prob(x)], -1)
        + torch.tensor([0.7, 0.3], dtype=x.dtype).log()
    )
    assert torch.allclose(site.probs, joint.softmax(-1), atol=1e-6)  # 0.3 is a float32
    assert set(site.samples.unique().tolist()) <= {0.0, 1.0}


def test_a_global_enumerated_site() -> None:
    x = data(3)

    def model(x: torch.Tensor) -> None:
        loc = torch.tensor([-1.0, 1.0], dtype=x.dtype)
        w = pyro.sample("w", dist.Categorical(0 * loc + 0.5), infer=PARALLEL)
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("x", dist.Normal(loc[w], 1.0), obs=x)

    site = enumerated(model, lambda x: None, x)["w"]
    joint = torch.stack([dist.Normal(m, 1.0).log_prob(x).sum() for m in (-1.0, 1.0)])
    assert site.probs.shape == (2,) and site.map.shape == () and site.samples.shape == (1,)
    assert torch.allclose(site.probs, joint.softmax(-1), atol=1e-12)


def test_nothing_to_enumerate() -> None:
    assert enumerated(pairs.Conjugate(), pairs.ConjugateGuide(), torch.zeros(3)) == {}


def test_one_hot_sites_have_the_answers_of_the_categorical_ones() -> None:
    def model(x: torch.Tensor, one_hot: bool = False) -> None:
        kind = dist.OneHotCategorical if one_hot else dist.Categorical
        with pyro.plate("data", len(x), dim=-1):
            w = pyro.sample("w", kind(torch.tensor([0.2, 0.3, 0.5])), infer=PARALLEL)
            where = w[..., 1] + 2 * w[..., 2] if one_hot else w
            pyro.sample("x", dist.Normal(2.0 * where, 1.0), obs=x)

    def guide(x: torch.Tensor, one_hot: bool = False) -> None:
        pass

    x = torch.linspace(-1, 5, 4)
    vectors, numbers = (enumerated(model, guide, x, k, num_samples=3)["w"] for k in (True, False))
    assert torch.allclose(vectors.probs, numbers.probs)
    assert torch.equal(vectors.map, torch.eye(3)[numbers.map.long()])
    assert torch.equal(vectors.samples, torch.eye(3)[numbers.samples.long()])
    assert torch.equal(vectors.support, torch.eye(3))


def test_bad_numbers_of_draws_are_refused() -> None:
    with pytest.raises(ValueError, match="num_samples is 0"):
        enumerated(pairs.TwoComponents(), pairs.NoLatents(), torch.zeros(3), num_samples=0)


@pytest.mark.parametrize("outside", [True, False])
def test_under_a_mask_an_enumerated_site_keeps_its_prior(outside: bool) -> None:
    mask = torch.tensor([True, False])

    def model(x: torch.Tensor) -> None:
        prior = dist.Categorical(torch.tensor([0.1, 0.9]))
        around = mask if outside else True
        with pyro.plate("data", len(x)), pyro.poutine.mask(mask=around):
            w = pyro.sample("w", prior if outside else prior.mask(mask), infer=PARALLEL)
            pyro.sample("x", dist.Normal(4.0 * w, 1.0).mask(mask), obs=x)

    found = enumerated(model, lambda x: None, torch.zeros(2), num_samples=150)["w"]
    assert found.probs[1].tolist() == pytest.approx([0.1, 0.9], abs=1e-6)
    assert found.probs[0, 0] > 0.99  # 0.1 N(0; 0, 1) against 0.9 N(0; 4, 1): e^8 to 9
    assert found.map.tolist() == [0, 1]
    assert found.samples[:, 1].float().mean() == pytest.approx(0.9, abs=0.08)  # 3 standard errors


def test_the_map_of_draws_that_disagree_is_that_of_their_mean() -> None:
    x = torch.linspace(-3.0, 2.0, 40).double()
    model, guide = pairs.MixturePrior().double(), pairs.ConjugateGuide().double()
    guide.log_scale.data.fill_(1.0)  # so wide that single draws often say something else
    site = enumerated(model, guide, x, num_samples=9, seed=2)["w"]
    assert torch.equal(site.map, site.probs.argmax(-1))
    first = enumerated(model, guide, x, num_samples=1, seed=2)["w"].map
    assert not torch.equal(site.map, first)
