"""Priors as parts: densities against closed forms and brute force, and what they learn."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from pyro import poutine
from torch import Tensor, nn
from torch.distributions import Normal

from guides.vae import VAEGuide
from inference import check, fit
from inference.checkpoint import load, save
from inference.errors import CheckpointError
from inference.objectives.objective import Objective
from ppl_models.errors import InputError
from ppl_models.likelihoods.basic import Bernoulli, Gaussian, Laplace, Likelihood
from ppl_models.likelihoods.discrete import Categorical, DiscretizedLogistic
from ppl_models.networks.mlp import MLP
from ppl_models.priors.density import AggregatedPosterior, FlowPrior
from ppl_models.priors.simple import ConditionalPrior, MixturePrior, StandardPrior, VampPrior
from ppl_models.vae import VAE

LIKELIHOODS = {
    "bernoulli": lambda: Bernoulli(5),
    "gaussian": lambda: Gaussian(5, "decoded"),
    "laplace": lambda: Laplace(5),
    "categorical": lambda: Categorical(5, 3),
    "levels": lambda: DiscretizedLogistic(5, 16),
}
PRIORS = {
    "standard": lambda encoder, size: StandardPrior(2),
    "mixture": lambda encoder, size: MixturePrior(2, 3),
    "vamp": lambda encoder, size: VampPrior(encoder, torch.rand(4, size)),
    "ratio": lambda encoder, size: AggregatedPosterior(2, MLP(2, 4, 1), num_samples=100),
    "flow": lambda encoder, size: FlowPrior(2, hidden_dims=(8, 8)),
}


def pair(likelihood: str, prior: str, dtype: torch.dtype) -> tuple[VAE, VAEGuide]:
    part: Likelihood = LIKELIHOODS[likelihood]()
    encoder = MLP(part.feature_dim, 8, 4)
    chosen = PRIORS[prior](encoder, part.feature_dim)
    model = VAE(5, 2, hidden_dims=(8,), likelihood=part, prior=chosen).to(dtype)
    return model, VAEGuide(model, encoder=encoder).to(dtype)


# --- every prior with every likelihood ------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["single", "double"])
@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_they_go_together(likelihood: str, prior: str, dtype: torch.dtype) -> None:
    model, guide = pair(likelihood, prior, dtype)
    x, objective = model(size=6).detach(), Objective()
    bound = objective.bound(model, guide, (x[:1],))  # a single datum
    assert bound.shape == (1,) and bound.isfinite().all()
    loss = objective.loss(model, guide, (x,))
    assert loss.dtype == dtype and loss.isfinite()
    loss.backward()
    wanted = [p for m in (model, guide) for p in m.parameters() if p.requires_grad]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in wanted)


@pytest.mark.parametrize(
    ("likelihood", "prior"), list(zip(LIKELIHOODS, PRIORS, strict=True)) + [("levels", "mixture")]
)
def test_they_pass_check_and_a_step_of_fit(likelihood: str, prior: str) -> None:
    model, guide = pair(likelihood, prior, torch.float32)
    x = model(size=6).detach()
    names = {row.name for row in check(model, guide, x).sites}
    assert names == {"z", "x"} | ({"component"} if prior == "mixture" else set())
    run = fit(model, guide, x, epochs=1, batch_size=6, progress=False)
    assert math.isfinite(run.history[-1]["bound"])


@pytest.mark.parametrize("prior", PRIORS)
def test_draws_have_the_density(prior: str) -> None:
    """E 1 / p(z) over draws in a box is the box's size, whatever p is."""
    model, _ = pair("bernoulli", prior, torch.float32)
    z = model.prior.distribution().sample((20_000,))
    inside = (z.abs() < 0.7).all(-1)
    weights = inside / model.prior.log_prob(z).exp()
    error = weights.std().item() / math.sqrt(len(z)) + 0.03 * (prior == "ratio")
    assert abs(weights.mean().item() - 1.4**2) < 4 * error


# --- the mixture ----------------------------------------------------------------------------------


def test_a_mixture_s_marginal_is_what_enumeration_sums() -> None:
    model, guide = pair("bernoulli", "mixture", torch.float64)
    with torch.no_grad():
        model.prior.logits.copy_(torch.tensor([0.5, -1.0, 0.2]))
        model.prior.log_scale.copy_(0.5 * torch.randn(3, 2))
    x = model(size=6).detach()
    torch.manual_seed(5)
    summed = Objective("enum").bound(model, guide, (x,))
    torch.manual_seed(5)
    trace = poutine.trace(guide).get_trace(x)
    z, q = trace.nodes["z"]["value"], trace.nodes["z"]["fn"]
    by_hand = model.prior.log_prob(z) + model.observation(z).log_prob(x) - q.log_prob(z)
    assert torch.allclose(summed, by_hand, atol=1e-6)
    short = copy.deepcopy(model)
    short.prior.summed = True  # the same model without the site
    torch.manual_seed(5)
    assert torch.allclose(Objective("trace").bound(short, guide, (x,)), by_hand, atol=1e-6)
    assert {row.name for row in check(short, guide, x).sites} == {"z", "x"}


