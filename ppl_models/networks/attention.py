r"""Attention over the frames near by: memory and time linear in the length of a sequence.

Frame i attends to frames j with 0 <= i - j < W (causal), or |i - j| < W, with weights
softmax_j(q_i k_j / sqrt(C / heads) + bias(i - j)): a learned number for each head and distance
encodes when a frame was (no absolute positions, so a network trained on chunks reads whole
recordings). Frames are taken in blocks of W, which attend to themselves and their neighbours alone.
Stacked layers reach further: n of them reach n (W - 1) frames.

References: A. Vaswani et al., "Attention is all you need", NeurIPS 2017; P. Shaw et al.,
"Self-attention with relative position representations", NAACL 2018 (biases by distance: C. Raffel
et al., T5, JMLR 2020); normalisation first: R. Xiong et al., ICML 2020.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ppl_models.inputs import check_count

NEVER = -1e9  # what a score becomes where there is no frame: finite, so that padding is no NaN


class WindowAttention(nn.Module):
    """Multi-head attention of frames x to frames y of the same times.

    Parameters
    ----------
    dim, heads : int
        C, and among how many heads it is divided.
    window : int
        W, frames.
    causal : bool
        Whether frame i attends to frames up to itself only.

    Shapes: x, y (..., T, C), mask (..., T) of frames of y that exist -> (..., T, C).
    """

    def __init__(self, dim: int, heads: int, window: int, causal: bool) -> None:
        super().__init__()
        check_count("window", window, 1)
        self.heads, self.window, self.causal = heads, window, causal
        self.query, self.of_y = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim)
        self.out = nn.Linear(dim, dim)
        self.bias = nn.Parameter(torch.zeros(heads, window if causal else 2 * window - 1))

    def forward(self, x: Tensor, y: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Return what frames of x gather from those of y (by default x itself)."""
        y = x if y is None else y
        length, reach = x.shape[-2], self.window * (2 if self.causal else 3)
        gathered = (self._all if length <= reach else self._in_blocks)(x, y, mask)
        return self.out(gathered.transpose(-3, -2).flatten(-2))

    def _all(self, x: Tensor, y: Tensor, mask: Tensor | None) -> Tensor:
        """Attend to all frames at once: less work than in blocks, as long as there are few."""
        key, value = self._pair(y)
        frames = torch.arange(x.shape[-2], device=x.device)
        scores = self._queries(x) @ key.transpose(-1, -2) + self._biases(frames, frames)
        if mask is not None:
            scores = scores.masked_fill(~mask[..., None, None, :], NEVER)
        return scores.softmax(-1) @ value

    def _in_blocks(self, x: Tensor, y: Tensor, mask: Tensor | None) -> Tensor:
        """Attend from blocks of frames to those near by."""
        length, window = x.shape[-2], self.window
        blocks = -(-length // window)
        extra = blocks * window - length
        query = self._queries(F.pad(x, (0, 0, 0, extra))).unflatten(-2, (blocks, window))
        key, value = (self._near(part) for part in self._pair(F.pad(y, (0, 0, 0, extra))))
        frames = torch.arange(window, device=x.device)
        keys = torch.arange((2 if self.causal else 3) * window, device=x.device) - window
        scores = query @ key.transpose(-1, -2) + self._biases(frames, keys)[:, None]
        scores = scores + self._absent(y, mask, blocks)
        return (scores.softmax(-1) @ value).flatten(-3, -2)[..., :length, :]

    def start(self, batch: Sequence[int], like: Tensor) -> tuple[Any, ...]:
        """Return the state before the first frame."""
        size = self.query.out_features // self.heads
        empty = like.new_zeros(*batch, self.heads, 0, size)
        return None, empty, empty

    def step(self, x: Tensor, y: Tensor, state: tuple[Any, ...]) -> tuple[Tensor, Tensor, Tensor]:
        """Return output (..., C), keys and values after one more frame; causal attention only."""
        last = slice(-self.window, None)
        key, value = (
            torch.cat([old, self._heads(new)], -2)[..., last, :]
            for old, new in zip(state[1:], self.of_y(y)[..., None, :].chunk(2, -1), strict=True)
        )
        query = self._heads(self.query(x)[..., None, :])
        scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        scores = scores + self.bias[:, : key.shape[-2]].flip(-1)[:, None]
        gathered = (scores.softmax(-1) @ value).transpose(-3, -2).flatten(-2)
        return self.out(gathered[..., 0, :]), key, value

    def _heads(self, x: Tensor) -> Tensor:
        """(..., T, C) -> (..., heads, T, C / heads)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(-3, -2)

    def _pair(self, y: Tensor) -> tuple[Tensor, Tensor]:
        key, value = self.of_y(y).chunk(2, -1)
        return self._heads(key), self._heads(value)

    def _near(self, x: Tensor) -> Tensor:
        """Put each block beside its neighbours: (..., T, c) -> (..., blocks, 2 W or 3 W, c)."""
        blocks = x.unflatten(-2, (-1, self.window))
        near = [F.pad(blocks, (0, 0, 0, 0, 1, 0))[..., :-1, :, :], blocks]
        if not self.causal:
            near.append(F.pad(blocks, (0, 0, 0, 0, 0, 1))[..., 1:, :, :])
        return torch.cat(near, -2)

    def _queries(self, x: Tensor) -> Tensor:
        query: Tensor = self._heads(self.query(x))
        return query / query.shape[-1] ** 0.5

    def _biases(self, frames: Tensor, keys: Tensor) -> Tensor:
        """Return the bias of each query frame and key frame, (heads, queries, keys)."""
        ago = frames[:, None] - keys
        nearest = 0 if self.causal else 1 - self.window
        visible = (ago >= nearest) & (ago < self.window)
        biases = self.bias[:, (ago - nearest).clamp(0, self.bias.shape[1] - 1)]
        return torch.where(visible, biases, NEVER)

    def _absent(self, y: Tensor, mask: Tensor | None, blocks: int) -> Tensor:
        """Return NEVER where a key is no frame, (..., 1, blocks, 1, 2 W or 3 W), else 0."""
        there = y.new_ones(1, y.shape[-2]) if mask is None else mask.to(y.dtype)
        there = F.pad(there, (0, blocks * self.window - y.shape[-2]))
        return (1 - self._near(there[..., None, :, None]).squeeze(-1)[..., None, :]) * NEVER


class Transformer(nn.Module):
    """Layers of attention and of a two-layer network, each added to what it reads.

    Parameters
    ----------
    dim, num_layers, heads, window, causal
        As in `WindowAttention`; ``num_layers`` of them.
    crossed : bool
        Each layer has a second attention, to frames y beside x: inputs are (..., T, 2 C), x then y.
    dropout : float
        Share of what each part adds that is left out in training.

    Shapes: (..., T, C or 2 C), mask (..., T) -> (..., T, C).
    """

    def __init__(
        self,
        dim: int,
        num_layers: int,
        *,
        heads: int = 4,
        window: int = 32,
        causal: bool = True,
        crossed: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.dim, self.crossed = dim, crossed
        self.layers = nn.ModuleList(
            _Layer(dim, heads, window, causal, crossed, dropout) for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the outputs of a whole sequence."""
        x, y = x.split(self.dim, -1) if self.crossed else (x, None)
        for layer in self.layers:
            x = layer(x, y, mask)
        out: Tensor = self.norm(x)
        return out

    def start(self, batch: Sequence[int], like: Tensor) -> tuple[Any, ...]:
        """Return the state before the first frame."""
        return None, [layer.start(batch, like) for layer in self.layers]  # type: ignore[operator]

    def step(self, x: Tensor, state: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the output (..., C) of one more frame (..., C or 2 C), and the rest of a state."""
        x, y = x.split(self.dim, -1) if self.crossed else (x, None)
        states = []
        for layer, old in zip(self.layers, state[1], strict=True):
            x, new = layer.step(x, y, old)  # type: ignore[operator]
            states.append(new)
        return self.norm(x), states


class _Layer(nn.Module):
    """One layer of a `Transformer`."""

    def __init__(
        self, dim: int, heads: int, window: int, causal: bool, crossed: bool, dropout: float
    ) -> None:
        super().__init__()
        self.norm, self.attention = (
            nn.LayerNorm(dim),
            WindowAttention(dim, heads, window, causal),
        )
        self.crossing = WindowAttention(dim, heads, window, causal) if crossed else None
        self.crossing_norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(2 * crossed))
        self.network = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim)
        )
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, y: Tensor | None, mask: Tensor | None) -> Tensor:
        x = x + self.drop(self.attention(self.norm(x), mask=mask))
        if self.crossing is not None and y is not None:
            query, context = self.crossing_norms
            x = x + self.drop(self.crossing(query(x), context(y), mask))
        return x + self.drop(self.network(x))

    def start(self, batch: Sequence[int], like: Tensor) -> list[Any]:
        parts = [self.attention, self.crossing]
        return [None if part is None else part.start(batch, like) for part in parts]

    def step(self, x: Tensor, y: Tensor | None, state: list[Any]) -> tuple[Tensor, list[Any]]:
        read = self.norm(x)
        own = self.attention.step(read, read, state[0])
        x, other = x + self.drop(own[0]), None
        if self.crossing is not None and y is not None:
            query, context = self.crossing_norms
            other = self.crossing.step(query(x), context(y), state[1])
            x = x + self.drop(other[0])
        return x + self.drop(self.network(x)), [own, other]
