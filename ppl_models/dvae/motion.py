"""Paths and their frame of motion: what networks read and write, positions or what changed.

Reading increments makes a model the same everywhere in the picture, and lets a network that knows
nothing yet (all zeros out) tell of an object that stays where it is, or moves on as it did.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ppl_models.sequences import Moments, shift


class Motion(nn.Module):
    """The map between a path s (..., T, D) and its moves (..., T, D), which the networks see.

    ==============  =================================  ======================================
    increments      move_t                             p(s_t | past), from a net's (m, r)
    ==============  =================================  ======================================
    False           s_t                                N(m, r^2)
    True, t > 1     (s_t - s_{t-1}) / unit             N(s_{t-1} + unit (m + u_t), (unit r)^2)
    True, t = 1     0                                  N(0, start_scale^2), whatever the net says
    ==============  =================================  ======================================

    u_t is 0, or with `inertia` a share of the mean of the moves before t, recent ones counting
    more: u_t = share e_t, e_t = keep e_{t-1} + (1 - keep) move_{t-1}, e_1 = 0, with share and
    keep in (0, 1) learned for each of the D dims. Fast objects then go on at any speed, also where
    the nets, which are bounded, cannot follow.

    Parameters
    ----------
    data_dim : int
        D.
    increments, inertia : bool
    unit : float
        Size of a usual increment, a constant: moves are then of order 1.
    start_scale : float
        How far from the origin a path starts; wide, not learned.
    """

    unit: Tensor

    def __init__(
        self,
        data_dim: int,
        *,
        increments: bool,
        inertia: bool = False,
        unit: float = 0.02,
        start_scale: float = 0.5,
    ) -> None:
        super().__init__()
        if unit <= 0 or start_scale <= 0:
            raise ValueError(
                f"unit and start_scale must be positive, got {unit=} and {start_scale=}"
            )
        if inertia and not increments:
            raise ValueError("inertia keeps increments up: it needs increments=True")
        self.increments, self.inertia, self.start_scale = increments, inertia, start_scale
        self.register_buffer("unit", torch.full((data_dim,), unit if increments else 1.0))
        if inertia:
            self.share_logit = nn.Parameter(torch.full((data_dim,), 1.0))
            self.keep_logit = nn.Parameter(torch.full((data_dim,), 1.5))

    def moves(self, s: Tensor) -> Tensor:
        """Return the moves of a path."""
        if not self.increments:
            return s
        return torch.cat([torch.zeros_like(s[..., :1, :]), s.diff(dim=-2) / self.unit], -2)

    def paths(self, moves: Tensor, start: Tensor) -> Tensor:
        """Return the path that starts at `start` (..., D) and makes these moves."""
        if not self.increments:
            return moves
        return start[..., None, :] + self.unit * moves.cumsum(-2)

    def start(self, batch: torch.Size) -> Tensor:
        """Draw the first frame (*batch, D) of paths told by increments."""
        return self.start_scale * self.unit.new_empty(*batch, len(self.unit)).normal_()

    def kept(self) -> tuple[Tensor, Tensor]:
        """Return share and keep (D), with which moves go on."""
        return self.share_logit.sigmoid(), self.keep_logit.sigmoid()

    def carried(self, moves: Tensor) -> Tensor:
        """Return u (..., T, D): u_t from the moves before t."""
        share, keep = self.kept()
        frames = torch.arange(moves.shape[-2], device=moves.device)
        age = frames[:, None] - frames - 1  # of move j, seen from frame i
        weight = (1 - keep) * keep ** age.clamp_min(0)[..., None] * (age >= 0)[..., None]
        return share * torch.einsum("ijd,...jd->...id", weight, moves)

    def place(self, moments: Moments, s: Tensor) -> Moments:
        """Return the moments of s_t given its past from those of move_t, for all frames of s."""
        if not self.increments:
            return moments
        step, scale = moments[0], self.unit * moments[1]
        if self.inertia:
            step = step + self.carried(self.moves(s))
        mean = shift(s) + self.unit * step
        return (
            torch.cat([torch.zeros_like(mean[..., :1, :]), mean[..., 1:, :]], -2),
            torch.cat(
                [torch.full_like(scale[..., :1, :], self.start_scale), scale[..., 1:, :]], -2
            ),
        )
