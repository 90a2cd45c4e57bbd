"""Weighing a guide's draws: as many as it takes to know how far the weights can be trusted.

What the weights are and say: `inference.diagnostics.importance_weights`.

Burda, Grosse and Salakhutdinov 2016, "Importance weighted autoencoders", equation 8; Vehtari et al.
2024, "Pareto smoothed importance sampling", section 3.2.4.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor

from inference.diagnostics.importance_weights import Importance
from inference.tracing import (
    Sampler,
    is_deterministic,
    log_weights,
    sampling,
    stack_draws,
)

_FIRST, _FIRST_JOINT = 1000, 10_000  # draws before k-hat is first looked at
_MOST, _MOST_ONE_BY_ONE = 50_000, 4_000
_WEIGHTS = 2_000_000  # S x B, unless the caller says otherwise
KHAT_ERROR = 0.1


def importance(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    *data: Any,
    num_samples: int | None = None,
    khat_error: float = KHAT_ERROR,
    max_samples: int | None = None,
    seed: int = 0,
    joint: bool = False,
    plate: str | None = None,
    chunk: int | None = None,
    keep_draws: bool = True,
    **named: Any,
) -> Importance:
    """Weigh a guide's draws against the posterior, one weight a draw and a datum.

    Enumerated sites are summed exactly inside the weights. Masks hold, and so do scales that the
    pair itself has, but for that of a data plate that subsamples itself: a weight is one datum's
    (`inference.tracing.terms`).

    Parameters
    ----------
    model, guide, *data, **named
        Any pair, and the data, as it takes them.
    num_samples
        S, the number of draws. By default 1,000 (10,000 for a joint weight, where draws come all
        at once), and more until the standard error of every k-hat
        is at most `khat_error` and the weight is carried by enough draws, or the k-hat is above its
        threshold by two errors, which draws do not mend (`Importance.settled`). What could not be
        settled is said (``print``).
    khat_error
        The standard error of k-hat to reach, where `num_samples` is not given. An error of 0.1 at
        a k-hat of 0.7 takes 8,000 draws, half of it sixteen times as many.
    max_samples
        The most draws, where `num_samples` is not given: by default 50,000, or 4,000 if the pair
        must be drawn one by one, and no more than make two million weights.
    seed
        Where the draws begin.
    joint
        One weight a draw for the whole data set: for a pair with latents outside the data plate.
        Expect a large k-hat when the data are many.
    plate
        The name of the data plate, when it is ambiguous.
    chunk
        Draws held at a time; by default as many as a fixed budget allows.
    keep_draws
        Whether the draws stay beside their weights (`Importance.draws`).

    Raises
    ------
    PairError
        A site lies outside the data plate, and ``joint`` is not set.
    NonFiniteError
        A log density is NaN or plus infinity.
    """
    with sampling(model, guide, data, named, seed, plate) as sampler:
        return weigh(sampler, num_samples, khat_error, max_samples, joint, chunk, keep_draws)


def weigh(
    sampler: Sampler,
    num_samples: int | None = None,
    khat_error: float = KHAT_ERROR,
    max_samples: int | None = None,
    joint: bool = False,
    chunk: int | None = None,
    keep_draws: bool = True,
) -> Importance:
    """Weigh the draws of a sampler; arguments as for `importance`."""
    weights: list[Tensor] = []
    draws: dict[str, list[Tensor]] = {}
    most = max_samples or _most(sampler, joint)
    first = _FIRST_JOINT if joint and sampler.vectorised else _FIRST
    count, size = 0, num_samples or min(first, most)
    while True:
        for traces in sampler.chunks(size - count, "summed", chunk):
            weights.append(log_weights(traces.terms(sampler.plate), joint).detach().cpu())
            for name in _kept(sampler) if keep_draws else ():
                draws.setdefault(name, []).append(traces.value(name).detach().cpu())
        asked = khat_error if num_samples is None else None
        found = _importance(sampler, weights, draws, joint, asked)
        count = len(found.log_weights)
        if num_samples is not None or count >= most or bool(found.settled(khat_error).all()):
            return found
        size = min(most, _next(found, khat_error))


def _importance(
    sampler: Sampler,
    weights: list[Tensor],
    draws: dict[str, list[Tensor]],
    joint: bool,
    asked: float | None,
) -> Importance:
    stacked, plate = stack_draws(weights), sampler.plate
    size = plate.size if plate and joint else 1
    name = None if plate is None else plate.name
    return Importance(
        stacked.reshape(len(stacked), -1),
        joint or plate is None,
        size,
        {n: stack_draws(parts) for n, parts in draws.items()},
        {n: None if name is None else sampler.places[n].axis(name) for n in draws},
        name,
        asked,
    )


def _kept(sampler: Sampler) -> list[str]:
    derived = [n for n, s in sampler.sites.items() if is_deterministic(s)]
    return [*sampler.latents, *(derived if not sampler.enumerated else [])]


def _most(sampler: Sampler, joint: bool) -> int:
    data = sampler.plate.size if sampler.plate and not joint else 1
    most = _MOST if sampler.vectorised else _MOST_ONE_BY_ONE
    return max(_FIRST, min(most, _WEIGHTS // data))


def _next(found: Importance, error: float) -> int:
    """Guess the draws that are needed: k-hat's error falls as S to the -1/4."""
    now, draws = found.khat_error[~found.settled(error)], len(found.log_weights)
    known = now[now.isfinite()]
    worst = float(known.max()) if len(known) else math.inf
    return int(draws * min(4.0, max(2.0, 1.1 * (worst / error) ** 4)))
