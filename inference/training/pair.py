"""The pair as it is trained: one module, which DDP can wrap and whose state is the whole of it."""

from __future__ import annotations

from typing import Any

import pyro
from torch import Tensor, nn

from inference.errors import PairError
from inference.objectives import LossResult
from inference.tracing import layout
from inference.training.auxiliary import AuxiliaryModules
from inference.training.plan import Plan


class TrainedPair(nn.Module):
    """A pair with what is trained beside it; its forward is the loss of a batch.

    Parameters
    ----------
    model, guide
        The pair, bound.
    plan
        What to do with it.

    Attributes
    ----------
    measured
        What the last forward found: the loss, and the figures on the way to it.
    unit
        What bounds are in: without a data plate, all data together.
    """

    measured: LossResult
    unit: str = "nats per observation"

    def __init__(self, model: nn.Module, guide: nn.Module, plan: Plan) -> None:
        super().__init__()
        self.model, self.guide, self.plan = model, guide, plan
        self.auxiliary = AuxiliaryModules(plan.objective, plan.updates, model, guide)

    def forward(self, args: tuple[Any, ...], kwargs: dict[str, Any], step: int) -> Tensor:
        """Return the loss of a batch at a training step, counted from 0, in nats per observation.

        Raises
        ------
        PairError
            As `inference.objectives.Objective.measure` does; or a module keeps parameters in
            Pyro's global store, where nobody trains them.
        """
        plan = self.plan
        self.measured = plan.objective.measure(
            self.model, self.guide, args, kwargs, step, plan.data_size, plan.plate
        )
        if step == 0:
            _refuse_stray_parameters()
        return self.measured.loss

    def bound(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        """Return the plain bound of a batch: one an observation, or a scalar for all of them."""
        plan = self.plan
        if layout(self.model, self.guide, args, kwargs, plan.plate).plate is None:
            self.unit = "nats in all"
        return plan.objective.bound(
            self.model, self.guide, args, kwargs, plan.data_size, plan.plate
        )

    def trained(self) -> dict[str, nn.Parameter]:
        """Return the parameters of the pair that want a gradient, by their names."""
        others = {id(p) for p in self.auxiliary.parameters()}
        named = self.named_parameters()
        return {name: p for name, p in named if p.requires_grad and id(p) not in others}

    def weights(self) -> dict[str, Tensor]:
        """Return parameters and buffers of the pair, by the names that a file gives them."""
        parts = ("model.", self.model), ("guide.", self.guide)
        return {head + n: t.detach() for head, m in parts for n, t in m.state_dict().items()}


def _refuse_stray_parameters() -> None:
    for name in pyro.get_param_store().keys():
        raise PairError(
            name,
            "pyro.param inside a module's forward",
            "a parameter of the module",
            f"self.{name} = nn.Parameter(...) in __init__; or a PyroParam of a PyroModule",
        )
