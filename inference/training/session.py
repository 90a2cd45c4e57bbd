"""One session of a run: its pair and plan, where it stands, and the folder that remembers it."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from inference.errors import NonFiniteError, PairError
from inference.tracing import Columns, explain_nonfinite
from inference.training.interrupt import Interrupt
from inference.training.optimizers import make_optimizer
from inference.training.pair import TrainedPair
from inference.training.plan import Plan
from inference.training.processes import Processes
from inference.training.run_folder import Progress
from ppl_models.errors import InputError


class Share(NamedTuple):
    """A process's share of a batch."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    rows: int  # that count
    of: int  # in the whole batch


class Session:
    """A run in progress.

    Every random choice in it is a function of the seed and of where it is made (the order of epoch
    3, the noise of step 1200), so that a run that goes on after an interruption draws what it would
    have drawn.

    Parameters
    ----------
    pair, plan
        What is trained, and how.
    processes
        Who trains it.
    """

    optimizer: torch.optim.Optimizer

    def __init__(self, pair: TrainedPair, plan: Plan, processes: Processes) -> None:
        self.pair, self.plan, self.processes = pair, plan, processes
        self.progress = Progress()
        self.best: dict[str, Tensor] = {}
        self.interrupt = Interrupt()
        self._earlier: dict[str, Any] | None = None  # what the folder held

    # -- beginning

    def take_up(self, state: dict[str, Any] | None) -> None:
        """Put the session where an earlier one stopped; without one, at the beginning."""
        if state is None:
            self.pair.auxiliary.reset()
            return
        assert self.plan.folder is not None  # which held the state
        with self.plan.folder.reading():
            self.restore(state)
        self.interrupt.asked = False
        self._earlier = state
        at, plan = self.progress, self.plan
        if at.history and not (
            self.best or plan.is_over(at) or plan.reports(at.history[-1]["epoch"])
        ):  # the last epoch of a session is always reported, which an unbroken run had passed over
            at.forget_last(self.pair.auxiliary.steered)

    def begin(self) -> torch.nn.Module:
        """Take up devices, optimiser and clock, in each process; return what gives the loss."""
        self.interrupt.watch()
        self.processes.begin()
        self.pair.train()
        placed = self.processes.place(self.pair)
        self.optimizer = make_optimizer(self.plan.optimizer, self.pair.trained())
        if self.processes.rank > 0:  # the first process has the sums of all
            self.progress.loss, self.progress.rows, self.progress.sums = 0.0, 0, {}
        if self._earlier is not None and self.plan.folder is not None:
            self.plan.folder.compare({"optimizer": self._earlier["kind"]}, self._kind())
            # a copy, since processes may share its tensors
            with self.plan.folder.reading():
                self.optimizer.load_state_dict(copy.deepcopy(self._earlier["optimizer"]))
        self._began = time.monotonic() - self.progress.seconds
        return placed

    def _kind(self) -> dict[str, str]:
        return {"optimizer": type(self.optimizer).__name__}

    # -- batches

    def shares(self, batches: Iterable[Columns]) -> Iterator[Share]:
        """Cut this process's share out of each batch, and move it to the device."""
        rank, count, move = self.processes.rank, self.processes.count, self.processes.move
        for batch in batches:
            share, rows = batch.share(rank, count)
            share = move(share)
            yield Share(share.args, share.kwargs, rows, batch.size)

    def transformed(self, share: Share) -> Share:
        """Return what the user's transform makes of a batch, under the seed of the place."""
        if self.plan.transform is None:
            return share
        columns = Columns(share.args, share.kwargs, max(share.rows, 1))
        made = columns.changed(self.plan.transform)
        return share._replace(args=made.args, kwargs=made.kwargs)

    def explained(self, error: ValueError, share: Share) -> NonFiniteError | None:
        """Return, for a complaint of Pyro's about NaN, the error that names its site."""
        if isinstance(error, PairError | InputError):
            return None
        found = self.found(share)
        return None if found.site is None else found

    def found(self, share: Share, figures: dict[str, float] | None = None) -> NonFiniteError:
        """Find what a loss that is not finite comes from."""
        pair = self.pair
        try:
            found = explain_nonfinite(pair.model, pair.guide, share.args, share.kwargs)
        except ValueError:  # the model's own, which is no matter of finiteness
            cure = "lower the learning rate, or clip gradients (fit(..., clip=1.0))"
            found = NonFiniteError(None, "a loss that is not finite", "a finite loss", cure)
        if found.site is None:
            found = pair.auxiliary.found(figures or {}) or found
        return self.located(found, share)

    def located(self, error: NonFiniteError, share: Share) -> NonFiniteError:
        """Say when an error came, and whether the data are to blame."""
        at, batch = self.progress, Columns(share.args, share.kwargs, 0)
        where = f"batch {at.batch + 1}" if self.pair.training else "reporting"
        return self.plan.located(error, f"epoch {at.epoch + 1}, {where}", batch)

    # -- state

    def gather(self) -> None:
        """Bring the clock up to date, and the sums of the epoch to the first process."""
        at, total = self.progress, self.processes.total
        at.seconds = time.monotonic() - self._began
        if self.processes.count > 1:
            loss, rows, *sums = total([at.loss, at.rows, *at.sums.values()])
            first = self.processes.rank == 0
            at.loss, at.rows = (loss, int(rows)) if first else (0.0, 0)
            at.sums = {n: v if first else 0.0 for n, v in zip(at.sums, sums, strict=True)}

    def state(self) -> dict[str, Any]:
        """Return where the run stands: tensors and plain numbers."""
        return {
            "pair": self.pair.state_dict(),
            "progress": dict(vars(self.progress)),
            "best": self.best,
            "interrupted": self.interrupt.asked,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up the run where it stood."""
        self.pair.load_state_dict(state["pair"])
        self.progress, self.best = Progress(**state["progress"]), state["best"]
        self.interrupt.asked = state["interrupted"]

    def unshare(self) -> None:
        """Give a spawned process tensors of its own to train: they come in shared memory."""
        for tensor in [*self.pair.parameters(), *self.pair.buffers()]:
            tensor.data = tensor.data.clone()

    def space(self) -> int:
        """Bytes that a save may need: weights, a resume file, and both again beside the old."""
        tensors = [*self.pair.parameters(), *self.pair.buffers()]
        return 12 * sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    def keep_weights(self) -> None:
        """Remember the weights of now as the best ones."""
        self.best = {name: tensor.clone() for name, tensor in self.pair.weights().items()}

    def save(self) -> None:
        """Write the run's folder, which the first process does."""
        at, folder = self.progress, self.plan.folder
        if self.processes.rank or folder is None:
            return
        of = {"epoch": at.best_epoch if self.best else at.epoch}
        rows = (row for row in reversed(at.history) if row["epoch"] == of["epoch"])
        extra = next(rows, of if at.epoch else {})
        state = {"optimizer": self.optimizer.state_dict(), "kind": self._kind()["optimizer"]}
        weights = self.best or self.pair.weights()
        folder.save({**self.state(), **state}, weights, self.plan.title, extra)

    def end(self) -> None:
        """Leave the pair with its best weights, in evaluation mode, on the CPU."""
        self.pair.cpu().eval()
        if self.best:
            self.pair.load_state_dict(self.best, strict=False)
