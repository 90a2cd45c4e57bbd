"""SVI for tracking: `TraceEnum_ELBO` of MixDVAE, its guide refined for the clips at hand."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from guides.mixdvae import MixDVAEGuide, unit_of
from inference.objectives import Objective
from inference.tasks.tracking.batch import (
    Batch,
    TrackerSettings,
    frames_exist,
    frames_of,
    mixture_of,
)
from inference.vem import VEM, responsibilities
from ppl_models.mixdvae import MixDVAE

LAST_DRAWS = 20
WINDOW = 25
"""Steps whose mean loss says whether the bound still rises."""
LEAST_RATE = 1 / 40
"""Where the learning rate has fallen to this share of its first value, steps end."""
FIRST_SCALE = 0.2
"""Standard deviations of a first q(s), as a share of VEM's: frames independent of each other are
each as certain as all others known leave them."""

Data = tuple[Tensor, ...]


def refine(
    batch: Batch,
    start: Tensor,
    pair: tuple[nn.Module, nn.Module],
    settings: TrackerSettings,
    begin: VEM | None = None,
) -> VEM:
    """Train the guide's offsets on a batch, each source in the frame of its path in ``start``.

    Its q(s) begins at the posterior ``begin``, or, without, at paths ``start`` (B, N, T, 4). The
    learning rate halves whenever the mean loss of `WINDOW` steps is no better, to its standard
    error, than that of those before; when it has fallen to `LEAST_RATE`, or after
    ``settings.steps``, it ends. What is returned has the form of VEM's answer, its responsibilities
    an E-W step at the guide's q(s). The bound of each sequence is estimated after each window by
    one draw, and at the end by `LAST_DRAWS`.
    """
    mixture = MixDVAE(
        pair[0], clutter_weight=settings.clutter_weight, phi=settings.noise**2
    ).double()
    guide = MixDVAEGuide(mixture, pair[1]).double()
    origin, unit = frames_of(start, batch.lengths)
    where = start if begin is None else begin.mean
    data = batch.o, batch.mask, batch.size, origin, unit, batch.region, where, frames_exist(batch)
    offsets = guide.refined(*start.shape[:3])
    if begin is not None:
        _begin_at(guide, offsets, data, begin)
    objective, bounds = Objective("enum"), list[Tensor]()
    for _ in _windows(mixture, guide, data, settings):
        bounds.append(objective.bound(mixture, guide, data, {}))
    last = torch.stack([objective.bound(mixture, guide, data, {}) for _ in range(LAST_DRAWS)])
    with torch.no_grad():
        mean, scale = guide.moments(*data[:5], *data[6:])
        mean, sd = origin[:, :, None] + unit[:, :, None] * mean, unit[:, :, None] * scale
        phi = guide.phi(batch.size)
        eta, _ = responsibilities(mixture_of(batch, start, settings), mean, sd**2, phi)
    error = last.std(0) / math.sqrt(LAST_DRAWS)
    return VEM(mean, sd**2, eta, phi, last.mean(0), error, torch.stack([*bounds, last.mean(0)]))


@torch.no_grad()
def _begin_at(guide: MixDVAEGuide, offsets: nn.ParameterDict, data: Data, begin: VEM) -> None:
    """Set the offsets so that q(s) has the posterior's means, and a share of its deviations."""
    _, mask, size, origin, unit, _, where, _ = data
    origin, unit = origin[:, :, None], unit[:, :, None]
    mean, scale = guide.moments(*data[:5], *data[6:])
    spread = guide.model.phi**0.5 * unit_of(size, mask)[:, :, None] / unit
    offsets["shift"] += ((where - origin) / unit - mean) / spread
    offsets["log_scale"] += (FIRST_SCALE * begin.variance.sqrt() / unit / scale).log()
    if "log_phi" in offsets:
        offsets["log_phi"] += (begin.phi / guide.phi(size)).log()


def _windows(
    mixture: MixDVAE, guide: MixDVAEGuide, data: Data, settings: TrackerSettings
) -> Iterator[int]:
    """Take steps; yield their number after each window but the last."""
    assert guide.offset is not None
    offsets, rate = list(guide.offset.parameters()), settings.learning_rate
    optimizer, objective = torch.optim.Adam(offsets, lr=rate), Objective("enum")
    before, window = math.inf, list[float]()
    for step in range(1, settings.steps + 1):
        loss = objective.loss(mixture, guide, data, {}, step)
        for parameter, grad in zip(offsets, torch.autograd.grad(loss, offsets), strict=True):
            parameter.grad = grad
        optimizer.step()
        window.append(loss.item())
        if step % WINDOW or step == settings.steps:
            continue
        yield step
        losses = torch.tensor(window)
        if before - losses.mean() < losses.std() / math.sqrt(WINDOW):
            rate = optimizer.param_groups[0]["lr"] = rate / 2
        if rate < settings.learning_rate * LEAST_RATE:
            return
        before, window = float(losses.mean()), []
