"""Which pairs can be calibrated on data that their model simulates."""

from __future__ import annotations

from pyro import poutine
from pyro.distributions.util import is_identically_one
from pyro.infer.autoguide import AutoGuide
from torch import nn

from inference.errors import PairError
from inference.tracing import Sampler, is_deterministic, is_factor, is_flat, scale_of


def refuse_uncalibrated(sampler: Sampler) -> None:
    """Refuse a guide that is of one data set only, and a model whose data cannot be simulated.

    Raises
    ------
    PairError
        Naming the site.
    """
    guide = poutine.unwrap(sampler.guide)
    if isinstance(guide, nn.Module) and any(isinstance(m, AutoGuide) for m in guide.modules()):
        raise PairError(
            None,
            f"a guide that reads no data ({type(guide).__name__})",
            "a guide that is run on each simulated data set: this one is of the data it was fitted "
            "to",
            "write a guide that reads its arguments; or judge this one by importance (k-hat)",
        )
    plate = None if sampler.plate is None else sampler.plate.name
    for name, site in sampler.sites.items():
        if is_deterministic(site):
            continue
        found = "a pyro.factor" if is_factor(site) else "a flat prior" if is_flat(site) else ""
        if not is_identically_one(scale_of(site, plate)):
            found = "a poutine.scale"
        if found:
            raise PairError(
                name,
                f"{found}, so that data of the model cannot be simulated",
                "a model that is a proper joint distribution of latents and data",
                "write it as sample sites with proper priors; or judge the guide by importance "
                "(k-hat)",
            )
