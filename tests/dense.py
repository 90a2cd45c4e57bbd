"""Linear motion as one dense Gaussian: the oracle of its tests."""

from __future__ import annotations

import torch
from torch import Tensor

from ppl_models.linear_motion import LinearMotion


def covariance(model: LinearMotion, length: int) -> Tensor:
    """Covariance (D, 2T, 2T) of (z_1..z_T, s_1..s_T), coordinate by coordinate.

    With x = W x + e, W strictly triangular and e white: Cov x = (I - W)^-1 Cov e (I - W)^-T.
    """
    result = []
    for d, decay in enumerate(model.decay.double()):
        w, q = torch.zeros(2 * length, 2 * length).double(), torch.zeros(2 * length).double()
        q[0] = (2 * model.log_speed[d]).exp().detach()
        q[length] = model.start_scale**2
        for t in range(1, length):
            w[t, t - 1] = decay
            w[length + t, length + t - 1] = w[length + t, t] = 1.0
            q[t] = (2 * model.log_speed_noise[d]).exp().detach()
            q[length + t] = (2 * model.log_position_noise[d]).exp().detach()
        inverse = torch.linalg.inv(torch.eye(2 * length).double() - w)
        result.append(inverse @ torch.diag(q) @ inverse.T)
    return torch.stack(result)


def hidden_and_observed(
    initial_mean: Tensor,
    initial_cov: Tensor,
    transition: Tensor,
    offset: Tensor,
    process_cov: Tensor,
    emission: Tensor,
    emission_offset: Tensor,
    noise_variance: Tensor,
) -> tuple[Tensor, Tensor]:
    """Mean and covariance of (z_1, ..., z_T, s_1, ..., s_T), flat, of linear-Gaussian frames.

    Written out from s = C z + d + e and z = W z + b + u, as `covariance` above. All but the
    initial moments have a row a frame; rows of the first three beyond the T - 1 steps are not read.
    """
    length, size = len(emission), len(initial_mean)
    w = initial_mean.new_zeros(length * size, length * size)
    noise, push = torch.zeros_like(w), [initial_mean]
    noise[:size, :size] = initial_cov
    for t in range(1, length):
        here, before = slice(t * size, (t + 1) * size), slice((t - 1) * size, t * size)
        w[here, before], noise[here, here] = transition[t - 1], process_cov[t - 1]
        push.append(offset[t - 1])
    inverse = torch.linalg.inv(torch.eye(len(w), dtype=w.dtype) - w)
    c = torch.block_diag(*emission)
    z_mean, z_cov = inverse @ torch.cat(push), inverse @ noise @ inverse.T
    mean = torch.cat([z_mean, c @ z_mean + emission_offset.flatten()])
    s_cov = c @ z_cov @ c.T + noise_variance.flatten().diag()
    cov = torch.cat([torch.cat([z_cov, z_cov @ c.T], 1), torch.cat([c @ z_cov, s_cov], 1)])
    return mean, cov


def conditioned(mean: Tensor, cov: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance of the first coordinates, given the last ones."""
    n = len(mean) - len(observed)
    gain = torch.linalg.solve(cov[n:, n:], cov[n:, :n]).T
    return mean[:n] + gain @ (observed - mean[n:]), cov[:n, :n] - gain @ cov[n:, :n]
