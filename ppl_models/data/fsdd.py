"""The Free Spoken Digit Dataset: ten digits, six speakers, 3,000 recordings, as log-mel pictures.

Zohar Jackson and others, https://github.com/Jakobovski/free-spoken-digit-dataset, CC BY-SA 4.0,
8 kHz mono, half a second each, in files ``{digit}_{speaker}_{take}.wav`` (or ``.flac``). The bytes
are not part of this package: ``git clone`` that, and give `fsdd` its folder ``recordings``.
Reading them needs the extra ``[audio]``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from ppl_models.data.sound import read_sound
from ppl_models.data.stft import mel_filters
from ppl_models.errors import InputError

SOURCE = "https://github.com/Jakobovski/free-spoken-digit-dataset"
RATE = 8000  # samples a second
WINDOW, STEP, BINS = 256, 160, 512  # samples: 32 ms, every 20 ms, zero-padded to 64 ms
FLOOR = 60.0  # dB below the loudest cell of a recording: what is softer is as soft as that
_NAME = re.compile(r"(\d)_([a-z]+)_(\d+)\.(wav|flac)", re.IGNORECASE)


class SpokenDigits(NamedTuple):
    """Sounds (N, mels * frames), from 0 (60 dB below the loudest cell, or less) to 1; labels (N,).

    ``sounds.unflatten(-1, (mels, frames))`` has the lowest band first.
    """

    train_sounds: Tensor
    train_labels: Tensor
    test_sounds: Tensor
    test_labels: Tensor


class Take(NamedTuple):
    """One recording: what is said, by whom, which time, and where."""

    digit: int
    speaker: str
    number: int
    file: Path


def fsdd(
    path: str | os.PathLike[str],
    *,
    test: Literal["takes"] | Sequence[str] = "takes",
    mels: int = 32,
    frames: int = 32,
) -> SpokenDigits:
    """Read the recordings of a folder, and keep some for a test.

    Parameters
    ----------
    path
        The folder with the recordings, or the one that has it as ``recordings``.
    test
        ``"takes"``: takes 0 to 4 of each speaker and digit, the data set's own split. Or names of
        speakers, of whom nothing is heard in training.
    mels, frames
        Rows and columns of a picture: bands, and steps of 20 ms from the beginning. What is longer
        is cut, what is shorter is silent.

    Raises
    ------
    InputError
        No such folder, nothing to read in it, a speaker that there is not, or a damaged file.
    ImportError
        The package soundfile is missing.
    """
    takes = find_takes(path)
    speakers = {take.speaker for take in takes}
    chosen = () if test == "takes" else tuple(test)
    if missing := set(chosen) - speakers:
        expected = f"some of {', '.join(sorted(speakers))}"
        raise InputError("test", ", ".join(sorted(missing)), expected, "correct the name")
    kept = [take.number < 5 if test == "takes" else take.speaker in chosen for take in takes]
    if all(kept) or not any(kept):
        found = f"{sum(kept)} of {len(takes)} recordings to test on"
        raise InputError(str(path), found, "some to train on and some to test", "choose test=")
    sounds = torch.stack([log_mel(read(take.file), mels, frames).flatten() for take in takes])
    labels, held = torch.tensor([take.digit for take in takes]), torch.tensor(kept)
    return SpokenDigits(sounds[~held], labels[~held], sounds[held], labels[held])


def find_takes(path: str | os.PathLike[str]) -> list[Take]:
    """List the recordings of a folder by speaker, digit and take.

    Raises
    ------
    InputError
        There is no such folder, or no recording in it.
    """
    folder = Path(path)
    folder = folder / "recordings" if (folder / "recordings").is_dir() else folder
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    found = [(match, file) for file in files if (match := _NAME.fullmatch(file.name))]
    if not found:
        wrong = "no such folder" if not folder.is_dir() else f"{len(files)} files of other names"
        cure = f"git clone {SOURCE}, and give its folder recordings"
        raise InputError(str(folder), wrong, "files such as 7_jackson_32.wav", cure)
    takes = [Take(int(m[1]), m[2].lower(), int(m[3]), file) for m, file in found]
    return sorted(takes, key=lambda take: (take.speaker, take.digit, take.number))


def read(file: Path) -> Tensor:
    """Read the samples of one recording, (T,).

    Raises
    ------
    InputError
        It is damaged, empty, or not 8 kHz mono; named.
    ImportError
        The package soundfile is missing.
    """
    return read_sound(file, RATE, cure=f"fetch it again from {SOURCE}").wave


def log_mel(sound: Tensor, mels: int = 32, frames: int = 32) -> Tensor:
    """Return how loud each band is in each frame, (mels, frames), from 0 to 1.

    Power of the mel bands in dB below the loudest cell, cut at `FLOOR` and divided by it: 1 is the
    loudest cell, 0.5 is 30 dB below it, 0 is 60 dB below it or less.
    """
    length = WINDOW + (frames - 1) * STEP
    padded = torch.nn.functional.pad(sound[:length], (0, max(0, length - len(sound))))
    chunks = padded.unfold(0, WINDOW, STEP) * torch.hann_window(WINDOW)
    power = torch.fft.rfft(chunks, BINS).abs().square()  # (frames, BINS / 2 + 1)
    bands = mel_filters(mels, RATE, BINS // 2 + 1) @ power.T
    loudest = bands.max().clamp(min=torch.finfo(bands.dtype).tiny)
    decibels = 10 * (bands / loudest).clamp(min=10 ** (-FLOOR / 10)).log10()
    return decibels / FLOOR + 1
