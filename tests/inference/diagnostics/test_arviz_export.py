from __future__ import annotations

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from inference.diagnostics.arviz_export import posterior
from inference.errors import PairError
from tests.inference.diagnostics.odd_pairs import (
    Hierarchy,
    HierarchyGuide,
    LocalGuide,
    LoopedTracks,
    OwnNoiseGuide,
    Sequence,
    SequenceGuide,
    SharedSwitch,
    Tracks,
    TwoViews,
    TwoViewsGuide,
)
from tests.pairs import (
    Amortised,
    AmortisedGuide,
    Conjugate,
    ConjugateGuide,
    NoLatents,
    TwoComponents,
    function_guide,
    function_model,
)

X = torch.tensor([0.5, -3.0, 2.5, 0.0])


def test_the_groups_have_named_dims_and_the_guides_distribution():
    model, guide = Conjugate(), ConjugateGuide()
    result = posterior(model, guide, X, num_samples=2000, coords={"data": list("abcd")})
    z = result["posterior"]["z"]
    assert z.dims == ("chain", "draw", "data") and z.shape == (1, 2000, 4)
    assert list(z.coords["data"].values) == list("abcd")
    # q(z) = N(0.7 x, 0.8): standard error 0.8 / sqrt(2000) = 0.018
    assert np.abs(z.values[0].mean(0) - 0.7 * X.numpy()).max() < 0.08
    new = result["posterior_predictive"]["x"].values[0]
    # x generated again: N(0.7 x, 0.8^2 + 0.5^2), whose sd has a standard error of 0.015
    assert np.abs(new.std(0) - np.sqrt(0.89)).max() < 0.07
    assert np.array_equal(result["observed_data"]["x"].values, X.numpy())
    log_p = dist.Normal(torch.tensor(z.values[0]), 0.5).log_prob(X)
    assert np.allclose(result["log_likelihood"]["x"].values[0], log_p.numpy(), atol=1e-5)
    assert result["log_likelihood"]["x"].dtype == np.float64 and z.dtype == np.float32


def test_a_sequence_is_one_variable_and_masked_frames_count_nothing():
    x = torch.randn(3, 4, 2)
    mask = torch.arange(4) < torch.tensor([[4], [2], [0]])
    names = {"z": ["time", "side"], "x": ["time", "side"]}
    result = posterior(Sequence(), SequenceGuide(), x, mask, num_samples=6, dims=names)
    assert result["posterior"]["z"].dims == ("chain", "draw", "sequence", "time", "side")
    speed = result["posterior"]["speed"]
    assert speed.dims == ("chain", "draw", "sequence", "speed_dim_0", "speed_dim_1")
    assert np.allclose(speed.values, np.diff(result["posterior"]["z"].values, axis=-2), atol=1e-6)
    log_p = result["log_likelihood"]["x"]
    assert log_p.dims == ("chain", "draw", "sequence")
    assert (log_p.values[..., 2] == 0).all() and np.isfinite(log_p.values).all()
    assert "speed" not in result["log_likelihood"] and "speed" not in result["observed_data"]


@pytest.mark.parametrize("model_class", [Tracks, LoopedTracks])
def test_several_plates_and_assignments_given_each_draw(model_class):
    o = torch.tensor([[[-1.0, 1.0], [1.0, -1.0], [-1.1, 0.9]]])
    guide = Fixed()
    result = posterior(model_class(), guide, o, num_samples=30)
    assert result["posterior"]["s"].dims == ("chain", "draw", "sequence", "source", "s_dim_0")
    w = result["posterior"]["w"]
    assert w.dims == ("chain", "draw", "sequence", "frame", "detection")
    # sources at -1 and 1, noise 0.5: the wrong one has odds of exp(-8), 180 assignments
    assert (w.values == (o.numpy() > 0)).mean() > 0.95
    new = result["posterior_predictive"]["o"].values
    assert np.abs(new - np.where(w.values == 1, 1.0, -1.0)).mean() < 0.6
    assert result["log_likelihood"]["o"].dims == w.dims


