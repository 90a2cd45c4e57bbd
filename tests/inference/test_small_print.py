"""What single lines of the engine's docstrings say, where no other test of theirs would notice."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import scipy.stats
import torch
from torch import Tensor

from guides.vae import VAEGuide
from inference import fit
from inference.diagnostics.aggregate import _ratios
from inference.diagnostics.importance import Importance
from inference.diagnostics.pareto import smooth
from inference.diagnostics.ppc import Check
from inference.diagnostics.rates import rates
from inference.diagnostics.sbc import SBC
from inference.metrics.frechet import frechet_distance, frechet_of_features
from inference.objectives import Objective
from inference.objectives.penalties.aggregated import MMD
from inference.objectives.penalties.correlation import Decomposition
from inference.objectives.target_rate import TargetRate
from inference.schedules import cosine
from inference.tasks.speech.long_recordings import _fade
from inference.tasks.tracking.kalman import Motion
from inference.tasks.tracking.linking import _ends
from inference.tasks.tracking.tracklets import Clip, Settings, Tracklet
from inference.tasks.tracking.tracks import Tracks
from inference.tracing import mean_and_error
from inference.training.aggressive import Aggressive
from inference.training.epoch_report import _mean_and_error
from ppl_models.linear_motion import LinearMotion
from ppl_models.vae import VAE

# --- standard errors ------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 7, 50])
def test_a_mean_s_error_is_that_of_a_sample(count: int) -> None:
    values = torch.randn(count).double()
    mean, error = mean_and_error(values)
    assert mean == pytest.approx(values.mean().item())
    assert error == pytest.approx(scipy.stats.sem(values.numpy()))


def test_a_report_s_error_is_that_of_a_sample_whatever_the_batches() -> None:
    values = torch.randn(23).double()
    alone = SimpleNamespace(processes=SimpleNamespace(total=lambda numbers: numbers))
    for size in (5, 23):
        parts = [(1, part) for part in values.split(size)]
        mean, error = _mean_and_error(alone, parts)
        assert mean == pytest.approx(values.mean().item())
        assert error == pytest.approx(scipy.stats.sem(values.numpy()))
    # batches that are one value for all their rows weigh as much: of equal ones it is their error
    means = torch.randn(6).double()
    mean, error = _mean_and_error(alone, [(4, value[None]) for value in means])
    assert (mean, error) == pytest.approx((means.mean().item(), scipy.stats.sem(means.numpy())))


def test_a_joint_bound_and_its_error_are_those_of_a_datum() -> None:
    """By the delta method: the error of log mean w is that of the mean over the mean; over N."""
    weights = torch.randn(400, 1).double() + 30.0
    ratio = weights.exp().flatten().numpy()
    for size in (1, 50):
        found = Importance(weights, joint=True, size=size)
        bound, error = found.iwae_mean
        assert bound == pytest.approx(math.log(ratio.mean()) / size)
        assert error == pytest.approx(scipy.stats.sem(ratio) / ratio.mean() / size)
        assert found.elbo_mean[1] == pytest.approx(scipy.stats.sem(weights.numpy())[0] / size)


def test_a_frechet_distance_s_error_is_the_jackknife_s() -> None:
    """Groups left out one by one, by hand: sqrt((G - 1) / G sum (d_g - mean)^2)."""
    first, second = (torch.randn(12, 3, 2).double() for _ in range(2))
    found = frechet_of_features(list(first), list(1.5 * second + 0.3), batches=4, seed=2)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(2))

    def distance(out: int | None) -> float:
        kept = [i for batch in range(4) if batch != out for i in order[batch::4].tolist()]
        sets = [rows[kept].flatten(0, 1) for rows in (first, 1.5 * second + 0.3)]
        moments = [m for rows in sets for m in (rows.mean(0), torch.cov(rows.T))]
        return frechet_distance(*moments)

    without = np.array([distance(out) for out in range(4)])
    assert found[0] == pytest.approx(distance(None))
    assert found[1] == pytest.approx(math.sqrt(3 / 4 * ((without - without.mean()) ** 2).sum()))
    assert found[2] == pytest.approx(3 * (without.mean() - distance(None)))


def test_ranks_of_ties_are_uniform() -> None:
    """A latent that is always 0, among L draws of 0: every rank from 0 to L is as likely."""
    from inference.diagnostics.sbc import _Study

    study = SimpleNamespace(local=True)
    zeros = torch.zeros(1, 6000)
    ranks = _Study._rank(study, zeros.expand(4, -1), zeros, 1, 0)
    seen = ranks.flatten().bincount(minlength=5)
    assert len(seen) == 5 and scipy.stats.chisquare(seen.numpy()).pvalue > 1e-4
    assert SBC({"z": ranks}, 4).pvalue("z") > 1e-4


def test_replicates_that_equal_the_data_count_half() -> None:
    check = Check("x", "zeros", 1.0, torch.tensor([0.0, 1.0, 1.0, 2.0]).double())
    assert check.pvalue == 0.5
    assert Check("x", "max", 1.0, torch.ones(3).double()).pvalue == 0.5


def test_the_tail_of_weights_is_three_root_s_of_them_or_a_fifth() -> None:
    """What is smoothed is the tail, and nothing else: Vehtari et al. 2024, section 3."""
    for draws, tail in ((50, 10), (900, 90), (2500, 150)):
        weights = torch.randn(draws, 1).double()
        smoothed, _ = smooth(weights)
        moved = (smoothed - weights) - (smoothed - weights).median()
        assert tail - 3 <= int((moved.abs() > 1e-9).sum()) <= tail  # but for one near its median


def test_a_draw_is_compared_with_the_other_data_without_its_own() -> None:
    """Of N posteriors at a draw, the mean of all N, and that of the N - 1 others."""
    log_q, rows, own = torch.randn(4, 6), torch.arange(4), torch.tensor([2, 0, 5, 1])
    mine, others = log_q[rows, own], torch.ones(4, 6, dtype=torch.bool)
    others[rows, own] = False
    rest = log_q[others].reshape(4, 5).exp().mean(1).log()
    together, apart = _ratios(log_q.clone(), rows, own, torch.ones(6, 6, dtype=torch.bool))
    assert torch.allclose(together, mine - log_q.exp().mean(1).log(), atol=1e-5)
    assert torch.allclose(apart, mine - rest, atol=1e-5)


# --- objectives -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", ["imq", "rbf"])
@pytest.mark.parametrize("variance", [1.0, 4.0])
def test_a_kernel_is_as_wide_as_its_prior(kernel: Any, variance: float) -> None:
    """C = 2 D sigma^2 s, by hand."""
    found = MMD(1.0, kernel, scales=(0.5, 2.0), variance=variance)
    a, b = torch.randn(3, 2), torch.randn(4, 2)
    squares, expected = (a[:, None] - b).square().sum(-1), torch.zeros(3, 4)
    for scale in (0.5, 2.0):
        c = 2 * 2 * variance * scale
        expected += c / (c + squares) if kernel == "imq" else (-squares / c).exp()
    assert torch.allclose(found._kernel(a, b), expected, atol=1e-5)


@pytest.mark.parametrize("batch", [2, 5, 8])
def test_stratified_weights_of_a_batch_are_those_of_all_data(batch: int) -> None:
    """w_ii = 1 / N, and the others share the rest: each row sums to one."""
    part = Decomposition(tc=1.0, data_size=8, estimator="mss")
    weights = part._log_weights(batch, 99).exp()
    assert torch.allclose(weights.sum(1), torch.ones(batch))
    assert torch.allclose(weights.diagonal(), torch.full((batch,), 1 / 8))


def test_a_weight_that_went_up_a_step_comes_down_to_where_it_was() -> None:
    target = TargetRate(1.0, step=0.5, start=2.0)
    target.update(9.0)
    assert target.weight == pytest.approx(3.0)
    target.update(0.1)
    assert target.weight == pytest.approx(2.0)
    for _ in range(60):
        target.update(0.1)
    assert target.weight == target.least


@pytest.mark.parametrize("rate", [0.93, 0.9, 1.11, 1.08])
def test_a_rate_in_its_band_leaves_the_weight(rate: float) -> None:
    """With a tolerance of a tenth the band is from 1 / 1.1 = 0.909 to 1.1."""
    target = TargetRate(1.0, tolerance=0.1)
    target.update(rate)
    moved = {0.93: 0, 0.9: -1, 1.11: 1, 1.08: 0}[rate]
    assert (target.weight > 1) - (target.weight < 1) == moved


def test_a_warmup_s_steps_are_equal_and_the_first_is_one_of_them() -> None:
    rate = cosine(100, start=0.8, warmup=4)
    assert [rate(step) for step in range(5)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8])
    assert rate(52) == pytest.approx(0.4) and rate(100) == rate(1000) == 0


@pytest.mark.parametrize("patience", [1, 2, 3])
def test_aggressive_updates_end_after_as_many_looks_without_a_best_one(patience: int) -> None:
    updates = Aggressive(most=20, check=2, patience=patience, look=1)
    looks = [1.0, 0.5, 2.0, 1.9, 1.8, 1.7, 1.6]
    for found in looks:
        updates._at["model_steps"] += 1
        updates.after_epoch(lambda found=found: found)
    # the best is the third; with a patience of one the second look, a drop, ended it already
    assert len(updates.history) == (2 if patience == 1 else 3 + patience)
    assert updates.mode == "joint" and updates.history[-1]["mode"] == "joint"


def model(x: Tensor) -> None:
    """A code of all data, and one of each."""
    u = pyro.sample("u", dist.Normal(0.0, 1.0))
    with pyro.plate("data", len(x), dim=-1):
        z = pyro.sample("z", dist.Normal(u, 1.0))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)


def guide(x: Tensor) -> None:
    """Wrong on purpose, so that no rate is zero."""
    u = pyro.sample("u", dist.Normal(0.3, 0.5))
    with pyro.plate("data", len(x), dim=-1):
        pyro.sample("z", dist.Normal(0.5 * x + 0.1 * u, 0.8))


@pytest.mark.parametrize("kl_weight", [0.0, 0.5, 1.0])
def test_a_bound_of_many_draws_weighs_its_rate(kl_weight: float) -> None:
    """By hand: log mean exp(log p(x | z) - weight (log q - log p)), of the same draws."""
    from inference.objectives.importance_weighted import Draws, iwae

    data, ratio = torch.randn(5, 3), torch.randn(5, 3)
    found = iwae(Draws(data, ratio).log_weights(kl_weight))
    assert torch.allclose(found, (data - kl_weight * ratio).exp().mean(0).log())


def test_a_minibatch_s_rates_stand_for_all_data() -> None:
    """A site outside the plate counts 1 / N a datum, its error too; the others are as they were."""
    x = torch.randn(10)
    small, large = (rates(model, guide, x, num_samples=50, data_size=n) for n in (10, 1000))
    assert large["u"].nats == pytest.approx(small["u"].nats / 100)
    assert large["u"].error == pytest.approx(small["u"].error / 100)
    for name in ("z", "x"):
        assert large[name].nats == pytest.approx(small[name].nats)
        assert large[name].error == pytest.approx(small[name].error)


def test_every_step_has_noise_of_its_own() -> None:
    """Equal data, and weights that hardly move: only noise tells one step's loss from another's."""
    vae, losses = VAE(3, 2, hidden_dims=(4,)), list[float]()
    how: dict[str, Any] = {"epochs": 2, "batch_size": 4, "progress": False, "learning_rate": 1e-12}
    keep = {"on_step": lambda step, loss: losses.append(loss)}
    fit(vae, VAEGuide(vae), torch.zeros(12, 3), objective=Objective("trace"), **keep, **how)
    assert len(losses) == len(set(losses)) == 6


# --- tasks ----------------------------------------------------------------------------------------


def test_pieces_of_a_recording_fade_in_the_middle_half_of_their_overlap() -> None:
    fade = _fade(400, torch.zeros(1))
    assert (fade[:100] == 0).all() and (fade[300:] == 1).all()
    assert fade[199:201].mean().item() == pytest.approx(0.5)
    assert torch.allclose(fade[100:300].diff(), torch.full((199,), 1 / 200), atol=1e-5)


def test_drawn_assignments_are_numbered_as_objects_with_clutter_zero() -> None:
    """Certain detections: of the first object, of the second, of clutter, and none at all."""
    certain = np.array([[[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0], [0, 0, 0]]])
    detections = np.ones((1, 4, 4))
    detections[0, 3] = np.nan
    flat = np.zeros((2, 1, 4))
    tracks = Tracks("clip", 1, flat, flat + 1, detections, certain, 0.04, np.zeros(1))
    drawn = tracks._draw_assignment(np.random.default_rng(0), 5)
    assert (drawn == [[1, 2, 0, -1]]).all()
    assert (tracks.assignment == [[0, 1, 2, -1]]).all()


def test_a_tracklet_begins_as_its_reversal_ends() -> None:
    """Backwards in time: positions and variances stay, velocities and their covariance turn."""
    generator = np.random.default_rng(0)
    o = np.cumsum(generator.normal(size=(6, 1, 4)), 0)
    size = np.ones((6, 1, 4))
    forward = Clip(o, np.ones((6, 1), bool), size, -9.0)
    backward = Clip(o[::-1].copy(), forward.mask, size, -9.0)
    motion, settings = Motion(LinearMotion(), 6, 1.0), Settings()
    begins = _ends(forward, [Tracklet([1, 2, 4], [0, 0, 0])], motion, settings)[1]
    ends = _ends(backward, [Tracklet([1, 3, 4], [0, 0, 0])], motion, settings)[0]
    for name, sign in (("s", 1), ("z", -1), ("ss", 1), ("sz", -1), ("zz", 1)):
        assert np.allclose(getattr(begins, name), sign * getattr(ends, name)), name
    assert (begins.sz != 0).all()
