r"""A variational Kalman filter for two or more sources of complex bins, one of which owns each bin.

::

    s_n,t ~ N_c(d s_n,t-1, v_n,t)      w_t ~ Categorical(1 / N)      o_t | w_t = n ~ N_c(s_n,t, v_o)

independently of one bin to the next, of which frequency f is left out above. Frame by frame, E-S
and E-W by turns: the filter never comes back to an earlier frame.

    E-S:  G_n = (eta_n / v_o + 1 / (d^2 G_n,t-1 + v_n))^-1
          m_n = G_n (eta_n o / v_o + d m_n,t-1 / (d^2 G_n,t-1 + v_n))
    E-W:  eta_n prop. to exp(-(|o - m_n|^2 + G_n) / v_o)

The variances v_n,t are given. With d = 0 it is the mixture of `BinMixture`, of known variances.

Source: Y. Ban, X. Alameda-Pineda, L. Girin, R. Horaud, "Variational Bayesian inference for
audio-visual tracking of multiple speakers", IEEE TPAMI 2021, arXiv:1809.10961, here of bins (the
rows VKF-Oracle and VKF-DVAE-init of MixDVAE's paper, whose code was not published).
"""

from __future__ import annotations

import torch
from torch import Tensor

SHARE = 0.03
"""Observation noise v_o, as a share of the power of the bin it is in, as MixDVAE's paper has it."""


@torch.no_grad()
def bin_kalman(
    o: Tensor, variances: Tensor, *, memory: float = 0.0, rounds: int = 5, share: float = SHARE
) -> Tensor:
    """Return the filtered means (N, ..., T, F) of sources of the bins ``o`` (..., T, F).

    Parameters
    ----------
    o
        Complex.
    variances
        (N, ..., T, F): v_n,t, what a frame adds that the last one did not say.
    memory
        d: 0, a frame knows nothing of the last one; 1, a random walk.
    rounds
        E-S and E-W steps of a frame.
    share
        v_o / |o|^2.
    """
    noise = (share * o.abs().square()).clamp(min=1e-12)
    mean, doubt, found = torch.zeros_like(variances[..., 0, :] + o[..., 0, :]), 0.0, []
    for t in range(o.shape[-2]):
        seen, v_o = o[..., t, :], noise[..., t, :]
        ahead, spread = memory * mean, memory**2 * doubt + variances[..., t, :].clamp(min=1e-12)
        eta = torch.full_like(spread, 1 / len(variances))
        for _ in range(rounds):
            doubt = 1 / (eta / v_o + 1 / spread)
            mean = doubt * (eta * seen / v_o + ahead / spread)
            eta = (-((seen - mean).abs().square() + doubt) / v_o).softmax(0)
        found.append(mean)
    return torch.stack(found, -2)
