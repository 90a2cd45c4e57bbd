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
    found = importance(pair.model, pair.guide, *pair.data, num_samples=DRAWS, joint=True)
    weights = found.log_weights.flatten() * _whole(pair)
    return float(weights.mean()), float(weights.std() / DRAWS**0.5)


def _whole(pair: Pair) -> float:
    """N / B where a plate takes a part of its data."""
    return 1.0


def try_importance(pair: Pair, known: Truth) -> None:
    """The importance weights average to the evidence."""
    found = importance(pair.model, pair.guide, *pair.data, num_samples=DRAWS, joint=True)
    weights = found.log_weights.flatten()
    estimate = float(weights.logsumexp(0)) - torch.log(torch.tensor(float(DRAWS))).item()
    ratio = (weights - weights.max()).exp()
    error = float(ratio.std() / ratio.mean() / DRAWS**0.5)
    assert abs(estimate - known.evidence) < 0.01 + ERRORS * error, f"{estimate:.3f}"


def try_rates(pair: Pair, known: Truth) -> None:
    """The rows add up to the bound, which is the evidence."""
    found = rates(pair.model, pair.guide, *pair.data, num_samples=DRAWS, data_size=1)
    total = -sum(row.nats for row in found.rows)
    size = _size(pair)
    whole = total * size if any(row.local for row in found.rows) else total
    assert abs(total - found.bound) < 1e-4
    bound, error = _joint(pair)
    assert abs(whole - bound) < 0.02 + 2 * ERRORS * error, f"{whole:.3f} nats, not {bound:.3f}"


def _size(pair: Pair) -> int:
    return len(pair.data[0]) if pair.data else 1


def try_posterior(pair: Pair, known: Truth) -> None:
    """Draws have the posterior's means and standard deviations."""
    idata = posterior(pair.model, pair.guide, *pair.data, num_samples=DRAWS)
    for name, mean in known.means.items():
        draws = torch.as_tensor(idata.posterior[name].values[0]).double()
        sd = known.sds.get(name, draws.std(0))
        off = (draws.mean(0) - mean).abs().max()
        # training leaves a tenth of a nat: an error of a mean below 0.45 sd
        assert off < 0.02 + (0.45 + ERRORS / DRAWS**0.5) * sd.max(), f"{name} is off by {off:.2f}"
    for name, probs in known.probs.items():
        draws = torch.as_tensor(idata.posterior[name].values[0])
        support = enumerated(pair.model, pair.guide, *pair.data)[name].support
        shares = _shares(draws, support)
        assert (shares - probs).abs().max() < ERRORS * 0.5 / DRAWS**0.5, name
    if "log_likelihood" in idata.groups() and "observed_data" in idata.groups():
        assert set(idata.log_likelihood.data_vars) == set(idata.observed_data.data_vars)


def _shares(draws: Tensor, support: Tensor) -> Tensor:
    event = support.dim() - 1
    hits = [(draws == value).reshape(*draws.shape[: draws.dim() - event], -1).all(-1) for value in support]
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
    given = pair.data if "Messenger" in type(pair.guide).__name__ else None
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


def reads_no_data(pair: Pair) -> bool:
    """Whether a guide is of one data set, so that it cannot be calibrated."""
    return isinstance(pair.guide, AutoGuide) or not pair.amortised


def asked(pair: Pair, column: str, known: Truth) -> bool:
    """Whether a function makes sense for a pair."""
    return {
        "sbc": pair.amortised,
        "predict": pair.new is not None,
    }.get(column, True)


def quietly(action: Callable[[], Any]) -> Any:
    """Run without warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return action()
