"""What every penalty does: find the latent site, weigh itself, and draw from the prior."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pyro.poutine.messenger import Messenger
from torch import Tensor, nn

from inference.errors import PairError
from inference.objectives.pair_trace import PairTrace
from ppl_models.errors import InputError

Schedule = Callable[[int], float]


@dataclass(frozen=True)
class Codes:
    """What a batch's latent site drew.

    Attributes
    ----------
    name : str
        The site.
    z : Tensor
        The draws (B, D), of any event shape of D numbers, with their gradient; data whose site is
        masked are left out, since nothing is known of their codes.
    rows : Tensor or None
        Which data count (B,), where some do not.
    """

    name: str
    z: Tensor
    rows: Tensor | None

    def counted(self, values: Tensor) -> Tensor:
        """Flatten values of a datum each, (B, ...), and leave out those that do not count."""
        flat = values.reshape(len(values), -1)
        return flat if self.rows is None else flat[self.rows]


class Penalty(nn.Module):
    """A term of the loss about the codes of a batch; see `inference.objectives.penalties`.

    Parameters
    ----------
    weight
        What it is multiplied by: a number, or a schedule of the training step.
    site
        The latent site; by default the guide's only continuous one.

    Raises
    ------
    InputError
        The weight is no finite number of at least 0, and no schedule.
    """

    def __init__(self, weight: float | Schedule, site: str | None = None) -> None:
        super().__init__()
        if not callable(weight):
            number("weight", weight, 0, above=False)
        self.weight, self.site = weight, site

    def forward(self, pair: PairTrace) -> Tensor:
        """Return the weighted penalty of a batch, a scalar.

        Raises
        ------
        PairError
            The pair has no such site, or not one code a datum.
        """
        weight = self.weight(pair.step) if callable(self.weight) else self.weight
        codes = self.codes(pair)
        if weight == 0 or not len(codes.z):
            return 0 * codes.z.sum()
        return weight * self.estimate(pair, codes)

    @abstractmethod
    def estimate(self, pair: PairTrace, codes: Codes) -> Tensor:
        """Return the penalty before it is weighted."""

    def codes(self, pair: PairTrace) -> Codes:
        """Find the site and its draws.

        Raises
        ------
        PairError
            As `forward` does.
        """
        name = _find(pair, self.site)
        site = pair.q[name]
        value, mask = site["value"], site["mask"]
        if tuple(site["fn"].batch_shape) != (pair.batch,):
            found = f"batch shape {tuple(site['fn'].batch_shape)} for {pair.batch} data"
            cure = "keep the site in the data plate alone, its other dims made event dims"
            raise PairError(name, found, "one code a datum", cure)
        flat = value.reshape(len(value), -1)
        if not isinstance(mask, Tensor):
            return Codes(name, flat, None)
        return Codes(name, flat[mask], mask)

    def extra_repr(self) -> str:
        """Return the settings: what makes a run with this penalty another run."""
        given = {k: v for k, v in vars(self).items() if not k.startswith("_") and k != "training"}
        return ", ".join(f"{name}={value!r}" for name, value in given.items() if value is not None)


def number(name: str, value: Any, least: float, above: bool = True, cure: str = "") -> None:
    """Look at a setting that is to be a finite number above ``least``, or at least that.

    Raises
    ------
    InputError
        It is something else.
    """
    real = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not real or not least <= value < math.inf or (above and value == least):
        expected = f"a finite number {'above' if above else 'of at least'} {least}"
        raise InputError(name, repr(value), expected, cure or f"{name}=1.0")


def _find(pair: PairTrace, site: str | None) -> str:
    """Return the name of the site to penalise."""
    known = [name for name, node in pair.q.items() if not node["fn"].support.is_discrete]
    if site in known:
        return str(site)
    listed = ", ".join(known) or "none"
    if site is not None:
        cure = "name a latent site that the guide draws in the data plate"
        raise PairError(site, f"the continuous latent sites {listed}", "one of them", cure)
    if len(known) != 1:
        cure = f"site='{known[0]}'" if known else "give the guide a continuous latent site"
        raise PairError(None, f"the continuous latent sites {listed}", "one to penalise", cure)
    return known[0]


class _Found(Exception):
    """A run got as far as it was wanted."""


class _Until(Messenger):
    """Run a model up to a site and no further: decoders take most of the time."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name, self.value = name, None

    def _pyro_post_sample(self, msg: Any) -> None:
        if msg["name"] == self.name:
            self.value = msg["value"]
            raise _Found


def prior_draws(pair: PairTrace, codes: Codes) -> Tensor:
    """Draw one code a datum (B, D) from the model's own prior, whatever that is.

    The model is run from its start, given the batch's arguments: a mixture draws its component, a
    lower layer its upper ones, a conditional prior sees its condition. Gradients reach the prior's
    parameters where its draws are differentiable.

    Raises
    ------
    PairError
        The model has no such site.
    """
    run = _Until(codes.name)
    try:
        with run:
            pair.model(*pair.args, **pair.kwargs)
    except _Found:
        pass
    if run.value is None:
        cure = "name a latent site of the model"
        raise PairError(codes.name, "a site of the guide alone", "a prior to compare with", cure)
    return codes.counted(run.value)
