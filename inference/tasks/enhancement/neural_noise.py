r"""Noise by a network: `NoisySpeech`, trained on noisy speech, on the recording, or on both.

======  ===============================================  ==========================================
method  noise network and encoder are those of           then
======  ===============================================  ==========================================
und     a collection of noisy recordings (U-ND)          nothing: one pass of the networks
una     clean speech (encoder), no noise yet (U-NA)      adapted to the recording
unda    a collection of noisy recordings (U-NDA)         adapted to the recording
======  ===============================================  ==========================================

Adaptation climbs E_q sum log N_c(x; 0, v_s + v_n) - KL(q(z) || p(z)) by Adam, in the weights of
the noise network and in the moments of q(z) themselves, which begin where the encoder puts them.
(The paper adapts the encoder's weights in their place.)

Reference: X. Lin, S. Leglaive, L. Girin, X. Alameda-Pineda, "Unsupervised speech enhancement with
deep dynamical generative speech and noise models", Interspeech 2023, arXiv:2306.07820.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from guides.audio import NoisySpeechGuide
from inference.tasks.separation import (
    FreeLatents,
    Noise,
    Posterior,
    Reading,
    check_finite,
    summarise,
)
from ppl_models.audio import NoisySpeech
from ppl_models.likelihoods import bin_power


class Adaptation(NamedTuple):
    """How networks are adapted to a recording.

    Parameters
    ----------
    iterations : int
        0: not at all.
    latents_rate, noise_rate : float
        Learning rates of the moments of q(z), and of the noise network.
    scale : float
        Standard deviation of latents, at first.
    num_samples : int
        Draws behind the answer and its bound.
    """

    iterations: int = 50
    latents_rate: float = 0.1
    noise_rate: float = 2e-3
    scale: float = 0.1
    num_samples: int = 8


def infer_noisy(
    model: NoisySpeech,
    guide: NoisySpeechGuide,
    o: Tensor,
    mask: Tensor,
    how: Adaptation,
    *,
    seeds: Sequence[int],
    progress: Callable[[int], None] | None = None,
) -> Posterior:
    """Return the posterior of speech and noise of pieces o (B, T, 2 F) of one recording.

    The pair is left as it was.
    """
    noise_net = copy.deepcopy(model.noise)
    power = bin_power(o)
    speech = FreeLatents(model.speech, guide.speech_guide, power, mask, scale=how.scale)
    if not how.iterations:
        speech.encode(power, scales=True)
    weights = [p.requires_grad_() for p in noise_net.parameters()]
    groups: list[dict[str, Any]] = [
        {"params": speech.parameters(), "lr": how.latents_rate},
        {"params": weights, "lr": how.noise_rate},
    ]
    optimizer, noise, objective = torch.optim.Adam(groups), Noise(seeds), list[Tensor]()

    def at(draws: Noise) -> tuple[list[Reading], Tensor]:
        reading = speech.read(draws, power)
        v = noise_net.variance(reading.latents["z"], power, mask)
        total = reading.variance + v
        frames = -(total.log() + power / total + math.log(math.pi)).sum(-1)
        value = torch.where(mask, frames, 0.0).sum(-1) - reading.rate
        return [reading, Reading({}, v, torch.zeros_like(value))], value

    for i in range(how.iterations):
        readings, value = at(noise)
        check_finite(("speech", "noise"), readings, i + 1)
        objective.append(value.detach())
        free = [p for group in groups for p in group["params"]]
        for parameter, grad in zip(free, torch.autograd.grad(-value.sum(), free), strict=True):
            parameter.grad = grad
        optimizer.step()
        if progress is not None:
            progress(i + 1)
    return summarise(o, at, noise, how.num_samples, objective)
