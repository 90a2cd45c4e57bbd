"""HiT-DVAE in plain torch: dense attention with a learned bias by distance, in a window.

See `benchmarks.sequence_rivals`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.rival_parts import Rival, backward_read, before, drawn, kl, lstm, moments


class Attention(nn.Module):
    """Multi-head attention of x to y: softmax(q k / sqrt(c) + bias(distance)) v."""

    def __init__(self, dim: int, heads: int, window: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.window, self.causal = heads, window, causal
        self.bias = nn.Parameter(torch.zeros(heads, window if causal else 2 * window - 1))
        self.query, self.pair = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return what x gathers from y."""
        split = x.shape[0], x.shape[1], self.heads, -1
        query, key, value = (
            part.reshape(split).transpose(1, 2)
            for part in (self.query(x), *self.pair(y).chunk(2, -1))
        )
        frames = torch.arange(x.shape[1])
        ago, nearest = frames[:, None] - frames, 0 if self.causal else 1 - self.window
        bias = self.bias[:, (ago - nearest).clamp(0, self.bias.shape[1] - 1)]
        bias = bias.masked_fill((ago < nearest) | (ago >= self.window), -1e9)
        weight = (query / query.shape[-1] ** 0.5 @ key.transpose(-1, -2) + bias).softmax(-1)
        out: Tensor = self.out((weight @ value).transpose(1, 2).flatten(2))
        return out


class Layer(nn.Module):
    """Attention, crossed attention and a network of two layers, each added."""

    def __init__(self, dim: int, causal: bool, crossed: bool) -> None:
        super().__init__()
        self.norm, self.attention = nn.LayerNorm(dim), Attention(dim, 4, 32, causal)
        self.crossing = Attention(dim, 4, 32, causal) if crossed else None
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(2 * crossed))
        parts = nn.LayerNorm(dim), nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim)
        self.network = nn.Sequential(*parts)

    def forward(self, x: Tensor, y: Tensor | None) -> Tensor:
        """Return the outputs."""
        own = self.norm(x)
        x = x + self.attention(own, own)
        if self.crossing is not None and y is not None:
            x = x + self.crossing(self.norms[0](x), self.norms[1](y))
        out: Tensor = x + self.network(x)
        return out


class Decoder(nn.Module):
    """Two layers, then a normalisation."""

    def __init__(self, dim: int, causal: bool = True, crossed: bool = False) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(dim, causal, crossed) for _ in range(2))
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the outputs."""
        for layer in self.layers:
            x = layer(x, y)
        out: Tensor = self.norm(x)
        return out


class PlainHiT(Rival):
    """HiT-DVAE; ``forget`` is the share of frames that decoders do not read in training."""

    def __init__(
        self, reader: nn.Module, d: int, n: int, forget: float = 0.3, dim: int = 128, code: int = 32
    ) -> None:
        super().__init__(reader)
        self.forget = forget
        self.reader, self.latent_reader = nn.Linear(d, dim), nn.Linear(n, dim)
        self.code_reader, self.prior = nn.Linear(code, dim), nn.Linear(dim, 2 * n)
        self.latent_decoder, self.frame_decoder = (Decoder(dim, crossed=True) for _ in range(2))
        self.emission = nn.Linear(dim, d)
        self.guide_reader, self.guide_code_reader = nn.Linear(d, dim), nn.Linear(code, dim)
        self.transformer, self.encoder = Decoder(dim, causal=False), nn.Linear(dim, 2 * n)
        self.onward, self.backward = lstm(d, 128), lstm(d, 128)
        self.code_encoder = nn.Linear(256, 2 * code)

    def read(self, tokens: Tensor) -> Tensor:
        """Leave some frames out."""
        if not self.forget:
            return tokens
        return tokens * (torch.rand(tokens.shape[:-1]) >= self.forget)[..., None]

    def coded(self, seen: Tensor, e: Tensor, code_noise: Tensor) -> tuple[Tensor, Tensor]:
        """Emission's outputs, and KL divergences."""
        ends = self.onward(seen)[0][:, -1], backward_read(self.backward, seen)[:, 0]
        w, *of_w = drawn(self.code_encoder(torch.cat(ends, -1)), code_noise)
        tokens = self.guide_reader(seen) + self.guide_code_reader(w)[:, None]
        z, *q = drawn(self.encoder(self.transformer(tokens)), e)
        frames, code = self.reader(before(seen)), self.code_reader(w)[:, None]
        h = self.latent_decoder(self.latent_reader(before(z)) + code, self.read(frames))
        decoded = self.frame_decoder(self.latent_reader(z) + code, self.read(frames))
        rate = kl((q[0], q[1]), moments(self.prior(h))) + kl((of_w[0], of_w[1]))
        return self.emission(decoded), rate
