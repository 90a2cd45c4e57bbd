"""Draws of a pair, all at once where it allows that.

With an outer plate of draws (`vectorised`) five hundred of them cost little more than one; a pair
that does not broadcast (or whose answers change when it is asked to) is run draw by draw instead,
to the same distribution.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from inference.tracing.bind import bind
from inference.tracing.forms import blaming_forms, refuse_forms
from inference.tracing.layout import Layout, call_key, untouched
from inference.tracing.probe import disagreement
from inference.tracing.runner import Mode, Runner
from inference.tracing.traces import Traces

_BUDGET = 4_000_000  # numbers held by the sites of one chunk, unless the caller says otherwise


@contextmanager
def quiet(model: nn.Module, guide: nn.Module, seed: int) -> Iterator[None]:
    """Judge without a trace: seeded, no gradients, evaluation mode; all restored afterwards.

    Evaluation mode (``module.eval()``) because dropout noise and batch statistics belong to
    training; submodules get their own mode back.
    """
    with untouched(model, guide, seed=seed), torch.no_grad():
        model.eval()
        guide.eval()
        yield


class Sampler(Runner):
    """A pair and its data, ready to be drawn from. Make and use it inside `quiet`.

    Parameters
    ----------
    model, guide, args, kwargs, plate
        As `inference.tracing.runner.Runner` takes them.
    vectorised
        True or False to force one way of drawing; by default the pair is probed.

    Attributes
    ----------
    vectorised
        Whether all draws come from one run.
    reason
        Why not, in words; empty if they do.
    """

    def __init__(
        self,
        model: nn.Module,
        guide: nn.Module,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        plate: str | None = None,
        vectorised: bool | None = None,
    ) -> None:
        super().__init__(model, guide, args, kwargs, plate)
        self.reason = "" if vectorised else "asked for one by one"
        if vectorised is None:
            self.reason = self._probe()
        self.vectorised = not self.reason

    def with_data(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Sampler:
        """Return a sampler of the same pair on other data of the same shapes."""
        other = object.__new__(Sampler)
        other.__dict__.update(self.__dict__, args=args, kwargs=kwargs)
        return other

    def chunks(
        self, num_samples: int, mode: Mode = "plain", chunk: int | None = None
    ) -> Iterator[Traces]:
        """Draw in chunks, so that memory is bounded.

        Parameters
        ----------
        num_samples
            How many, in all.
        mode
            What to do with enumerated sites: draw them from the prior (``plain``), from their
            exact posterior given the guide's draw (``sampled``), or enumerate (``summed``).
        chunk
            How many at a time; by default as many as keep the sites' values under four million.
        """
        for size in self._sizes(num_samples, chunk):
            yield self.traces(size, mode)

    def given(
        self,
        values: Mapping[str, Tensor],
        num_samples: int,
        mode: Mode = "plain",
        chunk: int | None = None,
    ) -> Iterator[Traces]:
        """Run the model on latents that were drawn elsewhere, in chunks as `chunks` does.

        Parameters
        ----------
        values
            By latent site of the guide, ``(S, plates..., event...)``.
        num_samples
            S.
        mode, chunk
            As `chunks` takes them.
        """
        start = 0
        for size in self._sizes(num_samples, chunk):
            stop = start + (size or 1)
            part = {
                n: self.places[n].restore(v[start:stop], size is not None)
                for n, v in values.items()
            }
            yield self.traces_of(part, size, mode)
            start = stop

    def _sizes(self, num_samples: int, chunk: int | None) -> Iterator[int | None]:
        """Split draws into runs: so many at once, or one without a plate of draws (None)."""
        if num_samples < 1:
            raise ValueError(f"num_samples: saw {num_samples}, expected at least 1")
        if not self.vectorised:
            yield from (None for _ in range(num_samples))
            return
        step = min(num_samples, chunk or max(1, _BUDGET // self.cost))
        yield from (min(step, num_samples - start) for start in range(0, num_samples, step))

    def _probe(self) -> str:
        """Say why the pair cannot be drawn all at once; an empty string if it can."""
        try:
            return disagreement(self)
        except Exception as error:  # whatever a pair that does not broadcast may raise
            return f"{type(error).__name__}: {error}"


@contextmanager
def sampling(
    model: Any,
    guide: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    seed: int,
    plate: str | None = None,
) -> Iterator[Sampler]:
    """Bind a pair, and draw from it inside `quiet`: what every diagnostic begins with."""
    refuse_forms(model, args, kwargs)
    with blaming_forms(model, guide, args, kwargs):
        model, guide = bind(model, guide, *args, **kwargs)
    with quiet(model, guide, seed):
        with blaming_forms(model, guide, args, kwargs):
            sampler = Sampler(model, guide, args, kwargs, plate)
        yield sampler


def stack_draws(parts: list[Tensor]) -> Tensor:
    """Join chunks along the draws, on the CPU."""
    return torch.cat([part.detach().cpu() for part in parts])


def mean_and_error(values: Tensor) -> tuple[float, float]:
    """Return the mean of a vector and the mean's standard error (NaN for one value)."""
    values = values.double()
    if values.numel() < 2:
        return float(values.mean()), math.nan
    return float(values.mean()), float(values.std() / math.sqrt(values.numel()))


# by model, guide and the shape of the call
_samplers: WeakKeyDictionary[Any, WeakKeyDictionary[Any, dict[Any, Sampler]]] = WeakKeyDictionary()


def sampler_of(
    model: Any, guide: Any, args: tuple[Any, ...], kwargs: dict[str, Any], shape: Layout
) -> Sampler:
    """Return what draws from a pair with a data plate; the pair is probed in evaluation mode."""
    assert shape.plate is not None
    key = shape.plate.name, *call_key(args, kwargs)
    known = _samplers.setdefault(model, WeakKeyDictionary()).setdefault(guide, {})
    if key not in known:
        with quiet(model, guide, seed=0):
            found = copy.copy(Sampler(model, guide, args, kwargs, shape.plate.name))
        found.model = found.guide = nn.Identity()  # what is kept holds neither pair nor data
        found.sites, found.guide_sites, found.args, found.kwargs = {}, {}, (), {}
        known[key] = found
    sampler = known[key].with_data(args, kwargs)
    sampler.model, sampler.guide = model, guide
    return sampler
