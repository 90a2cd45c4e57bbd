"""Files that are written whole and can be checked: the old one or the new one, never a part.

A *seal* is a checksum inside the file that it is of: 64 hexadecimal digits of BLAKE2b, taken over
all bytes with zeros in the place of these digits. So any byte that changes is noticed.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ppl_models.errors import InputError

BLANK = b"0" * 64
"""Where a seal will be."""
PROBE = "probe"
"""A file that is written to try a folder: ``.probe.*.tmp``, which only a kill leaves behind."""
SUMS = "SHA256SUMS"
"""Checksums of a folder of answers, as ``sha256sum -c`` reads them."""

_TROUBLE: dict[int | None, tuple[str, str]] = {
    errno.ENOSPC: ("the disk is full", "make room, or choose another disk"),
    errno.EDQUOT: ("your quota of the disk is used up", "make room, or choose another disk"),
    errno.EFBIG: ("the system allows no file so large", "raise its limit (ulimit -f)"),
    errno.EROFS: ("the file system is read-only", "choose another folder"),
    errno.EACCES: ("you may not write or read there", "choose another folder, or ask for rights"),
    errno.EPERM: ("the system does not permit it", "choose another folder"),
    errno.ENOTDIR: ("a part of its path is a file, not a folder", "choose another folder"),
    errno.EEXIST: ("a file where a folder must be", "choose another folder"),
    errno.ENOENT: ("", "check the path"),
    errno.EISDIR: ("it is a folder", "give a file"),
    errno.ENAMETOOLONG: ("its name is too long", "choose a shorter one"),
    errno.ELOOP: ("its links go round in a circle", "mend the links"),
}


def trouble(error: OSError) -> tuple[str, str]:
    """Say in words what the system did not do, and the cure."""
    said = error.strerror or str(error) or "an error of the system"
    words, cure = _TROUBLE.get(error.errno, ("the system could not do it", "choose another place"))
    return f"{words} ({said})" if words else said, cure


def write_whole(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file beside ``path`` and let it take that place once it is safe on the disk.

    Whatever happens (a full disk, Ctrl-C, a power cut), ``path`` is the old file or the new one. A
    link stays a link, and the file that it points to is written.

    Raises
    ------
    OSError
        The system cannot write it, or there is no such folder; nothing is left behind. It names
        ``path``, not the file beside it.
    """
    target = Path(os.path.realpath(path))
    beside = target.with_name(f".{target.name[:200]}.{secrets.token_hex(4)}.tmp")
    try:
        with open(beside, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, target)
        _sync_folder(target.parent)
    except OSError as error:
        said = error.strerror or str(error)
        raise OSError(error.errno, said, os.fspath(path)) from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def make_folder(folder: str | os.PathLike[str], argument: str = "--out", space: int = 0) -> None:
    """Make a folder if there is none, and try whether it can be written to: before any work.

    Parameters
    ----------
    folder
    argument
        What named it, for the message.
    space
        Bytes that will be written there.

    Raises
    ------
    InputError
        It cannot be made or written to, or the disk is too full; nothing is left in it.
    """
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".{PROBE}.{secrets.token_hex(4)}.tmp"
        try:
            with open(probe, "xb") as file:
                file.write(BLANK * 64)
                file.flush()
                os.fsync(file.fileno())
        finally:
            probe.unlink(missing_ok=True)
        free = _free(path)
    except OSError as error:
        words, cure = trouble(error)
        if error.errno == errno.ENOENT:  # its parents have just been made
            words, cure = f"the system makes none there ({words})", "choose another folder"
        found = f"{path}: {words}"
        cure = cure.replace("choose another", f"change {argument}: choose another")
        raise InputError(argument, found, "a folder that can be written to", cure) from None
    if free < space:
        found = f"{path}, on a disk with {free:,} bytes free"
        cure = "make room, or choose another disk"
        raise InputError(argument, found, f"{space:,} bytes for what will be written", cure)


def seal(content: bytes, at: int) -> bytes:
    """Return the content with its seal in place of the `BLANK` at byte ``at``."""
    return content[:at] + _digest(content, at) + content[at + len(BLANK) :]


def is_sealed(content: bytes, at: int) -> bool:
    """Whether the seal at byte ``at`` is that of the content."""
    return at >= 0 and content[at : at + len(BLANK)] == _digest(content, at)


def sealed_json(value: Mapping[str, Any]) -> bytes:
    """Return a mapping as JSON, its seal under ``"checksum"``."""
    content = json.dumps({"checksum": BLANK.decode(), **value}, indent=2).encode() + b"\n"
    return seal(content, content.index(BLANK))


def read_sealed_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read what `sealed_json` made.

    Raises
    ------
    InputError
        It is damaged, or has no seal.
    OSError
        It cannot be read.
    """
    content = Path(path).read_bytes()
    try:
        value = dict(json.loads(content))
        at = content.find(str(value.pop("checksum")).encode())
    except (ValueError, TypeError, KeyError, RecursionError):
        at = -1
    if not is_sealed(content, at):
        found = "contents that are not those of its checksum"
        raise InputError(str(path), found, "the file as it was written", "remove it")
    return value


def add_sums(folder: str | os.PathLike[str], names: Iterable[str]) -> Path:
    """Write the checksums of files in a folder: ``cd folder; sha256sum -c SHA256SUMS``.

    Those of other files there, of earlier calls, are kept while the files are.

    Raises
    ------
    OSError
        A file cannot be read, or the folder not be written to.
    """
    folder, rows = Path(folder), dict[str, str]()
    with suppress(OSError, UnicodeDecodeError):
        for line in (folder / SUMS).read_text(encoding="utf-8").splitlines():
            digest, _, name = line.partition("  ")
            if (folder / name).is_file():
                rows[name] = digest
    rows |= {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    text = "".join(f"{digest}  {name}\n" for name, digest in sorted(rows.items()))
    write_whole(folder / SUMS, text.encode())
    return folder / SUMS


def _digest(content: bytes, at: int) -> bytes:
    """Return the seal of a content, whatever is in its place now."""
    mark = hashlib.blake2b(digest_size=len(BLANK) // 2)
    for part in (memoryview(content)[:at], BLANK, memoryview(content)[at + len(BLANK) :]):
        mark.update(part)
    return mark.hexdigest().encode()


def _free(path: Path) -> int:
    """Return the bytes that are free where a folder is; a system that does not say has enough."""
    import shutil

    try:
        return shutil.disk_usage(path).free
    except OSError:
        return 2**63


def _sync_folder(folder: Path) -> None:
    """Make the rename itself outlive a power cut, where the system can."""
    with suppress(OSError):  # Windows opens no folders
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
