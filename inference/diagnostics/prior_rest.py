"""A guide for new rows: what it knows of the old ones, and the model itself for the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyro import poutine
from pyro.infer.autoguide import AutoGuide
from pyro.poutine.guide import GuideMessenger
from pyro.poutine.util import prune_subsample_sites, site_is_subsample
from torch import nn

from inference.errors import PairError
from inference.tracing import (
    FlatPriors,
    bind,
    data_plate,
    frame_of,
    is_enumerated,
    is_observed,
    quiet,
    rows_in,
    sample_sites,
    translated,
)

Call = tuple[tuple[Any, ...], dict[str, Any]]
_GIVE = (
    "pass the data that the guide reads, predict(..., given=(x, y)); or name the plate of the new "
    "rows, plate=..., if all latents are theirs"
)
_DEFAULT = (
    "let the data default to None in the model (def model(x, y=None)), and take sizes from "
    "inputs: len(x), not len(y)"
)


class PriorRest(nn.Module):
    """A guide that draws some sites as another guide does, and all others from the model.

    Parameters
    ----------
    model, guide
        A bound pair.
    names
        The latent sites of the model to take from the guide; of none, it is not run.
    hidden
        Latent sites of the guide that are of old rows.
    call
        What the guide is run on.
    plate
        The plate of the new rows; None if there are no.
    """

    def __init__(
        self,
        model: nn.Module,
        guide: nn.Module,
        names: tuple[str, ...],
        hidden: tuple[str, ...],
        call: Call,
        plate: str | None,
    ) -> None:
        super().__init__()
        self.names, self.hidden, self.call, self.plate = names, hidden, call, plate
        self._pair = model, guide  # no submodules: neither is examined, nor learns

    @property
    def model(self) -> nn.Module:
        """The model."""
        return self._pair[0]

    @property
    def guide(self) -> nn.Module:
        """The guide of the old rows."""
        return self._pair[1]

    def forward(self, *args: Any, **kwargs: Any) -> None:
        """Draw every latent site of the model."""
        values: dict[str, Any] = {}
        if self.names:
            with poutine.trace() as drawn, poutine.block(hide_fn=self._is_hidden):
                self.guide(*self.call[0], **self.call[1])
            values = {name: drawn.trace.nodes[name]["value"] for name in self.names}
        with poutine.block(hide_fn=lambda m: m["name"] in values or m["is_observed"]):
            poutine.condition(self.model, data=values)(*args, **kwargs)

    def _is_hidden(self, msg: Any) -> bool:
        made = bool(msg.get("is_observed")) or site_is_subsample(msg)
        return msg["type"] == "sample" and (made or msg["name"] in self.hidden)


def rest_of(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    new: Call,
    given: Call | None,
    plate: str | None,
    seed: int,
) -> PriorRest:
    """Decide which latent sites the guide draws, and which are left to the model.

    Parameters
    ----------
    model, guide
        Any pair.
    new, given
        The new inputs, and what the guide is run on, if on something else.
    plate
        The plate of the new rows, if the user names it.
    seed
        Of the first runs.

    Raises
    ------
    PairError
        As `inference.predict` says.
    """
    refuse_unfitted(guide)
    with translated("the model, run without its data", _DEFAULT), FlatPriors():
        model = bind(model, _no_guide, *new[0], **new[1])[0]
        with quiet(model, model, seed):
            run = poutine.trace(model).get_trace(*new[0], **new[1])
    run = prune_subsample_sites(run)
    sites, rows = sample_sites(run), rows_in(*new)
    known = rows is None and plate is None
    frame = None if known else data_plate(run, rows, plate, unseen=True)
    inside = {n for n, s in sites.items() if frame and frame_of(s, frame.name)}
    latent = [n for n, s in sites.items() if not s["is_observed"]]
    if any(is_observed(sites[n]) for n in inside):  # rows of which something is known
        inside = set()
    drawn = set[str]()
    if set(latent) - inside:
        guide, drawn = _of_guide(model, guide, given or new, given is None, seed)
    else:
        guide = nn.Identity()
    names = tuple(n for n in latent if n in drawn and n not in inside)
    rest = [n for n in latent if n not in names]
    _refuse_nothing(rest)
    _refuse_shared(sites, inside, rest)
    hidden = tuple(drawn & inside)
    return PriorRest(model, guide, names, hidden, given or new, frame.name if frame else None)


def _no_guide(*args: Any, **kwargs: Any) -> None:
    """Sample nothing."""


def _of_guide(
    model: nn.Module, guide: Any, call: Call, is_new: bool, seed: int
) -> tuple[nn.Module, set[str]]:
    """Bind the guide, and return it with the names of the latent sites that it draws."""
    if is_new and isinstance(poutine.unwrap(guide), GuideMessenger):
        raise PairError(
            None,
            f"a guide that is a handler around the model ({type(guide).__name__})",
            "the data it was fitted to, since it runs the model on them",
            _GIVE,
        )
    with translated("the guide, run on what it was given", _GIVE):
        guide = bind(model, guide, *call[0], **call[1])[1]
        with quiet(model, guide, seed):
            trace = poutine.trace(guide).get_trace(*call[0], **call[1])
    sites = sample_sites(trace)
    return guide, {n for n, s in sites.items() if not s["is_observed"]}


def refuse_unfitted(guide: Any) -> None:
    """Refuse an AutoGuide that has never seen data: it would take new rows for them.

    Raises
    ------
    PairError
        Saying so.
    """
    parts = guide.modules() if isinstance(guide, nn.Module) else ()
    if any(isinstance(part, AutoGuide) and part.prototype_trace is None for part in parts):
        raise PairError(
            None,
            f"a {type(guide).__name__} that has never run on data",
            "a guide that was fitted, or that was loaded and run once",
            "fit(model, guide, data), or call guide(*data) once after load",
        )


def _refuse_nothing(rest: list[str]) -> None:
    if not rest:
        raise PairError(
            None,
            "nothing left to predict: every site is given, or the guide's",
            "a site whose obs is None",
            "leave the data out of the call: they should default to None in the model",
        )


def _refuse_shared(sites: dict[str, Any], inside: set[str], rest: list[str]) -> None:
    """Refuse enumerated sites that old and new rows share: the old rows say what they are."""
    for name in rest:
        if is_enumerated(sites[name]) and inside and name not in inside:
            raise PairError(
                name,
                "an enumerated site outside the plate of the new rows",
                "one that belongs to new rows: else its posterior needs the old ones",
                "sample it in the guide, or move it into the plate",
            )
