"""The recursion that dynamical VAEs share: h_t read from the past, s_t emitted from h_t and z_t.

Two forms of the same equations. *Teacher forced* (`read`): the path is known, and h_{1:T} comes
from one fused LSTM call. *Rolling* (`unroll`): each frame is drawn before the next one can be read;
so models simulate, and so scheduled sampling trains.

Scheduled sampling: S. Bengio et al., NeurIPS 2015, arXiv:1506.03099; in the form of X. Lin et al.,
"Mixture of dynamical variational autoencoders", TMLR 2023.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyro
import torch
from torch import Tensor, nn

from ppl_models.dvae.base import DynamicalVAE, Past
from ppl_models.dvae.motion import Motion
from ppl_models.likelihoods import Likelihood
from ppl_models.networks import LSTM, Conditional, ConditionalNormal
from ppl_models.sequences import check_paths, draw, shift


@dataclass(frozen=True)
class SamplingSchedule:
    """Chance of reading the model's own samples: 0 until step `begin`, then linear, 1 from `end`.

    The paper's is `SamplingSchedule(20 * n, 100 * n)` with n steps an epoch.
    """

    begin: int
    end: int

    def __call__(self, step: int) -> float:
        """Return the probability at a training step."""
        return min(1.0, max(0.0, (step - self.begin) / max(1, self.end - self.begin)))


class Reading(NamedTuple):
    """What a guide read on its way to z, left for the model that is told with it next."""

    z: Tensor
    past: Tensor
    h: Tensor  # (..., T, H)
    version: int  # of the parameters that read


class DVAE(DynamicalVAE):
    """What SRNN and DeepAR share: h_t read from the past, and s_t emitted from h_t (and z_t).

    Parameters
    ----------
    data_dim, latent_dim : int
        D and L, sizes of s_t and z_t; L = 0 for none.
    input_dim, recurrent_dim : int
        Sizes of the layer that reads s_{t-1}, and of h_t.
    emission_dims : sequence of int
        Hidden layers of the emission.
    increments, unit, inertia, start_scale
        See `Motion`: whether the networks read and write positions or what changed.
    floor : float
        Least standard deviation of s_t, in what the networks write.
    likelihood : str or Likelihood, optional
        Tell frames of any kind, as all of `DynamicalVAE` do, in place of a path in a frame of
        motion. ``past`` and ``from_past`` are of paths.

    With scheduled sampling, paths have h_t read at each frame, by a coin for the whole batch, from
    the truth or from a past that is all made up (X. Lin et al. 2023).
    """

    feeds_back = True

    def __init__(
        self,
        data_dim: int = 4,
        latent_dim: int = 0,
        *,
        input_dim: int = 4,
        recurrent_dim: int = 8,
        emission_dims: Sequence[int] = (16,),
        increments: bool = False,
        unit: float = 0.02,
        inertia: bool = False,
        start_scale: float = 0.5,
        floor: float = 0.0,
        likelihood: str | Likelihood | None = None,
    ) -> None:
        super().__init__(data_dim, latent_dim, likelihood=likelihood)
        self.recurrent_dim = recurrent_dim
        self.motion = Motion(
            data_dim, increments=increments, unit=unit, inertia=inertia, start_scale=start_scale
        )
        self.reader = nn.Sequential(nn.Linear(self.feature_dim, input_dim), nn.Tanh())
        self.recurrence = LSTM(input_dim, recurrent_dim)
        sizes = recurrent_dim, latent_dim, emission_dims
        self.emission: Any = (
            ConditionalNormal(*sizes, data_dim, floor=floor)
            if likelihood is None
            else Conditional(*sizes, self.likelihood.raw_dim)
        )
        self._read_h: Reading | None = None

    def forward(
        self,
        s: Tensor | None = None,
        mask: Tensor | None = None,
        past: Tensor | None = None,
        *,
        from_past: bool = True,
        size: int = 1,
        length: int = 60,
    ) -> Tensor:
        """Tell the model of B paths s (B, T, D), or simulate `size` of `length` frames.

        Parameters
        ----------
        s : Tensor, optional
        mask : Tensor of bool, optional
            (B, T), the frames that exist: the first ones of each path.
        past : Tensor, optional
            (B, T, D), what the networks read as s_{1:t-1} when they tell of s_t: an estimate of
            the path, where the path itself will not be at hand. By default s itself.
        from_past : bool
            Whether what a model of increments adds them to is the `past` too, or s_{t-1} itself.
        size, length : int
            Number and length of the paths simulated without s.
        """
        if s is not None:
            check_paths(s, mask, self.data_dim)
            size, length = s.shape[:2]
        with pyro.plate("data", size, dim=-1):
            return self.path(length, s, mask, past, from_past=from_past)[1]

    def path(
        self,
        length: int,
        s: Tensor | None = None,
        mask: Tensor | None = None,
        past: Tensor | None = None,
        *,
        from_past: bool = True,
    ) -> tuple[Tensor | None, Tensor]:
        """Tell one path in each place of the enclosing plates; return (z, s)."""
        if self.likelihood is not None:
            return super().path(length, s, mask)
        return self.moved(length, s, mask, past, from_past)

    def moved(
        self,
        length: int,
        s: Tensor | None,
        mask: Tensor | None,
        past: Tensor | None,
        from_past: bool,
    ) -> tuple[Tensor | None, Tensor]:
        """Tell a path in a frame of motion."""
        raise NotImplementedError

    def read(self, past: Past) -> Tensor:
        """h_t from s_{1:t-1}."""
        return past.memory(self.recurrence, self.reader(past.s))

    def frame(self, h: Tensor | None, z: Tensor, past: Past) -> Tensor:
        """s_t from h_t and z_t."""
        raw: Tensor = self.emission(h, z if self.latent_dim else None)
        return raw

    def draw_latent(self, h: Tensor, z: Tensor) -> Tensor:
        """Draw z_t (..., L) given h_t and z_{t-1}."""
        return z

    def read_moves(self, moves: Tensor) -> Tensor:
        """Return h_{1:T} (..., T, H) from moves (..., T, D): h_t has read those before t."""
        return self.recurrence(self.reader(shift(moves)))

    def unroll(
        self,
        batch: Sequence[int],
        length: int,
        latent: Callable[[int, Tensor, Tensor], Tensor],
        told: Tensor | None = None,
        coins: Sequence[bool] = (),
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Run the recursion on its own samples; return h, z and moves, each (*batch, T, .).

        `latent(t, h_t, z_{t-1})` gives z_t. With `told` (*batch, T, H), h_t is taken from there
        at the frames whose coin is False, and the samples fed back are detached.
        """
        motion, like = self.motion, self.motion.unit
        kept: list[tuple[Tensor, Tensor, Tensor]] = []
        move, z = like.new_zeros(*batch, self.data_dim), like.new_zeros(*batch, self.latent_dim)
        state, mean_move = self.recurrence.start(batch, like), move
        readings = [None] * length if told is None else told.unbind(-2)
        for t, reading in enumerate(readings):
            state = self.recurrence.step(self.reader(move), state)
            h = state[0] if reading is None or coins[t] else reading
            z = latent(t, h, z)
            mean, scale = self.emission(h, z)
            if motion.inertia:
                share, keep = motion.kept()
                mean_move = keep * mean_move + (1 - keep) * move
                mean = mean + share * mean_move
            move = draw((mean, scale))
            move = torch.zeros_like(move) if motion.increments and t == 0 else move
            move = move if reading is None else move.detach()
            kept.append((h, z, move))
        hs, zs, moves = (torch.stack(part, -2) for part in zip(*kept, strict=True))
        return hs, zs, moves

    def read_scheduled(
        self,
        batch: Sequence[int],
        moves: Tensor,
        latent: Callable[[int, Tensor, Tensor], Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Return h and z (*batch, T, .), h_t read now from the truth, now from sampled moves."""
        length, told = moves.shape[-2], self.read_moves(moves)
        coins = (torch.rand(length) < self.sampling_probability).tolist()
        return self.unroll(batch, length, latent, told.expand(*batch, *told.shape[-2:]), coins)[:2]

    def simulate(
        self, batch: Sequence[int], length: int, z: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draw z and s (*batch, T, .) jointly; or, with `z`, s given it."""
        given = None if z is None else z.expand(*batch, *z.shape[-2:]).unbind(-2)

        def latent(t: int, h: Tensor, last: Tensor) -> Tensor:
            return self.draw_latent(h, last) if given is None else given[t]

        _, zs, moves = self.unroll(batch, length, latent)
        return zs, self.motion.paths(moves, self.motion.start(torch.Size(batch)))

    def leave_h(self, z: Tensor, past: Tensor, h: Tensor) -> None:
        """Keep what a guide has read, for the next telling with this very z and past."""
        self._read_h = Reading(z, past, h, self._reading_version())

    def take_h(self, z: Tensor | None, past: Tensor) -> Tensor | None:
        """Return the h a guide left for these two, once, if it would come out the same today."""
        left, self._read_h = self._read_h, None
        if left is None or left.z is not z or left.past is not past:
            return None
        stale = left.version != self._reading_version()
        return None if stale or (torch.is_grad_enabled() and not left.h.requires_grad) else left.h

    def _reading_version(self) -> int:
        return sum(p._version for net in (self.reader, self.recurrence) for p in net.parameters())

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_read_h": None}  # graph tensors cannot be copied
