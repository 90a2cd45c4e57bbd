"""The guide of the Kalman VAE: a network encodes each frame; missing frames are smoothed.

q(a | s) = prod_t N(a_t; mean(s_t), diag scale(s_t)^2). No network infers the dynamics: given a, the
model's own Kalman smoother is p(z | a).
"""

from __future__ import annotations

from collections.abc import Sequence

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from guides.base import ReadingGuide, needed
from ppl_models.distributions import kalman_filter, kalman_smoother, matvec
from ppl_models.dvae import KVAE
from ppl_models.errors import InputError
from ppl_models.inputs import check_count
from ppl_models.networks import MLP, split_normal
from ppl_models.sequences import Moments, clean, sequence_plate


class KVAEGuide(ReadingGuide[KVAE]):
    """Amortized diagonal Gaussian q(a | s) of :class:`ppl_models.dvae.kvae.KVAE`, frame by frame.

    Fraccaro et al. 2017, eq. 7.

    Parameters
    ----------
    model : KVAE
        Read by reference: its sizes, and how its likelihood reads frames.
    hidden_dims : sequence of int
        Hidden layers of the encoder.
    """

    def __init__(self, model: KVAE, *, hidden_dims: Sequence[int] = (64,)) -> None:
        super().__init__(model)
        self.encoder = MLP(model.likelihood.feature_dim, *hidden_dims, 2 * model.pseudo_dim)

    def forward(self, s: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Sample ``a`` (B, T, A) for sequences ``s`` (B, T, D).

        Raises
        ------
        InputError
            ``s`` is not (B, T, D), or the mask has a hole.
        """
        s = needed(s, expected="sequences (B, T, D)")
        with sequence_plate(s, mask, self.model.data_dim):
            return self.path(s, mask)

    def path(self, s: Tensor, mask: Tensor | None = None, noise: float = 1.0) -> Tensor:
        """Sample a of one sequence in each place of the enclosing plates; return it.

        ``noise`` scales the standard deviations of a: 0 gives its means.
        """
        mean, scale = self.moments(s, mask)
        if not noise:
            return pyro.sample("a", dist.Delta(mean, event_dim=2))
        distribution = dist.Normal(mean, noise * scale, validate_args=False)
        return pyro.sample(
            "a", (distribution if mask is None else distribution.mask(mask[..., None])).to_event(2)
        )

    def moments(self, s: Tensor, observed: Tensor | None = None) -> Moments:
        """Return mean and scale (..., T, A) of a; frames not ``observed`` may hold anything."""
        features = self.model.likelihood.features(clean(s, observed))
        return split_normal(self.encoder(features))


def impute(
    model: KVAE, guide: KVAEGuide, s: Tensor, observed: Tensor, *, smooth: bool = True
) -> Tensor:
    """Fill in the frames of s (..., T, D) where ``observed`` (..., T) is false, at any place.

    They are decoded from pseudo-observations that the smoother fills in from both sides, or the
    filter from the past alone if not ``smooth`` (`complete`). Observed frames are left as they are;
    the others may hold anything, and become `Likelihood.point`: for bits, probabilities.

    Raises
    ------
    InputError
        ``observed`` is no bool tensor of a value a frame.
    """
    if observed.dtype != torch.bool or observed.shape != s.shape[:-1]:
        found = f"{tuple(observed.shape)}, {observed.dtype}"
        wanted, cure = f"{tuple(s.shape[:-1])}, torch.bool", "give a bool for every frame"
        raise InputError("observed", found, wanted, cure)
    with torch.no_grad():
        a = complete(model, guide.moments(s, observed)[0], observed, smooth=smooth)
        return torch.where(observed[..., None], s, model.likelihood.point(model.decoder(a)))


def forecast(model: KVAE, guide: KVAEGuide, s: Tensor, steps: int) -> Tensor:
    """Return the ``steps`` frames (..., steps, D) that follow s (..., T, D), as `impute` does.

    Raises
    ------
    InputError
        ``steps`` is no whole number from 1.
    """
    check_count("steps", steps)
    ahead = torch.zeros_like(s[..., :1, :]).expand(*s.shape[:-2], steps, -1)
    longer, length = torch.cat([s, ahead], -2), s.shape[-2]
    observed = torch.arange(length + steps, device=s.device) < length
    observed = observed.expand(longer.shape[:-1])
    return impute(model, guide, longer, observed, smooth=False)[..., length:, :]


def complete(model: KVAE, a: Tensor, observed: Tensor, *, smooth: bool = True) -> Tensor:
    """Fill in the pseudo-observations a (..., T, A) where ``observed`` (..., T) is false, anywhere.

    Modes depend on missing a. So first, frame by frame, a missing a_t is taken to be its forecast;
    then, to ``smooth``, the smoother uses both sides, with the modes that follow from the
    forecasts, as in the paper.
    """
    a, ahead = clean(a, observed), _forecast(model, a, observed)
    if not smooth:
        return ahead
    params = model.dynamics(ahead)
    mean = kalman_smoother(params, kalman_filter(params, a, observed)).mean
    return torch.where(observed[..., None], a, matvec(params.emission, mean))


def _forecast(model: KVAE, a: Tensor, observed: Tensor) -> Tensor:
    """Fill in E(a_t | a observed before t), by the filter, whose modes read what it filled in."""
    before, modes = torch.zeros_like(a[..., 0, :]), model.modes.start(a.shape[:-2], a)
    filled: list[Tensor] = []
    z: tuple[Tensor, Tensor] | None = None
    for t in range(a.shape[-2]):
        frame, modes = model.ahead(before, modes, z)
        now = observed[..., t : t + 1]
        known = kalman_filter(frame, a[..., t : t + 1, :], now)
        z = known.mean[..., 0, :], known.cov[..., 0, :, :]
        guess = matvec(frame.emission[..., 0, :, :], frame.initial_mean)
        before = torch.where(now, a[..., t, :], guess)
        filled.append(before)
    return torch.stack(filled, -2)
