r"""The life of an object slot: not yet, seen or hidden, gone; a Markov chain of four states.

::

    NOT_YET --h_t--> SEEN <--hide / show--> HIDDEN          from both of these --death--> GONE

N slots stand for a Poisson process of objects. Each slot is used with the same probability, and
born at the start or in any later frame alike, so that in frame t = 1, ..., T

.. math::
    p(\mathrm{born\ in\ } 1) = A_0 / N, \qquad p(\mathrm{born\ in\ } t) = \beta / N, \qquad
    h_t = \frac{\beta / N}{1 - (A_0 + \beta (t - 2)) / N},

h_t being the probability of a birth in frame t > 1 given none before. The number of births is
Binomial, and Poisson in the limit of many slots. An object is hidden with probability
hide + (hide_behind - hide) x, where a share x of its box is behind others; it comes out again with
probability show, less often where it is covered, as it then also stays seen less often.

Lives are drawn by ``MarkovPath(life.initial(N), life.transition(N, T)).sample()``, from
`ppl_models.distributions`, and inferred by `infer_lives`.

All probabilities are in logs, `NEVER` in place of minus infinity: sums and gradients stay finite.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from torch import Tensor

from ppl_models.distributions import filter_states, smooth_states
from ppl_models.errors import InputError

NOT_YET, SEEN, HIDDEN, GONE = range(4)
STATES = ("not yet", "seen", "hidden", "gone")
NEVER = -1e4
"""Log probability of what cannot be: far below any evidence, and finite."""


@dataclass(frozen=True)
class Life:
    """Constants of the lives of objects, per frame.

    Parameters
    ----------
    births : float
        beta: expected births in each frame after the first.
    alive : float
        A_0: expected number of objects that are there in the first frame.
    death : float
        Probability to be gone in the next frame.
    hide, hide_behind : float
        Probability of an object that is seen to be hidden in the next frame, where nothing is in
        front of its box, and where all of it is behind others.
    show : float
        Probability of a hidden object to be seen in the next frame, where nothing is before it.
    detection : float
        Probability of a detection while seen, where an object gives at most one.
    rate : float
        Expected detections while seen, where it may give several.
    border : float
        How many times more often births are at the image's border than at its middle.

    Raises
    ------
    InputError
        A constant out of range, or ``hide_behind`` below ``hide``.
    """

    births: float = 0.05
    alive: float = 1.0
    death: float = 0.004
    hide: float = 0.02
    hide_behind: float = 0.6
    show: float = 0.15
    detection: float = 0.9
    rate: float = 0.95
    border: float = 8.0

    def __post_init__(self) -> None:
        ranges = {"births": (0, math.inf), "alive": (0, math.inf), "border": (1, math.inf)}
        for field in fields(self):
            value, (low, high) = getattr(self, field.name), ranges.get(field.name, (0, 1))
            if field.name == "rate":
                high = math.inf
            if not low <= value <= high or value == math.inf:
                expected = f"{low} <= {field.name} <= {high}"
                raise InputError(field.name, str(value), expected, f"pass {field.default}")
        if self.hide_behind < self.hide:
            found, cure = f"{self.hide_behind}, below hide", f"pass {self.hide} or more"
            raise InputError("hide_behind", found, "hide or more", cure)
        if self.detection == 1:
            cure = "pass 0.999: a box may always be missed"
            raise InputError("detection", "1", "0 <= detection < 1", cure)

    def objects(self, length: int) -> float:
        """Return the expected number of objects of a video, there at first or born later."""
        return self.alive + self.births * (length - 1)

    def initial(self, slots: int, like: Tensor | None = None) -> Tensor:
        """Return log p(state in the first frame), (4,); who is there is hidden as often as ever."""
        away = self.hide + self.show
        hidden = self.hide / away if away else 0.0
        there = self.alive / slots
        like = torch.zeros(()) if like is None else like
        return _log(like.new_tensor([1 - there, there * (1 - hidden), there * hidden, 0.0]))

    def hazard(self, slots: int, length: int, like: Tensor | None = None) -> Tensor:
        """Return h_2, ..., h_T, (T - 1,): the probability of a birth, given none before.

        Raises
        ------
        InputError
            Fewer slots than objects are expected.
        """
        if slots < self.objects(length) * (1 - 1e-9):
            found = f"{slots}, while {self.objects(length):g} objects are expected"
            cure = f"give origin and unit {math.ceil(self.objects(length))} rows, or fewer births"
            raise InputError("slots", found, "at least as many slots as objects", cure)
        like = torch.zeros(()) if like is None else like
        before = torch.arange(length - 1, dtype=like.dtype, device=like.device)
        left = slots - self.alive - self.births * before
        return (self.births / left.clamp(min=max(self.births, 1e-9))).clamp(max=1.0)

    def step(self, hazard: Tensor, behind: Tensor) -> Tensor:
        """Return log p(next state | state), (..., 4, 4), a row a state.

        Parameters
        ----------
        hazard : Tensor
            (...): the probability of a birth in the next frame, given none before.
        behind : Tensor
            (...): the share of the object's box that is behind others, in the next frame.
        """
        hazard, behind = torch.broadcast_tensors(hazard.clamp(0, 1), behind)
        hide = self.hide + (self.hide_behind - self.hide) * behind
        show = self.show * (1 - hide) / max(1 - self.hide, 1e-9)
        zero, one, on = torch.zeros_like(hide), torch.ones_like(hide), 1 - self.death
        death = self.death * one
        table = [
            [1 - hazard, hazard * (1 - hide), hazard * hide, zero],
            [zero, on * (1 - hide), on * hide, death],
            [zero, on * show, on * (1 - show), death],
            [zero, zero, zero, one],
        ]
        return _log(torch.stack([torch.stack(row, -1) for row in table], -2))

    def transition(
        self,
        slots: int,
        length: int,
        *,
        behind: Tensor | None = None,
        border: Tensor | None = None,
    ) -> Tensor:
        """Return log p(state in frame t + 1 | state in t), (..., T - 1, 4, 4).

        Parameters
        ----------
        slots, length : int
            N and T.
        behind : Tensor, optional
            (..., T): the share of the box that is behind others; by default nothing is.
        border : Tensor, optional
            (..., T): how much more often births are at the box's place than anywhere, mean one
            (`border_factor`); by default 1.

        Raises
        ------
        InputError
            Fewer slots than objects are expected.
        """
        like = behind if behind is not None else border
        hazard = self.hazard(slots, length, like)
        behind = torch.zeros_like(hazard) if behind is None else behind[..., 1:]
        return self.step(hazard if border is None else hazard * border[..., 1:], behind)


class Lives(NamedTuple):
    """What is known of the life of a slot, given evidence of each frame."""

    log_evidence: Tensor
    """(...): log p(evidence), nats."""
    states: Tensor
    """(..., T, 4): log p(state in frame t | evidence)."""
    pairs: Tensor
    """(..., T - 1, 4, 4): log p(state in t, state in t + 1 | evidence)."""

    @property
    def present(self) -> Tensor:
        """p(seen or hidden), (..., T)."""
        return self.states[..., SEEN : HIDDEN + 1].exp().sum(-1)

    @property
    def seen(self) -> Tensor:
        """p(seen), (..., T)."""
        return self.states[..., SEEN].exp()


def infer_lives(initial: Tensor, transition: Tensor, evidence: Tensor) -> Lives:
    """Run forward and backward along the chains of slots: exact, in 2 T small steps.

    Parameters
    ----------
    initial, transition : Tensor
        (..., 4) and (..., T - 1, 4, 4), in logs: those of `Life`.
    evidence : Tensor
        (..., T, 4): log p(what is observed in frame t | state), up to a factor that is common to
        the four. Batch dims broadcast.
    """
    filtered = filter_states(initial, transition, evidence)
    states, pairs = smooth_states(filtered.log_probs, transition)
    return Lives(filtered.log_evidence.sum(-1), states, pairs)


def _log(p: Tensor) -> Tensor:
    """Return the log of probabilities, `NEVER` at 0; the gradient there is 0."""
    return torch.where(p > 0, p.clamp(min=torch.finfo(p.dtype).tiny).log(), NEVER)
