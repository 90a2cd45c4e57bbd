"""Rows of data with several modalities, any of which may be missing: one convention for all.

A modality m is a tensor (N, D_m), given by position or by name. ``mask`` (N, M), bool, is True for
the modalities that a row has. The numbers of a missing one are padding: they may be NaN, and reach
neither a value nor a gradient. A modality that is not given at all, while another one is, is
missing in every row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ppl_models.errors import InputError
from ppl_models.inputs import count_rows
from ppl_models.likelihoods import Gaussian, Likelihood

Modalities = Mapping[str, int | Likelihood]
RESERVED = {"mask", "observed", "size", "data", "z", "x", "self"}


@dataclass(frozen=True)
class Rows:
    """N rows, as a model and its guide get them.

    Parameters
    ----------
    values
        By modality, (N, D_m), padding replaced by zeros; None where nothing is observed at all.
    mask
        (N, M) bool: the modalities a row has, whose likelihoods count; None where it has all.
    observed
        (N, M) bool: the modalities that the shared code is inferred from; None where all are.
    size
        N.
    """

    values: dict[str, Tensor | None]
    mask: Tensor | None
    observed: Tensor | None
    size: int

    @property
    def has_data(self) -> bool:
        """Whether any modality is given."""
        return any(x is not None for x in self.values.values())

    def mask_of(self, m: int) -> Tensor | None:
        """Return which rows have modality m, (N,); None where all have it."""
        return None if self.mask is None else self.mask[:, m]

    def observed_of(self, m: int) -> Tensor | None:
        """Return in which rows modality m informs the shared code, (N,); None where in all."""
        return None if self.observed is None else self.observed[:, m]


def as_likelihoods(modalities: Modalities) -> dict[str, Likelihood]:
    """Return a likelihood for each modality: a number D_m stands for ``Gaussian(D_m)``.

    Raises
    ------
    InputError
        There is none, a name is taken, or one is no likelihood.
    """
    if not modalities:
        raise InputError("modalities", "none", "one or more", "{'image': 784, 'sound': 1024}")
    parts: dict[str, Likelihood] = {}
    for name, part in modalities.items():
        taken = name in RESERVED or not name.isidentifier() or name.startswith("z_")
        if taken or hasattr(nn.Module, name):
            cure = "name it by its content: image, sound, label"
            raise InputError("modalities", f"the name {name!r}", "a name not in use", cure)
        if not isinstance(part, int | Likelihood):
            cure = "give its size, or a part of ppl_models.likelihoods"
            raise InputError(f"modalities: {name}", repr(part), "a likelihood", cure)
        parts[name] = Gaussian(part) if isinstance(part, int) else part
    return parts


def read_rows(
    widths: Mapping[str, int],
    given: tuple[Tensor | None, ...],
    named: Mapping[str, Tensor | None],
    mask: Tensor | None,
    observed: Tensor | None,
    size: int,
) -> Rows:
    """Read what a model or a guide was called with.

    Parameters
    ----------
    widths
        D_m by modality, in the order of the columns of ``mask``.
    given, named
        Modalities in their places, and by name.
    mask
        (N, M) bool, which modalities a row has; by default those that are given.
    observed
        (N, M) bool, which of them the shared code is inferred from; by default those of ``mask``.
    size
        N, where nothing is given.

    Raises
    ------
    InputError
        An unknown modality, or one given twice; another shape; a mask of another kind.
    """
    values = _by_name(tuple(widths), given, named)
    sizes = {n: count_rows(x, widths[n], n) for n, x in values.items() if x is not None}
    masks = {n: m for n, m in (("mask", mask), ("observed", observed)) if m is not None}
    size = next(iter([*sizes.values(), *map(len, masks.values())]), size)
    for name, length in sizes.items():
        if length != size:
            cure = "give every modality a row a datum, padded where it is missing"
            raise InputError(name, f"{length} rows", f"{size}, as the others", cure)
    for name, value in masks.items():
        _check_mask(name, value, size, len(widths))
    if not sizes:
        return Rows(dict(values), mask, torch.zeros(size, len(widths), dtype=torch.bool), size)
    mask = _present(values, "mask", mask, size)
    observed = mask if observed is None else _present(values, "observed", observed, size)
    return Rows(_filled(values, mask, observed, size), mask, observed, size)


def _by_name(
    names: tuple[str, ...], given: tuple[Tensor | None, ...], named: Mapping[str, Tensor | None]
) -> dict[str, Tensor | None]:
    cure = f"give each once, in this order or by name: {', '.join(names)}"
    if len(given) > len(names):
        raise InputError("data", f"{len(given)} modalities", f"at most {len(names)}", cure)
    values = dict(zip(names, given, strict=False))
    for name, value in named.items():
        if name not in names:
            raise InputError("data", f"a modality {name!r}", f"one of {', '.join(names)}", cure)
        if values.get(name) is not None:
            raise InputError("data", f"{name!r} twice", "once", cure)
        values[name] = value
    return {name: values.get(name) for name in names}


def _check_mask(name: str, mask: Tensor, size: int, count: int) -> None:
    kind = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
    if kind is not torch.bool or mask.shape != (size, count):
        found = f"{kind} of shape {tuple(getattr(mask, 'shape', ()))}"
        cure = "True where a row has the modality, a column a modality: mask.bool()"
        raise InputError(name, found, f"torch.bool of shape {(size, count)}", cure)


def _present(
    values: dict[str, Tensor | None], name: str, mask: Tensor | None, size: int
) -> Tensor | None:
    """Return a mask that is False where a modality was not given; None where all were."""
    absent = [m for m, x in enumerate(values.values()) if x is None]
    if mask is None and not absent:
        return None
    if mask is None:
        like = next(x for x in values.values() if x is not None)
        mask = torch.ones(size, len(values), dtype=torch.bool, device=like.device)
        mask[:, absent] = False
    for m in absent:
        if mask[:, m].any():
            cure = "give its data, or put False in its column"
            raise InputError(name, f"rows with {list(values)[m]!r}", "its data too", cure)
    return mask


def _filled(
    values: dict[str, Tensor | None], mask: Tensor | None, observed: Tensor | None, size: int
) -> dict[str, Tensor | None]:
    """Put zeros where a modality is neither scored nor observed, before any arithmetic."""
    if mask is None or observed is None:
        return values
    used = mask if mask is observed else mask | observed
    filled: dict[str, Tensor | None] = {}
    for m, (name, x) in enumerate(values.items()):
        filled[name] = None if x is None else torch.where(used[:, m, None], x, torch.zeros_like(x))
    return filled
