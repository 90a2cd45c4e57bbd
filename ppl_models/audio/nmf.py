r"""NMF: a sound whose power spectra are sums of K fixed spectra, each louder and softer over time.

::

    h_tk ~ Gamma(shape, rate)                          K activations a frame, independent
    s_tf ~ N_c(0, sum_k h_tk W_kf + floor)             complex bins

Rows of W (K, F) are positive and sum to one. Given h the powers |s|^2 are exponential, and the
likelihood is, but for terms without v, minus the Itakura-Saito divergence: maximising it is
Itakura-Saito NMF. ``shape`` = 1 makes activations exponential, that is sparse.

Sites: ``h`` (T, K) and ``s`` (T, 2 F), in the enclosing plates.

**Updates.** `update_activations` and `update_weights` each maximise a lower bound of
log p(s, h) that touches it at the present h and W (majorisation-minimisation), so that neither can
lower it. With A_tk = sum_f |s_tf|^2 W_kf / v_tf^2 and B_tk = sum_f W_kf / v_tf,

.. math:: h' = \frac{a + \sqrt{a^2 + 4 (B + \mathrm{rate}) A h^2}}{2 (B + \mathrm{rate})},
          \qquad a = \mathrm{shape} - 1,

which for ``shape`` = 1 and no rate is the multiplicative update with exponent 1/2. Rows of W keep
their sum by a Lagrange multiplier, found by bisection. All take a known ``rest`` (..., T, F): the
variance of other sources beside.

References
----------
Fevotte, Bertin and Durrieu, "Nonnegative matrix factorization with the Itakura-Saito divergence:
with application to music analysis", Neural Computation 2009.
Fevotte and Idier, "Algorithms for nonnegative matrix factorization with the beta-divergence",
Neural Computation 2011: the surrogate and its exponent 1/2.
"""

from __future__ import annotations

import math

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ppl_models.audio.parts import Latents, zero_mean
from ppl_models.audio.smoothing import smoother_of
from ppl_models.errors import InputError
from ppl_models.inputs import check_count, check_positive
from ppl_models.likelihoods import QUIET
from ppl_models.sequences import SequenceModel, clean, masked

TINY = 1e-30
"""Below any number that the updates divide by; float32 holds it."""
LEAST = 1e-12
"""Least activation: at 0 an activation would stay there, whatever the data."""


