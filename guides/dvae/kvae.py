"""The guide of the Kalman VAE: a network encodes each frame; missing frames are smoothed.

q(a | s) = prod_t N(a_t; mean(s_t), diag scale(s_t)^2). No network infers the dynamics: given a, the
model's own Kalman smoother is p(z | a).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from guides.base import ReadingGuide, needed
from ppl_models.distributions import LinearGaussian, kalman_filter, kalman_smoother, matvec
from ppl_models.dvae import KVAE, CompletedPath
from ppl_models.inputs import check_count
from ppl_models.networks import MLP, split_normal
from ppl_models.sequences import Moments, clean, hold, masked, numbers_seen, sequence_plate


class KVAEGuide(ReadingGuide[KVAE]):
    """Amortized diagonal Gaussian q(a | s) of :class:`ppl_models.dvae.kvae.KVAE`, frame by frame.

    Fraccaro et al. 2017, eq. 7.

    Parameters
    ----------
    model : KVAE
        Read by reference: its sizes, and how its likelihood reads frames.
    hidden_dims : sequence of int
        Hidden layers of the encoder.
    gaps : bool
        Whether the encoder also reads which numbers of a frame were seen. With or without it, the
        codes of frames of which nothing was seen follow from the dynamics (`CompletedPath`), and
        other numbers that were not seen are read as the last ones seen in their place.
    """

    def __init__(
        self, model: KVAE, *, hidden_dims: Sequence[int] = (64,), gaps: bool = False
    ) -> None:
        super().__init__(model)
        self.gaps = gaps
        read_dim = model.likelihood.feature_dim + (model.data_dim if gaps else 0)
        self.encoder = MLP(read_dim, *hidden_dims, 2 * model.pseudo_dim)

    def forward(
        self,
        s: Tensor | None = None,
        mask: Tensor | None = None,
        *,
        observed: Tensor | None = None,
    ) -> Tensor:
        """Sample ``a`` (B, T, A) for sequences ``s`` (B, T, D); masks as in the model.

        Raises
        ------
        InputError
            ``s`` is not (B, T, D), is NaN where it was seen, or the mask has a hole.
        """
        s = needed(s, expected="sequences (B, T, D)")
        with sequence_plate(s, mask, self.model.data_dim, observed=observed) as frames:
            return self.path(s, mask, observed=frames.observed)

    def path(
        self,
        s: Tensor,
        mask: Tensor | None = None,
        noise: float = 1.0,
        observed: Tensor | None = None,
    ) -> Tensor:
        """Sample a of one sequence in each place of the enclosing plates; return it.

        ``noise`` scales the standard deviations of a: 0 gives its means.
        """
        mean, scale = self.moments(s, mask if observed is None else observed)
        seen = None if observed is None else observed.any(-1)
        if seen is not None and bool((seen if mask is None else seen | ~mask).all()):
            seen = None  # no frame is missing as a whole
        if not noise:
            mean = mean if seen is None else complete(self.model, mean, seen)
            return pyro.sample("a", dist.Delta(mean, event_dim=2))
        if seen is not None:
            found = CompletedPath((mean, noise * scale), seen, self._dynamics(seen), mask)
            return pyro.sample("a", found)
        distribution = dist.Normal(mean, noise * scale, validate_args=False)
        return pyro.sample("a", masked(distribution, mask).to_event(2))

    def _dynamics(self, seen: Tensor) -> Callable[[Tensor], LinearGaussian]:
        """Return what rules all codes, from those of the frames that were seen."""
        model = self.model
        return lambda a: model.dynamics(_forecast(model, a, seen) if model.reads_codes else a)

    def moments(self, s: Tensor, observed: Tensor | None = None) -> Moments:
        """Return mean and scale (..., T, A) of a.

        Frames, or numbers, that are not ``observed``, (..., T) or (..., T, D), may hold anything.
        """
        seen = numbers_seen(s, None, observed)
        if seen is not None:
            whole = bool((seen.all(-1) == seen.any(-1)).all())  # frames, not parts of them
            s = clean(s, None, seen) if whole else hold(s, seen)
        features = self.model.likelihood.features(s)
        if self.gaps:
            ones = torch.ones_like(s) if seen is None else seen
            features = torch.cat([features, ones.to(features.dtype)], -1)
        return split_normal(self.encoder(features))


def impute(
    model: KVAE, guide: KVAEGuide, s: Tensor, observed: Tensor, *, smooth: bool = True
) -> Tensor:
    """Fill in s (..., T, D) where ``observed``, (..., T) or (..., T, D), is false, at any place.

    Missing frames are decoded from pseudo-observations that the smoother fills in from both sides,
    or the filter from the past alone if not ``smooth`` (`complete`); missing numbers of other
    frames, from these frames' own. What was observed is left as it is; the rest may hold anything,
    and becomes `Likelihood.point`: for bits, probabilities.

    Raises
    ------
    InputError
        ``observed`` is no bool tensor of a value a frame, or a number.
    """
    seen = numbers_seen(s, None, observed)
    assert seen is not None
    with torch.no_grad():
        a = complete(model, guide.moments(s, observed)[0], seen.any(-1), smooth=smooth)
        return torch.where(seen, s, model.likelihood.point(model.decoder(a)).to(s))


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
