"""Groups of named arrays as the ArviZ object of the installed ArviZ: 0.23, or 1.x.

This file imports no torch, so that it can be loaded and tested by itself wherever ArviZ is.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

SAMPLE_DIMS = ("chain", "draw")


@dataclass(frozen=True)
class Variable:
    """An array and the names of its dims, after chain and draw where `drawn`.

    A dim that comes from a plate is a pair ``(plate, True)``, one of the event ``(name, False)``.
    """

    values: np.ndarray
    dims: Sequence[tuple[str, bool]]
    drawn: bool = True
    attrs: dict[str, Any] = field(default_factory=dict)


Groups = Mapping[str, Mapping[str, Variable]]


Attrs = Mapping[str, Mapping[str, Any]]


def to_arviz(
    groups: Groups,
    coords: Mapping[str, Any] | None = None,
    chains: int = 1,
    attrs: Attrs | None = None,
) -> Any:
    """Make an ``InferenceData`` (ArviZ 0.23) or a ``DataTree`` (ArviZ 1.x).

    Parameters
    ----------
    groups
        By group and variable; drawn values are ``(S, ...)`` and become chains of S / C draws. A
        slash in a variable's name becomes a dot: netCDF has groups for that.
    coords
        Labels by dim; numbers from 0 where there are none.
    chains
        C: the draws are those of the first chain, then those of the second, ...
    attrs
        By group, what to say of it: strings and numbers.

    Raises
    ------
    ValueError
        If labels are given for a dim that is not there, or in a wrong number; if one event dim is
        given two sizes.
    """
    groups = {g: {n.replace("/", "."): v for n, v in vs.items()} for g, vs in groups.items()}
    names = _Names(groups)
    labels = _labels(names.sizes, coords or {})
    said = attrs or {}
    datasets = {g: _dataset(v, names, labels, chains, said.get(g, {})) for g, v in groups.items()}
    return _wrap(datasets)


def _wrap(datasets: dict[str, Any]) -> Any:
    with warnings.catch_warnings():
        # ArviZ 0.23 announces its rewrite once a day, when it is imported
        warnings.filterwarnings("ignore", r"\s*ArviZ is undergoing", FutureWarning)
        import arviz
    if int(arviz.__version__.split(".")[0]) < 1:
        return arviz.InferenceData(**datasets)
    import xarray

    return xarray.DataTree.from_dict(datasets)


def _dataset(
    variables: Mapping[str, Variable],
    names: _Names,
    labels: dict[str, Any],
    chains: int,
    attrs: Mapping[str, Any],
) -> Any:
    import xarray

    arrays, used = {}, {}
    for name, variable in variables.items():
        dims = names.of(name, variable)
        values = variable.values
        if variable.drawn:
            values = values.reshape(chains, values.shape[0] // chains, *values.shape[1:])
        lead = SAMPLE_DIMS if variable.drawn else ()
        arrays[name] = ((*lead, *dims), values, variable.attrs)
        used.update({dim: labels[dim] for dim in dims})
        used.update({dim: np.arange(n) for dim, n in zip(lead, values.shape, strict=False)})
    return xarray.Dataset(arrays, coords=used, attrs={"inference_library": "pyro-ppl", **attrs})


class _Names:
    """Dim names that clash with no variable, nor with each other: one name, one size."""

    def __init__(self, groups: Groups) -> None:
        self.taken = {*SAMPLE_DIMS, *(name for group in groups.values() for name in group)}
        self.sizes: dict[str, int] = {}
        for group in groups.values():
            for name, variable in group.items():
                shape = variable.values.shape[variable.drawn :]
                dims = self.of(name, variable, shape)
                if len(set(dims)) < len(dims):
                    raise ValueError(f"dims: saw {dims} for {name!r}, expected different names")
                for dim, size in zip(dims, shape, strict=True):
                    if self.sizes.setdefault(dim, size) != size:
                        raise ValueError(
                            f"dims: {dim!r} of {name!r} has size {size}, elsewhere "
                            f"{self.sizes[dim]}; give the two dims two names"
                        )

    def of(self, name: str, variable: Variable, shape: Sequence[int] | None = None) -> list[str]:
        """Return the names of a variable's dims."""
        shape = variable.values.shape[variable.drawn :] if shape is None else shape
        return [
            self._one(name, dim, size, plate)
            for (dim, plate), size in zip(variable.dims, shape, strict=True)
        ]

    def _one(self, variable: str, dim: str, size: int, plate: bool) -> str:
        dim = f"{dim}_plate" if plate and dim in self.taken else dim
        clash = plate and self.sizes.get(dim, size) != size
        return f"{variable}_{dim}" if clash else dim


def _labels(sizes: dict[str, int], coords: Mapping[str, Any]) -> dict[str, Any]:
    labels: dict[str, Any] = {dim: np.arange(size) for dim, size in sizes.items()}
    for dim, values in coords.items():
        if dim not in sizes:
            raise ValueError(f"coords: saw {dim!r}, expected a dim of {sorted(sizes)}")
        if len(values) != sizes[dim]:
            raise ValueError(f"coords: saw {len(values)} labels of {dim!r}, expected {sizes[dim]}")
        labels[dim] = np.asarray(values)
    return labels
