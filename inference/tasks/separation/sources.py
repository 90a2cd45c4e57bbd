"""Sources by name: what a sound is, as a trained model of its spectra.

A source is a run of `ppl fit-source` or `ppl fit-speech`, its file, or one that ships
(`shipped_sources`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from inference.tasks.speech import SpeechModel, load_speech, shipped
from ppl_models.audio import as_source_pair
from ppl_models.data.stft import STFT
from ppl_models.errors import InputError

SHIPPED = ("speech", "flute")
NO_SOURCES = ("KVAE",)
"""Models of speech that are none: their latents of a frame depend on an integral over others."""


class Source(NamedTuple):
    """A trained model of complex bins, its guide, and where they are from."""

    name: str
    model: Any
    guide: Any
    stft: STFT
    path: Path


def shipped_sources() -> list[str]:
    """Return the names of the sources that come with the package."""
    return [name for name in shipped() if name in SHIPPED]


def load_sources(sources: Sequence[str | os.PathLike[str]]) -> list[Source]:
    """Read sources; those of one name are numbered, as in speech-1 and speech-2.

    Raises
    ------
    InputError
        None is given; or one does not exist, is of a model that can be no source, or two are of
        different STFTs.
    CheckpointError
        A file is damaged, or not of sound.
    """
    if isinstance(sources, str | os.PathLike) or not len(sources):
        cure = "pass a list of names or runs, as in ['speech', 'flute']"
        raise InputError("sources", repr(sources), "one source or more", cure)
    known = {os.fspath(source): _load(source) for source in sources}
    found = [known[os.fspath(source)] for source in sources]
    stfts = {one.stft for one in found}
    if len(stfts) > 1:
        each = "; ".join(f"{name}: {one.stft}" for name, one in zip(sources, found, strict=True))
        cure = "train them with one STFT: those that ship have STFT(16000, 64, 16)"
        raise InputError("sources", each, "sources of one STFT", cure)
    return [
        Source(name, *as_source_pair(one.model, one.guide), one.stft, one.path)
        for name, one in zip(names_of(sources), found, strict=True)
    ]


def names_of(sources: Sequence[str | os.PathLike[str]]) -> list[str]:
    """Return short names of sources, all different."""
    short = [_short(Path(source)) for source in sources]
    names = list[str]()
    for i, name in enumerate(short):
        number = short[: i + 1].count(name)
        one = f"{name}-{number}" if short.count(name) > 1 else name
        while one in names or (one != name and one in short):
            number += 1
            one = f"{name}-{number}"
        names.append(one)
    return names


def _short(path: Path) -> str:
    """Return the name of a run's folder or of a file that is not a run's."""
    if path.name == "pair.safetensors" and path.parent.name:
        path = path.parent
    name = path.name.removesuffix(".safetensors") or path.resolve().name
    return name.replace("/", "-")


def check_architecture(name: str, argument: str = "architecture") -> None:
    """Refuse a model that cannot be a source.

    Raises
    ------
    InputError
        It is one of `NO_SOURCES`.
    """
    if name in NO_SOURCES:
        expected = "a model that gives p(z_t) from latents and frames before t, or from none"
        raise InputError(argument, name, expected, "train a source with architecture=RVAE")


def _load(source: str | os.PathLike[str]) -> SpeechModel:
    found = load_speech(source, argument="sources")
    check_architecture(found.design.model, f"sources: {os.fspath(source)}")
    for module in (found.model, found.guide):
        module.requires_grad_(False)
    return found
