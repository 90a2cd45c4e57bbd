from __future__ import annotations

import torch

from guides.cca import CCAGuide
from inference import check
from inference.diagnostics import importance
from inference.diagnostics.conditional import conditional_likelihood
from tests.ppl_models.test_cca import PATTERNS, WIDTHS, build, drawn


def test_the_guide_is_the_posterior_and_the_pair_passes_check() -> None:
    model = build()
    guide = CCAGuide(model).double().set_exact()
    data = drawn(model, 8)
    assert {s.name for s in check(model, guide, **data).sites} == {"z", *WIDTHS}
    weights = importance(model, guide, **data, mask=PATTERNS, num_samples=5).log_weights
    expected = model.evidence(**data, mask=PATTERNS).detach()
    assert torch.allclose(weights, expected.expand(5, -1), atol=1e-8)


def test_what_is_observed_alone_informs_the_guide() -> None:
    model = build()
    guide = CCAGuide(model).double().set_exact()
    data = drawn(model, 3)
    observed = torch.tensor([[True, False, False]] * 3)
    rows = model.read(**data)
    ours = guide.distribution(type(rows)(rows.values, rows.mask, observed, rows.size))
    theirs = model.posterior(sight=data["sight"])
    assert torch.allclose(ours.mean, theirs.mean)
    assert torch.allclose(ours.covariance_matrix, theirs.covariance_matrix)


def test_a_set_given_others_has_its_exact_likelihood_if_the_guide_leaves_it_unread() -> None:
    model = build()
    guide = CCAGuide(model).double().set_exact()
    data = drawn(model, 6)
    observed = torch.tensor([[True, False, True]] * 6)
    found = conditional_likelihood(
        model, guide, **data, observed=observed, target="sound", num_samples=8000
    )
    exact = model.evidence(**data) - model.evidence(sight=data["sight"], touch=data["touch"])
    # the guide is the posterior of what it is told to read: the weights of that are constant
    assert float(found.log_weights.std(0).max()) < 1e-8
    assert ((found.pointwise - exact.detach()).abs() < 4.5 * found.error).all()
    assert float(found.error.max()) < 0.05
