from __future__ import annotations

import numpy as np
import pytest
import torch

from ppl_models.data import audiograms
from ppl_models.data.audiograms import _covariance, overall_spread
from ppl_models.errors import InputError
from tests.cures import evaluated


def test_people_are_blends_of_archetypes_with_noise() -> None:
    people = audiograms(4096)
    assert people.x.shape == people.y.shape == (4096, 15) and people.archetypes.shape == (5, 15)
    assert torch.allclose(people.w @ people.archetypes, people.y, atol=1e-3)
    assert torch.allclose(people.w.sum(1), torch.ones(4096))
    noise = people.x - people.y
    # five standard errors of 60,000 numbers
    assert noise.std().item() == pytest.approx(5, rel=5 / 120_000**0.5)
    assert noise.mean().item() == pytest.approx(0, abs=5 * 5 / 60_000**0.5)
    assert people.w.var(0).numpy() == pytest.approx([4 / 150] * 5, rel=0.1)
    assert people.names[:2] == ("l500", "l1000") and people.names[7:8] == ("r500",)
    assert people.names[-1] == "age" and people.units == ("dB HL",) * 14 + ("years",)


def test_the_covariance_is_that_of_the_specification() -> None:
    found = _covariance()
    assert found[0, 0] == pytest.approx(15**2 + 10**2 + 5**2)
    assert found[0, 1] == pytest.approx(15**2 * np.exp(-0.5 / 1.5**2) + 10**2)
    assert found[0, 7] == pytest.approx(15**2 * 0.6 + 10**2 * 0.5)
    assert found[0, 9] == pytest.approx(15**2 * 0.6 * np.exp(-0.5 * (2 / 1.5) ** 2) + 50)
    assert found[14, 14] == 15**2
    assert found[14, 3] / np.sqrt(found[14, 14] * found[3, 3]) == pytest.approx(0.5)
    assert np.array_equal(found, found.T)


def test_archetypes_are_of_that_gaussian_with_deviations_scaled() -> None:
    drawn = [audiograms(1, seed=seed).archetypes for seed in range(400)]
    every = torch.cat(drawn).double()
    expected = torch.tensor([15, 20, 27, 35, 42, 50, 55] * 2 + [55]).double()
    deviation = torch.tensor(_covariance().diagonal() ** 0.5) * 2
    # five standard errors of 2,000 archetypes
    assert ((every.mean(0) - expected).abs() < 5 * deviation / 2000**0.5).all()
    assert torch.allclose(every.std(0), deviation, rtol=5 / 4000**0.5 + 0.01)
    wide = audiograms(1, seed=3, arch_scale=5.0).archetypes.double()
    assert torch.allclose(wide - expected, 2.5 * (drawn[3].double() - expected), atol=1e-3)


def test_the_seed_decides_all_and_archetypes_alone_do_not_depend_on_the_size() -> None:
    first, again, more = audiograms(5, seed=7), audiograms(5, seed=7), audiograms(9, seed=7)
    assert torch.equal(first.x, again.x) and torch.equal(first.archetypes, more.archetypes)
    assert not torch.equal(first.archetypes, audiograms(5, seed=8).archetypes)
    others = audiograms(5, seed=8, archetypes=first.archetypes)
    assert torch.equal(others.archetypes, first.archetypes) and not torch.equal(others.x, first.x)


@pytest.mark.parametrize("corruption", [0.05, 0.5])
def test_another_population_has_archetypes_moved_by_a_part_of_the_spread(corruption: float) -> None:
    people = audiograms(4096)
    spread = people.x.std().item()  # over all columns
    assert overall_spread(np.asarray(people.archetypes)) == pytest.approx(spread, rel=0.02)
    moves = torch.cat(
        [
            audiograms(1, seed=seed, archetypes=people.archetypes, corruption=corruption).archetypes
            - people.archetypes
            for seed in range(30)
        ]
    )
    # 2,250 numbers: five standard errors are 7 %
    assert moves.std().item() == pytest.approx(corruption * spread, rel=0.08)


def test_wrong_settings_are_errors_whose_cures_work() -> None:
    for wrong in ({"size": 0}, {"arch_scale": 0.0}, {"corruption": -1.0}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            audiograms(**wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="archetypes") as caught:
        audiograms(5, archetypes=torch.zeros(5, 14))
    cured = evaluated(caught.value.cure, audiograms=audiograms)
    assert audiograms(5, archetypes=cured).x.shape == (5, 15)
