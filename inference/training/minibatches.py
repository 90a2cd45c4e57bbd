"""Whether a pair can be trained on batches of its data: parameters of each row, and batch norm."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from pyro import poutine
from pyro.infer.autoguide import AutoGuide, AutoGuideList
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from inference.errors import PairError
from inference.tracing import (
    Columns,
    Layout,
    LoaderSource,
    Source,
    frame_of,
    is_deterministic,
    layout,
    pair_traces,
    sample_sites,
    untouched,
    unvalidated,
)
from ppl_models.errors import InputError

ROWS = 8  # of a batch, whose parameters are looked for


# -- latents of each datum, in a guide that does not read the data


def refuse_positional(
    model: nn.Module, guide: nn.Module, batch: Columns, plate: str | None, size: int
) -> None:
    """Refuse a guide whose parameters go by a row's place in its batch, which changes each epoch.

    Parameters
    ----------
    model, guide
        The pair, bound.
    batch
        Some rows of the data.
    plate
        The name of the data plate, or None.
    size
        N.

    Raises
    ------
    PairError
        A latent of each datum has such a posterior.
    """
    turned = batch.rows(torch.arange(batch.size - 1, -1, -1))
    with unvalidated():
        shape = layout(model, guide, turned.args, turned.kwargs, plate)
    if shape.plate is None or shape.plate.full_size not in (None, shape.plate.size):
        return  # a plate that takes its rows by number, and AutoGuides with it
    site = _auto_site(guide, shape) or _positional_site(model, guide, turned, shape)
    if site is None:
        return
    name = shape.plate.name
    raise PairError(
        site,
        f"a latent of each datum in plate '{name}', whose posterior goes by the row of a batch and "
        f"does not read the data, in batches of {batch.size} of {size} observations",
        "a posterior that follows its datum, whichever batch that is in",
        f"batch_size={size}, all data in one; or a guide that reads the data (amortised); or "
        f"fit(..., index='index'): an argument index of model and guide, the numbers of the rows, "
        f"for pyro.plate('{name}', {size}, subsample=index), which an AutoGuide is given as "
        f"create_plates=",
    )


def _auto_site(guide: nn.Module, shape: Layout) -> str | None:
    """Name a latent in the data plate if the guide is an AutoGuide, which reads no data."""
    if not isinstance(guide, AutoGuide) or isinstance(guide, AutoGuideList):
        return None
    sites = sample_sites(guide.prototype_trace or {})
    inside = (n for n, site in sites.items() if _is_inside(site, shape) and n in shape.drawn)
    return next(inside, None)


def _is_inside(site: Any, shape: Layout) -> bool:
    return shape.plate is not None and frame_of(site, shape.plate.name) is not None


def _positional_site(
    model: nn.Module, guide: nn.Module, batch: Columns, shape: Layout
) -> str | None:
    """Name a latent whose i-th row moves with the i-th element of some parameter, for every i.

    The batch is in the opposite order of the data, so that a table looked up by the numbers of rows
    does not do so.
    """
    count = min(batch.size, ROWS)
    parameters = [p for p in guide.parameters() if p.requires_grad and p.dim() and len(p) >= count]
    if count < 3 or not parameters:
        return None
    with untouched(model, guide), torch.enable_grad(), unvalidated():
        model_trace, guide_trace = pair_traces(model, guide, batch.args, batch.kwargs)
        sites = sample_sites(model_trace)
        for name, site in sample_sites(guide_trace).items():
            if name in sites and _is_inside(sites[name], shape):
                if _is_positional(_rows_of(site, shape, batch.size), parameters, count):
                    return name
    return None


def _rows_of(site: Any, shape: Layout, size: int) -> Tensor | None:
    """What of a guide's site depends on parameters, a row a datum: its draw, or its log density."""
    value = site["value"]
    at = site["fn"].event_dim
    if not value.requires_grad:
        value, at = site["fn"].log_prob(value.detach()), 0
    assert shape.plate is not None and shape.plate.dim is not None
    dim = value.dim() - at + shape.plate.dim
    if not value.requires_grad or dim < 0 or value.shape[dim] != size:
        return None
    return value.movedim(dim, 0).reshape(size, -1).sum(1)


def _is_positional(rows: Tensor | None, parameters: list[nn.Parameter], count: int) -> bool:
    """Whether the places of each row are those of the row before, moved by the same step up."""
    if rows is None:
        return False
    before = dict(zip(parameters, _hits(rows[0], parameters), strict=True))
    steps: dict[nn.Parameter, int] = {}
    for i in range(1, count):
        left = [p for p in parameters if before[p]] if i == 1 else list(steps)
        if not left:
            return False
        places = dict(zip(left, _hits(rows[i], left), strict=True))
        steps = {
            p: step for p in left if (step := _step(before[p], places[p])) == steps.get(p, step)
        }
        steps = {p: step for p, step in steps.items() if step > 0}
        before = places
    return bool(steps)


