r"""Markov chains of K states: a path of them as one sample site, and exact posteriors of it.

::

    k_1 -> k_2 -> ... -> k_T          k_1 ~ Categorical(initial), k_t ~ Categorical(step_t[k_{t-1}])
     |      |             |
    l_1    l_2           l_T          log-likelihoods of frame t: log p(s_t | k_t = j), (..., K)

Everything is in logs, and normalised in every frame, so that long paths neither under- nor
overflow. A frame with l_t = 0 is one that does not exist: after it the filter goes
on as a forecast, and since a chain's rows sum to one, it changes no posterior of a frame before.

References: L. R. Rabiner, "A tutorial on hidden Markov models", Proc. IEEE 1989, section III;
K. P. Murphy, "Machine Learning: a Probabilistic Perspective", 2012, section 17.4.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from pyro.distributions import DiscreteHMM
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from ppl_models.sequences import masked_frames


class MarkovPath(TorchDistribution):
    """A path k (T,) of a Markov chain with K states, as one site.

    Parameters
    ----------
    initial : Tensor
        (..., K): logits of the first state.
    steps : Tensor
        (..., T - 1, K, K): logits of the next state, a row a state before it.
    mask : Tensor of bool, optional
        (..., T): the frames that exist, the first ones; others count nothing in a density.
    summed : bool
        Whether paths are summed, one by one. Then states after a path's end count in densities, by
        the chain's own probabilities, whose sum is one; left out, each would count as one.

    Values are integers 0, ..., K - 1. `enumerate_support` lists all K^T paths: for short ones, and
    with a mask only if they are ``summed``.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}
    has_enumerate_support = True

    def __init__(
        self, initial: Tensor, steps: Tensor, mask: Tensor | None = None, *, summed: bool = False
    ) -> None:
        self.initial, self.steps = initial.log_softmax(-1), steps.log_softmax(-1)
        self.mask_frames, self.summed = mask, summed
        batch = torch.broadcast_shapes(initial.shape[:-1], steps.shape[:-3])
        if mask is not None:
            batch = torch.broadcast_shapes(batch, mask.shape[:-1])
        super().__init__(batch, torch.Size([steps.shape[-3] + 1]), validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        """Paths of whole numbers from 0 to K - 1."""
        last = self.initial.shape[-1] - 1
        return constraints.independent(constraints.integer_interval(0, last), 1)

    def expand(self, batch_shape: Any, _instance: object = None) -> MarkovPath:
        """Return the same distribution with a larger batch shape."""
        initial = self.initial.expand(*batch_shape, -1)
        return MarkovPath(initial, self.steps, self.mask_frames, summed=self.summed)

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw paths (*sample_shape, *batch_shape, T)."""
        shape = torch.Size(sample_shape) + self.batch_shape
        path = [_draw(self.initial.expand(*shape, -1))]
        for step in self.steps.unbind(-3):
            path.append(_draw(rows(step, path[-1])))
        return torch.stack(path, -1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log probability of paths (..., T): (...)."""
        batch = torch.broadcast_shapes(value.shape[:-1], self.batch_shape)
        value = value.expand(*batch, -1)
        first = rows(self.initial[..., None], value[..., 0])
        later = rows(self.steps, value[..., :-1]).gather(-1, value[..., 1:, None]).squeeze(-1)
        frames = torch.cat([first, later], -1)
        if self.mask_frames is not None and not self.summed:
            frames = torch.where(self.mask_frames, frames, torch.zeros_like(frames))
        return frames.sum(-1)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """Return all paths (K^T, ..., T), with dims of size one for the batch unless expanded."""
        if self.mask_frames is not None and not self.summed:
            raise NotImplementedError("paths with a mask are not enumerated: summed=True")
        states = torch.arange(self.initial.shape[-1], device=self.initial.device)
        length = self.event_shape[0]
        paths = torch.cartesian_prod(*[states] * length).reshape(-1, length)
        paths = paths.reshape(-1, *[1] * len(self.batch_shape), length)
        return paths.expand(-1, *self.batch_shape, length) if expand else paths


class ObservedStates(DiscreteHMM):
    """p(s) of what the states of a homogeneous chain emit, the states summed; event (T, D).

    Parameters
    ----------
    initial, transition : Tensor
        (K) and (K, K): logits of the first state, and of the next one.
    emit : callable
        From states (...), the distribution of their frames: batch (...), event (D,).
    length : int
        T.
    mask, observed : Tensor of bool, optional
        (..., T) and (..., T, D): frames that exist, and numbers that were seen; others count
        nothing.
    """

    def __init__(
        self,
        initial: Tensor,
        transition: Tensor,
        emit: Callable[[Tensor], Any],
        length: int,
        mask: Tensor | None = None,
        observed: Tensor | None = None,
    ) -> None:
        self.mask_frames, self.observed, self.emit = mask, observed, emit
        self.logs = initial.log_softmax(-1), transition.log_softmax(-1)
        states = len(initial)
        # DiscreteHMM takes a step before its first frame, from any state
        anywhere, first = torch.zeros_like(initial), initial.expand(1, states, states)
        steps = torch.cat([first, transition.expand(length - 1, -1, -1)])  # normalised by it
        frames = self._frames(None if observed is None else observed[..., None, :])
        if mask is not None:  # a masked frame sums to one, since a chain's rows do
            frames = frames.expand((*mask.shape, states)).mask(mask[..., None])
        super().__init__(anywhere, steps, frames, duration=length)

    def _frames(self, observed: Tensor | None) -> Any:
        """Return p(s_t | z_t) of each of the K states."""
        states = torch.arange(len(self.logs[0]), device=self.logs[0].device)
        return masked_frames(self.emit(states), None, observed)

    def expand(self, batch_shape: Any, _instance: Any = None) -> ObservedStates:
        """Return the same distribution with a larger batch shape."""
        new: Any = object.__new__(ObservedStates) if _instance is None else _instance
        new = super().expand(batch_shape, new)
        new.mask_frames, new.observed = self.mask_frames, self.observed
        new.emit, new.logs = self.emit, self.logs
        return new

    def complete(self, value: Tensor) -> Tensor:
        """Draw all numbers (*batch_shape, T, D) given those of paths (..., T, D) that were seen."""
        scores = self.observation_dist.log_prob(value[..., None, :])
        filtered = filter_states(*self.logs, scores)
        path = as_path(*smooth_states(filtered.log_probs, self.logs[1]))
        drawn: Tensor = self.emit(path.expand(self.batch_shape).sample()).sample()
        return drawn


class FilteredStates(NamedTuple):
    """Distributions of the states given the frames up to each."""

    log_probs: Tensor
    """(..., T, K): log p(k_t | s_{1:t})."""
    log_evidence: Tensor
    """(..., T): log p(s_t | s_{1:t-1}), nats."""


def filter_states(initial: Tensor, transition: Tensor, scores: Tensor) -> FilteredStates:
    """Run the forward algorithm, differentiably, in T steps.

    Parameters
    ----------
    initial, transition : Tensor
        (..., K) and (K, K), or (..., T - 1, K, K) where it changes: log probabilities.
    scores : Tensor
        (..., T, K): log p(s_t | k_t), 0 in frames that do not exist.
    """
    states, evidence = [], []
    last = scores.shape[-2] - 1
    steps = [transition] * last if transition.dim() == 2 else transition.unbind(-3)
    before = initial
    for t, frame in enumerate(scores.unbind(-2)):
        joint = before + frame
        total = joint.logsumexp(-1, keepdim=True)
        states.append(joint - total)
        evidence.append(total.squeeze(-1))
        if t < last:
            before = (states[-1][..., None] + steps[t]).logsumexp(-2)
    return FilteredStates(torch.stack(states, -2), torch.stack(evidence, -1))


def smooth_states(filtered: Tensor, transition: Tensor) -> tuple[Tensor, Tensor]:
    """Run backwards over log p(k_t | s_{1:t}) (..., T, K).

    Returns
    -------
    states : Tensor
        (..., T, K): log p(k_t | s_{1:T}).
    pairs : Tensor
        (..., T - 1, K, K): log p(k_t, k_{t+1} | s_{1:T}).
    """
    past = (filtered[..., :-1, :, None] + transition).log_softmax(-2)
    return run_back(filtered[..., -1, :], past)


def run_back(last: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
    """Return what `smooth_states` does, from log p(k_T | s) (..., K) and what led to each state.

    ``past`` (..., T - 1, K, K) is log p(k_t = i | k_{t+1} = j, s), i before j.
    """
    states, pairs = [last], []
    for back in reversed(past.unbind(-3)):
        pairs.append(back + states[-1][..., None, :])
        states.append(pairs[-1].logsumexp(-1))
    return torch.stack(states[::-1], -2), torch.stack(pairs[::-1], -3) if pairs else past


def as_path(states: Tensor, pairs: Tensor, mask: Tensor | None = None) -> MarkovPath:
    """Return the chain of which these are the log marginals: a posterior, to draw from and score.

    Shapes are those that `smooth_states` returns.
    """
    return MarkovPath(states[..., 0, :], pairs - states[..., :-1, :, None], mask)


def best_path(initial: Tensor, transition: Tensor, scores: Tensor) -> Tensor:
    """Return the most probable path (..., T) by Viterbi's algorithm; as `filter_states`."""
    score, back = initial + scores[..., 0, :], []
    for frame in scores.unbind(-2)[1:]:
        score, origin = (score[..., None] + transition).max(-2)
        back.append(origin)
        score = score + frame
    path = [score.argmax(-1, keepdim=True)]
    for origin in reversed(back):
        path.append(origin.gather(-1, path[-1]))
    return torch.cat(path[::-1], -1)


def rows(table: Tensor, state: Tensor) -> Tensor:
    """Return the row (..., J) of each table (..., K, J) that a state (...) picks."""
    table = table.expand(*torch.broadcast_shapes(table.shape[:-2], state.shape), -1, -1)
    index = state.expand(table.shape[:-2])[..., None, None]
    return table.gather(-2, index.expand(*index.shape[:-1], table.shape[-1])).squeeze(-2)


def _draw(logits: Tensor) -> Tensor:
    return torch.distributions.Categorical(logits=logits, validate_args=False).sample()
