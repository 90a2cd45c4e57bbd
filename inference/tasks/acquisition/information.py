r"""Rewards in nats: what a column tells about the latent z, or about target columns.

.. math:: I(x_u; z \mid x_O) = E_{x_u}[\mathrm{KL}(p(z \mid x_u, x_O) \,\|\, p(z \mid x_O))]

Given z, columns are independent, so what x_u tells about targets x_T is

.. math:: I(x_u; x_T \mid x_O) = I(x_u; z \mid x_O) - I(x_u; z \mid x_T, x_O)

which is EDDI's reward, there with the guide's Gaussians in place of the posteriors.

References
----------
Ma et al., "EDDI: Efficient Dynamic Discovery of High-Value Information with Partial VAE", ICML
2019, section 3.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.distributions import kl_divergence

from inference.randomness import derive
from inference.tasks.acquisition.hypotheses import IMPOSSIBLE, State, hypotheses
from inference.tasks.acquisition.predictor import Draws, Predictor
from inference.tasks.acquisition.table import class_counts, column_indices
from ppl_models.errors import InputError
from ppl_models.inputs import check_count

_WIDTH = 16
"""Numbers that a guide keeps of a value that it reads, about."""


class Information:
    """Nats that a column tells about z: its mutual information with z, from the draws.

    Parameters
    ----------
    num_values : int
        Hypothetical values of a column. A column of few classes has them all.
    """

    name = "information"
    targets: tuple[str | int, ...] = ()

    def __init__(self, num_values: int = 24) -> None:
        check_count("num_values", num_values)
        self.num_values = num_values

    def __call__(self, state: State) -> Tensor:
        """Return the mutual information (N, D) in nats."""
        table = state.draws.table
        size = max(self.num_values, *class_counts(table)) * len(table.names) * len(state.draws.raw)
        return torch.cat([self._block(part) for part in state.blocks(size)])

    def _block(self, state: State) -> Tensor:
        asked = hypotheses(state.draws, self.num_values, state.seed)
        known = (asked.joint * asked.log_prob).sum(0) / asked.total
        return (asked.weights * (known - asked.log_predictive)).sum(1).clamp_min(0)


class TargetInformation:
    """Nats that a column tells about target columns, from the draws.

    A single target of few classes is summed over its classes; otherwise joint values of all targets
    come from the draws.

    Parameters
    ----------
    targets : sequence of str or int
    num_values : int
        Hypothetical values of a column, and of the targets.

    Raises
    ------
    InputError
        No target.
    """

    def __init__(self, targets: Sequence[str | int], *, num_values: int = 24) -> None:
        check_count("num_values", num_values)
        self.targets, self.num_values = some_targets(targets), num_values
        self.name = "target information"

    def __call__(self, state: State) -> Tensor:
        """Return the mutual information (N, D) in nats; 0 once every target was measured."""
        table = state.draws.table
        size = max(self.num_values, *class_counts(table)) * len(table.names)
        size *= max(len(state.draws.raw), self.num_values)
        return torch.cat([self._block(part) for part in state.blocks(size)])

    def _block(self, state: State) -> Tensor:
        draws = state.draws
        asked = hypotheses(draws, self.num_values, state.seed)
        log_prob, share = self._outcomes(state)  # (S, N, K), (N, K)
        top = log_prob.amax(0)
        likelihood = (log_prob - top).exp()
        before = (draws.weights[..., None] * likelihood).sum(0)  # (N, K)
        # an outcome that no draw allows has no share in the mean
        ratio = asked.reweighted(likelihood) / before.clamp_min(1e-30)[:, None, None]
        nats = torch.special.xlogy(ratio, ratio) - ratio + 1  # E[ratio] is 1
        return (asked.weights * (nats * share[:, None, None]).sum(-1)).sum(1)

    def _outcomes(self, state: State) -> tuple[Tensor, Tensor]:
        """Return log p(x_T | z) of K outcomes of the targets, and their probabilities."""
        draws, counts = state.draws, class_counts(state.draws.table)
        places = list(column_indices(draws.table, self.targets, "targets"))
        rows = self._rows(draws, state.seed)
        exact = len(places) == 1 and counts[places[0]] > 0
        if exact:
            rows = rows[:, : counts[places[0]]]
            rows[..., places[0]] = torch.arange(counts[places[0]]).to(rows)[: rows.shape[1]]
        open_ = ~state.mask[:, None, places]
        columns = draws.log_prob(rows)[..., places].clamp_min(IMPOSSIBLE)
        log_prob = torch.where(open_, columns, 0.0).sum(-1)
        equal = torch.full_like(log_prob[0], 1 / log_prob.shape[-1])
        if not exact:
            return log_prob, equal
        share = draws.average(log_prob.exp())
        return log_prob, torch.where(open_.all(-1), share, equal)

    def _rows(self, draws: Draws, seed: int) -> Tensor:
        """Return rows of hypothetical values (N, K, D), of draws chosen by their weights."""
        samples = draws.sample_columns(derive(seed, "targets"))
        size = max(self.num_values, *class_counts(draws.table))
        return chosen(samples, draws.weights, size, seed)


def chosen(samples: Tensor, weights: Tensor, size: int, seed: int) -> Tensor:
    """Return (N, K, D) of samples (S, N, D): by their weights, so that all K count alike."""
    generator = torch.Generator().manual_seed(derive(seed, "chosen"))
    lot = torch.randperm(len(samples), generator=generator)
    samples, weights = samples[lot], weights[lot]
    below = weights.T.cumsum(-1).contiguous()
    u = (torch.arange(size) + torch.rand((), generator=generator)) / size
    at = torch.searchsorted(below, u.to(below).expand(len(below), -1).contiguous())
    at = at.clamp(max=len(samples) - 1)[..., None].expand(-1, -1, samples.shape[-1])
    return samples.transpose(0, 1).gather(1, at)


class Posteriors(Predictor, Protocol):
    """A predictor whose posterior of z is a distribution in closed form."""

    def posterior(self, x: Tensor, mask: Tensor) -> Any:
        """Return q(z | x_O), batch shape (N,) or (N, L), whose KL is known."""


class EDDI:
    """EDDI's reward about target columns: by the KL of the guide's own posteriors.

    Their means and variances come from the guide for every hypothetical value, so it costs a pass
    of the guide for each person, column and value.

    Parameters
    ----------
    predictor
        Whose guide it is.
    targets : sequence of str or int
    num_values : int
        Joint hypothetical values of column and targets.

    Raises
    ------
    InputError
        No target, or a predictor without a posterior in closed form.
    """

    def __init__(
        self, predictor: Posteriors, targets: Sequence[str | int], *, num_values: int = 50
    ) -> None:
        check_count("num_values", num_values)
        if not hasattr(predictor, "posterior"):
            cure = "TargetInformation takes any predictor"
            raise InputError("predictor", type(predictor).__name__, "one with a posterior", cure)
        self.predictor, self.targets = predictor, some_targets(targets)
        self.num_values, self.name = num_values, "eddi"

    def __call__(self, state: State) -> Tensor:
        """Return the reward (N, D) in nats."""
        numbers = _WIDTH * self.num_values * state.x.shape[1]
        return torch.cat([self._block(part) for part in state.blocks(numbers)])

    @torch.no_grad()
    def _block(self, state: State) -> Tensor:
        draws, dim = state.draws, state.x.shape[1]
        rows = chosen(draws.sample_columns(state.seed), draws.weights, self.num_values, state.seed)
        rows = torch.where(state.mask[:, None], state.x[:, None], rows)  # (N, K, D)
        known = state.mask[:, None].expand_as(rows)
        told = known.clone()
        told[..., list(column_indices(draws.table, self.targets, "targets"))] = True
        worth = [
            self._nats(rows, known, column) - self._nats(rows, told, column)
            for column in range(dim)
        ]
        return torch.stack(worth, -1)

    def _nats(self, rows: Tensor, mask: Tensor, column: int) -> Tensor:
        """Return E[KL(q(z | x_u, x_O) || q(z | x_O))], (N,)."""
        more = mask.clone()
        more[..., column] = True
        flat, shape = rows.flatten(0, 1), rows.shape[:2]
        after, before = (self.predictor.posterior(flat, m.flatten(0, 1)) for m in (more, mask))
        kl = kl_divergence(after, before)
        return kl.reshape(*shape, -1).sum(-1).mean(1)


def some_targets(targets: Sequence[str | int]) -> tuple[str | int, ...]:
    """Return the targets.

    Raises
    ------
    InputError
        There are none, or a text in place of a list.
    """
    if isinstance(targets, str) or not len(targets):
        found, cure = repr(targets), 'name the columns to predict: targets=["age"]'
        raise InputError("targets", found, "one column or more", cure)
    return tuple(targets)
