"""The likelihood of a row of a table: columns of several kinds, whatever was observed of them.

==============  =================================  ==================================  ============
kind            values                             distribution                        raw numbers
==============  =================================  ==================================  ============
"real"          real numbers                       Normal                              2
"positive"      numbers above 0                    log-normal                          2
"count"         0, 1, 2, ...                       negative binomial                   1
"binary"        0 or 1                             Bernoulli                           1
"categorical"   0, ..., C - 1                      categorical                         C
"ordinal"       0, ..., C - 1, in their order      proportional odds                   1
"censored"      real numbers, up to a limit that   Normal, and its tails at the        2
                may hide larger (or smaller) ones  limits
==============  =================================  ==================================  ============

References
----------
Nazabal, Olmos, Ghahramani and Valera, "Handling incomplete heterogeneous data using VAEs", Pattern
Recognition 107, 2020, arXiv:1807.03653, section 3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from pyro.poutine.util import is_validation_enabled
from torch import Tensor, nn
from torch.nn.functional import softplus

from ppl_models.data.column import KINDS, Column, check_columns
from ppl_models.distributions import (
    FAR,
    BinaryColumns,
    CategoricalColumns,
    CensoredColumns,
    ColumnPart,
    CountColumns,
    MixedColumns,
    OrdinalColumns,
    Places,
    PositiveColumns,
    RealColumns,
)
from ppl_models.errors import InputError
from ppl_models.inputs import check_positive
from ppl_models.likelihoods.column_reader import ColumnReader
from ppl_models.likelihoods.column_statistics import (
    LEAST_STEP,
    check_support,
    check_table,
    summarise,
    to_steps,
)


class Columns(ColumnReader):
    """Rows of D independent columns, each of its own kind, given a decoder's outputs.

    Outputs of order 1 mean values of the order of the training data, whose mean and standard
    deviation `start_from` takes (of logs where a column is positive, of log(1 + x) where it
    counts). Real, positive and censored columns have a standard deviation of their own in every
    row, from ``floor`` to ``ceiling`` in these units.

    Parameters
    ----------
    columns : sequence of Column, or int
        The table's columns; a number D stands for D real ones, x1 to xD.
    floor, ceiling : float
        Least and largest standard deviation, in standard units. Without a floor, a column that the
        decoder can copy has a density without bound.

    Attributes
    ----------
    columns : tuple of Column
    names : tuple of str
    value_dim : int
        V, numbers that describe one value to an encoder (`features`).
    shift, scale : Tensor
        (D,): the standard units; 0 and 1 of binary and categorical columns.
    owner : Tensor
        (E,): the column of each coordinate. A categorical column has one coordinate for each of its
        C classes, any other has one.
    spread : Tensor
        (E,): standard deviation of each coordinate in training, in the units of the data. Those of
        a categorical column share sqrt(1 - sum p^2): its squared error in these units adds up to 1
        where classes are guessed by their frequencies.

    Raises
    ------
    InputError
        No column, two of one name, or a floor that is not positive and below the ceiling.
    """

    bit_logits: Tensor
    class_logits: Tensor
    _class_index: Tensor
    _class_padding: Tensor
    _cut_index: Tensor
    _cut_padding: Tensor
    _lower: Tensor
    _upper: Tensor

    def __init__(
        self, columns: Sequence[Column] | int, *, floor: float = 0.02, ceiling: float = 3.0
    ) -> None:
        found = check_columns(columns)
        of_kind = {kind: [c for c in found if c.kind == kind] for kind in KINDS}
        widths = {kind: _raw_width(kind, some) for kind, some in of_kind.items() if some}
        super().__init__(found, sum(widths.values()))
        self._widths, self._placed = widths, dict[tuple[object, ...], Places]()
        self.floor = check_positive("floor", floor)
        self.ceiling = check_positive("ceiling", ceiling)
        if not self.floor < min(1.0, self.ceiling):
            found_floor, cure = f"{floor}, ceiling {ceiling}", "leave both as they are by default"
            raise InputError("floor", found_floor, "a floor below 1 and the ceiling", cure)
        middle = (min(1.0, 0.99 * self.ceiling) - self.floor) / (self.ceiling - self.floor)
        self._middle = math.log(middle / (1 - middle))
        self._register_kinds(of_kind)

    def _register_kinds(self, of_kind: dict[str, list[Column]]) -> None:
        """Register what the columns of a kind have of their own."""
        if found := of_kind["count"]:
            self.log_dispersion = nn.Parameter(torch.zeros(len(found)))
        if found := of_kind["binary"]:
            self.register_buffer("bit_logits", torch.zeros(len(found)))
        if found := of_kind["categorical"]:
            index, padding = _laid_out([c.num_classes for c in found])
            self.register_buffer("_class_index", index, persistent=False)
            self.register_buffer("_class_padding", padding, persistent=False)
            self.register_buffer("class_logits", torch.where(padding, -FAR, 0.0))
        if found := of_kind["ordinal"]:
            sizes = [c.num_classes - 1 for c in found]
            index, padding = _laid_out(sizes)
            self.register_buffer("_cut_index", index, persistent=False)
            self.register_buffer("_cut_padding", padding, persistent=False)
            evenly = [torch.arange(size) - 0.5 * (size - 1) for size in sizes]
            self.cuts = nn.Parameter(torch.cat([to_steps(cuts) for cuts in evenly]))
        if found := of_kind["censored"]:
            far = float("inf")
            lower = torch.tensor([-far if c.lower is None else c.lower for c in found])
            upper = torch.tensor([far if c.upper is None else c.upper for c in found])
            self.register_buffer("_lower", lower, persistent=False)
            self.register_buffer("_upper", upper, persistent=False)

    def distribution(self, raw: Tensor, kinds: Sequence[str] = KINDS) -> MixedColumns:
        """Return the distribution of the columns of these kinds, batch shape (..., D)."""
        return MixedColumns(self, raw, tuple(kinds))

    def places(self, kinds: Sequence[str]) -> Places:
        """Return where each kind finds its columns among those of these kinds."""
        key = (*kinds, self.shift.device)
        if key not in self._placed:
            by_kind = [[d for d, c in enumerate(self.columns) if c.kind == kind] for kind in kinds]
            widths = torch.bincount(self.owner).tolist()
            self._placed[key] = Places.of(by_kind, widths, self.shift.device)
        return self._placed[key]

    def parts(self, raw: Tensor, kinds: Sequence[str]) -> list[ColumnPart]:
        """Return a part for each of these kinds that has columns."""
        blocks = zip(self._widths, raw.split(list(self._widths.values()), -1), strict=True)
        return [self._part(kind, block) for kind, block in blocks if kind in kinds]

    def _part(self, kind: str, raw: Tensor) -> ColumnPart:
        if kind == "binary":
            return BinaryColumns(raw + self.bit_logits)
        if kind == "categorical":
            logits = raw[..., self._class_index] + self.class_logits
            return CategoricalColumns(logits, self._class_padding)
        if kind == "ordinal":
            return OrdinalColumns(raw, self._cutpoints())
        at = self.places(KINDS).columns[list(self._widths).index(kind)]
        shift, scale = self.shift[at], self.scale[at]
        if kind == "count":
            return CountColumns(shift + scale * raw, self.log_dispersion)
        loc, log_scale = raw.chunk(2, -1)
        loc, scale = torch.addcmul(shift, scale, loc), scale * self._bounded(log_scale)
        if kind == "censored":
            return CensoredColumns(loc, scale, self._lower, self._upper)
        return RealColumns(loc, scale) if kind == "real" else PositiveColumns(loc, scale)

    def _bounded(self, raw: Tensor) -> Tensor:
        """Return standard deviations in (floor, ceiling): 1 at 0, and nearly exp(raw) below."""
        return self.floor + (self.ceiling - self.floor) * (raw + self._middle).sigmoid()

    def _cutpoints(self) -> Tensor:
        """Return cutpoints (K, C + 1) of the ordinal columns, FAR ones at both ends."""
        steps = self.cuts[self._cut_index]
        apart = softplus(steps[:, 1:]) + LEAST_STEP
        cuts = torch.cat([steps[:, :1], apart], 1).cumsum(1)
        cuts = torch.where(self._cut_padding, FAR, cuts)
        end = torch.full_like(cuts[:, :1], FAR)
        return torch.cat([-end, cuts, end], 1)

    def moments(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and variance of each coordinate (..., E), in the units of the data."""
        return self.distribution(raw).moments()

    def point(self, raw: Tensor) -> Tensor:
        """Return the mean of each column, or its most probable class: (..., D)."""
        mean, _ = self.moments(raw)
        shape = (*mean.shape[:-1], self.data_dim)
        if self.value_dim == 1:
            return mean
        first = self.class_number <= 0
        best = mean[..., first].reshape(shape).clone()
        for d in self._one_hot.nonzero().flatten().tolist():
            best[..., d] = mean[..., self.owner == d].argmax(-1).to(mean.dtype)
        return best

    def check(self, x: Tensor, mask: Tensor | None = None) -> None:
        """Check every observed value, while Pyro's validation is on.

        Raises
        ------
        InputError
            One of them is not of its column's kind.
        """
        if is_validation_enabled():
            self._check_support(x)
            check_support(self.columns, x, mask)

    @torch.no_grad()
    def start_from(self, x: Tensor, mask: Tensor | None = None) -> Columns:
        """Take units, frequencies and dispersions from training data (N, D); return self.

        A column of one value keeps the unit 1.

        Raises
        ------
        InputError
            Data of another shape or kind, or a column of which nothing was observed.
        """
        mask = check_table(self.columns, x, mask)
        check_support(self.columns, x, mask)
        found = summarise(self.columns, x.double(), mask)
        for name, value in found.items():
            target = getattr(self, name)
            target.copy_(value if name != "class_logits" else self._padded(value))
        return self

    def _padded(self, logits: Tensor) -> Tensor:
        table = logits[self._class_index]
        return torch.where(self._class_padding, -FAR, table)


def _raw_width(kind: str, columns: Sequence[Column]) -> int:
    """Return how many outputs of a decoder these columns need."""
    if kind == "categorical":
        return sum(column.num_classes for column in columns)
    return len(columns) * (2 if kind in ("real", "positive", "censored") else 1)


def _laid_out(sizes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return where K runs of these sizes are in their concatenation (K, C), and what is padding."""
    starts = torch.tensor([0, *sizes[:-1]]).cumsum(0)
    places = torch.arange(max(sizes))
    padding = places >= torch.tensor(sizes)[:, None]
    return torch.where(padding, 0, starts[:, None] + places), padding
