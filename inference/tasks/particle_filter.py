r"""The filter of a dynamical VAE by particles: its evidence, and the mean of z_t given s_{1:t}.

P particles hold a latent path each. At frame t each draws z_t from the model's own prior, given its
past and the true frames before t, is weighted by p(s_t | ...), and all are replaced by P drawn by
these weights (systematic resampling). The product over frames of the mean weight is an unbiased
estimate of p(s_{1:T}); its logarithm is low by about half its variance.

It needs no guide, runs a model frame by frame where a bound scores it at once, and is exact as P
grows: a reference for bounds, where latents are few. P must grow exponentially with the information
of a frame about its latents; `ParticleEstimates.ess` shows when it is too small.

References: N. Gordon, D. Salmond, A. Smith, "Novel approach to nonlinear/non-Gaussian Bayesian
state estimation", IEE Proc. F 1993; P. Del Moral, "Feynman-Kac formulae", 2004, theorem 7.4.2
(unbiased).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from inference.randomness import derive
from inference.tracing import untouched
from ppl_models.distributions import kalman_filter, matvec
from ppl_models.dvae import KVAE, DynamicalVAE, Past
from ppl_models.errors import InputError
from ppl_models.inputs import check_count
from ppl_models.lds import cov_of
from ppl_models.sequences import draw, masked_frames, read_paths

FrameModel = DynamicalVAE | KVAE
Take = Callable[[Tensor], Tensor]

AT_ONCE = 50_000
"""Particles, of all sequences, that are held at a time."""


class ParticleEstimates(NamedTuple):
    """The estimates of P particles for B sequences."""

    log_evidence: Tensor
    """(B,): log of an unbiased estimate of p(s), nats."""
    mean: Tensor
    """(B, T, L): of z_t (of KVAE, a_t) given s_{1:t}; after a sequence's end, of its forecast."""
    ess: Tensor
    """(B, T): effective number of particles, 1 to P, before resampling."""


