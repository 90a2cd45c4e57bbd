"""Evidence lower bounds and their relatives: what training minimises, and what is reported.

The loss may weigh or clamp the KL term, draw many times, or carry penalties; the reported bound
never does. Both are in nats per observation, an observation being one element of the data plate;
without one, in nats in all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from inference.errors import PairError
from inference.objectives.free_bits import FreeBits
from inference.objectives.kl_weight import (
    KLWeight,
    Schedule,
    Weight,
    columns,
    unfinished_warmup,
    weight_of,
)
from inference.objectives.losses import (
    LossResult,
    Parts,
    add_penalties,
    many_draws_loss,
    one_draw_loss,
    refuse_weight,
)
from inference.objectives.plain_elbo import plain_bound, plain_loss
from inference.objectives.step import Step
from inference.objectives.target_rate import TargetRate
from inference.tracing import Layout, no_warnings

BoundKind = Literal["auto", "trace", "meanfield", "enum", "iwae", "renyi"]


@dataclass(frozen=True)
class Objective:
    r"""A bound, and what is to be changed about it in training.

    With distortion :math:`D = -E_q \log p(x \mid z)` and rates
    :math:`R_j = E_q \log q(z_j) - \log p(z_j)` of the latent sites, what is minimised is

    .. math:: D + \sum_j \beta_j R_j + \sum_i \text{penalty}_i

    (Kingma and Welling 2014, equation 3; beta: Higgins et al. 2017, equation 4), each rate replaced
    as `FreeBits` says; or minus a bound of many draws, with weights
    :math:`w = p(x \mid z)\,(p(z) / q(z))^\beta`, plus penalties
    (`inference.objectives.importance_weighted`). With beta other than 1 that is no bound.

    Parameters
    ----------
    kind
        ``"trace"`` samples every latent site; ``"meanfield"`` takes KL divergences in closed form
        where they exist; ``"enum"`` sums out sites marked ``infer={"enumerate": "parallel"}``;
        ``"auto"`` is ``"enum"`` where a site is so marked, else ``"meanfield"`` with free bits or a
        target rate, which compare KL divergences, else ``"trace"``. ``"iwae"`` and ``"renyi"`` are
        bounds of ``num_particles`` draws a datum.
    kl_weight
        Beta, the weight of the log ratio of guide and prior at every latent site that the guide
        names; a number, a schedule (`inference.schedules`), or `TargetRate`. Or a mapping from
        sites to numbers and schedules, 1 for those that it does not name; not in bounds of many
        draws. Where the prior of a site is a sum over an enumerated one, it is the log of the sum
        that is weighted, without the data (`inference.objectives.enumerated_terms`).
    num_particles
        Draws of the guide a step: averaged, or the K of a bound of many draws.
    alpha
        Of Renyi's bound: 0 is IWAE, 1 the evidence lower bound; negative ones are above IWAE.
    chunk
        Of many draws, those that memory holds at a time; by default all.
    free_bits
        Rates below a threshold cost as much as it: a `FreeBits`.
    penalties
        Modules whose ``forward(pair)`` gives nats per observation to add, for a `PairTrace`; with a
        critic of their own, also ``learn(pair)``, called after each step with the draws as
        constants. Averaged over particles; beside a bound of many draws of a draw of their own.

    Raises
    ------
    ValueError
        A setting that is unknown or out of its range, or free bits in a bound of many draws, which
        has no KL term.
    """

    kind: BoundKind = "auto"
    kl_weight: float | Schedule | TargetRate | Mapping[str, float | Schedule] = 1.0
    num_particles: int = 1
    alpha: float = 0.5
    chunk: int | None = None
    free_bits: FreeBits | None = None
    penalties: tuple[nn.Module, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in (kinds := get_args(BoundKind)):
            raise ValueError(f"kind is {self.kind!r}; expected one of {', '.join(kinds)}")
        for name in ("num_particles", "chunk"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name} is {value}; expected at least 1")
        if not math.isfinite(self.alpha):
            raise ValueError(f"alpha is {self.alpha}; expected a finite number")
        if self.chunk is not None and not self.many:
            raise ValueError(f"chunk is of kinds 'iwae' and 'renyi'; kind is {self.kind!r}")
        if self.free_bits is not None and self.many:
            raise ValueError(f"free_bits need KL terms, which kind {self.kind!r} does not have")
        given = (self.penalties,) if callable(self.penalties) else tuple(self.penalties)
        object.__setattr__(self, "penalties", given)
        if wrong := [type(p).__name__ for p in given if not isinstance(p, nn.Module)]:
            raise ValueError(f"penalties hold a {wrong[0]}; expected nn.Modules")
        if isinstance(self.kl_weight, Mapping):
            object.__setattr__(self, "kl_weight", dict(self.kl_weight))  # the caller's may change
        if self._weight.by_site and self.many:
            raise ValueError(f"kl_weight names sites; kind {self.kind!r} takes one for all of them")

    def __repr__(self) -> str:
        values = {f.name: (getattr(self, f.name), f.default) for f in fields(self)}
        common = ("kind", "kl_weight", "num_particles")
        shown = (f"{n}={v!r}" for n, (v, usual) in values.items() if n in common or v != usual)
        return f"Objective({', '.join(shown)})"

    @cached_property
    def _weight(self) -> KLWeight:
        return weight_of(self.kl_weight)

    @property
    def many(self) -> bool:
        """Whether it is a bound of many draws a datum."""
        return self.kind in ("iwae", "renyi")

    def loss(
        self,
        model: Callable[..., Any],
        guide: Callable[..., Any],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        step: int = 0,
        data_size: int | None = None,
        plate: str | None = None,
    ) -> Tensor:
        """Estimate the negative weighted bound of the whole data set from a batch of it.

        Sites inside the data plate count ``data_size / B`` times, sites outside once; the sum is
        divided by ``data_size``. A model that subsamples its plate itself is left to do so.

        Parameters
        ----------
        model, guide
            A pair, as `inference.tracing.bind` returns it.
        args, kwargs
            The batch, as model and guide take it.
        step
            The training step, counted from 0, for the schedule of the KL weight.
        data_size
            Observations in the data set; by default those of the batch.
        plate
            The name of the data plate, where it should not be guessed.

        Returns
        -------
        Tensor
            A scalar to differentiate, in nats per observation. It may be non-finite:
            `explain_nonfinite` says why.

        Raises
        ------
        PairError
            A batch of a data set, but no data plate; an enumerated site outside of it; or a KL
            weight of a site that the guide does not draw.
        """
        return self.measure(model, guide, args, kwargs, step, data_size, plate).loss

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
        """Return the `loss` with what `after_step` needs; parameters and errors are those of it."""
        at = Step.of(model, guide, args, kwargs, data_size, plate, step)
        weight = self.weight(step)
        refuse_weight(at.shape, weight, self.steered, self.many)
        if not (self.many or self.whole_batch):
            return LossResult(plain_loss(self.resolve(at.shape), at, weight, self.num_particles))
        with no_warnings():
            return add_penalties(self._take_apart(at, weight), self.penalties)

    def after_step(self, result: LossResult) -> None:
        """Let a target rate and critics learn from a step that the optimiser has taken.

        In a loop of one's own::

            result = objective.measure(model, guide, (x,), step=step, data_size=len(data))
            optimizer.zero_grad()
            result.loss.backward()
            optimizer.step()
            objective.after_step(result)
        """
        self._weight.after_step(result.figures)
        result.update_critics(self.penalties)

    @torch.no_grad()
    def bound(
        self,
        model: Callable[..., Any],
        guide: Callable[..., Any],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        data_size: int | None = None,
        plate: str | None = None,
    ) -> Tensor:
        """Estimate the unweighted bound, per observation where the pair allows it.

        Returns
        -------
        Tensor
            Shape (B,), the bound of each observation, if every site lies in the data plate; else a
            scalar, the estimate of the whole data set's bound a `loss` of weight 1 makes. In nats
            per observation, without gradient.

        Raises
        ------
        PairError
            As `loss` does.
        """
        at = Step.of(model, guide, args, kwargs, data_size, plate)
        return plain_bound(self.resolve(at.shape), at, 1 if self.many else self.num_particles)

    def weight(self, step: int = 0) -> Weight:
        """Return the weight of the KL term at a training step, counted from 0."""
        return self._weight.value_at(step)

    def report(self, step: int) -> dict[str, float]:
        """Return the history's columns: the weight of the KL term at a training step."""
        return columns(self.weight(step))

    def unfinished_warmup(self, step: int) -> float | None:
        """Return a KL weight that is below 1 and still rises; None if there is none."""
        return unfinished_warmup(self._weight, step)

    def modules(self) -> dict[str, nn.Module]:
        """Return what a run saves beside the pair: a target rate, and penalties."""
        weight: Any = {"kl_weight": self.kl_weight} if self.steered else {}
        return weight | ({"penalties": nn.ModuleList(self.penalties)} if self.penalties else {})

    def reset(self) -> None:
        """Let a target rate and penalties begin again, for a new run."""
        for part in (self.kl_weight, *self.penalties):
            if callable(again := getattr(part, "reset", None)):
                again()

    @property
    def steered(self) -> bool:
        """Whether the KL weight follows the rate, so that early weights have another one."""
        return self._weight.steered

    @property
    def whole_batch(self) -> tuple[str, ...]:
        """Name what looks at a batch as a whole: a share of it would give another loss."""
        held = {
            "free bits": self.free_bits is not None,
            "a target rate": self.steered,
            "penalties": bool(self.penalties),
        }
        return tuple(name for name, there in held.items() if there)

    def resolve(self, shape: Layout) -> str:
        """Return the kind of plain bound that the objective's stands for, in such a pair."""
        if self.kind == "auto" or self.many:
            compares = self.free_bits is not None or self.steered
            return "enum" if shape.enumerates else "meanfield" if compares else "trace"
        if shape.enumerated and self.kind != "enum":
            raise PairError(
                shape.enumerated[0],
                f"a site to sum out, in an objective of kind '{self.kind}'",
                "an objective that sums it out",
                "Objective(kind='enum'), or the default kind 'auto'",
            )
        return self.kind

    def _take_apart(self, step: Step, weight: Weight) -> Parts:
        """Estimate a loss whose terms are looked at one by one."""
        shape, penalised = step.shape, bool(self.penalties)
        if self.many:
            alpha = 0.0 if self.kind == "iwae" else self.alpha
            return many_draws_loss(step, alpha, weight, self.num_particles, self.chunk, penalised)
        closed_form = self.resolve(shape) == "meanfield"
        particles, free_bits = self.num_particles, self.free_bits
        return one_draw_loss(step, closed_form, weight, particles, free_bits, penalised)
