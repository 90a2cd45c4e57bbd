"""Draws of the columns of a table by their quantile functions, so that people share their noise."""

from __future__ import annotations

import torch
from scipy.special import gammaincinv, pdtrik
from torch import Tensor

from ppl_models.distributions import (
    BinaryColumns,
    CategoricalColumns,
    CensoredColumns,
    ColumnPart,
    CountColumns,
    MixedColumns,
    OrdinalColumns,
    PositiveColumns,
    RealColumns,
)


def column_quantiles(columns: MixedColumns, u: Tensor, v: Tensor) -> Tensor:
    """Return values (..., D) of the columns, each below its own with probability u (..., D).

    ``v`` is for the rates of counts, which are drawn first. Uniform numbers u and v make draws.
    """
    found = [
        _quantile(part, u[..., at], v[..., at])
        for part, at in zip(columns.parts, columns.places.columns, strict=True)
    ]
    joined = torch.cat(found, -1)
    order = columns.places.order
    return joined if order is None else joined[..., order]


def _quantile(part: ColumnPart, u: Tensor, v: Tensor) -> Tensor:
    if isinstance(part, RealColumns | PositiveColumns | CensoredColumns):
        x = torch.addcmul(part.loc, torch.special.ndtri(u), part.scale)
        if isinstance(part, CensoredColumns):
            return torch.minimum(torch.maximum(x, part.lower), part.upper)
        return x.exp() if isinstance(part, PositiveColumns) else x
    if isinstance(part, BinaryColumns):
        return (u > 1 - part.logits.sigmoid()).to(part.logits)
    if isinstance(part, CategoricalColumns):
        below = part.logits.softmax(-1).cumsum(-1)[..., :-1]
        return (u[..., None] > below).sum(-1).to(part.logits)
    if isinstance(part, OrdinalColumns):
        latent = part.eta + u.logit()
        return (latent[..., None] > part.cuts[:, 1:-1]).sum(-1).to(part.eta)
    return _counts(part, u, v)


def _counts(part: ColumnPart, u: Tensor, v: Tensor) -> Tensor:
    """Return counts: Poisson, with rates of a gamma distribution."""
    assert isinstance(part, CountColumns)
    r = part.log_dispersion.double().exp()
    factor = gammaincinv(r.numpy(force=True), v.double().numpy(force=True))
    rate = part.log_mean.double().exp() * torch.as_tensor(factor).to(r.device) / r
    u = u.double().expand_as(rate)
    at_most = pdtrik(u.numpy(force=True), rate.clamp_min(1e-12).numpy(force=True))
    counts = torch.as_tensor(at_most).nan_to_num(0.0).clamp_min(0).ceil()
    return torch.where(u <= (-rate).exp(), 0.0, counts.to(rate)).to(part.log_mean)