def test_a_mixture_s_parameters_are_recovered() -> None:
    torch.manual_seed(2)
    truth = MixturePrior(1, 2)
    with torch.no_grad():
        truth.loc.copy_(torch.tensor([[-2.0], [1.5]]))
        truth.log_scale.copy_(torch.tensor([[0.5], [1.0]]).log())
        truth.logits.copy_(torch.tensor([0.3, 0.7]).log())

    def build(prior: MixturePrior) -> VAE:
        return VAE(1, 1, scale=0.2, decoder=nn.Identity(), prior=prior)  # x is z, a little blurred

    x = build(truth)(size=1000).detach()
    model = build(MixturePrior(1, 2))
    with torch.no_grad():
        model.prior.loc.copy_(torch.tensor([[-0.5], [0.5]]))
    guide = VAEGuide(model, hidden_dims=(16,))
    fit(model, guide, x, epochs=30, batch_size=250, learning_rate=0.1, progress=False)
    weights = model.prior.logits.softmax(-1)
    # 4 s.e. of 1000 data: a share by 0.06, a mean by 4 / sqrt(700) = 0.15, a scale by 0.11
    assert weights[0].item() == pytest.approx(0.3, abs=0.06)
    assert torch.allclose(model.prior.loc, truth.loc, atol=0.15)
    assert torch.allclose(model.prior.log_scale.exp(), truth.log_scale.exp(), atol=0.13)


def test_a_conditional_prior_depends_on_its_condition_alone() -> None:
    prior, c, z = ConditionalPrior(3, 2, (8,)), torch.randn(5, 3), torch.randn(4, 5, 2)
    loc, log_scale = prior.network(c).chunk(2, -1)
    by_hand = Normal(loc, log_scale.exp()).log_prob(z).sum(-1)
    assert torch.allclose(prior.log_prob(z, c), by_hand, atol=1e-6)
    assert prior(condition=c).shape == (5, 2)


def vamp_pair(data: Tensor, num: int = 7, latent_dim: int = 2) -> tuple[VAE, VAEGuide]:
    """A pair whose guide and prior share one encoder."""
    size = data.shape[-1]
    encoder = MLP(size, 8, 2 * latent_dim)
    prior = VampPrior.from_data(encoder, data, num)
    model = VAE(size, latent_dim, hidden_dims=(8,), likelihood="bernoulli", prior=prior)
    return model, VAEGuide(model, encoder=encoder)


def bits(num: int = 40, size: int = 5) -> Tensor:
    return (torch.rand(num, size) < 0.5).float()


# --- the VampPrior --------------------------------------------------------------------------------


def test_vamp_s_density_is_the_mean_of_the_guide_s() -> None:
    model, guide = vamp_pair(bits())
    z, u = torch.randn(3, 4, 2), model.prior.pseudo_inputs
    q = poutine.trace(guide).get_trace(u.round()).nodes["z"]["fn"].base_dist
    assert (u - u.round()).abs().max() <= 0.011  # it starts at data, a margin inside their range
    loc, log_scale = guide.encoder(u).chunk(2, -1)
    of_each = Normal(loc, log_scale.exp()).log_prob(z[..., None, :]).sum(-1)
    by_hand = of_each.logsumexp(-1) - math.log(7)
    assert torch.allclose(model.prior.log_prob(z), by_hand, atol=1e-5)
    assert q.loc.shape == (7, 2)


def test_one_constant_pseudo_datum_is_the_standard_prior() -> None:
    encoder = nn.Linear(5, 4)
    nn.init.zeros_(encoder.weight)
    nn.init.zeros_(encoder.bias)  # q(z | u) is N(0, I) whatever u
    x, prior = bits(), VampPrior(encoder, torch.full((1, 5), 0.5))
    guide, bounds = VAEGuide(VAE(5, 2)), []
    for part in (prior, StandardPrior(2)):
        torch.manual_seed(0)
        model = VAE(5, 2, likelihood="bernoulli", prior=part)
        torch.manual_seed(1)
        bounds.append(Objective("trace").bound(model, guide, (x,)))
    assert torch.allclose(*bounds, atol=1e-5)


def test_the_pair_passes_check_and_simulates() -> None:
    x = bits()
    model, guide = vamp_pair(x)
    assert {row.name for row in check(model, guide, x).sites} == {"z", "x"}
    assert model(size=9).shape == (9, 5)


def test_pseudo_data_are_learned_and_stay_in_bounds() -> None:
    x = bits(200)
    model, guide = vamp_pair(x)
    start = model.prior.pseudo_inputs.detach()
    fit(model, guide, x, epochs=20, learning_rate=0.3, progress=False)
    u = model.prior.pseudo_inputs
    assert u.min() >= 0 and u.max() <= 1 and (u - start).abs().max() > 0.1


