"""Single notes of an orchestra's instruments, and melodies made of them.

The Philharmonia Orchestra's sound samples: some 14,000 clips of twenty instruments, played by its
members, MP3 at 44.1 kHz, ``<instrument>_<pitch>_<length>_<dynamic>_<manner>.mp3``
(``flute_A4_025_forte_normal.mp3``: a quarter of a second; ``oboe_As4_very-long_...``: A sharp; a
length of ``phrase`` is a row of notes). https://philharmonia.co.uk/resources/sound-samples/: free
for any music, not to be sold or passed on as samples. No byte of them is part of this package.

>>> clips = philharmonia("flute")
>>> print(clips)
flute: 564 train, 71 validation, 70 test clips of 1, 1, 1 instruments
>>> notes = sounds(clips.train, scale=False)  # resample=True for the published files
>>> melodies(notes, samples=48000, size=8).shape
torch.Size([8, 48000])
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ppl_models.data.corpora import Corpus, Utterance
from ppl_models.data.speech import Readings
from ppl_models.errors import InputError
from ppl_models.inputs import check_count

SOURCE = "https://philharmonia.co.uk/resources/sound-samples/"
NOTE = 0.2, 1.5
"""Seconds that a melody holds a note, at least and at most; a shorter clip, as long as it is."""
FADE = 0.01
"""Seconds in which a note of a melody ends, while the next begins."""
SOFTEST = -6.0
"""dB: the softest peak of a note of a melody; the loudest is 0 dB."""
PHRASES = 0.3
"""Share of melodies that are a stretch of a phrase, where one is long enough."""

_NAME = re.compile(r"(?:([a-z-]+)_)?((?:[A-G]s?\d)?_[\w-]+_[\w-]+_[\w-]+)\.(?:wav|flac|ogg|mp3)")


def philharmonia(path: str | os.PathLike[str]) -> Corpus:
    """List the clips of one instrument or several, split by clip.

    Of an instrument's clips, sorted by name, every fifth (the first, the sixth, ...) is kept: of
    these by turns one for validation, one for the test. The parts share the player, the instrument
    and the room, not a recording.

    Parameters
    ----------
    path
        A folder with files named as they are published, in any folders below; where the name of a
        file does not begin with that of an instrument, it is that of the folder it lies in.

    Returns
    -------
    Corpus
        A clip is an `Utterance` of which the instrument is the ``speaker``.

    Raises
    ------
    InputError
        No such folder, or no clip in it.
    """
    root = Path(path)
    clips = sorted(_clips(root.glob("**/*")) if root.is_dir() else [])
    if not clips:
        found = "none of them" if root.is_dir() else "no such folder"
        expected = "flute_A4_025_forte_normal.mp3 (or .flac, .wav, .ogg), or without flute_"
        raise InputError(str(root), found, expected, f"give a folder with the files of {SOURCE}")
    train, validation, test = [], [], []
    for instrument in sorted({clip.speaker for clip in clips}):
        own = [clip for clip in clips if clip.speaker == instrument]
        kept = own[::5]
        train += [clip for n, clip in enumerate(own) if n % 5]
        validation += kept[::2]
        test += kept[1::2]
    name, licence = root.resolve().name, "free for any music, not to be passed on as samples"
    return Corpus(name, train, validation, test, SOURCE, licence, words=("clips", "instruments"))


def melodies(
    clips: Readings, samples: int, size: int = 1, *, rate: int = 16000, seed: int = 0
) -> Tensor:
    """Join single notes into melodies.

    A melody is, with probability `PHRASES`, a random stretch of a phrase (a clip with ``phrase`` in
    its name) that is long enough, as it was played. Otherwise it is a row of clips, each drawn at
    random, scaled to a peak of `SOFTEST` to 0 dB, cut to a length of `NOTE` seconds where it is
    longer, and cross-faded with the next over `FADE` seconds; it begins within its first note.

    Parameters
    ----------
    clips
        Of one instrument, as `sounds` reads them: without silence around them.
    samples
        N, length of a melody.
    size
        B, how many. The first melodies of a seed do not depend on it.
    rate
        Samples a second.
    seed
        Of every choice.

    Returns
    -------
    Tensor
        (B, N), peaks at most 1, except where two clips fade into each other.

    Raises
    ------
    InputError
        No note among the clips and no phrase that is long enough; or a length or number below 1.
    """
    check_count("samples", samples)
    check_count("size", size)
    named = [
        (clip.name.split("_"), wave) for clip, wave in zip(clips.utterances, clips, strict=True)
    ]
    fade = max(1, round(FADE * rate))
    notes = [w for name, w in named if "phrase" not in name and len(w) >= 2 * fade]
    phrases = [w for name, w in named if "phrase" in name and len(w) >= samples]
    if not notes and not phrases:
        found = f"{len(named)} clips, none of them a note of {2 * fade} samples or more"
        raise InputError("clips", found, "single notes", "give sounds(philharmonia(folder).train)")
    made = []
    for row in range(size):
        rng = np.random.default_rng((seed, row))
        if phrases and (not notes or rng.random() < PHRASES):
            made.append(_stretch(phrases[rng.integers(len(phrases))], samples, rng))
        else:
            made.append(_row_of_notes(notes, samples, rate, fade, rng))
    return torch.stack(made)


def _clips(files: Iterable[Path]) -> list[Utterance]:
    matches = ((file, _NAME.fullmatch(file.name)) for file in files)
    return [Utterance(m[1] or f.resolve().parent.name, m[2], f) for f, m in matches if m]


def _stretch(wave: Tensor, samples: int, rng: np.random.Generator) -> Tensor:
    start = int(rng.integers(len(wave) - samples + 1))
    return _levelled(wave, rng)[start : start + samples]


def _row_of_notes(
    notes: list[Tensor], samples: int, rate: int, fade: int, rng: np.random.Generator
) -> Tensor:
    out = torch.zeros(samples)
    rise = (torch.arange(fade) + 0.5) / fade
    at = -int(rng.integers(round(NOTE[0] * rate)))
    while at < samples:
        held = int(rng.uniform(*NOTE) * rate)
        note = _levelled(notes[rng.integers(len(notes))], rng)[: max(held, 2 * fade)].clone()
        note[:fade] *= rise
        note[-fade:] *= rise.flip(0)
        first, last = max(at, 0), min(at + len(note), samples)
        if last > first:
            out[first:last] += note[first - at : last - at]
        at += len(note) - fade
    return out


def _levelled(wave: Tensor, rng: np.random.Generator) -> Tensor:
    peak = wave.abs().max().clamp(min=torch.finfo(wave.dtype).tiny)
    return wave * (10 ** (rng.uniform(SOFTEST, 0) / 20) / peak)
