"""SVI and VEM are two inferences of one model, so what they say must agree."""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.distributions import InverseGamma, MultivariateNormal

from inference.randomness import seeded
from inference.tasks.tracking.batch import Batch, TrackerSettings, frames_of, prepare
from inference.tasks.tracking.known_number import coordinate_ascent, source_pair, starts_of
from inference.tasks.tracking.svi import FIRST_SCALE, refine
from inference.vem import VEM
from ppl_models.linear_motion import LinearMotion
from tests.clips import Clip, overlap, walkers
from tests.dense import covariance

FRAMES, OBJECTS = 3, 2
MODEL = TrackerSettings(steps=100, learning_rate=0.2)


class Both(NamedTuple):
    batch: Batch
    start: Tensor
    vem: VEM
    svi: VEM


@pytest.fixture(scope="module")
def both() -> Both:
    """Two sources apart from each other in two or three detections a frame, followed twice."""
    clip = walkers(FRAMES, OBJECTS, clutter=0.5, seed=2)
    batch = prepare([clip.boxes.padded(1, FRAMES)], (1000.0, 800.0))
    assert 6 < batch.mask.sum() <= 8
    start = starts_of(batch, [FRAMES], OBJECTS, MODEL)[0]
    with seeded(0):
        vem = coordinate_ascent(batch, start, "linear", MODEL)
        return Both(batch, start, vem, refine(batch, start, source_pair("linear"), MODEL))


def exact(batch: Batch, start: Tensor, phi: float) -> float:
    """log p(o, phi): the sum over every w of Gaussians with the paths integrated out."""
    origin, unit = (x[0] for x in frames_of(start, batch.lengths))
    paths = covariance(LinearMotion().double(), FRAMES)[:, FRAMES:, FRAMES:]  # (D, T, T)
    spots = batch.mask[0].nonzero()
    o, size = batch.o[0][batch.mask[0]], batch.size[0][batch.mask[0]]
    clutter = math.log(MODEL.clutter_weight) + batch.log_clutter.item()
    share = math.log((1 - MODEL.clutter_weight) / OBJECTS)

    def distribution(n: int, mine: Tensor) -> Tensor:
        """log p of the detections ``mine`` of source n, dims apart."""
        frame = spots[mine, 0]
        same = paths[:, frame[:, None], frame] * unit[n][:, None, None] ** 2
        noise = torch.diag_embed(phi * size[mine].T ** 2)
        density = MultivariateNormal(origin[n][:, None].expand(-1, len(mine)), same + noise)
        return density.log_prob(o[mine].T).sum() + share * len(mine)

    table: dict[tuple[int, tuple[int, ...]], Tensor] = {}
    total = []
    for w in itertools.product(range(OBJECTS + 1), repeat=len(spots)):
        each = torch.tensor(clutter * w.count(OBJECTS), dtype=o.dtype)
        for n in range(OBJECTS):
            mine = tuple(i for i, one in enumerate(w) if one == n)
            if mine and (n, mine) not in table:
                table[n, mine] = distribution(n, torch.tensor(mine))
            each = each + (table[n, mine] if mine else 0.0)
        total.append(each)
    half = torch.tensor(10.0).double()  # nu = 20
    prior = InverseGamma(half, half * MODEL.noise**2).log_prob(torch.tensor(phi, dtype=half.dtype))
    return (torch.stack(total).logsumexp(0) + prior).item()


def test_the_bounds_are_bounds_and_vems_is_the_better_one(both: Both) -> None:
    """With w all but known VEM is exact. SVI pays for an assignment a frame: 6 nats or more here.

    Its estimate from 20 draws is good to 2 nats (3 standard errors).
    """
    exact_vem, exact_svi = (exact(*both[:2], x.phi.item()) for x in (both.vem, both.svi))
    vem, svi = both.vem.elbo.item(), both.svi.elbo.item()
    assert exact_vem - 1e-3 < vem <= exact_vem + 1e-9
    assert svi < exact_svi + 2.0
    assert vem - 15.0 < svi < vem


def test_their_answers_agree(both: Both) -> None:
    """Mean-field means are the exact ones; 100 noisy steps leave some tenths of a deviation."""
    off = (both.svi.mean - both.vem.mean).abs() / both.vem.variance.sqrt()
    assert off.mean() < 0.2 and off.max() < 0.6
    assert (both.svi.variance < 1.1 * both.vem.variance).all()  # and variances are too small
    assert (both.svi.phi / both.vem.phi - 1).abs() < 0.25
    eta = (both.svi.responsibilities - both.vem.responsibilities).abs()
    assert both.svi.responsibilities.shape == (1, FRAMES, 3, OBJECTS + 1) and eta.max() < 0.02


