r"""Normal approximations of a posterior found by climbing to its mode: where to start a guide.

`laplace` takes the curvature at the mode. `pathfinder` looks at every step of the climb, since the
mode of a posterior of many parameters is far from its mass: of the normal distributions

.. math:: N\big(\theta_l + H_l \nabla \log p(\theta_l, x),\; H_l\big)

with :math:`H_l` the inverse Hessian that L-BFGS has built by step l, it takes the one of the
highest evidence lower bound (Zhang, Carpenter, Gelman and Vehtari 2022, "Pathfinder: parallel
quasi-Newton variational inference", JMLR 23(306), algorithms 1 to 4); that of the mode's exact
curvature competes. All in unconstrained
coordinates (`inference.tracing.Potential`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from inference.errors import PairError
from inference.tracing import Potential

_HISTORY = 6  # steps that the curvature is built from (Zhang et al. 2022, section 3.3)
_DRAWS, _MORE_DRAWS = 10, 100  # for each bound on the way; for those of the best
_HOPEFUL = 4
_MOST_STEPS, _ROUNDS = 500, 5
_FLAT = 1e-3  # a slope, in standard deviations of the curvature, that is none
_MOST_CURVED = 300  # parameters up to which the exact curvature is computed
_MOST_DIMS = 2000  # a dense covariance is kept
_ALIKE, _FAR = 4.0, 4.0  # nats between bounds; standard deviations between modes
_WORST = 1e12  # nats that stand for an impossible place: scipy wants a number


@dataclass(frozen=True)
class NormalApproximation:
    """A normal distribution over unconstrained values, in double precision.

    Parameters
    ----------
    mean
        ``(D,)``.
    factor
        ``(D, D)``, lower triangular: the covariance is its square.
    bound
        The evidence lower bound, an estimate of few draws, nats in all.
    error
        Its standard error.
    """

    mean: Tensor
    factor: Tensor
    bound: float
    error: float

    @property
    def covariance(self) -> Tensor:
        """``(D, D)``."""
        return self.factor @ self.factor.T

    def draw(self, num_samples: int) -> Tensor:
        """Return draws ``(S, D)``, of torch's global generator."""
        noise = torch.randn(num_samples, len(self.mean), dtype=self.mean.dtype)
        return self.mean + noise @ self.factor.T

    def is_apart(self, other: NormalApproximation) -> bool:
        """Say whether a worse approximation is of another mode, whose mass counts."""
        gap = (other.mean - self.mean).unsqueeze(1)
        far = min(
            float(torch.linalg.solve_triangular(normal.factor, gap, upper=False).norm())
            for normal in (self, other)
        )
        return self.bound - other.bound < _ALIKE and far > _FAR + len(gap) ** 0.5


def pathfinder(potential: Potential, start: Tensor) -> NormalApproximation:
    """Climb from a start, and return the best normal approximation on the way.

    Raises
    ------
    PairError
        There are more than 2,000 parameters, or no finite density on the way.
    """
    path = _climb(potential, start)
    found, curvature = [_at_mode(potential, path[-1][0])], _Curvature(len(start))
    for (before, slope), (place, next_slope) in zip(path, path[1:], strict=False):
        curvature.update(place - before, next_slope - slope)
        covariance = curvature.dense()
        mean = place.double() - covariance @ next_slope.double()
        found.append(_judged(potential, mean, covariance))
    hopeful = sorted(filter(None, found), key=lambda normal: -normal.bound)[:_HOPEFUL]
    # judged again, since the best of many bounds of ten draws each is the luckiest
    again = [_judged(potential, n.mean, n.covariance, _MORE_DRAWS) for n in hopeful]
    judged = list(filter(None, again)) or hopeful
    if not judged:
        raise _nowhere()
    return max(judged, key=lambda normal: normal.bound)


def laplace(potential: Potential, start: Tensor) -> NormalApproximation:
    """Climb to a mode, and return the normal distribution of its curvature.

    Directions in which the density does not curve down get the curvature's absolute value.

    Raises
    ------
    PairError
        There are more than 2,000 parameters, or no finite density on the way.
    """
    found = _at_mode(potential, _climb(potential, start)[-1][0], _MORE_DRAWS)
    if found is None:
        raise _nowhere()
    return found


def _at_mode(potential: Potential, mode: Tensor, draws: int = _DRAWS) -> NormalApproximation | None:
    factor = _inverse_root(potential, mode)
    return None if factor is None else _judged(potential, mode.double(), factor @ factor.T, draws)


