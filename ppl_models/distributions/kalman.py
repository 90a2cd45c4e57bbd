r"""Exact filtering and smoothing of linear-Gaussian paths, batched and differentiable.

.. math::
    z_1 \sim N(m_1, P_1), \qquad z_{t+1} \sim N(A_t z_t + b_t, Q_t), \qquad
    x_t \sim N(C_t z_t + d_t, \mathrm{diag}\, r_t).

::

    z_1 --> z_2 --> ... --> z_T       N numbers a frame
     |       |               |
    x_1     x_2             x_T       D numbers a frame, or those of them that were seen

What costs time is a loop over frames of small matrices, so that only what truly recurs is in one:
the covariances of the filter (some ten small kernels a frame), and affine recursions (one or two).
Covariances do not depend on x: parameters without batch dims, and no mask, have one loop of
unbatched matrices for all paths.

Numbers: covariances are only ever sums of positive terms, so that float32 does for 1,000 frames.
An update with D <= N factors the D x D covariance of the innovation and is in Joseph's form, which
stands small noise; one with D > N factors N x N matrices and is a product W^T W. No jitter.

References: R. E. Kalman 1960; H. E. Rauch, F. Tung, C. T. Striebel, "Maximum likelihood estimates
of linear dynamic systems", AIAA J. 1965; S. Sarkka, "Bayesian filtering and smoothing", 2013,
sections 4.3, 8.2 and 9.8; R. S. Bucy and P. D. Joseph 1968 (form of the update).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ppl_models.distributions.linear_gaussian import LinearGaussian, check_system, seen_system
from ppl_models.errors import InputError
from ppl_models.sequences import clean


class Filtered(NamedTuple):
    """Moments of z_t given x_{1:t}, and given x_{1:t-1}.

    Covariances have the batch dims of parameters and mask, which broadcast against those of means.
    """

    mean: Tensor
    """E(z_t | x_{1:t}), (..., T, N)."""
    cov: Tensor
    """Cov(z_t | x_{1:t}), (..., T, N, N)."""
    predicted_mean: Tensor
    """E(z_t | x_{1:t-1}), (..., T, N)."""
    predicted_cov: Tensor
    """Cov(z_t | x_{1:t-1}), (..., T, N, N)."""
    log_evidence: Tensor
    """log p(x_t | x_{1:t-1}), (..., T), in nats; 0 where x is masked."""


class Smoothed(NamedTuple):
    """Moments of z given x_{1:T}; batch dims as in `Filtered`."""

    mean: Tensor
    """E(z_t | x), (..., T, N)."""
    cov: Tensor
    """Cov(z_t | x), (..., T, N, N)."""
    cross: Tensor
    """Cov(z_{t+1}, z_t | x), (..., T-1, N, N)."""


def kalman_filter(
    params: LinearGaussian, x: Tensor, mask: Tensor | None = None, observed: Tensor | None = None
) -> Filtered:
    """Filter paths x (..., T, D); frames where mask (..., T) is false are predicted only.

    So are numbers where ``observed`` (..., T, D) is false. Either may be false anywhere, and x may
    hold anything there, NaN too.

    Raises
    ------
    InputError
        The shapes of parameters, x and masks do not fit, or a covariance is not positive definite
        (or not finite), at the frame named.
    """
    check_system(params, x, mask, observed)
    given = clean(x - params.emission_offset, mask, observed)
    params, emission, count = seen_system(params, mask, observed)
    if mask is not None and observed is not None:
        given = clean(given, mask)
    narrow = x.shape[-1] <= params.initial_mean.shape[-1]
    update = (_narrow if narrow else _wide)(params, emission, x.shape[-2])
    pull = matvec(update.gain, given)
    keep, first_keep = update.keep[..., 1:, :, :], update.keep[..., 0, :, :]
    rest = matvec(keep, params.transition_offset) + pull[..., 1:, :]
    first = matvec(first_keep, params.initial_mean) + pull[..., 0, :]
    mean = _recur(keep @ params.transition, rest, first)
    moved = matvec(params.transition, mean[..., :-1, :]) + params.transition_offset
    start = params.initial_mean.expand(mean[..., 0, :].shape)[..., None, :]
    predicted = torch.cat([start, moved], -2)
    if narrow:
        distance = _square(update.root, given - matvec(emission, predicted))
    else:  # the same number from smaller ones: what is left of x, and how far z was moved
        left, step = given - matvec(emission, mean), mean - predicted
        distance = (left**2 / params.noise_variance).sum(-1) + _square(update.root, step)
    log_evidence = -0.5 * (distance + update.log_det + count * math.log(2 * math.pi))
    if mask is not None:
        log_evidence = torch.where(mask, log_evidence, torch.zeros_like(log_evidence))
    return Filtered(mean, update.cov, predicted, update.predicted_cov, log_evidence)


def kalman_smoother(params: LinearGaussian, filtered: Filtered) -> Smoothed:
    """Smooth what `kalman_filter` returned for these parameters (Rauch, Tung and Striebel)."""
    pull, still, spread = backward_steps(params, filtered)
    mean = _recur(pull, still, filtered.mean[..., -1, :], backward=True)
    covs = [filtered.cov[..., -1, :, :]]
    for gain, own in zip(reversed(pull.unbind(-3)), reversed(spread.unbind(-3)), strict=True):
        covs.append(own + gain @ covs[-1] @ gain.mT)
    cov = _symmetric(torch.stack(covs[::-1], -3))
    return Smoothed(mean, cov, cov[..., 1:, :, :] @ pull.mT)


def backward_steps(params: LinearGaussian, filtered: Filtered) -> tuple[Tensor, Tensor, Tensor]:
    """Return G, g and V of p(z_t | z_{t+1}, x_{1:t}) = N(G z_{t+1} + g, V), for t < T."""
    cov, transition = filtered.cov[..., :-1, :, :], params.transition
    ahead = torch.linalg.cholesky(filtered.predicted_cov[..., 1:, :, :])
    pull = torch.cholesky_solve(transition @ cov, ahead).mT
    still = filtered.mean[..., :-1, :] - matvec(pull, filtered.predicted_mean[..., 1:, :])
    keep = _eye(cov) - pull @ transition
    return pull, still, keep @ cov @ keep.mT + pull @ params.process_cov @ pull.mT


class _Updates(NamedTuple):
    """What of a filter does not depend on x."""

    keep: Tensor
    """I - gain C: E(z_t | x_{1:t}) = keep E(z_t | x_{1:t-1}) + gain (x_t - d_t)."""
    gain: Tensor
    cov: Tensor
    predicted_cov: Tensor
    root: Tensor
    """Cholesky factor of the covariance of x_t (`_narrow`) or z_t (`_wide`), given x_{1:t-1}."""
    log_det: Tensor
    """log det Cov(x_t | x_{1:t-1}), (..., T)."""


def _narrow(params: LinearGaussian, emission: Tensor, length: int) -> _Updates:
    """Factor the D x D covariance of each innovation; Joseph's form."""
    eye = _eye(params.initial_cov)

    def update(predicted: Tensor, c: Tensor, noise: Tensor) -> tuple[Tensor, ...]:
        cross = c @ predicted
        root, failed = torch.linalg.cholesky_ex(cross @ c.mT + noise)
        gain = torch.cholesky_solve(cross, root).mT
        keep = eye - gain @ c
        return keep @ predicted @ keep.mT + gain @ noise @ gain.mT, failed, root, gain, keep

    noise = params.noise_variance.diag_embed()
    predicted, (cov, root, gain, keep) = _covariances(params, update, length, emission, noise)
    return _Updates(keep, gain, cov, predicted, root, _log_det(root))


