"""The sounds that separation and enhancement are trained and judged on.

Speech is AN4's (68 training speakers, 6 for validation, 5 for the test), the flute the
Philharmonia's (split by clip), noises the first 80 of the 100 nonspeech sounds: n1 to n60 to train,
n61 to n80 for the test. Everything is drawn by a seed; a set of another ratio has the same sounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from inference.randomness import derive
from ppl_models.data import (
    STFT,
    Corpus,
    Mix,
    Utterance,
    an4,
    looped,
    melodies,
    mix,
    noises,
    philharmonia,
    read_sound,
    sounds,
    stretches,
)
from ppl_models.data.speech import Readings

Part = Literal["train", "validation", "test"]
RATIOS = (-10.0, -5.0, 0.0, 5.0)
FRAMES = (50, 100, 300)
SEED = 0


class Noisy(NamedTuple):
    """An utterance in noise: the sum of both, and what kind of noise it is."""

    mixture: Tensor
    """(N,)."""
    speech: Tensor
    noise: Tensor
    kind: str
    name: str


@dataclass(frozen=True)
class SoundSets:
    """Folders ``an4``, ``flute``, ``nonspeech`` and ``voicebank_demand`` of a folder."""

    folder: Path

    @cached_property
    def corpus(self) -> Corpus:
        """AN4."""
        return an4(self.folder / "an4")

    @cached_property
    def flute(self) -> Corpus:
        """Clips of the flute."""
        return philharmonia(self.folder / "flute")

    @cached_property
    def nonspeech(self) -> Corpus:
        """Noises; the kind of each is its ``speaker``."""
        return noises(self.folder / "nonspeech")

    def speech(self, part: Part) -> Readings:
        """Utterances, trimmed, each with a largest modulus of 1."""
        return self._read(self.corpus, part)

    def notes(self, part: Part) -> Readings:
        """Clips, trimmed."""
        return self._read(self.flute, part, scale=False)

    def mixtures(self, part: Part, frames: int, ratio: float, count: int, seed: int = SEED) -> Mix:
        """Speech in a flute's melody, ``ratio`` dB above it, ``count`` sounds of ``frames``."""
        samples = STFT().samples(frames)
        said = stretches(self.speech(part), samples, count, seed=derive(seed, part, "s", frames))
        played = melodies(self.notes(part), samples, count, seed=derive(seed, part, "f", frames))
        return mix(said, played, ratio)

    def noisy(
        self, part: Part, ratio: float, count: int, among: Sequence[Utterance], seed: int = SEED
    ) -> list[Noisy]:
        """Utterances in noises ``among`` those given, by turns in an order of the seed.

        Utterances are drawn without replacement; a noise is heard from a random sample on.
        """
        rng = np.random.default_rng(derive(seed, part, "noisy"))
        said = self.speech(part)
        order, turns = rng.permutation(len(said))[:count], rng.permutation(len(among))
        waves = [read_sound(noise.file).wave for noise in among]
        return [
            _in_noise(said[i], among[turns[n % len(turns)]], waves[turns[n % len(turns)]], ratio, n)
            for n, i in enumerate(order.tolist())
        ]

    def voicebank_pairs(self) -> list[Noisy]:
        """Return the pairs of VoiceBank-DEMAND that are there; their noise is what is left over."""
        found = []
        for noisy in sorted((self.folder / "voicebank_demand").glob("noisy*.flac")):
            clean = read_sound(noisy.with_name(noisy.name.replace("noisy", "clean"))).wave
            wave = read_sound(noisy).wave
            length = min(len(clean), len(wave))
            clean, wave = clean[:length], wave[:length]
            found.append(Noisy(wave, clean, wave - clean, "VoiceBank", noisy.stem))
        return found

    def _read(self, corpus: Corpus, part: Part, scale: bool = True) -> Readings:
        kept = self.__dict__.setdefault("_sounds", {})
        if (corpus.name, part) not in kept:
            kept[corpus.name, part] = sounds(getattr(corpus, part), scale=scale)
        found: Readings = kept[corpus.name, part]
        return found


def training_powers(sets: SoundSets, frames: int, seed: int = SEED) -> dict[str, Tensor]:
    """Return so many frames of power, or fewer, of each class's training sounds, (T, F)."""
    stft, rng = STFT(), np.random.default_rng(derive(seed, "powers"))
    said, notes = sets.speech("train"), sets.notes("train")
    some = [said[i] for i in rng.permutation(len(said))]
    seconds = frames * stft.hop
    speech = _until(some, seconds)
    flute = melodies(notes, min(seconds, 160_000), -(-seconds // 160_000), seed=seed)
    powers = {"speech": [stft.power(w) for w in speech], "flute": [stft.power(w) for w in flute]}
    return {name: torch.cat(found)[:frames] for name, found in powers.items()}


def _until(waves: list[Tensor], samples: int) -> list[Tensor]:
    """Return the first sounds that are so many samples together, or all."""
    ends = np.cumsum([len(wave) for wave in waves])
    return waves[: int(np.searchsorted(ends, samples)) + 1]


def _in_noise(speech: Tensor, noise: Utterance, wave: Tensor, ratio: float, turn: int) -> Noisy:
    mixed = mix(speech, looped(wave, len(speech), seed=derive(SEED, "loop", turn)), ratio)
    return Noisy(mixed.mixture, mixed.parts[0], mixed.parts[1], noise.speaker, noise.name)
