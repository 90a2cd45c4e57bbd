"""The posterior of a linear Gaussian model of any subset of columns, against that of PPCA."""

from __future__ import annotations

import pytest
import torch
from pyro.infer import Trace_ELBO
from torch import Tensor

from guides.acquisition import PartialVAEGuide
from inference import check
from ppl_models.acquisition import PartialVAE
from ppl_models.errors import InputError
from ppl_models.likelihoods import Columns
from ppl_models.networks import LinearPosterior
from ppl_models.ppca import PPCA
from tests.guides.acquisition.test_partial_vae import TABLE, gapped

D, L = 6, 3


def linear_model(seed: int = 0) -> PPCA:
    """PPCA with parameters of its own, in double precision."""
    generator = torch.Generator().manual_seed(seed)
    model = PPCA(D, L).double()
    with torch.no_grad():
        model.weight.copy_(torch.randn(D, L, generator=generator))
        model.mean.copy_(torch.randn(D, generator=generator))
        model.log_scale.fill_(-0.7)
    return model


def as_part(exact: PPCA) -> LinearPosterior:
    """The part with the parameters of a PPCA, for values less their means."""
    part = LinearPosterior(D, 1, L).double()
    with torch.no_grad():
        part.directions.copy_(exact.weight)
        part.log_precision.fill_(float(-2 * exact.log_scale.detach()))
    return part


def table(size: int = 40) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = 2 * torch.randn(size, D, generator=generator).double()
    mask = torch.rand(size, D, generator=generator) < 0.5
    mask[0], mask[1] = False, True
    return x, mask


def test_it_is_the_exact_posterior_of_a_linear_model() -> None:
    exact, (x, mask) = linear_model(), table()
    mean, factor = as_part(exact)((x - exact.mean)[..., None], mask)
    wanted = exact.posterior(x, mask)
    assert torch.allclose(mean, wanted.mean, atol=1e-10)
    assert torch.allclose(factor @ factor.mT, wanted.covariance_matrix, atol=1e-10)
    assert torch.equal(factor, factor.tril()) and (factor.diagonal(dim1=1, dim2=2) > 0).all()


def test_nothing_observed_is_the_prior_exactly() -> None:
    mean, factor = LinearPosterior(D, 2, L)(torch.full((4, D, 2), torch.nan), torch.zeros(4, D) > 0)
    assert torch.equal(mean, torch.zeros(4, L)) and torch.equal(
        factor, torch.eye(L).expand(4, L, L)
    )


def test_the_order_of_columns_does_not_matter() -> None:
    part, (x, mask) = as_part(linear_model()), table()
    order = torch.tensor([4, 2, 0, 5, 1, 3])
    mean, factor = part(x[..., None], mask)
    for parameter in part.parameters():
        parameter.data = parameter.data[order]
    again = part(x[:, order, None], mask[:, order])
    assert torch.allclose(mean, again[0]) and torch.allclose(factor, again[1])


def test_hidden_values_reach_neither_answer_nor_gradient() -> None:
    part, (x, mask) = as_part(linear_model()), table()
    answers = []
    for hidden in (0.0, torch.nan):
        part.zero_grad()
        mean, factor = part(x.where(mask, hidden)[..., None], mask)
        (mean.square().sum() + factor.square().sum()).backward()
        answers.append([mean, factor, *(p.grad.clone() for p in part.parameters())])
    assert all(torch.equal(one, two) for one, two in zip(*answers, strict=True))
    assert all(g.isfinite().all() and g.abs().sum() > 0 for g in answers[0][2:])


def test_what_is_read_of_a_value_are_all_of_its_numbers() -> None:
    part = LinearPosterior(D, 3, L)
    with torch.no_grad():
        part.readings.copy_(torch.tensor([1.0, -1.0, 2.0]).expand(D, 3))
    x, seen = torch.randn(5, D, 3), torch.ones(5, D) > 0
    alone = LinearPosterior(D, 1, L)
    alone.load_state_dict({**part.state_dict(), "readings": torch.ones(D, 1)})
    read = x[..., 0] - x[..., 1] + 2 * x[..., 2]
    assert torch.allclose(part(x, seen)[0], alone(read[..., None], seen)[0], atol=1e-5)