def _wide(params: LinearGaussian, emission: Tensor, length: int) -> _Updates:
    """Factor N x N matrices: with P = L L^T, J = C^T R^-1 C, the update is L (I + L^T J L)^-1 L^T.

    U U^T = I + L^T J L and W = U^-1 L^T, of which the update is W^T W.
    """
    eye = _eye(params.initial_cov)
    weighed = emission.mT / params.noise_variance[..., None, :]

    def update(predicted: Tensor, precision: Tensor) -> tuple[Tensor, ...]:
        root, failed = torch.linalg.cholesky_ex(predicted)
        inner, failed_too = torch.linalg.cholesky_ex(eye + root.mT @ precision @ root)
        half = torch.linalg.solve_triangular(inner, root.mT, upper=False)
        return half.mT @ half, failed + failed_too, root, inner, half

    information = weighed @ emission
    predicted, (cov, root, inner, half) = _covariances(params, update, length, information)
    keep = torch.linalg.solve_triangular(root @ inner, half.mT, upper=False, left=False)
    log_det = _log_det(inner) + params.noise_variance.log().sum(-1)
    return _Updates(keep, cov @ weighed, cov, predicted, root, log_det)


def _covariances(
    params: LinearGaussian,
    update: Callable[..., tuple[Tensor, ...]],
    length: int,
    *given: Tensor,
) -> tuple[Tensor, list[Tensor]]:
    """Run the recursion of covariances; `update` reads a frame (..., a, b) of each of `given`.

    Returns Cov(z_t | x_{1:t-1}) and, after Cov(z_t | x_{1:t}), whatever else `update` returns.
    """
    matrices = params.transition, params.process_cov, *given
    batch = torch.broadcast_shapes(params.initial_cov.shape[:-2], *(m.shape[:-3] for m in matrices))
    moves = zip(*(frames_of(matrix, length - 1) for matrix in matrices[:2]), strict=True)
    frames = zip(*(frames_of(matrix, length) for matrix in given), strict=True)
    cov = params.initial_cov.expand(*batch, *params.initial_cov.shape[-2:])
    predicted, rows = [cov], [update(cov, *next(frames))]
    for (transition, noise), frame in zip(moves, frames, strict=True):
        predicted.append(transition @ rows[-1][0] @ transition.mT + noise)
        rows.append(update(predicted[-1], *frame))
    columns = list(zip(*rows, strict=True))
    failed = torch.stack(columns.pop(1), -1)
    if failed.any():
        found = f"no positive definite, finite matrix at frame {int(failed.nonzero()[0, -1])}"
        cure = "check for NaN in parameters and data, for zero variances, or use float64"
        raise InputError("params", found, "covariances that can be factored", cure)
    cov, *others = (torch.stack(column, -3) for column in columns)
    return _symmetric(torch.stack(predicted, -3)), [_symmetric(cov), *others]


