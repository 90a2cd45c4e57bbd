from __future__ import annotations

import pytest
import torch
from pyro.infer import TraceMeanField_ELBO
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from guides.acquisition import PartialVAEGuide
from inference import check
from ppl_models.acquisition import PartialVAE
from ppl_models.errors import InputError
from ppl_models.likelihoods import Column, Columns
from ppl_models.networks import READERS
from ppl_models.ppca import PPCA
from tests.ppl_models.acquisition.test_partial_vae import as_ppca, ppca

TABLE = (
    Column("age"),
    Column("sex", "binary"),
    Column("blood", "categorical", ("0", "A", "B")),
    Column("visits", "count"),
    Column("pain", "ordinal", ("none", "some", "much")),
    Column("crp", "positive"),
    Column("threshold", "censored", upper=1.0),
)


def gapped(model: PartialVAE, size: int = 30) -> tuple[Tensor, Tensor]:
    """Rows of the model with gaps, the first of them empty, the second whole."""
    x = model(size=size).detach()
    mask = torch.rand(x.shape) < 0.6
    mask[0], mask[1] = False, True
    return torch.where(mask, x, torch.nan), mask


@pytest.mark.parametrize("reader", READERS)
def test_every_reader_makes_a_pair_with_every_kind_of_column(reader: str) -> None:
    model = PartialVAE(len(TABLE), likelihood=Columns(TABLE))
    guide = PartialVAEGuide(model, reader=reader, embedding_dim=5, set_dim=24, hidden_dims=(20, 10))
    x, mask = gapped(model)
    check(model.start_from(x, mask), guide, x, mask)
    check(model, guide, x[mask.all(1)])
    assert guide.reader.out_dim == guide.head[0].in_features - 8 == 24
    assert [layer.out_features for layer in list(guide.head)[::2]] == [20, 10, 8]


@pytest.mark.parametrize("reader", READERS)
def test_nothing_observed_gives_the_prior_exactly(reader: str) -> None:
    model = PartialVAE(len(TABLE), likelihood=Columns(TABLE))
    guide = PartialVAEGuide(model, reader=reader)
    x, mask = gapped(model)
    posterior = guide.posterior(x, mask)
    assert torch.equal(posterior.loc[0], torch.zeros(4))
    assert torch.equal(posterior.scale[0], torch.ones(4))
    assert (posterior.loc[1] != 0).all()
    empty = torch.zeros(5, len(TABLE), dtype=torch.bool)
    assert TraceMeanField_ELBO().loss(model, guide, x[:5], empty) == 0


@pytest.mark.parametrize("reader", READERS)
def test_hidden_values_reach_neither_posterior_nor_gradient(reader: str) -> None:
    model = PartialVAE(len(TABLE), likelihood=Columns(TABLE))
    guide = PartialVAEGuide(model, reader=reader)
    x, mask = gapped(model)
    found = guide.posterior(x, mask)
    other = guide.posterior(torch.where(mask, x, -1e6), mask)
    assert torch.equal(found.loc, other.loc) and torch.equal(found.scale, other.scale)
    TraceMeanField_ELBO().differentiable_loss(model, guide, x, mask).backward()
    both = [*model.parameters(), *guide.parameters()]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in both)


def test_a_whole_row_needs_no_mask() -> None:
    model = PartialVAE(5)
    guide = PartialVAEGuide(model)
    x = model(size=4).detach()
    masked = guide.posterior(x, ~x.isnan())
    assert torch.equal(guide.posterior(x).loc, masked.loc)
    many = guide.posterior(x.expand(3, 4, 5), ~x.isnan())
    assert torch.allclose(many.loc[2], masked.loc) and many.scale.shape == (3, 4, 4)
    assert guide(x).shape == (4, 4)


def gap(guide: PartialVAEGuide, exact: PPCA, x: Tensor, mask: Tensor) -> Tensor:
    """KL(q || posterior) of each row: what the bound lacks of the evidence."""
    wanted = exact.posterior(x, mask)
    truth = Normal(wanted.mean, wanted.covariance_matrix.diagonal(dim1=-2, dim2=-1).sqrt())
    return kl_divergence(guide.posterior(x, mask), truth).sum(-1)


def linear_pair() -> tuple[PartialVAE, PartialVAEGuide, PPCA, Tensor, Tensor]:
    """A model of one latent whose exact posterior is known, its guide, and data with gaps."""
    exact = ppca()
    x = exact(size=1500).detach()
    mask = torch.rand(x.shape) < torch.rand(len(x), 1)
    model = as_ppca(exact)
    return model, PartialVAEGuide(model, set_dim=32, hidden_dims=(32,)).double(), exact, x, mask


def test_the_bound_lacks_the_distance_to_the_exact_posterior() -> None:
    model, guide, exact, x, mask = linear_pair()
    elbo = TraceMeanField_ELBO()
    hidden = torch.where(mask, x, torch.nan)
    bounds = torch.tensor([-elbo.loss(model, guide, hidden, mask) / len(x) for _ in range(60)])
    wanted = exact.evidence(x, mask).mean() - gap(guide, exact, x, mask).mean()
    assert abs(bounds.mean() - wanted) < 5 * bounds.std() / 60**0.5
    assert gap(guide, exact, x, mask).mean() > 0.2  # an untrained guide


def test_a_trained_guide_is_the_exact_posterior_of_a_linear_model_with_gaps() -> None:
    _, guide, exact, x, mask = linear_pair()
    optimizer = torch.optim.Adam(guide.parameters(), 1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=250)
    for _ in range(250):
        optimizer.zero_grad()
        rows = torch.randint(len(x), (256,))
        gap(guide, exact, x[rows], mask[rows]).mean().backward()
        optimizer.step()
        schedule.step()
    # one latent: its posterior is in the guide's family for every subset of the columns
    assert gap(guide, exact, x, mask).mean() < 0.02  # nats a row


def test_a_module_of_the_users_may_read_the_set() -> None:
    class Sum(nn.Module):
        out_dim = 6

        def forward(self, values: Tensor, mask: Tensor) -> Tensor:
            return torch.where(mask[..., None], values, 0.0).sum(-2).expand(*mask.shape[:-1], 6)

    model = PartialVAE(5)
    guide = PartialVAEGuide(model, reader=Sum())
    check(model, guide, *gapped(model))
    with pytest.raises(InputError, match="out_dim"):
        PartialVAEGuide(model, reader=nn.Identity())
    with pytest.raises(InputError, match="did you mean attention"):
        PartialVAEGuide(model, reader="attentio")


def test_a_mask_of_numbers_is_an_error_whose_cure_works() -> None:
    model = PartialVAE(5)
    guide, x = PartialVAEGuide(model), model(size=3).detach()
    with pytest.raises(InputError, match=r"mask = ~x\.isnan"):
        guide(x, torch.ones(3, 5))
    assert guide(x, ~x.isnan()).shape == (3, 4)
    with pytest.raises(InputError, match="N, 5"):
        guide(x[:, :2])