def _step(before: list[int], places: list[int]) -> int:
    """By how much all places have moved, or 0 if they have not, or not alike."""
    step = places[0] - before[0] if places else 0
    return step if [place + step for place in before] == places else 0


def _hits(row: Tensor, parameters: list[nn.Parameter]) -> list[list[int]]:
    """Return, for each parameter, the places along its first dim that a row depends on."""
    grads = torch.autograd.grad(row, parameters, retain_graph=True, allow_unused=True)
    return [
        [] if grad is None else grad.reshape(len(grad), -1).any(1).nonzero().flatten().tolist()
        for grad in grads
    ]


# -- rows outside the data plate


def refuse_outside(model: nn.Module, guide: nn.Module, batch: Columns, plate: str | None) -> None:
    """Refuse a site that has a dim for the rows of a batch, but lies outside the data plate.

    Batches weigh what is inside by N / B, so that what is outside would count B / N too little.

    Raises
    ------
    PairError
        Names the first such site.
    """
    if batch.size < 2:
        return
    with unvalidated():
        frame = layout(model, guide, batch.args, batch.kwargs, plate).plate
    if frame is None:
        return
    whole, fewer = (_shapes(model, batch.rows(slice(n)), frame.name) for n in (None, -1))
    for name, shape in whole.items():
        if fewer.get(name, shape) != shape:
            raise PairError(
                name,
                f"shape {shape} with {batch.size} observations, {fewer[name]} with one fewer, "
                f"outside the plate '{frame.name}'",
                "rows of the data inside the data plate, whose batches stand for all data",
                f"move '{name}' into pyro.plate('{frame.name}', ...), without .to_event over rows, "
                "or pass all data as one batch",
            )


def _shapes(model: nn.Module, batch: Columns, plate: str) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a model's sites outside a plate; none if it does not run."""
    with untouched(model), torch.no_grad(), unvalidated():
        try:
            trace = poutine.trace(model).get_trace(*batch.args, **batch.kwargs)
        except Exception:  # as it may on fewer rows than it was made for
            return {}
    return {
        name: (*site["fn"].batch_shape, *site["fn"].event_shape)
        for name, site in sample_sites(trace).items()
        if not is_deterministic(site) and frame_of(site, plate) is None
    }


# -- batch norm


def refuse_single_row(
    model: nn.Module, guide: nn.Module, batch: Columns, training: Source, batch_size: int
) -> None:
    """Refuse a last batch of one row where a batch norm would have one value to take moments of.

    Raises
    ------
    InputError
        Names the module, and a size of batch that does.
    """
    size, per, dropped = training.size, batch_size, False
    if isinstance(training, LoaderSource):
        per, dropped = training.loader.batch_size or 0, training.loader.drop_last
    if size is None or not per or dropped or (size % per != 1 and per != 1):
        return
    name = _starved(model, guide, batch.rows(slice(1)))
    if name is None:
        return
    found = f"{name}, and a last batch of an epoch of 1 row of {size:,}, by batches of {per}"
    if size == 1:
        cure = "more data, or a norm of each row such as nn.LayerNorm"
    else:
        cure = f"batch_size={_better(size, per)}, or a DataLoader with drop_last=True"
    raise InputError("batch_size", found, "2 rows or more, whose variance it can take", cure)


def _better(size: int, per: int) -> int:
    """Return the size that cuts an epoch into as many batches, of nearly as many rows each."""
    if per == 1:
        per = min(size, 128)
    per = math.ceil(size / math.ceil(size / per))
    while size % per == 1:
        per += 1
    return per


def _starved(model: nn.Module, guide: nn.Module, one: Columns) -> str | None:
    """Name the batch norm that refuses one row; None if every module takes it."""
    norms: dict[nn.Module, str] = {
        module: f"{role}.{name} ({type(module).__name__})"
        for role, part in (("model", model), ("guide", guide))
        for name, module in part.named_modules()
        if isinstance(module, _BatchNorm) and module.training
    }
    if not norms:
        return None
    with _last_entered(norms) as entered, untouched(model, guide), torch.no_grad(), unvalidated():
        try:
            pair_traces(model, guide, one.args, one.kwargs)
        except ValueError as error:
            if "more than 1 value per channel" in str(error) and entered:
                return entered[-1]
    return None


@contextmanager
def _last_entered(norms: dict[nn.Module, str]) -> Iterator[list[str]]:
    """Note which of the modules are run."""
    entered: list[str] = []

    def note(module: nn.Module, args: Any) -> None:
        entered.append(norms[module])

    hooks = [module.register_forward_pre_hook(note) for module in norms]
    try:
        yield entered
    finally:
        for hook in hooks:
            hook.remove()
