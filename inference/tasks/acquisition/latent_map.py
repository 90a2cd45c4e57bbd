"""The map of latents: where people lie in z, and how sure that is of one of them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from matplotlib.figure import Figure
from torch import Tensor

from inference.diagnostics import Picture
from inference.randomness import derive
from inference.tasks.acquisition.predictor import Draws, Predictor, check_people
from inference.tasks.acquisition.table import column_indices
from ppl_models.errors import InputError


@torch.no_grad()
def draw_latents(
    predictor: Predictor,
    x: Tensor,
    column: str | int,
    *,
    mask: Tensor | None = None,
    person: int | None = None,
    marks: Mapping[str, Tensor] | None = None,
    num_samples: int = 200,
    seed: int = 0,
) -> Figure:
    """Draw where people lie in the first two dimensions of z, coloured by one of their columns.

    Parameters
    ----------
    predictor, x
    column
        Whose value colours the people.
    mask
        What was measured of them; by default all.
    person
        Somebody whose draws are shown as a cloud.
    marks
        Rows (D,) to place and to name: archetypes.
    num_samples, seed
        Of the draws.

    Raises
    ------
    InputError
        A predictor whose draws have fewer than two latents, no such column or person.
    """
    (place,) = column_indices(predictor.table, [column], "column")
    known = check_people(predictor.table, x, mask)
    draws = predictor.draws(x, known, num_samples, derive(seed, "latents"))
    if draws.z is None or draws.z.shape[-1] < 2:
        raise InputError("predictor", "fewer than two latents", "z of two or more", "latent_dim=2")
    if person is not None and not 0 <= person < len(x):
        raise InputError("person", str(person), f"0 to {len(x) - 1}", "person=0")
    means = draws.average(draws.z)
    figure = Picture(figsize=(5.8, 4.8), layout="constrained")
    ax = figure.subplots()
    colour = torch.where(known, x, torch.nan)[:, place]
    points = ax.scatter(
        means[:, 0], means[:, 1], c=colour, s=14, cmap="viridis", label="people (means)"
    )
    figure.colorbar(points, ax=ax, label=str(predictor.table.names[place]))
    if person is not None:
        cloud = draws.z[:, person]
        sizes = 2 + 12 * draws.weights[:, person] / draws.weights[:, person].max()
        ax.scatter(
            cloud[:, 0],
            cloud[:, 1],
            s=sizes,
            color="tab:red",
            alpha=0.5,
            label=f"draws of person {person}",
        )
    for number, (name, row) in enumerate((marks or {}).items()):
        whole = torch.ones_like(known[:1])
        found = predictor.draws(row[None], whole, num_samples, derive(seed, "latents"))
        at = _place(found)
        label = None if number else "marks"
        ax.plot(*at, marker="*", color="black", ms=11, linestyle="", label=label)
        ax.annotate(name, at, (5, 5), textcoords="offset points", size=8)
    ax.set(xlabel="$z_1$", ylabel="$z_2$", aspect="equal")
    ax.legend(fontsize=8, frameon=False)
    return figure


def _place(draws: Draws) -> tuple[float, float]:
    """Return the first person's mean of z, in two dimensions."""
    assert draws.z is not None
    first, second = draws.average(draws.z)[0, :2].tolist()
    return first, second
