"""Padding is no data: every diagnostic of a ragged batch is that of its sequences, cut to length.

The pair below takes the noise of its draws as an argument, so that a padded batch and its
sequences alone are compared at the same draws, and must agree to rounding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch import Tensor, nn

from guides import HMMGuide, LDSGuide, LinearMotionGuide
from guides.dvae import DKFGuide
from inference.diagnostics.amortisation import amortisation_gap
from inference.diagnostics.arviz_export import posterior
from inference.diagnostics.collapse import collapse_report
from inference.diagnostics.importance import importance
from inference.diagnostics.information import mutual_information
from inference.diagnostics.pictures import plot_reconstructions
from inference.diagnostics.ppc import ppc
from inference.diagnostics.rates import rates
from inference.diagnostics.sbc import sbc
from inference.tracing import sampling
from ppl_models import HMM, LDS, LinearMotion
from ppl_models.dvae import DKF

LENGTHS = torch.tensor([5, 3, 5, 3, 3, 5, 5, 3])
MASK = torch.arange(5) < LENGTHS[:, None]
JUNK = 7.0  # what stands in the padding: neither zero nor NaN


class Noisy(dist.Normal):
    """A Normal whose draws are made of given noise."""

    noise: Tensor = torch.tensor(0.3)  # of what `amortisation_gap` makes of one

    def expand(self, batch_shape: Any, _instance: Any = None) -> Noisy:
        return noisy(self.loc.expand(batch_shape), self.scale, self.noise)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return (self.loc + self.scale * self.noise).expand(self._extended_shape(sample_shape))


def noisy(loc: Tensor, scale: float | Tensor, noise: Tensor) -> Noisy:
    made = Noisy(loc, torch.as_tensor(scale, dtype=loc.dtype).expand(loc.shape))
    made.noise = noise
    return made


class Frames(nn.Module):
    """z_t ~ N(0, 1) and x_t ~ N(z_t, 0.5) in each frame that exists, two numbers each."""

    def forward(self, x: Tensor, mask: Tensor, noise: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            prior = noisy(torch.zeros_like(x), 1.0, noise).mask(mask[..., None])
            z = pyro.sample("z", prior.to_event(2))
            pyro.sample("x", noisy(z, 0.5, noise).to_event(1).mask(mask).to_event(1), obs=x)


class FramesGuide(nn.Module):
    """Not quite the posterior, which is N(0.8 x, 0.2)."""

    def forward(self, x: Tensor, mask: Tensor, noise: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            q = noisy(0.6 * x, 0.5, noise).mask(mask[..., None])
            pyro.sample("z", q.to_event(2))


def ragged() -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(3)
    x, noise = (torch.randn(8, 5, 2, generator=draw, dtype=torch.double) for _ in range(2))
    return x.masked_fill(~MASK[..., None], JUNK), MASK, noise


def alone(length: int) -> tuple[Tensor, Tensor, Tensor]:
    """The sequences of one length, cut."""
    x, mask, noise = ragged()
    rows = LENGTHS == length
    return x[rows, :length], mask[rows, :length], noise[rows, :length]


def short() -> tuple[Tensor, Tensor, Tensor]:
    """All sequences, cut to the shortest."""
    x, mask, noise = ragged()
    return x[:, :3], mask[:, :3], noise[:, :3]


PAIR = Frames(), FramesGuide()


def test_weights() -> None:
    whole = importance(*PAIR, *ragged(), num_samples=2).log_weights
    for length in (3, 5):
        part = importance(*PAIR, *alone(length), num_samples=2).log_weights
        torch.testing.assert_close(whole[:, LENGTHS == length], part)


def test_rates() -> None:
    whole = rates(*PAIR, *ragged(), num_samples=2)
    parts = [rates(*PAIR, *alone(length), num_samples=2) for length in (3, 5)]
    for name in ("z", "x"):
        assert whole[name].nats == pytest.approx(sum(p[name].nats for p in parts) / 2)
    assert whole.bound == pytest.approx(sum(p.bound for p in parts) / 2)


def test_information_is_that_among_sequences_of_one_length() -> None:
    whole = mutual_information(*PAIR, *ragged())
    parts = [mutual_information(*PAIR, *alone(length)) for length in (3, 5)]
    for name in ("nats", "upper", "rate", "ceiling", "marginal_kl"):
        assert getattr(whole, name) == pytest.approx(sum(getattr(p, name) for p in parts) / 2)
    assert whole.ceiling == pytest.approx(np.log(4))


def test_a_sequence_of_its_own_length_tells_nothing_and_has_no_bound_from_above() -> None:
    x, mask, noise = ragged()
    mask = mask.clone()
    mask[0, 1:] = False
    found = mutual_information(*PAIR, x, mask, noise)
    assert np.isfinite([found.nats, found.upper]).all()
    assert found.ceiling == pytest.approx((3 * np.log(3) + 4 * np.log(4)) / 8)


def test_units_are_judged_by_the_data_that_have_them() -> None:
    def found(data: Any) -> dict[tuple[int, ...], Any]:
        report = collapse_report(*PAIR, *data, num_samples=2, num_particles=2, steps=2)
        return {unit.index: unit for unit in report.sites[0].units}

    whole, long, cut = found(ragged()), found(alone(5)), found(short())
    assert len(whole) == 10
    for index, unit in whole.items():
        same = cut[index] if index[0] < 3 else long[index]
        share = 1.0 if index[0] < 3 else 0.5  # of the data that have it
        assert unit.spread == pytest.approx(same.spread)
        assert unit.rate == pytest.approx(share * same.rate)
    x, _, noise = ragged()
    assert len(found((x, MASK & (torch.arange(5) < 3), noise))) == 6  # frames that none has


def test_the_amortisation_gap() -> None:
    def gap(data: Any) -> float:
        with sampling(*PAIR, data, {}, 0) as sampler:
            found = amortisation_gap(sampler, 0, steps=20)
        assert found is not None
        return found.nats

    assert gap(ragged()) == pytest.approx((gap(alone(3)) + gap(alone(5))) / 2)


def test_what_stands_in_the_padding_is_not_the_unit_of_a_step() -> None:
    x, mask, noise = ragged()
    gaps = []
    for junk in (JUNK, 1e6):
        filled = x.masked_fill(~mask[..., None], junk)
        with sampling(*PAIR, (filled, mask, noise), {}, 0) as sampler:
            found = amortisation_gap(sampler, 0, steps=20)
            assert found is not None
            gaps.append(found.nats)
    assert gaps[0] == pytest.approx(gaps[1])


def test_statistics_of_data_and_predictions() -> None:
    whole = ppc(*PAIR, *ragged(), statistic=["mean", "max", "zeros"], num_samples=2)
    x, mask, noise = ragged()
    predicted = (0.6 * x + noise)[mask]  # 0.6 x + 0.5 noise, and 0.5 noise again
    for name, value in (("mean", predicted.mean()), ("max", predicted.max())):
        torch.testing.assert_close(whole["x", name].replicates, value.expand(2))
    assert whole["x", "mean"].observed == pytest.approx(float(x[mask].mean()))


@torch.random.fork_rng()
def pairs() -> list[Any]:
    torch.manual_seed(0)
    motion = LinearMotion((0.3, 0.2), (0.1, 0.1), (0.2, 0.2), (1.0, 0.9)).double()
    lds, hmm = LDS(2, latent_dim=2, form="joint").double(), HMM(2, num_states=2).double()
    dkf = DKF(2, latent_dim=3).double()
    return [
        pytest.param(motion, LinearMotionGuide(motion), id="linear motion"),
        pytest.param(lds, LDSGuide(lds), id="LDS"),
        pytest.param(hmm, HMMGuide(hmm), id="HMM"),
        pytest.param(dkf, DKFGuide(dkf).double(), id="DKF"),
    ]


@pytest.mark.parametrize(("model", "guide"), pairs())
def test_nothing_is_exported_at_frames_that_do_not_exist(model: Any, guide: Any) -> None:
    x, mask, _ = ragged()
    idata = posterior(model, guide, x, mask, num_samples=3)
    for group in ("posterior", "posterior_predictive", "observed_data"):
        for name, variable in getattr(idata, group).items() if hasattr(idata, group) else ():
            values = variable.values
            if values.shape[-2:-1] != (5,):
                continue  # a code of a whole sequence
            there = np.isfinite(values).all(-1)
            assert (there == MASK.numpy()).all(), (group, name)
            assert variable.attrs["masked"]
    assert np.isfinite(idata.log_likelihood["s"].values).all()
    assert np.array_equal(idata.observed_data["s"].values[MASK], x[MASK].numpy())


def test_masked_integers_become_floats_and_whole_data_keep_their_dtype() -> None:
    class Counts(nn.Module):
        def forward(self, x: Tensor, mask: Tensor) -> None:
            with pyro.plate("data", len(x), dim=-1):
                z = pyro.sample("z", dist.Gamma(2.0, 1.0).expand([len(x)]))
                frames = dist.Poisson(z[..., None].expand(*z.shape, 3)).mask(mask)
                pyro.sample("x", frames.to_event(1), obs=x)

    class Guide(nn.Module):
        def forward(self, x: Tensor, mask: Tensor) -> None:
            with pyro.plate("data", len(x), dim=-1):
                pyro.sample("z", dist.Gamma(2.0, 1.0).expand([len(x)]))

    x, mask = torch.tensor([[1, 0, 9], [2, 3, 1]]), torch.tensor([[1, 1, 0], [1, 1, 1]]).bool()
    ours = posterior(Counts(), Guide(), x, mask, num_samples=2).observed_data["x"].values
    assert np.array_equal(ours, [[1, 0, np.nan], [2, 3, 1]], equal_nan=True)
    whole = posterior(Counts(), Guide(), x, mask | True, num_samples=2).observed_data["x"]
    assert whole.values.dtype == np.int64 and "masked" not in whole.attrs


@pytest.mark.parametrize("fill", [JUNK, 0.0, float("nan")])
@pytest.mark.parametrize(("model", "guide"), pairs()[:2])
def test_an_exact_guide_is_calibrated_on_ragged_data(model: Any, guide: Any, fill: float) -> None:
    x, mask, _ = ragged()
    x = x.masked_fill(~mask[..., None], fill)
    weights = importance(model, guide, x, mask, num_samples=20).log_weights
    assert float(weights.std(0).max()) < 1e-9
    found = sbc(model, guide, x, mask, simulations=400, num_samples=19, seed=1)
    ranks = found.ranks["z"].reshape(50, 8, 5, 2)
    assert bool(((ranks >= 0).all(-1) == mask).all())
    assert found.pvalue() > 1e-3  # a right guide fails once in a thousand seeds; padding gave 0
    assert abs(float(found.uniform("z").nanmean()) - 0.5) < 0.03  # s.e. 0.29 / sqrt(400), 10 dims
    assert found.plot("z").figure is not None and "400" in str(found)


def test_a_wrong_guide_is_found_on_ragged_data_and_quantities_see_no_padding() -> None:
    class Wrong(LinearMotionGuide):
        def path(self, s: Tensor, mask: Tensor | None = None) -> Tensor:
            return super().path(s + 0.5 * torch.arange(5)[:, None], mask)

    model = LinearMotion((0.3, 0.2), (0.1, 0.1), (0.2, 0.2), (1.0, 0.9)).double()
    x, mask, _ = ragged()
    top = {"top": lambda latents: latents["z"].abs().amax((-1, -2))}
    right, wrong = (
        sbc(model, guide, x, mask, simulations=400, num_samples=19, quantities=top)
        for guide in (LinearMotionGuide(model), Wrong(model))
    )
    assert right.pvalue("top") > 0.01 and right.pvalue("z") > 0.01 > wrong.pvalue("z")


def test_a_dim_that_too_few_sequences_have_is_not_tested() -> None:
    model = LinearMotion((0.3, 0.2), (0.1, 0.1), (0.2, 0.2), (1.0, 0.9)).double()
    x, mask = torch.zeros(8, 5, 2).double(), MASK & (torch.arange(5) < 4)
    mask[0] = True  # the only one with a fifth frame
    found = sbc(model, LinearMotionGuide(model), x, mask, simulations=80, num_samples=9)
    assert found.pvalues("z")[-2:].isnan().all() and not found.pvalues("z")[:-2].isnan().any()
    tested = found.pvalues("z")[:-2]
    assert found.pvalue() == pytest.approx(min(1.0, 8 * float(tested.min())))


def test_pictures_leave_padding_blank_and_mark_it() -> None:
    x, mask, noise = ragged()
    figure = plot_reconstructions(*PAIR, x, mask, noise, num_samples=1, shape=(5, 2))
    data, draws = figure.axes[:8], figure.axes[8:]
    for row, axis in enumerate((*data, *draws)):
        image, tint = (np.ma.filled(i.get_array(), np.nan) for i in axis.images)
        gone = ~mask[row % 8].numpy()
        assert (np.isnan(image).all(1) == (gone & (row < 8))).all()
        assert ((tint[..., 3] > 0).all(1) == gone).all()


class Plated(nn.Module):
    """Frames in a plate of their own, hidden by ``poutine.mask``; exact in `PlatedGuide`."""

    def forward(self, x: Tensor, mask: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-2), pyro.plate("frame", x.shape[1], dim=-1):
            with poutine.mask(mask=mask):
                z = pyro.sample("z", dist.Normal(torch.zeros_like(x), 1.0))
                pyro.sample("x", dist.Normal(z, 0.5), obs=x)


class PlatedGuide(nn.Module):
    """Its draws at missing frames are far off, and it masks nothing itself."""

    def forward(self, x: Tensor, mask: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-2), pyro.plate("frame", x.shape[1], dim=-1):
            loc = torch.where(mask, 0.8 * x, torch.full_like(x, 40.0))
            with poutine.mask(mask=mask):
                pyro.sample("z", dist.Normal(loc, 0.2**0.5))


def test_frames_in_a_plate_are_left_out_too() -> None:
    x, mask = ragged()[0][..., 0], MASK
    pair = Plated(), PlatedGuide()
    assert float(importance(*pair, x, mask, num_samples=9).log_weights.std(0).max()) < 1e-9
    found = sbc(*pair, x, mask, simulations=400, num_samples=19)
    assert found.ranks["z"].shape == (400, 5) and found.pvalue() > 0.01
    assert bool(((found.ranks["z"].reshape(50, 8, 5) >= 0) == mask).all())
    idata = posterior(*pair, x, mask, num_samples=3)
    for group, name in (("posterior", "z"), ("posterior_predictive", "x"), ("observed_data", "x")):
        assert (np.isfinite(getattr(idata, group)[name].values) == mask.numpy()).all()
    assert (idata.log_likelihood["x"].values[..., ~mask.numpy()] == 0).all()
    report = collapse_report(*pair, x, mask, num_samples=2, num_particles=2, steps=2)
    for unit in report.sites[0].units:
        rows = mask[:, unit.index[0]]
        assert unit.spread == pytest.approx(float((0.8 * x[rows, unit.index[0]]).var()))
    assert ppc(*pair, x, mask, statistic="max", num_samples=20)["x", "max"].replicates.max() < 10
    assert mutual_information(*pair, x, mask).ceiling == pytest.approx(np.log(4))
