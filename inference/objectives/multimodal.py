r"""Objectives of several modalities: sums of bounds of subsets, for any pair with masks.

A pair takes masks if both parts accept the keywords ``mask`` and ``observed``, (N, M) bool, True
for present: which modalities a row has, and from which of them the shared code is inferred (as
`ppl_models.modalities` defines them). The models of `ppl_models.multimodal` do; so may yours.

`fit` with these, or with the plain `Objective`, reports the same plain bound: that of all that a
row has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor

from inference.objectives.kl import divergence, unweighted
from inference.objectives.losses import LossResult
from inference.objectives.objective import Objective
from inference.objectives.pair_trace import PairTrace
from inference.objectives.penalties import Codes, Penalty, Schedule
from inference.tracing import Columns, Sites, batch_length
from ppl_models.errors import InputError

Terms = Literal["own", "cross"]


@dataclass(frozen=True)
class SubsetObjective(Objective):
    r"""The bound of all that a row has, and those of parts of it, summed.

    With A the modalities of a row, and S each single modality and ``random`` larger subsets drawn
    again at each step,

    .. math:: \mathrm{loss} = -\mathrm{ELBO}_A(A) - \sum_S \mathrm{ELBO}_{S \cap A}(B_S), \qquad
        \mathrm{ELBO}_R(B) = E_{q(z | x_R)}\Big[\sum_{m \in B} \lambda_m \log p(x_m | z)\Big]
        - \beta\, \mathrm{KL}(q(z | x_R) \| p(z))

    ``terms="own"`` has :math:`B_S = S \cap A`: the sub-sampled objective of MVAE (Wu and Goodman
    2018, equation 5; lecture equation 24). ``terms="cross"`` has :math:`B_S = A`: all modalities
    are generated from each one (Lee and Pavlovic 2021, equation 4, where each term's shared KL is
    counted once a target). Each is a lower bound on a log evidence while every lambda is 1.

    A part counts once in a row that it meets: where a row has one modality only, its bound is that
    of this one, once.

    Parameters
    ----------
    modalities
        Names of the observed sites, in the order of the masks' columns and of the arguments.
    terms
        Which modalities are generated from a part of them.
    random
        Subsets of more than one modality and less than all, a step.
    weights
        lambda, a modality each; by default 1. In training only: reported bounds are plain.
    **others
        As `Objective`.

    Raises
    ------
    ValueError
        Unknown terms, or not one weight a modality.
    """

    modalities: tuple[str, ...] = ()
    terms: Terms = "own"
    random: int = 0
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.terms not in get_args(Terms):
            raise ValueError(f"terms is {self.terms!r}; expected 'own' or 'cross'")
        if len(self.weights) not in (0, len(self.modalities)):
            raise ValueError(f"{len(self.weights)} weights of {len(self.modalities)} modalities")

    def measure(
        self,
        model: Any,
        guide: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        step: int = 0,
        data_size: int | None = None,
        plate: str | None = None,
    ) -> LossResult:
        """Estimate the negative sum, as `Objective.measure` does each term.

        Penalties, and what a target rate sees, are those of the whole. Rows in which a part does
        not count are left out of its batch.
        """
        kwargs, rest = kwargs or {}, (step, data_size, plate)
        present = presence(self.modalities, args, kwargs)
        own = {field.name: getattr(self, field.name) for field in fields(Objective)}
        part = Objective(**own | {"penalties": ()})
        with Weighted(dict(zip(self.modalities, self.weights, strict=False))):
            whole = super().measure(model, guide, args, kwargs, *rest)
            loss, whole_batch = whole.loss, Columns(args, kwargs, len(present))
            for targets, observed in self._parts(present):
                batch = replace(
                    whole_batch, kwargs=kwargs | {"mask": targets, "observed": observed}
                )
                rows = observed.any(-1).nonzero()[:, 0]
                batch = batch if len(rows) == batch.size else batch.rows(rows)
                of_part = part.measure(model, guide, batch.args, batch.kwargs, *rest).loss
                loss = loss + of_part * (batch.size / whole_batch.size)
        return replace(whole, loss=loss)

    def _parts(self, present: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Make the masks of every further term that counts in some row."""
        earlier = [present]
        for subset in subsets(present.shape[1], self.random):
            observed = present & subset.to(present.device)
            fresh = observed.any(-1)
            for past in earlier:
                fresh = fresh & (observed != past).any(-1)
            if fresh.any():
                earlier.append(observed)
                targets = observed if self.terms == "own" else present
                yield targets & fresh[:, None], observed & fresh[:, None]


