"""The sites of a pair as rows of a table."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from torch import nn

from inference.checking.runs import reached
from inference.checking.sites import kind, plates
from inference.tracing import is_deterministic, is_factor, sample_sites


@dataclass(frozen=True)
class SiteRow:
    """One sample site of a pair.

    Parameters
    ----------
    name
        Of the site.
    kind
        ``latent``, ``enumerated``, ``observed``, ``factor``, ``deterministic``, or ``auxiliary``
        (in the guide only).
    distribution
        In the model; for a latent site that of the guide too.
    plates
        Their names, from the outermost to the innermost.
    batch_shape, event_shape
        Of the distribution, where nothing is enumerated.
    enumerated
        Whether the site is summed out.
    parameters
        Names of the parameters that the gradient of the site's log density reaches, in the model
        with all other sites held fixed, and in the guide.
    """

    name: str
    kind: str
    distribution: str
    plates: tuple[str, ...]
    batch_shape: tuple[int, ...]
    event_shape: tuple[int, ...]
    enumerated: bool
    parameters: tuple[str, ...]


def rows_of(traces: Any, model: nn.Module, guide: nn.Module) -> tuple[SiteRow, ...]:
    """Describe every site of a pair's traces, the model's first."""
    ours, theirs = (sample_sites(trace) for trace in traces)
    rows = [_row(site, theirs.get(name), model, guide) for name, site in ours.items()]
    extra = [site for name, site in theirs.items() if name not in ours]
    return tuple(rows + [_row(None, site, model, guide) for site in extra])


def _row(prior: Any, posterior: Any, model: nn.Module, guide: nn.Module) -> SiteRow:
    site = posterior if prior is None else prior
    label = _label(prior, posterior)
    distribution = kind(site["fn"])
    if label == "latent":
        distribution += f", guide {kind(posterior['fn'])}"
    names = [] if prior is None else reached(prior, "model", model)
    names += [] if posterior is None else reached(posterior, "guide", guide)
    return SiteRow(
        name=site["name"],
        kind=label,
        distribution=distribution,
        plates=tuple(name for name, _, _ in plates(site)),
        batch_shape=tuple(site["fn"].batch_shape),
        event_shape=tuple(site["fn"].event_shape),
        enumerated=label == "enumerated",
        parameters=tuple(names),
    )


def _label(prior: Any, posterior: Any) -> str:
    if prior is None:
        return "auxiliary"
    if is_deterministic(prior):
        return "deterministic"
    if is_factor(prior):
        return "factor"
    if prior["is_observed"]:
        return "observed"
    return "latent" if posterior is not None else "enumerated"


def cells_of(row: SiteRow) -> tuple[str, ...]:
    """Return a row as words, one a column of the table."""
    shapes = [str(list(shape)) for shape in (row.batch_shape, row.event_shape)]
    around = ", ".join(row.plates) or "-"
    return row.name, row.kind, row.distribution, around, *shapes, _abbreviated(row.parameters)


def _abbreviated(names: tuple[str, ...]) -> str:
    """Name the modules that hold the parameters: ``model.decoder (6)``, one parameter in full."""
    parts = Counter(".".join(name.split(".")[:2]) for name in names)
    counted = (f"{part} ({n})" if n > 1 or part not in names else part for part, n in parts.items())
    return ", ".join(counted) or "-"
