r"""SRVP: stochastic latent residual video prediction.

A video has a state that moves, and a content that stays::

    h_1 ~ N(0, I)
    z_t ~ N(prior(h_{t-1}))                        t = 2, ..., T
    h_t = h_{t-1} + f(h_{t-1}, z_t)
    s_t ~ likelihood(decoder(h_t, w))              w = content(some frames, in any order)

    p(s, z, h_1 | w) = p(h_1) prod_{t >= 2} p(z_t | h_{t-1}) prod_t p(s_t | h_t, w)

No frame is fed back: all are painted at once from the states. The content w is no random variable
but a function of k frames, drawn at random in training, so that it can hold nothing of their
order; after that they are the last k frames given. The bound is one of log p(s | w).

==========  ============  =============  ==================================================
site        batch shape   event shape    what it is
==========  ============  =============  ==================================================
``h_1``     (B,)          (Y,)           the first state
``z``       (B,)          (T - 1, L)     what drives the state, from the second frame on
``s``       (B,)          (T, D)         frames
``z_next``  (B,)          (F, L)         of F frames after those given, with ``future=F``
``s_next``  (B,)          (F, D)
==========  ============  =============  ==================================================

``residual`` (B,) (T - 1, Y) is f, a deterministic site for the paper's penalty:
``Objective("meanfield", penalties=(SiteNorm("residual"),))``.

References: J.-Y. Franceschi, E. Delasalles, M. Chen, S. Lamprier, P. Gallinari, "Stochastic latent
residual video prediction", ICML 2020, arXiv:2002.09219 (equations 1-3, 6-8); M. Chen's thesis,
section 3.2, calls the state h.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn

from ppl_models.inputs import check_count
from ppl_models.likelihoods import ConvFrames
from ppl_models.networks import together
from ppl_models.sequences import clean, masked_frames
from ppl_models.video.coded import CodedVideoModel, Maps
from ppl_models.video.residual_path import ResidualPath, ResidualStep, SoftplusNormal


class SRVP(CodedVideoModel):
    """Stochastic latent residual video prediction of videos s (B, T, D).

    Parameters
    ----------
    latent_dim, state_dim, content_dim : int
        L, Y, and the size of w.
    hidden_dims : sequence of int
        Layers of f and of the prior.
    num_steps : int
        Euler steps a frame.
    last_gain : float
        Of the last layer of f at first (`ResidualStep`): small, and a state hardly moves.
    content_frames : int
        k.
    stochastic : bool
        Whether the state is driven by noise: without, z is left out, and h_1 decides all.
    skips : bool
        Whether the decoder also reads the encoder's maps of one frame: of a random one in
        training, else of the last one given. For scenes with a still background.
    code_dim : int
        Of the code that a frame is read as.
    likelihood : ConvFrames, optional
        By default of ``frame_shape``, ``scale``, ``decoder_dims``, ``width``, ``kind`` and
        ``norm`` (`ppl_models.likelihoods.ConvFrames`).
    """

    def __init__(
        self,
        frame_shape: tuple[int, int, int] = (1, 32, 32),
        latent_dim: int = 20,
        *,
        state_dim: int = 20,
        content_dim: int = 256,
        hidden_dims: Sequence[int] = (512, 512, 512),
        num_steps: int = 1,
        last_gain: float = 1.41,
        content_frames: int = 5,
        stochastic: bool = True,
        skips: bool = False,
        code_dim: int = 128,
        likelihood: ConvFrames | None = None,
        scale: float = 0.5,
        decoder_dims: Sequence[int] = (),
        width: int = 64,
        kind: str = "dcgan",
        norm: str = "group",
    ) -> None:
        sizes = {"latent_dim": latent_dim, "state_dim": state_dim, "content_dim": content_dim}
        for name, size in {
            **sizes,
            "num_steps": num_steps,
            "content_frames": content_frames,
        }.items():
            check_count(name, size)
        super().__init__(
            likelihood
            or ConvFrames(
                frame_shape,
                state_dim + content_dim,
                read_dim=code_dim,
                scale=scale,
                skips=skips,
                decoder_dims=decoder_dims,
                width=width,
                kind=kind,
                norm=norm,
            )
        )
        self.latent_dim, self.state_dim, self.content_dim = latent_dim, state_dim, content_dim
        self.content_frames, self.stochastic = content_frames, stochastic
        hidden_dims = tuple(hidden_dims)
        self.prior = SoftplusNormal(state_dim, *hidden_dims, 2 * latent_dim, activation=nn.ReLU)
        self.step = ResidualStep(
            state_dim, latent_dim, hidden_dims, num_steps=num_steps, last_gain=last_gain
        )
        self.frame_content = nn.Sequential(
            nn.Linear(self.likelihood.feature_dim, content_dim), nn.ReLU()
        )
        self.whole_content = nn.Sequential(nn.Linear(content_dim, content_dim), nn.Tanh())

    def forward(
        self,
        s: Tensor,
        mask: Tensor | None = None,
        *,
        content: Tensor | None = None,
        future: int = 0,
    ) -> Tensor:
        """Score B videos s (B, T, D), and sample ``future`` frames after them.

        Parameters
        ----------
        s
            Frames from 0 to 1, or the first ones of videos.
        mask
            (B, T), the frames that exist: the first ones of each row.
        content
            (B, K, D), frames to take w from in place of those of s, the last k of them: another
            video's, to swap.
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
            w, maps = self.content(s, mask, content)
            zeros = s.new_zeros(self.state_dim)
            first = dist.Normal(zeros, torch.ones_like(zeros), validate_args=False).to_event(1)
            path = self.path(pyro.sample("h_1", first), frames.shape[-2] - 1, mask, "z")
            painted = masked_frames(self.paint(path, w, maps), mask).to_event(1)
            s = pyro.sample("s", painted, obs=frames)
            if not future:
                return s
            path = self.path(path[..., -1, :], future, None, "z_next")
            later = pyro.sample("s_next", self.paint(path[..., 1:, :], w, maps).to_event(1))
            return torch.cat([s.expand(*later.shape[:-2], *s.shape[-2:]), later], -2)

    def path(self, h: Tensor, length: int, mask: Tensor | None, site: str) -> Tensor:
        """Sample the noise of ``length`` frames; return states (..., 1 + length, Y), h first."""
        later = None if mask is None else mask[:, 1:]
        path = ResidualPath(self.prior, self.step, h, length, later)
        if self.stochastic:
            states, steps = path.states(pyro.sample(site, path.noise()))
        else:
            states, steps = path.states(h.new_zeros(*h.shape[:-1], length, self.latent_dim))
        if site == "z":
            pyro.deterministic("residual", clean(steps, later), event_dim=2)
        return states

    def content(
        self, s: Tensor, mask: Tensor | None = None, given: Tensor | None = None
    ) -> tuple[Tensor, Maps | None]:
        """Return w (B, W) of videos s (B, T, D), and maps for the decoder, if it reads any."""
        reading = self.read(s, mask)
        if given is None:
            chosen = self._choice(s, mask, at_random=self.training)
        else:  # as many as in training, or their sum would be another
            reading, chosen = self._encode(given, None), self._choice(given, None, at_random=False)
        rows = torch.arange(len(s), device=s.device)[:, None]
        codes = reading.codes[rows, chosen]
        w: Tensor = self.whole_content(self.frame_content(codes).sum(-2))
        if not self.likelihood.decoder.skips:
            return w, None
        return w, tuple(part[rows, chosen[:, :1]] for part in reading.maps)

    def paint(self, h: Tensor, w: Tensor, maps: Maps | None) -> TorchDistribution:
        """Return p(s_t | h_t, w) of states (..., T, Y) and contents (..., W)."""
        return self.likelihood.painted(together(h, w[..., None, :]), maps)

    def _choice(self, s: Tensor, mask: Tensor | None, *, at_random: bool) -> Tensor:
        """Return which k frames (B, k) the content is read from; short videos repeat theirs."""
        size, length = s.shape[:2]
        count = torch.full((size, 1), length) if mask is None else mask.sum(-1, keepdim=True).cpu()
        order = torch.arange(length).expand(size, length)
        if at_random:
            late = (order >= count).float()
            order = (torch.rand(size, length) + late).argsort(-1)
        else:
            order = (count - 1 - order).clamp_min(0)
        return order.gather(-1, torch.arange(self.content_frames) % count).to(s.device)
