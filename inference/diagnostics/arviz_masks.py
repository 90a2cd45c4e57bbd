"""NaN where draws of a pair stand for nothing: frames that do not exist, data that are missing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from inference.diagnostics.arviz_adapter import Variable
from inference.tracing import Sampler, is_deterministic

MASKED = "NaN where a mask hides the site: frames that do not exist, missing data"
COMPUTED = "what the model computes, also where masks hide the sites that it is computed from"
PRIOR = "draws of its prior where a mask hides the site, which is enumerated"


def masked(sampler: Sampler, name: str, variable: Variable, group: str) -> Variable:
    """Put NaN where a site has nothing; in predictions, where there is nothing to predict."""
    predicted = group == "posterior_predictive"
    mask = sampler.predictable(name) if predicted else sampler.mask(name)
    if name in sampler.sites and is_deterministic(sampler.sites[name]):
        return replace(variable, attrs=variable.attrs | _noted(sampler))
    if mask is None or bool(mask.all()):
        return variable
    if name in sampler.enumerated:  # as `inference.enumerated` has it
        return replace(variable, attrs=variable.attrs | {"masked": PRIOR})
    shape = variable.values.shape[variable.drawn :]
    values = np.where(mask.cpu().numpy().reshape(shape), variable.values, np.nan)
    if np.issubdtype(variable.values.dtype, np.floating):
        values = values.astype(variable.values.dtype)
    return replace(variable, values=values, attrs=variable.attrs | {"masked": MASKED})


def _noted(sampler: Sampler) -> dict[str, str]:
    """Say of a computed value, whose dims need not be those of a site, that masks are not in it."""
    masks = (sampler.mask(name) for name in (*sampler.latents, *sampler.observed))
    hidden = any(mask is not None and not bool(mask.all()) for mask in masks)
    return {"masked": COMPUTED} if hidden else {}
