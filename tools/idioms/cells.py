"""The functions of the table, each compared with what is known of a pair."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from pyro.infer.autoguide import AutoGuide
from torch import Tensor, nn

from inference import check, enumerated, fit, importance, posterior, predict, rates, sbc
from tools.idioms.truth import Pair, Truth

DRAWS = 400
ERRORS = 4.5  # standard errors: of some thousand comparisons none is this far off by chance


def try_check(pair: Pair, known: Truth) -> None:
    """The kind of every site is right, and so is the plate."""
    report = check(pair.model, pair.guide, *pair.data)
    found = {row.name: row.kind for row in report.sites if row.kind != "auxiliary"}
    assert found == dict(known.kinds), f"kinds {found}"


def trained(pair: Pair) -> Pair:
    """Fit a pair, whose guide starts elsewhere."""
    run = fit(
        pair.model,
        pair.guide,
        pair.data,
        epochs=400,
        optimizer=_optimiser,
        progress=False,
        learning_rate=lambda step: 0.1 * 0.99**step,
    )
    return Pair(**{**vars(pair), "model": run.model, "guide": run.guide})


def _optimiser(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, 0.1)


def try_fit(pair: Pair, known: Truth) -> None:
    """After training the bound is the evidence, but for what training leaves."""
    bound, error = _joint(pair)
    gap = known.evidence - bound
    assert -ERRORS * error - 0.01 < gap < known.slack + ERRORS * error, f"{gap:.3f} nats left"


def _joint(pair: Pair) -> tuple[float, float]:
    """The bound of all data (of one subsample) in nats, and its standard error."""
    found = importance(pair.model, pair.guide, *pair.data, num_samples=DRAWS, joint=True)
    weights = found.log_weights.flatten()
    return float(weights.mean()), float(weights.std() / DRAWS**0.5)


def try_importance(pair: Pair, known: Truth) -> None:
    """The importance weights average to the evidence."""
    found = importance(pair.model, pair.guide, *pair.data, num_samples=DRAWS, joint=True)
    weights = found.log_weights.flatten()
    estimate = float(weights.logsumexp(0) - torch.tensor(float(DRAWS)).log())
    ratio = (weights - weights.max()).exp()
    error = float(ratio.std() / ratio.mean() / DRAWS**0.5)
    if known.is_bound:
        estimate, error = _joint(pair)
    assert abs(estimate - known.evidence) < 0.01 + ERRORS * error, f"{estimate:.3f}"


def try_rates(pair: Pair, known: Truth) -> None:
    """The rows add up to the bound, which is the evidence but for what training leaves."""
    found = rates(pair.model, pair.guide, *pair.data, num_samples=DRAWS)
    assert abs(found.bound + sum(row.nats for row in found.rows)) < 1e-4
    report = check(pair.model, pair.guide, *pair.data)
    size = 1 if report.plate is None else rows_of(pair, report.plate)
    bound, error = _joint(pair)
    whole = found.bound * size
    assert abs(whole - bound) < 0.02 + 2 * ERRORS * error, f"{whole:.3f} nats, not {bound:.3f}"


def rows_of(pair: Pair, plate: str) -> int:
    """The number of data that a bound is an average over."""
    idata = posterior(pair.model, pair.guide, *pair.data, num_samples=2)
    return int(idata.observed_data.sizes[plate])


def chosen(pair: Pair) -> Tensor | None:
    """The rows that the pair's plate chose; None if it takes all, or there is no plate."""
    idata = posterior(pair.model, pair.guide, *pair.data, num_samples=2)
    if "data" not in idata.observed_data.coords:
        return None
    return torch.as_tensor(idata.observed_data.coords["data"].values)


def try_posterior(pair: Pair, known: Truth) -> None:
    """Draws have the posterior's means and standard deviations."""
    idata = posterior(pair.model, pair.guide, *pair.data, num_samples=DRAWS)
    for name, mean in known.means.items():
        draws = torch.as_tensor(idata.posterior[name].values[0]).double()
        sd = known.sds.get(name, draws.std(0))
        off = (draws.mean(0) - mean).abs().max()
        # nats left by training, (error of the mean in sd)^2 / 2 of them
        allowed = (2 * known.slack) ** 0.5 + ERRORS / DRAWS**0.5
        assert off < 0.02 + allowed * sd.max(), f"{name} is off by {off:.2f}"
    for name, probs in known.probs.items():
        draws = torch.as_tensor(idata.posterior[name].values[0])
        support = enumerated(pair.model, pair.guide, *pair.data)[name].support
        shares = _shares(draws, support)
        assert (shares - probs).abs().max() < ERRORS * 0.5 / DRAWS**0.5, name
    if "log_likelihood" in idata.groups() and "observed_data" in idata.groups():
        assert set(idata.log_likelihood.data_vars) == set(idata.observed_data.data_vars)


def _shares(draws: Tensor, support: Tensor) -> Tensor:
    event = support.dim() - 1
    hits = [
        (draws == value).reshape(*draws.shape[: draws.dim() - event], -1).all(-1)
        for value in support
    ]
    return torch.stack(hits, -1).double().mean(0)


def try_enumerated(pair: Pair, known: Truth) -> None:
    """Marginals are those of the sum over all values."""
    found = enumerated(pair.model, pair.guide, *pair.data)
    assert set(found) == set(known.probs)
    for name, probs in known.probs.items():
        assert torch.allclose(found[name].probs.double(), probs.double(), atol=1e-4), name


def try_sbc(pair: Pair, known: Truth) -> None:
    """Ranks of the truth are uniform."""
    found = sbc(pair.model, pair.guide, *pair.data, simulations=100, num_samples=49)
    assert found.pvalue() > 1e-4, f"p = {found.pvalue():.1g}"


def try_predict(pair: Pair, known: Truth) -> None:
    """Predictions have the mean and the variance of the closed form."""
    assert pair.new is not None and known.predicted is not None
    reads = pair.amortised or "Messenger" in type(pair.guide).__name__
    given = pair.data if reads else None
    idata = predict(pair.model, pair.guide, *pair.new, num_samples=2000, given=given)
    draws = torch.as_tensor(idata.predictions["y"].values[0]).double()
    mean, variance = known.predicted
    assert draws.shape[1:] == mean.shape
    off = (draws.mean(0) - mean).abs().max()
    assert off < 0.15 + ERRORS * variance.max().sqrt() / 2000**0.5, f"mean off by {off:.2f}"
    ratio = draws.var(0) / variance
    # a variance of 2,000 draws has a relative error of (2 / 2000) ** 0.5 = 3 %
    assert bool((ratio / 1.0 - 1).abs().max() < 0.25), f"variance off by {ratio.tolist()}"


Cell = Callable[[Pair, Truth], None]
COLUMNS: dict[str, Cell] = {
    "check": try_check,
    "fit": try_fit,
    "posterior": try_posterior,
    "importance": try_importance,
    "rates": try_rates,
    "enumerated": try_enumerated,
    "sbc": try_sbc,
    "predict": try_predict,
}


def asked(pair: Pair, column: str, known: Truth) -> bool:
    """Whether a function makes sense for a pair."""
    automatic = isinstance(pair.guide, AutoGuide)  # sbc refuses these
    sensible = {"sbc": pair.amortised or automatic, "predict": pair.new is not None}
    refused = not known.kinds and column == "sbc"
    return refused or sensible.get(column, True)


def quietly(action: Callable[[], Any]) -> Any:
    """Run without warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return action()
