r"""Information curves: the error of a prediction against the number of measurements.

With :math:`\hat x^m` the measured values, and the predictive mean of what is not measured, a
person's curve and its area are

.. math:: e_m = \Big(D^{-1} \sum_d (x_d - \hat x_d^m)^2\Big)^{1/2}, \quad
          A = \sum_{m=1}^{M} e_m, \quad
          e_m^{NLL} = E_{z \sim q}\Big[-\sum_d \log p(x_d \mid z)\Big]

References
----------
Hoegh, "On Learning Useful Variational Autoencoder Representations", 2022, appendix A, equations
4 to 6.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ppl_models.errors import unknown

METRICS = ("rmse", "nll", "variance", "bound")
LEVELS = tuple(level / 20 for level in range(1, 20))
"""Probabilities of the quantiles that are kept of the error that draws predict."""


@dataclass(frozen=True)
class Curve:
    """What was known of N people after 0 to M measurements each.

    A person with fewer columns to measure than others stays where the last one left her.

    Parameters
    ----------
    policy
        The reward's name.
    names
        Of the columns.
    order
        Which column was measured, (N, M); -1 where there was none left.
    rmse
        Root of the mean squared error over all columns, (N, M + 1); measured ones count with
        their measured values.
    nll
        Expected negative log-density of the row, in nats, (N, M + 1).
    variance
        Predictive variance, a mean over all columns, 0 for measured ones, (N, M + 1).
    bound
        The partial bound on log p(what was measured), in nats, (N, M + 1).
    quantiles
        Of the RMSE that the draws predict, at the levels 0.05 to 0.95, (N, M + 1, 19).
    cost
        Of what was measured, (N, M + 1).
    units
        Of the RMSE: "standard" or "data".
    """

    policy: str
    names: tuple[str, ...]
    order: Tensor
    rmse: Tensor
    nll: Tensor
    variance: Tensor
    bound: Tensor
    quantiles: Tensor
    cost: Tensor
    units: str = "standard"

    @property
    def num_steps(self) -> int:
        """M, the number of measurements."""
        return self.order.shape[1]

    def values(self, metric: str = "rmse") -> Tensor:
        """Return the numbers (N, M + 1) of "rmse", "nll", "variance" or "bound".

        Raises
        ------
        InputError
            Another metric.
        """
        if metric not in METRICS:
            raise unknown("metric", metric, METRICS)
        return getattr(self, metric)

    def mean(self, metric: str = "rmse") -> Tensor:
        """Return the mean over people, (M + 1,)."""
        return self.values(metric).double().mean(0)

    def sd(self, metric: str = "rmse") -> Tensor:
        """Return the standard deviation over people, (M + 1,)."""
        return self.values(metric).double().std(0, correction=0)

    def area(self, metric: str = "rmse", *, from_none: bool = False) -> Tensor:
        """Return each person's area under the curve, (N,): the sum over m = 1..M.

        Parameters
        ----------
        metric
        from_none
            Count m = 0 as well, where nothing was measured.
        """
        return self.values(metric)[:, 0 if from_none else 1 :].double().sum(1)

    def __str__(self) -> str:
        area, last = self.area(), self.mean()[-1]
        spread = area.std(correction=0) / len(area) ** 0.5
        return (
            f"{self.policy}: area {area.mean():.3f} (standard error {spread:.3f}) over"
            f" m = 1..{self.num_steps}, RMSE {self.mean()[0]:.3f} at first, {last:.3f} at last"
        )


def write_curves(path: str | os.PathLike[str], curves: Iterable[Curve]) -> None:
    """Write the mean curves to a CSV file of columns measured, policy, rmse and nll."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["measured", "policy", "rmse", "nll"])
        for curve in curves:
            rows = zip(curve.mean("rmse").tolist(), curve.mean("nll").tolist(), strict=True)
            for measured, (rmse, nll) in enumerate(rows):
                writer.writerow([measured, curve.policy, f"{rmse:.6g}", f"{nll:.6g}"])


def area_table(
    curves: Mapping[str, Curve], against: str = "random", metric: Literal["rmse", "nll"] = "rmse"
) -> str:
    """Return a table of areas: mean, standard error, and the paired difference to one policy.

    Parameters
    ----------
    curves
        Of the same people, by policy.
    against
        The policy that the others are compared with, person by person.
    metric

    Raises
    ------
    InputError
        ``against`` is none of them.
    """
    if against not in curves:
        raise unknown("against", against, curves)
    reference = curves[against].area(metric)
    lines = [f"{'policy':22s}{'area':>10s}{'se':>8s}{'difference':>12s}{'se':>8s}"]
    for name, curve in curves.items():
        area = curve.area(metric)
        apart = area - reference
        error, paired = (torch.std(v, correction=0) / len(v) ** 0.5 for v in (area, apart))
        lines.append(f"{name:22s}{area.mean():10.3f}{error:8.3f}{apart.mean():12.3f}{paired:8.3f}")
    return "\n".join(lines)
