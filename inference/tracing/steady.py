"""What no run may change: which sites there are, and where a latent site may lie."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from pyro import poutine
from pyro.infer.autoguide import AutoGuide
from pyro.poutine import Trace
from torch import Tensor, nn

from inference.errors import PairError
from inference.randomness import seeded
from inference.tracing.layout import pair_traces
from inference.tracing.nonfinite import unvalidated
from inference.tracing.sites import Site, sample_sites

Pair = tuple[Trace, Trace]


def refuse_unsteady(
    model: Any, guide: Any, first: Pair, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Run a pair again with other noise, and refuse what must not depend on it.

    Parameters
    ----------
    model, guide, args, kwargs
        A bound pair and its data.
    first
        The traces of model and guide of a first run.

    Raises
    ------
    PairError
        Sites come and go from run to run; or the support of a latent site depends on another one,
        and the guide does not follow it.
    """
    with seeded(_OTHER), torch.no_grad(), unvalidated():
        second = pair_traces(model, guide, args, kwargs)
        for role, one, other in zip(("model", "guide"), first, second, strict=True):
            _refuse_other_sites(role, one, other)
        for site, causes in _moving(model, second[1], args, kwargs):
            if _is_fixed(guide) or any(_outside(trace, site) for trace in (first[0], second[0])):
                raise moving_support(site, causes)


_OTHER = 1  # the seed of the second run


def _refuse_other_sites(role: str, one: Trace, other: Trace) -> None:
    names, others = (set(sample_sites(trace)) for trace in (one, other))
    if changed := sorted(names ^ others):
        raise random_sites(changed[0], role, len(names), len(others))


def random_sites(name: str, role: str, one: int, other: int) -> PairError:
    """Make the error for a pair whose sites come and go."""
    return PairError(
        name,
        f"a site that comes and goes: {one} sites in one run of the {role}, {other} in another",
        "the same sites in every run, whatever is drawn",
        "make the largest number of sites that can be, in a plate, and switch off those that are "
        "not there by poutine.mask or obs_mask",
    )


def moving_support(name: str, causes: list[str]) -> PairError:
    """Make the error for a support that depends on another latent site."""
    listed = ", ".join(f"'{cause}'" for cause in causes)
    return PairError(
        name,
        f"a support that depends on {listed}, in a guide that does not follow it",
        "a support that is the same in every draw",
        f"sample '{name}_share' from the unit form, such as Uniform(0, 1), and write "
        f"{name} = pyro.deterministic('{name}', ...) of it and {listed}",
    )


def _is_fixed(guide: Any) -> bool:
    """Whether a guide found out about supports in one first run."""
    return isinstance(guide, nn.Module) and any(isinstance(m, AutoGuide) for m in guide.modules())


def _moving(model: Any, guide: Trace, args: Any, kwargs: Any) -> Iterator[tuple[str, list[str]]]:
    """Yield the latent sites whose support depends on others, and these."""
    drawn = {
        name: site["value"].detach().requires_grad_()
        for name, site in sample_sites(guide).items()
        if not site["is_observed"] and site["value"].is_floating_point()
    }
    with torch.enable_grad(), poutine.block():
        given = poutine.condition(model, data=drawn)
        trace = poutine.trace(given).get_trace(*args, **kwargs)
        for name, site in sample_sites(trace).items():
            bounds = [b.sum() for b in _bounds(site) if b.requires_grad] if name in drawn else []
            if bounds:
                total = torch.stack(bounds).sum()
                slopes = torch.autograd.grad(
                    total, list(drawn.values()), allow_unused=True, retain_graph=True
                )
                causes = [n for n, s in zip(drawn, slopes, strict=True) if s is not None]
                if causes:
                    yield name, causes


def _bounds(site: Site) -> Iterator[Tensor]:
    """Yield the tensors that a site's support is made of."""
    try:
        support: Any = site["fn"].support
    except (NotImplementedError, AttributeError):
        return
    while support is not None:
        yield from (v for v in vars(support).values() if isinstance(v, Tensor))
        support = vars(support).get("base_constraint")


def _outside(trace: Trace, name: str) -> bool:
    site = sample_sites(trace)[name]
    return not bool(site["fn"].support.check(site["value"]).all())
