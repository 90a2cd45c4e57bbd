"""Corpora of read speech: who said what in which file, split for training, validation and test.

==============  ==================================================================================
`an4`           CMU AN4: spelled words and numbers, 84 speakers, 50 minutes, 16 kHz; BSD-like.
                http://www.speech.cs.cmu.edu/databases/an4/ (an4_sphere.tar.gz, 64 MB).
`wsj0`          Wall Street Journal 0: read newspaper, 25 hours, 16 kHz; a licence of the
                Linguistic Data Consortium. https://catalog.ldc.upenn.edu/LDC93S6A.
`voicebank`     VoiceBank-DEMAND, its clean half: read sentences, 30 speakers, 10 hours, 48 kHz;
                CC BY 4.0. https://doi.org/10.7488/ds/2117.
`speech_folder` A folder of one's own.
==============  ==================================================================================

No byte of them is part of this package. A corpus is a list of files, sound is read by
`ppl_models.data.speech`:

>>> corpus = an4("an4")
>>> print(corpus)
an4: 870 train, 78 validation, 65 test utterances of 68, 6, 5 speakers (published: 948, 130)
>>> powers = spectra(corpus.train)
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ppl_models.errors import InputError

AN4_VALIDATION = ("fclc", "ftal", "mcrt", "mjda", "mmap", "msct")
"""Two women and four men of AN4's training speakers, 21 and 53: first letters say which."""

VOICEBANK_VALIDATION = ("p226", "p287")
"""A man and a woman, whom the field holds out."""

SOUNDS = (".wav", ".flac", ".sph", ".ogg")
"""What files of sound end in."""


class Utterance(NamedTuple):
    """One recording: by whom, its name within the corpus, and where it is."""

    speaker: str
    name: str
    file: Path


@dataclass(frozen=True)
class Corpus:
    """Utterances in three parts, each sorted by speaker and name; nothing is read yet.

    Attributes
    ----------
    name, source, licence : str
        What it is, and from where it comes.
    train, validation, test : list of Utterance
        A part that is not in the folder is empty.
    published : tuple of int
        How many utterances the published corpus has, for training and validation together, and
        for a test; empty where nobody has counted.
    words : tuple of str
        What is counted, and by whom it is: clips of instruments, where it is no speech.
    """

    name: str
    train: list[Utterance]
    validation: list[Utterance]
    test: list[Utterance]
    source: str = ""
    licence: str = ""
    published: tuple[int, ...] = ()
    words: tuple[str, str] = ("utterances", "speakers")

    def __str__(self) -> str:
        parts = self.train, self.validation, self.test
        names = "train", "validation", "test"
        counts = ", ".join(f"{len(p)} {name}" for p, name in zip(parts, names, strict=True))
        speakers = ", ".join(str(len({u.speaker for u in part})) for part in parts)
        known = f" (published: {', '.join(map(str, self.published))})" if self.published else ""
        what, whose = self.words
        return f"{self.name}: {counts} {what} of {speakers} {whose}{known}"


def an4(path: str | os.PathLike[str], validation: Sequence[str] = AN4_VALIDATION) -> Corpus:
    """List the CMU AN4 corpus.

    Parameters
    ----------
    path
        A folder with ``{train,test}/<speaker>/*`` or, as published, with
        ``wav/{an4_clstk,an4test_clstk}/<speaker>/*``.
    validation
        Training speakers of whom nothing is heard in training.

    Raises
    ------
    InputError
        No such folder, or no recording in it, or a speaker that there is not, or no others.
    """
    source = "http://www.speech.cs.cmu.edu/databases/an4/"
    root = Path(path)
    places = [root, root / "wav", root / "an4", root / "an4" / "wav"]
    trains = [place / name for place in places for name in ("train", "an4_clstk")]
    tests = [place / name for place in places for name in ("test", "an4test_clstk")]
    spoken = _by_speaker(root, trains, "train/<speaker>/*.flac", source)
    train, held = _hold_out(spoken, validation, "validation")
    licence = "BSD-like, Carnegie Mellon University"
    return Corpus("an4", train, held, _find(tests), source, licence, (948, 130))


def wsj0(path: str | os.PathLike[str]) -> Corpus:
    """List the Wall Street Journal corpus: si_tr_s, si_dt_05, si_et_05, of different speakers.

    Parameters
    ----------
    path
        A folder with ``{si_tr_s,si_dt_05,si_et_05}/<speaker>/*.wav``. The consortium's ``.wv1``
        files are compressed; its program sph2pipe turns them into WAV.

    Raises
    ------
    InputError
        No such folder, or no recording in si_tr_s.
    """
    source, root = "https://catalog.ldc.upenn.edu/LDC93S6A", Path(path)
    train = _by_speaker(root, [root / "si_tr_s"], "si_tr_s/<speaker>/*.wav", source)
    held, test = (_find([root / name]) for name in ("si_dt_05", "si_et_05"))
    licence = "Linguistic Data Consortium"
    return Corpus("wsj0", train, held, test, source, licence, (12776 + 1206, 651))


