"""Pairs that put the diagnostics' places, sums and fallbacks to the test."""

from __future__ import annotations

import itertools

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

ENUMERATE = {"enumerate": "parallel"}


class Sequence(nn.Module):
    """z of event (T, 2) in one site, x of event (T, 2) with frames masked; a derived site."""

    def forward(self, x: Tensor, mask: Tensor) -> None:
        with pyro.plate("sequence", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(x.shape[1:]), 1.0).to_event(2))
            pyro.deterministic("speed", z.diff(dim=-2), event_dim=2)
            frames = dist.Normal(z, 0.5).to_event(1).mask(mask)
            pyro.sample("x", frames.to_event(1), obs=x)


class SequenceGuide(nn.Module):
    """The exact posterior of `Sequence` where nothing is masked: N(0.8 x, 0.2)."""

    def forward(self, x: Tensor, mask: Tensor) -> None:
        observed = mask.unsqueeze(-1).to(x)
        scale = (1 + 4 * observed).rsqrt().expand(x.shape)
        with pyro.plate("sequence", len(x), dim=-1):
            pyro.sample("z", dist.Normal(0.8 * x * observed, scale).to_event(2))


class Tracks(nn.Module):
    """Sources s (B, N; event T), assignments w of K detections a frame, plates not nested."""

    def __init__(self, sources: int = 2) -> None:
        super().__init__()
        self.sources = sources

    def forward(self, o: Tensor) -> None:
        batch, frames, detections = o.shape
        with pyro.plate("sequence", batch, dim=-3):
            with pyro.plate("source", self.sources, dim=-1):
                offset = torch.linspace(-1, 1, self.sources).unsqueeze(-1).expand(-1, frames)
                s = pyro.sample("s", dist.Normal(offset, 1.0).to_event(1))
            with pyro.plate("frame", frames, dim=-2), pyro.plate("detection", detections, dim=-1):
                logits = torch.linspace(0, 0.5, self.sources)
                w = pyro.sample("w", dist.Categorical(logits=logits), infer=ENUMERATE)
                chosen = nn.functional.one_hot(w, self.sources)  # (..., B, T, K, N)
                loc = (s.transpose(-3, -1).transpose(-2, -1) * chosen).sum(-1)
                pyro.sample("o", dist.Normal(loc, 0.5), obs=o)

    def joint(self, o: Tensor, s: Tensor) -> Tensor:
        """log p(o, s) by summing every path of w, ``(B,)``; s is ``(B, N, T)``."""
        prior = dist.Normal(torch.linspace(-1, 1, self.sources).reshape(-1, 1), 1.0)
        logits = torch.linspace(0, 0.5, self.sources).log_softmax(-1)
        totals = []
        for w in itertools.product(range(self.sources), repeat=o[0].numel()):
            choice = torch.tensor(w).reshape(o.shape[1:])  # (T, K)
            time = torch.arange(o.shape[1]).unsqueeze(-1)
            density = dist.Normal(s[:, choice, time], 0.5).log_prob(o) + logits[choice]
            totals.append(density.sum((1, 2)))
        return torch.stack(totals).logsumexp(0) + prior.log_prob(s).sum((1, 2))


class LoopedTracks(Tracks):
    """The same model, written for one run only: it does not broadcast over draws."""

    def forward(self, o: Tensor) -> None:
        batch, frames, detections = o.shape
        rows = torch.arange(batch).reshape(-1, 1, 1)
        time = torch.arange(frames).reshape(-1, 1)
        with pyro.plate("sequence", batch, dim=-3):
            with pyro.plate("source", self.sources, dim=-1):
                offset = torch.linspace(-1, 1, self.sources).unsqueeze(-1).expand(-1, frames)
                s = pyro.sample("s", dist.Normal(offset, 1.0).to_event(1))
            s = s.reshape(batch, self.sources, frames)
            with pyro.plate("frame", frames, dim=-2), pyro.plate("detection", detections, dim=-1):
                logits = torch.linspace(0, 0.5, self.sources)
                w = pyro.sample("w", dist.Categorical(logits=logits), infer=ENUMERATE)
                pyro.sample("o", dist.Normal(s[rows, w, time], 0.5), obs=o)


