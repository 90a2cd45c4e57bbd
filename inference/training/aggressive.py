"""Controlled aggressive updates of the guide, a remedy for posterior collapse.

A young model's true posterior changes faster than its guide learns it; while the guide lags behind,
the model learns to do without the latents. So for a while the guide is trained until it has caught
up, before each single step of the model::

    while aggressive:
        repeat  phi <- a step down the loss on a fresh batch      (at most `most` steps)
        until   its mean over `check` steps no longer falls
        theta <- one step down the loss on a fresh batch
    then phi and theta together, as usual

until the mutual information I_q(x; z) on validation data stops climbing: the latents are then in
use, and stay so.

References
----------
He, Spokoyny, Neubig and Berg-Kirkpatrick, "Lagging Inference Networks and Posterior Collapse in
Variational Autoencoders", ICLR 2019, algorithm 1 and section 4.2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from operator import index
from typing import Any, Literal

from torch import nn

from ppl_models.errors import InputError

Turn = Literal["both", "guide", "model"]


class Aggressive(nn.Module):
    """Who takes the next step: the guide, until it has caught up, then the model; later both.

    Hand it to ``fit(..., updates=Aggressive())``, or ask it yourself::

        turn = updates.turn(step)        # "guide", "model" or "both": whose parameters move
        ...                              # a step of the optimiser over these
        updates.after_step(loss)
        updates.after_epoch(lambda: mutual_information(model, guide, x_validation).nats)

    Every parameter that is not its turn's is left without a gradient, so that optimisers pass over
    it. It has no parameters: it is a module for the sake of its state, which ``state_dict`` holds.

    Parameters
    ----------
    most
        Steps of the guide before a step of the model, at most.
    check
        Steps whose mean loss is set against that of as many steps before them; the guide has caught
        up when it is no lower. He et al. take 15 for text and 10 for images.
    patience
        Looks at the mutual information without a new best one, after which aggressive updates end.
        1 ends them at the first drop (He et al.'s text), 5 is their choice for images.
    look
        Steps of the model between two looks; by default as many as an epoch has batches, which is
        He et al.'s epoch. One epoch of `fit` is one pass over the data, of which the guide takes
        most, so that their epoch takes up to ``most + 1`` of ours. A look is taken at the end of an
        epoch; ``look=1`` takes one after every epoch in which the model has moved.

    Attributes
    ----------
    history : list of dict
        A row a look: ``step`` (of training, from 1), ``model_steps`` and ``guide_steps`` (in all,
        so far), ``information`` (nats) and ``mode`` (after the look).

    Raises
    ------
    InputError
        A setting that is no whole number of at least 1, or ``check`` above half of ``most``.
    """

    def __init__(
        self, most: int = 100, check: int = 10, patience: int = 1, look: int | None = None
    ) -> None:
        super().__init__()
        for name, value in {"most": most, "check": check, "patience": patience}.items():
            _whole(name, value)
        if look is not None:
            _whole("look", look)
        if 2 * check > most:
            found, cure = f"{check}, of at most {most} steps", f"check={max(1, most // 10)}"
            raise InputError("check", found, "two blocks or more of so many steps", cure)
        self.most, self.check, self.patience, self.look = most, check, patience, look
        self.reset()

    def reset(self) -> None:
        """Begin again: a new run starts aggressively."""
        self.history: list[dict[str, Any]] = []
        self._at: dict[str, Any] = {
            "aggressive": True,
            "turn": "guide",  # whose the next step is
            "moved": "both",  # whose the last one was
            "steps": 0,  # of training, so far
            "model_steps": 0,
            "guide_steps": 0,
            "inner": 0,  # steps of the guide since the model's last
            "block": 0.0,  # sum of the losses of the block under way
            "before": math.inf,  # mean loss of the block before it
            "looked": 0,  # model_steps at the last look
            "epoch": 0,  # steps at the end of the last epoch
            "batches": 0,  # of an epoch
            "best": -math.inf,
            "waited": 0,  # looks since the best
        }

    @property
    def mode(self) -> Literal["aggressive", "joint"]:
        """``"aggressive"`` until the mutual information has stopped climbing, then ``"joint"``."""
        return "aggressive" if self._at["aggressive"] else "joint"

    @property
    def moved(self) -> Turn:
        """Who took the last step: for a picture of the guide running after the model."""
        turn: Turn = self._at["moved"]
        return turn

    def turn(self, step: int = 0) -> Turn:
        """Return who takes the next step: ``"guide"``, ``"model"`` or ``"both"``.

        Parameters
        ----------
        step
            The training step, from 0; what counts is how often `after_step` was called.
        """
        turn: Turn = self._at["turn"] if self._at["aggressive"] else "both"
        return turn

    def after_step(self, loss: float) -> None:
        """Take note of a step.

        Parameters
        ----------
        loss
            What the step went down, on its own batch, in nats per observation.
        """
        at = self._at
        at["moved"] = turn = self.turn()
        at["steps"] += 1
        at["guide_steps"] += turn != "model"
        at["model_steps"] += turn != "guide"
        if turn == "model":
            at.update(turn="guide", inner=0, block=0.0, before=math.inf)
        elif turn == "guide":
            at["inner"] += 1
            at["block"] += loss
            if at["inner"] % self.check == 0:
                self._end_block()
            if at["inner"] >= self.most:
                at["turn"] = "model"

    def _end_block(self) -> None:
        """Let the model have its turn if the block's loss was no lower than the one's before."""
        at = self._at
        mean = at["block"] / self.check
        if mean >= at["before"]:
            at["turn"] = "model"
        at.update(block=0.0, before=mean)

    def after_epoch(self, information: Callable[[], float]) -> None:
        """Look whether the mutual information still climbs, if it is time to.

        Parameters
        ----------
        information
            Estimates I_q(x; z) on validation data, in nats; called where it is looked at. With the
            same noise each time, a drop is one of the guide and not of the estimate.
        """
        at = self._at
        at["batches"] = max(at["batches"], at["steps"] - at["epoch"])
        at["epoch"] = at["steps"]
        due = at["model_steps"] - at["looked"] >= (self.look or at["batches"])
        if not at["aggressive"] or not due:
            return
        at["looked"], found = at["model_steps"], float(information())
        climbs = found > at["best"]
        at["best"], at["waited"] = (found, 0) if climbs else (at["best"], at["waited"] + 1)
        at["aggressive"] = at["waited"] < self.patience
        row = {"step": at["steps"], "model_steps": at["model_steps"], "information": found}
        self.history.append({**row, "guide_steps": at["guide_steps"], "mode": self.mode})

    def extra_repr(self) -> str:
        """Return the settings: what makes a run with these updates another run."""
        look = "" if self.look is None else f", look={self.look}"
        return f"most={self.most}, check={self.check}, patience={self.patience}{look}"

    def get_extra_state(self) -> dict[str, Any]:
        """Return where the updates stand, as plain numbers."""
        return {"at": dict(self._at), "history": [dict(row) for row in self.history]}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Go on from where they stood."""
        self._at = dict(state["at"])
        self.history = [dict(row) for row in state["history"]]


def _whole(name: str, value: Any) -> None:
    whole = not isinstance(value, bool) and hasattr(value, "__index__")
    if not whole or index(value) < 1:
        raise InputError(name, repr(value), "a whole number of at least 1", f"{name}=10")
