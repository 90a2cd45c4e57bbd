from __future__ import annotations

import pytest
import torch

from guides.acquisition import ArchetypalAudiogramGuide
from inference import check, fit
from ppl_models.acquisition import ArchetypalAudiogram
from ppl_models.data import audiograms
from ppl_models.errors import InputError

NAN = float("nan")


def test_the_pair_passes_check() -> None:
    model = ArchetypalAudiogram()
    x = audiograms(20).x
    mask = torch.rand(x.shape) < 0.5
    mask[0] = False
    for learn in (False, True):
        model = ArchetypalAudiogram(learn=learn)
        x = x.masked_fill(~mask, NAN)
        report = check(model, ArchetypalAudiogramGuide(model), x, mask)
        assert {row.name for row in report.sites} >= {"w", "x"}


def test_nothing_observed_gives_the_prior_exactly() -> None:
    guide = ArchetypalAudiogramGuide(ArchetypalAudiogram(), hidden_dims=(8,))
    x = torch.full((3, 15), NAN)
    assert torch.equal(guide.posterior(x, x.isfinite()).concentration, torch.ones(3, 5))
    assert (guide.posterior(torch.zeros(3, 15)).concentration > 1).all()


def test_hidden_values_never_reach_a_value_or_a_gradient() -> None:
    guide = ArchetypalAudiogramGuide(ArchetypalAudiogram(learn=True))
    x, mask = audiograms(6).x, torch.rand(6, 15) < 0.5
    found = [guide.posterior(x.masked_fill(~mask, v), mask).concentration for v in (NAN, 1e9, 0.0)]
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])
    found[0].sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in guide.parameters())


def test_trained_it_comes_near_to_the_ideal_posterior() -> None:
    """A Dirichlet is not the posterior, and 300 steps are few: 35 %, and a nat."""
    people = audiograms(2048)
    model = ArchetypalAudiogram(people.archetypes)
    guide = ArchetypalAudiogramGuide(model)
    mask = torch.rand(2048, 15) < torch.rand(2048, 1)
    data = {"x": people.x.masked_fill(~mask, NAN), "mask": mask}
    run = fit(model, guide, data, epochs=40, batch_size=256, learning_rate=1e-2, progress=False)
    evidence = model.ideal(data["x"], mask, num_samples=4096).log_evidence.mean()
    # the bound is of 256 people, the evidence of all
    assert run.best_bound is not None and abs(run.best_bound - evidence) < 2.5
    test = audiograms(300, seed=1, archetypes=people.archetypes)
    seen = torch.rand(300, 15) < 0.5
    hidden = test.x.masked_fill(~seen, NAN)
    best = model.predict(model.ideal(hidden, seen, num_samples=4096))[0]
    found = model.blend(guide.posterior(hidden, seen).mean).detach()
    rmse = [(guess - test.y).square().mean().sqrt().item() for guess in (best, found)]
    assert rmse[0] < rmse[1] < 1.35 * rmse[0]


def test_wrong_settings_are_errors() -> None:
    with pytest.raises(InputError, match="hidden_dims"):
        ArchetypalAudiogramGuide(ArchetypalAudiogram(), hidden_dims=(0,))
    with pytest.raises(InputError, match="x: saw"):
        ArchetypalAudiogramGuide(ArchetypalAudiogram())(torch.zeros(2, 3))
