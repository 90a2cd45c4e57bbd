from __future__ import annotations

import json
import math
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from inference.checkpoint import save
from inference.errors import CheckpointError
from inference.tasks.acquisition import TableDesign, files, load_table, save_table
from inference.tasks.acquisition.files import FILE
from ppl_models.errors import InputError
from ppl_models.likelihoods import Column
from tests.inference.table_runs import (
    COLUMNS,
    DESIGN,
    GUIDE_OPTIONS,
    NAMES,
    OPTIONS,
    ORDER,
    RANGES,
    rows,
    saved,
)


def test_a_run_comes_back_as_it_was(tmp_path: Path, untouched: None) -> None:
    model, guide = DESIGN.pair(3)
    model.start_from(*rows())
    path = save_table(tmp_path, DESIGN, model, guide, {"order": ORDER, "ranges": RANGES})
    found = load_table(tmp_path)
    assert path == found.path == tmp_path / FILE and load_table(path).order == found.order
    assert found.design == DESIGN and not found.model.training and not found.guide.training
    assert found.order == tuple(ORDER)
    assert found.ranges == {name: tuple(ends) for name, ends in RANGES.items()}
    x, mask = rows(9, seed=1)
    before, again = (
        type(found.predictor)(*pair).draws(x, mask, 20) for pair in ((model, guide), found[:2])
    )
    assert torch.equal(before.expected, again.expected)
    assert torch.equal(before.table.spread, again.table.spread)
    assert found.predictor.weighted


def test_order_and_ranges_may_be_left_out(tmp_path: Path) -> None:
    saved(tmp_path, extra={})
    found = load_table(tmp_path)
    assert found.order == () and found.ranges == {}


def test_values_are_read_at_most_a_range_s_width_outside_of_it(tmp_path: Path) -> None:
    saved(tmp_path)
    predictor = load_table(tmp_path).predictor
    assert predictor.limits.T[0].tolist() == [-40, 140]  # age, 20 to 80
    assert predictor.limits.T[3].tolist() == [-math.inf, math.inf]  # a class

    def expected(age: float) -> torch.Tensor:
        x, mask = torch.full((1, 7), math.nan), torch.arange(7)[None] == 0
        return predictor.draws(x.where(~mask, age), mask, 20).expected

    assert torch.equal(expected(140.0), expected(45_000.0)) and expected(1e30).isfinite().all()
    assert not torch.equal(expected(140.0), expected(130.0))


def test_settings_are_the_same_after_json() -> None:
    plain = TableDesign(COLUMNS[:1], latent_dim=3)
    for design in (DESIGN, plain):
        assert TableDesign.from_json(json.loads(json.dumps(design.as_json()))) == design
    assert plain.pair()[0].latent_dim == 3 and TableDesign(COLUMNS[:1]).latent_dim == 8


def test_the_same_seed_gives_the_same_weights(untouched: None) -> None:
    one, again, other = (DESIGN.pair(seed)[0].state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_a_design_of_another_pair_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="design: saw another"):
        save_table(tmp_path, replace(DESIGN, latent_dim=3), *DESIGN.pair())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "changes",
    [
        {"options": {"hidden_dim": [3]}},
        {"options": {"hidden_dims": [0]}},
        {"guide_options": {"reader": "attentio"}},
        {"guide_options": {"covariance": "half"}},
        {"columns": ()},
    ],
)
def test_a_design_that_builds_nothing_says_why(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        replace(DESIGN, **changes).pair()
    assert caught.value.cure


def test_what_is_not_there_is_named_with_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"run: saw .*which has no table\.safetensors\n.*\n.*fit-"):
        load_table(tmp_path)
    with pytest.raises(InputError, match="RUN: saw .*nowhere, which is not there"):
        load_table(tmp_path / "nowhere", argument="RUN")


# -- strangers' files --------------------------------------------------------------------------


def forge(folder: Path, header: str = "PartialVAE", extra: Any = None, **changes: Any) -> Path:
    """Save a pair with other settings in its header, or another model's name."""
    model, guide = DESIGN.pair()
    config = {**DESIGN.as_json(), **changes}
    config = {name: value for name, value in config.items() if value != "gone"}
    pair = {"model": model, "guide": guide}
    save(folder / FILE, pair, model=header, config=config, extra=extra)
    return folder


