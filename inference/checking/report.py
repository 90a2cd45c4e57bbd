"""What a pair is, or what is wrong with it: to be asked before training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Any

import pyro
from pyro.infer.inspect import get_model_relations
from torch import nn

from inference.checking.first_look import bound_pair, first_look
from inference.checking.rows import SiteRow, cells_of, rows_of
from inference.checking.runs import (
    check_finite,
    check_prior,
    check_reached,
    check_repeats,
    check_signatures,
    run,
    run_objective,
)
from inference.checking.sites import plates
from inference.errors import NonFiniteError, PairError
from inference.randomness import reseed
from inference.tracing import (
    Columns,
    Layout,
    argument_names,
    explain_nonfinite,
    is_flat,
    layout,
    nonfinite_rows,
    refuse_forms,
    sample_sites,
    translated,
    untouched,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Report:
    """What `check` found: print it.

    Parameters
    ----------
    sites
        A row a site, in the order of the model.
    bound
        The evidence lower bound at the present parameters, in nats per observation, of one draw; in
        nats in all without a data plate.
    plate
        The name of the data plate; None if there is none.
    max_plate_nesting
        Batch dims that plates use.
    notes
        What Pyro remarked; nothing that stops training.
    """

    sites: tuple[SiteRow, ...]
    bound: float
    plate: str | None
    max_plate_nesting: int
    notes: tuple[str, ...] = ()
    _call: tuple[Any, ...] = field(default=(), repr=False, compare=False)

    def __str__(self) -> str:
        head = "site", "kind", "distribution", "plates", "batch", "event", "parameters"
        rows = [head, *(cells_of(row) for row in self.sites)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
        rows.insert(1, tuple("-" * width for width in widths))
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        over = (
            f"per observation (data plate '{self.plate}')"
            if self.plate
            else "in all (no data plate)"
        )
        lines.append(f"bound: {self.bound:.4g} nats {over}")
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def render(self, path: str | PathLike[str] | None = None) -> Any:
        """Draw the model's graph by ``pyro.render_model``.

        Parameters
        ----------
        path
            Where to save it; the suffix says in which format. ``.gv`` and ``.dot`` files hold the
            graph's source and need no Graphviz program.

        Returns
        -------
        graphviz.Digraph
            A notebook shows it as a picture.

        Raises
        ------
        ImportError
            The Python package ``graphviz`` is missing.
        """
        model, args, kwargs = self._call
        try:
            import graphviz  # noqa: F401
        except ImportError as error:
            raise ImportError("drawing needs graphviz: pip install 'ppl-models[graph]'") from error
        with untouched(model):
            graph = pyro.render_model(model, args, kwargs, render_distributions=True)
        if path is not None:
            _save(graph, str(path))
        return graph

    def plot(self) -> Figure:
        """Draw the model's plate diagram by Matplotlib: nothing else need be installed.

        A site's dependencies are found by running the model. A dashed arrow is one from earlier
        steps: of two sites that are trajectories, the first in a sequence may depend on the second.

        Returns
        -------
        matplotlib.figure.Figure
            A notebook shows it as a picture. Shaded: observed.

        Raises
        ------
        PairError
            The model has no site.
        """
        rows = [row for row in self.sites if row.kind != "auxiliary"]
        if not rows:
            cure = "add pyro.sample('x', distribution, obs=x)"
            raise PairError(None, "a model without any site", "something to draw", cure)
        from inference.checking.diagram import draw_plates  # Matplotlib takes a second

        model, args, kwargs = self._call
        with untouched(model):
            found = get_model_relations(model, args, kwargs)
            trace = pyro.poutine.trace(model).get_trace(*args, **kwargs)
        sizes = {name: size for s in sample_sites(trace).values() for name, _, size in plates(s)}
        return draw_plates(rows, found["sample_sample"], sizes)


def _save(graph: Any, path: str) -> None:
    if path.endswith((".gv", ".dot")):
        graph.save(path)
    else:
        graph.render(outfile=path, cleanup=True)


def check(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    *args: Any,
    plate: str | None = None,
    max_plate_nesting: int | None = None,
    **kwargs: Any,
) -> Report:
    """Run a pair once as inference would, and report its sites, or say what is wrong.

    Neither the pair, nor the random generators, nor Pyro's param store are changed.

    Parameters
    ----------
    model, guide
        Modules, AutoGuides, plain functions or methods; a few rows of data suffice.
    *args, **kwargs
        The data, as both take them.
    plate
        The name of the data plate, where it should not be guessed.
    max_plate_nesting
        What you mean to pass to an ELBO of Pyro yourself; it is held against the plates there are.

    Returns
    -------
    Report
        A table to print.

    Raises
    ------
    PairError
        The first thing wrong: arguments; a site missing, added, of other shape or plates, or with
        batch dims without a plate; a discrete site not enumerated; colliding plates; data outside
        the support; a non-finite log density (`NonFiniteError`); a parameter that no gradient
        reaches; state kept between calls; a prior that cannot simulate the data.
    InputError
        Data in a form that the pair cannot use: a dtype, an array, a table, a list.
    """
    refuse_forms(model, args, kwargs)
    check_signatures(model, guide, args, kwargs)
    model, guide = bound_pair(model, guide, args, kwargs)
    with untouched(model, guide, seed=_SEED):
        return _examine(model, guide, args, kwargs, plate, max_plate_nesting)


def _examine(
    model: nn.Module, guide: nn.Module, args: Any, kwargs: Any, plate: Any, nesting: int | None
) -> Report:
    traces = first_look(model, guide, args, kwargs)
    _check_finite(traces, model, guide, args, kwargs)
    rows = rows_of(traces, model, guide)  # before batch norm writes on what backward needs
    reseed(_SEED)
    check_repeats(traces, run(model, guide, args, kwargs))
    check_prior(model, args, kwargs)
    with translated("a run with Pyro's validation"):
        shape = layout(model, guide, args, kwargs, plate)
    _check_nesting(traces, shape, nesting)
    bound, loss, notes = run_objective(model, guide, args, kwargs, plate, _SEED)
    if not bound.isfinite():
        raise explain_nonfinite(model, guide, args, kwargs)
    if loss is not None:
        check_reached(loss, model, guide)
    name = shape.plate.name if shape.plate else None
    call = model, args, kwargs
    flat = [n for n, site in sample_sites(traces[0]).items() if is_flat(site)]
    if flat:
        notes.append(f"{', '.join(flat)}: a flat prior, of which no data can be simulated")
    return Report(rows, bound.item(), name, shape.max_plate_nesting, tuple(notes), call)


_SEED = 0


def _check_finite(traces: Any, model: nn.Module, guide: nn.Module, args: Any, kwargs: Any) -> None:
    try:
        check_finite(*traces)
    except NonFiniteError as error:
        rows = nonfinite_rows(Columns(args, kwargs, 0), argument_names(model))
        if not rows:
            raise
        found = explain_nonfinite(model, guide, args, kwargs)
        at = found if found.site is not None else error
        seen = f"{at.found}; in the data, {rows}"
        raise NonFiniteError(at.site, seen, at.expected, at.cure) from None


def _check_nesting(traces: Any, shape: Layout, given: int | None) -> None:
    if given is None or given >= shape.max_plate_nesting:
        return
    needs = {
        name: max((-frame.dim for frame in site["cond_indep_stack"] if frame.dim), default=0)
        for trace in traces
        for name, site in sample_sites(trace).items()
    }
    site = max(needs, key=lambda name: (name in shape.enumerated, needs[name]))
    raise PairError(
        site,
        f"max_plate_nesting={given}, and a plate at dim {-shape.max_plate_nesting}",
        f"max_plate_nesting of at least {shape.max_plate_nesting}: "
        "dims to its left are those of enumerated sites",
        f"max_plate_nesting={shape.max_plate_nesting}, or leave it out: the engine counts plates",
    )
