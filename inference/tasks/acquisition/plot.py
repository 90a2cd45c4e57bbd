"""Pictures of acquisition: curves, their areas, and one person step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from inference.diagnostics import Picture
from inference.randomness import derive
from inference.tasks.acquisition.curve import Curve
from inference.tasks.acquisition.errors import weighted_quantiles
from inference.tasks.acquisition.predictor import Draws, Predictor, check_people
from inference.tasks.acquisition.table import column_indices
from ppl_models.errors import InputError

MEASURED, PREDICTED, TRUTH = "#2a9d3a", "tab:blue", "black"
BAND = (0.1, 0.9)
"""Ends of the band of 80 %."""
PANELS = 6
"""Most steps of a sequence, unless others are asked for."""


def draw_curves(
    curves: Mapping[str, Curve],
    metric: Literal["rmse", "nll", "variance", "bound"] = "rmse",
    *,
    unit: str = "",
    threshold: float | None = None,
    title: str = "",
) -> Figure:
    """Draw information curves: the mean over people, and one standard deviation to either side.

    Parameters
    ----------
    curves
        By policy.
    metric
    unit
        Of the metric, for the axis; by default standard units, nats, or none.
    threshold
        An error that one would stop below, drawn as a line.
    title

    Raises
    ------
    InputError
        No curve, or an unknown metric.
    """
    some_curves(curves)
    figure = Picture(figsize=(6.4, 4.2), layout="constrained")
    ax = figure.subplots()
    for number, (name, curve) in enumerate(curves.items()):
        mean, sd = curve.mean(metric).numpy(), curve.sd(metric).numpy()
        steps, colour = np.arange(len(mean)), f"C{number}"
        ax.fill_between(steps, mean - sd, mean + sd, color=colour, alpha=0.13, linewidth=0)
        ax.plot(steps, mean, color=colour, marker=".", label=name)
    if threshold is not None:
        ax.axhline(threshold, color="0.3", linestyle=":", label=f"threshold {threshold:g}")
    first = next(iter(curves.values()))
    ax.set(xlabel="measurements", ylabel=_axis(metric, unit, first), title=title)
    ax.locator_params(axis="x", integer=True)
    people = f"mean of {len(first.rmse)} people, band: one standard deviation"
    ax.legend(fontsize=8, frameon=False, title=people, title_fontsize=7)
    return figure


def _axis(metric: str, unit: str, curve: Curve) -> str:
    """Return the label of an axis, with the unit."""
    squared = unit or ("standard units" if curve.units == "standard" else "units of the data")
    units = {"rmse": squared, "variance": f"{squared}, squared"}
    words = {
        "rmse": "RMSE over all columns",
        "nll": "negative log-density of the row",
        "variance": "mean predictive variance",
        "bound": "partial bound",
    }
    return f"{words[metric]} ({units.get(metric, unit or 'nats')})"


def draw_areas(
    curves: Mapping[str, Curve],
    metric: Literal["rmse", "nll"] = "rmse",
    *,
    unit: str = "",
    title: str = "",
) -> Figure:
    """Draw the mean areas under the curves as bars, with two standard errors to either side.

    Parameters
    ----------
    curves
        By policy, or by policy and seed.
    metric
    unit
        Of the metric.
    title

    Raises
    ------
    InputError
        No curve, or an unknown metric.
    """
    some_curves(curves)
    areas = [curve.area(metric) for curve in curves.values()]
    means = np.array([float(area.mean()) for area in areas])
    errors = np.array([float(area.std(correction=0)) / len(area) ** 0.5 for area in areas])
    figure = Picture(figsize=(6.4, 0.9 + 0.42 * len(areas)), layout="constrained")
    ax = figure.subplots()
    colours = [f"C{number}" for number in range(len(areas))]
    ax.barh(list(curves), means, xerr=2 * errors, color=colours, alpha=0.75, capsize=3)
    for place, mean in enumerate(means):
        ax.annotate(f" {mean:.4g}", (0, place), va="center", color="white", weight="bold", size=9)
    first = next(iter(curves.values()))
    name = _axis(metric, unit, first).removesuffix(")")
    ax.set(xlabel=f"area under {name} x measurements)\nbars: two standard errors", title=title)
    ax.invert_yaxis()
    return figure


def some_curves(curves: Mapping[str, Curve]) -> None:
    """Raise an InputError if there is no curve."""
    if not curves:
        cure = 'curves = {"variance": acquire(predictor, x, Variance())}'
        raise InputError("curves", "none", "one curve or more, by policy", cure)


@torch.no_grad()
def draw_sequence(
    predictor: Predictor,
    x: Tensor,
    curve: Curve,
    person: int = 0,
    *,
    mask: Tensor | None = None,
    truth: Tensor | None = None,
    measured: Sequence[str | int] = (),
    steps: Sequence[int] | None = None,
    num_samples: int = 400,
    seed: int = 0,
    unit: str = "",
) -> Figure:
    """Draw what is expected of one person's columns, step by step, as they are measured.

    Lines are the predictive mean and its band of 80 %; dots are what was measured. Classes and
    levels are drawn by their numbers.

    Parameters
    ----------
    predictor, x
        As `acquire` was given.
    curve
        Whose order is followed.
    person
        Which row.
    mask, truth, measured
        As `acquire` was given.
    steps
        Numbers of measurements, a panel each; by default six from none to all.
    num_samples, seed
        Of the draws that are drawn from.
    unit
        Of the columns, for the axis.

    Raises
    ------
    InputError
        No such person, or no such step.
    """
    shown = _steps(curve, steps)
    if not 0 <= person < len(x):
        raise InputError("person", str(person), f"0 to {len(x) - 1}", "person=0")
    exists = check_people(predictor.table, x, mask)
    known = torch.zeros_like(exists[:1])
    known[:, list(column_indices(predictor.table, measured, "measured"))] = True
    own, row = x[person : person + 1], curve.order[person]
    figure = Picture(figsize=(11, 2.9 * -(-len(shown) // 3)), layout="constrained")
    axes = figure.subplots(-(-len(shown) // 3), min(3, len(shown)), sharex=True, sharey=True,
                           squeeze=False).flat  # fmt: skip
    for ax, step in zip(axes, shown, strict=False):
        held = known.clone()
        held[:, [int(d) for d in row[:step] if d >= 0]] = True
        held &= exists[person]
        draws = predictor.draws(own, held, num_samples, derive(seed, "draws", step))
        last = int(row[step - 1]) if step else -1
        _draw_step(ax, draws, own, held, last, derive(seed, "values", step))
        if truth is not None:
            ax.plot(truth[person].numpy(), color=TRUTH, linewidth=1, linestyle="--", label="truth")
        name = f", last: {curve.names[last]}" if last >= 0 else ""
        ax.set_title(
            f"after {step} measurements{name}; RMSE {curve.rmse[person, step]:.3g}", size=9
        )
    for ax in list(axes)[len(shown) :]:
        ax.set_visible(False)
    _name_columns(figure, predictor.table.names, unit)
    return figure


def _steps(curve: Curve, steps: Sequence[int] | None) -> list[int]:
    """Return the steps to show."""
    most = curve.num_steps
    if steps is None:
        return sorted({round(most * k / (PANELS - 1)) for k in range(PANELS)})
    if not steps or min(steps) < 0 or max(steps) > most:
        raise InputError("steps", str(list(steps)), f"numbers from 0 to {most}", "steps=(0, 1)")
    return list(steps)


def _draw_step(ax: Axes, draws: Draws, x: Tensor, held: Tensor, last: int, seed: int) -> None:
    """Draw the prediction of one person, and what was measured."""
    values = draws.sample_columns(seed)[:, 0]  # (S, D)
    weights = draws.weights.expand(-1, values.shape[1])
    low, high = weighted_quantiles(values, weights, BAND).T.numpy()
    middle = (draws.weights * values).sum(0).numpy()
    places, known = np.arange(values.shape[1]), held[0].numpy()
    ax.fill_between(places, low, high, color=PREDICTED, alpha=0.2, linewidth=0, label="80 % band")
    ax.plot(places, middle, color=PREDICTED, linewidth=1.4, label="mean")
    ax.plot(places[known], x[0].numpy()[known], "o", color=MEASURED, ms=5, label="measured")
    if last >= 0:
        ax.plot(last, x[0, last], "o", ms=10, mfc="none", mec=MEASURED, label="measured last")


def _name_columns(figure: Figure, names: Sequence[str], unit: str) -> None:
    """Write names below, the unit at the left, and one legend of all."""
    handles: dict[str, Any] = {}
    for ax in figure.axes:
        ax.set_xticks(range(len(names)), names, rotation=90, size=7)
        handles |= dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    figure.supylabel(f"value ({unit or 'units of the data'})", size=9)
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=5,
                  fontsize=8, frameon=False)  # fmt: skip