def columns(place: int = 0, **changes: Any) -> dict[str, Any]:
    found = list(DESIGN.as_json()["columns"])
    found[place] = {**found[place], **changes}
    return {"columns": found}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"header": "SRVP"}, "a SRVP of"),
        ({"columns": "gone"}, "settings"),
        ({"code": "import os"}, "settings"),
        ({"latent_dim": "2"}, "latent_dim: '2'"),
        ({"latent_dim": 10**12}, "100,000"),
        ({"latent_dim": 99_999}, "numbers"),
        ({"latent_dim": -3}, "latent_dim"),
        ({"options": [1]}, "options: .*\n.*a dict"),
        ({"options": {**OPTIONS, "decoder": "os.system"}}, "options: 'decoder'"),
        ({"options": {**OPTIONS, "likelihood": 3}}, "options: 'likelihood'"),
        ({"options": {"hidden_dims": [10**7], "linear": True}}, "100,000"),
        ({"options": {"hidden_dims": [7], "linear": True}}, "numbers"),
        ({"options": {"hidden_dims": "x", "linear": True}}, "hidden_dims: 'x'"),
        ({"options": {"hidden_dims": [6], "linear": False}}, "numbers"),
        ({"guide_options": {**GUIDE_OPTIONS, "model": 1}}, "guide_options: 'model'"),
        ({"guide_options": {**GUIDE_OPTIONS, "set_dim": -1}}, "set_dim"),
        ({"guide_options": {**GUIDE_OPTIONS, "reader": "os"}}, "reader"),
        ({"columns": [1, 2]}, "columns: 1"),
        ({"columns": []}, "columns"),
        (columns(name=3), "columns"),
        (columns(kind="imaginary"), "kind"),
        (columns(name="crp"), "'crp' more than once"),
        (columns(kind="categorical"), "levels"),
        (columns(3, levels=["f", 3]), "levels"),
        (columns(3, kind="categorical", levels=[str(k) for k in range(10**4)]), "numbers"),
        (columns(6, upper=math.nan), "finite"),
        (columns(6, upper="60"), "columns"),
        ({"extra": {"order": ["age", "weight"]}}, "order"),
        ({"extra": {"order": "age"}}, "order"),
        ({"extra": {"order": [["age"]]}}, "order"),
        ({"extra": {"order": ["age", "age"]}}, "order: .*\n.*each once"),
        ({"extra": {"ranges": {"weight": [0, 1]}}}, "ranges"),
        ({"extra": {"ranges": {"age": [0]}}}, "ranges"),
        ({"extra": {"ranges": {"age": [0, math.inf]}}}, "ranges"),
        ({"extra": {"ranges": {"age": [2, 1]}}}, "ranges"),
        ({"extra": {"ranges": [0, 1]}}, "ranges"),
    ],
)
def test_settings_that_cannot_be_are_named(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        load_table(forge(tmp_path, **changes))
    assert str(tmp_path) in str(caught.value)


def test_levels_that_tables_of_all_columns_are_padded_to_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path)
    monkeypatch.setattr(files, "_MOST_PADDED", 7 * 3)
    load_table(tmp_path)
    monkeypatch.setattr(files, "_MOST_PADDED", 7 * 3 - 1)
    with pytest.raises(CheckpointError, match="levels: 21 of all columns, padded"):
        load_table(tmp_path)


def test_nothing_is_built_that_the_tensors_do_not_fill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[str] = []
    real = TableDesign.pair

    def watched(self: TableDesign, seed: int = 0) -> Any:
        built.append(torch.empty(0).device.type)
        return real(self, seed)

    monkeypatch.setattr(TableDesign, "pair", watched)
    with pytest.raises(CheckpointError, match="settings of .* numbers"):
        load_table(forge(tmp_path, options={"hidden_dims": [100_000] * 3, "linear": True}))
    assert built == ["cpu", "meta"]  # the forger's own, and an outline without memory


def test_damaged_files_are_named(tmp_path: Path) -> None:
    path = saved(tmp_path)
    good = path.read_bytes()
    for content in (good[:-40], good[:40], b"", good[:300] + b"\0" + good[301:]):
        path.write_bytes(content)
        with pytest.raises(CheckpointError):
            load_table(tmp_path)
    path.write_bytes(pickle.dumps({"age": 3}))
    with pytest.raises(CheckpointError):
        load_table(path)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_named(value: float, tmp_path: Path) -> None:
    model, guide = DESIGN.pair()
    guide.evidence.directions.data[1, 0] = value
    save_table(tmp_path, DESIGN, model, guide)
    with pytest.raises(CheckpointError, match=r"guide\.evidence\.directions holds 1 of 14"):
        load_table(tmp_path)


def test_columns_of_a_run_say_what_they_are() -> None:
    assert [column.name for column in DESIGN.columns] == NAMES
    assert DESIGN.columns[6] == Column("r500", "censored", upper=60.0, unit="dB")
