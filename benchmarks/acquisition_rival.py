"""The loss of `PartialVAE` written by hand, in plain torch, for `benchmarks.acquisition_speed`.

It takes a copy of a pair, of which only its networks are used: no trace, no check of the values.
Noise is drawn as the pair draws it, so that both have the same loss.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class PlainPartialVAE(nn.Module):
    """Minus the bound of PartialVAE of real columns per row, in nats.

    Parameters
    ----------
    model, guide
        A copy of the pair.
    particles : int
        Draws a row: 0 is the bound with its KL in closed form, of one draw.
    """

    def __init__(self, model: Any, guide: Any, particles: int = 0) -> None:
        super().__init__()
        columns = model.likelihood
        self.net, self.guide, self.particles = model, guide, particles
        self.shift, self.scale = columns.shift, columns.scale
        self.floor, self.range = columns.floor, columns.ceiling - columns.floor
        middle = (min(1.0, 0.99 * columns.ceiling) - columns.floor) / self.range
        self.middle = math.log(middle / (1 - middle))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return the loss of rows (B, D), of which those in the mask (B, D) were observed."""
        x = torch.where(mask, x, 0.0)
        loc, factor = self.posterior(((x - self.shift) / self.scale)[..., None], mask)
        draws = (self.particles,) if self.particles else ()
        noise = torch.randn(*draws, *loc.shape)
        if not self.guide.full:
            z = loc + factor * noise
            log_volume = factor.log().sum(-1)
        else:
            z = loc + (factor @ noise[..., None])[..., 0]
            log_volume = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        density = torch.where(mask, self.log_density(x, z), 0.0).sum(-1)
        if self.particles:
            ratio = 0.5 * (noise.square() - z.square()).sum(-1) + log_volume
            return math.log(self.particles) - (density + ratio).logsumexp(0).mean()
        spread = factor.square().flatten(1).sum(-1)  # the trace of the covariance
        rate = 0.5 * (loc.square().sum(-1) + spread - loc.shape[-1]) - log_volume
        return (rate - density).mean()

    def posterior(self, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean, and scale or Cholesky factor, of q(z | x_O)."""
        guide = self.guide
        start, spread = guide.evidence(values, mask)
        log_scale = spread.diagonal(dim1=-2, dim2=-1).log() if guide.full else spread
        read = torch.cat([guide.reader(values, mask), start, log_scale], -1)
        parts = guide.head(read) * mask.any(-1, keepdim=True)
        latent_dim = start.shape[-1]
        move, widen = parts[:, :latent_dim], parts[:, latent_dim : 2 * latent_dim]
        if not guide.full:
            return start + log_scale.exp() * move, (log_scale + widen).exp()
        lower = torch.diag_embed(widen.exp())
        lower[:, guide.below[0], guide.below[1]] = parts[:, 2 * latent_dim :]
        return start + (spread @ move[..., None])[..., 0], spread @ lower

    def log_density(self, x: Tensor, z: Tensor) -> Tensor:
        """Return log p(x_d | z) of each column, (..., B, D)."""
        raw = self.net.decoder(z)
        if self.net.line is not None:
            raw = raw + self.net.line(z)
        loc, log_scale = raw.chunk(2, -1)
        scale = self.scale * (self.floor + self.range * (log_scale + self.middle).sigmoid())
        apart = (x - self.shift - self.scale * loc) / scale
        return -0.5 * apart.square() - scale.log() - HALF_LOG_2PI
