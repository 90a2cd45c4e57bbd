r"""Separate recordings: spectra, inference, sounds that add up to what was recorded.

A recording is brought to a largest modulus of 1, as those are that sources are trained on. A long
one is cut into pieces of 10 s that overlap by 1 s, and are cross-faded in the middle half of it
(`inference.tasks.separation.pieces`); sources keep their names from piece to piece.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from inference.randomness import derive
from inference.tasks.separation.owners import Ownership, own
from inference.tasks.separation.pieces import AT_ONCE, level, samples, starts
from inference.tasks.separation.sources import Source, load_sources
from inference.tasks.separation.states import FreeLatents
from inference.tasks.separation.sums import Ascent, Posterior, ascend, check_finite, filtered
from inference.tasks.separation.whole import Piece, Separation, Whole, piece_of
from inference.tasks.speech import check_wave
from ppl_models.audio import BinMixture, SourceSum
from ppl_models.data.speech import padded
from ppl_models.errors import InputError
from ppl_models.likelihoods import bin_power, to_bins

Share = Literal["own", "add"]


class SeparationSettings(NamedTuple):
    """How recordings are separated.

    Parameters
    ----------
    add : Ascent
        The ascent where sources add up; its answer is also where ``own`` starts.
    own : Ownership
        The ascent where each bin is one source's.
    start : {"add", "mixture"}
        Where ``own`` starts: at the answer of ``add``, or, as the paper does, at what each source
        makes of the whole recording.
    scale : float
        Standard deviation of latents' posteriors, at first.
    gain : bool
        Whether each source has a gain of its own in each recording.
    add_noise, own_noise : float
        Variance of what is no source's, a bin: where sources add up, of a recording whose largest
        modulus is 1; where a source owns the bin, as a share of the bin's power.
    """

    add: Ascent = Ascent()
    own: Ownership = Ownership()
    start: Literal["add", "mixture"] = "add"
    scale: float = 0.05
    gain: bool = True
    add_noise: float = 1e-7
    own_noise: float = 0.03


def separate(
    wave: Tensor,
    sources: Sequence[str | os.PathLike[str]],
    *,
    share: Share = "add",
    seed: int = 0,
    settings: SeparationSettings | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Separation:
    """Separate one recording (samples,); as `separate_many`."""
    return separate_many(
        [wave], sources, share=share, seed=seed, settings=settings, progress=progress
    )[0]


def separate_many(
    waves: Sequence[Tensor],
    sources: Sequence[str | os.PathLike[str]],
    *,
    share: Share = "add",
    seed: int = 0,
    settings: SeparationSettings | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Separation]:
    """Separate recordings (samples,) at the sources' rate, several in a batch.

    Parameters
    ----------
    waves : sequence of Tensor
        One channel each. Silence stays silence.
    sources : sequence of str or path
        Names that ship, or runs of `ppl fit-source`; one of a class may be given twice.
    share : {"add", "own"}
        Whether sources add up in a bin (`SourceSum`), or one of them owns it (`BinMixture`).
    seed : int
        A recording's answer is a function of it and of the seed, to rounding.
    settings : SeparationSettings, optional
    progress : callable, optional
        Called with iterations done, and how many there are.

    Raises
    ------
    InputError
        A recording is no sound, another ``share``, or sources that cannot be read.
    CheckpointError
        A source's file is damaged.
    NonFiniteError
        The ascent left finite numbers: the source that made them is named.
    """
    if share not in ("add", "own"):
        raise InputError("share", repr(share), "'add' or 'own'", "share='add'")
    found = load_sources(sources)
    for wave in waves:
        check_wave(wave)
    settings = settings or SeparationSettings()
    stft, levels = found[0].stft, [level(wave) for wave in waves]
    cut = [(i, at) for i, wave in enumerate(waves) for at in starts(len(wave), stft)]
    length = samples(stft)[0]
    pieces = [waves[i][at : at + length].float() / levels[i] for i, at in cut]
    seeds = [derive(seed, "piece", at) for _, at in cut]
    whole = [Whole(wave, len(found), stft) for wave in waves]
    count = _Count(settings, share, len(range(0, len(pieces), AT_ONCE)), progress)
    for first in range(0, len(pieces), AT_ONCE):
        some = slice(first, first + AT_ONCE)
        parts = _separate_batch(pieces[some], found, share, settings, seeds[some], count.step)
        count.next()
        for (i, at), part in zip(cut[some], parts, strict=True):
            whole[i].put(at, part)
    names = tuple(source.name for source in found)
    return [
        one.finished(names, wave, level)
        for one, wave, level in zip(whole, waves, levels, strict=True)
    ]


def _separate_batch(
    waves: Sequence[Tensor],
    sources: Sequence[Source],
    share: Share,
    settings: SeparationSettings,
    seeds: Sequence[int],
    progress: Callable[[int], None],
) -> list[Piece]:
    """Separate some pieces, each of at most `PIECE` seconds."""
    stft = sources[0].stft
    spectra = [stft.analyse(wave) for wave in waves]
    rows, mask = padded([to_bins(x) for x in spectra])
    o = torch.where(mask[..., None], rows, 0.0)
    found = infer(o, mask, sources, share, settings, seeds, progress)
    return [
        piece_of(found, b, wave, x, stft)
        for b, (wave, x) in enumerate(zip(waves, spectra, strict=True))
    ]


def infer(
    o: Tensor,
    mask: Tensor,
    sources: Sequence[Source],
    share: Share,
    settings: SeparationSettings,
    seeds: int | Sequence[int] = 0,
    progress: Callable[[int], None] | None = None,
    start: Tensor | None = None,
) -> Posterior:
    """Return the posterior of the sources of bins o (B, T, 2 F), mask (B, T).

    Encoders read ``start`` (B, N, T, F), powers of the sources; by default those of o.
    """
    power = bin_power(o)
    start = torch.stack([power] * len(sources), 1) if start is None else start
    states = [
        FreeLatents(
            s.model, s.guide, start[:, n], mask, scale=settings.scale, gain=_gain(s, settings)
        )
        for n, s in enumerate(sources)
    ]
    parts = {source.name: source.model for source in sources}
    total = SourceSum(parts, noise=settings.add_noise)
    if share == "add":
        return ascend(total, states, o, start, mask, settings.add, seed=seeds, progress=progress)
    if settings.start == "add":
        found = ascend(total, states, o, start, mask, settings.add, seed=seeds, progress=progress)
        first = found.mean, found.variance
    else:
        with torch.no_grad():
            readings = [state.read(None, start[:, n]) for n, state in enumerate(states)]
        check_finite(list(parts), readings, 0)
        first = filtered(o, [r.variance for r in readings], settings.add_noise)
    model = BinMixture(parts, noise=settings.own_noise)
    done = settings.add.iterations if settings.start == "add" else 0
    later = None if progress is None else lambda i: progress(done + i)
    return own(model, states, o, first, mask, settings.own, seed=seeds, progress=later)


def _gain(source: Source, settings: SeparationSettings) -> bool:
    """Whether a source has a gain: one that reads its own past has its own level already."""
    return settings.gain and not source.model.autoregressive


class _Count:
    """Iterations done, of all batches."""

    def __init__(
        self,
        settings: SeparationSettings,
        share: Share,
        batches: int,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self.each = settings.add.iterations
        if share == "own":
            first = self.each if settings.start == "add" else 0
            self.each = first + settings.own.iterations
        self.total, self.before, self.progress = batches * self.each, 0, progress

    def step(self, done: int) -> None:
        """Tell of an iteration."""
        if self.progress is not None:
            self.progress(self.before + done, self.total)

    def next(self) -> None:
        """Go on to the next batch."""
        self.before += self.each
