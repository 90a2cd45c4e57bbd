"""SVI for tracking: `TraceEnum_ELBO` of MixDVAE, its guide refined for the clips at hand."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from guides.mixdvae import MixDVAEGuide
from inference.objectives import Objective
from inference.tasks.tracking.batch import Batch, TrackerSettings, frames_of, mixture_of
from inference.vem import VEM, responsibilities
from ppl_models.mixdvae import MixDVAE

LAST_DRAWS = 20


def refine(
    batch: Batch, start: Tensor, pair: tuple[nn.Module, nn.Module], settings: TrackerSettings
) -> VEM:
    """Train the guide's offsets on a batch from paths ``start`` (B, N, T, 4).

    The learning rate falls to a tenth. What is returned has the form of VEM's answer, its
    responsibilities an E-W step at the guide's q(s). The bound of each sequence is estimated every
    50 steps by one draw, and at the end, where starts are compared by it, by `LAST_DRAWS`.
    """
    mixture = MixDVAE(
        pair[0], clutter_weight=settings.clutter_weight, phi=settings.noise**2
    ).double()
    guide = MixDVAEGuide(mixture, pair[1]).double()
    origin, unit = frames_of(start, batch.lengths)
    offsets = list(guide.refined(*start.shape[:3]).parameters())
    data = (batch.o, batch.mask, batch.size, origin, unit, batch.region, start)
    optimizer = torch.optim.Adam(offsets, lr=settings.learning_rate)
    decay = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.1 ** (1 / settings.steps))
    objective, bounds = Objective("enum"), []
    for step in range(settings.steps):
        optimizer.zero_grad()
        loss = objective.loss(mixture, guide, data, {}, step)
        grads = torch.autograd.grad(loss, offsets)
        for parameter, grad in zip(offsets, grads, strict=True):
            parameter.grad = grad
        optimizer.step()
        decay.step()
        if step % 50 == 49 and step < settings.steps - 1:
            bounds.append(objective.bound(mixture, guide, data, {}))
    bounds.append(Objective("enum", num_particles=LAST_DRAWS).bound(mixture, guide, data, {}))
    with torch.no_grad():
        mean, scale = guide.moments(*data[:5], start)
        mean, sd = origin[:, :, None] + unit[:, :, None] * mean, unit[:, :, None] * scale
        phi = guide.phi(batch.size)
        eta, _ = responsibilities(mixture_of(batch, start, settings), mean, sd**2, phi)
    return VEM(mean, sd**2, eta, phi, torch.stack(bounds))
