"""The short-time Fourier transform: sound as a sequence of spectra, and back.

>>> stft = STFT()  # 16 kHz, windows of 64 ms every 16 ms
>>> wave = torch.randn(2, 16000)
>>> stft.analyse(wave).shape  # (..., frames, bins), complex
torch.Size([2, 64, 513])
>>> stft.invert(stft.analyse(wave), length=16000).allclose(wave, atol=1e-6)
True

Frame t is the spectrum of the samples around sample t * hop, under a sine window, zeros outside the
sound: frames are in dim -2 and frequencies in dim -1, as in every sequence (T, D) of this package.
There is a frame at or after the last sample, so that each sample lies between two centres, where
the squared windows never sum to less than 1: the inverse is exact at the edges too. A sound of
(T - 1) * hop samples has T frames.

The sine window, 64 ms and 16 ms are those of X. Bie et al., "A benchmark of dynamical variational
autoencoders applied to speech spectrogram modeling", arXiv:2106.06500.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from ppl_models.errors import InputError


@dataclass(frozen=True)
class STFT:
    """A sine window that moves on by a step of at most half its length.

    Parameters
    ----------
    rate : int
        Samples a second.
    window_ms, hop_ms : float
        Length of the window and of a step, milliseconds; whole numbers of samples, the window's
        even. The longer the window, the finer the frequencies.

    Raises
    ------
    InputError
        One of them is no number, not positive or no whole number of samples, or the step is too
        long.
    """

    rate: int = 16000
    window_ms: float = 64
    hop_ms: float = 16

    def __post_init__(self) -> None:
        for name in ("rate", "window_ms", "hop_ms"):
            value = getattr(self, name)
            kinds = (int,) if name == "rate" else (int, float)
            if not isinstance(value, kinds) or isinstance(value, bool) or not 0 < value < math.inf:
                kind = "a whole number" if name == "rate" else "a number"
                cure = "STFT(16000, 64, 16) are the usual ones"
                raise InputError(name, repr(value), f"{kind} above 0", cure)
        window, hop = self.rate * self.window_ms / 1000, self.rate * self.hop_ms / 1000
        if not (window % 2 == 0 and hop % 1 == 0 and 0 < 2 * hop <= window):
            found = f"a window of {window:g} samples every {hop:g} samples"
            expected = "an even window, a whole step, at most half a window"
            raise InputError("STFT", found, expected, "change window_ms or hop_ms")

    @property
    def window(self) -> int:
        """Length of the window, samples."""
        return round(self.rate * self.window_ms / 1000)

    @property
    def hop(self) -> int:
        """Length of a step, samples."""
        return round(self.rate * self.hop_ms / 1000)

    @property
    def bins(self) -> int:
        """F: frequencies from 0 to half the rate, rate / window Hz apart."""
        return self.window // 2 + 1

    def frames(self, samples: int) -> int:
        """Return T, the number of frames of so many samples."""
        return 1 + math.ceil(samples / self.hop)

    def samples(self, frames: int) -> int:
        """Return the most samples that have so many frames."""
        return (frames - 1) * self.hop

    def analyse(self, wave: Tensor) -> Tensor:
        """Return the complex spectra (..., T, F) of sounds (..., N); differentiable.

        Raises
        ------
        InputError
            ``wave`` holds no sample, or no floating-point numbers.
        """
        if not wave.is_floating_point() or not wave.ndim or not wave.numel():
            found = f"shape {tuple(wave.shape)} of {wave.dtype}"
            raise InputError("wave", found, "(..., N) floats, N at least 1", "read a sound first")
        rest = self.samples(self.frames(wave.shape[-1])) - wave.shape[-1]
        spectra = torch.stft(
            pad(wave.reshape(-1, wave.shape[-1]), (0, rest)),
            self.window,
            self.hop,
            window=self._sine(wave),
            pad_mode="constant",
            return_complex=True,
        )
        return spectra.mT.reshape(*wave.shape[:-1], -1, self.bins)

    def power(self, wave: Tensor) -> Tensor:
        """Return the squared moduli (..., T, F) of the spectra of sounds (..., N)."""
        spectra = self.analyse(wave)
        return spectra.real.square() + spectra.imag.square()

    def invert(self, spectra: Tensor, length: int | None = None) -> Tensor:
        """Return the sounds (..., N) whose spectra are nearest to these (..., T, F).

        Nearest in squares, as the spectra of a sound are not arbitrary (Griffin and Lim 1984):
        those of a sound give that sound.

        Parameters
        ----------
        spectra
            Complex.
        length
            N, with `frames(N)` equal to T; (T - 1) * hop by default.

        Raises
        ------
        InputError
            Another number of bins, real numbers, or a length of another number of frames.
        """
        shape = tuple(spectra.shape)
        if spectra.ndim < 2 or shape[-1] != self.bins or not spectra.is_complex():
            expected = f"(..., T, {self.bins}) complex numbers"
            found = f"shape {shape} of {spectra.dtype}"
            raise InputError("spectra", found, expected, "analyse with this STFT, or griffin_lim")
        most = self.samples(shape[-2])
        length = most if length is None else length
        if length < 1 or self.frames(length) != shape[-2]:
            expected = f"{max(1, most - self.hop + 1)} to {most} samples for {shape[-2]} frames"
            raise InputError("length", str(length), expected, "give the length that was analysed")
        wave = torch.istft(
            spectra.reshape(-1, *shape[-2:]).mT,
            self.window,
            self.hop,
            window=self._sine(spectra.real),
            length=most,
        )
        return wave[:, :length].reshape(*shape[:-2], length)

    def griffin_lim(
        self,
        power: Tensor,
        iterations: int = 60,
        momentum: float = 0.99,
        seed: int = 0,
        length: int | None = None,
    ) -> Tensor:
        """Return sounds (..., N) of which the power spectra are close to these (..., T, F).

        The fast algorithm of N. Perraudin, P. Balazs and P. L. Sondergaard, "A fast Griffin-Lim
        algorithm", WASPAA 2013: from random phases, in turn the spectra of a sound and the moduli
        that were asked for. Phases are guesses: the sound is not the one whose power was taken.

        Parameters
        ----------
        power
            Squared moduli, not negative.
        iterations
            0: random phases, inverted.
        momentum
            alpha of the paper; 0 is the algorithm of Griffin and Lim.
        seed
            Of the first phases.
        length
            As in `invert`.

        Raises
        ------
        InputError
            Numbers that are negative or not finite; or as in `invert`.
        """
        if not power.is_floating_point() or not power.isfinite().all() or (power < 0).any():
            found = "negative, complex or no numbers"
            raise InputError("power", found, "finite squared moduli", "give STFT.power(wave)")
        generator = torch.Generator().manual_seed(seed)
        turns = 2 * math.pi * torch.rand(power.shape, generator=generator, dtype=power.dtype)
        moduli = power.detach().sqrt()
        guess = torch.polar(moduli, turns.to(power.device))
        previous = torch.zeros_like(guess)
        for _ in range(iterations):
            possible = self.analyse(self.invert(guess))
            ahead = possible + momentum * (possible - previous)
            guess, previous = torch.polar(moduli, ahead.angle()), possible
        return self.invert(guess, length)

    def _sine(self, like: Tensor) -> Tensor:
        turns = torch.arange(self.window, dtype=torch.float64, device=like.device) + 0.5
        return (math.pi / self.window * turns).sin().to(like.dtype)


def mel_filters(mels: int, rate: int, bins: int) -> Tensor:
    """Return triangles of height 1, equally wide in mel = 2595 log10(1 + Hz / 700).

    Parameters
    ----------
    mels
        How many bands, from 0 to half the rate.
    rate
        Samples a second.
    bins
        F, frequencies of a spectrum, from 0 to half the rate.

    Returns
    -------
    Tensor
        (mels, F), each row rising from the centre of the band below to its own.
    """
    top = 2595 * torch.tensor(1 + rate / 2 / 700).log10()
    edges = 700 * (10 ** (torch.linspace(0, float(top), mels + 2) / 2595) - 1)
    hertz = torch.linspace(0, rate / 2, bins)
    low, centre, high = (edges[i : i + mels, None] for i in range(3))
    rise, fall = (hertz - low) / (centre - low), (high - hertz) / (high - centre)
    return torch.minimum(rise, fall).clamp(min=0)
