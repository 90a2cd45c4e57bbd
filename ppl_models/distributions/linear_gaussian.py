r"""The parameters of a linear-Gaussian path, their checks, and what of them gaps leave.

The model is that of `ppl_models.distributions.kalman`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ppl_models.errors import InputError


class LinearGaussian(NamedTuple):
    """Parameters of a path of T frames, with any leading batch dims that broadcast.

    A time dim may be 1 where all frames share a value. Covariances are positive definite. A full
    covariance of the noise is whitened away first: with its Cholesky factor L, pass L^-1 x, L^-1 C
    and variances of one, and take log det L off the evidence of each frame.
    """

    initial_mean: Tensor
    """m_1 (..., N)."""
    initial_cov: Tensor
    """P_1 (..., N, N)."""
    transition: Tensor
    """A (..., T-1, N, N), of the step t -> t+1."""
    transition_offset: Tensor
    """b (..., T-1, N)."""
    process_cov: Tensor
    """Q (..., T-1, N, N)."""
    emission: Tensor
    """C (..., T, D, N)."""
    emission_offset: Tensor
    """d (..., T, D)."""
    noise_variance: Tensor
    """r (..., T, D), the diagonal of the noise's covariance, in squared units of x."""


def seen_system(
    params: LinearGaussian, mask: Tensor | None, observed: Tensor | None
) -> tuple[LinearGaussian, Tensor, Any]:
    """Return parameters, the emission, and how many numbers of each frame were seen.

    What was not seen has an emission of nothing, so that its gain is zero, and unit noise, whose
    log determinant is 0.
    """
    emission = params.emission
    if mask is not None:
        emission = emission * mask[..., None, None]
    if observed is None:
        return params, emission, emission.shape[-2]
    noise = torch.where(observed, params.noise_variance, torch.ones_like(params.noise_variance))
    params = params._replace(noise_variance=noise)
    return params, emission * observed[..., None], observed.sum(-1).to(noise.dtype)


def check_system(
    params: LinearGaussian, x: Tensor, mask: Tensor | None, observed: Tensor | None
) -> None:
    """Raise InputError unless frames and sizes fit."""
    size, length = params.initial_mean.shape[-1], x.shape[-2]
    wanted: dict[str, tuple[int, ...]] = {
        "initial_cov": (size, size),
        "transition": (length - 1, size, size),
        "transition_offset": (length - 1, size),
        "process_cov": (length - 1, size, size),
        "emission": (length, x.shape[-1], size),
        "emission_offset": (length, x.shape[-1]),
        "noise_variance": (length, x.shape[-1]),
    }
    for name, shape in wanted.items():
        found = tuple(getattr(params, name).shape[-len(shape) :])
        if found not in (shape, (1, *shape[1:])):
            cure = "give each frame its own, or a time dim of 1"
            raise InputError(name, f"shape (..., {found})", f"(..., {shape})", cure)
    if mask is not None and (mask.dtype != torch.bool or mask.shape[-1:] != x.shape[-2:-1]):
        what, cure = f"{tuple(mask.shape)}, {mask.dtype}", "give True for every observed frame"
        raise InputError("mask", what, f"(..., {length}), torch.bool", cure)
    if observed is not None and (
        observed.dtype != torch.bool or observed.shape[-2:] != x.shape[-2:]
    ):
        what, cure = f"{tuple(observed.shape)}, {observed.dtype}", "observed=~x.isnan()"
        raise InputError("observed", what, f"(..., {length}, {x.shape[-1]}), torch.bool", cure)
