"""Arrays in NumPy's own files, as tensors."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ppl_models.errors import InputError


def read_arrays(path: str | os.PathLike[str], first: str = "x") -> dict[str, Tensor]:
    """Read a ``.npy`` file, or every array of an ``.npz`` file by its name.

    Parameters
    ----------
    path
        The file. Nothing pickled is read from it.
    first
        The name of the one array of a ``.npy`` file.

    Returns
    -------
    dict of str to Tensor
        Numbers as float32, truth values as they are; the first dim counts the data.

    Raises
    ------
    InputError
        The file is damaged or no NumPy file, holds something else than numbers, or nothing.
    OSError
        The file cannot be read.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            content = np.load(file, allow_pickle=False)
            arrays = {first: content} if isinstance(content, np.ndarray) else dict(content)
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        expected = "an array or arrays of numbers, whole, as np.save or np.savez write them"
        cure = "write the file again; objects (dtype=object) are never read"
        raise InputError(str(path), f"{error}", expected, cure) from error
    return {name: _tensor(array, f"{path}, array {name!r}") for name, array in arrays.items()}


def _tensor(array: NDArray[np.generic], where: str) -> Tensor:
    """Return the array as float32 or bool."""
    if array.dtype.kind not in "biuf":
        cure = "keep real numbers only; complex ones as two arrays"
        raise InputError(where, f"dtype {array.dtype}", "numbers or truth values", cure)
    if array.size == 0 or array.ndim == 0:
        found = f"shape {array.shape}"
        raise InputError(where, found, "data along the first dim", "check how it was written")
    return torch.from_numpy(array.astype(bool if array.dtype.kind == "b" else np.float32))
