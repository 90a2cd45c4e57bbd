"""A KL weight that steers the rate to where it is wanted."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor, nn


class TargetRate(nn.Module):
    r"""The KL weight with which the rate settles at a target: a point of the rate-distortion curve.

    After every step of the optimiser, with the rate R that its batch had (unweighted),

    .. math::

        \beta \leftarrow \beta (1 + \delta) \text{ if } R > (1 + \varepsilon) R^*, \quad
        \beta / (1 + \delta) \text{ if } R < R^* / (1 + \varepsilon), \quad
        \beta \text{ otherwise,}

    kept within [least, most] (Dieleman, Nash, Engel and Simonyan 2021, "Variable-rate discrete
    representation learning", equation 7; its use for VAEs: Hoegh, thesis, section 2.3). What
    is minimised at each step is :math:`D + \beta R`. Where the weight settles is minus the slope of
    the curve at :math:`R^*`.

    It is a module for the sake of its state, the weight, which `fit` saves and resumes; a new `fit`
    begins at ``start`` again. Judge a run by its last weights: early ones had another rate.

    Parameters
    ----------
    nats
        The target :math:`R^*`: nats per observation, of all latent sites together.
    step
        Delta, the relative change of the weight a step.
    tolerance
        Epsilon, the relative half-width of the band in which the weight rests.
    start, least, most
        The first weight, and its limits. A small start against collapse.

    Raises
    ------
    ValueError
        If a number is not positive and finite, or ``start`` outside the limits.
    """

    steered, by_site = True, False

    def __init__(
        self,
        nats: float,
        step: float = 0.01,
        tolerance: float = 0.01,
        start: float = 1.0,
        least: float = 1e-9,
        most: float = 1e4,
    ) -> None:
        super().__init__()
        numbers = {"nats": nats, "step": step, "start": start, "least": least, "most": most}
        for name, value in numbers.items():
            if not 0 < value < math.inf:
                raise ValueError(f"{name} is {value}; expected a finite number above 0")
        if not 0 <= tolerance < math.inf:
            raise ValueError(f"tolerance is {tolerance}; expected a finite number of at least 0")
        if not least <= start <= most:
            raise ValueError(f"start is {start}; expected a weight within [{least}, {most}]")
        self.nats, self.step, self.tolerance = nats, step, tolerance
        self.start, self.least, self.most = start, least, most
        self.weight = start

    def forward(self, step: int = 0) -> float:
        """Return the weight as it stands; like a schedule's, but the step does not matter."""
        return self.weight

    def value_at(self, step: int) -> float:
        """Return the weight as it stands."""
        return self.weight

    def after_step(self, figures: Mapping[str, Tensor]) -> None:
        """Move the weight, given the figures of a step, its ``rate`` among them."""
        self.update(float(figures["rate"]))

    def update(self, rate: float) -> None:
        """Move the weight, given the rate that a batch had: nats per observation."""
        if rate > (1 + self.tolerance) * self.nats:
            self.weight = min(self.weight * (1 + self.step), self.most)
        elif rate < self.nats / (1 + self.tolerance):
            self.weight = max(self.weight / (1 + self.step), self.least)

    def reset(self) -> None:
        """Begin again."""
        self.weight = self.start

    def extra_repr(self) -> str:
        """Return the settings: what makes a run with this target another run."""
        names = ("nats", "step", "tolerance", "start", "least", "most")
        return ", ".join(f"{name}={getattr(self, name):g}" for name in names)

    def get_extra_state(self) -> dict[str, float]:
        """Return the weight."""
        return {"weight": self.weight}

    def set_extra_state(self, state: dict[str, float]) -> None:
        """Take up the weight."""
        self.weight = state["weight"]
