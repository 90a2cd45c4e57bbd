"""Mixtures of sounds: two at a ratio, stretches of a speaker, noise without end; a set of noises.

>>> voice = stretches(sounds(an4("an4").test), samples=25344, size=30)
>>> music = melodies(sounds(philharmonia("flute").test, scale=False), samples=25344, size=30)
>>> mixed = mix(voice, music, ratio=-5.0)  # the voice 5 dB below the music
>>> mixed.mixture.allclose(mixed.parts.sum(1))
True

`noises` lists G. Hu's 100 nonspeech sounds (crowd, machines, alarms, traffic, animals, water, wind,
bells, and what people do but talk): N1.wav to N100.wav, 16 and 20 kHz, a quarter of a second to
half a minute each, for research and study,
http://web.cse.ohio-state.edu/pnl/corpus/HuNonspeech/HuCorpus.html; described in G. Hu and D. L.
Wang, "A tandem algorithm for pitch estimation and voiced speech segregation", IEEE Transactions on
Audio, Speech, and Language Processing 2010. No byte of them is part of this package.
"""

from __future__ import annotations

import bisect
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ppl_models.data.corpora import Corpus, Utterance
from ppl_models.data.speech import Readings
from ppl_models.errors import InputError
from ppl_models.inputs import check_count

SOURCE = "http://web.cse.ohio-state.edu/pnl/corpus/HuNonspeech/HuCorpus.html"
KINDS = {
    1: "crowd",
    18: "machine",
    30: "alarm",
    44: "traffic",
    47: "animal",
    56: "water",
    70: "wind",
    79: "bell",
    83: "cough",
    86: "clap",
    87: "snore",
    88: "click",
    89: "laugh",
    91: "yawn",
    93: "cry",
    94: "shower",
    95: "tooth brushing",
    96: "footsteps",
    98: "door",
    99: "telephone",
}
"""The kinds of the 100 sounds, by the first number of each, as the collection's page lists them.

Checked here: spectra of the first 80 by kind (water is flat, wind low, bells are tones), and the
cry, N93, which others name so too. Alarms and sirens are one kind.
"""
SOFT = 1e-5
"""Mean square of what `stretches` takes for a pause, of sounds with a largest modulus of 1."""
TRIES = 1000
"""How often `stretches` draws one before it gives up."""

_NAME = re.compile(r"n(\d+)\.(?:wav|flac|ogg)", re.IGNORECASE)


class Mix(NamedTuple):
    """Sounds that were added up."""

    mixture: Tensor
    """(..., N): the sum of the parts."""
    parts: Tensor
    """(..., 2, N): the first, and the second."""


def mix(first: Tensor, second: Tensor, ratio: float, *, scale: bool = True) -> Mix:
    """Add two sounds, the second scaled so that the first is ``ratio`` dB louder.

    Parameters
    ----------
    first, second
        (..., N).
    ratio
        10 log10 of the ratio of their mean squares, dB.
    scale
        Divide the mixture, and its parts with it, by its largest modulus.

    Raises
    ------
    InputError
        Two shapes; or one that is silent, or not finite, so that no factor gives the ratio.
    """
    if first.shape != second.shape or not first.numel():
        found = f"shapes {tuple(first.shape)} and {tuple(second.shape)}"
        raise InputError("second", found, "two equal shapes (..., N)", "cut both to one length")
    powers = [wave.square().mean(-1, keepdim=True) for wave in (first, second)]
    for name, power in zip(("first", "second"), powers, strict=True):
        if not (power.isfinite() & (power > 0)).all():
            found = "silence, or numbers that are not finite"
            raise InputError(name, found, "a sound", "leave it out")
    second = second * ((powers[0] / powers[1]).sqrt() * 10 ** (-ratio / 20))
    parts = torch.stack([first, second], -2)
    if scale:
        parts = parts / parts.sum(-2, keepdim=True).abs().amax(-1, keepdim=True)
    return Mix(parts.sum(-2), parts)


