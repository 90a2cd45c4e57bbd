r"""The guide of SRVP: q(h_1 | s_{1:k}) prod_{t >= 2} q(z_t | s_{1:t}).

An MLP reads the codes of the first k frames for h_1, and an LSTM those up to t for z_t: it filters,
and does not smooth, so that a forecast only stops reading.

References: those of `ppl_models.video.srvp`.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from guides.video.base import CodeGuide
from ppl_models.distributions import independent_path
from ppl_models.networks import LSTM
from ppl_models.video import SRVP, SoftplusNormal


class SRVPGuide(CodeGuide[SRVP]):
    """q(h_1, z | s) of `SRVP`.

    Parameters
    ----------
    model : SRVP
    start_frames : int
        k: first frames that h_1 is read from. A shorter video repeats its last one.
    start_dims : sequence of int
        Layers between their codes and h_1.
    recurrent_dim : int
        Of the LSTM.
    """

    def __init__(
        self,
        model: SRVP,
        *,
        start_frames: int = 5,
        start_dims: Sequence[int] = (256, 256),
        recurrent_dim: int = 256,
    ) -> None:
        super().__init__(model)
        code_dim, self.start_frames = model.likelihood.feature_dim, start_frames
        sizes = (start_frames * code_dim, *start_dims, 2 * model.state_dim)
        self.start = SoftplusNormal(*sizes, activation=nn.ReLU)
        if model.stochastic:
            self.onward = LSTM(code_dim, recurrent_dim)
            self.noise = SoftplusNormal(recurrent_dim, 2 * model.latent_dim)

    def latents(self, codes: Tensor, mask: Tensor | None) -> Tensor:
        """Sample h_1 and z; return z, or h_1 where the model has no z."""
        first = dist.Normal(*self.start.moments(self._begun(codes, mask)), validate_args=False)
        h_1: Tensor = pyro.sample("h_1", first.to_event(1))
        if not self.model.stochastic:
            return h_1
        later = self.noise.moments(self.onward(codes)[..., 1:, :])
        z: Tensor = pyro.sample("z", independent_path(later, None if mask is None else mask[:, 1:]))
        return z

    def _begun(self, codes: Tensor, mask: Tensor | None) -> Tensor:
        """Return the codes of the first k frames side by side: (..., k F)."""
        last = codes.shape[-2] - 1 if mask is None else mask.sum(-1, keepdim=True) - 1
        frames = torch.arange(self.start_frames, device=codes.device).expand(len(codes), -1)
        frames = torch.minimum(frames, torch.as_tensor(last, device=codes.device).clamp_min(0))
        rows = torch.arange(len(codes), device=codes.device)[:, None]
        return codes[rows, frames].flatten(-2)
