from __future__ import annotations

import pyro.poutine as poutine
import pytest
import torch
from torch import Tensor, nn

from ppl_models.acquisition import PartialVAE
from ppl_models.errors import InputError
from ppl_models.likelihoods import Column, Columns, Gaussian
from ppl_models.ppca import PPCA

TABLE = (Column("age"), Column("sex", "binary"), Column("blood", "categorical", ("0", "A", "B")))


def scored(model: PartialVAE, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """log p(x | z) of each row at a draw of z, and the draw."""
    trace = poutine.trace(model).get_trace(x, mask)
    trace.compute_log_prob()
    return trace.nodes["x"]["log_prob"], trace.nodes["z"]["value"]


def as_ppca(exact: PPCA) -> PartialVAE:
    """The same model as a linear partial VAE, in standard units of its own."""
    model = PartialVAE(exact.data_dim, exact.latent_dim, hidden_dims=()).double()
    columns, linear = model.likelihood, model.decoder[0]
    scale = exact.log_scale.exp()
    share = ((scale - columns.floor) / (columns.ceiling - columns.floor)).logit() - columns._middle
    with torch.no_grad():
        linear.weight.zero_()
        linear.weight[: exact.data_dim] = exact.weight
        linear.bias[: exact.data_dim] = exact.mean
        linear.bias[exact.data_dim :] = share
    return model


def ppca() -> PPCA:
    exact = PPCA(4, 1).double()
    with torch.no_grad():
        exact.mean.copy_(torch.tensor([0.3, -0.2, 0, 0.1]))
        exact.weight.copy_(torch.tensor([[0.8], [-0.6], [0.9], [0.5]]))
        exact.log_scale.fill_(torch.tensor(0.4).log())
    return exact


def test_a_linear_one_is_probabilistic_pca() -> None:
    exact = ppca()
    model = as_ppca(exact)
    x, z = exact(size=6).detach(), torch.randn(6, 1, dtype=torch.float64)
    noise = torch.distributions.Normal(exact.decode(z), 0.4)
    assert torch.allclose(model.observation(z).log_prob(x), noise.log_prob(x).sum(-1))
    assert model.raw(z).shape == (6, 8)


def test_many_draws_of_the_prior_give_the_evidence_with_gaps() -> None:
    exact = ppca()
    model = as_ppca(exact)
    x, mask = exact(size=5).detach(), torch.rand(5, 4) < 0.6
    z = torch.randn(20_000, 1, 1, dtype=torch.float64)
    filled = model.likelihood.fill_missing(x, mask)
    columns = model.likelihood.distribution(model.raw(z)).mask(mask)
    found = columns.log_prob(filled).sum(-1).logsumexp(0) - torch.tensor(20_000.0).log()
    assert torch.allclose(found, exact.evidence(x, mask), atol=0.06)  # the draws' own error


def test_only_what_was_observed_is_scored() -> None:
    model = PartialVAE(3, 2, likelihood=Columns(TABLE))
    x = model(size=40).detach()
    mask = torch.rand(40, 3) < 0.5
    value, z = scored(model, torch.where(mask, x, torch.nan), mask)
    each = model.likelihood.distribution(model.raw(z)).log_prob(x)
    assert torch.allclose(value, torch.where(mask, each, 0.0).sum(-1))
    value.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_a_row_of_which_nothing_was_observed_scores_nothing() -> None:
    model = PartialVAE(3, 2)
    value, _ = scored(model, torch.full((4, 3), torch.nan), torch.zeros(4, 3, dtype=torch.bool))
    assert torch.equal(value, torch.zeros(4))


def test_without_a_mask_all_is_observed() -> None:
    model = PartialVAE(3, 2)
    x = model(size=4).detach()
    torch.manual_seed(1)
    whole, _ = scored(model, x)
    torch.manual_seed(1)
    assert torch.allclose(whole, scored(model, x, ~x.isnan())[0])
    with pytest.raises(InputError, match="x1") as caught:
        model(torch.full((4, 3), torch.nan))
    assert "mask = ~x.isnan()" in caught.value.cure


def test_simulated_rows_are_of_their_kinds_and_units() -> None:
    x = torch.stack([50 + 15 * torch.randn(300), *(torch.rand(300) < 0.5,) * 2], 1).float()
    model = PartialVAE(3, likelihood=Columns(TABLE)).start_from(x, x > -1000)
    drawn = model(size=2000)
    model.likelihood.check(drawn)
    assert 45 < drawn[:, 0].mean() < 55 and 10 < drawn[:, 0].std() < 25
    assert drawn.shape == (2000, 3)


def test_sizes_and_parts_are_the_users() -> None:
    model = PartialVAE(3, 5, hidden_dims=(7,), likelihood=Columns(3, floor=0.1))
    assert [layer.out_features for layer in model.decoder if isinstance(layer, nn.Linear)] == [7, 6]
    assert model.latent_dim == 5 and model.likelihood.floor == 0.1
    own = nn.Linear(4, 6)
    assert PartialVAE(3, decoder=own).decoder is own


@pytest.mark.parametrize("wrong", [Columns(2), Gaussian(3), "gaussian"])
def test_a_likelihood_of_another_form_is_an_error(wrong: object) -> None:
    with pytest.raises(InputError, match="likelihood"):
        PartialVAE(3, likelihood=wrong)
    columns = Columns(2)
    assert PartialVAE(columns.data_dim, likelihood=columns).data_dim == 2


@pytest.mark.parametrize("x", [torch.zeros(4, 5), torch.zeros(3), torch.zeros(0, 3)])
def test_rows_of_another_shape_are_an_error(x: Tensor) -> None:
    with pytest.raises(InputError, match=r"\(N, 3\)"):
        PartialVAE(3)(x)
