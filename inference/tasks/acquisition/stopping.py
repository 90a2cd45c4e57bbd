r"""When to stop: by a regression of the error on what is known without the truth, or by draws.

The error after m measurements is predicted from m, the mean predictive variance and the partial
bound. One stops at the first m whose predicted error is below a threshold,

.. math:: s = \min\{m : e_m < \tau\}, \quad \hat s = \min\{m : \hat e_m < \tau\}

and at M where that never happens. The baseline knows m alone: it stops everybody at the same m.
The posterior's own rule needs no regression: stop once :math:`P(e_m < \tau) \ge p` by the draws.

References
----------
Hoegh, "On Learning Useful Variational Autoencoder Representations", 2022, appendix A, section 3.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from inference.tasks.acquisition.curve import LEVELS, Curve
from ppl_models.errors import InputError, unknown
from ppl_models.inputs import check_positive

FEATURES = ("measured", "variance", "bound")
ALPHAS = tuple(10.0**k for k in (-3, -2.5, -2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2, 2.5, 3))


@dataclass(frozen=True)
class ErrorRegression:
    """Ridge regression of a person's error after m measurements.

    Parameters
    ----------
    features
        What it reads: some of "measured", "variance" and "bound".
    centre, spread
        Of the features, (F,).
    slopes
        In standard units, (F,).
    intercept
        The mean error.
    alpha
        The penalty on the sum of squared slopes, the one of least leave-one-out error.
    left_out
        Root mean squared leave-one-out error of each alpha that was tried.
    """

    features: tuple[str, ...]
    centre: Tensor
    spread: Tensor
    slopes: Tensor
    intercept: float
    alpha: float
    left_out: dict[float, float]

    def __call__(self, curve: Curve) -> Tensor:
        """Return the predicted errors (N, M + 1)."""
        standard = (read_features(curve, self.features) - self.centre) / self.spread
        return standard @ self.slopes + self.intercept


def read_features(curve: Curve, features: Sequence[str] = FEATURES) -> Tensor:
    """Return what is known without the truth after each measurement, (N, M + 1, F).

    Raises
    ------
    InputError
        Another feature.
    """
    found = []
    for name in features:
        if name not in FEATURES:
            raise unknown("features", name, FEATURES)
        numbers = torch.arange(curve.num_steps + 1).expand_as(curve.rmse)
        found.append((numbers if name == "measured" else getattr(curve, name)).double())
    return torch.stack(found, -1)


def fit_errors(
    curve: Curve, *, features: Sequence[str] = FEATURES, alphas: Sequence[float] = ALPHAS
) -> ErrorRegression:
    """Learn to predict the errors of a curve, of people kept for validation.

    They should have been measured by the policy that the regression is then used with.

    Parameters
    ----------
    curve
    features
        What to read: of "measured", "variance" and "bound".
    alphas
        Penalties to choose from, by their leave-one-out error over persons' steps.

    Raises
    ------
    InputError
        No penalty, or one that is not positive.
    """
    if not len(alphas):
        raise InputError("alphas", "none", "one penalty or more", "alphas=(1.0,)")
    for alpha in alphas:
        check_positive("alphas", alpha)
    x = read_features(curve, features).flatten(0, 1)
    y = curve.rmse.double().flatten()
    centre, spread = x.mean(0), x.std(0, correction=0)
    spread = torch.where(spread > 0, spread, 1.0)  # of one that never changes
    standard = (x - centre) / spread
    left_out = {a: float(left_out_errors(standard, y, a).square().mean().sqrt()) for a in alphas}
    alpha = min(left_out, key=left_out.__getitem__)
    gram = standard.T @ standard + alpha * torch.eye(x.shape[1], dtype=x.dtype)
    slopes = torch.linalg.solve(gram, standard.T @ (y - y.mean()))
    return ErrorRegression(
        tuple(features), centre, spread, slopes, float(y.mean()), alpha, left_out
    )


def left_out_errors(x: Tensor, y: Tensor, alpha: float) -> Tensor:
    r"""Return the error of each row by the ridge regression of all others, (n,), in closed form.

    With an intercept that is not penalised and :math:`H` the hat matrix of centred columns,
    :math:`(y_i - \hat y_i) / (1 - 1/n - H_{ii})`. Rows (n, F) are of mean 0.
    """
    u, lengths, _ = torch.linalg.svd(x, full_matrices=False)
    kept = u * (lengths.square() / (lengths.square() + alpha)).sqrt()
    fitted = y.mean() + kept @ (kept.T @ y)
    return (y - fitted) / (1 - 1 / len(x) - kept.square().sum(1))


def first_below(errors: Tensor, threshold: float) -> Tensor:
    """Return the first m at which errors (N, M + 1) are below a threshold; M if they never are."""
    below = errors < threshold
    below[:, -1] = True
    return below.to(torch.int8).argmax(1)


def best_constant(curve: Curve, threshold: float) -> int:
    """Return the one m to stop everybody at that is nearest to each person's best, on average.

    What a rule has to beat that looks at the person. The smallest, where several are as near.

    Parameters
    ----------
    curve
        Of people kept for validation.
    threshold
        Tau, in the units of the curve.

    Raises
    ------
    InputError
        A threshold that is not positive.
    """
    check_positive("threshold", threshold)
    best = first_below(curve.rmse, threshold)
    apart = (torch.arange(curve.num_steps + 1)[:, None] - best).abs()
    return int(apart.double().mean(1).argmin())


def stop_by_posterior(curve: Curve, threshold: float, probability: float = 0.8) -> Tensor:
    """Return where to stop by the draws alone, (N,): once P(RMSE < threshold) >= probability.

    Parameters
    ----------
    curve
    threshold
        Tau, in the units of the curve.
    probability
        From 0.05 to 0.95; what lies between steps of 0.05 is interpolated.

    Raises
    ------
    InputError
        Another probability.
    """
    if not LEVELS[0] <= probability <= LEVELS[-1]:
        expected = f"a probability from {LEVELS[0]} to {LEVELS[-1]}"
        raise InputError("probability", str(probability), expected, "probability=0.8")
    place = probability * 20 - 1
    low = min(int(place + 1e-9), len(LEVELS) - 2)
    between = curve.quantiles[..., low].lerp(curve.quantiles[..., low + 1], place - low)
    return first_below(between, threshold)
