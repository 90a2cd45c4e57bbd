"""One run a folder at a time: a lock that the system lets go when its process ends, however."""

from __future__ import annotations

import errno
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ppl_models.errors import InputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK = "fit.lock"
"""In the folder while a run writes to it: who does, as JSON."""
_UNABLE = {errno.ENOLCK, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS}


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder within the block.

    The lock is the system's (``flock``), so that a process that dies, even by ``kill -9``, holds
    nothing. Where the system has none (some network drives), a file that names a process which
    lives holds the folder.

    Raises
    ------
    InputError
        Another process holds it, or this one does already; it is named.
    OSError
        The folder cannot be written to.
    """
    path = folder / LOCK
    handle = _take(path)
    try:
        os.ftruncate(handle, 0)
        os.lseek(handle, 0, os.SEEK_SET)
        os.write(handle, json.dumps(_me()).encode())
        yield
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)  # before it is let go: no other can hold it now
        with suppress(OSError):
            if fcntl is not None:
                fcntl.flock(handle, fcntl.LOCK_UN)  # for children that have the handle, too
        os.close(handle)


def _take(path: Path) -> int:
    """Return a handle of the locked file."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not _lock(handle):
                raise _refusal(path.parent, _holder(handle))
            if _is(handle, path):
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # whoever held it has removed it meanwhile


def _lock(handle: int) -> bool:
    """Lock an open file, if nobody holds it."""
    try:
        if fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _UNABLE:
            raise
    return not _lives(_holder(handle))


def _holder(handle: int) -> dict[str, Any]:
    """Read who holds a file."""
    for _ in range(5):  # it may be about to write it
        os.lseek(handle, 0, os.SEEK_SET)
        if content := os.read(handle, 10_000):
            with suppress(ValueError, TypeError):
                return dict(json.loads(content))
        time.sleep(0.02)
    return {}


def _lives(holder: dict[str, Any]) -> bool:
    """Whether a process lives, as far as it can be seen from here."""
    process = holder.get("process")
    if not isinstance(process, int) or holder.get("host") != socket.gethostname():
        return bool(holder)
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _is(handle: int, path: Path) -> bool:
    """Whether an open file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


def _me() -> dict[str, Any]:
    since = time.strftime("%Y-%m-%d %H:%M:%S %z")
    return {"process": os.getpid(), "host": socket.gethostname(), "since": since}


def _refusal(folder: Path, holder: dict[str, Any]) -> InputError:
    names = {"process": "unknown", "host": "unknown", "since": "unknown", **holder}
    held = "process {process} on {host}, since {since}".format(**names)
    found = f"{folder}, in which another run trains ({held})"
    cure = "wait until it ends, or stop it, or name another folder"
    return InputError("directory", found, "a folder for this run alone", cure)
