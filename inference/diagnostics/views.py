"""The rows of one observed site, as images."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from inference.errors import PairError
from inference.tracing import Sampler, mean_of, node
from ppl_models.errors import InputError

if TYPE_CHECKING:
    from pyro.poutine import Trace

Shape = tuple[int, int]


class ImageView:
    """The images of one observed site of a pair."""

    def __init__(self, sampler: Sampler, site: str | None, shape: Shape | None) -> None:
        self.sampler = sampler
        self.site = only_site(site, sampler.observed, "observed")
        width = self.value(sampler.sites[self.site]["value"]).shape[1]
        side = math.isqrt(width)
        if shape is None and side * side != width or shape and math.prod(shape) != width:
            found = f"rows of {width} numbers, and " + ("no shape" if shape is None else str(shape))
            raise InputError(
                "shape", found, "height and width of an image", "shape=(height, width)"
            )
        self.shape = shape or (side, side)

    def value(self, tensor: Tensor) -> Tensor:
        """Lay out values of the site as rows (N, D)."""
        value = self.sampler.places[self.site].value(tensor.detach(), 1)[0]
        return value.flatten(1) if value.dim() > 1 else value[:, None]

    def distribution(self, guide: Trace) -> Trace:
        """Run the model on a guide's trace."""
        return self.sampler.replayed(guide, None, "plain")

    def draw(self) -> Trace:
        """Run the model on a draw of the guide; enumerated sites from their posterior."""
        return self.sampler.traces(None, "sampled").model

    def forward(self, trace: Trace) -> Tensor:
        """Draw the site again, given the latents of a trace."""
        fn = node(trace, self.site)["fn"]
        return torch.as_tensor(fn.sample())

    def mean(self, trace: Trace) -> Tensor:
        """Return the site's mean rows, or a draw where there is no mean."""
        mean = mean_of(node(trace, self.site))
        return self.value(self.forward(trace) if mean is None else mean)

    def image(self, row: Tensor) -> Tensor:
        """Return a row as an image."""
        return row.reshape(self.shape).float().cpu()

    def images(self, trace: Trace) -> list[Tensor]:
        """Return the images of a run of the model."""
        return [self.image(row) for row in self.mean(trace)]

    def data(self, rows: Tensor | None = None) -> list[Tensor]:
        """Return the images of the data themselves, or of rows like them; NaN where masked."""
        if rows is None:
            rows = self.value(self.sampler.sites[self.site]["value"])
            gone = self._masked()
            rows = rows if gone is None else rows.to(torch.float).masked_fill(gone, math.nan)
        return [self.image(row) for row in rows]

    def marks(self) -> list[Tensor]:
        """Return the pixels of each row that a mask hides, as images; none if there is no mask."""
        gone = self._masked()
        return [] if gone is None else [row.reshape(self.shape).cpu() for row in gone]

    def _masked(self) -> Tensor | None:
        mask = self.sampler.mask(self.site)
        if mask is None:
            return None
        return ~(mask.flatten(1) if mask.dim() > 1 else mask[:, None])


def only_site(name: str | None, names: list[str], what: str) -> str:
    """Return the name given, or the only one there is.

    Raises
    ------
    PairError
        There is no such site, or several and none was named.
    """
    if name in names:
        return str(name)
    if name is not None or len(names) != 1:
        found, cure = f"the {what} sites {names}", f"name one of them: {names}"
        raise PairError(name, found, f"one {what} site", cure)
    return names[0]
