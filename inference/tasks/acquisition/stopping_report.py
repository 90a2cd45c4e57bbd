"""How well it was stopped: how far from the best step, how early, and with which error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from inference.tasks.acquisition.curve import Curve
from inference.tasks.acquisition.stopping import (
    ALPHAS,
    FEATURES,
    first_below,
    fit_errors,
    read_features,
    stop_by_posterior,
)
from ppl_models.inputs import check_positive


@dataclass(frozen=True)
class StopScore:
    """One rule, judged.

    Parameters
    ----------
    stop
        Where it stops each person, (N,).
    offset
        Mean distance of stop and best step, in measurements.
    signed
        stop - best, (N,): negative is too early.
    mean_stop
        Measurements a person.
    error
        Mean RMSE at the stop: a calibrated rule has about the threshold.
    confusion
        Shares of all persons' steps: "TN" goes on and should, "FN" goes on in vain, "TP" is done
        and should be, "FP" says so too early.
    """

    stop: Tensor
    offset: float
    signed: Tensor
    mean_stop: float
    error: float
    confusion: dict[str, float]


@dataclass(frozen=True)
class StoppingReport:
    """Rules to stop by, on people that none of them was fitted on.

    Parameters
    ----------
    threshold
        Tau.
    scores
        By rule: "oracle", "regression", "baseline" and "posterior".
    correlations
        With the error, over persons' steps, of each feature and of the prediction of each rule.
    alpha
        The penalty of the regression.
    """

    threshold: float
    scores: dict[str, StopScore]
    correlations: dict[str, float]
    alpha: float

    def __str__(self) -> str:
        head = f"{'rule':12s}{'offset':>8s}{'stop':>8s}{'error':>8s}{'early':>8s}{'late':>8s}"
        lines = [f"stop below {self.threshold:g}", head + "".join(f"{c:>7s}" for c in _CELLS)]
        for name, one in self.scores.items():
            early, late = ((sign * one.signed > 0).double().mean() for sign in (-1, 1))
            row = f"{name:12s}{one.offset:8.2f}{one.mean_stop:8.2f}{one.error:8.3f}"
            row += f"{early:8.1%}{late:8.1%}"
            lines.append(row + "".join(f"{one.confusion[cell]:7.1%}" for cell in _CELLS))
        told = ", ".join(f"{name} {value:.2f}" for name, value in self.correlations.items())
        return "\n".join([*lines, f"correlation with the error: {told}"])


_CELLS = ("TN", "FN", "TP", "FP")


def score_stops(curve: Curve, stop: Tensor, threshold: float) -> StopScore:
    """Judge stops (N,) against the first step of an error below the threshold.

    From its stop on a person is "done", by a rule as in truth: too early a stop shows as false
    positives, too late a one as false negatives.
    """
    errors, numbers = curve.rmse, torch.arange(curve.num_steps + 1)
    first = first_below(errors, threshold)
    signed = stop - first
    done, should = numbers >= stop[:, None], numbers >= first[:, None]
    cells = {"TN": ~done & ~should, "FN": ~done & should, "TP": done & should}
    cells["FP"] = done & ~should
    at_stop = errors.gather(1, stop[:, None]).double().mean()
    return StopScore(
        stop,
        float(signed.double().abs().mean()),
        signed,
        float(stop.double().mean()),
        float(at_stop),
        {name: float(cell.double().mean()) for name, cell in cells.items()},
    )


def stopping_report(
    validation: Curve,
    test: Curve,
    threshold: float,
    *,
    features: Sequence[str] = FEATURES,
    alphas: Sequence[float] = ALPHAS,
    probability: float = 0.8,
) -> StoppingReport:
    """Fit rules on people kept for validation, and judge them on others.

    Parameters
    ----------
    validation, test
        Curves of one policy.
    threshold
        Tau: the error to stop below, in the units of the curves.
    features, alphas
        Of the regression, as of `fit_errors`.
    probability
        How sure the posterior's rule has to be.

    Raises
    ------
    InputError
        A threshold that is not positive, or as `fit_errors` and `stop_by_posterior`.
    """
    check_positive("threshold", threshold)
    rule = fit_errors(validation, features=features, alphas=alphas)
    baseline = fit_errors(validation, features=("measured",), alphas=alphas)
    predicted = {"regression": rule(test), "baseline": baseline(test)}
    stops = {"oracle": first_below(test.rmse, threshold)}
    stops |= {name: first_below(errors, threshold) for name, errors in predicted.items()}
    stops["posterior"] = stop_by_posterior(test, threshold, probability)
    scores = {name: score_stops(test, stop, threshold) for name, stop in stops.items()}
    read = read_features(test).unbind(-1)
    return StoppingReport(
        threshold,
        scores,
        _correlations(dict(zip(FEATURES, read, strict=True)) | predicted, test.rmse),
        rule.alpha,
    )


def _correlations(values: Mapping[str, Tensor], errors: Tensor) -> dict[str, float]:
    """Return Pearson's correlation with the errors, over persons' steps; 0 for what is constant."""
    rows = {name: torch.stack([v.flatten(), errors.flatten()]) for name, v in values.items()}
    return {name: float(torch.corrcoef(r.double())[0, 1].nan_to_num()) for name, r in rows.items()}
