r"""Separate recordings: spectra, inference, sounds that add up to what was recorded.

A recording is brought to a largest modulus of 1, as those are that sources are trained on. A long
one is cut into pieces of 10 s that overlap by 1 s, and are cross-faded in the middle half of it
(`inference.tasks.separation.pieces`); sources keep their names from piece to piece. What the posterior means leave of a
bin (of little power where sources add up) goes to its sources by their shares, so that the sounds
add up to the recording.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from inference.randomness import derive
from inference.tasks.separation.owners import Ownership, own
from inference.tasks.separation.pieces import AT_ONCE, lay, level, samples, starts
from inference.tasks.separation.sources import Source, load_sources
from inference.tasks.separation.states import FreeLatents
from inference.tasks.separation.sums import Ascent, Posterior, ascend, filtered
from inference.tasks.speech import check_wave
from ppl_models.audio import BinMixture, SourceSum
from ppl_models.data.speech import padded
from ppl_models.data.stft import STFT
from ppl_models.errors import InputError
from ppl_models.likelihoods import bin_power, to_bins, to_complex

Share = Literal["own", "add"]


class Separation(NamedTuple):
    """A recording in its N sources."""

    names: tuple[str, ...]
    waves: Tensor
    """(N, samples): their sum is the recording."""
    mean: Tensor
    """(N, T, F) complex: E[s_n | o], in the units of the recording."""
    variance: Tensor
    """(N, T, F): E|s_n - mean|^2."""
    responsibilities: Tensor
    """(N, T, F): q(w = n) of each bin; where sources add up, their shares of expected power."""
    bound: Tensor
    """Nats of the recording brought to a largest modulus of 1, summed over pieces."""
    bound_error: Tensor
    """Standard error, from draws; NaN where the bound is an objective, and bounds nothing."""
    objective: Tensor
    """(iterations,): what was climbed."""
    rate: int


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
    whole = [_Whole(wave, len(found), stft) for wave in waves]
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


class _Piece(NamedTuple):
    """A piece's sounds (N, samples), and its posterior, without padding."""

    waves: Tensor
    mean: Tensor
    variance: Tensor
    shares: Tensor
    bound: Tensor
    bound_error: Tensor
    objective: Tensor


def _separate_batch(
    waves: Sequence[Tensor],
    sources: Sequence[Source],
    share: Share,
    settings: SeparationSettings,
    seeds: Sequence[int],
    progress: Callable[[int], None],
) -> list[_Piece]:
    """Separate some pieces, each of at most `PIECE` seconds."""
    stft = sources[0].stft
    spectra = [stft.analyse(wave) for wave in waves]
    rows, mask = padded([to_bins(x) for x in spectra])
    o = torch.where(mask[..., None], rows, 0.0)
    found = infer(o, mask, sources, share, settings, seeds, progress)
    return [
        _piece(found, b, wave, x, stft)
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
        FreeLatents(s.model, s.guide, start[:, n], mask, scale=settings.scale, gain=_gain(s, settings))
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
            v = [state.read(None, start[:, n]).variance for n, state in enumerate(states)]
            first = filtered(o, v, settings.add_noise)
    model = BinMixture(parts, noise=settings.own_noise)
    done = settings.add.iterations if settings.start == "add" else 0
    later = None if progress is None else lambda i: progress(done + i)
    return own(model, states, o, first, mask, settings.own, seed=seeds, progress=later)


def _gain(source: Source, settings: SeparationSettings) -> bool:
    """Whether a source has a gain: one that reads its own past has its own level already."""
    return settings.gain and not source.model.autoregressive


def _piece(found: Posterior, b: int, wave: Tensor, x: Tensor, stft: STFT) -> _Piece:
    """Return row b as sounds that add up to ``wave``, of spectra x (T, F)."""
    frames = len(x)
    mean = to_complex(found.mean[b, :, :frames])
    shares = found.shares[b, :, :frames]
    sounds = stft.invert(mean + shares * (x - mean.sum(0)), length=len(wave))
    sounds = sounds + (wave - sounds.sum(0)) / len(sounds)
    return _Piece(
        sounds,
        mean,
        found.variance[b, :, :frames],
        shares,
        found.bound[b],
        found.bound_error[b],
        found.objective[:, b],
    )


class _Whole:
    """A recording's answer, put together from pieces."""

    def __init__(self, wave: Tensor, sources: int, stft: STFT) -> None:
        self.stft, self.frames = stft, stft.frames(len(wave))
        like, size = wave.float(), (sources, self.frames, stft.bins)
        self.waves = like.new_zeros(sources, len(wave))
        self.mean = torch.zeros(size, dtype=torch.complex64)
        self.variance, self.shares = torch.zeros(size), torch.zeros(size)
        self.bound, self.square = torch.zeros(()), torch.zeros(())
        self.objective = torch.zeros(())

    def put(self, at: int, piece: _Piece) -> None:
        """Put in the piece that starts at a sample."""
        frame = at // self.stft.hop
        lay(self.waves, at, piece.waves, self.stft)
        # frames of the first half of what they share are the other piece's
        skip = samples(self.stft)[1] // self.stft.hop // 2 if at else 0
        rows = slice(frame + skip, frame + piece.mean.shape[1])
        self.mean[:, rows] = piece.mean[:, skip:].to(self.mean)
        self.variance[:, rows] = piece.variance[:, skip:]
        self.shares[:, rows] = piece.shares[:, skip:]
        self.bound = self.bound + piece.bound
        self.square = self.square + piece.bound_error**2
        self.objective = self.objective + piece.objective

    def finished(self, names: tuple[str, ...], wave: Tensor, level: float) -> Separation:
        """Return the answer in the units of the recording."""
        if not wave.any():
            silent = torch.zeros_like(self.mean), torch.zeros_like(self.variance)
            even = torch.full_like(self.shares, 1 / len(names))
            waves, rest = torch.zeros_like(self.waves), (self.bound, self.square.sqrt())
            return Separation(names, waves, *silent, even, *rest, self.objective, self.stft.rate)
        waves = level * self.waves
        waves = waves + (wave - waves.sum(0)) / len(names)
        return Separation(
            names,
            waves,
            level * self.mean,
            level**2 * self.variance,
            self.shares,
            self.bound,
            self.square.sqrt(),
            self.objective,
            self.stft.rate,
        )


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
