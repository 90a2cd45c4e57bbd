r"""The likelihood of the path of an object: its frames are Gaussian about where the object was.

Networks that read and write increments see the same numbers everywhere in the picture, and a
network that knows nothing yet (all outputs zero) predicts that an object stays where it is, or with
inertia that it moves on as it did.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn
from torch.nn.functional import pad

from ppl_models.distributions import HALF_LOG_2PI
from ppl_models.dvae.past import Past
from ppl_models.likelihoods import Likelihood
from ppl_models.sequences import Moments


class Motion(Likelihood):
    r"""p(s_t | s_{1:t-1}), from an emission's outputs: a mean m and a log variance of move_t.

    r^2 = exp(log variance) + floor^2. The features of a path are its moves.

    ==============  =================================  ======================================
    increments      move_t                             p(s_t | past)
    ==============  =================================  ======================================
    False           s_t                                N(m, r^2)
    True, t > 1     (s_t - s_{t-1}) / unit             N(s_{t-1} + unit (m + u_t), (unit r)^2)
    True, t = 1     0                                  N(0, start_scale^2), whatever the outputs
    ==============  =================================  ======================================

    u_t is 0, or with `inertia` a share of an average of the moves before t (`Inertia`).

    Parameters
    ----------
    data_dim : int
        D.
    increments, inertia : bool
    unit : float
        Size of a usual increment, a constant: moves are then of order 1.
    start_scale : float
        Standard deviation of the first frame about the origin; wide, not learned.
    floor : float
        Least r.

    Raises
    ------
    ValueError
        ``unit`` or ``start_scale`` is not positive, ``start_scale`` is not above the least standard
        deviation of an increment, or ``inertia`` is asked for without increments.
    """

    unit: Tensor

    def __init__(
        self,
        data_dim: int = 4,
        *,
        increments: bool = False,
        inertia: bool = False,
        unit: float = 0.02,
        start_scale: float = 0.5,
        floor: float = 0.0,
    ) -> None:
        super().__init__(data_dim, 2 * data_dim)
        if unit <= 0 or start_scale <= 0:
            raise ValueError(
                f"unit and start_scale must be positive, got {unit=} and {start_scale=}"
            )
        if inertia and not increments:
            raise ValueError("inertia keeps increments up: it needs increments=True")
        unit = unit if increments else 1.0
        if increments and start_scale <= unit * floor:
            raise ValueError(f"start_scale must be above unit * floor, got {start_scale=}")
        self.increments = self.reads_past = increments
        self.floor, self.start_scale = floor, start_scale
        self.inertia = Inertia(data_dim) if inertia else None
        self.register_buffer("unit", torch.full((data_dim,), unit))

    def given(self, raw: Tensor, past: Past) -> Tensor:
        """Return mean and log variance, less floor, of s_t from those of move_t: (..., T, 2 D)."""
        if not self.increments:
            return raw
        assert past.frame is not None and past.frame_features is not None
        ahead = past.frame
        if self.inertia is not None:
            ahead = ahead + self.unit * past.memory(self.inertia, past.frame_features)
        factor = torch.cat([self.unit, torch.ones_like(self.unit)])
        offset = torch.cat([torch.zeros_like(self.unit), 2 * self.unit.log()])
        if past.t == 0:  # nothing that networks write moves the first frame
            rest = raw.shape[-2] - 1, len(factor)
            factor = torch.cat([torch.zeros_like(factor)[None], factor.expand(rest)])
            offset = torch.cat([self._first()[None], offset.expand(rest)])
        return torch.addcmul(pad(ahead, (0, self.data_dim)) + offset, raw, factor)

    def step(self, raw: Tensor) -> Moments:
        """Return mean and log variance, less floor, of a step without inertia, in units of s."""
        mean, log_variance = raw.chunk(2, -1)
        if not self.increments:
            return mean, log_variance
        return self.unit * mean, log_variance + 2 * self.unit.log()

    def _first(self) -> Tensor:
        least = (self.unit * self.floor) ** 2
        log_variance = (self.start_scale**2 - least).log()
        return torch.cat([torch.zeros_like(log_variance), log_variance])

    def variance(self, log_variance: Tensor) -> Tensor:
        """Return variances (..., D) of s_t, or of a step, from their logarithms, less floor."""
        variance = log_variance.exp()
        return variance + (self.unit * self.floor) ** 2 if self.floor else variance

    def distribution(self, raw: Tensor) -> TorchDistribution:
        """Return the distribution of D numbers from mean and log variance, less floor."""
        mean, log_variance = raw.chunk(2, -1)
        if self.floor:
            scale = self.variance(log_variance).sqrt()
        else:
            scale = (0.5 * log_variance).exp()
        return _Normal(mean, scale, validate_args=False)

    def point(self, raw: Tensor) -> Tensor:
        """Return the mean."""
        return raw.chunk(2, -1)[0]

    def features(self, x: Tensor, before: Tensor | None = None) -> Tensor:
        """Return the moves (..., T, D) of a path x (..., T, D), or of a frame after ``before``."""
        if not self.increments:
            return x
        if before is not None:
            return (x - before) / self.unit
        return torch.cat([torch.zeros_like(x[..., :1, :]), x.diff(dim=-2) / self.unit], -2)


class _Normal(dist.Normal):
    """A Normal whose density and gradient take fewer passes: in small networks they are felt."""

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density (...)."""
        e = (value - self.loc) / self.scale
        return -(0.5 * e * e + self.scale.log()) - HALF_LOG_2PI


class Inertia(nn.Module):
    r"""What a path keeps of its moves: u_t = share e_t, e_t = keep e_{t-1} + (1 - keep) move_{t-1}.

    e_1 = 0; share and keep in (0, 1) are learned for each of the D dims. Fast objects then go on at
    any speed, also where the networks, which are bounded, cannot follow.

    Shapes: (..., T, D), move_{t-1} at frame t, -> (..., T, D).
    """

    def __init__(self, data_dim: int) -> None:
        super().__init__()
        self.share_logit = nn.Parameter(torch.full((data_dim,), 1.0))
        self.keep_logit = nn.Parameter(torch.full((data_dim,), 1.5))

    def rates(self) -> tuple[Tensor, Tensor]:
        """Return share and keep (D,)."""
        return self.share_logit.sigmoid(), self.keep_logit.sigmoid()

    def forward(self, moves: Tensor) -> Tensor:
        """Return u for all frames at once."""
        share, keep = self.rates()
        frames = torch.arange(moves.shape[-2], device=moves.device)
        age = frames[:, None] - frames  # at frame i, of what is read at frame j
        weight = (1 - keep) * keep ** age.clamp_min(0)[..., None] * (age >= 0)[..., None]
        return share * torch.einsum("ijd,...jd->...id", weight, moves)

    def start(self, batch: Sequence[int], like: Tensor) -> tuple[Tensor, Tensor]:
        """Return u and e before the first frame, (*batch, D)."""
        zeros = like.new_zeros(*batch, len(self.keep_logit))
        return zeros, zeros

    def step(self, move: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Return u and e one frame later."""
        share, keep = self.rates()
        mean = keep * state[1] + (1 - keep) * move
        return share * mean, mean
