"""Expectation maximisation of any model that knows its exact posterior."""

from __future__ import annotations

import math
from typing import Any, Protocol


class Maximised(Protocol):
    """A model with a step of EM."""

    def em_step(self, *data: Any) -> float:
        """Move the parameters up the bound; return the log evidence, summed, from before it."""


def fit_em(model: Maximised, *data: Any, steps: int = 100, tolerance: float = 1e-6) -> list[float]:
    """Run EM until the log evidence rises by less than ``tolerance`` of itself.

    Dempster, Laird and Rubin, "Maximum likelihood from incomplete data via the EM algorithm",
    JRSS B 39, 1977. A step looks at all the data at once, and has no learning rate. EM climbs to a
    local maximum: start where it makes sense (``start_from`` of the model), or several times.

    Parameters
    ----------
    model
        A model with ``em_step(*data)``, such as `ppl_models.HMM` and `ppl_models.LDS`.
    *data
        What its ``em_step`` takes: paths (B, T, D), a mask (B, T) or None, and what was observed,
        (B, T) or (B, T, D), or None.
    steps
        At most so many.
    tolerance
        The relative rise that ends it; 0 to take all steps.

    Returns
    -------
    list of float
        The log evidence of all the data, in nats, before each step. It never falls, but for
        rounding.

    Raises
    ------
    ValueError
        ``steps`` is not positive, or the evidence is no longer finite.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}; expected at least 1")
    history: list[float] = []
    for step in range(steps):
        history.append(model.em_step(*data))
        if not math.isfinite(history[-1]):
            raise ValueError(f"the log evidence is {history[-1]} before step {step + 1}")
        if step and history[-1] - history[-2] < tolerance * abs(history[-1]):
            break
    return history
