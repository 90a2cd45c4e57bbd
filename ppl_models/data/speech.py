"""Speech to learn from: the utterances of a corpus as sounds, as spectrograms, and as tensors.

>>> corpus = an4("an4")  # or wsj0, voicebank, speech_folder
>>> powers = spectra(corpus.train, on_error="skip")  # a list of (T, F), one an utterance
>>> powers.skipped  # (utterance, what was wrong with its file)
[]
>>> pieces = chunks(powers, length=50)  # (N, 50, F), what is left over at the ends is dropped
>>> s, mask = padded(powers[:8])  # (8, T, F), (8, T): whole utterances, NaN behind the shorter
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, overload

import torch
from torch import Tensor

from ppl_models.data.corpora import Corpus, Utterance, an4, speech_folder, voicebank, wsj0
from ppl_models.data.sound import normalise, read_sound, trim
from ppl_models.data.stft import STFT
from ppl_models.errors import InputError
from ppl_models.inputs import check_count

__all__ = [
    "Corpus",
    "Readings",
    "Utterance",
    "an4",
    "chunks",
    "padded",
    "sounds",
    "spectra",
    "speech_folder",
    "voicebank",
    "wsj0",
]


class Readings(list[Tensor]):
    """What was read, a tensor an utterance.

    Attributes
    ----------
    utterances : list of Utterance
        Whose they are, in the same order.
    clipped : list of float
        Share of samples at full scale in each one's file.
    skipped : list of (Utterance, str)
        What could not be read, and why.
    """

    def __init__(self) -> None:
        super().__init__()
        self.utterances: list[Utterance] = []
        self.clipped: list[float] = []
        self.skipped: list[tuple[Utterance, str]] = []


def sounds(
    utterances: Iterable[Utterance],
    rate: int = 16000,
    *,
    trim_db: float | None = 30.0,
    scale: bool = True,
    resample: bool = False,
    channel: int | Literal["mix"] | None = None,
    on_error: Literal["raise", "skip"] = "raise",
) -> Readings:
    """Read utterances, without the silence around them and as loud as each other.

    Parameters
    ----------
    utterances
        Of a `Corpus`.
    rate, resample, channel
        As in `read_sound`.
    trim_db
        What is that much softer than the loudest part is cut off at both ends; None: nothing is.
    scale
        Divide each by its largest modulus.
    on_error
        Whether a file that cannot be read, or that is silent, ends it all, or is left out and
        listed in ``.skipped``.

    Returns
    -------
    Readings
        Sounds (N_i,).

    Raises
    ------
    InputError
        Nothing to read, or nothing readable; or a file, named, unless it is to be skipped.
    ImportError
        The package soundfile is missing.
    """

    def finish(wave: Tensor) -> Tensor:
        wave = wave if trim_db is None else trim(wave, trim_db)
        return normalise(wave) if scale else wave

    def read(utterance: Utterance) -> tuple[Tensor, float]:
        sound = read_sound(utterance.file, rate, channel=channel, resample=resample)
        try:
            return finish(sound.wave), sound.clipped
        except InputError as error:
            _, found, expected, cure = error.args
            raise InputError(str(utterance.file), found, expected, cure) from error

    return _read_all(utterances, read, on_error)


def spectra(
    utterances: Iterable[Utterance],
    stft: STFT = STFT(),  # noqa: B008 it is frozen
    *,
    trim_db: float | None = 30.0,
    scale: bool = True,
    resample: bool = False,
    channel: int | Literal["mix"] | None = None,
    on_error: Literal["raise", "skip"] = "raise",
) -> Readings:
    """Return the power spectra (T_i, F) of utterances; as `sounds`, at the rate of ``stft``."""
    found = sounds(
        utterances,
        stft.rate,
        trim_db=trim_db,
        scale=scale,
        resample=resample,
        channel=channel,
        on_error=on_error,
    )
    found[:] = [stft.power(wave) for wave in found]
    return found


@overload
def chunks(
    sequences: Sequence[Tensor],
    length: int = ...,
    hop: int | None = ...,
    *,
    pad: Literal[False] = ...,
) -> Tensor: ...
@overload
def chunks(
    sequences: Sequence[Tensor], length: int = ..., hop: int | None = ..., *, pad: Literal[True]
) -> tuple[Tensor, Tensor]: ...
def chunks(
    sequences: Sequence[Tensor], length: int = 50, hop: int | None = None, *, pad: bool = False
) -> Tensor | tuple[Tensor, Tensor]:
    """Cut sequences (T_i, F) into pieces of one length.

    Parameters
    ----------
    sequences
        At least one.
    length
        L, frames of a piece.
    hop
        Frames from the start of a piece to that of the next; ``length`` by default.
    pad
        What is left over at an end (or a sequence shorter than a piece) is dropped; or it is kept,
        with NaN behind it.

    Returns
    -------
    Tensor
        (N, L, F), in order. With ``pad`` also the mask (N, L) of the frames that there are.

    Raises
    ------
    InputError
        No piece is left, or a length or step below 1.
    """
    hop = length if hop is None else hop
    check_count("length", length)
    check_count("hop", hop)
    pieces = [
        sequence[start : start + length]
        for sequence in sequences
        for start in range(0, _starts(len(sequence), length, hop, pad), hop)
    ]
    if not pieces:
        found = f"{len(sequences)} sequences, all shorter than {length} frames"
        raise InputError("sequences", found, "a piece at least", "lessen length, or pad=True")
    return padded(pieces, length) if pad else torch.stack(pieces)


def padded(sequences: Sequence[Tensor], length: int | None = None) -> tuple[Tensor, Tensor]:
    """Put sequences (T_i, F) into one tensor (B, T, F), NaN behind the shorter ones.

    Returns
    -------
    s, mask : Tensor
        T is ``length``, or that of the longest; the mask (B, T) says which frames there are.

    Raises
    ------
    InputError
        There is none, or one is longer than ``length``.
    """
    longest = max(map(len, sequences), default=0)
    length = longest if length is None else length
    if not longest or longest > length:
        found = f"{len(sequences)} sequences, the longest of {longest} frames"
        raise InputError(
            "sequences", found, f"at most {length} frames", "cut them, or ask for more"
        )
    out = sequences[0].new_full((len(sequences), length, *sequences[0].shape[1:]), math.nan)
    mask = torch.zeros(len(sequences), length, dtype=torch.bool, device=out.device)
    for row, sequence in enumerate(sequences):
        out[row, : len(sequence)] = sequence
        mask[row, : len(sequence)] = True
    return out, mask


def _starts(frames: int, length: int, hop: int, pad: bool) -> int:
    """Return where pieces may no longer start: the next would add nothing, or be too short."""
    return min(max(frames - length + hop, 1), frames) if pad else max(frames - length + 1, 0)


def _read_all(
    utterances: Iterable[Utterance],
    read: Callable[[Utterance], tuple[Tensor, float]],
    on_error: Literal["raise", "skip"],
) -> Readings:
    """Read them all, the ones that cannot be read as ``on_error`` says."""
    if on_error not in ("raise", "skip"):
        raise InputError("on_error", str(on_error), '"raise" or "skip"', "choose one of them")
    found = Readings()
    for utterance in utterances:
        try:
            wave, clipped = read(utterance)
        except InputError as error:
            if on_error == "raise":
                raise
            found.skipped.append((utterance, str(error)))
            continue
        found.append(wave)
        found.utterances.append(utterance)
        found.clipped.append(clipped)
    if not found:
        reason = found.skipped[0][1] if found.skipped else "none"
        raise InputError("utterances", reason, "one at least", "give another part of the corpus")
    return found
