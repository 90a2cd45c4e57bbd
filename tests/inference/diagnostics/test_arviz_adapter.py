"""Runs without torch too: ``python -m pytest --noconftest`` in an environment of ArviZ 1.x."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

_FILE = Path(__file__).parents[3] / "inference" / "diagnostics" / "arviz_adapter.py"
_SPEC = importlib.util.spec_from_file_location("arviz_adapter", _FILE)
adapter = importlib.util.module_from_spec(_SPEC)
sys.modules["arviz_adapter"] = adapter  # dataclasses look their module up
_SPEC.loader.exec_module(adapter)
Variable, to_arviz = adapter.Variable, adapter.to_arviz

RNG = np.random.default_rng(0)


def groups():
    data = [("data", True)]
    both = [*data, ("x_dim_0", False)]
    return {
        "posterior": {"z": Variable(RNG.normal(size=(50, 3)), data)},
        "posterior_predictive": {"x": Variable(RNG.normal(size=(50, 3, 2)), both)},
        "log_likelihood": {"x": Variable(RNG.normal(size=(50, 3)), data)},
        "observed_data": {"x": Variable(RNG.normal(size=(3, 2)), both, drawn=False)},
    }


def test_the_object_is_what_the_installed_arviz_uses():
    result = to_arviz(groups(), {"data": ["a", "b", "c"]})
    assert type(result).__name__ in ("InferenceData", "DataTree")
    z = result["posterior"]["z"]
    assert z.dims == ("chain", "draw", "data") and z.shape == (1, 50, 3)
    assert list(z.coords["data"].values) == ["a", "b", "c"]
    assert result["posterior_predictive"]["x"].dims == ("chain", "draw", "data", "x_dim_0")
    assert result["log_likelihood"]["x"].dims == ("chain", "draw", "data")
    assert result["observed_data"]["x"].dims == ("data", "x_dim_0")


@pytest.mark.filterwarnings("ignore")  # ArviZ on one chain
def test_arviz_reads_it():
    import arviz

    result = to_arviz(groups())
    summary = arviz.summary(result, kind="stats")
    assert list(summary.index) == ["z[0]", "z[1]", "z[2]"]
    loo = arviz.loo(result, var_name="x")
    assert np.isfinite(loo.elpd if hasattr(loo, "elpd") else loo.elpd_loo)


def test_it_goes_to_netcdf_and_back(tmp_path):
    result = to_arviz(groups(), {"data": ["a", "b", "c"]})
    path = tmp_path / "posterior.nc"
    result.to_netcdf(str(path), engine="h5netcdf")
    import xarray

    with xarray.open_dataset(path, group="posterior", engine="h5netcdf") as back:
        assert np.array_equal(back["z"].values, result["posterior"]["z"].values)
        assert list(back["data"].values) == ["a", "b", "c"]


def test_a_plate_named_like_a_site_is_renamed():
    named = {"posterior": {"z": Variable(np.zeros((5, 3)), [("z", True)])}}
    assert to_arviz(named)["posterior"]["z"].dims == ("chain", "draw", "z_plate")
    draw = {"posterior": {"z": Variable(np.zeros((5, 3)), [("draw", True)])}}
    assert to_arviz(draw)["posterior"]["z"].dims == ("chain", "draw", "draw_plate")


def test_a_plate_of_two_sizes_has_two_names():
    two = {
        "posterior": {
            "a": Variable(np.zeros((5, 3)), [("rows", True)]),
            "b": Variable(np.zeros((5, 4)), [("rows", True)]),
        }
    }
    result = to_arviz(two)
    assert result["posterior"]["a"].dims[-1] == "rows"
    assert result["posterior"]["b"].dims[-1] == "b_rows"


def test_event_dims_may_share_a_name_only_with_one_size():
    def shared(size):
        return {
            "posterior": {"z": Variable(np.zeros((5, 3)), [("time", False)])},
            "observed_data": {"x": Variable(np.zeros(size), [("time", False)], drawn=False)},
        }

    assert to_arviz(shared(3))["observed_data"]["x"].dims == ("time",)
    with pytest.raises(ValueError, match="two names"):
        to_arviz(shared(4))


def test_two_dims_of_a_variable_need_two_names():
    square = {"posterior": {"z": Variable(np.zeros((5, 3, 3)), [("a", False), ("a", False)])}}
    with pytest.raises(ValueError, match="different names"):
        to_arviz(square)


def test_labels_must_fit():
    with pytest.raises(ValueError, match="coords: saw 'rows', expected a dim of"):
        to_arviz(groups(), {"rows": [1]})
    with pytest.raises(ValueError, match="saw 2 labels of 'data', expected 3"):
        to_arviz(groups(), {"data": ["a", "b"]})


def test_slashes_in_names_become_dots():
    result = to_arviz({"posterior": {"net/w": Variable(np.zeros((5,)), [])}})
    assert list(result["posterior"].data_vars) == ["net.w"]
