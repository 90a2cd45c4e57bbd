from __future__ import annotations

from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoNormal, AutoNormalMessenger
from torch import Tensor, nn

from inference import fit, posterior, predict
from inference.errors import PairError

X = torch.tensor([1.0, -1.0, 2.0, 0.5])
Y = torch.tensor([1.2, -0.7, 2.6, 0.1])
NEW = torch.tensor([3.0, -2.0, 0.0])
DRAWS = 1000
# relative errors of a mean and of a variance: four standard errors of 1,000 draws
NEAR_MEAN, NEAR_VARIANCE = 4 / DRAWS**0.5, 4 * (2 / DRAWS) ** 0.5


def regression(x: Tensor, y: Tensor | None = None) -> None:
    b = pyro.sample("b", dist.Normal(0.0, 1.0))
    with pyro.plate("data", len(x)):
        pyro.sample("y", dist.Normal(b * x, 1.0), obs=y)


def conjugate() -> tuple[float, float]:
    precision = 1 + float(X.square().sum())
    return float((X * Y).sum()) / precision, precision**-0.5


def posterior_of_b(x: Tensor, y: Tensor | None = None) -> None:
    pyro.sample("b", dist.Normal(*conjugate()))


def test_a_regression_is_predicted_with_the_mean_and_variance_of_its_closed_form() -> None:
    idata = predict(regression, posterior_of_b, NEW, num_samples=DRAWS)
    y, (mean, sd) = idata.predictions["y"], conjugate()
    variance = 1 + (sd * NEW.numpy()) ** 2
    assert y.dims == ("chain", "draw", "data")
    error = np.abs(y.values[0].mean(0) - mean * NEW.numpy())
    assert (error < NEAR_MEAN * variance**0.5).all()
    assert np.allclose(y.values[0].var(0) / variance, 1, atol=NEAR_VARIANCE)
    assert idata.posterior["b"].dims == ("chain", "draw")
    assert idata.predictions_constant_data["x"].values.tolist() == NEW.tolist()


def test_the_predictions_of_one_draw_share_its_weights() -> None:
    idata = predict(regression, posterior_of_b, torch.full((2,), 30.0), num_samples=DRAWS)
    b, y = idata.posterior["b"].values[0], idata.predictions["y"].values[0]
    assert np.corrcoef(b, y[:, 0])[0, 1] > 0.98  # sd of 30 b is 11, that of the noise 1
    assert np.corrcoef(y[:, 0], y[:, 1])[0, 1] > 0.98


def test_data_without_a_default_are_left_out_as_none() -> None:
    def required(x: Tensor, y: Tensor | None) -> None:
        regression(x, y)

    found = predict(required, posterior_of_b, NEW, num_samples=8)
    assert found.predictions["y"].shape == (1, 8, 3)


@pytest.mark.parametrize("by_name", [False, True])
def test_a_fitted_autoguide_predicts_other_numbers_of_rows(by_name: bool) -> None:
    run = fit(regression, AutoNormal(regression), (X, Y), epochs=20, progress=False)
    call: Any = ((), {"x": NEW}) if by_name else ((NEW,), {})
    found = predict(run.model, run.guide, *call[0], **call[1], num_samples=8)
    assert found.predictions["y"].shape == (1, 8, 3)
    assert list(found.predictions_constant_data) == ["x"]


def mixed(x: Tensor, y: Tensor | None = None) -> None:
    """A weight, and a latent and an assignment of each row."""
    b = pyro.sample("b", dist.Normal(0.0, 1.0))
    with pyro.plate("data", len(x)):
        prior = dist.Categorical(torch.tensor([0.25, 0.75]))
        w = pyro.sample("w", prior, infer={"enumerate": "parallel"})
        z = pyro.sample("z", dist.Normal(0.0, 2.0))
        total = pyro.deterministic("total", b * x + z + 10.0 * w)
        pyro.sample("y", dist.Normal(total, 0.5), obs=y)


def test_latents_of_new_rows_are_drawn_from_the_model_and_shared_ones_from_the_guide() -> None:
    guide = AutoNormal(pyro.poutine.block(mixed, hide=["w"]), init_scale=1e-3)
    run = fit(mixed, guide, (X, Y), epochs=2, progress=False)
    found = predict(run.model, run.guide, NEW, num_samples=DRAWS)
    b, rows = found.posterior["b"].values, found.predictions
    assert list(found.posterior) == ["b"] and b.std() < 0.01
    assert rows["w"].values.mean() == pytest.approx(0.75, abs=NEAR_MEAN)
    assert rows["z"].values.std() == pytest.approx(2.0, rel=NEAR_VARIANCE)
    assert rows["total"].dims == ("chain", "draw", "data")
    expected = b[..., None] * NEW.numpy() + rows["z"].values + 10 * rows["w"].values
    assert np.allclose(rows["total"].values, expected, atol=1e-4)
    assert (rows["y"].values - expected).std() == pytest.approx(0.5, rel=NEAR_VARIANCE)


def two_views(a: Tensor | None = None, c: Tensor | None = None) -> None:
    size = len(a if a is not None else c)
    with pyro.plate("data", size):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("a", dist.Normal(z, 1.0), obs=a)
        pyro.sample("c", dist.Normal(z, 1.0), obs=c)


class FromOneView(nn.Module):
    def forward(self, a: Tensor | None = None, c: Tensor | None = None) -> None:
        with pyro.plate("data", len(a)):
            pyro.sample("z", dist.Normal(a / 2, 0.5**0.5))