# -- in the guide ----------------------------------------------------------------------------------


def exact_pair() -> tuple[PartialVAE, PartialVAEGuide, PPCA]:
    """A linear model, and the guide with a full covariance whose network says nothing."""
    exact = linear_model()
    model = PartialVAE(D, L, hidden_dims=(4,), linear=True).double()
    guide = PartialVAEGuide(model, covariance="full").double()
    middle = float(model.likelihood._middle)
    share = (float(exact.log_scale.detach().exp()) - 0.02) / (3.0 - 0.02)  # floor, ceiling
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.line.weight[:D] = exact.weight
        model.line.bias[D:] = torch.tensor(share, dtype=torch.double).logit() - middle
        guide.head[-1].weight.zero_()
        guide.head[-1].bias.zero_()
        guide.evidence.directions.copy_(exact.weight)
        guide.evidence.log_precision.fill_(float(-2 * exact.log_scale.detach()))
        model.likelihood.shift.copy_(exact.mean)
    return model, guide, exact


def test_the_guide_with_a_full_covariance_is_exact_for_linear_columns() -> None:
    model, guide, exact = exact_pair()
    x, mask = table(60)
    x = x.where(mask, torch.nan)
    found, wanted = guide.posterior(x, mask), exact.posterior(x, mask)
    assert torch.allclose(found.loc, wanted.mean, atol=1e-8)
    assert torch.allclose(found.covariance_matrix, wanted.covariance_matrix, atol=1e-8)
    elbo = Trace_ELBO()
    bounds = torch.tensor([-elbo.loss(model, guide, x, mask) for _ in range(3)])
    # log p(x, z) - log q(z | x) is log p(x) whatever z is: no sampling error is left
    assert torch.allclose(bounds.double(), exact.evidence(x, mask).sum().expand(3), rtol=1e-6)
    diagonal = PartialVAEGuide(model).double()
    assert -elbo.loss(model, diagonal, x, mask) < float(bounds[0]) - 1


@pytest.mark.parametrize("reader", ["pointnet-plus", "attention"])
def test_a_full_covariance_makes_a_pair_with_every_kind_of_column(reader: str) -> None:
    model = PartialVAE(len(TABLE), likelihood=Columns(TABLE), linear=True)
    guide = PartialVAEGuide(model, reader=reader, covariance="full")
    x, mask = gapped(model)
    check(model.start_from(x, mask), guide, x, mask)
    posterior = guide.posterior(x, mask)
    assert posterior.loc.shape == (30, 4) and posterior.event_shape == (4,)
    assert torch.equal(posterior.loc[0], torch.zeros(4))  # of nothing, the prior
    assert torch.equal(posterior.scale_tril[0], torch.eye(4))
    other = guide.posterior(x.where(mask, -1e6), mask)
    assert torch.equal(posterior.loc, other.loc)
    many = guide.posterior(x.expand(2, 30, len(TABLE)), mask.expand(2, 30, len(TABLE)))
    assert torch.allclose(many.loc[1], posterior.loc, atol=1e-5)
    Trace_ELBO().differentiable_loss(model, guide, x, mask).backward()
    for name, parameter in [*model.named_parameters(), *guide.named_parameters()]:
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_a_code_of_one_number_has_a_full_covariance_too() -> None:
    model = PartialVAE(5, 1)
    guide = PartialVAEGuide(model, covariance="full")
    check(model, guide, *gapped(model))
    assert guide.posterior(*gapped(model)).scale_tril.shape == (30, 1, 1)


def test_another_covariance_is_an_error_with_the_nearest() -> None:
    with pytest.raises(InputError, match="covariance: .*ful'.*\n.*\n.*did you mean full"):
        PartialVAEGuide(PartialVAE(5), covariance="ful")


def test_a_linear_map_is_added_to_the_decoder() -> None:
    plain, both = PartialVAE(5, 2), PartialVAE(5, 2, linear=True)
    both.decoder.load_state_dict(plain.decoder.state_dict())
    z = torch.randn(3, 4, 2)
    assert plain.line is None
    assert torch.allclose(both.raw(z) - plain.raw(z), both.line(z), atol=1e-6)