class TracksGuide(nn.Module):
    """q(s): its mean is the frame's mean detection."""

    def __init__(self, sources: int = 2) -> None:
        super().__init__()
        self.sources = sources

    def forward(self, o: Tensor) -> None:
        with pyro.plate("sequence", len(o), dim=-3), pyro.plate("source", self.sources, dim=-1):
            loc = o.mean(-1)[:, None, None, :]
            pyro.sample("s", dist.Normal(loc, 0.7).to_event(1))


class TwoViews(nn.Module):
    """w summed, z depends on w, two observed sites depend on both."""

    loc = torch.tensor([-1.0, 2.0])

    def forward(self, x: Tensor, y: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            w = pyro.sample("w", dist.Bernoulli(0.3), infer=ENUMERATE).long()
            z = pyro.sample("z", dist.Normal(self.loc[w], 1.0))
            pyro.sample("x", dist.Normal(z + self.loc[w], 0.5), obs=x)
            pyro.sample("y", dist.Normal(z, 0.8), obs=y)

    def terms(self, x: Tensor, y: Tensor, z: Tensor) -> dict[str, Tensor]:
        """log factors by site, with w in front: ``(2, S, B)``."""
        loc = self.loc.reshape(2, 1, 1)
        return {
            "w": torch.tensor([0.7, 0.3]).log().reshape(2, 1, 1).expand(2, *z.shape),
            "z": dist.Normal(loc, 1.0).log_prob(z),
            "x": dist.Normal(z + loc, 0.5).log_prob(x),
            "y": dist.Normal(z, 0.8).log_prob(y).expand(2, *z.shape),
        }


class TwoViewsGuide(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(y, 0.6))


class SharedSwitch(nn.Module):
    """c, summed, shared by all data; z in the data plate."""

    def forward(self, x: Tensor) -> None:
        c = pyro.sample("c", dist.Categorical(torch.tensor([0.4, 0.6])), infer=ENUMERATE)
        scale = torch.tensor([1.0, 2.0])[c]
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(0.0, scale))
            pyro.sample("x", dist.Normal(z, 0.5), obs=x)


class LocalGuide(nn.Module):
    """q(z | x) = N(0.9 x, 0.5)."""

    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(0.9 * x, 0.5))


class Hierarchy(nn.Module):
    """mu once, z_i around it, x_i around z_i: a global and a local latent."""

    def forward(self, x: Tensor) -> None:
        mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(mu, 1.0))
            pyro.sample("x", dist.Normal(z, 0.5), obs=x)


class HierarchyGuide(nn.Module):
    """The exact posterior of `Hierarchy`: q(mu | x) q(z_i | mu, x_i)."""

    def forward(self, x: Tensor) -> None:
        precision = 1 + len(x) / 1.25
        mu = pyro.sample("mu", dist.Normal(x.sum() / 1.25 / precision, precision**-0.5))
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal((mu + 4 * x) / 5, 5**-0.5))


class OwnNoiseGuide(nn.Module):
    """Makes its noise in torch and reports it by a Delta: an outer plate would repeat one draw."""

    def forward(self, x: Tensor, size: int = 1) -> None:
        with pyro.plate("data", len(x), dim=-1):
            q = dist.Normal(0.7 * x, 0.8)
            z = q.sample()
            pyro.sample("z", dist.Delta(z, log_density=q.log_prob(z)))


class SummingModel(nn.Module):
    """Adds its latents over dim 0: an outer plate of draws changes its distribution."""

    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z - z.mean(0), 0.5), obs=x)


class IndexingModel(nn.Module):
    """Takes z to be a vector: fails with an outer plate of draws."""

    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            loc = torch.stack([z.reshape(len(x)), x]).mean(0)
            pyro.sample("x", dist.Normal(loc, 0.5), obs=x)
