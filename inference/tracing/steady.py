"""What no run may change: sites, their supports, and the rows that model and guide speak of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from pyro import poutine
from pyro.distributions.util import scale_and_mask
from pyro.infer.autoguide import AutoGuide
from pyro.poutine import Trace
from pyro.poutine.guide import GuideMessenger
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor, nn

from inference.errors import NonFiniteError, PairError
from inference.randomness import seeded
from inference.tracing.layout import pair_traces
from inference.tracing.nonfinite import unvalidated
from inference.tracing.sites import Site, is_observed, sample_sites

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
        and the guide does not follow it; or the model's plate has a ``subsample=`` of its own, and
        the guide's takes other rows.
    NonFiniteError
        NaN under a mask, whose density is hidden, but not its gradient.
    """
    ours, theirs = _Rows(), _Rows()
    with seeded(_OTHER), torch.no_grad(), unvalidated():
        second = _traces(model, guide, ours, theirs, args, kwargs)
        _refuse_other_rows(guide, ours, theirs)
        _refuse_hidden_nan(model, *second, args, kwargs)
        for role, one, other in zip(("model", "guide"), first, second, strict=True):
            _refuse_other_sites(role, one, other)
        for site, causes in _moving(model, second[1], args, kwargs):
            if _is_fixed(guide) or any(_outside(trace, site) for trace in (first[0], second[0])):
                raise moving_support(site, causes)


_OTHER = 1  # the seed of the second run


class _Rows(Messenger):
    """Note the rows of plates: those that the code asks for, and those that it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: dict[str, Tensor] = {}
        self.got: dict[str, Tensor] = {}

    def _pyro_sample(self, msg: Any) -> None:
        if site_is_subsample(msg) and msg["value"] is not None:
            self.asked[msg["name"]] = msg["value"]

    def _pyro_post_sample(self, msg: Any) -> None:
        if site_is_subsample(msg):
            self.got[msg["name"]] = msg["value"]


def _traces(model: Any, guide: Any, ours: _Rows, theirs: _Rows, args: Any, kwargs: Any) -> Pair:
    if isinstance(poutine.unwrap(guide), GuideMessenger):  # runs the model, in the model's plates
        return pair_traces(model, guide, args, kwargs)
    return pair_traces(ours(model), theirs(guide), args, kwargs)


def _refuse_other_rows(guide: Any, ours: _Rows, theirs: _Rows) -> None:
    """Pyro gives the model the guide's rows, whatever the model's plate asks for."""
    for name, rows in ours.asked.items():
        got = theirs.got.get(name, rows)
        if got.shape != rows.shape or not torch.equal(got, rows.to(got.device)):
            plate = f"pyro.plate('{name}', ..., subsample=...)"
            cure = f"write the model's {plate} in the guide too, with the same rows"
            if _is_fixed(guide):
                cure = f"create_plates=lambda *args: {plate} for the guide, with the model's rows"
            raise PairError(
                name,
                "a plate with subsample= in the model, and one that takes other rows in the guide",
                "the same rows in both: else the data of some go with the latents of others",
                cure,
            )


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
    with torch.enable_grad(), poutine.block():
        drawn, trace = _differentiable(model, guide, args, kwargs)
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


def _differentiable(
    model: Any, guide: Trace, args: Any, kwargs: Any
) -> tuple[dict[str, Tensor], Trace]:
    """Run a model on the guide's draws, as leaves of a graph; return these and its trace."""
    drawn = {
        name: site["value"].detach().requires_grad_()
        for name, site in sample_sites(guide).items()
        if not site["is_observed"] and site["value"].is_floating_point()
    }
    given = poutine.condition(model, data=drawn)
    return drawn, poutine.trace(given).get_trace(*args, **kwargs)


def _refuse_hidden_nan(model: Any, trace: Trace, guide: Trace, args: Any, kwargs: Any) -> None:
    """A mask takes a NaN out of the density, and leaves it in the gradient: 0 times NaN."""
    if not any(has_nan(site) for site in sample_sites(trace).values()):
        return
    with torch.enable_grad(), poutine.block():
        drawn, run = _differentiable(model, guide, args, kwargs)
        leaves = [*drawn.values(), *(p for p in model.parameters() if p.requires_grad)]
        for name, site in sample_sites(run).items():
            if has_nan(site) and _hides_nan(site, leaves):
                count = int(site["value"].isnan().sum())
                raise NonFiniteError(
                    name,
                    f"{count} of {site['value'].numel()} elements are NaN, under a mask, and the "
                    "density's gradient is NaN too",
                    "finite numbers under a mask as well",
                    "fill the data by .nan_to_num(0.0), or another value that the distribution "
                    "takes, before you pass them, and keep the mask",
                )


def has_nan(site: Site) -> bool:
    """Say whether a site's data hold a NaN."""
    value = site["value"]
    return is_observed(site) and isinstance(value, Tensor) and bool(value.isnan().any())


def _hides_nan(site: Site, leaves: list[Tensor]) -> bool:
    """Whether a site's density is finite, and its gradient is not."""
    total = torch.as_tensor(scale_and_mask(site["fn"].log_prob(site["value"]), mask=site["mask"]))
    total = total.sum()
    if not bool(total.isfinite()) or not total.requires_grad or not leaves:
        return False
    slopes = torch.autograd.grad(total, leaves, allow_unused=True, retain_graph=True)
    return any(slope is not None and bool(slope.isnan().any()) for slope in slopes)


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