class SubsetKL(Penalty):
    r"""How far the guide is, given one modality, from what it says given all: JMVAE's penalty.

    .. math:: \mathrm{loss} \mathrel{+}=
        \alpha \sum_S \mathrm{KL}(q(z | x_A) \| q(z | x_{S \cap A}))

    over each single modality and ``random`` larger subsets drawn again at each step, in rows that
    have more than S. Suzuki et al., "Joint Multimodal Learning with Deep Generative Models", 2016,
    equation 4 (JMVAE-kl); lecture equation 20. In closed form where there is one, else at the draw.

    Parameters
    ----------
    modalities
        Names of the modalities, in the order of the masks' columns.
    weight
        alpha; a number, or a schedule of the training step. 0.1 did best in the paper.
    random
        Further subsets a step.
    site
        The shared code.
    """

    def __init__(
        self,
        modalities: Sequence[str],
        weight: float | Schedule = 0.1,
        random: int = 0,
        site: str = "z",
    ) -> None:
        super().__init__(weight, site)
        self.modalities, self.random = tuple(modalities), random

    def estimate(self, pair: PairTrace, codes: Codes) -> Tensor:
        """Return the sum over subsets, a mean over the batch."""
        present = presence(self.modalities, pair.args, pair.kwargs)
        whole, total = pair.q[codes.name], codes.z.new_zeros(())
        for subset in subsets(present.shape[1], self.random):
            observed = present & subset.to(present.device)
            counts = observed.any(-1) & (observed != present).any(-1)
            if counts.any():
                masks = {"mask": present, "observed": observed}
                with Sites() as part:
                    pair.guide(*pair.args, **(pair.kwargs | masks))
                alone = {**part.sites[codes.name], "value": whole["value"]}
                kl = divergence(unweighted(whole), unweighted(alone), closed_form=True)
                total = total + torch.where(counts, kl, 0 * kl).sum() / len(counts)
        return total


class Weighted(Messenger):
    """Weigh observed sites by name."""

    def __init__(self, weights: dict[str, float]) -> None:
        super().__init__()
        self.weights = weights

    def _pyro_sample(self, msg: Any) -> None:
        if msg["is_observed"]:
            msg["scale"] = msg["scale"] * self.weights.get(msg["name"], 1.0)


def presence(modalities: Sequence[str], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Return which modalities the rows of a batch have, (B, M) bool.

    Raises
    ------
    InputError
        The mask has another number of columns.
    """
    mask = kwargs.get("mask")
    if mask is not None:
        if mask.shape[-1] != len(modalities):
            cure = "name them in the objective, in the order of the mask's columns"
            found = f"{len(modalities)} names for {mask.shape[-1]} columns of the mask"
            raise InputError("modalities", found, "a name a column", cure)
        return torch.as_tensor(mask)
    given = dict(zip(modalities, args, strict=False)) | kwargs
    here = torch.tensor([given.get(name) is not None for name in modalities])
    return here.expand(batch_length(args, kwargs), -1)


def subsets(count: int, random: int) -> Iterator[Tensor]:
    """Yield each single modality, then random larger ones that are not the whole: (M,) bool."""
    if count < 2:
        return
    yield from torch.eye(count).bool()
    for _ in range(random if count > 2 else 0):
        size = int(torch.randint(2, count, ()))
        yield torch.zeros(count, dtype=torch.bool).index_fill(0, torch.randperm(count)[:size], True)
