"""Imputation: draws of missing data given the observed data, for any pair that masks them.

Generating one modality from another is the same thing: ``impute(model, guide, image=image)`` draws
the sounds that go with images, where the pair was built for images and sounds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from inference.errors import PairError
from inference.tracing import Sampler, sampling, stack_draws


@dataclass(frozen=True)
class Imputation:
    """Draws of missing values, beside the observed ones.

    Parameters
    ----------
    draws
        By observed site, (S, N, ...): drawn where the site is masked, as observed where it is not.
    missing
        By site, bool, of the shape of one draw or its leading dims: what was drawn.
    padding
        Likewise: of what was drawn, what does not exist, as frames after a sequence's end. Draws
        there are forecasts. ``missing & ~padding`` is what was to be filled in.
    """

    draws: dict[str, Tensor]
    missing: dict[str, Tensor]
    padding: dict[str, Tensor] = field(default_factory=dict)

    def mean(self, site: str) -> Tensor:
        """Return the mean over draws, (N, ...)."""
        return self.draws[site].double().mean(0)

    def interval(self, site: str, probability: float = 0.9) -> tuple[Tensor, Tensor]:
        """Return the ends of the central interval of that probability, (N, ...) each."""
        tail = torch.tensor([(1 - probability) / 2, (1 + probability) / 2], dtype=torch.double)
        low, high = self.draws[site].double().quantile(tail, dim=0)
        return low, high

    def shares(self, site: str, classes: int) -> Tensor:
        """Return how often each of C classes was drawn, (N, ..., C): the shares of a label."""
        hits = torch.nn.functional.one_hot(self.draws[site].long(), classes)
        return hits.double().mean(0)


def impute(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    *data: Any,
    num_samples: int = 100,
    seed: int = 0,
    plate: str | None = None,
    chunk: int | None = None,
    **named: Any,
) -> Imputation:
    """Draw masked values given the observed ones: latents from the guide, data from the model.

    The spread of the draws is that of the guide's posterior and of the likelihood together.

    Parameters
    ----------
    model, guide
        Any pair whose observed sites are masked where data are missing (``dist.mask``), or whose
        sequences have gaps (``observed=``). Frames that a mask of padding leaves out count as
        missing: they are forecasts, which ``padding`` of the answer tells from gaps.
    *data, **named
        The data, as the pair takes them, masks among them.
    num_samples
        S.
    seed
        Where the draws begin.
    plate
        The name of the data plate, when it is ambiguous.
    chunk
        Draws made at a time; by default as many as a fixed budget allows.

    Raises
    ------
    PairError
        Nothing is missing, or the guide misses a latent site.
    """
    with sampling(model, guide, data, named, seed, plate) as sampler:
        missing = _missing(sampler)
        parts: dict[str, list[Tensor]] = {name: [] for name in missing}
        for traces in sampler.chunks(num_samples, "sampled", chunk):
            for name, drawn in sampler.predict(traces).items():
                parts[name].append(torch.where(missing[name], drawn, sampler.data(name).to(drawn)))
        padding = {name: _padding(sampler, name) for name in missing}
    draws = {name: stack_draws(values) for name, values in parts.items()}
    return Imputation(draws, missing, padding)


def _padding(sampler: Sampler, name: str) -> Tensor:
    """Return what a mask hides that no datum has, (N, ...)."""
    there = sampler.predictable(name)
    return torch.zeros_like(sampler.data(name), dtype=torch.bool) if there is None else ~there


def _missing(sampler: Sampler) -> dict[str, Tensor]:
    """Return which values of each observed site are masked, of the shape of one draw."""
    found = {}
    for name in sampler.observed:
        mask, data = sampler.mask(name), sampler.data(name)
        found[name] = torch.zeros_like(data, dtype=torch.bool) if mask is None else ~mask
    if not any(bool(gone.any()) for gone in found.values()):
        raise PairError(
            None,
            f"the observed sites {', '.join(found) or '(none)'}, no value of them masked",
            "something missing",
            "mark what is there: mask=, or leave a modality out",
        )
    return found