def stretches(speech: Readings, samples: int, size: int = 1, *, seed: int = 0) -> Tensor:
    """Draw stretches of speech, (size, samples), each of one speaker.

    A random utterance, with others of the same speaker behind it where it is too short, cut at
    random. A stretch that is a pause (a mean square below `SOFT`) is drawn again.

    Parameters
    ----------
    speech
        As `sounds` reads them: with a largest modulus of 1.
    samples, size
        N, and how many. The first stretches of a seed do not depend on ``size``.
    seed
        Of every choice.

    Raises
    ------
    InputError
        There is no speech, or only pauses; or a length or number below 1.
    """
    check_count("samples", samples)
    check_count("size", size)
    if not speech or not any(wave.square().mean() >= SOFT for wave in speech):
        found = f"{len(speech)} utterances, none louder than a pause"
        raise InputError("speech", found, "speech", "read it with sounds(corpus.test)")
    speakers = [utterance.speaker for utterance in speech.utterances]
    rows = (np.random.default_rng((seed, row)) for row in range(size))
    return torch.stack([_stretch(speech, speakers, samples, rng) for rng in rows])


def looped(noise: Tensor, samples: int, *, seed: int = 0) -> Tensor:
    """Return so many samples of a noise (N,), from a random one on, again from its start.

    Raises
    ------
    InputError
        The noise is empty; or a length below 1.
    """
    check_count("samples", samples)
    if not noise.numel():
        raise InputError("noise", "no samples", "a sound (N,)", "leave it out")
    start = int(np.random.default_rng(seed).integers(len(noise)))
    return noise.repeat(-(-(start + samples) // len(noise)))[start : start + samples]


def noises(path: str | os.PathLike[str], first_test: int = 61) -> Corpus:
    """List the 100 nonspeech sounds, or those of them that are there.

    Parameters
    ----------
    path
        A folder with N1.wav, N2.wav, ...; names in small letters, and .flac, are read too.
    first_test
        Number of the first sound that is kept for the test.

    Returns
    -------
    Corpus
        In the order of their numbers; a sound is an `Utterance` whose ``speaker`` is its kind, of
        `KINDS`.

    Raises
    ------
    InputError
        No such folder, or none of the sounds in it.
    """
    root = Path(path)
    files = root.glob("**/*") if root.is_dir() else []
    numbered = sorted((int(m[1]), f) for f in files if (m := _NAME.fullmatch(f.name)))
    if not numbered:
        found = "none of them" if root.is_dir() else "no such folder"
        raise InputError(str(root), found, "N1.wav, N2.wav, ...", f"fetch them from {SOURCE}")
    train = [Utterance(kind(n), f"n{n}", f) for n, f in numbered if n < first_test]
    test = [Utterance(kind(n), f"n{n}", f) for n, f in numbered if n >= first_test]
    words = ("sounds", "kinds")
    return Corpus("nonspeech", train, [], test, SOURCE, "for research and study", words=words)


def kind(number: int) -> str:
    """Return what the sound of that number is, as `KINDS` says.

    Raises
    ------
    InputError
        A number that is not from 1 to 100.
    """
    if not 1 <= number <= 100:
        raise InputError("number", str(number), "1 to 100", "give the number of a file's name")
    starts = sorted(KINDS)
    return KINDS[starts[bisect.bisect_right(starts, number) - 1]]


def _stretch(
    speech: Sequence[Tensor], speakers: Sequence[str], samples: int, rng: np.random.Generator
) -> Tensor:
    for _ in range(TRIES):
        wave = _joined(speech, speakers, samples, rng)
        start = int(rng.integers(len(wave) - samples + 1))
        if wave[start : start + samples].square().mean() >= SOFT:
            return wave[start : start + samples]
    found = f"{TRIES} stretches of {samples} samples, each of them a pause"
    raise InputError("speech", found, "speech", "read it with sounds(corpus.test)")


def _joined(
    speech: Sequence[Tensor], speakers: Sequence[str], samples: int, rng: np.random.Generator
) -> Tensor:
    """Return an utterance, and others of its speaker behind it, of so many samples or more."""
    chosen = [int(rng.integers(len(speech)))]
    same = [i for i, name in enumerate(speakers) if name == speakers[chosen[0]]]
    while sum(len(speech[i]) for i in chosen) < samples:
        chosen.append(same[rng.integers(len(same))])
    return torch.cat([speech[i] for i in chosen])
