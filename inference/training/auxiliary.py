"""What a run trains or steers beside its pair: critics, a target rate, and whose turn a step is.

They are modules, so that their state travels with the run's: an interrupted run goes on with them
where they were. The run's own optimiser never sees their parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from inference.diagnostics import mutual_information
from inference.errors import NonFiniteError
from inference.objectives import LossResult, TrainingObjective
from inference.tracing import Columns, Source, is_column
from ppl_models.errors import InputError

ROWS = 1024  # data that a mutual information is estimated on: its cost grows as their square


class AuxiliaryModules(nn.Module):
    """The modules beside a pair, if there are any; else nothing, at no cost.

    Parameters
    ----------
    objective
        Its penalties, and its target rate.
    updates
        A module that says whose turn a step is (``turn``, ``after_step``, ``after_epoch``), as
        `inference.training.aggressive.Aggressive` does; or None.
    model, guide
        The pair. Parameters that both have (a model that its guide reads) move in the model's turn;
        in the guide's, where it has no others (an encoder that is the VampPrior's, too).
    """

    def __init__(
        self,
        objective: TrainingObjective,
        updates: nn.Module | None,
        model: nn.Module,
        guide: nn.Module,
    ) -> None:
        super().__init__()
        self.objective, self.turn = objective, "both"
        self.steered = objective.steered
        for name, module in objective.modules().items():
            self.add_module(name, module)
        self.updates: Any = updates
        of_model, of_guide = list(model.parameters()), list(guide.parameters())
        models, guides = {id(p) for p in of_model}, {id(p) for p in of_guide}
        if guides <= models:
            models -= guides
        self._idle = {
            "guide": [p for p in of_model if id(p) in models],
            "model": [p for p in of_guide if id(p) not in models],
            "both": [],
        }

    def reset(self) -> None:
        """Reset what can be, for a new run."""
        self.objective.reset()
        if callable(again := getattr(self.updates, "reset", None)):
            again()

    def refuse_several(self, processes: int) -> None:
        """Refuse what several processes would each do for themselves, from their share of a batch.

        Raises
        ------
        InputError
            The objective has free bits, a target rate or penalties; or there are updates.
        """
        held = self.objective.whole_batch + ("updates",) * (self.updates is not None)
        for name in held if processes > 1 else ():
            found = f"{processes} processes and {name}, which look at a batch as a whole"
            raise InputError("devices", found, "one process", "devices=1")

    # -- a step

    def begin(self, step: int) -> None:
        """Ask whose turn a step is.

        Raises
        ------
        InputError
            The answer is not ``"both"``, ``"guide"`` or ``"model"``.
        """
        if self.updates is None:
            return
        self.turn = self.updates.turn(step)
        if self.turn not in self._idle:
            cure = "see inference.training.aggressive.Aggressive"
            raise InputError("updates", repr(self.turn), "a turn: both, guide or model", cure)

    def freeze(self) -> None:
        """Take the gradients of those whose turn it is not: optimisers pass over them."""
        for parameter in self._idle[self.turn]:
            parameter.grad = None

    def end(self, measured: LossResult, loss: float) -> None:
        """Update what goes by the steps that were taken."""
        self.objective.after_step(measured)
        if self.updates is not None:
            self.updates.after_step(loss)

    def found(self, figures: dict[str, float]) -> NonFiniteError | None:
        """Return the error for a penalty that is not finite, if one is."""
        for name, value in figures.items():
            if name != "rate" and not abs(value) < float("inf"):
                found = f"the penalty {name} is {value}"
                cure = "look at its critic, or at kernels of codes that coincide"
                return NonFiniteError(name, found, "a finite penalty", cure)
        return None

    # -- an epoch

    def end_epoch(self, information: Callable[[], float]) -> dict[str, Any]:
        """Let the updates know that an epoch is over; return what the history should say of them.

        Parameters
        ----------
        information
            Estimates the mutual information of data and latents; called if the updates ask for it.
        """
        if self.updates is None:
            return {}
        asked: list[float] = []

        def ask() -> float:
            asked.append(information())
            return asked[-1]

        self.updates.after_epoch(ask)
        row: dict[str, Any] = {"updates": getattr(self.updates, "mode", self.turn)}
        return {**row, "information": asked[-1]} if asked else row


def information(
    model: nn.Module, guide: nn.Module, data: Columns, seed: int, plate: str | None
) -> float:
    """Estimate the mutual information of data and latents, in nats, always with the same noise."""
    found = mutual_information(model, guide, *data.args, seed=seed, plate=plate, **data.kwargs)
    return float(found.nats)


def some_rows(source: Source, seed: int) -> Columns:
    """Return the first data of a source, in the order of a seed: at most `ROWS`."""
    held: list[Columns] = []
    for batch in source.batches(seed):
        held.append(batch)
        if sum(b.size for b in held) >= ROWS:
            break
    args = tuple(_joined(values) for values in zip(*(b.args for b in held), strict=True))
    kwargs = {name: _joined([b.kwargs[name] for b in held]) for name in held[0].kwargs}
    whole = Columns(args, kwargs, sum(b.size for b in held))
    return whole.rows(slice(ROWS)) if whole.size > ROWS else whole


def _joined(values: Any) -> Any:
    parts: list[Tensor] = list(values)
    return torch.cat(parts) if is_column(parts[0]) else parts[0]
