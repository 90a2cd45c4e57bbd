"""Bytes of a file, decompressed if need be, and never more of them than a limit."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from ppl_models.errors import InputError

LARGEST = 256 * 2**20
"""Bytes that a file of text may have, decompressed: some six million rows of detections."""

_KINDS: dict[bytes, tuple[str, Callable[[BinaryIO], Any]]] = {
    b"\x1f\x8b": ("gzip", lambda file: gzip.GzipFile(fileobj=file)),
    b"BZh": ("bzip2", bz2.BZ2File),
    b"\xfd7zXZ\x00": ("xz", lzma.LZMAFile),
}
_DAMAGED = EOFError, zlib.error, lzma.LZMAError, OSError, ValueError, MemoryError


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """Read a file; one by gzip, bzip2 or xz is decompressed, whatever its name.

    Raises
    ------
    InputError
        It is damaged, or holds more than `LARGEST` bytes (which are then not read).
    OSError
        It cannot be read.
    """
    path = Path(path)
    with path.open("rb") as file:
        start = file.read(6)
        file.seek(0)
        kind, opened = next(
            (k for magic, k in _KINDS.items() if start.startswith(magic)), ("", None)
        )
        if opened is None:
            content = file.read(LARGEST + 1)
        else:
            try:
                content = opened(file).read(LARGEST + 1)
            except _DAMAGED as error:
                found = f"damaged {kind} data ({error})"
                cure = "copy it again, or compress it again"
                raise InputError(str(path), found, "a whole file", cure) from error
    if len(content) > LARGEST:
        found = f"more than {LARGEST:,} bytes" + " once it is decompressed" * bool(kind)
        cure = f"split it by frames, or raise {__name__}.LARGEST"
        raise InputError(str(path), found, f"at most {LARGEST:,} bytes of text", cure)
    return content