def test_a_view_that_is_given_is_read_by_the_guide() -> None:
    a = torch.tensor([-3.0, 3.0])
    found = predict(two_views, FromOneView(), a, num_samples=DRAWS)
    assert list(found.predictions) == ["c"] and list(found.posterior) == ["z"]
    assert np.allclose(found.predictions["c"].values[0].mean(0), a / 2, atol=1.3 * NEAR_MEAN)
    assert np.allclose(found.predictions["c"].values[0].var(0), 1.5, rtol=NEAR_VARIANCE)


class ReadsItsData(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> None:
        precision = 1 + x.square().sum()
        pyro.sample("b", dist.Normal((x * y).sum() / precision, precision.rsqrt()))


def test_a_guide_that_reads_training_data_is_given_them_and_the_error_says_so() -> None:
    with pytest.raises(PairError) as error:
        predict(regression, ReadsItsData(), NEW)
    assert "given=(x, y)" in error.value.cure
    found = predict(regression, ReadsItsData(), NEW, given=(X, Y), num_samples=DRAWS)
    mean, sd = conjugate()
    assert found.posterior["b"].values.mean() == pytest.approx(mean, abs=NEAR_MEAN * sd)


def test_a_messenger_guide_is_given_its_data() -> None:
    guide = AutoNormalMessenger(regression)
    fit(regression, guide, (X, Y), epochs=2, progress=False)
    with pytest.raises(PairError, match="handler around the model"):
        predict(regression, guide, NEW)
    found = predict(regression, guide, NEW, given={"x": X, "y": Y}, num_samples=4)
    assert found.predictions["y"].shape == (1, 4, 3)


def test_without_new_rows_the_plates_are_those_of_training() -> None:
    def schools(y: Tensor | None = None) -> None:
        with pyro.plate("school", 3):
            theta = pyro.sample("theta", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal(theta, 1.0), obs=y)

    def guide(y: Tensor | None = None) -> None:
        with pyro.plate("school", 3):
            pyro.sample("theta", dist.Normal(torch.tensor([-5.0, 0.0, 5.0]), 0.1))

    y = predict(schools, guide, num_samples=DRAWS).predictions["y"].values[0]
    assert np.allclose(y.mean(0), [-5.0, 0.0, 5.0], atol=1.1 * NEAR_MEAN)


def test_an_autoguide_that_never_ran_is_refused() -> None:
    with pytest.raises(PairError, match="never run on data"):
        predict(regression, AutoNormal(regression), NEW)


def test_with_all_data_given_there_is_nothing_to_predict() -> None:
    with pytest.raises(PairError, match="nothing left to predict"):
        predict(regression, posterior_of_b, X, Y)


def test_a_model_that_needs_its_data_is_told_to_default_to_none() -> None:
    def sized_by_data(x: Tensor, y: Tensor) -> None:
        b = pyro.sample("b", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(y)):
            pyro.sample("y", dist.Normal(b * x, 1.0), obs=y)

    with pytest.raises(PairError, match="y=None") as error:
        predict(sized_by_data, posterior_of_b, NEW)
    assert "len(x), not len(y)" in error.value.cure


def test_an_enumerated_site_that_old_and_new_rows_share_is_refused() -> None:
    def switched(x: Tensor, y: Tensor | None = None) -> None:
        w = pyro.sample("w", dist.Bernoulli(0.5), infer={"enumerate": "parallel"})
        with pyro.plate("data", len(x)):
            pyro.sample("y", dist.Normal(w * x, 1.0), obs=y)

    with pytest.raises(PairError, match="outside the plate") as error:
        predict(switched, lambda x, y=None: None, NEW)
    assert error.value.site == "w"


def test_posterior_without_data_names_predict() -> None:
    with pytest.raises(PairError, match="inference.predict") as error:
        posterior(regression, posterior_of_b, NEW)
    assert error.value.site == "y"


def test_predictions_are_those_of_their_seed_and_leave_the_generator_alone() -> None:
    torch.manual_seed(5)
    first = predict(regression, posterior_of_b, NEW, num_samples=3, seed=1)
    after = torch.rand(())
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(()))
    again = predict(regression, posterior_of_b, NEW, num_samples=3, seed=1)
    other = predict(regression, posterior_of_b, NEW, num_samples=3, seed=2)
    assert first.predictions.equals(again.predictions)
    assert not first.predictions.equals(other.predictions)


def test_coords_and_names_of_event_dims_are_taken() -> None:
    def vectors(x: Tensor, y: Tensor | None = None) -> None:
        b = pyro.sample("b", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("y", dist.Normal(b * x[:, None].expand(-1, 2), 1.0).to_event(1), obs=y)

    named: Any = {"coords": {"data": ["p", "q", "r"]}, "dims": {"y": ["axis"]}}
    found = predict(vectors, posterior_of_b, NEW, num_samples=2, **named)
    assert found.predictions["y"].dims == ("chain", "draw", "data", "axis")
    assert found.predictions["y"].coords["data"].values.tolist() == ["p", "q", "r"]


def test_the_plate_of_the_new_rows_can_be_named_where_two_have_their_size() -> None:
    """Of three rows and three columns: what lies in the named plate alone is never seen before."""

    def grid(x: Tensor, y: Tensor | None = None) -> None:
        b = pyro.sample("b", dist.Normal(0.0, 1.0))
        with pyro.plate("columns", 3, dim=-1), pyro.plate("rows", 3, dim=-2):
            pyro.sample("y", dist.Normal(b + x, 1.0), obs=y)

    for plate in ("rows", "columns"):
        found = predict(grid, posterior_of_b, torch.zeros(3, 3), num_samples=3, plate=plate)
        assert found.predictions["y"].shape == (1, 3, 3, 3)
        # the inputs' first dim is labelled as the plate that is named
        assert found.predictions_constant_data["x"].dims[0] == plate
