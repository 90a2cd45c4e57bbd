"""Losses of SRVP and SVG written by hand, in plain torch, for `benchmarks.video_speed`.

Each takes a copy of a pair, of which only its networks are used: no trace, no check of the frames.
Noise is drawn in the order in which the pair draws it, so that both have the same loss.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

Moments = tuple[Tensor, Tensor]


class PlainSRVP(nn.Module):
    """Minus the bound of SRVP per video, in nats, the KL of z weighted."""

    def __init__(self, model: Any, guide: Any, z_weight: float = 1.0) -> None:
        super().__init__()
        self.z_weight = z_weight
        self.net, self.start, self.noise = model, guide.start, guide.noise
        self.lstm, self.start_frames = guide.onward.cell, guide.start_frames
        self.content_frames = model.content_frames

    def forward(self, s: Tensor) -> Tensor:
        """Return the loss of videos (B, T, D)."""
        net, (size, length, _) = self.net, s.shape
        code, maps = net.likelihood.encoder.with_maps(s)
        first = _softplus_normal(self.start(code[:, : self.start_frames].flatten(-2)))
        h = first[0] + first[1] * torch.randn_like(first[0])
        later = _softplus_normal(self.noise(self.lstm(code)[0][:, 1:]))
        z = later[0] + later[1] * torch.randn_like(later[0])
        states = [h]
        for driven in net.step.of_noise(z).unbind(1):
            h = h + net.step.rest(net.step.of_state(h) + driven)
            states.append(h)
        path = torch.stack(states, 1)
        prior = _softplus_normal(net.prior(path[:, :-1]))
        zero = torch.zeros_like(first[0])
        nats = _kl(first, (zero, zero + 1)) + self.z_weight * _kl(later, prior)
        chosen = torch.rand(size, length).argsort(-1)[:, : self.content_frames]
        rows = torch.arange(size)[:, None]
        w = net.whole_content(net.frame_content(code[rows, chosen]).sum(1))
        code = torch.cat([path, w[:, None].expand(-1, length, -1)], -1)
        skipped = None
        if net.likelihood.decoder.skips:
            skipped = [part[rows, chosen[:, :1]] for part in maps]
        painted = net.likelihood.decoder(code, skipped).sigmoid()
        return (nats + _misfit(s, painted, net.likelihood.pixels.scale)) / size


class PlainSVG(nn.Module):
    """Minus the bound of SVG-LP per video, in nats, the KL of z weighted."""

    def __init__(self, model: Any, guide: Any, z_weight: float = 1.0) -> None:
        super().__init__()
        self.z_weight = z_weight
        self.net, self.lstm, self.encoder = model, guide.onward.cell, guide.encoder.context
        self.prior_lstm, self.prior = model.recurrence.cell, model.prior.context
        self.layers = nn.ModuleList(layer.cell for layer in model.predictor)

    def forward(self, s: Tensor) -> Tensor:
        """Return the loss of videos (B, T, D)."""
        net, (size, length, _) = self.net, s.shape
        code, maps = net.likelihood.encoder.with_maps(s)
        before = code[:, :-1]
        q = _log_variance(self.encoder(self.lstm(code)[0][:, 1:]))
        z = q[0] + q[1] * torch.randn_like(q[0])
        nats = self.z_weight * _kl(q, _log_variance(self.prior(self.prior_lstm(before)[0])))
        x = net.enter(torch.cat([before, z], -1))
        for layer in self.layers:
            x = layer(x)[0]
        at = torch.arange(length - 1).clamp(max=min(net.past, length) - 1)
        painted = net.likelihood.decoder(net.leave(x), [part[:, at] for part in maps]).sigmoid()
        return (nats + _misfit(s[:, 1:], painted, net.likelihood.pixels.scale)) / size


RIVALS: dict[str, Any] = {"SRVP": PlainSRVP, "SVGLP": PlainSVG}


def _softplus_normal(raw: Tensor) -> Moments:
    mean, scale = raw.chunk(2, -1)
    return mean, softplus(scale) + 1e-3


def _log_variance(raw: Tensor) -> Moments:
    mean, log_variance = raw.chunk(2, -1)
    return mean, (0.5 * log_variance).exp()


def _kl(q: Moments, p: Moments) -> Tensor:
    ratio, scale = (q[0] - p[0]) / p[1], q[1] / p[1]
    return 0.5 * (ratio * ratio + scale * scale - 1 - 2 * scale.log()).sum()


def _misfit(s: Tensor, painted: Tensor, scale: Tensor) -> Tensor:
    squares = (s - painted).square().sum()
    level = scale.log() + 0.5 * math.log(2 * math.pi)
    return 0.5 * squares / scale**2 + s.numel() * level
