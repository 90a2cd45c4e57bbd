r"""Dynamical VAEs: a path s_{1:T} told frame by frame, with a latent path z_{1:T} (SRNN) or none.

General form (Girin et al. 2021): prod_t p(s_t | s_{1:t-1}, z_{1:t}) p(z_t | s_{1:t-1}, z_{1:t-1}).

::

    SRNN     s_{t-1} -> h_t = LSTM(s_{t-1}, h_{t-1})
             h_t, z_{t-1} -> z_t        z_t ~ N(prior(h_t, z_{t-1}))
             h_t, z_t     -> s_t        s_t ~ N(emission(h_t, z_t))
    DeepAR   h_t -> s_t                 s_t ~ N(emission(h_t))

======  ==========================  ===========
site    batch shape                 event shape
======  ==========================  ===========
``z``   the plates around `path`    (T, L)
``s``   the plates around `path`    (T, D)
======  ==========================  ===========

Told in two ways. With a ``likelihood``, frames are of any kind (sound, bits), and the two are
written like all models of `ppl_models.dvae.base`, as `read`, `latent`, `frame`. Without one, s is
the path of an object in a frame of motion (`ppl_models.dvae.motion`), Gaussian about where it was:
what tracking needs, with a posterior over s itself (`guides.dvae.motion_filter`).

z_t depends on the s before it and s_t on z_t, so neither site can be *drawn* before the other. But
a density is only asked for once the model is told: by then `ToldPath` (or
`ppl_models.dvae.conditionals.Told`) knows s, and both sites are scored in all frames at once
(teacher forcing).

References: M. Fraccaro et al., "Sequential neural models with stochastic layers", NeurIPS 2016
(SRNN); D. Salinas et al., "DeepAR", Int. J. Forecasting 2020; L. Girin et al., "Dynamical
variational autoencoders: a comprehensive review", 2021, arXiv:2008.12595; sizes and scheduled
sampling as in X. Lin et al., "Mixture of dynamical variational autoencoders", TMLR 2023.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import pyro
import torch
from torch import Tensor

from ppl_models.distributions import AutoregressiveNormal
from ppl_models.dvae.base import Past
from ppl_models.dvae.motion_recurrence import DVAE, SamplingSchedule
from ppl_models.networks import ConditionalNormal
from ppl_models.sequences import Moments, clean, draw, shift

__all__ = ["DVAE", "SRNN", "DeepAR", "ToldPath", "SamplingSchedule"]


class DeepAR(DVAE):
    """Autoregressive model without latents: s_t ~ N(emission(h_t)), h_t = LSTM(s_{t-1}, h_{t-1}).

    Parameters are those of `DVAE`, without a latent dim.
    """

    def __init__(self, data_dim: int = 4, **options: Any) -> None:
        super().__init__(data_dim, 0, **options)

    def moved(
        self,
        length: int,
        s: Tensor | None,
        mask: Tensor | None,
        past: Tensor | None,
        from_past: bool,
    ) -> tuple[None, Tensor]:
        """Tell one path in each place of the enclosing plates; return (None, s)."""
        told = ToldPath(self, length, mask, past, from_past)
        s = pyro.sample("s", told.observed(None), obs=s)
        told.tell(None, s)
        return None, s


class SRNN(DVAE):
    """Stochastic recurrent network: DeepAR, with a latent z_t ~ N(prior(h_t, z_{t-1})) a frame.

    The defaults are the tracking paper's model of one object, 1,540 parameters with its guide;
    `benchmarks.speech` has the sizes of the speech papers.

    Parameters
    ----------
    data_dim, latent_dim : int
        D and L.
    prior_dims : sequence of int
        Hidden layers of the prior.
    **options
        Those of `DVAE`.
    """

    def __init__(
        self,
        data_dim: int = 4,
        latent_dim: int = 4,
        *,
        prior_dims: Sequence[int] = (8, 8),
        **options: Any,
    ) -> None:
        super().__init__(data_dim, latent_dim, **options)
        self.prior = ConditionalNormal(self.recurrent_dim, latent_dim, prior_dims, latent_dim)

    def moved(
        self,
        length: int,
        s: Tensor | None,
        mask: Tensor | None,
        past: Tensor | None,
        from_past: bool,
    ) -> tuple[Tensor, Tensor]:
        """Tell one path in each place of the enclosing plates; return (z, s)."""
        told = ToldPath(self, length, mask, past, from_past)
        z = pyro.sample("z", told.latent())
        s = pyro.sample("s", told.observed(z), obs=s)
        told.tell(z, s)
        return z, s

    def latent(self, h: Tensor | None, past: Past) -> Moments:
        """z_t from h_t and z_{t-1}."""
        moments: Moments = self.prior(h, past.z)
        return moments

    def draw_latent(self, h: Tensor, z: Tensor) -> Tensor:
        """Draw z_t (..., L) given h_t and z_{t-1}."""
        return draw(self.prior(h, z))


class ToldPath:
    """What is told so far in a telling: z and s once they are, and h read from the past.

    The two sites' distributions hang on it. Asked to draw z, it runs the joint recursion and keeps
    the s that came along for the site of s; asked for a density, it needs `tell` to have been
    called with the values that the sites took, be they drawn, replayed from a guide, or observed.
    """

    def __init__(
        self,
        model: DVAE,
        length: int,
        mask: Tensor | None = None,
        past: Tensor | None = None,
        from_past: bool = True,
    ) -> None:
        self.model, self.length, self.mask, self.past = model, length, mask, past
        self.given, self.from_past = past is not None, from_past
        self.drawn: tuple[Tensor, Tensor] | None = None
        self._h: Tensor | None = None

    def latent(self) -> AutoregressiveNormal:
        """Return prod_t p(z_t | s_{1:t-1}, z_{t-1}), event (T, L)."""
        shape = (self.length, self.model.latent_dim)
        return AutoregressiveNormal(self._prior, self._draw_z, shape, mask=self.mask)

    def observed(self, z: Tensor | None) -> AutoregressiveNormal:
        """Return prod_t p(s_t | s_{1:t-1}, z_t), event (T, D)."""
        shape, emission = (self.length, self.model.data_dim), partial(self._emission, z)
        return AutoregressiveNormal(emission, partial(self._draw_s, z), shape, mask=self.mask)

    def tell(self, z: Tensor | None, s: Tensor) -> None:
        """Say which values the sites took."""
        past = s if self.past is None or not self.given else self.past
        self.past, self._h = past, self.model.take_h(z, past)

    def hidden(self) -> Tensor:
        """Return h (..., T, H), read from the past."""
        if self.past is None:
            raise RuntimeError("z can be scored only once s is told: call tell(z, s)")
        if self._h is None:
            self._h = self._read(self.past)
        return self._h

    def _read(self, past: Tensor) -> Tensor:
        model, moves = self.model, self.model.motion.moves(clean(past, self.mask))
        if model.scheduled and not model.latent_dim:
            return model.read_scheduled(moves.shape[:-2], moves, lambda t, h, z: z)[0]
        return model.read_moves(moves)

    def _prior(self, z: Tensor) -> Moments:
        return self.model.prior(self.hidden(), shift(z))  # type: ignore[operator]

    def _emission(self, z: Tensor | None, s: Tensor) -> Moments:
        past = s if self.past is None or not self.given else self.past
        h = self.hidden() if past is self.past else self._read(past)
        base = clean(past if self.from_past else s, self.mask)
        return self.model.motion.place(self.model.emission(h, z), base)

    def _draw_z(self, batch: torch.Size) -> Tensor:
        self.drawn = self.model.simulate(batch, self.length)
        return self.drawn[0]

    def _draw_s(self, z: Tensor | None, batch: torch.Size) -> Tensor:
        if self.drawn is not None and self.drawn[0] is z and self.drawn[1].shape[:-2] == batch:
            return self.drawn[1]
        return self.model.simulate(batch, self.length, z)[1]
