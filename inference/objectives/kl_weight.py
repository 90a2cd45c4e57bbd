"""The weight of the KL term: one for all latent sites, or for some of them one each.

It is the coefficient of a site's rate, log q(z) - log p(z), wherever a bound is summed from the
table of its terms. Pyro's own classes sum by themselves: for them `weighted` puts it on the sites.

>>> ScheduledWeight({"w": linear(100), "z": 0.01}).value_at(50)
{'w': 0.5, 'z': 0.01}
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor

from inference.errors import PairError
from inference.objectives.target_rate import TargetRate

Schedule = Callable[[int], float]
Weight = float | dict[str, float]


class ScheduledWeight:
    """A number or a schedule for all latent sites; or some of them, by site.

    Raises
    ------
    ValueError
        A weight that is negative or not finite, no site in a mapping, or in it a target rate.
    """

    steered = False  # whether it follows the rate, so that early weights have another one

    def __init__(self, setting: Any) -> None:
        self.by_site = isinstance(setting, Mapping)
        named = {f"kl_weight['{n}']": w for n, w in setting.items()} if self.by_site else {}
        if self.by_site and not named:
            raise ValueError("kl_weight names no site; expected one at least, or a number for all")
        for name, weight in (named or {"kl_weight": setting}).items():
            if isinstance(weight, TargetRate):
                raise ValueError(f"{name} is a target rate, which is that of all sites")
            if not callable(weight):
                _checked(weight, name)
        self.setting = setting

    def value_at(self, step: int) -> Weight:
        """Return the weight at a training step, counted from 0."""
        if not self.by_site:
            return _value_at(self.setting, step)
        return {n: _value_at(w, step, f"kl_weight['{n}']") for n, w in self.setting.items()}

    def after_step(self, figures: Mapping[str, Tensor]) -> None:
        """Stay as it is: what it will be depends on the step alone."""


KLWeight = ScheduledWeight | TargetRate


def weight_of(setting: Any) -> KLWeight:
    """Return the weight that a setting of `inference.objectives.Objective` stands for."""
    return setting if isinstance(setting, TargetRate) else ScheduledWeight(setting)


def for_site(weight: Weight, name: str) -> float:
    """Return the weight of a site, 1 if it is not named.

    Raises
    ------
    PairError
        Sites with one rate together ("a + b") have two weights.
    """
    if not isinstance(weight, dict):
        return weight
    weights = {weight.get(one, 1.0) for one in name.split(" + ")}
    if len(weights) > 1:
        found = f"weights of the KL term {weight}, of sites that have one rate together"
        raise PairError(name, found, "one weight for them", "kl_weight as a number")
    return weights.pop()


def refuse_unknown(weight: Weight, drawn: Iterable[str]) -> None:
    """Raise `PairError` for a weight of what is no latent site that the guide draws."""
    known = tuple(drawn)
    for name in weight if isinstance(weight, dict) else ():
        if name not in known:
            found = "a weight of its KL term, and no such latent site in the guide"
            raise PairError(name, found, f"one of {', '.join(known) or 'none'}", "mend kl_weight")


def columns(weight: Weight) -> dict[str, float]:
    """Return the columns of a history."""
    if not isinstance(weight, dict):
        return {"kl_weight": weight}
    return {f"kl_weight {name}": value for name, value in weight.items()}


def unfinished_warmup(weight: KLWeight, step: int) -> float | None:
    """Return a weight that, at a step, is below 1 and still rises; None if there is none."""
    now, later = (columns(weight.value_at(when)) for when in (max(step - 1, 0), 2 * step))
    rising = [value for name, value in now.items() if value < 1 and later[name] > value]
    return min(rising, default=None)


def _value_at(weight: Any, step: int, name: str = "kl_weight") -> float:
    return _checked(weight(step) if callable(weight) else weight, name)


def _checked(weight: Any, name: str = "kl_weight") -> float:
    try:
        number = float(weight)
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number < float("inf"):
        raise ValueError(f"{name} is {weight!r}; expected a finite weight of at least 0")
    return number
