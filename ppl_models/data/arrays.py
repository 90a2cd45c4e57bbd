"""Arrays in NumPy's own files, as tensors."""

from __future__ import annotations

import lzma
import math
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.lib import format as npy
from numpy.typing import NDArray
from torch import Tensor

from ppl_models.errors import InputError

UNFOLDED, ALWAYS = 100, 256 * 2**20
"""A compressed file may unfold to so many times its size; and to so many bytes in any case."""
_DAMAGED = (
    *(ValueError, EOFError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(SyntaxError, tokenize.TokenError, TypeError, KeyError, IndexError, AttributeError),
    *(OverflowError, MemoryError, NotImplementedError, RuntimeError, RecursionError, OSError),
)
_WHOLE = "an array or arrays of numbers, whole, as np.save or np.savez write them"
_AGAIN = "write the file again; objects (dtype=object) are never read"


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
        The file is damaged or no NumPy file; holds something else than numbers, or nothing; claims
        more numbers than it holds, or unfolds to more than `UNFOLDED` times its size; or a number
        is too large for float32.
    OSError
        The file cannot be read.
    """
    arrays = read_numbers(path, first)
    if not arrays:
        raise InputError(str(path), "no arrays", _WHOLE, "np.savez(file, x=...)")
    return {name: _tensor(array, f"{path}, array {name!r}") for name, array in arrays.items()}


def read_numbers(
    path: str | os.PathLike[str], first: str = "x", most: int | None = None
) -> dict[str, NDArray[Any]]:
    """Read what `read_arrays` reads as it is: no type is changed, and arrays may be empty.

    Parameters
    ----------
    path
        The file. Nothing pickled is read from it.
    first
        The name of the one array of a ``.npy`` file.
    most
        Bytes that it may have, and unfold to; by default no limit to the first, and `UNFOLDED`
        times its size to the second.

    Raises
    ------
    InputError
        The file is damaged or no NumPy file; holds something else than numbers; claims more
        numbers than it holds, or holds too many.
    OSError
        The file cannot be read.
    """
    path = Path(path)
    if path.exists() and not (path.is_file() or path.is_dir()):  # a device has no end
        raise InputError(str(path), "a device or a pipe", _WHOLE, "write it to a file first")
    size = path.stat().st_size
    if most is not None and size > most:
        raise InputError(str(path), f"{size:,} bytes", f"at most {most:,}", "check the path")
    most = max(UNFOLDED * size, ALWAYS) if most is None else most
    with path.open("rb") as file:
        try:
            if zipfile.is_zipfile(file):
                return dict(_members(file, size, most))
            return {first: _npy(file)}
        except InputError as error:
            where = f"{path}, {error.argument}" if error.argument else f"{path}"
            raise InputError(where, *error.args[1:]) from error.__cause__
        except _DAMAGED as error:
            raise InputError(str(path), f"{_words(error)}", _WHOLE, _AGAIN) from error


def _members(file: BinaryIO, size: int, most: int) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield the arrays of an ``.npz`` file of ``size`` bytes with their names."""
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        total = sum(m.file_size for m in members)
        if total > most:
            found = f"{size:,} bytes that unfold to {total:,}"
            cure = f"save it with np.savez, not compressed; or raise {__name__}.UNFOLDED"
            raise InputError("", found, f"at most {most:,}", cure)
        seen: set[str] = set()
        for member in members:
            name = member.filename.removesuffix(".npy")
            where = f"member {member.filename!r}"
            if member.flag_bits & 1:
                raise InputError(where, "it is encrypted", _WHOLE, "save it without a password")
            if name == member.filename or name in seen:
                found = "two of this name" if name in seen else "no array (its name lacks .npy)"
                raise InputError(where, found, _WHOLE, "write it with np.savez alone")
            seen.add(name)
            try:
                with archive.open(member) as content:
                    yield name, _npy(content, member.file_size)
            except _DAMAGED as error:
                raise InputError(where, _words(error), _WHOLE, _AGAIN) from error


def _npy(file: Any, size: int | None = None) -> NDArray[Any]:
    """Read one array of ``size`` bytes, header included, once its claims have been looked at."""
    if size is None:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
    version = npy.read_magic(file)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.kind not in "biuf":
        raise ValueError(f"dtype {dtype}, which is not of real numbers or truth values")
    claimed, held = math.prod(shape) * dtype.itemsize, size - file.tell()
    if claimed != held or min(shape, default=0) < 0:
        raise ValueError(f"its header claims {claimed:,} bytes of numbers, and it holds {held:,}")
    content = file.read(claimed)
    if len(content) != claimed:
        raise EOFError(f"{len(content):,} bytes of {claimed:,}")
    numbers = np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")
    if dtype.kind == "b" and (numbers.view(np.uint8) > 1).any():
        raise ValueError("truth values that are neither true nor false")
    return numbers


def _words(error: BaseException) -> str:
    """Return what is wrong, on one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return f"it is damaged, or no file of numbers ({text[:200]})"


def _tensor(array: NDArray[Any], where: str) -> Tensor:
    """Return the array as float32 or bool."""
    if array.size == 0 or array.ndim == 0:
        found = f"shape {array.shape}"
        raise InputError(where, found, "data along the first dim", "check how it was written")
    if array.dtype.kind == "b":
        return torch.from_numpy(array.copy())
    with np.errstate(over="ignore"):
        numbers = array.astype(np.float32, order="C")
    if over := int((np.isinf(numbers) & np.isfinite(array)).sum()):
        found = f"{over} numbers beyond 3.4e38, up to {np.abs(array[np.isfinite(array)]).max():.3g}"
        cure = "divide the data by their standard deviation"
        raise InputError(where, found, "numbers that float32 can hold", cure)
    return torch.from_numpy(numbers)
