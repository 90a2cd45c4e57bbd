from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from guides import LDSGuide, SLDSGuide
from inference import posterior
from inference.errors import PairError
from inference.randomness import seeded
from inference.tasks.imputation import impute
from ppl_models import LDS, SLDS
from ppl_models.sequences import SequenceModel
from tests.dense import hidden_and_observed
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


@pytest.mark.parametrize("form", ["exact", "joint"])
def test_gaps_are_told_from_padding(form: Any) -> None:
    model = LDS(2, 2, form=form)
    s, observed, mask = ragged(model)
    found = impute(model, LDSGuide(model), s, mask, observed=observed, num_samples=3)
    gaps = mask[..., None] & ~observed
    assert torch.equal(found.padding["s"], (~mask)[..., None].expand(s.shape))
    assert torch.equal(found.missing["s"] & ~found.padding["s"], gaps)


def test_a_missing_modality_is_no_padding() -> None:
    model, guide = exact_pair()
    data, mask = simulated(model, 3), ALL.expand(3, 3).clone()
    mask[0, 1] = False
    found = impute(model, guide, **data, mask=mask, num_samples=3)
    assert bool(found.missing["sound"][0].all()) and not bool(found.padding["sound"].any())


def ragged(model: SequenceModel) -> tuple[Tensor, Tensor, Tensor]:
    """Three simulated paths of 4, 2 and 3 frames, a quarter of whose numbers were not seen."""
    with seeded(3), torch.no_grad():
        s = model(size=3, length=4)
        observed = torch.rand(s.shape) > 0.25
    mask = torch.arange(4) < torch.tensor([4, 2, 3])[:, None]
    return torch.where(observed & mask[..., None], s, torch.nan), observed, mask


def test_an_enumerated_slds_imputes_what_a_sum_over_its_regimes_says() -> None:
    with seeded(5):
        model = SLDS(2, 2, 2, form="enumerated")
        model.transition_offset.data.normal_()
    s, observed, mask = ragged(model)
    guide, gaps = SLDSGuide(model), mask[..., None] & ~observed
    k, log_joint = model.joint(s, mask, observed)
    share = log_joint.softmax(0)[..., None, None]  # of each path of regimes
    moments = [_completed_by_regimes(model, path, s, observed & mask[..., None]) for path in k]
    mean = (share * torch.stack(moments)).sum(0).detach()
    found = impute(model, guide, s, mask, observed=observed, num_samples=2000)
    error = found.draws["s"].std(0) / 2000**0.5
    assert (((found.mean("s") - mean) / error)[gaps].abs() < 4).all()  # of some ten numbers
    idata = posterior(model, guide, s, mask, observed=observed, num_samples=2000)
    drawn = torch.as_tensor(idata.posterior["k"].values[0])
    exact = (log_joint.softmax(0)[..., None] * k[:, None]).sum(0).detach()
    assert ((drawn.double().mean(0) - exact)[mask].abs() < 4 * 0.5 / 2000**0.5).all()
    assert "masked" in idata.posterior["k"].attrs  # frames after a path's end


def _completed_by_regimes(model: SLDS, k: Tensor, s: Tensor, seen: Tensor) -> Tensor:
    """Mean of all numbers given those seen and the regimes k (T), by one dense Gaussian."""
    params = model.dynamics(k)
    length, width = s.shape[1:]
    each = (part.expand(length, *part.shape[1:]) for part in params[5:])
    mean, cov = hidden_and_observed(*params[:5], *each)
    mean, cov = mean[-length * width :], cov[-length * width :, -length * width :]
    rows = []
    for path, there in zip(s.flatten(1), seen.flatten(1), strict=True):
        gain = torch.linalg.solve(cov[there][:, there], cov[there]).T
        rows.append(mean + gain @ (path[there] - mean[there]))
    return torch.stack(rows).reshape(s.shape)
