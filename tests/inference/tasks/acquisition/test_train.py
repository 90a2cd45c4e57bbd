"""`fit_table`: what it keeps, that it can be resumed, and tables that are odd."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from inference.checkpoint import load
from inference.randomness import derive
from inference.tasks.acquisition import design_for, fit_table, greedy_order, load_table, train
from ppl_models.errors import InputError
from ppl_models.likelihoods import Column
from tests.inference.table_runs import COLUMNS, NAMES, rows


def learned(x: Tensor, mask: Tensor | None = None, **settings: Any) -> Path:
    """Train briefly, in silence."""
    return fit_table(x, mask, **{"epochs": 2, "progress": False} | settings)


def test_a_table_of_all_kinds_is_learned_and_kept(tmp_path: Path) -> None:
    x, mask = rows(200)
    told: list[str] = []
    path = learned(x, mask, out=tmp_path, columns=COLUMNS, epochs=60, tell=told.append)
    kept, found = load(path), load_table(tmp_path)
    assert found.path == path and found.design == design_for(COLUMNS)
    assert told[0].startswith("Trained 60 epochs (60 steps)")
    assert kept.extra["epochs"] == 60 and kept.extra["seed"] == 0
    assert kept.extra["bound"] == pytest.approx(float(told[0].split("at best ")[1].split()[0]), 0.1)
    # a column tells of the others once it is learned that all depend on one number
    test, there = rows(100, seed=1, missing=0.0)
    draws = found.predictor.draws(test, there & torch.tensor([name != "age" for name in NAMES]))
    error = (draws.expected[:, 0] - test[:, 0]).square().mean().sqrt()
    assert error < 0.9 * test[:, 0].std()


def test_order_and_ranges_are_those_of_the_rows(tmp_path: Path, untouched: None) -> None:
    x, mask = rows(60)
    learned(x, mask, out=tmp_path, columns=COLUMNS)
    found = load_table(tmp_path)
    _, kept = train._split(mask, 0)
    assert len(kept) == 6
    best = greedy_order(found.predictor, x[kept], mask=mask[kept], seed=derive(0, "order"))
    assert found.order == tuple(NAMES[d] for d in best) and len(best) == 7
    assert set(found.ranges) == {"age", "crp", "visits", "r500"}  # classes have no range
    for name, (low, high) in found.ranges.items():
        seen = x[mask[:, NAMES.index(name)], NAMES.index(name)]
        assert (low, high) == (seen.min(), seen.max())


def test_the_longest_order_and_its_judges_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "LONGEST_ORDER", 2)
    monkeypatch.setattr(train, "JUDGES", 3)
    seen: list[int] = []
    real = train.greedy_order

    def watched(predictor: Any, x: Tensor, **more: Any) -> Any:
        seen.append(len(x))
        return real(predictor, x, **more)

    monkeypatch.setattr(train, "greedy_order", watched)
    learned(rows(60)[0], out=tmp_path)
    assert seen == [3] and len(load_table(tmp_path).order) == 2


def test_columns_are_real_ones_and_gaps_are_nan_unless_said(tmp_path: Path) -> None:
    x, mask = rows(30)
    one = learned(x, out=tmp_path / "one")
    two = learned(x.double().nan_to_num(99.0), mask, out=tmp_path / "two")
    tensors = load(one).tensors, load(two).tensors
    assert all(torch.equal(tensors[0][name], tensors[1][name]) for name in tensors[0])
    assert load_table(one).design.columns == tuple(Column(f"x{d}") for d in range(1, 8))


def test_the_size_of_the_code_follows_the_columns_unless_it_is_given(tmp_path: Path) -> None:
    sizes = {count: design_for([Column(str(d)) for d in range(count)]).latent_dim
             for count in (1, 3, 7, 15, 16, 40)}  # fmt: skip
    assert sizes == {1: 2, 3: 2, 7: 4, 15: 8, 16: 8, 40: 8}
    learned(rows(20)[0], out=tmp_path, latent_dim=3)
    assert load_table(tmp_path).model.latent_dim == 3
    with pytest.raises(InputError):
        design_for(COLUMNS, 0).pair()


def test_epochs_follow_the_rows_unless_they_are_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "STEPS", 6)
    monkeypatch.setattr(train, "BATCH_SIZE", 8)
    path = learned(rows(20)[0], out=tmp_path, epochs=None)
    assert load(path).extra["epochs"] == 2  # 18 rows: three steps an epoch


def test_another_seed_keeps_other_rows_and_learns_other_weights(
    tmp_path: Path, untouched: None
) -> None:
    x, mask = rows(30)
    runs = [load(learned(x, out=tmp_path / str(i), seed=s)) for i, s in enumerate((1, 1, 2))]
    one, again, other = (run.tensors for run in runs)
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["model.line.weight"], other["model.line.weight"])
    assert runs[2].extra["seed"] == 2
    assert set(train._split(mask, 1)[1].tolist()) != set(train._split(mask, 2)[1].tolist())


def stopping(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Have the next training stopped by Ctrl-C after a step."""
    real = train.fit

    def stopped(*arguments: Any, **named: Any) -> Any:
        def stop(at: int, loss: float) -> None:
            if at == step:
                os.kill(os.getpid(), signal.SIGINT)

        monkeypatch.setattr(train, "fit", real)
        return real(*arguments, **named, on_step=stop)

    monkeypatch.setattr(train, "fit", stopped)


