"""What latents do, as pictures: traversals, reconstructions, samples and imputations of any pair.

Every picture is made by running the pair; what a mask hides of the data is blank, and tinted in all
rows. Images are the rows (N, D) of an observed site, drawn by
their means where the site's distribution has one, else as drawn. All return a matplotlib figure
that a notebook shows as it is, and leave the pair, generators and pyplot alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from pyro import poutine
from torch import Tensor

from inference.diagnostics.aggregate import drawn_sites, local_plate
from inference.diagnostics.replace import replacements
from inference.diagnostics.units import Unit, units
from inference.diagnostics.views import ImageView, Shape, only_site
from inference.tracing import Columns, Sampler, Unconditioned, batch_length, bind, node, quiet
from ppl_models.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pyro.poutine import Trace


def plot_samples(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    *data: Any,
    num_images: int = 12,
    site: str | None = None,
    shape: Shape | None = None,
    seed: int = 0,
    **named: Any,
) -> Figure:
    """Plot data drawn from the model, below the data themselves.

    Parameters
    ----------
    model, guide
        Any pair.
    *data, **named
        Data, as the pair takes them: what is not observed of them (labels, masks) is kept.
    num_images
        Images a row, at most as many as data.
    site
        The observed site, where there are several.
    shape
        Height and width of an image, where it is no square.
    seed
        Where draws begin.

    Raises
    ------
    PairError, InputError
        No such site; rows that are no images of that shape.
    """
    model, guide = bind(model, guide, *data, **named)
    some = _rows(data, named, num_images)
    with quiet(model, guide, seed):
        view = ImageView(Sampler(model, guide, some.args, some.kwargs), site, shape)
        forward: Any = Unconditioned()(view.sampler.model)
        first = poutine.trace(forward).get_trace(*some.args, **some.kwargs)
        second = poutine.trace(forward).get_trace(*some.args, **some.kwargs)
        rows, marks = [view.data(), view.images(first), view.images(second)], view.marks()
    return _draw(rows, ["data", "sample", "sample"], marks=marks)


def plot_reconstructions(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    *data: Any,
    num_images: int = 12,
    num_samples: int = 2,
    site: str | None = None,
    shape: Shape | None = None,
    seed: int = 0,
    **named: Any,
) -> Figure:
    """Plot data, and their reconstructions from draws of their latents, a row a draw.

    Parameters are those of `plot_samples`, with ``num_samples`` rows; raises as it does.
    """
    model, guide = bind(model, guide, *data, **named)
    some = _rows(data, named, num_images)
    with quiet(model, guide, seed):
        view = ImageView(Sampler(model, guide, some.args, some.kwargs), site, shape)
        rows = [view.data(), *(view.images(view.draw()) for _ in range(num_samples))]
        marks = view.marks()
    return _draw(rows, ["data", *(f"draw {i + 1}" for i in range(num_samples))], marks=marks)


def plot_traversal(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    *data: Any,
    row: int = 0,
    latent: str | None = None,
    values: Sequence[float] = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0),
    most: int = 8,
    site: str | None = None,
    shape: Shape | None = None,
    seed: int = 0,
    **named: Any,
) -> Figure:
    """Plot what each latent dimension of a datum does: vary one, keep the others as they are.

    The dimensions that vary most with the data come first; one that changes nothing is collapsed.
    Latent sites other than the one varied stay at their draw.

    Parameters
    ----------
    model, guide, *data, site, shape, seed, **named
        As in `plot_samples`; the numbers are put in order by all the data.
    row
        The datum to begin from.
    latent
        The latent site, where there are several.
    values
        What its numbers are set to, in the latent's own unit.
    most
        Numbers shown, a row each.

    Raises
    ------
    PairError, InputError
        As `plot_samples` does; or no such latent, or no such row.
    """
    model, guide = bind(model, guide, *data, **named)
    size = batch_length(data, named)
    if not -size <= row < size:
        raise InputError("row", str(row), f"one of {size} data", "count rows from 0")
    with quiet(model, guide, seed):
        sampler = Sampler(model, guide, data, named)
        name = only_site(latent, drawn_sites(sampler, None), "latent")
        held = [sampler.traces(None) for _ in range(2)]
        found = units(sampler, held, name, local_plate(sampler))
        found = sorted(found, key=lambda unit: -unit.spread)[:most]
        picked = torch.full((len(values),), row % size)
        one = Columns(data, named, size).rows(picked)
        view = ImageView(Sampler(model, guide, one.args, one.kwargs), site, shape)
        base = view.sampler.traces(None).guide
        rows = [
            view.images(view.distribution(_turned(view.sampler, base, name, u, values)))
            for u in found
        ]
    titles = [f"{name} {','.join(map(str, u.index))}\n({u.spread:.2g})" for u in found]
    return _draw(rows, titles, [f"{value:g}" for value in values])


def plot_imputations(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    *data: Any,
    missing: Tensor,
    num_images: int = 12,
    num_samples: int = 3,
    rounds: int = 50,
    site: str | None = None,
    shape: Shape | None = None,
    seed: int = 0,
    **named: Any,
) -> Figure:
    """Plot draws of pixels that are held back, given the others.

    Numbers for any data and masks, not pictures: `inference.tasks.impute`. Latents and missing
    pixels are drawn in turn, each given the other (Rezende, Mohamed and Wierstra
    2014, "Stochastic backpropagation", appendix F), from pixels of other data. With a guide that is
    not the posterior the draws are only as good as it.

    Parameters
    ----------
    model, guide, *data, num_images, site, shape, seed, **named
        As in `plot_samples`.
    missing
        Booleans (D,) or (N, D): the pixels to hold back.
    num_samples
        Rows of imputations, each of so many ``rounds`` of its own.

    Raises
    ------
    PairError, InputError
        As `plot_samples` does; no argument is the site's value; ``missing`` has another shape.
    """
    model, guide = bind(model, guide, *data, **named)
    some = _rows(data, named, num_images)
    with quiet(model, guide, seed):
        sampler = Sampler(model, guide, some.args, some.kwargs)
        view = ImageView(sampler, site, shape)
        place = next(r for r in replacements(sampler, {}) if r.site == view.site)
        truth = view.value(node(sampler.traces(None).model, view.site)["value"])
        gone = _mask(missing, truth, batch_length(data, named))
        rows = []
        for _ in range(num_samples):
            filled = torch.where(gone, truth[torch.randperm(len(truth))], truth)
            for _ in range(rounds):
                view.sampler = sampler.with_data(*place.put(some.args, some.kwargs, filled))
                drawn = view.draw()
                filled = torch.where(gone, view.value(view.forward(drawn)), truth)
            means = torch.where(gone, view.mean(drawn), truth)
            rows.append([view.image(x) for x in means])
        marks = [m.reshape(view.shape) for m in gone]
    titles = ["data", *(f"imputed {i + 1}" for i in range(num_samples))]
    return _draw([view.data(truth), *rows], titles, marks=marks)


def _rows(args: tuple[Any, ...], kwargs: dict[str, Any], num_images: int) -> Columns:
    size = batch_length(args, kwargs)
    if num_images < 1:
        raise InputError("num_images", str(num_images), "at least 1", "ask for some images")
    return Columns(args, kwargs, size).rows(slice(0, min(num_images, size)))


def _turned(sampler: Sampler, base: Trace, name: str, unit: Unit, values: Sequence[float]) -> Trace:
    """Give each row the first one's draw, with a value of its own in one number of its code."""
    turned, plate = base.copy(), local_plate(sampler)
    for other, place in sampler.guide_places.items():
        site: Any = dict(turned.nodes[other])
        turned.nodes[other] = site
        axis = place.axis(plate.name)
        if axis is None:
            continue
        rows = place.value(site["value"], 1)[0].movedim(axis - 1, 0)
        rows = rows[:1].expand(rows.shape).clone()
        if other == name:
            for i, setting in enumerate(values):
                rows[(i, *unit.index)] = setting
        site["value"] = rows.movedim(0, axis - 1).reshape(site["value"].shape)
    return turned


def _mask(missing: Tensor, truth: Tensor, size: int) -> Tensor:
    fits = missing.dtype == torch.bool and missing.shape[-1:] == truth.shape[1:]
    if not fits or missing.dim() not in (1, 2) or (missing.dim() == 2 and len(missing) != size):
        found = f"{missing.dtype} of shape {tuple(missing.shape)}"
        wanted = f"booleans ({truth.shape[1]},) or ({size}, {truth.shape[1]})"
        raise InputError("missing", found, wanted, "True where a pixel is to be held back")
    return (missing if missing.dim() == 1 else missing[: len(truth)]).expand(truth.shape)


def _draw(
    rows: Sequence[Sequence[Tensor]], titles: Sequence[str], heads: Sequence[str] = (), **how: Any
) -> Figure:
    from inference.diagnostics.canvas import draw_rows

    return draw_rows(rows, titles, heads, **how)
