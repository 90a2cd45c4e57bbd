"""What Lightning's Trainer is given to train: a pair, its steps and its epochs.

Every random choice is a function of the seed and of where it is made (the order of epoch 3, the
noise of step 1200), so that a run that goes on after an interruption draws what it would have
drawn. Where the run stands is kept here; of Lightning we use loops, devices and strategies.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import lightning.pytorch as lightning
import pyro
import torch
from torch import Tensor, nn

from inference.errors import NonFiniteError, PairError
from inference.randomness import derive, reseed
from inference.tracing import Columns, count_nonfinite, explain_nonfinite
from inference.training.auxiliary import Extras
from inference.training.epoch_report import make_row
from inference.training.run_folder import Progress
from inference.training.session import Bar, Interrupt, Plan
from ppl_models.errors import InputError

Batch = tuple[tuple[Any, ...], dict[str, Any], int, int]  # args, kwargs, own rows, rows of all


class Learner(lightning.LightningModule):
    """A pair, and what to do with it at each step and each epoch."""

    bar: Bar | None = None

    def __init__(self, model: nn.Module, guide: nn.Module, plan: Plan) -> None:
        super().__init__()
        self.model, self.guide, self.plan = model, guide, plan
        self.extras = Extras(plan.objective, plan.updates, model, guide)
        self.progress = Progress()
        self.best: dict[str, Tensor] = {}
        self.interrupt = Interrupt()
        self.resumed: dict[str, Any] | None = None
        hooks = (getattr(m, "set_step", None) for m in [*model.modules(), *guide.modules()])
        self.hooks: list[Callable[[int], Any]] = [hook for hook in hooks if callable(hook)]

    # -- a step

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Make the optimiser of all parameters of the pair that want a gradient."""
        others = {id(p) for p in self.extras.parameters()}
        self.trained = [p for p in self.parameters() if p.requires_grad and id(p) not in others]
        return self.plan.optimizer(self.trained)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch; its gradient, averaged over processes, is that of all."""
        args, kwargs, rows, of = batch
        plan, step = self.plan, self.progress.step
        if plan.learning_rate is not None:
            self._set_rate(plan.learning_rate(step))
        reseed(derive(plan.seed, "step", step, self.global_rank))
        args, kwargs = self.transformed(args, kwargs, rows)
        for set_step in self.hooks:
            set_step(step)
        self.extras.begin(step)
        # Pyro looks at every value until each datum was seen once; that is a tenth of the time
        unwatched = pyro.validation_enabled(False) if self.progress.epoch else nullcontext()
        with self.explained(args, kwargs), unwatched:
            self.measured = plan.objective.measure(
                self.model, self.guide, args, kwargs, step, plan.data_size, plan.plate
            )
        if step == 0:
            _refuse_stray_parameters()
        loss, self.batch = self.measured.loss, (args, kwargs)
        share = rows * self.trainer.world_size / of  # processes are averaged, rows should be
        return loss if share == 1.0 else loss * share

    def _set_rate(self, rate: float) -> None:
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = rate

    def transformed(self, args: Any, kwargs: Any, rows: int) -> tuple[Any, Any]:
        """What the user's transform makes of a batch, under the seed of the place."""
        if self.plan.transform is None:
            return args, kwargs
        made = Columns(args, kwargs, max(rows, 1)).changed(self.plan.transform)
        return made.args, made.kwargs

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Stop before a step that would spoil the parameters."""
        self.extras.hold_still()
        norm = nn.utils.get_total_norm([p.grad for p in self.trained if p.grad is not None])
        loss, figures = self.measured.loss.detach(), self.measured.figures
        values = torch.stack([loss, norm.to(loss), *(v.to(loss) for v in figures.values())])
        self.loss_value, size, *seen = values.tolist()
        self.figures = dict(zip(figures, seen, strict=True))
        if not math.isfinite(self.loss_value):
            raise self.found(*self.batch)
        if not math.isfinite(size):
            self._stop_at_gradient()

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Count the step; stop after it if somebody asked."""
        at, loss, rows = self.progress, self.loss_value, batch[2]
        at.step, at.batch = at.step + 1, at.batch + 1
        at.loss, at.rows = at.loss + loss * rows, at.rows + rows
        for name, value in self.figures.items():
            at.sums[name] = at.sums.get(name, 0.0) + value * rows
        self.extras.end(self.measured, loss)
        del self.measured  # and the graph of its draws
        if self.bar is not None:
            self.bar.step()
        if self.plan.on_step is not None:
            self.plan.on_step(at.step, loss)
        alone = self.trainer.world_size == 1  # several must agree, which takes time
        if not self.trainer.is_last_batch and (alone or at.batch % 16 == 0):
            self._pause(within_epoch=True)

    @contextmanager
    def explained(self, args: Any, kwargs: Any) -> Iterator[None]:
        """Say of Pyro's complaints about NaN which site they come from."""
        try:
            yield
        except (PairError, InputError):
            raise
        except ValueError as error:
            found = self.found(args, kwargs)
            if found.site is None:
                raise
            raise found from error

    def found(self, args: Any, kwargs: Any) -> NonFiniteError:
        """Find what a non-finite density comes from."""
        try:
            found = explain_nonfinite(self.model, self.guide, args, kwargs)
        except ValueError:  # the model's own, which is no matter of finiteness
            cure = "lower the learning rate, or clip gradients (fit(..., clip=1.0))"
            found = NonFiniteError(None, "a loss that is not finite", "a finite loss", cure)
        if found.site is None:
            found = self.extras.found(getattr(self, "figures", {})) or found
        return self.plan.located(found, self._where(), Columns(args, kwargs, 0))

    def _where(self) -> str:
        at = self.progress
        return f"epoch {at.epoch + 1}, " + (
            f"batch {at.batch + 1}" if self.training else "reporting"
        )

    def _stop_at_gradient(self) -> None:
        """Raise unless the norm overflowed only because finite gradients are huge."""
        for name, parameter in self.named_parameters():
            if parameter.grad is not None and not parameter.grad.isfinite().all():
                found = NonFiniteError(
                    name,
                    f"{count_nonfinite(parameter.grad)} in the gradient of this parameter",
                    "finite gradients",
                    "look for a division, logarithm or root at 0 on the way from it to a site",
                )
                raise self.plan.located(found, self._where(), Columns(*self.batch, 0))

    # -- an epoch

    def on_train_start(self) -> None:
        """Take up the optimiser and the clock where they were."""
        self.interrupt.watch()
        self.bar = Bar(self.plan, self.progress, self.global_rank)
        self.began = time.monotonic() - self.progress.seconds
        if self.global_rank > 0:  # the first process has the sums of all
            self.progress.loss, self.progress.rows, self.progress.sums = 0.0, 0, {}
        if self.resumed is not None and self.plan.folder is not None:
            self.plan.folder.compare(
                {"optimizer": self.resumed["kind"]}, {"optimizer": self._kind()}
            )
            own = copy.deepcopy(self.resumed["optimizer"])  # spawned processes share its tensors
            states = {"optimizer_states": [own]}
            self.trainer.strategy.load_optimizer_state_dict(states)

    def _kind(self) -> str:
        return type(self.trainer.optimizers[0]).__name__

    def on_train_epoch_end(self) -> None:
        """Report the epoch, keep the best weights, save, stop if the bound no longer rises."""
        if not self.trainer.is_last_batch:  # interrupted within the epoch
            return
        at, row = self.progress, make_row(self)
        at.history.append(row)
        at.epoch, at.batch, at.loss, at.rows = at.epoch + 1, 0, 0.0, 0
        at.sums = {}
        bound = row.get("validation_bound", row["bound"])
        # while a weight is steered, early weights have another rate: the last ones are kept
        if at.best_bound is None or bound > at.best_bound or self.extras.steered:
            at.best_epoch, at.best_bound = at.epoch, bound
            if self.plan.validation is not None:
                self.best = {name: tensor.clone() for name, tensor in self.weights().items()}
        if self.bar is not None:
            self.bar.epoch(row)
        self._pause(within_epoch=False)

    # -- interruptions

    def _pause(self, within_epoch: bool) -> None:
        """Save if it is time to, or the last time to; stop if somebody asked or all is done."""
        folder, at = self.plan.folder, self.progress
        due = folder is not None and self.global_rank == 0 and folder.due(within_epoch)
        self.interrupt.asked = self._agree(self.interrupt.asked)
        over = self.interrupt.asked or (not within_epoch and self.plan.is_over(at))
        if over:
            self.trainer.should_stop = True
        self._gather()
        if folder is not None and self._agree(due or over):
            self.save()

    def save(self) -> None:
        """Write the run's folder; every process calls this, the first one writes."""
        at, strategy = self.progress, self.trainer.strategy
        learner = strategy.lightning_module_state_dict()
        optimizer = strategy.optimizer_state(self.trainer.optimizers[0])
        if self.global_rank == 0 and self.plan.folder is not None:
            epoch = at.best_epoch if self.best else at.epoch
            extra = at.history[epoch - 1] if epoch else {}
            state = {"learner": learner, "optimizer": optimizer, "kind": self._kind()}
            self.plan.folder.save(state, self.best or self.weights(), self.plan.title, extra)

    def weights(self) -> dict[str, Tensor]:
        """Parameters and buffers of the pair, by the names that a file gives them."""
        parts = ("model.", self.model), ("guide.", self.guide)
        return {head + n: t.detach() for head, m in parts for n, t in m.state_dict().items()}

    def get_extra_state(self) -> dict[str, Any]:
        """Return where the run stands: part of the state, so that every strategy carries it."""
        asked = self.interrupt.asked
        return {"progress": dict(vars(self.progress)), "best": self.best, "interrupted": asked}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take up the run where it stood."""
        self.progress, self.best = Progress(**state["progress"]), state["best"]
        self.interrupt.asked = state.get("interrupted", False)

    # -- several processes

    def shares(self, batches: Iterable[Columns]) -> Iterator[Batch]:
        """Cut this process's share out of each batch."""
        for batch in batches:
            share, rows = batch.share(self.global_rank, self.trainer.world_size)
            yield share.args, share.kwargs, rows, batch.size

    def _gather(self) -> None:
        """Bring the clock up to date, and the sums of the epoch to the first process."""
        at = self.progress
        at.seconds = time.monotonic() - self.began
        if self.trainer.world_size > 1:
            loss, rows, *sums = self.over_all([at.loss, at.rows, *at.sums.values()])
            first = self.global_rank == 0
            at.loss, at.rows = (loss, int(rows)) if first else (0.0, 0)
            at.sums = {n: v if first else 0.0 for n, v in zip(at.sums, sums, strict=True)}

    def over_all(self, values: list[float]) -> list[float]:
        """Sum numbers over the processes."""
        if self.trainer.world_size == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        return self.trainer.strategy.reduce(tensor, reduce_op="sum").tolist()

    def _agree(self, wish: bool) -> bool:
        """Whether any process wishes it."""
        if self.trainer.world_size == 1:
            return wish
        return self.trainer.strategy.reduce_boolean_decision(wish, all=False)


def _refuse_stray_parameters() -> None:
    """Refuse a module that keeps parameters in Pyro's global store, where nobody trains them."""
    for name in pyro.get_param_store().keys():
        raise PairError(
            name,
            "pyro.param inside a module's forward",
            "a parameter of the module",
            f"self.{name} = nn.Parameter(...) in __init__; or a PyroParam of a PyroModule",
        )
