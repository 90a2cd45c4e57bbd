from __future__ import annotations

import pytest
import torch

from guides.acquisition import GPAudiogramGuide
from inference import check
from inference.objectives import Objective
from ppl_models.acquisition import GPAudiogram
from ppl_models.errors import InputError

NAN = float("nan")


def data(model: GPAudiogram) -> tuple[torch.Tensor, torch.Tensor]:
    x = model(size=8).detach()
    mask = torch.rand(x.shape) < 0.5
    mask[0], mask[1] = False, True
    return x.masked_fill(~mask, NAN), mask


@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-6), (torch.float32, 2e-2)])
def test_the_bound_of_every_draw_is_the_evidence(dtype: torch.dtype, error: float) -> None:
    """In single precision the densities of f, whose covariance is nearly singular, are rounded."""
    model = GPAudiogram().to(dtype)
    x, mask = data(model)
    evidence = model.evidence(x, mask).sum().item()
    guide = GPAudiogramGuide(model)
    for _ in range(5):
        loss = Objective().loss(model, guide, (x, mask), step=0, data_size=len(x))
        assert -loss.item() * len(x) == pytest.approx(evidence, abs=error * len(x))


def test_the_pair_passes_check() -> None:
    model = GPAudiogram()
    x, mask = data(model)
    report = check(model, GPAudiogramGuide(model), x, mask)
    assert {row.name for row in report.sites} >= {"f", "x"}


def test_draws_are_those_of_the_posterior() -> None:
    model = GPAudiogram()
    x, mask = data(model)
    many, seen = (part[-1:].expand(4000, -1) for part in (x, mask))
    f, exact = GPAudiogramGuide(model)(many, seen).detach(), model.posterior(x[-1:], mask[-1:])
    # five standard errors
    assert ((f.mean(0) - exact.mean[0]).abs() < 5 * exact.stddev[0] / 4000**0.5).all()
    assert torch.allclose(f.std(0), exact.stddev[0], rtol=5 / (2 * 4000) ** 0.5)


def test_what_is_missing_never_matters() -> None:
    model = GPAudiogram()
    x, mask = data(model)
    first = GPAudiogramGuide(model).model.posterior(x, mask)
    other = GPAudiogramGuide(model).model.posterior(x.nan_to_num(1e9), mask)
    assert torch.equal(first.mean, other.mean)


def test_data_of_another_shape_are_an_error() -> None:
    with pytest.raises(InputError, match="x: saw"):
        GPAudiogramGuide(GPAudiogram())(torch.zeros(2, 14))
    with pytest.raises(InputError, match="x: saw"):
        GPAudiogramGuide(GPAudiogram())()
