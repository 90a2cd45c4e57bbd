"""What the guides of several sources share: a guide of each part, that samples its latents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from inspect import signature
from typing import Any, TypeVar

import torch
from pyro import poutine
from pyro.contrib.autoname import scope
from torch import Tensor, nn

from guides.base import ReadingGuide
from ppl_models.audio import Parts, variances
from ppl_models.errors import InputError
from ppl_models.mixdvae import mask_for

Model = TypeVar("Model", bound=Parts)


class PartsGuide(ReadingGuide[Model]):
    """Guides of the parts of a model, by the same names.

    Parameters
    ----------
    model : Parts
    guides : mapping of str to nn.Module
        Of each part the guide: its ``path(s, mask=None)`` samples the part's latents, or nothing,
        given bins s (..., T, 2 F). One module may stand under several names.

    Raises
    ------
    InputError
        Names differ from the model's, or a guide reads another model than the part of its name.
    """

    def __init__(self, model: Model, guides: Mapping[str, nn.Module]) -> None:
        super().__init__(model)
        if set(guides) != set(model.names):
            cure = "give one guide for each of the model's parts, by the same names"
            raise InputError("guides", repr(sorted(guides)), repr(sorted(model.names)), cure)
        for name, part in model.named_parts():
            if getattr(guides[name], "model", part) is not part:
                found, expected = f"a guide of another model for {name}", "the guide of that part"
                cure = "take both from as_source_pair(model, guide)"
                raise InputError("guides", found, expected, cure)
        self.guides = nn.ModuleList(guides[name] for name in model.names)

    def named_guides(self) -> Iterator[tuple[str, Any]]:
        """Yield names and guides, in the model's order."""
        yield from zip(self.model.names, self.guides, strict=True)

    @torch.no_grad()
    def encoded(self, o: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return variances (..., N, T, F) of each part at latents read off bins o (..., T, 2 F).

        Latents are the means of their guides; networks of past frames read o. It is how the papers
        start: each source explains the whole recording.
        """
        found = []
        for (_, part), (_, guide) in zip(
            self.model.named_parts(), self.named_guides(), strict=True
        ):
            still: dict[str, Any] = (
                {"noise": 0.0} if "noise" in signature(guide.path).parameters else {}
            )
            with poutine.block():
                latents = latents_of(guide, o, mask, **still)
            v = variances(part, latents, o, mask)
            found.append(v.expand(*o.shape[:-1], v.shape[-1]))
        return torch.stack(found, -3)


def latents_of(
    guide: Any, s: Tensor, mask: Tensor | None = None, *, prefix: str = "", **options: Any
) -> dict[str, Tensor]:
    """Let a guide sample latents given bins s (..., T, 2 F); return them by the part's site names.

    Parameters
    ----------
    guide : nn.Module
    s : Tensor
    mask : Tensor of bool, optional
        As the guide's ``path`` takes it.
    prefix : str
        Of the names of sites: that of the source. By default there is none.
    **options
        Of the guide's ``path``.
    """
    given = {} if mask is None or not mask_for(guide.path, mask) else {"mask": mask}
    with poutine.trace() as seen:
        if prefix:
            with scope(prefix=prefix):
                guide.path(s, **given, **options)
        else:
            guide.path(s, **given, **options)
    start = f"{prefix}/" if prefix else ""
    nodes: dict[str, Any] = dict(seen.trace.nodes)
    return {
        name.removeprefix(start): site["value"]
        for name, site in nodes.items()
        if site["type"] == "sample" and name.startswith(start)
    }


def with_power(power: Tensor) -> Tensor:
    """Return bins (..., 2 F) of powers (..., F), all of phase 0: what encoders read of a source."""
    return torch.cat([power.clamp_min(0).sqrt(), torch.zeros_like(power)], -1)
