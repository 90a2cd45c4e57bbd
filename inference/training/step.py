"""A step of training: the loss of a batch, its gradient, a look at both, and the optimiser."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pyro
import torch
from torch import Tensor, nn

from inference.errors import NonFiniteError
from inference.randomness import derive, reseed
from inference.tracing import count_nonfinite
from inference.training.session import Session, Share


class Stepper:
    """Takes the steps of a session.

    Parameters
    ----------
    session
        What is trained; in each process, after its `Session.begin`.
    loss
        What that returned: the pair, or a wrapper of it that averages gradients.
    """

    given: Share  # the batch of the step under way, and what the user's transform made of it
    transformed: Share

    def __init__(self, session: Session, loss: nn.Module) -> None:
        self.session, self.pair, self.loss = session, session.pair, loss
        self.hooks = step_hooks(self.pair.model, self.pair.guide)
        groups = session.optimizer.param_groups
        self.moved: list[nn.Parameter] = [p for group in groups for p in group["params"]]

    def take(self, share: Share) -> float:
        """Take a step and count it; return its loss.

        Raises
        ------
        NonFiniteError
            The loss or a gradient is not finite. No parameter has moved.
        """
        at, plan = self.session.progress, self.session.plan
        self.given = share
        if plan.learning_rate is not None:
            self._set_rate(plan.learning_rate(at.step))
        self.session.optimizer.step(self._differentiate)  # type: ignore[arg-type]
        measured, loss = self.pair.measured, self.value
        at.count_step(loss, self.figures, share.rows)
        self.pair.auxiliary.end(measured, loss)
        del self.pair.measured  # and the graph of its draws
        return loss

    def _set_rate(self, rate: float) -> None:
        for group in self.session.optimizer.param_groups:
            group["lr"] = rate

    def _differentiate(self) -> Tensor:
        """Leave the gradient of the loss in the parameters; optimisers may ask more than once."""
        session = self.session
        session.optimizer.zero_grad()
        loss = self._measure()
        rows = self.given.rows * session.processes.count / self.given.of
        # processes are averaged, rows should be
        session.processes.backward(loss if rows == 1.0 else loss * rows)
        self.pair.auxiliary.freeze()
        size, clip = self._size_of_gradient(), session.plan.clip
        self._check(size)
        if clip is not None:
            nn.utils.clip_grads_with_norm_(self.moved, clip, size)
        return loss.detach()

    def _size_of_gradient(self) -> Tensor:
        """Return what is finite only if the gradient is: its norm, or a sum at half the time."""
        gradients = [p.grad for p in self.moved if p.grad is not None]
        if self.session.plan.clip is not None or self.session.processes.device.type != "cpu":
            return nn.utils.get_total_norm(gradients)
        return torch.stack([gradient.sum() for gradient in gradients]).sum()

    def _measure(self) -> Tensor:
        """Return the loss, with the noise of this step and process."""
        at, seed = self.session.progress, self.session.plan.seed
        reseed(derive(seed, "step", at.step, self.session.processes.rank))
        self.transformed = share = self.session.transformed(self.given)
        for set_step in self.hooks:
            set_step(at.step)
        self.pair.auxiliary.begin(at.step)
        # Pyro looks at every value until each datum was seen once; that is a tenth of the time
        unwatched = pyro.validation_enabled(False) if at.epoch else nullcontext()
        try:
            with unwatched:
                loss: Tensor = self.loss(share.args, share.kwargs, at.step)
        except ValueError as error:
            found = self.session.explained(error, share)
            if found is None:
                raise
            raise found from error
        return loss

    def _check(self, gradient: Tensor) -> None:
        """Stop before a step that would spoil the parameters."""
        loss, figures = self.pair.measured.loss.detach(), self.pair.measured.figures
        # one transfer from the device for all of them
        values = torch.stack([loss, gradient.to(loss), *(v.to(loss) for v in figures.values())])
        self.value, size, *found = values.tolist()
        self.figures = dict(zip(figures, found, strict=True))
        if not math.isfinite(self.value):
            raise self.session.found(self.transformed, self.figures)
        if not math.isfinite(size):
            self._stop_at_gradient()

    def _stop_at_gradient(self) -> None:
        """Raise unless it overflowed only because finite gradients are huge."""
        for name, parameter in self.pair.named_parameters():
            if parameter.grad is not None and not parameter.grad.isfinite().all():
                found = NonFiniteError(
                    name,
                    f"{count_nonfinite(parameter.grad)} in the gradient of this parameter",
                    "finite gradients",
                    "look for a division, logarithm or root at 0 on the way from it to a site",
                )
                raise self.session.located(found, self.transformed)


def step_hooks(model: nn.Module, guide: nn.Module) -> list[Callable[[int], Any]]:
    """Return what is told the number of each step: the methods ``set_step`` of a pair's modules."""
    hooks = (getattr(part, "set_step", None) for part in (*model.modules(), *guide.modules()))
    return [hook for hook in hooks if callable(hook)]
