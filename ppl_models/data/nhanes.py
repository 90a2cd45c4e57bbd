"""NHANES audiometry: hearing thresholds of both ears, and the age, of a sample of the USA.

The files are public, and not part of this package. Download those of a cycle into one folder:

=========  =====================  ==========================
cycle      audiometry             ages
=========  =====================  ==========================
1999-2000  AUX1.xpt               DEMO.xpt
2001-2002  AUX_B.xpt              DEMO_B.xpt
2003-2004  AUX_C.xpt              DEMO_C.xpt
2011-2012  AUX_G.xpt              DEMO_G.xpt
2015-2016  AUX_I.xpt              DEMO_I.xpt
=========  =====================  ==========================

from ``https://wwwn.cdc.gov/Nchs/Data/Nhanes/Public/YEAR/DataFiles/FILE``, YEAR the first of the
cycle. In these cycles adults of all ages from 20 to 69 were tested.

References
----------
Centers for Disease Control and Prevention, National Center for Health Statistics, "National Health
and Nutrition Examination Survey: Audiometry", 1999-2016.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ppl_models.data.hearing import NAMES, UNITS
from ppl_models.data.xport import read_xport
from ppl_models.errors import InputError, unknown

CYCLES = {
    "1999-2000": ("AUX1", "DEMO"),
    "2001-2002": ("AUX_B", "DEMO_B"),
    "2003-2004": ("AUX_C", "DEMO_C"),
    "2011-2012": ("AUX_G", "DEMO_G"),
    "2015-2016": ("AUX_I", "DEMO_I"),
}
"""Files of audiometry and of ages."""
NO_RESPONSE, NOT_OBTAINED = 666.0, 888.0
"""Codes in place of a threshold: the loudest tone was not heard; it could not be measured."""

# 1 kHz was tested twice: the first try counts, and the second where there is no first
_TONES = (("500",), ("1K1", "1K2"), ("2K",), ("3K",), ("4K",), ("6K",), ("8K",))
_SITE = "https://wwwn.cdc.gov/Nchs/Data/Nhanes/Public"

FloatArray = NDArray[np.float64]


class Audiometry(NamedTuple):
    """N people, in the columns of `ppl_models.data.hearing.NAMES`: D = 15."""

    x: Tensor
    """Thresholds in dB HL, and years (N, D); NaN where ``mask`` is False."""
    mask: Tensor
    """What was measured (N, D)."""
    no_response: Tensor
    """Where the loudest tone was not heard (N, D): the threshold is above it."""
    not_obtained: Tensor
    """Where it could not be measured (N, D); what is neither was not tried."""
    number: Tensor
    """Of the person in the survey, SEQN (N,)."""
    cycle: tuple[str, ...]
    """Of each person (N,)."""
    names: tuple[str, ...] = NAMES
    units: tuple[str, ...] = UNITS


def nhanes(
    path: str | os.PathLike[str],
    cycles: Sequence[str] = ("2011-2012",),
    *,
    no_response: float | None = None,
) -> Audiometry:
    """Read the audiometry of one or several cycles.

    Parameters
    ----------
    path
        The folder of the files; capitals in their names do not matter.
    cycles
        Keys of `CYCLES`. People follow one another in this order.
    no_response
        By default tones that were not heard are missing (and missing *because* hearing is bad). A
        level in dB HL, 120 say, counts them as measured, with this value: for a censored column,
        whose ``upper`` it is.

    Returns
    -------
    Audiometry
        Of all people who were tested at one frequency at least. Thresholds are those with the
        standard headphones; retests with insert phones (AUXR...) are not read.

    Raises
    ------
    InputError
        A file is absent (the message says where it is to be had), or is no such file; an unknown
        cycle; a person twice.
    OSError
        A file cannot be read.
    """
    if isinstance(cycles, str) or not cycles:
        raise InputError("cycles", repr(cycles), "a list of cycles", 'cycles=("2011-2012",)')
    for cycle in cycles:
        if cycle not in CYCLES:
            raise unknown("cycles", cycle, CYCLES)
    parts = [_cycle(Path(path), cycle) for cycle in cycles]
    number = np.concatenate([numbers for numbers, _ in parts])
    if len(set(number)) < len(number):
        cure = "give each cycle once, and the files of different cycles"
        raise InputError("cycles", "the same person twice", "people, each once", cure)
    codes = np.concatenate([codes for _, codes in parts])
    unheard = codes == NO_RESPONSE
    if no_response is not None:
        codes = np.where(unheard, no_response, codes)
    x = np.where((codes == NO_RESPONSE) | (codes == NOT_OBTAINED), np.nan, codes)
    names = [cycle for cycle, (numbers, _) in zip(cycles, parts, strict=True) for _ in numbers]
    return Audiometry(
        torch.tensor(x, dtype=torch.get_default_dtype()),
        torch.tensor(~np.isnan(x)),
        torch.tensor(unheard),
        torch.tensor(codes == NOT_OBTAINED),
        torch.tensor(number),
        tuple(names),
    )


def _cycle(folder: Path, cycle: str) -> tuple[NDArray[np.int64], FloatArray]:
    """Return numbers (N,) and cells (N, 15), codes and all, of the people of a cycle."""
    audio, ages = (_file(folder, cycle, stem) for stem in CYCLES[cycle])
    wanted = [[[f"AUXU{try_}{ear}" for try_ in tries] for tries in _TONES] for ear in "LR"]
    flat = [name for ear in wanted for tries in ear for name in tries]
    found = read_xport(audio, ["SEQN", *flat])
    columns = [_first_try([found[name] for name in tries]) for ear in wanted for tries in ear]
    known = read_xport(ages, ["SEQN", "RIDAGEYR"])
    age_of = dict(zip(known["SEQN"].tolist(), known["RIDAGEYR"].tolist(), strict=True))
    columns.append(np.array([age_of.get(number, np.nan) for number in found["SEQN"].tolist()]))
    cells = np.stack(columns, -1)
    tested = ~np.isnan(cells[:, :-1]) & (cells[:, :-1] != NOT_OBTAINED)
    kept = tested.any(1)
    return found["SEQN"][kept].astype(np.int64), cells[kept]


def _first_try(tries: list[FloatArray]) -> FloatArray:
    """Return the first threshold of each person; where there is none, a code of the best kind."""
    best = tries[0]
    for other in tries[1:]:
        best = np.where(_rank(other) < _rank(best), other, best)
    return best


def _rank(cells: FloatArray) -> NDArray[np.int64]:
    """Return 0 for a threshold, 1 for no response, 2 for not obtained, 3 for not tried."""
    kinds = [np.isnan(cells), cells == NOT_OBTAINED, cells == NO_RESPONSE]
    return np.select(kinds, [3, 2, 1], 0)


def _file(folder: Path, cycle: str, stem: str) -> Path:
    """Return a file of the folder, whatever its capitals."""
    wanted = f"{stem}.xpt".lower()
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    for file in files:
        if file.name.lower() in (wanted, f"{wanted}.gz"):
            return file
    found = f"no {stem}.xpt" if folder.is_dir() else "no such folder"
    url = f"{_SITE}/{cycle[:4]}/DataFiles/{stem}.xpt"
    raise InputError(str(folder), found, f"the files of {cycle}", f"put {url} there")
