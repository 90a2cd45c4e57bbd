"""What states emit, fitted to frames: a part of expectation maximisation, and where it starts."""

from __future__ import annotations

import torch
from torch import Tensor

from ppl_models.errors import InputError
from ppl_models.inputs import spread_out
from ppl_models.likelihoods.basic import Bernoulli, Gaussian, Likelihood
from ppl_models.likelihoods.discrete import Categorical

LEAST = 1e-30
"""Least weight that counts."""


def fit_emission(
    part: Likelihood, s: Tensor, weight: Tensor, seen: Tensor, emission: Tensor
) -> Tensor:
    """Return the outputs (K, raw_dim) that fit each of K states best.

    Parameters
    ----------
    part
        The likelihood of a frame.
    s, seen
        Frames (B, T, D), and which of their numbers count.
    weight
        (B, T, K): of each frame in each state.
    emission
        (K, raw_dim): what states keep where they have no weight.

    Raises
    ------
    InputError
        A likelihood that is not Bernoulli, Categorical or Gaussian(..., "decoded").
    """
    if not isinstance(part, (Bernoulli, Categorical)) and (
        not isinstance(part, Gaussian) or part.kind != "decoded"
    ):
        cure = "learn others by gradient, with inference.fit"
        found, wanted = type(part).__name__, 'Bernoulli, Categorical or Gaussian(D, "decoded")'
        raise InputError("likelihood", found, wanted, cure)
    x, seen = part.features(s), of_features(part, seen).to(weight.dtype)
    count = torch.einsum("btk,btd->kd", weight, seen)
    mean = torch.einsum("btk,btd->kd", weight, seen * x) / count.clamp(LEAST)
    if isinstance(part, Gaussian):
        apart = seen[:, :, None] * (x[:, :, None] - mean).square()
        variance = torch.einsum("btk,btkd->kd", weight, apart) / count.clamp(LEAST)
        least = 1e-4 * part.floor**2
        raw = torch.cat([mean, 0.5 * (variance - part.floor**2).clamp(least).log()], -1)
        count = torch.cat([count, count], -1)
    elif isinstance(part, Bernoulli):
        raw = mean.clamp(1e-6, 1 - 1e-6).logit()
    else:
        raw = mean.clamp(1e-6).log()
    return torch.where(count > LEAST, raw, emission)


def cluster(part: Likelihood, s: Tensor, seen: Tensor, num_states: int, seed: int) -> Tensor:
    """Return of which cluster each frame (B, T, D) is, one-hot (B, T, K), by k-means++.

    Numbers that were not seen are taken to be the mean of those seen in their place; frames of
    which nothing was seen are no centres.
    """
    frames, weight = part.features(s), of_features(part, seen).to(s.dtype)
    mean = (weight * frames).sum((0, 1)) / weight.sum((0, 1)).clamp(min=1)
    frames = torch.where(weight > 0, frames, mean)
    centres = spread_out(frames[seen.any(-1)], num_states, seed)
    nearest = torch.cdist(frames, centres.expand(len(frames), -1, -1)).argmin(-1)
    return torch.nn.functional.one_hot(nearest, num_states).to(frames.dtype)


def of_features(part: Likelihood, seen: Tensor) -> Tensor:
    """Return which features (..., F) were seen, for numbers (..., D)."""
    return seen.repeat_interleave(part.feature_dim // part.data_dim, -1)
