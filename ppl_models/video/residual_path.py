r"""A state that moves by steps of a network, driven by noise: the dynamics of SRVP.

    z_t ~ N(prior(h_{t-1}))        h_t = h_{t-1} + f(h_{t-1}, z_t)

Given the first state, states are a function of the noise z, which is one site of event (T - 1, L).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ppl_models.distributions import AutoregressiveNormal
from ppl_models.networks import MLP
from ppl_models.sequences import Moments, draw


class SoftplusNormal(MLP):
    """An MLP whose outputs (..., 2 L) are a mean, and a scale through a softplus.

    ``FLOOR`` keeps the scale from 0, where a KL divergence would have no bound.
    """

    FLOOR = 1e-3

    def moments(self, x: Tensor) -> Moments:
        """Return mean and scale, each (..., L)."""
        mean, raw = self(x).chunk(2, -1)
        return mean, nn.functional.softplus(raw) + self.FLOOR


class ResidualStep(nn.Module):
    """f(h, z) of h_t = h_{t-1} + f(h_{t-1}, z_t), in ``num_steps`` Euler steps of 1 / num_steps.

    An MLP with ReLU, its weights orthogonal at first. What z adds to the first layer is computed
    for all frames at once (`project`).

    With the paper's gain in all layers a first step is as large as the state, which fourteen steps
    make a thousand times larger. Adam copes with that; Muon, whose steps are all of one size, did
    not in one of three seeds: there a tenth of it in the last layer helps.

    Parameters
    ----------
    state_dim, noise_dim : int
        Y and L.
    hidden_dims : sequence of int
    num_steps : int
        Euler steps a frame, all with the frame's z.
    gain, last_gain : float
        Of the orthogonal weights, and of those of the last layer.
    """

    def __init__(
        self,
        state_dim: int,
        noise_dim: int,
        hidden_dims: tuple[int, ...],
        *,
        num_steps: int = 1,
        gain: float = 1.41,
        last_gain: float = 1.41,
    ) -> None:
        super().__init__()
        first, *_ = sizes = (*hidden_dims, state_dim)
        self.num_steps = num_steps
        self.of_state = nn.Linear(state_dim, first, bias=False)
        self.of_noise = nn.Linear(noise_dim, first)
        self.rest = nn.Sequential(nn.ReLU(), MLP(*sizes, activation=nn.ReLU))
        layers = [layer for layer in self.modules() if isinstance(layer, nn.Linear)]
        for layer in layers:
            nn.init.orthogonal_(layer.weight, last_gain if layer is layers[-1] else gain)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def project(self, z: Tensor) -> Tensor:
        """Return what z (..., L) adds to the first layer."""
        projected: Tensor = self.of_noise(z)
        return projected

    def forward(self, h: Tensor, projected: Tensor) -> tuple[Tensor, Tensor]:
        """Return the next state, and f as the penalty sees it: the mean over the Euler steps."""
        start = h
        for _ in range(self.num_steps):
            h = h + self.rest(self.of_state(h) + projected) / self.num_steps
        return h, h - start


class ResidualPath:
    """The states of one video: from the first one and the noise, or drawn.

    Parameters
    ----------
    prior
        Of z_t, from h_{t-1}.
    step
        f.
    h
        (..., Y), the state before.
    length
        Of the noise.
    mask
        (..., length), the frames that exist.
    """

    def __init__(
        self,
        prior: SoftplusNormal,
        step: ResidualStep,
        h: Tensor,
        length: int,
        mask: Tensor | None = None,
    ) -> None:
        self.prior, self.step, self.h, self.length, self.mask = prior, step, h, length, mask
        self._of: tuple[Tensor, Tensor, Tensor] | None = None

    def noise(self) -> AutoregressiveNormal:
        """Return prod_t N(z_t; prior(h_{t-1})), event (length, L)."""
        shape = (self.length, self.step.of_noise.in_features)
        return AutoregressiveNormal(self._moments, self._draw, shape, mask=self.mask)

    def states(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return the states (..., 1 + length, Y), from the first one on, and f (..., length, Y)."""
        if self._of is None or self._of[0] is not z:
            h, steps = self._first(z.shape[:-2]), list[Tensor]()
            states = [h]
            for projected in self.step.project(z).unbind(-2):
                h, step = self.step(h, projected)
                states.append(h)
                steps.append(step)
            self._of = z, torch.stack(states, -2), _stacked(steps, h)
        return self._of[1], self._of[2]

    def _first(self, batch: torch.Size) -> Tensor:
        return self.h.expand(*batch, self.h.shape[-1])

    def _moments(self, z: Tensor) -> Moments:
        return self.prior.moments(self.states(z)[0][..., :-1, :])

    def _draw(self, batch: torch.Size) -> Tensor:
        h = self._first(batch)
        states, steps, noise = [h], list[Tensor](), list[Tensor]()
        for _ in range(self.length):
            noise.append(draw(self.prior.moments(h)))
            h, step = self.step(h, self.step.project(noise[-1]))
            states.append(h)
            steps.append(step)
        z = _stacked(noise, h.new_empty(*batch, self.step.of_noise.in_features))
        self._of = z, torch.stack(states, -2), _stacked(steps, h)
        return z


def _stacked(frames: list[Tensor], like: Tensor) -> Tensor:
    """Return (..., T, F) of T tensors (..., F), of which there may be none."""
    return (
        torch.stack(frames, -2) if frames else like.new_empty(*like.shape[:-1], 0, like.shape[-1])
    )