class NMF(SequenceModel):
    """Complex bins as a sum of K spectra with activations h.

    Parameters
    ----------
    bins : int
        F.
    num_components : int
        K.
    shape : float
        Of the gamma prior of activations; 1 is exponential. The rate is learned: `start_from`
        takes its scale from data.
    resolution : int
        Bins over which spectra are smooth: rows of W are averages of free ones U, under a Hann
        window of so many bins. An odd number; 1 leaves them free. Smooth spectra have no harmonics.

    Raises
    ------
    InputError
        A size below 1, or a shape that is not positive.
    """

    autoregressive = False
    smoother: Tensor | None

    def __init__(
        self, bins: int = 5, num_components: int = 3, *, shape: float = 1.0, resolution: int = 1
    ) -> None:
        super().__init__()
        check_count("bins", bins)
        check_count("num_components", num_components)
        self.bins, self.data_dim, self.num_components = bins, 2 * bins, num_components
        self.shape = check_positive("shape", shape)
        self.log_weights = nn.Parameter(torch.randn(num_components, bins))
        self.register_buffer("smoother", smoother_of(bins, resolution), persistent=False)
        self.log_rate = nn.Parameter(torch.zeros(()))

    @property
    def weights(self) -> Tensor:
        """W, (K, F): rows sum to one."""
        free = self.log_weights.softmax(-1)
        return free if self.smoother is None else free @ self.smoother

    @property
    def rate(self) -> Tensor:
        """Of the gamma prior of activations, ()."""
        return self.log_rate.exp()

    # The model -----------------------------------------------------------------------------------

    def path(
        self,
        length: int,
        s: Tensor | None = None,
        mask: Tensor | None = None,
        past: Tensor | None = None,
        *,
        observed: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Sample one sequence in each place of the enclosing plates; return h and s.

        Arguments are those of `SequenceModel.path`; ``past``, which dynamical VAEs have, is unread.
        """
        h = pyro.sample("h", self.activation_prior(length, mask))
        self.add_factor(h, mask)
        obs = None if s is None else clean(s, mask, observed)
        frames = zero_mean(self.variances({"h": h}), mask, observed)
        return h, pyro.sample("s", frames, obs=obs)

    def activation_prior(self, length: int, mask: Tensor | None) -> dist.TorchDistribution:
        """Return p(h), event (T, K)."""
        size = (length, self.num_components)
        gamma = dist.Gamma(torch.full_like(self.rate, self.shape), self.rate, validate_args=False)
        return masked(gamma.expand(size), mask).to_event(2)

    def add_factor(self, h: Tensor, mask: Tensor | None) -> None:
        """Add a factor to the prior of h: none here."""

    def variances(
        self, latents: Latents, s: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Return v (..., T, F) of activations ``h`` (..., T, K)."""
        return latents["h"] @ self.weights + QUIET

    # What is known of it -------------------------------------------------------------------------

    def log_joint(
        self, power: Tensor, h: Tensor, mask: Tensor | None = None, rest: Tensor | float = 0.0
    ) -> Tensor:
        """Return log p(s, h) (...), of bins of powers |s|^2 (..., T, F), in nats.

        ``rest`` (..., T, F) is variance beside that of this source: then s is the sum of all.
        """
        v, power = self.variances({"h": h}) + rest, clean(power, mask)
        fit = -(v.log() + power / v + math.log(math.pi)).sum(-1)
        a, rate = self.shape, self.rate
        prior = (a - 1) * h.log() - rate * h + a * rate.log() - math.lgamma(a)
        frames = fit + prior.sum(-1)
        frames = frames if mask is None else torch.where(mask, frames, 0.0)
        return frames.sum(-1) + self.log_factor(h, mask)

    def log_factor(self, h: Tensor, mask: Tensor | None) -> Tensor | float:
        """Return the log of what multiplies the gamma prior: (...)."""
        return 0.0

    @torch.no_grad()
    def activations(
        self,
        power: Tensor,
        mask: Tensor | None = None,
        *,
        iterations: int = 50,
        rest: Tensor | float = 0.0,
        h: Tensor | None = None,
    ) -> Tensor:
        """Return h (..., T, K) of greatest log p(h | s), nearly: that many updates from a start.

        The start ``h`` is by default the frame's power, equally shared.
        """
        power = clean(power, mask)
        if h is None:
            total = (power.sum(-1, keepdim=True) / self.num_components).clamp_min(LEAST)
            h = total.expand(*power.shape[:-1], self.num_components)
        for _ in range(iterations):
            h = self.update_activations(power, h, mask, rest)
        return h

    @torch.no_grad()
    def update_activations(
        self, power: Tensor, h: Tensor, mask: Tensor | None = None, rest: Tensor | float = 0.0
    ) -> Tensor:
        """Return better activations (..., T, K): log p(s, h) is not lower."""
        up, down = self._slopes(power, h, mask, rest)
        down, a = down + self.rate, self.shape - 1
        root = (a * a + 4 * down * up * h.square()).sqrt()
        return ((a + root) / (2 * down)).clamp_min(LEAST)

    @torch.no_grad()
    def update_weights(
        self, power: Tensor, h: Tensor, mask: Tensor | None = None, rest: Tensor | float = 0.0
    ) -> None:
        """Improve W in place: log p(s, h), summed over all sequences, is not lower."""
        v = self.variances({"h": h}) + rest
        power, h = clean(power, mask), clean(h, mask)
        flat = h.reshape(-1, h.shape[-1]).T
        up = flat @ (power / v.square()).reshape(-1, self.bins)
        down = flat @ (1 / v).reshape(-1, self.bins)
        if self.smoother is not None:
            up, down = up @ self.smoother.T, down @ self.smoother.T
        free = self.log_weights.softmax(-1)
        new = _on_simplex(free, up, down)
        used = up.sum(-1, keepdim=True) > TINY
        self.log_weights.copy_(torch.where(used, new, free).clamp_min(TINY).log())

    @torch.no_grad()
    def update_rate(self, h: Tensor, mask: Tensor | None = None) -> None:
        """Set the rate of greatest density of activations (..., T, K): shape over their mean."""
        kept = h if mask is None else h[mask.expand(h.shape[:-1])]
        self.log_rate.copy_((self.shape / kept.mean()).log())

    @torch.no_grad()
    def start_from(self, power: Tensor, mask: Tensor | None = None, *, seed: int = 0) -> NMF:
        """Start W at spectra of K frames of powers (..., T, F), drawn by seed; return self.

        The rate gets the scale of the data.

        Raises
        ------
        InputError
            They are no powers of F bins.
        """
        frames = power[mask] if mask is not None else power.reshape(-1, power.shape[-1])
        if frames.shape[-1] != self.bins or not len(frames) or not bool((frames >= 0).all()):
            found, cure = f"shape {tuple(power.shape)}", "give |STFT|^2, as STFT.power(wave)"
            raise InputError("power", found, f"powers (..., T, {self.bins}), at least 0", cure)
        generator = torch.Generator().manual_seed(seed)
        loud = (frames.sum(-1) + QUIET).cpu().sqrt()
        rows = torch.multinomial(loud, self.num_components, True, generator=generator)
        mean = frames.mean(0) + QUIET
        spectra = frames[rows.to(frames.device)] + 0.1 * mean
        spread = torch.rand(spectra.shape, generator=generator).to(spectra) + 0.5
        weights = spectra * spread / (spectra * spread).sum(-1, keepdim=True)
        self.log_weights.copy_(weights.log())
        self.log_rate.copy_((self.shape * self.num_components / mean.sum()).log())
        return self

    def _slopes(
        self, power: Tensor, h: Tensor, mask: Tensor | None, rest: Tensor | float
    ) -> tuple[Tensor, Tensor]:
        """Return A and B (..., T, K): what raises an activation, and what lowers it."""
        w = self.weights
        v = h @ w + QUIET + rest
        return (clean(power, mask) / v.square()) @ w.T, (1 / v) @ w.T


def _on_simplex(w: Tensor, up: Tensor, down: Tensor, steps: int = 60) -> Tensor:
    """Return the rows that maximise -up w^2 / w' - down w' and sum to one, by bisection.

    They are w sqrt(up / (down + multiplier)), with one multiplier a row.
    """
    up = up.clamp_min(TINY)
    floor = -down.amin(-1, keepdim=True)
    low = torch.maximum((up - down).amin(-1, keepdim=True), floor + 1e-6 * floor.abs() + TINY)
    high = torch.maximum((up - down).amax(-1, keepdim=True), low)
    for _ in range(steps):
        middle = 0.5 * (low + high)
        above = (w * (up / (down + middle)).sqrt()).sum(-1, keepdim=True) > 1
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    new = w * (up / (down + high)).sqrt()
    return new / new.sum(-1, keepdim=True)
