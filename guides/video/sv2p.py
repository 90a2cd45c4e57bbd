r"""The guide of SV2P: q(z | s_{1:T}), or prod_{t >= 2} q(z_t | s_{t-1}, s_t), by convolutions.

A tower of convolutions reads every two neighbouring frames. A z of the whole video is read off the
mean over all existing pairs, a z of a frame off its own pair. The published tower reads the frames
of a video side by side, as channels, so that it fits one length only; here each video of a batch
may have its own. A video of one frame says nothing of z: there q is the prior.

``prior_steps`` is the first stage of the published training, in which q is the prior and the model
learns to do without a posterior; the second and third are weights of the KL term
(`inference.schedules.linear` with ``wait``).

References: those of `ppl_models.video.sv2p` (section 3.3, figure 2).
"""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn

from guides.video.base import VideoGuide
from ppl_models.distributions import independent_path
from ppl_models.inputs import check_count
from ppl_models.networks import beside, over_maps
from ppl_models.sequences import Moments, clean
from ppl_models.video import SV2P

OFFSET = -5.0
"""Of the log variance, which so starts small."""


class SV2PGuide(VideoGuide[SV2P]):
    """q(z | s) of `SV2P`.

    Parameters
    ----------
    model : SV2P
    width : int
        Channels of the tower's first maps; later ones have twice as many.
    prior_steps : int
        Training steps in which z is drawn from the prior.
    """

    def __init__(self, model: SV2P, *, width: int = 32, prior_steps: int = 0) -> None:
        super().__init__(model)
        check_count("width", width)
        check_count("prior_steps", prior_steps, 0)
        self.prior_steps, self._step = prior_steps, 0
        levels, side = model.core.levels, model.core.side
        widths = [2 * model.frame_shape[0], width, *(2 * width for _ in range(levels))]
        strides = [*(2 for _ in range(levels - 1)), 1]
        blocks = [
            nn.Sequential(nn.Conv2d(a, b, 3, stride, 1), nn.GroupNorm(1, b), nn.ReLU())
            for a, b, stride in zip(widths, widths[1:], strides, strict=False)
        ]
        self.tower = nn.Sequential(*blocks, nn.Conv2d(widths[levels], 2, 3, 2, 1))
        self.heads = nn.Identity() if model.is_map else nn.Linear(2 * side**2, 2 * model.latent_dim)

    def set_step(self, step: int) -> None:
        """Before training step ``step``: whether z is drawn from the prior."""
        self._step = step

    def read(self, s: Tensor, mask: Tensor | None) -> Tensor:
        """Return what the tower reads off pairs of frames: (B, T - 1, 2 side^2)."""
        frames = clean(s, mask).unflatten(-1, self.model.frame_shape)
        return over_maps(self.tower, beside(frames[:, :-1], frames[:, 1:])).flatten(-3)

    def latents(self, read: Tensor, mask: Tensor | None) -> Tensor:
        """Sample z."""
        z: Tensor = pyro.sample("z", self.posterior(read, mask))
        return z

    def posterior(self, read: Tensor, mask: Tensor | None) -> TorchDistribution:
        """Return q(z), given what was read."""
        mask = None if mask is None else mask[:, 1:]
        if self.model.time_variant:
            return independent_path(self._moments(read), mask)
        weight = torch.ones_like(read[..., :1]) if mask is None else mask[..., None].to(read)
        pairs = weight.sum(-2)
        mean, scale = self._moments((read * weight).sum(-2) / pairs.clamp_min(1))
        mean, scale = torch.where(pairs > 0, mean, 0 * mean), torch.where(pairs > 0, scale, 1.0)
        return dist.Normal(mean, scale, validate_args=False).to_event(1)

    def _moments(self, read: Tensor) -> Moments:
        mean, log_variance = self.heads(read).chunk(2, -1)
        if self.training and self._step < self.prior_steps:
            return torch.zeros_like(mean), torch.ones_like(mean)
        return mean, ((log_variance + OFFSET) / 2).exp()
