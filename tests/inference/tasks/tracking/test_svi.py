"""SVI and VEM are two inferences of one model, so what they say must agree."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from torch.distributions import InverseGamma, MultivariateNormal

from inference.randomness import seeded
from inference.tasks.tracking.batch import Batch, TrackerSettings, frames_of, prepare
from inference.tasks.tracking.svi import refine
from inference.tasks.tracking.track import coordinate_ascent, source_pair, starts_of
from inference.vem import VEM
from ppl_models.linear_motion import LinearMotion
from tests.clips import overlap, walkers
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
    assert both.svi.elbo.shape == (2, 1) and both.svi.elbo[-1] > both.svi.elbo[0]


@pytest.mark.parametrize("prior", ["srnn", "deepar"])
def test_other_priors_stay_on_the_objects(prior: str) -> None:
    from inference.tasks.tracking.batch import to_ltwh

    clip = walkers(6, 2, seed=1)
    batch = prepare([clip.boxes.padded(1, 6)])
    model = TrackerSettings(steps=15)
    start = starts_of(batch, [6], 2, model)[0]
    end = refine(batch, start, source_pair(prior), model)  # type: ignore[arg-type]
    assert overlap(to_ltwh(end.mean[0].numpy()), clip.truth).mean() > 0.8
    assert torch.isfinite(end.elbo).all() and end.elbo.shape == (1, 1)


def test_without_clutter_all_detections_are_of_sources() -> None:
    clip = walkers(4, 2)
    batch = prepare([clip.boxes.padded(1, 4)])
    model = TrackerSettings(steps=2, clutter_weight=0.0)
    start = starts_of(batch, [4], 2, model)[0]
    eta = refine(batch, start, source_pair("linear"), model).responsibilities
    assert eta.shape == (1, 4, 2, 2)
    assert torch.allclose(eta.sum(-1), torch.ones(1, 4, 2).double())
