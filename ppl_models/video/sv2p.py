r"""SV2P: stochastic variational video prediction, one latent a video or one a frame.

A frame is made of the pixels of the one before it. Kernels move them, and masks choose among the
ways they moved, the first frame (what was hidden comes back), and new pixels::

    z ~ N(0, I), or z_t ~ N(0, I)                    t = 2, ..., T
    h_t = conv-LSTMs(s_{t-1}, z_t, their past)
    mean_t = m_1 s_1 + m_2 new(h_t) + sum_k m_{2 + k} (kernel_k(h_t) * s_{t-1})
    s_t ~ N(mean_t, scale^2)                         m = softmax(masks(h_t)) at each pixel

    p(s_{2:T}, z | s_1) = p(z) prod_{t >= 2} p(s_t | s_{1:t-1}, z)

==========  ============  ==================  =============================================
site        batch shape   event shape         what it is
==========  ============  ==================  =============================================
``z``       (B,)          (L,), or            of the video; with ``time_variant``, of its
                          (T - 1, L)          frames from the second one on
``s``       (B,)          (T - 1, D)          frames, from the second on
``z_next``  (B,)          (F, L)              with ``time_variant`` and ``future=F``
``s_next``  (B,)          (F, D)              F frames after those given
==========  ============  ==================  =============================================

A future is generated in a closed loop, in which means of frames, and not draws, are read again; in
training so they may be by chance (``model.sampling = SamplingSchedule(...)``).

The published training has three stages; here they are values (`guides.video.SV2PGuide`)::

    guide = SV2PGuide(model, prior_steps=50_000)
    Objective("meanfield", kl_weight=linear(20_000, wait=100_000))

References: M. Babaeizadeh, C. Finn, D. Erhan, R. H. Campbell, S. Levine, "Stochastic variational
video prediction", ICLR 2018, arXiv:1710.11252 (sections 3.1 to 3.3); C. Finn, I. Goodfellow,
S. Levine, "Unsupervised learning for physical interaction through video prediction", NeurIPS 2016,
arXiv:1605.07157.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ppl_models.distributions import SequenceDistribution, independent_path
from ppl_models.dvae import Memory
from ppl_models.errors import InputError
from ppl_models.inputs import check_count
from ppl_models.likelihoods import LevelGaussian
from ppl_models.networks import over_maps
from ppl_models.video.base import VideoModel
from ppl_models.video.motion_core import MotionCore
from ppl_models.video.motion_kernels import composed, moved, normalised_kernels, still_kernel


class SV2P(VideoModel):
    """Stochastic variational video prediction of videos s (B, T, D).

    Parameters
    ----------
    frame_shape : tuple of int
        (C, S, S).
    latent_dim : int, optional
        L, numbers that a linear layer spreads over a map. By default z is that map itself, of
        8 x 8, as published.
    time_variant : bool
        Whether every frame has a z of its own.
    width : int
        Channels of the core's first maps.
    num_kernels, kernel_side : int
        K, and the side of a kernel; odd.
    scale : "shared", "pixel" or float
        Standard deviation of grey levels, of which white is 1.

    Attributes
    ----------
    sampling_probability, sampling
        Scheduled sampling, as in `ppl_models.dvae.recursion.Recursion`.
    """

    forecasts_from_prior = True

    def __init__(
        self,
        frame_shape: tuple[int, int, int] = (1, 32, 32),
        latent_dim: int | None = None,
        *,
        time_variant: bool = False,
        width: int = 32,
        num_kernels: int = 10,
        kernel_side: int = 5,
        scale: Literal["shared", "pixel"] | float = 0.5,
    ) -> None:
        _check(latent_dim, width, num_kernels, kernel_side, scale)
        core = MotionCore(frame_shape, width)
        channels, side, _ = frame_shape
        super().__init__(LevelGaussian(channels * side * side, scale), (channels, side, side))
        self.core, self.kernel_side, self.time_variant = core, kernel_side, time_variant
        self.is_map, area = latent_dim is None, core.side**2
        self.latent_dim = area if latent_dim is None else latent_dim
        self.spread = nn.Identity() if latent_dim is None else nn.Linear(latent_dim, area)
        self.kernels = nn.Linear(core.inner_dim, num_kernels * kernel_side**2)
        nn.init.normal_(self.kernels.weight, 0.0, 0.05 * core.inner_dim**-0.5)
        with torch.no_grad():  # at first kernels leave most of the frame where it is
            self.kernels.bias.copy_(still_kernel(kernel_side).repeat(num_kernels))
        self.masks = nn.Conv2d(width, num_kernels + 2, 1)
        self.new = nn.Sequential(nn.Conv2d(width, channels, 1), nn.Sigmoid())
        self.sampling_probability = 0.0
        self.sampling: Callable[[int], float] | None = None

    def forward(self, s: Tensor, mask: Tensor | None = None, *, future: int = 0) -> Tensor:
        """Score B videos s (B, T, D) given their first frames, and sample ``future`` more.

        Parameters
        ----------
        s
            Frames from 0 to 1, or the first ones of videos.
        mask
            (B, T), the frames that exist: the first ones of each row.
        future
            F.

        Returns
        -------
        Tensor
            The frames (B, T + F, D).

        Raises
        ------
        InputError
            As `VideoModel.videos`.
        """
        with self.videos(s, mask, future) as given:
            known = given.shape[-2]
            z = pyro.sample("z", self.prior(known - 1, given, mask))
            later = pyro.sample("s", self.frames(given, z, mask), obs=given[:, 1:])
            s = torch.cat([given[:, :1].expand(*later.shape[:-2], 1, -1), later], -2)
            if not future:
                return s
            if self.time_variant:
                z_next = pyro.sample("z_next", self.prior(future, given))
                z = torch.cat([z.expand(*z_next.shape[:-2], *z.shape[-2:]), z_next], -2)
            means = self.rollout(s, z, known - 1 + future)[0][..., known - 1 :, :]
            later = pyro.sample("s_next", self.likelihood(means).to_event(1))
            return torch.cat([s.expand(*later.shape[:-2], *s.shape[-2:]), later], -2)

    def prior(
        self, length: int, like: Tensor, mask: Tensor | None = None
    ) -> dist.TorchDistribution:
        """Return p(z), event (L,); with ``time_variant`` that of ``length`` frames, (length, L)."""
        zeros = like.new_zeros(*((length,) if self.time_variant else ()), self.latent_dim)
        moments = zeros, torch.ones_like(zeros)
        if self.time_variant:
            return independent_path(moments, None if mask is None else mask[:, 1:])
        return dist.Normal(*moments, validate_args=False).to_event(1)

    def frames(self, s: Tensor, z: Tensor, mask: Tensor | None = None) -> SequenceDistribution:
        """Return prod_t p(s_t | s_{1:t-1}, z) of videos s (..., T, D), event (T - 1, D)."""
        first, length = s[..., :1, :], s.shape[-2] - 1

        def emission(later: Tensor) -> dist.TorchDistribution:
            whole = torch.cat([first.expand(*later.shape[:-2], 1, -1), later], -2)
            if self.training and self.sampling_probability > 0:
                coins = (torch.rand(length) < self.sampling_probability).tolist()
                return self.likelihood(self.rollout(whole, z, length, coins=coins)[0])
            return self.likelihood(self.means(Memory(), whole[..., :-1, :], first, z))

        def draw(batch: torch.Size) -> Tensor:
            return self.rollout(first.expand(*batch, 1, -1), z, length, point=False)[1]

        shape = (length, self.data_dim)
        return SequenceDistribution(
            emission, draw, shape, mask=None if mask is None else mask[:, 1:]
        )

    def means(self, memory: Memory, before: Tensor, first: Tensor, z: Tensor) -> Tensor:
        """Return the means (..., T, D) of the frames after ``before`` (..., T, D).

        ``first`` (..., 1, D); ``z`` is (..., L), or (..., T, L) with ``time_variant``.
        """
        last, background = (part.unflatten(-1, self.frame_shape) for part in (before, first))
        z = z if self.time_variant else z[..., None, :]
        place = self.spread(z).unflatten(-1, (1, self.core.side, self.core.side))
        maps, inner = self.core(memory, last, place)
        kernels = normalised_kernels(self.kernels(inner), self.kernel_side)
        new = over_maps(self.new, maps)[..., None, :, :, :]
        layers = background[..., None, :, :, :], new, moved(last, kernels)
        return composed(over_maps(self.masks, maps), *layers).flatten(-3)

    def rollout(
        self,
        s: Tensor,
        z: Tensor,
        count: int,
        *,
        coins: Sequence[bool] = (),
        point: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """Generate frames 2, ..., 1 + count of videos of which s (..., K, D) are the first ones.

        Parameters
        ----------
        z
            (..., L), or (..., count, L) with ``time_variant``.
        coins
            Whether, for frame t, the one generated before it is read even if that is known.
        point
            Read means of generated frames again, in place of draws.

        Returns
        -------
        tuple of Tensor
            Means of the frames, and what is read of them, each (..., count, D).
        """
        plates = z.shape[:-2] if self.time_variant else z.shape[:-1]
        s = s.expand(*torch.broadcast_shapes(plates, s.shape[:-2]), *s.shape[-2:])
        first = now = s[..., :1, :]
        memory, means, read = Memory(stepwise=True), [first[..., :0, :]], [first[..., :0, :]]
        for t in range(count):
            if t < s.shape[-2] and not (t and coins and coins[t]):
                now = s[..., t : t + 1, :]
            own = z[..., t : t + 1, :] if self.time_variant else z
            mean = self.means(memory, now, first, own)
            now = mean if point else self.likelihood(mean).sample()
            means.append(mean)
            read.append(now)
        return torch.cat(means, -2), torch.cat(read, -2)

    def set_step(self, step: int) -> None:
        """Before training step ``step``, let the schedule set the sampling probability."""
        if self.sampling is not None:
            self.sampling_probability = self.sampling(step)


def _check(
    latent_dim: int | None, width: int, num_kernels: int, kernel_side: int, scale: object
) -> None:
    for name, size in (("width", width), ("num_kernels", num_kernels)):
        check_count(name, size)
    check_count("latent_dim", 1 if latent_dim is None else latent_dim)
    check_count("kernel_side", kernel_side)
    if kernel_side % 2 == 0:
        raise InputError("kernel_side", str(kernel_side), "an odd number", "kernel_side=5")
    if scale == "decoded":
        cure = 'scale="shared", which is learned, or a number'
        raise InputError("scale", "'decoded'", "one scale of all frames", cure)