def test_a_stopped_training_is_kept_and_goes_on_to_the_same_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, mask = rows(30)
    whole = learned(x, out=tmp_path / "whole", epochs=4)
    stopping(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        learned(x, out=tmp_path / "two", epochs=4)
    half = load_table(tmp_path / "two")
    assert half.order == () and len(half.ranges) == 7
    learned(x, out=tmp_path / "two", epochs=4, resume=True)
    ended = load_table(tmp_path / "two")
    assert ended.order == load_table(whole).order and len(ended.order) == 7
    one, two = load(whole), load(ended.path)
    assert all(torch.equal(one.tensors[name], two.tensors[name]) for name in one.tensors)
    assert one.extra == two.extra


# -- odd tables ------------------------------------------------------------------------------------


def test_a_column_all_missing_is_named_and_leaving_it_out_works(tmp_path: Path) -> None:
    x = rows(20)[0]
    x[:, 2] = torch.nan
    with pytest.raises(InputError, match="no value of column 'x3'\n.*\n.*leave the column out"):
        learned(x, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    learned(x[:, [0, 1, 3, 4, 5, 6]], out=tmp_path / "run")


def test_a_column_with_one_value_is_learned_whichever_row_has_it(tmp_path: Path) -> None:
    mask = torch.ones(20, 3, dtype=torch.bool)
    _, kept = train._split(mask, 0)
    mask[:, 1] = False
    mask[kept[0], 1] = True  # in a row that would have been kept back
    trained, judged = train._split(mask, 0)
    assert mask[trained].any(0).all() and kept[0] in trained
    assert sorted([*trained.tolist(), *judged.tolist()]) == list(range(20)) and len(judged) == 2
    learned(torch.randn(20, 3), mask, out=tmp_path)


def test_rows_that_hold_a_column_each_are_refused_and_not_lost(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="leave the column out"):
        learned(torch.randn(10, 10), torch.eye(10, dtype=torch.bool), out=tmp_path)


def test_a_constant_column_is_predicted_to_be_what_it_is(tmp_path: Path) -> None:
    x = torch.randn(60, 3)
    x[:, 1] = 7.5
    learned(x, out=tmp_path, epochs=30)
    found = load_table(tmp_path)
    assert found.ranges["x2"] == (7.5, 7.5)
    nothing = torch.zeros(1, 3, dtype=torch.bool)
    draws = found.predictor.draws(x[:1], nothing)
    assert draws.expected[0, 1] == pytest.approx(7.5, abs=1.0)  # its unit is 1
    other = torch.tensor([[0.0, 99.0, 0.0]])  # another value at test: far, but no NaN
    assert found.predictor.draws(other, ~nothing).expected.isfinite().all()


def test_more_columns_than_rows_are_learned(tmp_path: Path) -> None:
    learned(torch.randn(12, 25), out=tmp_path)
    assert len(load_table(tmp_path).order) == 25


def test_a_table_of_one_column_is_learned(tmp_path: Path) -> None:
    learned(torch.randn(12, 1), out=tmp_path)
    assert load_table(tmp_path).order == ("x1",)


def test_too_few_rows_are_named_and_ten_are_enough(tmp_path: Path) -> None:
    x = rows(10, missing=0.0)[0]
    for few in (x[:1], x[:9], x[0], x[:0]):
        with pytest.raises(InputError, match="10 rows or more"):
            learned(few, out=tmp_path / "run")
    learned(x, out=tmp_path / "run")


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (1, -1.0, "-1 in column 'crp'"),
        (2, 1.5, "1.5 in column 'visits'"),
        (3, 2.0, "2 in column 'sex'"),
        (4, 3.0, "3 in column 'blood'"),
        (0, torch.inf, "inf in column 'age'"),
    ],
)
def test_values_that_a_column_cannot_have_are_named_with_it(
    place: int, value: float, message: str, tmp_path: Path
) -> None:
    x, mask = rows(20, missing=0.0)
    x[3, place] = value
    with pytest.raises(InputError, match=message):
        learned(x, mask, out=tmp_path / "run", columns=COLUMNS)
    assert not (tmp_path / "run").exists()
    mask[3, place] = False  # the cure: leave it out
    learned(x, mask, out=tmp_path / "run", columns=COLUMNS, epochs=1)


def test_columns_of_another_number_and_masks_of_another_kind_are_named(tmp_path: Path) -> None:
    x, mask = rows(20)
    with pytest.raises(InputError, match="7"):
        learned(x, mask, out=tmp_path / "run", columns=COLUMNS[:3])
    for wrong in (mask.float(), mask[:, :3]):
        with pytest.raises(InputError, match=r"mask = ~x\.isnan\(\)"):
            learned(x, wrong, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_pair_of_ones_own_is_trained_by_the_recipe() -> None:
    """Rows that are kept back, of nonsense, reach neither units nor training."""
    x, mask = rows(40)
    columns = [Column(f"x{d}") for d in range(1, x.shape[1] + 1)]
    kept = torch.arange(30, 40)
    weights = []
    for wrong in (0.0, 5.0):
        model, guide = train.design_for(columns, 2).pair(3)
        other = x.clone()
        other[kept] += wrong
        run = train.fit_pair(
            model, guide, other, mask, kept=kept, steps=9, batch_size=15, progress=False
        )
        assert run.epochs == 4  # two steps an epoch
        weights.append(model.likelihood.scale.clone())
    assert torch.equal(*weights)
