"""The weight of the KL term: one for all latent sites, or for some of them one each.

It is the coefficient of a site's rate, log q(z) - log p(z), wherever a bound is summed from the
table of its terms. Pyro's own classes sum by themselves: for them `weighted` puts it on the sites.

>>> value_at({"w": linear(100), "z": 0.01}, 50)
{'w': 0.5, 'z': 0.01}
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from inference.errors import PairError
from inference.objectives.target_rate import TargetRate

Schedule = Callable[[int], float]
Weight = float | dict[str, float]


def validated(kl_weight: Any) -> Any:
    """Return a setting of `inference.objectives.Objective` that is known to be one.

    Raises
    ------
    ValueError
        A weight that is negative or not finite, no site in a mapping, or in it a target rate.
    """
    if not isinstance(kl_weight, Mapping):
        return kl_weight if callable(kl_weight) else _checked(kl_weight)
    if not kl_weight:
        raise ValueError("kl_weight names no site; expected one at least, or a number for all")
    for name, weight in kl_weight.items():
        if isinstance(weight, TargetRate):
            raise ValueError(f"kl_weight['{name}'] is a target rate, which is that of all sites")
        if not callable(weight):
            _checked(weight, f"kl_weight['{name}']")
    return dict(kl_weight)


def value_at(kl_weight: Any, step: int) -> Weight:
    """Return a setting's value at a training step, counted from 0."""
    if isinstance(kl_weight, Mapping):
        return {n: _value_at(weight, step, f"kl_weight['{n}']") for n, weight in kl_weight.items()}
    return _value_at(kl_weight, step)


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


def unfinished_warmup(kl_weight: Any, step: int) -> float | None:
    """Return a weight that, at a step, is below 1 and still rises; None if there is none."""
    now, later = (columns(value_at(kl_weight, when)) for when in (max(step - 1, 0), 2 * step))
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
