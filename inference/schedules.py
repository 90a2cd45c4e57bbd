"""Weights that change with the training step, as values: ``weight = schedule(step)``.

>>> linear(100)(50)
0.5
"""

from __future__ import annotations

import math
from dataclasses import dataclass


def _positive(name: str, value: float, most: float = float("inf")) -> None:
    if not 0 < value <= most:
        bound = "" if most == float("inf") else f" and at most {most:g}"
        raise ValueError(f"{name} is {value}; expected a number above 0{bound}")


def _weight(name: str, value: float) -> None:
    if not 0 <= value < float("inf"):
        raise ValueError(f"{name} is {value}; expected a finite weight of at least 0")


@dataclass(frozen=True)
class Constant:
    """The same weight at every step; see `constant`."""

    weight: float

    def __post_init__(self) -> None:
        _weight("weight", self.weight)

    def __call__(self, step: int) -> float:
        """Return the weight of a step, counted from 0."""
        return self.weight


@dataclass(frozen=True)
class Linear:
    """A straight line, then level; see `linear`."""

    steps: int
    start: float = 0.0
    end: float = 1.0
    wait: int = 0

    def __post_init__(self) -> None:
        _positive("steps", self.steps)
        for name in ("start", "end", "wait"):
            _weight(name, getattr(self, name))

    def __call__(self, step: int) -> float:
        """Return the weight of a step, counted from 0."""
        done = min(max(step - self.wait, 0) / self.steps, 1.0)
        return self.start + (self.end - self.start) * done


@dataclass(frozen=True)
class Cyclical:
    """A line from 0 to 1 in each period; see `cyclical`."""

    period: int
    ratio: float = 0.5

    def __post_init__(self) -> None:
        _positive("period", self.period)
        _positive("ratio", self.ratio, most=1.0)

    def __call__(self, step: int) -> float:
        """Return the weight of a step, counted from 0."""
        return min(step % self.period / (self.ratio * self.period), 1.0)


@dataclass(frozen=True)
class Cosine:
    """Half a cosine from one value to another, then level; see `cosine`."""

    steps: int
    start: float = 1e-3
    end: float = 0.0
    warmup: int = 0

    def __post_init__(self) -> None:
        _positive("steps", self.steps)
        _weight("start", self.start)
        _weight("end", self.end)
        _weight("warmup", self.warmup)

    def __call__(self, step: int) -> float:
        """Return the value at a step, counted from 0."""
        if step < self.warmup:
            return self.start * (step + 1) / self.warmup
        done = min((step - self.warmup) / max(self.steps - self.warmup, 1), 1.0)
        return self.end + 0.5 * (self.start - self.end) * (1 + math.cos(math.pi * done))


def constant(weight: float) -> Constant:
    """Return the schedule of one weight, e.g. the beta of a beta-VAE (Higgins et al. 2017)."""
    return Constant(weight)


def linear(steps: int, start: float = 0.0, end: float = 1.0, *, wait: int = 0) -> Linear:
    """Warm up in a straight line (Bowman et al. 2016, section 3.1).

    Parameters
    ----------
    steps
        Training steps from ``start`` to ``end``; it stays there.
    start, end
        The weights up to step ``wait``, and from step ``wait + steps`` on.
    wait
        Steps before the weight changes at all: SV2P is first trained without a KL term.

    Raises
    ------
    ValueError
        If ``steps`` is not positive, or another number negative.
    """
    return Linear(steps, start, end, wait)


def cyclical(period: int, ratio: float = 0.5) -> Cyclical:
    """Warm up again and again (Fu et al. 2019, "Cyclical Annealing Schedule", equation 6).

    Parameters
    ----------
    period
        Training steps a cycle.
    ratio
        The part of a cycle in which the weight rises from 0 to 1; it stays at 1 for the rest.

    Raises
    ------
    ValueError
        If ``period`` is not positive, or ``ratio`` outside (0, 1].
    """
    return Cyclical(period, ratio)


def cosine(steps: int, start: float = 1e-3, end: float = 0.0, warmup: int = 0) -> Cosine:
    """Fall along half a cosine, for learning rates (Loshchilov and Hutter 2017, equation 5).

    Parameters
    ----------
    steps
        Training steps until ``end`` is reached; it stays there.
    start, end
        The values at step ``warmup`` and from step ``steps`` on.
    warmup
        Steps that rise to ``start`` in a straight line first.

    Raises
    ------
    ValueError
        If ``steps`` is not positive, or another number negative.
    """
    return Cosine(steps, start, end, warmup)
