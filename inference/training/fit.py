"""Amortised training of any pair of a model and a guide.

``fit`` is a convenience. What it does at each step is three lines that anybody can write:

>>> model, guide = bind(model, guide, x[:5])                                  # doctest: +SKIP
>>> optimizer = torch.optim.Adam([*model.parameters(), *guide.parameters()])  # doctest: +SKIP
>>> for step, batch in enumerate(batches):                                    # doctest: +SKIP
...     optimizer.zero_grad()
...     Objective().loss(model, guide, (batch,), step=step, data_size=len(x)).backward()
...     optimizer.step()
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyro
import torch
from torch import nn

from inference.objectives import TrainingObjective
from inference.randomness import seeded
from inference.training.plan import check_settings, prepare

if TYPE_CHECKING:
    from inference.training.lightning_module import Learner

MakeOptimizer = Callable[[list[nn.Parameter]], torch.optim.Optimizer]


@dataclass
class Run:
    """A trained pair, and how its training went; ``print`` it.

    ``history`` has a dict an epoch: ``epoch`` and ``step`` (counted from 1), ``loss`` (the mean of
    what training minimised, as the objective says), ``kl_weight`` (of the last step; of sites that
    have their own, ``kl_weight SITE``), ``bound`` and ``bound_se``, and with validation data
    ``validation_bound`` and ``validation_bound_se``. Bounds are plain ones, after the epoch, in
    nats per observation. Objectives that take the bound apart add ``rate`` and each penalty by the
    name of its class, means over the epoch's steps; updates add ``updates``, their mode, and
    ``information`` where they asked for it.
    """

    model: nn.Module
    guide: nn.Module
    history: list[dict[str, Any]]
    best_bound: float | None
    best_epoch: int
    epochs: int
    interrupted: bool
    directory: Path | None
    notes: tuple[str, ...]
    seconds: float

    def __str__(self) -> str:
        if not self.history:
            return "Interrupted in the first epoch." if self.interrupted else "Not trained."
        last = self.history[-1]
        words = [
            f"{'Interrupted after' if self.interrupted else 'Trained'} {self.epochs:,} "
            f"epoch{'s' * (self.epochs > 1)} ({last['step']:,} steps) in {self.seconds:.3g} s.",
            f"Bound {_nats(last, 'bound')} nats per observation on the training data"
            + ("." if "validation_bound" not in last else ";"),
        ]
        if "validation_bound" in last:
            best = self.history[self.best_epoch - 1]
            words.append(
                f"at best {_nats(best, 'validation_bound')} on the validation data, after epoch "
                f"{self.best_epoch}, whose weights these are."
            )
        return " ".join([*words, *self.notes])


def _nats(row: dict[str, Any], name: str) -> str:
    error = row[f"{name}_se"]
    digits = max(0, 1 - math.floor(math.log10(error))) if error > 0 else 3
    return f"{row[name]:,.{digits}f}" + (f" ± {error:.{digits}f}" if error > 0 else "")


def fit(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    data: Any,
    *,
    epochs: int = 100,
    batch_size: int = 128,
    validation: Any = None,
    objective: TrainingObjective | None = None,
    learning_rate: float | Callable[[int], float] = 1e-3,
    optimizer: MakeOptimizer | None = None,
    seed: int = 0,
    patience: int | None = None,
    clip: float | None = None,
    directory: str | os.PathLike[str] | None = None,
    resume: bool = False,
    plate: str | None = None,
    data_size: int | None = None,
    progress: bool = True,
    accelerator: str = "cpu",
    devices: Any = 1,
    strategy: Any = "auto",
    transform: Callable[[Any], Any] | None = None,
    updates: nn.Module | None = None,
    on_step: Callable[[int, float], Any] | None = None,
) -> Run:
    """Train a pair on data, by stochastic gradients of a bound.

    Parameters
    ----------
    model, guide
        Any pair that `inference.check` accepts: modules, AutoGuides, plain functions.
    data
        A tensor (the first argument), a tuple (positional arguments), a dict (keyword arguments),
        or a DataLoader of these; the first dim counts observations. What is no tensor is passed on.
    epochs
        Times that every observation is seen.
    batch_size
        Observations a step, over all devices together; a DataLoader brings its own. The last batch
        of an epoch may be smaller, and counts as what it is.
    validation
        Data to judge by, in the same forms, or the fraction of the data to keep back for it. The
        weights of the best epoch are the ones that remain; with a `TargetRate`, whose early weights
        have another rate, those of the last.
    objective
        What to maximise; by default `Objective()`, the plain bound. Its penalties' critics and its
        target rate are trained in place, by themselves, and go on with a run that is resumed.
    learning_rate
        Of Adam, where no ``optimizer`` is given; or a schedule (`inference.schedules`), which sets
        the rate of any optimiser before each step.
    optimizer
        Makes the optimiser of a list of parameters.
    seed
        Decides the split, the order of the data, all noise, and initial values not yet drawn.
    patience
        Stop after so many epochs without a better bound (of validation, if there is any).
    clip
        Rescale gradients of a larger norm than this one.
    directory
        A folder for ``resume.ckpt`` and ``model.safetensors`` (the weights `Run` would have now).
    resume
        Go on with the run in ``directory``, to the numbers that it would have reached unbroken; a
        folder without a run starts one. ``epochs`` may have grown; the rest must be as it was.
    plate
        The name of the plate over observations, where it cannot be guessed.
    data_size
        Observations in the data set, where a DataLoader does not know.
    progress
        Show a progress bar, in a terminal or a notebook.
    accelerator, devices, strategy
        As Lightning's Trainer takes them: ``accelerator="gpu", devices=2, strategy="ddp"``. Several
        processes share each batch; without noise in the guide they end where one would.
    transform
        What to make of each batch before it is used, in training and in reports, drawing from the
        step's own seed: ``torch.bernoulli`` makes new bits of grey values each time. It gets and
        gives a tensor, a tuple or a dict, as the data are.
    updates
        Whose turn each step is, the guide's, the model's, or both's; `inference.Aggressive()` lets
        the guide catch up with the model before each of its steps.
    on_step
        Called after each step with its number, from 1, and its loss.

    Returns
    -------
    Run
        The pair, in evaluation mode on the CPU, and the history. Modules are trained in place.

    Raises
    ------
    InputError
        Of an argument or of data that cannot be used.
    PairError
        Of a pair that does not fit its data.
    NonFiniteError
        The loss or a gradient is NaN or infinite; names the site or parameter, epoch and batch.
        The parameters, and the folder, are those before that step.
    CheckpointError
        The folder holds another run, or cannot be read or written.

    Notes
    -----
    ``bound`` in the history is taken at each epoch's end over a fixed random part of the training
    data (one in 32, at least 256 observations; all, if the epoch is one batch; the first 256 of a
    DataLoader), always with the same noise. So bounds are comparable between epochs and with
    validation, whatever the objective, for about 2 % of the time.

    Pyro's validation of values, where it is on, watches the first epoch, in which it sees every
    datum; after that only NaN and infinite numbers are looked for.

    Modules with a method ``set_step(step)`` are told each step's number, from 0. A target rate,
    penalties and updates with a method ``reset()`` begin anew with each new run.

    A first Ctrl-C finishes the step, saves, and returns with ``interrupted``; a second one stops at
    once. The global random generators and Pyro's param store are left as they were.
    """
    settings = dict(locals())  # every argument by its name
    check_settings(settings)
    with seeded(seed):
        model, guide, plan = prepare(model, guide, data, settings)
        # Here, since Lightning takes seconds to import; and importing it draws random numbers
        state = random.getstate()
        from inference.training.lightning_module import Learner
        from inference.training.trainer import train

        random.setstate(state)

        learner = Learner(model, guide, plan)
        _take_up(learner, plan.folder.open(resume) if plan.folder else None)
        if not plan.is_over(learner.progress):
            with pyro.get_param_store().scope():
                train(learner, clip, accelerator=accelerator, devices=devices, strategy=strategy)
        if learner.best:
            learner.load_state_dict(learner.best, strict=False)
    return _run(learner)


def _take_up(learner: Learner, state: dict[str, Any] | None) -> None:
    """Put a learner where an earlier session stopped."""
    if state is None:
        learner.extras.reset()
    else:
        learner.load_state_dict(state["learner"])
        learner.interrupt.asked = False
        learner.resumed = state


def _run(learner: Learner) -> Run:
    """Make the answer."""
    at, plan = learner.progress, learner.plan
    notes = []
    if plan.is_over(at) and at.epoch < plan.epochs:
        notes.append(f"Stopped early: no better bound for {plan.patience} epochs.")
    weight = plan.objective.unfinished_warmup(at.step)
    if weight is not None and at.history:  # else it is meant to stay below 1
        notes.append(
            f"The KL weight had only reached {weight:.2g} when training ended, so it was not the "
            "bound that was maximised: train for longer than the warm-up, or shorten that."
        )
    return Run(
        model=learner.model.eval(),
        guide=learner.guide.eval(),
        history=at.history,
        best_bound=at.best_bound,
        best_epoch=at.best_epoch,
        epochs=at.epoch,
        interrupted=learner.interrupt.asked,
        directory=None if plan.folder is None else plan.folder.path,
        notes=tuple(notes),
        seconds=at.seconds,
    )