def voicebank(
    path: str | os.PathLike[str], validation: Sequence[str] = VOICEBANK_VALIDATION
) -> Corpus:
    """List the clean recordings of VoiceBank-DEMAND.

    Parameters
    ----------
    path
        A folder with ``clean_trainset_28spk_wav/pXXX_NNN.wav`` and ``clean_testset_wav``. They are
        published at 48 kHz: convert them, or read them with ``resample=True``.
    validation
        Training speakers of whom nothing is heard in training.

    Raises
    ------
    InputError
        No such folder, or no recording in it, or a speaker that there is not, or no others.
    """
    source, root = "https://doi.org/10.7488/ds/2117", Path(path)
    folders = [root / f"clean_trainset_{name}wav" for name in ("28spk_", "")]
    layout = "clean_trainset_28spk_wav/p226_001.wav"
    spoken = _by_speaker(root, folders, layout, source)
    train, held = _hold_out(spoken, validation, "validation")
    test = _find([root / "clean_testset_wav"])
    return Corpus("voicebank", train, held, test, source, "CC BY 4.0", (11572, 824))


def speech_folder(
    path: str | os.PathLike[str],
    pattern: str = "**/*",
    *,
    validation: float | Sequence[str] = 0.1,
    test: float | Sequence[str] = 0.1,
) -> Corpus:
    """List a folder of one's own.

    A speaker is the folder that a file lies in or, where it lies in the folder itself, what its
    name begins with: p226 of p226_001.wav.

    Parameters
    ----------
    path
        The folder.
    pattern
        Which files, as ``Path.glob`` reads it; of those, the ones that are sound by their names.
    validation, test
        Names of speakers, of whom nothing is heard in training. Or shares, from 0 to 1, of the
        utterances (validation: of those not kept for the test), chosen by a hash of their names,
        which is the same on every machine; then speakers are heard in several parts.

    Raises
    ------
    InputError
        No such folder, no recording, a speaker that there is not, or none left to train on.
    """
    root = Path(path)
    files = root.glob(pattern) if root.is_dir() else []
    spoken = _utterances(files, root)
    if not spoken:
        raise _nothing(root, f"files of sound that match {pattern}", "give another path or pattern")
    rest, tested = _hold_out(spoken, test, "test")
    train, held = _hold_out(rest, validation, "validation")
    return Corpus(root.resolve().name, train, held, tested)


def _by_speaker(root: Path, folders: Iterable[Path], layout: str, source: str) -> list[Utterance]:
    """List what is in the first of some folders that is there; there must be something."""
    if found := _find(folders):
        return found
    if next(root.glob("**/*.wv1"), None):
        raise _nothing(root, f"{layout}, not .wv1", "convert them with sph2pipe -f wav")
    raise _nothing(root, layout, f"give a folder with the files of {source}")


def _find(folders: Iterable[Path]) -> list[Utterance]:
    """List the recordings of the first folder that is there."""
    folder = next((folder for folder in folders if folder.is_dir()), None)
    return _utterances(folder.glob("**/*"), folder) if folder else []


def _utterances(files: Iterable[Path], folder: Path) -> list[Utterance]:
    """Sort files of sound; a speaker is a folder in the folder, or what a name begins with."""
    sounds = [f for f in files if f.suffix.lower() in SOUNDS and not f.name.startswith(".")]
    speakers = [
        re.split("[_-]", f.stem)[0] if f.parent == folder else f.parent.name for f in sounds
    ]
    return sorted(Utterance(s, f.stem, f) for s, f in zip(speakers, sounds, strict=True))


def _hold_out(
    spoken: list[Utterance], chosen: float | Sequence[str], argument: str
) -> tuple[list[Utterance], list[Utterance]]:
    """Return what is left, and what was chosen: speakers, or a share of the utterances."""
    if isinstance(chosen, int | float):
        order = sorted(spoken, key=_mark)
        held = set(order[: round(chosen * len(spoken))])
    else:
        speakers = {utterance.speaker for utterance in spoken}
        if missing := set(chosen) - speakers:
            expected = f"some of {', '.join(sorted(speakers))}"
            raise InputError(argument, ", ".join(sorted(missing)), expected, "name speakers there")
        held = {utterance for utterance in spoken if utterance.speaker in chosen}
    if len(held) == len(spoken):
        found = f"{len(held)} of {len(spoken)} utterances held out"
        raise InputError(argument, found, "some to train on", "hold fewer out")
    return [u for u in spoken if u not in held], [u for u in spoken if u in held]


def _mark(utterance: Utterance) -> bytes:
    """Return a number without any pattern, of the names alone, the same on every machine."""
    return hashlib.blake2b(f"{utterance.speaker}/{utterance.name}".encode()).digest()


def _nothing(root: Path, expected: str, cure: str) -> InputError:
    found = "none of them" if root.is_dir() else "no such folder"
    return InputError(str(root), found, expected, cure)
