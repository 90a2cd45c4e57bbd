from __future__ import annotations

import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO

from guides.ppca import PPCAGuide
from ppl_models.errors import InputError
from ppl_models.ppca import PPCA


def bound(model: PPCA, guide: PPCAGuide, *data: torch.Tensor) -> torch.Tensor:
    """The bound of each datum from one draw."""
    guided = poutine.trace(guide).get_trace(*data)
    scored = poutine.trace(poutine.replay(model, guided)).get_trace(*data)
    scored.compute_log_prob()
    guided.compute_log_prob()
    values = [scored.nodes[name]["log_prob"] for name in ("z", "x")]
    return sum(values) - guided.nodes["z"]["log_prob"]


def pair(covariance: str, aligned: bool) -> tuple[PPCA, PPCAGuide, torch.Tensor]:
    """An exact guide and its model, W with orthogonal columns or not, and data."""
    x = torch.randn(60, 5) @ torch.randn(5, 5)
    model = PPCA(5, 2).fit_exact(x).double()
    if not aligned:
        turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]])
        model.weight.data = model.weight.data @ turn.double()
    guide = PPCAGuide(model, covariance=covariance).double()
    return model, guide.set_exact(), x.double()


@pytest.mark.parametrize(("covariance", "aligned"), [("full", False), ("diagonal", True)])
def test_every_draw_of_the_exact_guide_gives_the_evidence(covariance: str, aligned: bool) -> None:
    model, guide, x = pair(covariance, aligned)
    for _ in range(3):
        assert torch.allclose(bound(model, guide, x), model.evidence(x))


def test_a_diagonal_guide_pays_for_columns_that_are_not_orthogonal() -> None:
    model, guide, x = pair("diagonal", aligned=False)
    message = guide.posterior(x)
    exact = model.posterior(x)
    # the best diagonal guide has the posterior's means, and its precisions
    guided = torch.distributions.Independent(
        torch.distributions.Normal(exact.mean, message.base_dist.scale), 1
    )
    draws = guided.rsample((20000,))
    gap = (guided.log_prob(draws) - exact.log_prob(draws)).mean()
    precision = exact.precision_matrix[0]
    known = 0.5 * (precision.diagonal().log().sum() - torch.logdet(precision))
    assert known > 0.02  # nats
    assert torch.isclose(gap, known, rtol=0.05)


def test_the_full_guide_is_exact_whatever_is_missing() -> None:
    model, guide, x = pair("full", aligned=False)
    mask = torch.rand(x.shape) < 0.5
    mask[0] = False
    hidden = torch.where(mask, x, torch.nan)
    assert torch.allclose(bound(model, guide, hidden, mask), model.evidence(hidden, mask))
    loss = Trace_ELBO().differentiable_loss(model, guide, hidden, mask)
    loss.backward()
    assert all(p.grad.isfinite().all() for p in guide.parameters())


def test_another_covariance_is_an_error() -> None:
    with pytest.raises(InputError, match="covariance"):
        PPCAGuide(PPCA(5, 2), covariance="banded")
