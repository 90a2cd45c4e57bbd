r"""The Kalman variational autoencoder: a linear-Gaussian state, whose dynamics mix K modes.

::

    alpha_t = softmax(LSTM(a_{1:t-1}))          K weights, of modes
    z_t ~ N(A_t z_{t-1} + B_t a_{t-1}, Q)       the state, N numbers (B is an option)
    a_t ~ N(C_t z_t, R)                         the pseudo-observation, A numbers a frame
    s_t ~ likelihood(decoder(a_t))              the observation, D numbers

    z_1 --> z_2 --> z_3           (A_t, B_t, C_t) = sum_k alpha_{t,k} (A^k, B^k, C^k)
     |       |       |            z_1 ~ N(0, Sigma_1)
    a_1     a_2     a_3
     |       |       |
    s_1     s_2     s_3

Given a, everything above it is linear and Gaussian, so that z is no site: it is integrated out,
p(a) = prod_t p(a_t | a_{1:t-1}) is the Kalman filter's, and p(z | a) its smoother's. The paper
draws z from that posterior; the expected bound is the same, and this one has less noise. Frames
that are missing are filled in by the smoother, from both sides (`guides.dvae.kvae.impute`).

======  ============  =============
site    batch shape   event shape
======  ============  =============
``a``   (B,)          (T, A)
``s``   (B,)          (T, D)
======  ============  =============

Reference: M. Fraccaro, S. Kamronn, U. Paquet, O. Winther, "A disentangled recognition and nonlinear
dynamics model for unsupervised learning", NeurIPS 2017, sections 3 (eqs. 1-8) and 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyro
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn

from ppl_models.distributions import (
    Filtered,
    LinearGaussian,
    Smoothed,
    kalman_filter,
    kalman_smoother,
    matvec,
)
from ppl_models.dvae.pseudo_path import PseudoPath
from ppl_models.inputs import check_count, check_positive
from ppl_models.likelihoods import Likelihood, named
from ppl_models.networks import LSTM, MLP
from ppl_models.sequences import SequenceModel, clean, masked_frames, shift


class KVAE(SequenceModel):
    """A Kalman VAE of sequences s (B, T, D).

    Parameters
    ----------
    data_dim, pseudo_dim, latent_dim : int
        D, A and N.
    num_modes : int
        K. With one, a is a linear dynamical system.
    hidden_dims : sequence of int
        Hidden layers of the decoder.
    recurrent_dim : int
        Size of the LSTM that weighs the modes.
    feedback : bool
        Whether z_t also depends on a_{t-1}, by B_t.
    start_scale, process_scale, noise_scale : float
        Standard deviations of z_1, of a step of z, and of a: the square roots of Sigma_1, Q and R.
        They settle the unit of a, and how exactly it follows its dynamics.
    learn_noise : bool
        Whether the last two are learned, one for each of the N and A numbers, or stay. Learned,
        the process's may grow until z explains little, which fills gaps in less well.
    likelihood : str or Likelihood
        What a frame is, given the decoder's outputs (`ppl_models.likelihoods`).

    Raises
    ------
    InputError
        An unknown likelihood, a size that is no whole number from 1, or a scale that is not
        positive.
    """

    site, global_dim, autoregressive = "a", 0, False  # as in `ppl_models.dvae.recursion`
    log_process: Tensor
    log_noise: Tensor

    def __init__(
        self,
        data_dim: int = 64,
        pseudo_dim: int = 2,
        latent_dim: int = 4,
        num_modes: int = 3,
        *,
        hidden_dims: Sequence[int] = (64,),
        recurrent_dim: int = 50,
        feedback: bool = False,
        start_scale: float = 20.0**0.5,
        process_scale: float = 0.08**0.5,
        noise_scale: float = 0.03**0.5,
        learn_noise: bool = False,
        likelihood: str | Likelihood = "gaussian",
    ) -> None:
        super().__init__()
        sizes = {"pseudo_dim": pseudo_dim, "latent_dim": latent_dim, "num_modes": num_modes}
        for name, size in sizes.items():
            check_count(name, size)
        self.data_dim, self.pseudo_dim, self.latent_dim = data_dim, pseudo_dim, latent_dim
        self.likelihood = named(likelihood, data_dim)
        self.decoder = MLP(pseudo_dim, *hidden_dims, self.likelihood.raw_dim)
        self.modes = Modes(pseudo_dim, recurrent_dim, num_modes)
        still = torch.eye(latent_dim).expand(num_modes, -1, -1)
        self.transition = nn.Parameter(still + 0.05 * torch.randn_like(still))
        self.emission = nn.Parameter(0.05 * torch.randn(num_modes, pseudo_dim, latent_dim))
        control = torch.zeros(num_modes, latent_dim, pseudo_dim)
        self.control = nn.Parameter(control) if feedback else None
        self.start_scale = check_positive("start_scale", start_scale)
        process = torch.full((latent_dim,), check_positive("process_scale", process_scale)).log()
        noise = torch.full((pseudo_dim,), check_positive("noise_scale", noise_scale)).log()
        for name, value in (("log_process", process), ("log_noise", noise)):
            if learn_noise:
                self.register_parameter(name, nn.Parameter(value))
            else:
                self.register_buffer(name, value)

    def path(
        self,
        length: int,
        s: Tensor | None = None,
        mask: Tensor | None = None,
        *,
        observed: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Sample one sequence in each place of the enclosing plates; return (a, s)."""
        if s is not None:
            s = clean(s, mask, observed)
            self.likelihood.check(s)
        a = pyro.sample("a", PseudoPath(self, length, mask))
        return a, pyro.sample("s", self.observation(a, mask, observed), obs=s)

    def observation(
        self, a: Tensor, mask: Tensor | None = None, observed: Tensor | None = None
    ) -> TorchDistribution:
        """Return p(s | a), event (T, D), for codes a (..., T, A)."""
        frames: TorchDistribution = self.likelihood(self.decoder(a))
        return masked_frames(frames, mask, observed).to_event(1)

    @property
    def reads_codes(self) -> bool:
        """Whether what rules a frame depends on the codes before it: modes, or feedback."""
        return self.modes.num_modes > 1 or self.control is not None

    # --- given a, all is linear and Gaussian ------------------------------------------------------

    def dynamics(self, a: Tensor, mask: Tensor | None = None) -> LinearGaussian:
        """Return what rules z and a (..., T, A) at each frame, given the a before it."""
        before = shift(clean(a, mask))
        transition, emission, offset = self.mixed(self.modes(before), before)
        return self.system(_later(transition, -3), emission, _later(offset, -2))

    def filter(self, a: Tensor, mask: Tensor | None = None) -> Filtered:
        """Return moments of p(z_t | a_{1:t}), and log p(a_t | a_{1:t-1}) (..., T) in nats."""
        return kalman_filter(self.dynamics(a, mask), a, mask)

    def smooth(self, a: Tensor, mask: Tensor | None = None) -> Smoothed:
        """Return moments of p(z_t | a_{1:T})."""
        params = self.dynamics(a, mask)
        return kalman_smoother(params, kalman_filter(params, a, mask))

    def simulate(self, batch: Sequence[int], length: int) -> Tensor:
        """Draw a (*batch, T, A), its modes following from what was drawn before."""
        like = self.transition
        noise = like.new_empty(*batch, length, self.latent_dim + self.pseudo_dim).normal_()
        moves, errors = noise.split([self.latent_dim, self.pseudo_dim], -1)
        z = self.start_scale * moves[..., 0, :]
        moves, errors = self.log_process.exp() * moves, self.log_noise.exp() * errors
        before, state = errors.new_zeros(errors[..., 0, :].shape), self.modes.start(batch, like)
        path = []
        for t in range(length):
            weights, state = self.modes.step(before, state)
            transition, emission, offset = self.mixed(weights, before)
            z = matvec(transition, z) + offset + moves[..., t, :] if t else z
            before = matvec(emission, z) + errors[..., t, :]
            path.append(before)
        return torch.stack(path, -2)

    def latent_path(self, batch: Sequence[int], length: int, w: None = None) -> Tensor:
        """Draw a (*batch, T, A)."""
        return self.simulate(batch, length)

    def closed_loop(self, z: Tensor, w: None = None, mask: Tensor | None = None) -> Tensor:
        """Return the decoder's outputs (..., T, raw_dim) for codes a (..., T, A), called z."""
        raw: Tensor = self.decoder(z)
        return raw

    def ahead(
        self, before: Tensor, modes: Any, z: tuple[Tensor, Tensor] | None
    ) -> tuple[LinearGaussian, Any]:
        """Return what rules z_t and a_t, as a sequence of one frame, and the modes' next state.

        From a_{t-1} (..., A), zeros before the first frame, the modes' state, and mean (..., N) and
        covariance (..., N, N) of z_{t-1}, None before the first.
        """
        weights, modes = self.modes.step(before, modes)
        transition, emission, offset = self.mixed(weights, before)
        frame = self.system(
            transition[..., None, :, :], emission[..., None, :, :], offset[..., None, :]
        )
        if z is None:
            return frame, modes
        mean = matvec(transition, z[0]) + offset
        cov = transition @ z[1] @ transition.mT + frame.process_cov[0]
        return frame._replace(initial_mean=mean, initial_cov=cov), modes

    def mixed(self, weights: Tensor, before: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return A_t, C_t and B_t a_{t-1} for the modes' weights (..., K) and a_{t-1} (..., A)."""
        transition, emission = _weigh(weights, self.transition), _weigh(weights, self.emission)
        if self.control is None:
            return transition, emission, before.new_zeros(*before.shape[:-1], self.latent_dim)
        return transition, emission, matvec(_weigh(weights, self.control), before)

    def system(self, transition: Tensor, emission: Tensor, offset: Tensor) -> LinearGaussian:
        """Join A (..., T-1, N, N), C (..., T, A, N) and B a (..., T-1, N) to all the rest."""
        zeros, eye = emission.new_zeros(1, self.pseudo_dim), torch.eye(self.latent_dim).to(emission)
        return LinearGaussian(
            emission.new_zeros(self.latent_dim),
            self.start_scale**2 * eye,
            transition,
            offset,
            self.log_process.mul(2).exp().diag_embed()[None],
            emission,
            zeros,
            self.log_noise.mul(2).exp()[None],
        )


class Modes(nn.Module):
    """The weights of K modes at each frame, from the codes before it; none to learn for K = 1.

    Shapes: (..., T, A) -> (..., T, K), or (1, 1) for K = 1, which no frame changes.
    """

    def __init__(self, pseudo_dim: int, recurrent_dim: int, num_modes: int) -> None:
        super().__init__()
        self.num_modes = num_modes
        if num_modes > 1:
            self.recurrence = LSTM(pseudo_dim, recurrent_dim)
            self.choice = nn.Linear(recurrent_dim, num_modes)

    def forward(self, before: Tensor) -> Tensor:
        """Return alpha_{1:T} for a_{t-1} at each frame, zeros at the first."""
        if self.num_modes == 1:
            return before.new_ones(1, 1)
        return self.choice(self.recurrence(before)).softmax(-1)

    def start(self, batch: Sequence[int], like: Tensor) -> Any:
        """Return the state before the first frame."""
        return self.recurrence.start(batch, like) if self.num_modes > 1 else None

    def step(self, before: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Return alpha_t (..., K) from a_{t-1} (..., A), and the next state."""
        if self.num_modes == 1:
            return before.new_ones(1), None
        state = self.recurrence.step(before, state)
        return self.choice(state[0]).softmax(-1), state


def _weigh(weights: Tensor, modes: Tensor) -> Tensor:
    """Return sum_k weights_k modes^k, (..., I, J), for weights (..., K) and modes (K, I, J)."""
    return (weights @ modes.flatten(1)).unflatten(-1, modes.shape[1:])


def _later(x: Tensor, dim: int) -> Tensor:
    """Return all frames but the first, or the one that stands for all."""
    return x if x.shape[dim] == 1 else x.narrow(dim, 1, x.shape[dim] - 1)
