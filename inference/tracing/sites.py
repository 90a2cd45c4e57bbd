"""Sites of a trace in one layout: draws, then plates from the outermost in, then the event.

A trace holds tensors aligned on the right, with gaps of size 1 where a site is outside a plate.
Diagnostics want ``(S, plate, ..., event, ...)`` with the gaps gone: `Place` says how, by site.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions.util import scale_and_mask
from pyro.poutine import Trace
from pyro.poutine.indep_messenger import CondIndepStackFrame
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from inference.errors import NonFiniteError, PairError
from inference.tracing.wrappers import WRAPPERS, both, mask_within, unwrapped, widen

Site = Mapping[str, Any]  # a Pyro message, as a trace stores it


@dataclass(frozen=True)
class Plate:
    """One vectorised plate of a site: its name, its dim (negative), its size and full size."""

    name: str
    dim: int
    size: int
    full_size: int

    @staticmethod
    def of(frame: CondIndepStackFrame) -> Plate:
        """Read Pyro's frame of a vectorised plate."""
        assert frame.dim is not None
        return Plate(frame.name, frame.dim, frame.size, frame.full_size or frame.size)


@dataclass(frozen=True)
class Place:
    """Where a site's batch and event dims are, in a trace made without draws.

    Parameters
    ----------
    plates
        The site's plates, outermost first.
    event_dim
        The number of event dims.
    nesting
        The number of batch dims any site of the pair may have; the draws are one dim left of them.
    shape
        The shape of the site's value.
    derived
        Whether it is a ``pyro.deterministic``, whose value has the dims that a computation gave it.
    """

    plates: tuple[Plate, ...]
    event_dim: int
    nesting: int
    shape: torch.Size
    derived: bool = False

    def batch(self, tensor: Tensor, size: int) -> Tensor:
        """Lay out a log density: ``(S, plates...)``."""
        return self._lay_out(tensor, 0, size)

    def value(self, tensor: Tensor, size: int) -> Tensor:
        """Lay out a value: ``(S, plates..., event...)``."""
        if self.derived:
            tensor = self._spread(tensor, size)
        return self._lay_out(tensor, self.event_dim, size)

    def _spread(self, tensor: Tensor, size: int) -> Tensor:
        """Put the draws of a computed value, its leftmost dim, to the left of all plates."""
        own = max(0, self.nesting + self.event_dim - len(self.shape))
        if tensor.numel() == self.shape.numel():  # one draw, or the same value in all of them
            return tensor.reshape((1,) * (own + 1) + tuple(self.shape))
        if tensor.dim() <= self.nesting or len(tensor) != size:
            found = f"a computed value of shape {tuple(tensor.shape)} in {size} draws"
            raise ValueError(f"{found}, of {tuple(self.shape)} in one")
        return tensor.reshape((size,) + (1,) * own + tuple(self.shape))

    def restore(self, values: Tensor, drawn: bool) -> Tensor:
        """Undo `value`: give values the dims that the site has in a trace.

        Parameters
        ----------
        values
            ``(S, plates..., event...)``; S is 1 where not `drawn`.
        drawn
            Whether the trace has an outer plate of draws.
        """
        rank = len(self.shape) - self.event_dim
        sizes = [1] * (self.nesting - rank) + list(self.shape[:rank])
        for plate in self.plates:
            sizes[self.nesting + plate.dim] = plate.size
        lead = [len(values), *sizes] if drawn else sizes[self.nesting - rank :]
        return values.reshape((*lead, *self.shape[rank:]))

    def align(self, tensor: Tensor, event_dim: int) -> Tensor:
        """Write out the leading dims, of the draws and all plates of the pair, of size 1."""
        rank = 1 + self.nesting + event_dim
        if tensor.dim() > rank:
            raise ValueError(f"{tensor.dim()} dims where at most {rank} were expected")
        return tensor.reshape((1,) * (rank - tensor.dim()) + tensor.shape)

    def _lay_out(self, tensor: Tensor, event_dim: int, size: int) -> Tensor:
        tensor = self.align(tensor, event_dim)
        sizes = {self.nesting + 1 + plate.dim: plate.size for plate in self.plates}
        gaps = [i for i in range(1, 1 + self.nesting) if i not in sizes and tensor.shape[i] == 1]
        full = [sizes.get(i, n) for i, n in enumerate(tensor.shape)]
        return tensor.expand(size, *full[1:]).squeeze(gaps)

    def axis(self, name: str) -> int | None:
        """Return the axis of a plate in the layout, the draws being axis 0; None if absent."""
        names = [plate.name for plate in self.plates]
        return names.index(name) + 1 if name in names else None


def place_of(site: Site, nesting: int) -> Place:
    """Read a site's place from a trace made without draws."""
    plates = [Plate.of(frame) for frame in site["cond_indep_stack"] if frame.vectorized]
    plates.sort(key=lambda plate: plate.dim)
    shape, derived = site["value"].shape, is_deterministic(site)
    events = _computed_events(site, plates) if derived else site["fn"].event_dim
    return Place(tuple(plates), events, nesting, shape, derived)


