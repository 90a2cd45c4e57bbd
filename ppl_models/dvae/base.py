r"""What dynamical VAEs share: a sequence s_{1:T} is told frame by frame, and z_{1:T} with it.

General form (Girin et al. 2021, chapter 4), with a code w of the whole sequence where there is one:
p(w) prod_t p(z_t | s_{1:t-1}, z_{1:t-1}, w) p(s_t | s_{1:t-1}, z_{1:t}, w).

A model of the family is three short methods; everything else follows from them, and is here:

======================  ========================  ==========================================
method                  of                        gives
======================  ========================  ==========================================
``read(past)``          what came before frame t  h_t, what prior and emission share
``latent(h, past)``     h_t and the past          mean and scale of p(z_t | ...)
``frame(h, z, past)``   h_t, z_t and the past     what `likelihood` makes p(s_t | ...) of
======================  ========================  ==========================================

They are written for T frames at a time. Told *at once* (a density, teacher forcing), T is the whole
length and the past is the known sequence, shifted. Told *frame by frame* (`roll`: a simulation,
scheduled sampling, a closed loop), T is 1 and a `Memory` keeps the state of recurrent parts. One
text for both: they cannot disagree.

======  ==========================  ===========
site    batch shape                 event shape
======  ==========================  ===========
``z``   the plate ``data``          (T, L)
``s``   the plate ``data``          (T, D)
======  ==========================  ===========

References: L. Girin et al., "Dynamical variational autoencoders: a comprehensive review", 2021,
arXiv:2008.12595, chapter 4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyro
import torch
from torch import Tensor, nn

from ppl_models.dvae.conditionals import Told
from ppl_models.dvae.past import Memory, Past, Rolled, joined
from ppl_models.likelihoods import Likelihood, named
from ppl_models.sequences import Moments, check_paths, clean, draw, shift

__all__ = ["DynamicalVAE", "Memory", "Past", "Rolled"]


class DynamicalVAE(nn.Module):
    """What all models of the family share.

    Parameters
    ----------
    data_dim, latent_dim : int
        D and L.
    likelihood : str or Likelihood
        What a frame is, given the emission's outputs (`ppl_models.likelihoods`). None in models
        that have another way to tell frames.
    code_dim : int
        W, size of w; 0 for none.

    Attributes
    ----------
    feeds_back : bool
        Whether frames told before are read: autoregressive models.
    whole : bool
        Whether a frame depends on latents after it, so that it cannot be told before them.
    site, code : str
        Site names of the latent path and of w.
    sampling_probability : float
        Scheduled sampling: in training mode, the chance at each frame (one draw for the whole
        batch) that a frame the model told itself is read. 0 (default) is teacher forcing.
    sampling : callable, optional
        From a training step, that probability; `set_step` applies it.
    """

    feeds_back = False
    whole = False
    site = "z"
    code = "w"

    def __init__(
        self,
        data_dim: int,
        latent_dim: int,
        *,
        likelihood: str | Likelihood | None = "gaussian",
        code_dim: int = 0,
    ) -> None:
        super().__init__()
        self.data_dim, self.latent_dim, self.code_dim = data_dim, latent_dim, code_dim
        self.likelihood: Any = None if likelihood is None else named(likelihood, data_dim)
        self.feature_dim: int = getattr(self.likelihood, "feature_dim", data_dim)
        self.sampling_probability = 0.0
        self.sampling: Callable[[int], float] | None = None
        self._alone = False
        self._reading: tuple[Rolled, int] | None = None

    def forward(
        self,
        s: Tensor | None = None,
        mask: Tensor | None = None,
        *,
        size: int = 1,
        length: int = 50,
    ) -> Tensor:
        """Tell B sequences s (B, T, D), or simulate ``size`` of ``length`` frames.

        ``mask`` (B, T) says which frames exist, the first ones of each row; what stands in the
        others, NaN included, reaches neither value nor gradient.

        Raises
        ------
        InputError
            ``s`` is not (B, T, D), or the mask has a hole.
        """
        if s is not None:
            check_paths(s, mask, self.data_dim)
            size, length = s.shape[:2]
        with pyro.plate("data", size, dim=-1):
            return self.path(length, s, mask)[1]

    def path(
        self, length: int, s: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor | None, Tensor]:
        """Tell one sequence in each place of the enclosing plates; return (z, s)."""
        if s is not None:
            s = clean(s, mask)
            self.likelihood.check(s)
        told = Told(self, length, mask)
        told.w = pyro.sample(self.code, told.whole_code()) if self.code_dim else None
        told.z = pyro.sample("z", told.latent()) if self.latent_dim else None
        told.s = pyro.sample("s", told.frames(), obs=s)
        return told.z, told.s

    # What a model says ---------------------------------------------------------------------------

    def read(self, past: Past) -> Tensor | None:
        """Return h (..., T, H), what prior and emission share of the past."""
        return None

    def latent(self, h: Tensor | None, past: Past) -> Moments:
        """Return mean and scale (..., T, L) of z_t: by default, of a standard normal."""
        return torch.zeros_like(past.z), torch.ones_like(past.z)

    def frame(self, h: Tensor | None, z: Tensor, past: Past) -> Tensor:
        """Return the emission's outputs (..., T, likelihood.raw_dim)."""
        raise NotImplementedError

    # What follows --------------------------------------------------------------------------------

    def features(self, s: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return what networks read of frames s (..., T, D): (..., T, F), 0 at padding."""
        return clean(self.likelihood.features(clean(s, mask)), mask)

    def told_past(
        self,
        s: Tensor | None,
        z: Tensor,
        w: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Past:
        """Return the past of every frame of a known sequence; s (..., T, F) are its features."""
        before = z.new_zeros(()) if s is None else shift(s)
        return Past(before, shift(z), None if w is None else w[..., None, :], Memory(), mask)

    @torch.no_grad()
    def closed_loop(self, z: Tensor, w: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Return the emission's outputs for given latents, reading the frames that it tells itself.

        Shapes: z (..., T, L), w (..., W), mask (..., T) -> (..., T, likelihood.raw_dim). A frame
        told is taken to be `Likelihood.point`, not a draw.
        """
        if not self.feeds_back:
            past = self.told_past(None, z, w, mask)
            return self.frame(self.read(past), z, past)
        return self.roll(z.shape[:-2], z.shape[-2], w, z=z, point=True).raw

    def latent_path(self, batch: Sequence[int], length: int, w: Tensor | None = None) -> Tensor:
        """Draw z (*batch, T, L) of a model that does not feed back."""
        z: Tensor = self.roll(batch, length, w, frames=False).z
        return z

    def roll(
        self,
        batch: Sequence[int],
        length: int,
        w: Tensor | None = None,
        *,
        z: Tensor | None = None,
        latent: Callable[[int, Tensor | None, Past], Tensor] | None = None,
        told: Tensor | None = None,
        coins: Sequence[bool] | None = None,
        point: bool = False,
        frames: bool = True,
    ) -> Rolled:
        """Tell frame by frame, each from what was told before it.

        Parameters
        ----------
        batch, length
            (*batch) sequences of T frames.
        w
            (*batch, W).
        z
            (*batch, T, L), latents to use. Or ``latent(t, h_t, past)`` gives z_t, (..., 1, L). By
            default they are drawn from the prior.
        told, coins
            Features (..., T, F) of a true sequence, which is read in place of the frame told last
            at those frames whose coin is False; without coins, at all.
        point
            Feed back `Likelihood.point` in place of a draw. Gradients pass through it, so that a
            model learns what its frames do to those after them.
        frames
            Whether to tell frames at all, or latents alone.

        Raises
        ------
        RuntimeError
            Frames are asked for of a model whose frames read later latents.
        """
        if self.whole and frames:
            raise RuntimeError("no frame can be told before all latents are: roll(frames=False)")
        like = next(self.parameters())
        seen = like.new_zeros(*batch, 1, self.feature_dim)
        last = like.new_zeros(*batch, 1, self.latent_dim)
        memory, code = Memory(stepwise=True), None if w is None else w[..., None, :]
        truth = None if told is None else shift(told).split(1, -2)
        kept: list[tuple[Any, ...]] = []
        for t in range(length):
            if truth is not None and (coins is None or not coins[t]):
                seen = truth[t].expand(*batch, 1, -1)
            past = Past(seen, last, code, memory)
            h = self.read(past)
            if z is not None:
                last = z[..., t : t + 1, :]
            else:
                last = draw(self.latent(h, past)) if latent is None else latent(t, h, past)
            s = raw = None
            if frames:
                raw = self.frame(h, last, past)
                s = self.likelihood.point(raw) if point else self.likelihood(raw).sample()
                seen = self.likelihood.features(s)  # a draw has no gradient, a point has
            kept.append((h, last, s, raw))
        return Rolled(*(joined(part) for part in zip(*kept, strict=True)))

    def rolled_on(
        self, told: Tensor, batch: torch.Size, w: Tensor | None, **latents: Any
    ) -> Rolled:
        """Roll with scheduled sampling: each frame reads the truth, or what was told, by a coin."""
        length = told.shape[-2]
        if self._alone:
            return self.roll(batch, length, w, point=True, **latents)
        coins = (torch.rand(length) < self.sampling_probability).tolist()
        return self.roll(batch, length, w, told=told, coins=coins, point=True, **latents)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Read, for as long as this is entered, frames that the model told itself, and no others.

        A guide that reads the model's h_t then chooses latents for the `closed_loop`.
        """
        before, self._alone = self._alone, True
        try:
            yield
        finally:
            self._alone = before

    def set_step(self, step: int) -> None:
        """Before training step ``step``, let the schedule set the sampling probability."""
        if self.sampling is not None:
            self.sampling_probability = self.sampling(step)

    @property
    def scheduled(self) -> bool:
        """Whether frames that the model told itself are to be read now and then."""
        by_chance = self.training and self.sampling_probability > 0
        return self.feeds_back and (self._alone or by_chance)

    def leave(self, reading: Rolled) -> None:
        """Keep what a guide has read on its way to z, for the telling of this very z and s."""
        self._reading = reading, self._revision()

    def take(self, z: Tensor, s: Tensor) -> Rolled | None:
        """Return what a guide left for these two, once, if it would come out the same today."""
        left, self._reading = self._reading, None
        if left is None or left[1] != self._revision():
            return None
        rolled, grown = left[0], left[0].h is None or left[0].h.requires_grad
        if rolled.z is not z or not (rolled.s is s or torch.equal(rolled.s, s)):  # s: a clean copy
            return None
        return rolled if grown or not torch.is_grad_enabled() else None

    def _revision(self) -> int:
        return sum(tensor._version for tensor in (*self.parameters(), *self.buffers()))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_reading": None}  # graph tensors can be neither copied nor sent