def _recur(a: Tensor, b: Tensor, first: Tensor, *, backward: bool = False) -> Tensor:
    """Return y_1 = first, y_{t+1} = a_t y_t + b_t, or the same from the last frame to the first."""
    batch = torch.broadcast_shapes(a.shape[:-3], b.shape[:-2], first.shape[:-1])
    y = [first.expand(*batch, first.shape[-1])]
    pairs = list(zip(a.unbind(-3), b.unbind(-2), strict=True))
    for matrix, offset in reversed(pairs) if backward else pairs:
        y.append(matvec(matrix, y[-1]) + offset)
    return torch.stack(y[::-1] if backward else y, -2)


def matvec(matrix: Tensor, vector: Tensor) -> Tensor:
    """Return matrices (..., a, b) times vectors (..., b)."""
    return (matrix @ vector[..., None])[..., 0]


def frames_of(matrix: Tensor, length: int) -> tuple[Tensor, ...]:
    """Return the ``length`` frames (..., a, b) of a matrix whose time dim may be 1."""
    return matrix.expand(*matrix.shape[:-3], length, *matrix.shape[-2:]).unbind(-3)


def _symmetric(matrix: Tensor) -> Tensor:
    return 0.5 * (matrix + matrix.mT)


def _square(root: Tensor, error: Tensor) -> Tensor:
    """Return error^T (root root^T)^-1 error."""
    return torch.linalg.solve_triangular(root, error[..., None], upper=False).square().sum((-2, -1))


def _log_det(root: Tensor) -> Tensor:
    return 2 * root.diagonal(dim1=-2, dim2=-1).log().sum(-1)


def _eye(like: Tensor) -> Tensor:
    return torch.eye(like.shape[-1], dtype=like.dtype, device=like.device)