@torch.no_grad()
def particle_filter(
    model: FrameModel,
    s: Tensor,
    mask: Tensor | None = None,
    observed: Tensor | None = None,
    *,
    num_particles: int = 1000,
    seed: int = 0,
) -> ParticleEstimates:
    """Filter sequences s (B, T, D); time grows as B T P.

    Parameters
    ----------
    model
        One that generates frame by frame (`DynamicalVAE.rollout`), or a `KVAE`, whose particles
        hold a (its z is integrated out). Run in evaluation mode, whatever mode it is in.
    s, mask, observed
        As in the model; ``mask`` (B, T), ``observed`` (B, T) or (B, T, D). Where past frames are
        read, particles draw for themselves what was not seen.
    num_particles
        P.
    seed
        Of all draws.

    Raises
    ------
    InputError
        The model is of another kind, or its frames read later latents; ``num_particles`` is no
        whole number from 1; s and its mask are not as the model takes them; or log p(s) is not
        finite.
    """
    in_turn = isinstance(model, DynamicalVAE) and not model.noncausal
    if not (in_turn or isinstance(model, KVAE)):
        expected = "a dynamical VAE whose frames do not read later latents"
        cure = "LDS, HMM and SLDS have filters of their own; of others take importance"
        raise InputError("model", type(model).__name__, expected, cure)
    s, seen = read_paths(s, mask, observed, model.data_dim)
    check_count("num_particles", num_particles)
    model.likelihood.check(s)
    size = max(1, AT_ONCE // num_particles)
    with untouched(model, seed=derive(seed, "particles")):
        model.eval()
        parts = [
            _filter(model, rows, there, num_particles, observed is not None)
            for rows, there in zip(s.split(size), seen.split(size), strict=True)
        ]
    found = ParticleEstimates(*(torch.cat(part) for part in zip(*parts, strict=True)))
    if bad := int((~found.log_evidence.isfinite()).sum()):
        what = f"log p(s) of {bad} of {len(s)} sequences is NaN or infinite"
        raise InputError("s", what, "finite", "look for numbers not finite in s and in the weights")
    return found


def _filter(
    model: FrameModel, s: Tensor, seen: Tensor, num_particles: int, gaps: bool
) -> ParticleEstimates:
    batch = num_particles, len(s)
    if isinstance(model, KVAE):
        cloud: _Pseudo | _Latents = _Pseudo(model, batch)
    else:
        cloud = _Latents(model, batch, s, seen, gaps)
    total, means, sizes = s.new_zeros(len(s)), list[Tensor](), list[Tensor]()
    for t in range(s.shape[1]):
        drawn, raw = cloud.step(t)
        fit = masked_frames(model.likelihood(raw), None, seen[:, t]).log_prob(s[:, t])
        weight, most = fit.softmax(0), fit.logsumexp(0)
        total = total + most - math.log(num_particles)
        means.append((weight[..., None] * drawn).sum(0))
        sizes.append(1 / weight.square().sum(0))
        cloud.follow(partial(_take, _systematic(weight)))
    return ParticleEstimates(total, torch.stack(means, 1), torch.stack(sizes, 1))


class _Latents:
    """Particles (P, B) of a `DynamicalVAE`: z_{t-1}, the states of its recurrences, and w.

    Where there are ``gaps`` and past frames are read, also s_{t-1}: each particle draws for itself
    what was not ``seen`` of it.
    """

    def __init__(
        self,
        model: DynamicalVAE,
        batch: tuple[int, int],
        s: Tensor,
        seen: Tensor,
        gaps: bool,
    ) -> None:
        like, size = next(model.parameters()), model.global_dim
        self.model, self.batch, self.given = model, batch, (s, seen)
        self.past = model.start(batch, like.new_empty(*batch, size).normal_() if size else None)
        self.known: Past | None = None
        if not (gaps and model.autoregressive):
            self.known = model.teacher_forced_past(s, self.past.z[0], mask=seen.any(-1))

    def step(self, t: int) -> tuple[Tensor, Tensor]:
        """Draw z_t (P, B, L); return it with the emission's outputs (P, B, raw_dim)."""
        model, past = self.model, self.past
        past = past if self.known is None else self.known.at(t, self.batch, past)
        h = model.read(past)
        z = draw(model.latent(h, past)) if model.latent_dim else past.z
        raw, s = model.outputs(h, z, past), None
        if self.known is None:
            given, seen = (x[:, t : t + 1] for x in self.given)
            s = torch.where(seen, given, model.likelihood(raw).sample().to(given))
        self.past = model.after(past, z, s)
        return z[..., 0, :], raw[..., 0, :]

    def follow(self, take: Take) -> None:
        """Let each particle go on from the one that was chosen in its place."""
        names = ("z", "w") if self.known is not None else ("s", "z", "w", "frame", "frame_features")
        now = {name: getattr(self.past, name) for name in names}
        moved: Any = {name: x if x is None else take(x) for name, x in now.items()}
        self.past = self.past._replace(**moved)
        self.past.memory.follow(take)


class _Pseudo:
    """Particles (P, B) of a `KVAE`: a_{t-1}, the state of its modes, and p(z_{t-1} | a)."""

    def __init__(self, model: KVAE, batch: tuple[int, int]) -> None:
        like = model.transition
        self.model, self.batch = model, batch
        self.a, self.modes = (
            like.new_zeros(*batch, model.pseudo_dim),
            model.modes.start(batch, like),
        )
        self.z: tuple[Tensor, Tensor] | None = None

    def step(self, t: int) -> tuple[Tensor, Tensor]:
        """Draw a_t (P, B, A), z integrated out; return it with the decoder's outputs."""
        frame, self.modes = self.model.ahead(self.a, self.modes, self.z)
        emission = frame.emission[..., 0, :, :]
        cov = cov_of(emission, frame.initial_cov) + frame.noise_variance[..., 0, :].diag_embed()
        noise = torch.randn_like(self.a)
        self.a = matvec(emission, frame.initial_mean) + matvec(torch.linalg.cholesky(cov), noise)
        known = kalman_filter(frame, self.a[..., None, :])
        mean, cov = known.mean[..., 0, :], known.cov[..., 0, :, :]
        self.z = mean, cov.expand(*self.batch, *cov.shape[-2:])
        return self.a, self.model.decoder(self.a)

    def follow(self, take: Take) -> None:
        """Let each particle go on from the one that was chosen in its place."""
        self.a, self.z, self.modes = tree_map_only(Tensor, take, (self.a, self.z, self.modes))


def _systematic(weight: Tensor) -> Tensor:
    """Draw P particles of each sequence by weights (P, B) that sum to 1; return who (P, B)."""
    count, size = weight.shape
    places = torch.arange(count, device=weight.device) + weight.new_empty(size, 1).uniform_()
    who = torch.searchsorted(weight.mT.cumsum(-1), places / count)
    return who.clamp_max(count - 1).mT


def _take(who: Tensor, x: Tensor) -> Tensor:
    """Let place (p, b) of x (P, B, ...) have what (who[p, b], b) has."""
    return x[who, torch.arange(who.shape[1], device=who.device)]
