r"""KL(q || p) of a latent site: the whole of it, by step, or by element.

In closed form where torch or Pyro know one, of the base of an ``Independent`` where its elements
are asked for; else :math:`\log q(z) - \log p(z)` at the draw. A site that is a sequence with
``moments`` (and ``mask_frames``), as `ppl_models.distributions.AutoregressiveNormal`, falls apart
into its conditionals at the draw; one with ``score_frames`` alone into its frames.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from pyro.distributions import ExpandedDistribution, MaskedDistribution
from pyro.distributions.util import scale_and_mask
from torch import Tensor
from torch.distributions import Independent, Normal, kl_divergence

from inference.errors import PairError
from inference.tracing import both, frame_of, log_density, subsampled_share, widen

Per = Literal["element", "step", "total"]


class Divergence(NamedTuple):
    """KL terms of a site, as far as it falls apart.

    Parameters
    ----------
    values
        Nats, of shape (batch..., event dims that were kept...), scaled and masked.
    weights
        The scale where an element exists, 0 where a mask hides it; broadcasts to ``values``.
    kept
        How many event dims were kept.
    """

    values: Tensor
    weights: Tensor
    kept: int

    def per(self, granularity: Per, q: Any, plate: str | None) -> tuple[Tensor, Tensor]:
        """Lay values and weights out as (B, J): J = 1 for ``"total"``; B = 1 outside the plate.

        Raises
        ------
        PairError
            The site does not fall apart that far.
        """
        event = q["fn"].event_dim
        needed = {"total": 0, "step": max(0, min(event - 1, 1)), "element": event}[granularity]
        if self.kept < needed:
            raise PairError(
                q["name"],
                f"a posterior whose KL is one number for {event - self.kept} of its event dims",
                f"a KL divergence for every {granularity}",
                'per="total", or a posterior and a prior with independent elements (to_event)',
            )
        full = torch.broadcast_shapes(self.values.shape, self.weights.shape)
        values = self._lay_out(self.values.expand(full), needed, q, plate, torch.sum)
        weights = self._lay_out(self.weights.expand(full), needed, q, plate, torch.amax)
        if granularity == "total":
            return values.sum(1, keepdim=True), weights.amax(1, keepdim=True)
        return values, weights

    def _lay_out(self, tensor: Tensor, event: int, q: Any, plate: str | None, over: Any) -> Tensor:
        """Take event dims but the first few together, and bring the data plate to the front."""
        if self.kept > event:
            tensor = over(tensor.flatten(tensor.dim() - self.kept + event), -1)
        frame = frame_of(q, plate)
        if frame is None or frame.dim is None:
            return tensor.reshape(1, -1)
        missing = -frame.dim + event - tensor.dim()
        tensor = tensor.reshape((1,) * missing + tensor.shape) if missing > 0 else tensor
        moved = tensor.movedim(frame.dim - event, 0)
        moved = moved.expand(frame.size, *moved.shape[1:]).reshape(frame.size, -1)
        return moved * subsampled_share(q, plate)


def divergence(q: Any, p: Any, closed_form: bool, plate: str | None = None) -> Tensor:
    """Return a site's KL divergence over its batch shape, scaled and masked as Pyro's bounds do.

    Of the data plate ``plate``, if it subsamples itself, N / B is taken out.
    """
    value = exact_kl(q, p) if closed_form else None
    if value is None:
        return log_density(q, plate) - log_density(p, plate)
    share = subsampled_share(q, plate)
    return value if share == 1.0 else value * share


def exact_kl(q: Any, p: Any) -> Tensor | None:
    """Return KL(q || p) in closed form, with the guide's scale and mask; None if there is none."""
    try:
        kl = kl_divergence(q["fn"], p["fn"])
    except NotImplementedError:
        return None
    return torch.as_tensor(scale_and_mask(kl, q["scale"], q["mask"]))


def divergence_parts(q: Any, p: Any, closed_form: bool) -> Divergence:
    """Return a site's KL divergence in the smallest parts that it has.

    Parameters
    ----------
    q, p
        The site in the guide and in the model, both at the guide's draw.
    closed_form
        Use a closed form where there is one.
    """
    z = q["value"]
    a, b = _factors(q["fn"], z), _factors(p["fn"], z)
    if hasattr(a.base, "score_frames") and hasattr(b.base, "score_frames"):
        values, kept, hidden = a.base.score_frames(z) - b.base.score_frames(z), 1, None
    elif a.dims == b.dims and a.base.event_shape == b.base.event_shape:
        values = _factor_kl(a, b, z, closed_form)
        kept, hidden = a.dims, both(a.mask, b.mask) if _alike(a, b) else None
    else:
        values, kept, hidden = divergence(unweighted(q), unweighted(p), closed_form), 0, None
    ones = torch.ones((), dtype=values.dtype, device=values.device)
    weights = ones if hidden is None else torch.where(hidden, ones, 0 * ones)
    outer = [widen(q[key], kept) for key in ("scale", "mask")]
    return Divergence(scale_and_mask(values, *outer), scale_and_mask(weights, *outer), kept)


class _Factors(NamedTuple):
    """Independent factors of a distribution; ``dims`` dims of theirs are events."""

    base: Any
    dims: int
    mask: Any


def _factors(fn: Any, value: Tensor) -> _Factors:
    dims, mask = 0, None
    while True:
        if isinstance(fn, Independent):
            few = fn.reinterpreted_batch_ndims
            fn, dims, mask = fn.base_dist, dims + few, widen(mask, few)
        elif isinstance(fn, MaskedDistribution):
            fn, mask = fn.base_dist, both(fn._mask, mask)
        elif isinstance(fn, ExpandedDistribution) and hasattr(fn.base_dist, "score_frames"):
            fn = fn.base_dist
        elif hasattr(fn, "moments") and hasattr(fn, "score_frames"):
            loc, scale = fn.moments(value)
            frames = widen(getattr(fn, "mask_frames", None), 1)
            few = len(fn.event_shape)
            mask = both(frames, widen(mask, few))
            return _Factors(Normal(loc, scale, validate_args=False), dims + few, mask)
        else:
            return _Factors(fn, dims, mask)


def _alike(a: _Factors, b: _Factors) -> bool:
    """Whether both parts are masked, or neither: a flat prior is masked in the model alone."""
    return (both(a.mask, None) is None) == (both(b.mask, None) is None)


def _factor_kl(a: _Factors, b: _Factors, z: Tensor, closed_form: bool) -> Tensor:
    if closed_form and _alike(a, b):
        try:
            return _where(both(a.mask, b.mask), kl_divergence(a.base, b.base))
        except NotImplementedError:
            pass
    return _where(a.mask, a.base.log_prob(z)) - _where(b.mask, b.base.log_prob(z))


def unweighted(site: Any) -> Any:
    """Return a site without scale and mask: its distribution and value alone."""
    return {**site, "scale": 1.0, "mask": None, "log_prob": None}


def _where(mask: Any, values: Tensor) -> Tensor:
    return values if mask is None else torch.where(mask, values, torch.zeros_like(values))
