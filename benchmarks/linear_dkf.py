"""A deep Kalman filter with linear networks, against the linear dynamical system that it is.

Run ``python -m benchmarks.anchors --dkf``.

Paths of a known system train a `DKF(linear=True)` and its guide, as any dynamical VAE is trained.
What its bound lacks on paths not trained on has two causes, and since the Kalman filter gives the
evidence at any parameters they can be separated:

    truth - bound = [truth - evidence at the learned parameters]    what was not learned
                  + [evidence at the learned parameters - bound]    KL(q(z | s) || p(z | s))
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from guides.dvae import DKFGuide
from inference import Objective, fit
from inference.randomness import seeded
from inference.schedules import cosine
from ppl_models.dvae import DKF, LinearTransition
from ppl_models.lds import LDS
from ppl_models.likelihoods import Gaussian

DATA_DIM, LATENT_DIM, LENGTH = 4, 2, 20
PATHS, HELD_OUT, BATCH = 2000, 1000, 50


class Nats(NamedTuple):
    """Nats a frame of held-out paths, each (N,)."""

    truth: Tensor
    """log p(s) of the system that generated them."""
    em: Tensor
    """That of an LDS learned from the training paths by EM."""
    learned: Tensor
    """That of the DKF's parameters."""
    bound: Tensor
    """The DKF's bound, one draw of the guide a path."""


def untrained() -> DKF:
    """Return an untrained linear DKF."""
    likelihood = Gaussian(DATA_DIM, scale="pixel")
    return DKF(DATA_DIM, LATENT_DIM, linear=True, likelihood=likelihood)


@torch.no_grad()
def turning(seed: int = 0) -> DKF:
    """Return the truth: a point that turns by 0.4 radians a frame, seen in noise."""
    with seeded(seed):
        model = untrained()
        transition, turn = model.transition, torch.tensor(0.4)
        assert isinstance(transition, LinearTransition)
        cos, sin = turn.cos(), turn.sin()
        transition.linear.weight.copy_(0.95 * torch.stack([cos, -sin, sin, cos]).view(2, 2))
        transition.linear.bias.zero_()
        transition.log_scale.fill_(math.log(0.5))
        for parameter in model.emission.parameters():
            parameter.normal_()
        model.likelihood.log_scale.fill_(math.log(0.5))
    return model


@torch.no_grad()
def as_lds(model: DKF) -> LDS:
    """Return the LDS with a linear DKF's parameters: z_0 is 0, so that z_1 ~ N(b, Q)."""
    same, step, emission = LDS(model.data_dim, model.latent_dim), model.transition, model.emission
    assert isinstance(step, LinearTransition) and isinstance(emission, torch.nn.Linear)
    values = {
        "initial_mean": step.linear.bias,
        "initial_log_scale": step.log_scale,
        "transition": step.linear.weight,
        "transition_offset": step.linear.bias,
        "process_log_scale": step.log_scale,
        "emission": emission.weight,
        "emission_offset": emission.bias,
        "noise_log_scale": model.likelihood.scale.log(),
    }
    for name, value in values.items():
        getattr(same, name).copy_(value)
    return same


def compare(*, paths: int = PATHS, epochs: int = 40, em_steps: int = 50, seed: int = 0) -> Nats:
    """Train on ``paths`` paths; return what held-out ones are worth."""
    truth = as_lds(turning(seed))
    with seeded(seed), torch.no_grad():
        s, others = truth(size=paths, length=LENGTH), truth(size=HELD_OUT, length=LENGTH)
    with seeded(seed + 1):
        model, fitted = untrained(), LDS(DATA_DIM, LATENT_DIM).start_from(s)
        guide = DKFGuide(model, input_dim=32, recurrent_dim=32, latent_dims=(), hidden_dims=())
    for _ in range(em_steps):
        fitted.em_step(s)
    rate = cosine(epochs * math.ceil(paths / BATCH), start=1e-2)
    fit(
        model,
        guide,
        s,
        epochs=epochs,
        batch_size=BATCH,
        learning_rate=rate,
        seed=seed,
        progress=False,
    )
    with seeded(seed), torch.no_grad():
        bound = Objective().bound(model, guide, (others,))
        exact = [
            distribution.log_evidence(others) for distribution in (truth, fitted, as_lds(model))
        ]
    return Nats(*(nats / LENGTH for nats in (*exact, bound)))


def show(nats: Nats) -> None:
    """Print means over paths, with standard errors; differences are of the same paths."""
    print(f"\nLinear DKF, L {LATENT_DIM}, D {DATA_DIM}, T {LENGTH}, held out, in nats a frame")
    rows = {
        "evidence of the truth": nats.truth,
        "  less that of an LDS learned by EM": nats.truth - nats.em,
        "  less that of the DKF's parameters": nats.truth - nats.learned,
        "  of these less the DKF's bound (the guide's gap)": nats.learned - nats.bound,
        "  the truth's less the DKF's bound": nats.truth - nats.bound,
    }
    for name, value in rows.items():
        error = value.std() / len(value) ** 0.5
        print(f"{name:50s}{value.mean():9.4f} +- {error:.4f}", flush=True)
