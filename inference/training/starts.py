"""Where a guide of few words starts: at a normal approximation of the posterior, not near zero."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, Literal, cast

import torch
from pyro.infer.autoguide import (
    AutoDelta,
    AutoDiagonalNormal,
    AutoGuide,
    AutoLaplaceApproximation,
    AutoLowRankMultivariateNormal,
    AutoMultivariateNormal,
    AutoNormal,
)
from torch import Tensor, nn
from torch.distributions import constraints, transform_to

from inference.diagnostics import NormalApproximation, laplace, pathfinder
from inference.errors import PairError
from inference.tracing import Potential, Sampler, bind, lent_potential, quiet
from inference.training.moment_matching import match_moments

_METHODS = {"pathfinder": pathfinder, "laplace": laplace}
_SCALES_APART = 1000.0
_MATCHES = 5
_KNOWN = "AutoNormal, AutoDiagonalNormal, AutoMultivariateNormal, AutoLowRankMultivariateNormal"


def start(
    model: Callable[..., Any],
    guide: Any,
    *data: Any,
    method: Literal["pathfinder", "laplace"] = "pathfinder",
    restarts: int = 4,
    seed: int = 0,
    **named: Any,
) -> AutoGuide:
    """Put an AutoGuide where the posterior is, before `fit`.

    Where parameters are far from zero, or of scales that differ by thousands, no learning rate
    takes a guide from its usual start to the posterior. A quasi-Newton climb does: the density is
    approximated by a normal distribution, several times over, and the one of the best bound becomes
    the guide's location, scale and (where it has one) correlation. A mean-field guide gets the
    scales that its bound is best at, those of one parameter given the others; one with correlations
    is moved on to the moments of its own weighted draws (`inference.training.moment_matching`), as
    good importance weights want it.

    Parameters
    ----------
    model, *data, **named
        Any model, and the data, as it takes them. Enumerated sites are summed out.
    guide
        An AutoGuide: AutoNormal, AutoDiagonalNormal, AutoMultivariateNormal,
        AutoLowRankMultivariateNormal, AutoLaplaceApproximation (which needs no ``fit`` but
        ``laplace_approximation``) or AutoDelta; or such a class, of which one is made.
    method
        ``pathfinder`` (Zhang et al. 2022, "Pathfinder: parallel quasi-Newton variational
        inference", JMLR 23(306)), or ``laplace``: mode and curvature.
    restarts
        Climbs, each from another place within 2 of zero (in unconstrained coordinates).
    seed
        Of those places, and of the noise in the bounds.

    Returns
    -------
    AutoGuide
        The guide, its parameters set in place.

    Raises
    ------
    PairError
        Another kind of guide; no finite density on any climb; what `mcmc` raises.

    Warns
    -----
    UserWarning
        Two climbs ended far apart at bounds that are alike: several modes.
    """
    if method not in _METHODS:
        raise PairError("method", repr(method), " or ".join(_METHODS), "method='pathfinder'")
    if restarts < 1:
        raise PairError("restarts", str(restarts), "at least 1", "restarts=4")
    guide = guide(model) if isinstance(guide, type) else guide
    if not isinstance(guide, (AutoNormal, AutoDelta, *_CONTINUOUS)):
        raise _unknown(guide)
    pair = bind(model, cast("Any", guide), *data, **named)
    with quiet(*pair, seed):
        _move(*pair, data, named, method, restarts)
    return cast("AutoGuide", pair[1])


_CONTINUOUS = {
    AutoDiagonalNormal: lambda guide, normal: _set_diagonal(guide, normal),
    AutoMultivariateNormal: lambda guide, normal: _set_full(guide, normal),
    AutoLowRankMultivariateNormal: lambda guide, normal: _set_low_rank(guide, normal),
    AutoLaplaceApproximation: lambda guide, normal: _set(guide, "loc", normal.mean),
}


def _unknown(guide: Any) -> PairError:
    return PairError(
        "guide",
        type(guide).__name__,
        f"one of {_KNOWN}, AutoLaplaceApproximation, AutoDelta",
        "start(model, AutoMultivariateNormal, ...), or fit this one from its own start",
    )


def _move(model: nn.Module, guide: Any, data: Any, named: Any, method: str, restarts: int) -> None:
    nesting = Sampler(model, guide, data, named).nesting  # which looks at the pair as all do
    with lent_potential(model, data, named, nesting) as potential:
        best = _best(potential, method, restarts)
        _put(guide, best, potential.shapes)
    if not isinstance(guide, (AutoMultivariateNormal, AutoLowRankMultivariateNormal)):
        return
    sampler = Sampler(model, guide, data, named)
    potential = Potential(model, data, named, nesting)
    for _ in range(_MATCHES):
        matched = match_moments(sampler, potential)
        if matched is None:
            return
        _put(guide, matched, potential.shapes)


def _best(potential: Potential, method: str, restarts: int) -> NormalApproximation:
    found, errors = [], []
    for _ in range(restarts):
        try:
            found.append(_METHODS[method](potential, potential.start()))
        except PairError as error:
            errors.append(error)
    if not found:
        raise errors[0]
    best = max(found, key=lambda normal: normal.bound)
    if any(best.is_apart(normal) for normal in found):
        warnings.warn(
            "climbs from different places ended far apart, at bounds that are alike: the posterior "
            "has several modes, of which this guide holds one, and importance weights cannot show "
            "the others. Write the model so that one is left (order what may be exchanged), or "
            "compare fits of several seeds.",
            UserWarning,
            stacklevel=4,
        )
    return best


def _put(guide: Any, best: NormalApproximation, shapes: dict[str, torch.Size]) -> None:
    """Write an approximation, over sites of these shapes in turn, into a guide."""
    if isinstance(guide, (AutoNormal, AutoDelta)):
        _set_sites(guide, best, shapes)
        return
    own = list(guide._unconstrained_shapes)
    if set(own) != set(shapes):
        raise PairError(
            None,
            f"a guide of the sites {own}",
            f"all continuous sites of the model: {list(shapes)}",
            "make the guide of the whole model; hide only sites marked for enumeration",
        )
    ends = torch.tensor([shape.numel() for shape in shapes.values()]).cumsum(0).tolist()
    place = {
        n: range(end - s.numel(), end) for (n, s), end in zip(shapes.items(), ends, strict=True)
    }
    order = torch.tensor([index for name in own for index in place[name]])
    covariance = best.covariance[order][:, order]
    factor = torch.linalg.cholesky(covariance)
    moved = NormalApproximation(best.mean[order], factor, best.bound, best.error)
    next(put for kind, put in _CONTINUOUS.items() if isinstance(guide, kind))(guide, moved)


def _conditional_scale(normal: NormalApproximation) -> Tensor:
    """Each parameter's standard deviation given the others: what mean-field bounds are best at."""
    precision = torch.cholesky_inverse(normal.factor)
    return precision.diagonal().rsqrt()


def _set_diagonal(guide: Any, normal: NormalApproximation) -> None:
    _set(guide, "loc", normal.mean)
    _set(guide, "scale", _conditional_scale(normal))


def _set_full(guide: Any, normal: NormalApproximation) -> None:
    scale = normal.factor.diagonal()
    _set(guide, "loc", normal.mean)
    _set(guide, "scale", scale)
    _set(guide, "scale_tril", normal.factor / scale.unsqueeze(1))


def _set_low_rank(guide: Any, normal: NormalApproximation) -> None:
    r"""Set ``S (F F' + I) S``: leading directions of the correlation, the rest alike."""
    sd = normal.covariance.diagonal().sqrt()
    values, vectors = torch.linalg.eigh(normal.covariance / torch.outer(sd, sd))
    rank = guide.cov_factor.shape[-1]
    rest = values[:-rank].mean() if len(values) > rank else values[0] / 2
    rest = rest.clamp(min=1e-6)
    lead = ((values[-rank:] - rest).clamp(min=0) / rest).sqrt()
    _set(guide, "loc", normal.mean)
    _set(guide, "scale", sd * rest.sqrt())
    _set(guide, "cov_factor", vectors[:, -rank:] * lead)


def _set_sites(guide: Any, normal: NormalApproximation, shapes: dict[str, torch.Size]) -> None:
    sizes = [shape.numel() for shape in shapes.values()]
    parts = zip(
        shapes.items(),
        normal.mean.split(sizes),
        _conditional_scale(normal).split(sizes),
        strict=True,
    )
    for (name, shape), mean, scale in parts:
        if isinstance(guide, AutoDelta):
            prototype: Any = guide.prototype_trace
            support = prototype.nodes[name]["fn"].support
            _set(guide, name, torch.distributions.biject_to(support)(mean.reshape(shape)))
        else:
            _set(guide.locs, name, mean.reshape(shape))
            _set(guide.scales, name, scale.reshape(shape))


def _set(module: Any, name: str, value: Tensor) -> None:
    """Set a parameter of a PyroModule, constrained or not, in place."""
    *path, last = name.split(".")
    for part in path:
        module = getattr(module, part)
    parameter = getattr(module, f"{last}_unconstrained", None)
    if parameter is None:
        parameter, constraint = getattr(module, last), constraints.real
    else:
        constraint = module._pyro_params[last][0]
    with torch.no_grad():
        free = transform_to(constraint).inv(value.to(parameter.dtype))
        parameter.copy_(free.reshape(parameter.shape))


def scale_note(guide: Any) -> str | None:
    """Say that a guide's parameters have scales that no one learning rate suits; None if not."""
    scales = _scales(guide)
    if not scales:
        return None
    low, high = min(scales, key=scales.__getitem__), max(scales, key=scales.__getitem__)
    ratio = scales[high] / max(scales[low], 1e-300)
    if not ratio > _SCALES_APART or not math.isfinite(ratio):
        return None
    apart = f"('{high}' {scales[high]:.2g}, '{low}' {scales[low]:.2g}, unconstrained)"
    return (
        f"The scales of parameters differ by a factor of {ratio:,.0f} {apart}, so that no learning "
        "rate suits all: begin at inference.start(model, guide, ...), or standardise the data."
    )


def _scales(guide: Any) -> dict[str, float]:
    """Return the largest scale of each site, or of the whole vector its ends."""
    if isinstance(guide, AutoNormal):
        named = {n: getattr(guide.scales, n.split(".")[0], None) for n in guide._event_dims or ()}
        return {n: float(s.detach().max()) for n, s in named.items() if isinstance(s, Tensor)}
    if isinstance(guide, (AutoDiagonalNormal, AutoMultivariateNormal)):
        scale: Tensor = torch.as_tensor(guide.scale).detach()
        sizes = [shape.numel() for shape in guide._unconstrained_shapes.values()]
        parts = zip(guide._unconstrained_shapes, scale.split(sizes), strict=True)
        return {name: float(part.max()) for name, part in parts}
    return {}
