r"""Neural noise: networks that give the variances of noise beside speech, frame by frame.

============  =============================  ==================================
part          v_n,t depends on               networks
============  =============================  ==================================
`LVNoise`     z_{1:T}, the speech's latents  an LSTM each way
`NONoise`     x_{1:t-1}, the noisy powers    an LSTM, its inputs one frame late
`NOLVNoise`   x_{1:t-1} and z_{1:t}          an LSTM of each
============  =============================  ==================================

Then a layer of tanh units and log variances. Networks read and write log powers that are centred
and scaled (`ppl_models.likelihoods.ComplexBins`), where the paper's read powers as they are.

References
----------
Lin, Leglaive, Girin and Alameda-Pineda, "Unsupervised speech enhancement with deep dynamical
generative speech and noise models", Interspeech 2023, arXiv:2306.07820.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ppl_models.audio.smoothing import smoother_of
from ppl_models.dvae import Memory
from ppl_models.inputs import check_count
from ppl_models.likelihoods import ComplexBins, bin_power
from ppl_models.networks import LSTM
from ppl_models.sequences import clean, shift


class NeuralNoise(nn.Module):
    """What noise parts share.

    Parameters
    ----------
    bins, latent_dim : int
        F, and L of the speech's z.
    recurrent_dim, hidden_dim : int
        Of each LSTM, and of the layer after them.
    resolution : int
        Bins over which v_n is smooth, an odd number; 1, the paper's, leaves it free.

    Attributes
    ----------
    autoregressive : bool
        Whether v_n,t depends on noisy frames before t.

    Raises
    ------
    InputError
        A size below 1.
    """

    autoregressive = True
    directions = 1
    smoother: Tensor | None

    def __init__(
        self,
        bins: int,
        latent_dim: int,
        *,
        recurrent_dim: int = 128,
        hidden_dim: int = 128,
        resolution: int = 1,
    ) -> None:
        super().__init__()
        self.resolution = resolution
        self.register_buffer("smoother", smoother_of(bins, resolution), persistent=False)
        check_count("bins", bins)
        check_count("latent_dim", latent_dim)
        self.bins, self.latent_dim, self.recurrent_dim = bins, latent_dim, recurrent_dim
        self.likelihood = ComplexBins(bins)
        read_dim = self.directions * recurrent_dim
        self.head = nn.Sequential(
            nn.Linear(read_dim, hidden_dim), nn.Tanh(), nn.Linear(hidden_dim, bins)
        )

    def read(self, z: Tensor, before: Tensor, memory: Memory, mask: Tensor | None = None) -> Tensor:
        """Return what networks make of z and of features of x_{t-1}: (..., T, read_dim)."""
        raise NotImplementedError

    def variance(self, z: Tensor, power: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return v_n (..., T, F) from z (..., T, L) and noisy powers |x|^2 (..., T, F).

        Powers of frame t and later do not change row t.
        """
        features = clean(self.likelihood.reader(clean(power, mask)), mask)
        return self.emitted(self.read(z, shift(features), Memory(), mask))

    def emitted(self, read: Tensor) -> Tensor:
        """Return v_n (..., T, F) from the networks' outputs."""
        v = self.likelihood.variance(self.head(read))
        return v if self.smoother is None else v @ self.smoother

    def start_from(self, x: Tensor, mask: Tensor | None = None) -> NeuralNoise:
        """Take centre and spread of log powers from frames of bins x (..., 2 F); return self."""
        self.likelihood.start_from(x, mask)
        return self


class LVNoise(NeuralNoise):
    """v_n,t from all latents z_{1:T} of the speech."""

    autoregressive = False
    directions = 2

    def __init__(self, bins: int, latent_dim: int, **sizes: int) -> None:
        super().__init__(bins, latent_dim, **sizes)
        self.onward = LSTM(latent_dim, self.recurrent_dim)
        self.backward = LSTM(latent_dim, self.recurrent_dim, backward=True)

    def read(self, z: Tensor, before: Tensor, memory: Memory, mask: Tensor | None = None) -> Tensor:
        """Read z both ways."""
        return torch.cat([self.onward(z), self.backward(z, mask)], -1)


class NONoise(NeuralNoise):
    """v_n,t from the noisy powers x_{1:t-1}."""

    def __init__(self, bins: int, latent_dim: int, **sizes: int) -> None:
        super().__init__(bins, latent_dim, **sizes)
        self.recurrence = LSTM(bins, self.recurrent_dim)

    def read(self, z: Tensor, before: Tensor, memory: Memory, mask: Tensor | None = None) -> Tensor:
        """Read the noisy past."""
        return memory(self.recurrence, before.expand(*z.shape[:-1], self.bins))


class NOLVNoise(NeuralNoise):
    """v_n,t from the noisy powers x_{1:t-1} and the latents z_{1:t}."""

    directions = 2

    def __init__(self, bins: int, latent_dim: int, **sizes: int) -> None:
        super().__init__(bins, latent_dim, **sizes)
        self.recurrence = LSTM(bins, self.recurrent_dim)
        self.latent_recurrence = LSTM(latent_dim, self.recurrent_dim)

    def read(self, z: Tensor, before: Tensor, memory: Memory, mask: Tensor | None = None) -> Tensor:
        """Read the noisy past, and latents so far."""
        heard = memory(self.recurrence, before.expand(*z.shape[:-1], self.bins))
        return torch.cat([heard, memory(self.latent_recurrence, z)], -1)


def first_features(noise: NeuralNoise, like: Tensor) -> Tensor:
    """Return what is read before the first frame, (..., 1, F), for latents like (..., T, L)."""
    return like.new_zeros(*like.shape[:-2], 1, noise.bins)


def next_features(noise: NeuralNoise, x: Tensor) -> Tensor:
    """Return what is read of a frame of bins x (..., 1, 2 F) by the next one: (..., 1, F)."""
    features: Tensor = noise.likelihood.reader(bin_power(x))
    return features