def test_a_shared_encoder_is_saved_and_loaded_once_or_twice(tmp_path) -> None:
    x, path = bits(), tmp_path / "pair.safetensors"
    model, guide = vamp_pair(x)
    save(path, {"model": model, "guide": guide}, model="VampPrior", config={})
    again = vamp_pair(1 - x)
    load(path, into=dict(zip(("model", "guide"), again, strict=True)))
    assert again[0].prior.encoder is again[1].encoder
    z = torch.randn(4, 2)
    assert torch.equal(again[0].prior.log_prob(z), model.prior.log_prob(z))


def test_a_file_of_two_encoders_does_not_fit_a_shared_one(tmp_path) -> None:
    x, path = bits(), tmp_path / "pair.safetensors"
    model, _ = vamp_pair(x)
    save(path, {"model": model, "guide": VAEGuide(model, hidden_dims=(8,))}, model="V", config={})
    pair = dict(zip(("model", "guide"), vamp_pair(x), strict=True))
    with pytest.raises(CheckpointError, match="one tensor"):
        load(path, into=pair)


def test_a_resumed_run_of_a_shared_encoder_is_the_uninterrupted_one(tmp_path) -> None:
    x = bits()
    whole, parts = vamp_pair(x), vamp_pair(x)
    for own, other in zip(whole, parts, strict=True):
        other.load_state_dict(own.state_dict())
    options = {"batch_size": 16, "learning_rate": 1e-2, "progress": False}
    fit(*whole, x, epochs=3, **options)
    fit(*parts, x, epochs=1, directory=tmp_path, **options)
    fresh = vamp_pair(x)
    fit(*fresh, x, epochs=3, directory=tmp_path, resume=True, **options)
    assert fresh[0].prior.encoder is fresh[1].encoder
    for a, b in zip(whole[0].parameters(), fresh[0].parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: VampPrior(nn.Linear(5, 4), torch.full((3, 5), 2.0)), "pseudo_inputs"),
        (lambda: VampPrior(nn.Linear(5, 3), torch.zeros(3, 5)), "two a latent number"),
        (lambda: VampPrior.from_data(nn.Linear(5, 4), bits(6), 7), "num_rows"),
        (lambda: VAE(5, 3, prior=VampPrior(nn.Linear(5, 4), torch.zeros(3, 5))), "latent_dim 2"),
    ],
)
def test_mistakes_are_named(make, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_starting_noise_is_the_paper_s() -> None:
    prior = VampPrior.from_noise(nn.Linear(50, 4), (40, 50), 0.4, 0.05)
    assert prior.pseudo_inputs.mean().item() == pytest.approx(0.4, abs=0.01)
    assert prior.pseudo_inputs.std().item() == pytest.approx(0.05, rel=0.1)
    free = VampPrior(nn.Linear(5, 4), torch.full((3, 5), 7.0), bounds=None)
    assert free.pseudo_inputs.eq(7).all()


@pytest.mark.parametrize("bounds", [(-1.0, 1.0), (0.0, 1.0), (2.0, 10.0), None])
def test_pseudo_data_start_where_they_were_put(bounds: tuple[float, float] | None) -> None:
    low, high = bounds or (-30.0, 30.0)
    u = low + (high - low) * torch.rand(4, 5).clamp(0.02, 0.98)
    prior = VampPrior(MLP(5, 4), u, bounds)
    assert torch.allclose(prior.pseudo_inputs, u, atol=1e-5)
    other = u.flip(0)
    prior.start_from(other, seed=1)
    assert torch.allclose(prior.pseudo_inputs.sort(0).values, other.sort(0).values, atol=1e-5)
    if bounds is not None:  # a border itself is out of reach of a sigmoid: a hundredth inside
        edge = torch.tensor([[low, high]]).expand(4, 2)
        inside = VampPrior(MLP(2, 4), edge, bounds).pseudo_inputs
        assert torch.allclose((inside - low) / (high - low), torch.tensor([0.01, 0.99]), atol=1e-5)


def test_pseudo_data_are_rows_that_the_seed_chooses() -> None:
    data, encoder = torch.rand(50, 5).clamp(0.02, 0.98), MLP(5, 4)
    made = [VampPrior.from_data(encoder, data, 7, seed=seed).pseudo_inputs for seed in (0, 0, 1)]
    assert torch.equal(made[0], made[1]) and not torch.allclose(made[0], made[2])
    for found in made:
        near = torch.cdist(found, data).argmin(1)
        assert torch.allclose(found, data[near], atol=1e-5) and len(set(near.tolist())) == 7
    free = VampPrior.from_data(encoder, 9 * data, 7, bounds=None)
    assert free.pseudo_inputs.max() > 1