def _computed_events(site: Site, plates: list[Plate]) -> int:
    """Return the event dims of a ``pyro.deterministic``: what no plate declares.

    Written without ``event_dim=`` Pyro takes all dims for the event's, those of plates included.
    """
    shape: torch.Size = site["value"].shape
    if not plates or site["fn"].event_dim < len(shape):
        return int(site["fn"].event_dim)
    for events in range(len(shape) + 1):
        batch = shape[: len(shape) - events]
        dims = [plate for plate in plates if -plate.dim <= len(batch)]
        if dims and all(batch[plate.dim] == plate.size for plate in dims):
            return events
    return len(shape)


def nesting_of(*traces: Trace) -> int:
    """Return how many batch dims the deepest site has."""
    depths = [0]
    for trace in traces:
        for site in sample_sites(trace).values():
            depths += [-f.dim for f in site["cond_indep_stack"] if f.vectorized]
            depths.append(len(site["fn"].batch_shape))
    return max(depths)


def sample_sites(run: Trace | Mapping[str, Any]) -> dict[str, Any]:
    """Return the sample sites of a run (a trace, or its nodes), without those that plates make."""
    nodes = run.nodes if isinstance(run, Trace) else run
    return {
        name: site
        for name, site in nodes.items()
        if site["type"] == "sample" and not site_is_subsample(site)
    }


def node(trace: Trace, name: str) -> Site:
    """Return a site of a trace by name."""
    site: Any = trace.nodes[name]
    return site


def is_deterministic(site: Site) -> bool:
    """Say whether the site is a ``pyro.deterministic``."""
    return bool(site["infer"].get("_deterministic"))


def is_observed(site: Site) -> bool:
    """Say whether the site is data (and not a ``pyro.deterministic``, nor a ``pyro.factor``)."""
    return site["is_observed"] and not is_deterministic(site) and not is_factor(site)


def is_factor(site: Site) -> bool:
    """Say whether the site only adds to the density (``pyro.factor``)."""
    return isinstance(site["fn"], dist.Unit)


def is_flat(site: Site) -> bool:
    """Say whether the site's prior is improper (``ImproperUniform``), so that none can be drawn."""
    return isinstance(unwrapped(site["fn"], WRAPPERS), dist.ImproperUniform)


def is_enumerated(site: Site) -> bool:
    """Say whether the site is summed exactly."""
    return not site["is_observed"] and site["infer"].get("enumerate") == "parallel"


def is_delta(site: Site) -> bool:
    """Say whether the site is a point mass: a value that was made elsewhere."""
    return isinstance(unwrapped(site["fn"]), dist.Delta)


def mean_of(site: Site) -> Tensor | None:
    """Return the mean of a site's distribution; None where there is no finite one."""
    try:
        mean = site["fn"].mean
    except (NotImplementedError, AttributeError):
        return None
    return mean if bool(mean.isfinite().all()) else None


def unscaled_log_density(site: Site) -> Tensor:
    """Return the log density of a site's distribution: masked, but with no scale.

    Raises
    ------
    NonFiniteError
        If it is NaN, or plus infinity, anywhere.
    """
    log_prob = site["fn"].log_prob(site["value"], *site["args"], **site["kwargs"])
    if site["infer"].get("_enumerate_dim") is not None and not site["is_observed"]:
        return refuse_nonfinite(log_prob, site)  # a prior that is summed adds up to one
    return refuse_nonfinite(torch.as_tensor(scale_and_mask(log_prob, mask=site["mask"])), site)


def refuse_nonfinite(log_prob: Tensor, site: Site) -> Tensor:
    """Return a site's log density, unless it is NaN or plus infinity anywhere.

    Raises
    ------
    NonFiniteError
        Naming the site.
    """
    if bool((log_prob.isnan() | log_prob.isposinf()).any()):
        raise NonFiniteError(
            site["name"],
            f"a log density that is {'NaN' if bool(log_prob.isnan().any()) else 'plus infinity'}",
            "a finite log density (or minus infinity: impossible)",
            "look at this site's parameters and data for NaN, zero scales and masks",
        )
    return log_prob


def mask_of(site: Site, seen: bool = True) -> Tensor | None:
    """Return which entries of a site count, broadcastable to its value; None if all do.

    Reads ``poutine.mask`` and ``dist.mask``, also under ``to_event``, and the frames that the
    distribution of a sequence says exist (``mask_frames``).
    """
    return both(widen(site["mask"], site["fn"].event_dim), mask_within(site["fn"], seen))


def refuse_uncovered(model: Trace, guide: Trace) -> None:
    """Refuse a latent site of the model that is in no guide and not enumerated.

    Raises
    ------
    PairError
        Naming the site: Pyro would silently draw it from the prior.
    """
    for name, site in sample_sites(model).items():
        covered = name in guide.nodes or is_enumerated(site) or site["is_observed"]
        if not covered:
            raise PairError(
                site=name,
                found="a latent site that the guide does not sample",
                expected="every latent site in the guide, enumerated, or observed",
                cure="pass its data, or ask inference.predict for it where there are none; "
                "sample it in the guide if it is a latent site, or mark it "
                'infer={"enumerate": "parallel"} if it is discrete',
            )
