r"""SVG: stochastic video generation, with a fixed prior (FP) or a learned one (LP).

Each frame is generated from the frames before it and a latent of its own; the first is given::

    e_t = encoder(s_t)
    z_t ~ N(0, I), or N(prior(LSTM(e_{1:t-1})))        t = 2, ..., T
    g_t = LSTM(e_{t-1}, z_t, their past)
    s_t ~ likelihood(decoder(g_t, maps))               maps of the last frame known by heart

    p(s_{2:T}, z | s_1) = prod_{t >= 2} p(z_t | s_{1:t-1}) p(s_t | s_{1:t-1}, z_{2:t})

``maps`` are the encoder's, of frame min(t - 1, past): skip connections, by which what never changes
need not pass through a code. A density needs no loop over frames: the true ones are read.

==========  ============  =============  ==================================================
site        batch shape   event shape    what it is
==========  ============  =============  ==================================================
``z``       (B,)          (T - 1, L)     from the second frame on
``s``       (B,)          (T - 1, D)     frames, from the second on
``z_next``  (B,)          (F, L)         of F frames after those given, with ``future=F``
``s_next``  (B,)          (F, D)
==========  ============  =============  ==================================================

A future is generated in a closed loop, in which means of frames, and not draws, are read again.

References: E. Denton, R. Fergus, "Stochastic video generation with a learned prior", ICML 2018,
arXiv:1802.07687 (sections 3.1, 3.2, equation 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyro
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn

from ppl_models.dvae import Memory
from ppl_models.inputs import check_count
from ppl_models.likelihoods import ConvFrames
from ppl_models.networks import LSTM, ConditionalNormal, together
from ppl_models.sequences import Moments
from ppl_models.video.closed_loop import ClosedLoop, FedBackFrames
from ppl_models.video.coded import CodedVideoModel, Maps


class SVG(CodedVideoModel):
    """What SVG-FP and SVG-LP share: all but the prior.

    Parameters
    ----------
    latent_dim : int
        L.
    recurrent_dim : int
        Of every LSTM.
    predictor_layers : int
        LSTMs that generate codes, one above the other.
    past : int
        Frames that are known by heart: the skip connections' maps are of the last of them.
    skips : bool
    code_dim : int
    likelihood : ConvFrames, optional
        By default of ``frame_shape``, ``scale``, ``decoder_dims``, ``width``, ``kind`` and
        ``norm`` (`ppl_models.likelihoods.ConvFrames`).
    """

    def __init__(
        self,
        frame_shape: tuple[int, int, int] = (1, 32, 32),
        latent_dim: int = 10,
        *,
        recurrent_dim: int = 256,
        predictor_layers: int = 2,
        past: int = 5,
        skips: bool = True,
        code_dim: int = 128,
        likelihood: ConvFrames | None = None,
        scale: float = 0.5,
        decoder_dims: Sequence[int] = (),
        width: int = 64,
        kind: str = "dcgan",
        norm: str = "group",
    ) -> None:
        for name, size in {"latent_dim": latent_dim, "past": past}.items():
            check_count(name, size)
        networks: dict[str, Any] = {"decoder_dims": decoder_dims, "width": width}
        networks |= {"skips": skips, "kind": kind, "norm": norm}
        super().__init__(likelihood or ConvFrames(frame_shape, code_dim, scale=scale, **networks))
        self.latent_dim, self.recurrent_dim, self.past = latent_dim, recurrent_dim, past
        read_dim = self.likelihood.feature_dim
        self.enter = nn.Linear(read_dim + latent_dim, recurrent_dim)
        layers = (LSTM(recurrent_dim, recurrent_dim) for _ in range(predictor_layers))
        self.predictor = nn.ModuleList(layers)
        self.leave = nn.Sequential(nn.Linear(recurrent_dim, self.likelihood.raw_dim), nn.Tanh())

    def latent(self, memory: Memory, codes: Tensor) -> Moments:
        """Return mean and scale (..., T, L) of z_t, given e_{t-1} (..., T, F)."""
        raise NotImplementedError

    def predict(self, memory: Memory, codes: Tensor, z: Tensor) -> Tensor:
        """Return g_t (..., T, G), given e_{t-1} and z_t."""
        x = self.enter(together(codes, z))
        for layer in self.predictor:
            x = memory(layer, x)
        g: Tensor = self.leave(x)
        return g

    def paint(self, g: Tensor, maps: Maps | None) -> TorchDistribution:
        """Return p(s_t | g_t, maps)."""
        return self.likelihood.painted(g, maps)

    def by_heart(self, maps: Maps, start: int, count: int) -> Maps | None:
        """Return the maps that frames start + 1, ..., start + count read: of min(t - 1, past)."""
        if not self.likelihood.decoder.skips:
            return None
        known = maps[0].shape[-4]
        frames = torch.arange(start, start + count).clamp(max=min(self.past, known) - 1)
        if len(set(frames.tolist())) == 1:
            frames = frames[:1]
        at = frames.to(maps[0].device)
        # index_select would lay maps out channels first, which convolutions turn back
        return tuple(part[..., at, :, :, :] for part in maps)

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
            ``s`` is not (B, T, D) or has other numbers than levels from 0 to 1, the mask has a
            hole, or a future is asked for of rows that end at different frames.
        """
        with self.videos(s, mask, future) as frames:
            given = FedBackFrames(self, frames, self.read(s, mask), mask)
            given.z = pyro.sample("z", given.latents())
            given.later = pyro.sample("s", given.frames(), obs=given.given)
            whole = torch.cat(
                [frames[:, :1].expand(*given.later.shape[:-2], 1, -1), given.later], -2
            )
            if not future:
                return whole
            loop = ClosedLoop(self, given.reading(), given.z, future)
            loop.latents_drawn = pyro.sample("z_next", loop.latents())
            later = pyro.sample("s_next", loop.frames())
            return torch.cat([whole.expand(*later.shape[:-2], *whole.shape[-2:]), later], -2)


class SVGFP(SVG):
    """SVG with a fixed prior, z_t ~ N(0, I). Parameters are those of `SVG`."""

    def latent(self, memory: Memory, codes: Tensor) -> Moments:
        """Return zeros and ones."""
        zeros = codes.new_zeros(*codes.shape[:-1], self.latent_dim)
        return zeros, torch.ones_like(zeros)


class SVGLP(SVG):
    """SVG with a learned prior, z_t ~ N(prior(LSTM(e_{1:t-1}))). Parameters are those of `SVG`."""

    def __init__(self, *sizes: Any, **options: Any) -> None:
        super().__init__(*sizes, **options)
        self.recurrence = LSTM(self.likelihood.feature_dim, self.recurrent_dim)
        self.prior = ConditionalNormal(self.recurrent_dim, 0, (), self.latent_dim)

    def latent(self, memory: Memory, codes: Tensor) -> Moments:
        """Return the moments that an LSTM over the codes gives."""
        moments: Moments = self.prior(memory(self.recurrence, codes))
        return moments
