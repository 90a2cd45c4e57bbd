"""Weights on disk: one safetensors file, which holds tensors and a little JSON and no code.

The file is an ordinary safetensors file (any reader opens it). Its header's metadata has one entry,
``ppl_models``: the JSON object ``{"version", "checksum", "model", "config", "extra"}``. The
checksum is of every byte of the file but its own. The file appears under its name only once it is
whole: it is written beside its place, forced to the disk, and renamed.
"""

from __future__ import annotations

import errno
import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from inference.errors import CheckpointError
from inference.weights import File, Modules, fill, state_of
from ppl_models.data import files

VERSION = 2
UNSEALED = 1
"""The version whose files had no checksum: they are read with a warning."""
_KEY = "ppl_models"
_DISGUISES = {b"PK\x03\x04": "a zip archive, as torch.save writes", b"\x80": "a Python pickle"}


class Checkpoint(NamedTuple):
    """What a file held."""

    model: str  # the name under which it was saved
    config: dict[str, Any]  # what rebuilds the modules: sizes and options
    tensors: dict[str, Tensor]  # by their state_dict names; "model.", "guide." first for a dict
    extra: dict[str, Any]  # anything else that JSON holds
    version: int  # of the file's format


def save(
    path: File,
    modules: Modules,
    *,
    model: str,
    config: Mapping[str, Any],
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write the parameters and buffers of one or several modules to one file, whole or not at all.

    Parameters
    ----------
    path
        The file, by custom ``*.safetensors``; its folder is made if need be.
    modules
        A module, or modules by name (``{"model": model, "guide": guide}``).
    model
        A name that `load` can insist on.
    config
        What rebuilds the modules; anything that JSON holds.
    extra
        More of the same kind: how it was trained, how good it is.

    Raises
    ------
    CheckpointError
        If the file cannot be written (the earlier one of that name is then unharmed), or if
        something is neither a tensor nor JSON.
    """
    tensors = {name: tensor.detach().cpu() for name, tensor in state_of(modules, path).items()}
    save_tensors(path, tensors, model=model, config=config, extra=extra)


def save_tensors(
    path: File,
    tensors: Mapping[str, Tensor],
    *,
    model: str,
    config: Mapping[str, Any],
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write tensors by name, as `save` does for the tensors of modules."""
    blank = files.BLANK.decode()
    head = {"version": VERSION, "checksum": blank, "model": model, "config": config}
    head["extra"] = extra or {}
    try:
        text = json.dumps(head)
    except (TypeError, ValueError) as error:
        cure = "keep to numbers, strings, lists, dicts of them, true, false and null"
        found = f"config or extra is not JSON: {error}"
        raise CheckpointError(path, found, cure=cure) from error
    # a clone each: safetensors refuses tensors that share memory, as tied weights do
    clones = {name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()}
    data = safetensors.torch.save(clones, metadata={_KEY: text})
    write_whole(path, files.seal(data, data.index(files.BLANK)))


def load(
    path: File,
    *,
    into: Modules | None = None,
    model: str | None = None,
) -> Checkpoint:
    """Read a file that `save` wrote; nothing in it is ever executed.

    Parameters
    ----------
    path
        The file.
    into
        The modules to fill, in the form given to `save`. All of them are filled, or none. An
        AutoGuide that has not met data yet, and so has no parameters, is filled at its first run
        (by `fit`, `posterior`, ..., or by hand); that run raises if the file does not fit it.
    model
        The model the file must be of.

    Raises
    ------
    CheckpointError
        If there is no such file, it is cut short, any bit of it was changed, it is a pickle in
        disguise, of a newer format, of another model, or its names and shapes are not those of
        `into`.

    Warns
    -----
    UserWarning
        The file is of an earlier version, which had no checksum: damage would not be noticed.
    """
    checkpoint = _parse(path, _read(path))
    if model is not None and checkpoint.model != model:
        cure = "give the file that was saved for this model"
        raise CheckpointError(path, f"it is of model {checkpoint.model!r}", repr(model), cure)
    if into is not None:
        fill(into, checkpoint.tensors, path)
    return checkpoint


def write_whole(path: File, data: bytes) -> None:
    """Write a file, and its folder if there is none, whole or not at all (`ppl_models.data.files`).

    Raises
    ------
    CheckpointError
        If the system cannot write it.
    """
    target = Path(os.path.realpath(path))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        files.write_whole(target, data)
    except OSError as error:
        kept = "the earlier file is as it was" if target.exists() else "nothing was left behind"
        words, cure = files.trouble(error)
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        expected = f"{len(data):,} bytes of space" if full else "a place that can be written to"
        found = f"it cannot be written: {words}; {kept}"
        raise CheckpointError(path, found, expected, cure) from error


def _read(path: File) -> bytes:
    """Read the file, unless it begins as things do that run code when they are opened."""
    if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
        cure = "give the file that was saved"  # a device has no end
        raise CheckpointError(path, "it is a device or a pipe", "a safetensors file", cure)
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        words, cure = files.trouble(error)
        raise CheckpointError(path, f"it cannot be read: {words}", cure=cure) from error
    for magic, kind in _DISGUISES.items():
        # a safetensors file opens with the 8-byte length of its header, then "{"
        if data.startswith(magic) and data[8:9] != b"{":
            found = f"it is {kind}, which could run code here; it was not opened"
            cure = "get it as safetensors, from someone you trust"
            raise CheckpointError(path, found, "a safetensors file", cure)
    return data


def _parse(path: File, data: bytes) -> Checkpoint:
    """Split the bytes into header and tensors, both checked."""
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or 8 + size > len(data):
        found = f"it is cut short at {len(data):,} bytes, or something else altogether"
        raise CheckpointError(path, found, "a whole safetensors file", "copy or save it again")
    head = _head(path, data[8 : 8 + size])
    _check_seal(path, data, head)
    try:
        tensors = safetensors.torch.load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        found = f"it is cut short or damaged: {error}"
        raise CheckpointError(path, found, "a whole safetensors file", "copy it again") from error
    return Checkpoint(head["model"], head["config"], tensors, head["extra"], head["version"])


def _head(path: File, header: bytes) -> dict[str, Any]:
    """Our entry of a safetensors header, each part of its kind."""
    try:
        head = json.loads(json.loads(header)["__metadata__"][_KEY])
        version = head["version"]
        _ = version + 0
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        cure = "give a file that inference.save wrote"
        raise CheckpointError(path, "its header lacks our entry", f"{_KEY!r}", cure) from error
    if type(version) is not int or not UNSEALED <= version <= VERSION:
        newer = isinstance(version, int) and version > VERSION
        found, expected = f"its format is version {version}", f"{UNSEALED} to {VERSION}"
        raise CheckpointError(
            path, found, expected, "update this package" if newer else "get the file again"
        )
    if missing := {"model", "config", "extra"} - head.keys():
        raise CheckpointError(path, f"its header lacks {', '.join(sorted(missing))}")
    for name, kind in {"model": str, "config": dict, "extra": dict}.items():
        if not isinstance(head[name], kind):
            found = f"{name} in its header is a {type(head[name]).__name__}"
            raise CheckpointError(path, found, f"a {kind.__name__}", "get the file again")
    return head


def _check_seal(path: File, data: bytes, head: Mapping[str, Any]) -> None:
    """Compare the file with its own checksum, which stands in its header."""
    if head["version"] == UNSEALED:
        note = "written without a checksum, so that damage to it would not be noticed"
        cure = "load and save it again"
        warnings.warn(f"{path}: {note}: {cure}", UserWarning, stacklevel=4)
    elif not files.is_sealed(data, data.find(str(head.get("checksum")).encode())):
        found = "it is cut short or damaged: its contents are not those of its checksum"
        raise CheckpointError(path, found, "a whole safetensors file", "copy it again")
