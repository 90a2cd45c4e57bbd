"""Priors as parts: densities against closed forms and brute force, and what they learn."""

from __future__ import annotations

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
from inference.objectives import Objective
from ppl_models.errors import InputError
from ppl_models.networks import MLP
from ppl_models.priors import StandardPrior, VampPrior
from ppl_models.vae import VAE


def vamp_pair(data: Tensor, num: int = 7, latent_dim: int = 2) -> tuple[VAE, VAEGuide]:
    """A pair whose guide and prior share one encoder."""
    size = data.shape[-1]
    encoder = MLP(size, 8, 2 * latent_dim)
    prior = VampPrior.from_data(encoder, data, num)
    model = VAE(size, latent_dim, hidden_dim=8, likelihood="bernoulli", prior=prior)
    return model, VAEGuide(size, latent_dim, encoder=encoder)


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
    guide, bounds = VAEGuide(5, 2), []
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
    assert model(num_data=9).shape == (9, 5)


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
    save(path, {"model": model, "guide": guide}, story="VampPrior", config={})
    again = vamp_pair(1 - x)
    load(path, into=dict(zip(("model", "guide"), again, strict=True)))
    assert again[0].prior.encoder is again[1].encoder
    z = torch.randn(4, 2)
    assert torch.equal(again[0].prior.log_prob(z), model.prior.log_prob(z))


def test_a_file_of_two_encoders_does_not_fit_a_shared_one(tmp_path) -> None:
    x, path = bits(), tmp_path / "pair.safetensors"
    model, _ = vamp_pair(x)
    save(path, {"model": model, "guide": VAEGuide(5, 2, hidden_dim=8)}, story="V", config={})
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
        (lambda: VampPrior.from_data(nn.Linear(5, 4), bits(6), 7), "num"),
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