def test_the_bound_rises(both: Both) -> None:
    assert both.svi.objective.shape == (4, 1) and both.svi.elbo > both.svi.objective[0]
    assert both.svi.elbo == both.svi.objective[-1] and 0 < both.svi.elbo_error < 2


@pytest.mark.parametrize("prior", ["srnn", "deepar"])
def test_other_priors_stay_on_the_objects(prior: str) -> None:
    from inference.tasks.tracking.batch import to_ltwh

    clip = walkers(6, 2, seed=1)
    batch = prepare([clip.boxes.padded(1, 6)])
    model = TrackerSettings(steps=15)
    start = starts_of(batch, [6], 2, model)[0]
    end = refine(batch, start, source_pair(prior), model)  # type: ignore[arg-type]
    assert overlap(to_ltwh(end.mean[0].numpy()), clip.truth).mean() > 0.8
    assert torch.isfinite(end.elbo).all() and end.elbo.shape == (1,)


def test_without_clutter_all_detections_are_of_sources() -> None:
    clip = walkers(4, 2)
    batch = prepare([clip.boxes.padded(1, 4)])
    model = TrackerSettings(steps=2, clutter_weight=0.0)
    start = starts_of(batch, [4], 2, model)[0]
    eta = refine(batch, start, source_pair("linear"), model).responsibilities
    assert eta.shape == (1, 4, 2, 2)
    assert torch.allclose(eta.sum(-1), torch.ones(1, 4, 2).double())


def parts_of(clips: list[Clip], lengths: list[int], prior: Any) -> tuple[Batch, Tensor, VEM]:
    """Clips of two objects side by side, and where VEM ends."""
    padded = [clip.boxes.padded(1, length) for clip, length in zip(clips, lengths, strict=True)]
    batch = prepare(padded, (1000.0, 800.0))
    start = starts_of(batch, lengths, 2, MODEL)[0]
    return batch, start, coordinate_ascent(batch, start, prior, MODEL)


@pytest.mark.parametrize("prior", ["linear", "deepar", "srnn"])
def test_padded_frames_do_not_count(prior: Any) -> None:
    """A clip of 5 frames beside one of 11 ends as it does alone.

    Its bound to 5 standard errors and the 3 nats that 30 noisy steps may differ by; the deviations
    of a frame, geometric means of 8, to 0.25 in logs, 3 standard errors. Counted, 6 frames more
    cost two objects some hundred nats, and doubled the deviations of the last frame.
    """
    clips = [walkers(5, 2, seed=3), walkers(11, 2, seed=4)]
    settings = TrackerSettings(steps=30)
    found = []
    for some in (1, 2):
        batch, start, end = parts_of(clips[:some], [5, 11][:some], prior)
        with seeded(1):
            found.append(refine(batch, start, source_pair(prior), settings, end))
    alone, beside = found
    error = (alone.elbo_error[0] ** 2 + beside.elbo_error[0] ** 2).sqrt()
    assert (alone.elbo[0] - beside.elbo[0]).abs() < 5 * error + 3.0
    ratio = beside.variance[0, :, :5].sqrt() / alone.variance[0].sqrt()
    assert (ratio.log().mean((0, 2)).abs() < 0.25).all()


@pytest.mark.parametrize("prior", ["linear", "deepar"])
def test_it_begins_where_vem_ends(prior: Any) -> None:
    """With a rate of nearly 0: VEM's means and noise, and a share of its deviations."""
    batch, start, end = parts_of([walkers(5, 2, seed=3)], [5], prior)
    settings = TrackerSettings(steps=1, learning_rate=1e-9)
    found = refine(batch, start, source_pair(prior), settings, end)
    assert torch.allclose(found.mean, end.mean, atol=1e-4)
    assert torch.allclose(found.variance.sqrt(), FIRST_SCALE * end.variance.sqrt(), rtol=1e-5)
    assert torch.allclose(found.phi, end.phi)


@pytest.mark.slow
def test_it_ends_where_the_bound_does_not_rise() -> None:
    """At a rate of nearly 0 nothing rises: windows that are better by chance are few."""
    batch, start, end = parts_of([walkers(3, 2, seed=3)], [3], "linear")
    settings = TrackerSettings(steps=2_000, learning_rate=1e-9)
    with seeded(0):
        found = refine(batch, start, source_pair("linear"), settings, end)
    assert 6 <= len(found.objective) - 1 <= 14  # six halvings make 1/64