class Fixed(nn.Module):
    """Sources at -1 and 1."""

    def forward(self, o):
        with pyro.plate("sequence", len(o), dim=-3), pyro.plate("source", 2, dim=-1):
            loc = torch.tensor([[-1.0], [1.0]]).expand(2, o.shape[1])
            pyro.sample("s", dist.Normal(loc, 0.01).to_event(1))


def test_assignments_have_their_exact_posterior():
    model = TwoComponents()
    result = posterior(model, NoLatents(), X, num_samples=4000)
    probability = model.joint(X).softmax(-1)[:, 1].detach().numpy()
    share = result["posterior"]["w"].values[0].mean(0)
    # standard error at most 0.5 / sqrt(4000) = 0.008
    assert np.abs(share - probability).max() < 0.036
    assert np.allclose(result["log_likelihood"]["x"].values, model.evidence(X).detach(), atol=1e-6)
    assert result["log_likelihood"]["x"].attrs["enumerated"] == "summed"


def test_a_switch_shared_by_the_data_is_conditioned_on():
    result = posterior(SharedSwitch(), LocalGuide(), X, num_samples=7)
    assert result["posterior"]["c"].dims == ("chain", "draw")
    assert result["log_likelihood"]["x"].dims == ("chain", "draw", "data")


def test_two_observed_sites():
    y = torch.tensor([1.0, -1.0, 2.0, 0.0])
    result = posterior(TwoViews(), TwoViewsGuide(), X, y, num_samples=9)
    assert set(result["log_likelihood"].data_vars) == {"x", "y"}
    assert result["log_likelihood"]["y"].attrs["enumerated"] == "summed"


def test_global_and_local_latents():
    result = posterior(Hierarchy(), HierarchyGuide(), X, num_samples=8)
    assert result["posterior"]["mu"].dims == ("chain", "draw")
    assert result["posterior"]["z"].dims == ("chain", "draw", "data")


def test_plain_functions():
    result = posterior(function_model, function_guide, X, num_samples=11)
    assert result["posterior"]["mu"].shape == (1, 11)
    assert "enumerated" not in result["log_likelihood"]["x"].attrs


def test_a_guide_that_does_not_broadcast():
    result = posterior(Conjugate(), OwnNoiseGuide(), X, num_samples=12)
    z = result["posterior"]["z"].values[0]
    assert z.shape == (12, 4) and len(np.unique(z[:, 0])) == 12


def test_groups_can_be_left_out():
    result = posterior(
        Amortised(),
        AmortisedGuide(),
        torch.randn(3, 4),
        num_samples=5,
        predictive=False,
        log_likelihood=False,
    )
    found = set(result.children if hasattr(result, "children") else result.groups())
    assert found == {"posterior", "observed_data"}


def test_wrong_dims_are_refused_before_drawing():
    with pytest.raises(ValueError, match="expected a site of"):
        posterior(Conjugate(), ConjugateGuide(), X, dims={"y": []})
    with pytest.raises(ValueError, match="one an event dim"):
        posterior(Conjugate(), ConjugateGuide(), X, dims={"z": ["data"]})


def test_a_latent_site_that_nobody_draws_is_refused():
    with pytest.raises(PairError) as caught:
        posterior(Conjugate(), NoLatents(), X)
    assert caught.value.site == "z"


@pytest.mark.usefixtures("untouched")
def test_it_goes_to_netcdf_and_leaves_nothing_behind(tmp_path):
    result = posterior(TwoComponents(), NoLatents(), X, num_samples=20)
    result.to_netcdf(str(tmp_path / "posterior.nc"))
    assert (tmp_path / "posterior.nc").stat().st_size > 0


def test_weighted_draws_of_numbers_may_be_made_one_by_one():
    x = torch.tensor([0.4, 1.0, -0.2])

    def model(x):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        for i, datum in enumerate(x):
            loc = z if z.dim() == 0 else 1 / 0  # runs for one draw at a time only
            pyro.sample(f"x{i}", dist.Normal(loc, 1.0), obs=datum)

    def guide(x):
        pyro.sample("z", dist.Normal(0.2, 0.6))

    idata = posterior(model, guide, x, num_samples=200, weighted=True, max_samples=500)
    # z | x ~ N(0.3, 1 / 4): 200 draws have a standard error of 0.04
    assert abs(float(idata.posterior["z"].mean()) - 0.3) < 0.15
