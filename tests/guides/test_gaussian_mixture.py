from __future__ import annotations

import pytest
import torch
from pyro import poutine
from torch import Tensor

from guides.gaussian_mixture import GaussianMixtureGuide
from inference import enumerated, fit
from ppl_models.errors import InputError
from ppl_models.gaussian_mixture import GaussianMixture

LOCS = torch.tensor([[-4.0, 0.0], [0.0, 3.0], [4.0, -1.0]])
SCALES = torch.tensor([[0.5, 1.0], [1.0, 0.5], [0.7, 0.7]])
WEIGHTS = torch.tensor([0.5, 0.3, 0.2])


def clusters(size: int = 600) -> tuple[Tensor, Tensor]:
    """Data of the mixture above, and their components."""
    truth = {"weights": WEIGHTS, "locs": LOCS, "scales": SCALES}
    model = poutine.condition(GaussianMixture(3, 2), data=truth)
    nodes = poutine.trace(model).get_trace(size=size).nodes
    return nodes["x"]["value"], nodes["w"]["value"]


def matched(guide: GaussianMixtureGuide) -> Tensor:
    """For each true component, the guide's nearest one."""
    return torch.cdist(LOCS, guide.loc).argmin(1)


def test_start_finds_the_clusters_and_leaves_the_generator(untouched: None) -> None:
    with torch.random.fork_rng():
        x, _ = clusters()
        guide = GaussianMixtureGuide(GaussianMixture(3, 2))
    assert guide.start_from(x, seed=1) is guide
    order = matched(guide)
    assert sorted(order.tolist()) == [0, 1, 2]
    assert torch.allclose(guide.loc[order], LOCS, atol=0.4)
    assert torch.allclose(guide.scale_loc[order].exp(), SCALES, atol=0.25)


def test_start_is_the_seed_s() -> None:
    x, _ = clusters()
    first, second = (
        GaussianMixtureGuide(GaussianMixture(3, 2)).start_from(x, seed=4) for _ in range(2)
    )
    assert torch.equal(first.loc, second.loc)


def test_fit_recovers_what_was_simulated() -> None:
    x, w = clusters()
    model = GaussianMixture(3, 2)
    guide = GaussianMixtureGuide(model).start_from(x)
    fit(model, guide, x, epochs=120, batch_size=600, learning_rate=0.02, progress=False)
    order = matched(guide)
    count = len(x) * WEIGHTS[:, None]
    # five posterior standard errors of a place and of a log width, from the true count and width
    assert ((guide.loc[order] - LOCS).abs() < 5 * SCALES / count.sqrt()).all()
    assert ((guide.scale_loc[order] - SCALES.log()).abs() < 5 / (2 * count).sqrt()).all()
    weights = guide.log_concentration.exp()[order]
    assert torch.allclose(weights / weights.sum(), WEIGHTS, atol=5 * (0.25 / len(x)) ** 0.5)
    found = enumerated(model, guide, x)["w"].probs.argmax(-1).flatten()
    assert (order[w] == found).float().mean() > 0.97


@pytest.mark.parametrize("x", [torch.zeros(8, 2), torch.eye(2)[[0, 0, 0, 1]]])
def test_equal_rows_start_finite(x: Tensor) -> None:
    guide = GaussianMixtureGuide(GaussianMixture(3, 2)).start_from(x)
    assert all(p.isfinite().all() for p in guide.parameters())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_named_with_its_row(value: float) -> None:
    x = torch.randn(6, 2)
    x[4, 1] = value
    with pytest.raises(InputError, match="row 4"):
        GaussianMixtureGuide(GaussianMixture(3, 2)).start_from(x)


def test_fewer_data_than_components_are_named() -> None:
    with pytest.raises(InputError, match="at least 3 rows"):
        GaussianMixtureGuide(GaussianMixture(3, 2)).start_from(torch.zeros(2, 2))


def test_one_component_is_a_gaussian() -> None:
    """Its weight is 1: no gradient, which would be NaN; means and spread are the data's."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        x = 2 * torch.randn(400, 2) + 1
    model = GaussianMixture(1, 2)
    guide = GaussianMixtureGuide(model).start_from(x)
    fit(model, guide, x, epochs=60, learning_rate=0.03, progress=False)
    assert torch.allclose(guide.loc[0], x.mean(0), atol=0.15)  # posterior sd 0.1
    assert torch.allclose(guide.scale_loc[0].exp(), x.std(0), atol=0.15)
