"""Predictors whose answers are known exactly: classes by enumeration, and linear ones."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from inference.tasks.acquisition import Draws, PPCAPredictor
from ppl_models import PPCA


class Classes:
    """A distribution of D columns of classes, given log-probabilities (..., D, C)."""

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits

    def log_prob(self, x: Tensor) -> Tensor:
        shape = torch.broadcast_shapes(x.shape, self.logits.shape[:-1])
        index = x.long().expand(shape)[..., None]
        return self.logits.expand(*shape, -1).gather(-1, index).squeeze(-1)

    def icdf(self, u: Tensor) -> Tensor:
        below = self.logits.exp().cumsum(-1)[..., :-1]
        return (u[..., None] > below).sum(-1).to(self.logits)


class ClassTable:
    """D columns of classes, each with the coordinates of its one-hot vector."""

    def __init__(self, counts: list[int], spread: Tensor | None = None) -> None:
        self.counts, self.names = counts, tuple(f"x{d + 1}" for d in range(len(counts)))
        self.columns = [SimpleNamespace(num_classes=count) for count in counts]
        self.owner = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
        self.spread = torch.ones(len(self.owner)) if spread is None else spread

    def distribution(self, raw: Tensor) -> Classes:
        return Classes(raw.unflatten(-1, (len(self.counts), -1)))

    def moments(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        p = self.distribution(raw).logits.exp()
        p = torch.cat([p[..., d, :count] for d, count in enumerate(self.counts)], -1)
        return p, p * (1 - p)

    def encode(self, x: Tensor) -> Tensor:
        return torch.cat(
            [torch.eye(c, dtype=x.dtype)[x[..., d].long()] for d, c in enumerate(self.counts)], -1
        )


class StatePredictor:
    """Columns of classes that are independent given one of K states: all of it is a finite sum.

    ``log_p`` (K, D, C): log P(column d has class c | state k), -inf for classes that it has not.
    """

    def __init__(self, log_p: Tensor, prior: Tensor, counts: list[int]) -> None:
        self.log_p, self.prior, self.table = log_p.double(), prior.double(), ClassTable(counts)
        p, _ = self.table.moments(self.log_p.flatten(1))
        mean = (prior.double()[:, None] * p).sum(0)
        size = self.table.owner.bincount()
        apart = torch.zeros(len(counts), dtype=torch.double).index_add(
            0, self.table.owner, mean * (1 - mean)
        )
        self.table.spread = apart.sqrt().repeat_interleave(size)

    def draws(self, x: Tensor, mask: Tensor, num_samples: int = 0, seed: int = 0) -> Draws:
        raw = self.log_p.flatten(1)[:, None].expand(-1, len(x), -1)
        columns = self.table.distribution(raw).log_prob(torch.where(mask, x, 0.0))
        joint = torch.where(mask, columns, 0.0).sum(-1) + self.prior.log()[:, None]
        return Draws(self.table, raw, joint.softmax(0), joint.logsumexp(0))


def random_states(seed: int = 0, states: int = 4, counts: tuple[int, ...] = (2, 3, 2, 4)) -> Any:
    """A table of classes of random probabilities."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(states, len(counts), max(counts), generator=generator)
    for d, count in enumerate(counts):
        logits[:, d, count:] = -torch.inf
    prior = torch.rand(states, generator=generator) + 0.2
    return StatePredictor(logits.double().log_softmax(-1), prior / prior.sum(), list(counts))


def rows_of(predictor: StatePredictor) -> tuple[Tensor, Tensor]:
    """Every row that the table can have, and its probability."""
    rows = torch.tensor(list(itertools.product(*map(range, predictor.table.counts)))).double()
    nothing = torch.ones_like(rows, dtype=torch.bool)
    return rows, predictor.draws(rows, nothing).bound.exp()


def cube_predictor(num_contexts: int, num_bits: int, flip: float) -> StatePredictor:
    """The exact posterior of `cube`: states are pairs of context and label."""
    labels = 2**num_bits
    dim, width = num_contexts * num_bits + 2, max(num_contexts, labels)
    p = torch.zeros(num_contexts * labels, dim, width)
    for state in range(num_contexts * labels):
        context, label = divmod(state, labels)
        p[state, 0, context] = p[state, -1, label] = 1
        for k, j in itertools.product(range(num_contexts), range(num_bits)):
            one = ((1 - flip) if (label >> j) & 1 else flip) if k == context else 0.5
            p[state, 1 + k * num_bits + j, :2] = torch.tensor([1 - one, one])
    counts = [num_contexts, *[2] * (num_contexts * num_bits), labels]
    prior = torch.full((len(p),), 1 / len(p))
    return StatePredictor(p.double().log(), prior, counts)


def linear(seed: int = 0, data_dim: int = 6, latent_dim: int = 2) -> PPCAPredictor:
    """PPCA with parameters of its own, in double precision."""
    generator = torch.Generator().manual_seed(seed)
    model = PPCA(data_dim, latent_dim).double()
    with torch.no_grad():
        model.weight.copy_(torch.randn(data_dim, latent_dim, generator=generator))
        model.mean.copy_(torch.randn(data_dim, generator=generator))
        model.log_scale.fill_(-0.7)
    return PPCAPredictor(model)


def people(predictor: PPCAPredictor, size: int, seed: int = 0) -> Tensor:
    """Rows that the linear model draws."""
    model, generator = predictor.model, torch.Generator().manual_seed(seed)
    z = torch.randn(size, model.latent_dim, generator=generator, dtype=torch.double)
    noise = torch.randn(size, model.data_dim, generator=generator, dtype=torch.double)
    return (model.decode(z) + model.log_scale.exp() * noise).detach()


def conditional(predictor: PPCAPredictor, mask: Tensor) -> Tensor:
    """The covariance (D, D) of a row given the columns in mask (D,); 0 for those."""
    w, noise = predictor.model.weight.detach(), (2 * predictor.model.log_scale.detach()).exp()
    full = w @ w.T + noise * torch.eye(len(w), dtype=w.dtype)
    held, out = mask.nonzero().squeeze(1), full.clone()
    if len(held):
        out = full - full[:, held] @ torch.linalg.inv(full[held][:, held]) @ full[held]
    out[held], out[:, held] = 0, 0
    return out
