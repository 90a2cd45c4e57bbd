from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch

from guides.ppca import PPCAGuide
from inference import fit
from ppl_models.data import HideMore, audiograms, random_mask
from ppl_models.errors import InputError
from ppl_models.ppca import PPCA

NAN = float("nan")


def test_shares_are_uniform_but_for_rows_with_nothing_and_everything() -> None:
    mask = random_mask(20_000, 50)
    share = mask.float().mean(1)
    # a share of 0 or 1 by itself has probability 2 / 51 in the other 80 %; five standard errors
    by_itself = 0.8 / 51
    for value in (0, 1):
        found = (share == value).float().mean().item()
        assert found == pytest.approx(0.1 + by_itself, abs=5 * (0.1 / 20_000) ** 0.5)
    between = share[(share > 0) & (share < 1)]
    assert between.mean().item() == pytest.approx(0.5, abs=5 * 0.29 / 15_000**0.5)
    quarters = [(between < q).float().mean().item() for q in (0.25, 0.5, 0.75)]
    assert quarters == pytest.approx([0.25, 0.5, 0.75], abs=0.03)  # 49 possible shares
    columns = mask.float().mean(0)
    assert columns.min() > 0.48 and columns.max() < 0.52


def test_settings_of_a_mask() -> None:
    assert torch.equal(random_mask(50, 4, seed=3), random_mask(50, 4, seed=3))
    assert not torch.equal(random_mask(50, 4, seed=3), random_mask(50, 4))
    assert random_mask(50, 4, full=1.0, empty=0.0).all()
    assert not random_mask(50, 4, empty=1.0, full=0.0).any()
    kept = random_mask(50, 4, empty=1.0, full=0.0, always=(-1, 0))
    assert kept[:, [0, 3]].all() and not kept[:, 1:3].any()


def test_a_mask_without_a_seed_is_drawn_from_the_step_s() -> None:
    torch.manual_seed(5)
    first, second = (random_mask(50, 4, seed=None) for _ in range(2))
    torch.manual_seed(5)
    assert torch.equal(random_mask(50, 4, seed=None), first) and not torch.equal(first, second)


@pytest.mark.usefixtures("untouched")
def test_a_mask_with_a_seed_leaves_the_global_generator_alone() -> None:
    random_mask(5, 4)


def test_what_was_missing_stays_missing_and_columns_can_be_kept() -> None:
    x, old = audiograms(500).x, random_mask(500, 15)
    x = x.masked_fill(~old, NAN)
    made = HideMore(always=(14,))({"x": x, "mask": old, "other": 1})
    assert not (made["mask"] & ~old).any() and made["mask"].sum() < old.sum()
    assert torch.equal(made["mask"][:, 14], old[:, 14]) and made["other"] == 1
    assert torch.equal(made["x"].nan_to_num(), x.nan_to_num())
    whole = HideMore(full=1.0, empty=0.0)({"x": x, "mask": old})
    assert torch.equal(whole["mask"], old)
    assert HideMore(empty=0.0, full=1.0)({"x": x})["mask"].all()
    none = HideMore(empty=1.0, full=0.0)({"x": x})
    assert not none["mask"].any()


def test_noise_fills_the_steps_of_the_scale() -> None:
    x = torch.full((4000, 3), 20.0)
    made = HideMore(step=(5.0, 5.0, 0.0))({"x": x})["x"] - 20
    assert made[:, :2].abs().max() <= 2.5 and (made[:, 2] == 0).all()
    # uniform: variance 25 / 12, within five standard errors of 8,000 draws
    assert made[:, :2].var().item() == pytest.approx(25 / 12, rel=0.05)
    assert made[:, :2].mean().item() == pytest.approx(0, abs=5 * 1.45 / 8000**0.5)
    alike = HideMore(step=5.0)({"x": x})["x"] - 20
    assert (alike.std(0) > 1).all()


def test_fit_hides_anew_in_each_step_and_a_run_can_be_repeated() -> None:
    mask = random_mask(200, 15)
    data = {"x": audiograms(200).x.masked_fill(~mask, NAN), "mask": mask}
    runs = []
    for _ in range(2):
        hide, seen = HideMore(step=5.0), []

        def spied(batch: Any, hide: Any = hide, seen: Any = seen) -> Any:
            made = hide(batch)
            seen.append(made["mask"])
            return made

        model = PPCA(15, 2).requires_grad_(False)
        guide = PPCAGuide(model)
        fit(model, guide, data, epochs=3, batch_size=200, progress=False, transform=spied)
        runs.append(seen)
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))
    counts = {int(seen.sum()) for seen in runs[0]}
    assert len(counts) > 2 and max(counts) < mask.sum()


def test_it_travels_to_other_processes() -> None:
    again = pickle.loads(pickle.dumps(HideMore(always=(14,), step=5.0)))
    assert again.always == (14,) and again.step == (5.0,)


def test_wrong_settings_and_batches_are_errors() -> None:
    for settings in ({"empty": -0.1}, {"full": 0.95}, {"empty": float("nan")}):
        with pytest.raises(InputError, match="probabilities"):
            random_mask(5, 4, **settings)  # type: ignore[arg-type]
    for always in ((4,), (-5,)):
        with pytest.raises(InputError, match="always"):
            random_mask(5, 4, always=always)
    for wrong in ((0, 4), (5, 0)):
        with pytest.raises(InputError, match="at least 1"):
            random_mask(*wrong)
    for step in (-1.0, (5.0, float("inf"))):
        with pytest.raises(InputError, match="step"):
            HideMore(step=step)
    x = torch.zeros(5, 4)
    with pytest.raises(InputError, match="1 or 4"):
        HideMore(step=(5.0, 5.0))({"x": x})
    for batch in (x, {"x": torch.zeros(5)}, {"s": x}):
        with pytest.raises(InputError, match="batch"):
            HideMore()(batch)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="mask"):
        HideMore()({"x": x, "mask": torch.ones(5, 4)})
    assert HideMore()({"x": x, "mask": ~x.isnan()})["mask"].shape == (5, 4)
