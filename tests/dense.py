"""Linear motion as one dense Gaussian: the oracle of its tests."""

from __future__ import annotations

import torch
from torch import Tensor

from ppl_models.state_space import LinearMotion


def covariance(story: LinearMotion, length: int) -> Tensor:
    """Covariance (D, 2T, 2T) of (z_1..z_T, s_1..s_T), coordinate by coordinate.

    With x = W x + e, W strictly triangular and e white: Cov x = (I - W)^-1 Cov e (I - W)^-T.
    """
    result = []
    for d, decay in enumerate(story.decay.double()):
        w, q = torch.zeros(2 * length, 2 * length).double(), torch.zeros(2 * length).double()
        q[0] = (2 * story.log_speed[d]).exp().detach()
        q[length] = story.start_scale**2
        for t in range(1, length):
            w[t, t - 1] = decay
            w[length + t, length + t - 1] = w[length + t, t] = 1.0
            q[t] = (2 * story.log_speed_noise[d]).exp().detach()
            q[length + t] = (2 * story.log_position_noise[d]).exp().detach()
        inverse = torch.linalg.inv(torch.eye(2 * length).double() - w)
        result.append(inverse @ torch.diag(q) @ inverse.T)
    return torch.stack(result)