def _inverse_root(potential: Potential, place: Tensor) -> Tensor | None:
    """Return F, F F' being the inverse of the curvature's absolute value; None if none is."""
    if len(place) > _MOST_CURVED:
        return None
    with torch.enable_grad():
        hessian = torch.autograd.functional.hessian(potential, place).double()
    if not bool(hessian.isfinite().all()):
        return None
    values, vectors = torch.linalg.eigh((hessian + hessian.T) / 2)
    return vectors / values.abs().clamp(min=1e-14 * float(values.abs().max())).sqrt()


def _climb(potential: Potential, start: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return places and slopes of the potential on the way down it, by L-BFGS."""
    if len(start) > _MOST_DIMS:
        raise PairError(
            None,
            f"{len(start)} parameters",
            f"at most {_MOST_DIMS}, whose covariance fits in memory",
            "fit a mean-field guide from its own start",
        )
    path = _descend(potential, start, torch.ones_like(start).diag())
    for _ in range(_ROUNDS):  # where scales differ by thousands, again in scaled coordinates
        place, slope = path[-1]
        root = _inverse_root(potential, place)
        if root is None or float((root.T @ slope.double()).norm()) < _FLAT:
            break
        path += _descend(potential, place, root.to(place.dtype))[1:]
    return path


def _descend(potential: Potential, start: Tensor, root: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Go down from a start, in coordinates u of ``start + root u``."""
    places = [start]

    def at(vector: np.ndarray) -> Tensor:
        return start + root @ torch.as_tensor(vector.copy(), dtype=start.dtype)

    def evaluate(vector: np.ndarray) -> tuple[float, np.ndarray]:
        energy, slope = potential.gradient(at(vector))
        if not bool(energy.isfinite() & slope.isfinite().all()):
            return _WORST, np.zeros_like(vector)
        return float(energy), (root.T @ slope).double().numpy()

    minimize(
        evaluate,
        np.zeros(len(start)),
        jac=True,
        method="L-BFGS-B",
        callback=lambda vector: places.append(at(vector)),
        options={"maxiter": _MOST_STEPS, "maxcor": 2 * _HISTORY, "ftol": 1e-13, "gtol": 1e-6},
    )
    return [(place, potential.gradient(place)[1]) for place in places]


class _Curvature:
    """The inverse Hessian that the last steps of a climb tell of."""

    def __init__(self, size: int) -> None:
        self.diagonal = torch.ones(size, dtype=torch.double)
        self.steps: list[tuple[Tensor, Tensor]] = []

    def update(self, step: Tensor, change: Tensor) -> None:
        """Take in a step and the change of slope along it, where that is one of a hill."""
        s, y = step.double(), change.double()
        along = s @ y
        if not float(along) > 1e-12 * float(y @ y):
            return
        d = self.diagonal  # Zhang et al. 2022, algorithm 3 (Gilbert and Lemarechal 1989)
        a, c = (y * d) @ y, (s / d) @ s
        self.diagonal = 1 / (a / (along * d) + y**2 / along - a * s**2 / (along * c * d**2))
        self.steps = [*self.steps, (s, y)][-_HISTORY:]

    def dense(self) -> Tensor:
        """Return it, (D, D): the diagonal, updated by the steps in turn (BFGS)."""
        inverse, eye = self.diagonal.diag(), torch.eye(len(self.diagonal), dtype=torch.double)
        for s, y in self.steps:
            left = eye - torch.outer(s, y) / (s @ y)
            inverse = left @ inverse @ left.T + torch.outer(s, s) / (s @ y)
        return inverse


def _judged(
    potential: Potential, mean: Tensor, covariance: Tensor, draws: int = _DRAWS
) -> NormalApproximation | None:
    """Estimate the bound of a normal distribution; None if it is none, or has no finite bound."""
    factor, failed = torch.linalg.cholesky_ex((covariance + covariance.T) / 2)
    if int(failed) or not bool(mean.isfinite().all()):
        return None
    noise = torch.randn(draws, len(mean), dtype=factor.dtype)
    log_q = -0.5 * (noise**2).sum(1) - factor.diagonal().log().sum()
    log_q = log_q - 0.5 * len(mean) * math.log(2 * math.pi)
    places = (mean + noise @ factor.T).to(potential.dtype)
    with torch.no_grad():
        energy = torch.stack([potential(place) for place in places]).double()
    gains = -energy - log_q
    if not bool(gains.isfinite().all()):
        return None
    error = float(gains.std()) / math.sqrt(draws)
    return NormalApproximation(mean, factor, float(gains.mean()), error)


def _nowhere() -> PairError:
    return PairError(
        None,
        "no finite log density on the way to a mode",
        "a density that can be climbed",
        "look at the model's supports and scales, or take another start",
    )
