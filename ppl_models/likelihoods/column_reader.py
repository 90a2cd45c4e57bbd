"""What encoders and measures of error read of a row of a table."""

from __future__ import annotations

import torch
from torch import Tensor

from ppl_models.data.column import KINDS, Column
from ppl_models.errors import InputError
from ppl_models.likelihoods.basic import Likelihood


class ColumnReader(Likelihood):
    """The values of D columns in standard units, as features, and as coordinates.

    Its attributes are described in `Columns`.

    Parameters
    ----------
    columns : tuple of Column
    raw_dim : int
        Outputs of a decoder.
    """

    shift: Tensor
    scale: Tensor
    spread: Tensor
    fill: Tensor
    owner: Tensor
    class_number: Tensor
    _one_hot: Tensor
    _positive: Tensor
    _count: Tensor

    def __init__(self, columns: tuple[Column, ...], raw_dim: int) -> None:
        super().__init__(len(columns), raw_dim)
        self.columns, self.names = columns, tuple(c.name for c in columns)
        classes = [c.num_classes if c.kind == "categorical" else 1 for c in columns]
        self.value_dim = max(classes)
        self.feature_dim = self.data_dim * self.value_dim
        owner = [d for d, count in enumerate(classes) for _ in range(count)]
        number = [k if count > 1 else -1 for count in classes for k in range(count)]
        one_hot = torch.tensor(classes) > 1
        self.register_buffer("owner", torch.tensor(owner), persistent=False)
        self.register_buffer("class_number", torch.tensor(number), persistent=False)
        self.register_buffer("_one_hot", one_hot, persistent=False)
        self._has = {kind: any(c.kind == kind for c in columns) for kind in KINDS}
        for kind in ("positive", "count"):
            chosen = torch.tensor([c.kind == kind for c in self.columns])
            self.register_buffer(f"_{kind}", chosen, persistent=False)
        self.register_buffer("shift", torch.zeros(self.data_dim))
        self.register_buffer("scale", torch.ones(self.data_dim))
        self.register_buffer("fill", self._positive.to(torch.get_default_dtype()))
        self.register_buffer("spread", torch.ones(len(owner)))

    def fill_missing(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Return x (..., D) with ordinary values where it was not observed, which may be NaN.

        Raises
        ------
        InputError
            The mask is not of booleans (..., D).
        """
        if mask is None:
            return x
        if mask.dtype is not torch.bool or mask.shape[-1:] != x.shape[-1:]:
            found, cure = f"{mask.dtype} of shape {tuple(mask.shape)}", "mask = ~x.isnan()"
            raise InputError("mask", found, f"booleans of shape {tuple(x.shape)}", cure)
        return torch.where(mask, x, self.fill)

    def standardise(self, x: Tensor) -> Tensor:
        """Return values (..., D), all of them observed, in standard units."""
        if self._has["positive"]:
            x = torch.where(self._positive, torch.where(self._positive, x, 1.0).log(), x)
        if self._has["count"]:
            x = torch.where(self._count, torch.where(self._count, x, 0.0).log1p(), x)
        return (x - self.shift) / self.scale

    def features(self, x: Tensor, before: Tensor | None = None) -> Tensor:
        """Return what a set reader reads of each value: (..., D, V), for values (..., D).

        The number in standard units, then zeros; or the class as one-hot, then zeros.
        """
        numbers = self.standardise(x)[..., None]
        if self.value_dim == 1:
            return numbers
        classes = torch.arange(self.value_dim, device=x.device)
        of_class = (x[..., None] == classes).to(x.dtype)
        of_number = numbers * (classes == 0)
        return torch.where(self._one_hot[:, None], of_class, of_number)

    def encode(self, x: Tensor) -> Tensor:
        """Return the coordinates (..., E) of values (..., D): classes as indicators."""
        values = x[..., self.owner]
        if self.value_dim == 1:
            return values
        indicator = (values == self.class_number).to(values.dtype)
        return torch.where(self.class_number >= 0, indicator, values)
