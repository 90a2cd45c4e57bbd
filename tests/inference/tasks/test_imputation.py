from __future__ import annotations

import pytest
import torch

from inference import posterior
from inference.errors import PairError
from inference.tasks.imputation import impute
from tests.modalities import ALL, NOISE, WIDTHS, exact_pair, joint, simulated
from tests.modalities import posterior as known
from tests.pairs import Conjugate, ConjugateGuide


def test_what_is_missing_is_drawn_from_its_exact_predictive_and_the_rest_stays() -> None:
    model, guide = exact_pair()
    data = simulated(model, 3)
    mask = torch.tensor([[True, True, False], [True, False, False], [True, True, True]])
    data["touch"][:2] = torch.nan
    found = impute(model, guide, **data, mask=mask, num_samples=4000)
    assert torch.equal(found.draws["sight"], data["sight"].expand(4000, 3, 4))
    assert torch.equal(found.draws["touch"][:, 2], data["touch"][2].expand(4000, 5))
    assert torch.equal(found.missing["touch"].all(-1), ~mask[:, 2])
    # p(touch | sight, sound) of the first row: N(bias + W mean, W cov W' + noise^2)
    of_z = known(model, {n: x[:1] for n, x in data.items()}, mask[0])
    bias, weight = joint(model, ~mask[0])
    mean = bias + of_z.mean[0] @ weight.T
    variance = (weight @ of_z.covariance_matrix[0] @ weight.T).diagonal() + NOISE**2
    error = (variance / 4000).sqrt()
    assert ((found.mean("touch")[0] - mean).abs() < 5 * error).all()
    low, high = found.interval("touch", 0.9)
    assert torch.allclose((high - low)[0], 2 * 1.645 * variance.sqrt(), rtol=0.08)
    assert torch.equal(low[2], data["touch"][2]) and torch.equal(high[2], data["touch"][2])


def test_a_modality_that_is_left_out_is_generated_given_the_others() -> None:
    model, guide = exact_pair()
    data = simulated(model, 4)
    found = impute(model, guide, data["sight"], num_samples=5)
    assert {n: tuple(x.shape) for n, x in found.draws.items()} == {
        n: (5, 4, width) for n, width in WIDTHS.items()
    }
    again = impute(model, guide, data["sight"], num_samples=5)
    assert torch.equal(found.draws["sound"], again.draws["sound"])
    other = impute(model, guide, data["sight"], num_samples=5, seed=1)
    assert not torch.equal(found.draws["sound"], other.draws["sound"])


def test_posterior_predictive_draws_of_arviz_are_imputations_too() -> None:
    model, guide = exact_pair()
    data = simulated(model, 4)
    mask = ALL.expand(4, 3).clone()
    mask[:2, 1] = False
    idata = posterior(model, guide, **data, mask=mask, num_samples=50)
    assert idata.posterior_predictive["sound"].shape == (1, 50, 4, 3)
    assert bool((idata.log_likelihood["sound"].values[0, :, :2] == 0).all())
    assert bool((idata.log_likelihood["sound"].values[0, :, 2:] != 0).all())


def test_classes_have_shares() -> None:
    from inference.tasks.imputation import Imputation

    draws = torch.tensor([[[0]], [[2]], [[2]], [[1]]])
    found = Imputation({"label": draws}, {"label": torch.ones(1, 1).bool()})
    assert found.shares("label", 3).tolist() == [[[0.25, 0.25, 0.5]]]


def test_where_nothing_is_missing_there_is_nothing_to_draw() -> None:
    with pytest.raises(PairError, match="no value of them masked"):
        impute(Conjugate(), ConjugateGuide(), torch.randn(4))
