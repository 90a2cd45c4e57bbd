"""The identifiable VAE: exact where it is linear, and sources found where a VAE finds none."""

from __future__ import annotations

import math

import pytest
import torch
from pyro import poutine
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from guides.ivae import IVAEGuide
from guides.vae import VAEGuide
from inference import Objective, check, fit
from inference.metrics import mean_correlation
from ppl_models.errors import InputError
from ppl_models.ivae import IVAE
from ppl_models.vae import VAE

NOISE = 0.4


def linear(weight: Tensor, loc: Tensor, log_scale: Tensor) -> IVAE:
    """x ~ N(W z, NOISE^2), z ~ N(loc_c, scale_c^2) for classes c."""
    decoder, prior = nn.Linear(2, 3, bias=False), nn.Linear(len(loc), 4, bias=False)
    model = IVAE(3, len(loc), 2, scale=NOISE, decoder=decoder).double()
    with torch.no_grad():
        decoder.double().weight.copy_(weight)
        prior.double().weight.copy_(torch.cat([loc, log_scale], 1).T)
    model.prior.network = prior
    return model


def evidence(model: IVAE, x: Tensor, c: Tensor) -> Tensor:
    weight, prior = model.decoder.weight, model.prior.distribution(c).base_dist
    covariance = weight @ torch.diag_embed(prior.scale**2) @ weight.T
    covariance = covariance + NOISE**2 * torch.eye(3).double()
    return MultivariateNormal(prior.loc @ weight.T, covariance).log_prob(x)


class Posterior(nn.Module):
    """The exact posterior where W' W is diagonal, as an encoder of (x, c)."""

    def __init__(self, model: IVAE) -> None:
        super().__init__()
        self.parts = (model,)

    def forward(self, inputs: Tensor) -> Tensor:
        x, c = inputs[..., :3], inputs[..., 3:]
        weight, prior = self.parts[0].decoder.weight, self.parts[0].prior.distribution(c).base_dist
        precision = weight.square().sum(0) / NOISE**2 + prior.scale**-2
        loc = (x @ weight / NOISE**2 + prior.loc / prior.scale**2) / precision
        return torch.cat([loc, -0.5 * precision.log()], -1)


def three_classes(turned: float = 0.0) -> tuple[IVAE, Tensor]:
    columns = torch.linalg.qr(torch.arange(9.0).reshape(3, 3).double().sin()).Q[:, :2]
    turn = torch.tensor(
        [[math.cos(turned), -math.sin(turned)], [math.sin(turned), math.cos(turned)]]
    )
    loc = torch.tensor([[0.0, 1.0], [1.0, -1.0], [-1.0, 0.5]]).double()
    log_scale = torch.tensor([[0.0, 0.5], [-1.0, 0.3], [0.6, -0.8]]).double()
    return linear(1.5 * columns @ turn.double(), loc, log_scale), torch.eye(3).double()


def test_the_bound_is_the_exact_evidence_where_the_guide_is_exact() -> None:
    model, classes = three_classes()
    c = classes.repeat(4, 1)
    x = model(None, c).detach()
    bound = Objective().bound(model, IVAEGuide(model, encoder=Posterior(model)), (x, c))
    assert torch.allclose(bound, evidence(model, x, c), atol=1e-10)


def test_a_rotation_of_the_sources_is_another_model_where_their_variances_change() -> None:
    model, classes = three_classes()
    turned, _ = three_classes(0.6)
    c = classes.repeat(3000, 1)
    x = model(None, c).detach()
    drop = (evidence(model, x, c) - evidence(turned, x, c)).detach()
    # KL of the two data densities: 0.2 nat, known to five standard errors
    assert float(drop.mean()) > 5 * float(drop.std()) / len(x) ** 0.5
    with torch.no_grad():  # of a standard normal prior every rotation is the same model
        for part in (model, turned):
            part.prior.network.weight.zero_()
    assert torch.allclose(evidence(model, x, c), evidence(turned, x, c), atol=1e-9)


def test_the_decoder_does_not_read_the_condition_and_the_prior_does() -> None:
    model = IVAE(5, 3, 2)
    guide, c = IVAEGuide(model), torch.randn(6, 3)
    x = model(None, c).detach()
    assert {row.name for row in check(model, guide, x, c).sites} == {"z", "x"}
    z = torch.zeros(6, 2)
    nodes = poutine.trace(poutine.condition(model, data={"z": z})).get_trace(x, c).nodes
    assert nodes["x"]["fn"].mean.std(0).max() == 0 and nodes["z"]["fn"].mean.std(0).min() > 0
    assert model.observation(z).batch_shape == (6,)


def test_settings_are_checked_and_likelihoods_kept() -> None:
    with pytest.raises(InputError, match="likelihood"):
        IVAE(likelihood="flat")
    model = IVAE(4, 2, 2, likelihood="bernoulli")
    assert set(model(None, torch.randn(50, 2)).unique().tolist()) <= {0.0, 1.0}


def segments(size: int, classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Sources whose variances change with the segment, mixed by an injective network; x, c, z."""
    draw = torch.Generator().manual_seed(1)
    scales = 0.3 + 2.7 * torch.rand(classes, 2, generator=draw)
    label = torch.arange(size) % classes
    z = scales[label] * torch.randn(size, 2, generator=draw)
    first, second = torch.randn(2, 2, generator=draw), torch.randn(2, 4, generator=draw)
    first, second = torch.linalg.qr(first).Q, torch.linalg.qr(second.T).Q.T
    hidden = nn.functional.leaky_relu(z @ first, 0.3)
    x = hidden @ second + 0.1 * torch.randn(size, 4, generator=draw)
    return x, torch.eye(classes)[label], z


@pytest.mark.slow
def test_sources_that_change_with_the_condition_are_found_and_a_vae_mixes_them() -> None:
    """Over 0.95 where the VAE stays under 0.9, as it may: nothing prefers one rotation."""
    x, c, z = segments(6000, 12)
    how = {"epochs": 60, "batch_size": 256, "learning_rate": 3e-3, "progress": False, "seed": 2}
    model = IVAE(4, 12, 2, hidden_dims=(32, 32))
    guide = IVAEGuide(model)
    fit(model, guide, (x, c), **how)
    codes = poutine.trace(guide).get_trace(x, c).nodes["z"]["fn"].mean
    plain = VAE(4, 2, hidden_dims=(32, 32))
    other = VAEGuide(plain)
    fit(plain, other, x, **how)
    mixed = poutine.trace(other).get_trace(x).nodes["z"]["fn"].mean
    found, lost = mean_correlation(codes, z), mean_correlation(mixed, z)
    assert found > 0.95 and lost < 0.9
