"""The guide of the Kalman VAE: a network reads each frame's code; what is missing, the model fills.

q(a | s) = prod_t N(a_t; mean(s_t), diag scale(s_t)^2). No network infers the dynamics: given a, the
model's own Kalman smoother is p(z | a).
"""

from __future__ import annotations

from collections.abc import Sequence

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from guides.base import needed
from ppl_models.distributions import kalman_filter, kalman_smoother, matvec
from ppl_models.dvae import KVAE
from ppl_models.errors import InputError
from ppl_models.inputs import check_count
from ppl_models.likelihoods import Likelihood, named
from ppl_models.networks import MLP, split_normal
from ppl_models.sequences import check_paths, clean


class KVAEGuide(nn.Module):
    """Amortized diagonal Gaussian q(a | s) of :class:`ppl_models.dvae.kvae.KVAE`, frame by frame.

    Fraccaro et al. 2017, eq. 7.

    Parameters
    ----------
    data_dim, pseudo_dim : int
        D and A.
    hidden_dims : sequence of int
        Hidden layers of the encoder.
    likelihood : str or Likelihood
        The model's, if it has a way of its own to be read (`Likelihood.features`).
    """

    def __init__(
        self,
        data_dim: int = 64,
        pseudo_dim: int = 2,
        *,
        hidden_dims: Sequence[int] = (64,),
        likelihood: str | Likelihood = "gaussian",
    ) -> None:
        super().__init__()
        part = named(likelihood, data_dim)
        self.data_dim, self.reader = data_dim, part.reader  # no parameters of the model's
        self.encoder = MLP(part.feature_dim, *hidden_dims, 2 * pseudo_dim)

    @classmethod
    def of(cls, model: KVAE, *, hidden_dims: Sequence[int] = (64,)) -> KVAEGuide:
        """Make the guide of a model, of its sizes."""
        sizes = model.data_dim, model.pseudo_dim
        return cls(*sizes, hidden_dims=hidden_dims, likelihood=model.likelihood)

    def forward(
        self,
        s: Tensor | None = None,
        mask: Tensor | None = None,
        *,
        size: int = 1,
        length: int = 60,
    ) -> Tensor:
        """Sample ``a`` (B, T, A) for sequences ``s`` (B, T, D); size and length are the model's.

        Raises
        ------
        InputError
            ``s`` is not (B, T, D), or the mask has a hole.
        """
        s = needed(s, expected="sequences (B, T, D)")
        check_paths(s, mask, self.data_dim)
        with pyro.plate("data", len(s), dim=-1):
            return self.path(s, mask)

    def path(self, s: Tensor, mask: Tensor | None = None, noise: float = 1.0) -> Tensor:
        """Look back at one sequence in each place of the enclosing plates; return a.

        ``noise`` scales what a varies by: 0 gives its means.
        """
        mean, scale = self.codes(s, mask)
        if not noise:
            return pyro.sample("a", dist.Delta(mean, event_dim=2))
        distribution = dist.Normal(mean, noise * scale, validate_args=False)
        return pyro.sample(
            "a", (distribution if mask is None else distribution.mask(mask[..., None])).to_event(2)
        )

    def codes(self, s: Tensor, seen: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return mean and scale (..., T, A) of a; frames not ``seen`` may hold anything."""
        return split_normal(self.encoder(self.reader(clean(s, seen))))


def impute(
    model: KVAE, guide: KVAEGuide, s: Tensor, seen: Tensor, *, smooth: bool = True
) -> Tensor:
    """Fill in the frames of s (..., T, D) where ``seen`` (..., T) is false, at any place.

    They are told from codes that the smoother fills in from both sides, or the filter from the past
    alone if not ``smooth`` (`complete`). Frames that are seen are left as they are; the others may
    hold anything, and become `Likelihood.point`: for bits, chances.

    Raises
    ------
    InputError
        ``seen`` is no bool tensor of a value a frame.
    """
    if seen.dtype != torch.bool or seen.shape != s.shape[:-1]:
        what, wanted = f"{tuple(seen.shape)}, {seen.dtype}", f"{tuple(s.shape[:-1])}, torch.bool"
        raise InputError("seen", what, wanted, "say of every frame whether it is seen")
    with torch.no_grad():
        a = complete(model, guide.codes(s, seen)[0], seen, smooth=smooth)
        return torch.where(seen[..., None], s, model.likelihood.point(model.decoder(a)))


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
    seen = torch.arange(length + steps, device=s.device) < length
    seen = seen.expand(longer.shape[:-1])
    return impute(model, guide, longer, seen, smooth=False)[..., length:, :]


def complete(model: KVAE, a: Tensor, seen: Tensor, *, smooth: bool = True) -> Tensor:
    """Fill in the codes a (..., T, A) where ``seen`` (..., T) is false, anywhere.

    Modes depend on codes that are missing. So first, frame by frame, a missing code is taken to be
    its forecast; then, to ``smooth``, the smoother looks at both sides, with the modes that follow
    from the forecasts, as in the paper.
    """
    a, ahead = clean(a, seen), _forecast(model, a, seen)
    if not smooth:
        return ahead
    params = model.dynamics(ahead)
    mean = kalman_smoother(params, kalman_filter(params, a, seen)).mean
    return torch.where(seen[..., None], a, matvec(params.emission, mean))


def _forecast(model: KVAE, a: Tensor, seen: Tensor) -> Tensor:
    """Fill in E(a_t | what is seen before t), by the filter, whose modes read what it filled in."""
    before, modes = torch.zeros_like(a[..., 0, :]), model.modes.start(a.shape[:-2], a)
    filled: list[Tensor] = []
    z: tuple[Tensor, Tensor] | None = None
    for t in range(a.shape[-2]):
        frame, modes = model.ahead(before, modes, z)
        now = seen[..., t : t + 1]
        known = kalman_filter(frame, a[..., t : t + 1, :], now)
        z = known.mean[..., 0, :], known.cov[..., 0, :, :]
        guess = matvec(frame.emission[..., 0, :, :], frame.initial_mean)
        before = torch.where(now, a[..., t, :], guess)
        filled.append(before)
    return torch.stack(filled, -2)
