"""Amortised training of any pair of a model and a guide.

``fit`` is a convenience. What it does at each step is three lines that anybody can write:

>>> model, guide = bind(model, guide, x[:5])
>>> optimizer = torch.optim.Adam([*model.parameters(), *guide.parameters()])
>>> for step, batch in enumerate(batches):
...     optimizer.zero_grad()
...     Objective().loss(model, guide, (batch,), step=step, data_size=len(x)).backward()
...     optimizer.step()
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pyro
from pyro.optim import PyroOptim
from torch import nn

from inference.objectives import TrainingObjective
from inference.randomness import seeded
from inference.training.ending import how_it_ended, marks
from inference.training.loop import train
from inference.training.optimizers import MakeOptimizer
from inference.training.pair import TrainedPair
from inference.training.prepare import prepare
from inference.training.processes import Processes
from inference.training.run import Run, judged_by_a_bound
from inference.training.session import Session
from inference.training.settings import check_settings
from inference.training.starts import scale_note


def fit(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    data: Any = None,
    *,
    epochs: int = 100,
    batch_size: int = 128,
    validation: Any = None,
    objective: TrainingObjective | None = None,
    learning_rate: float | Callable[[int], float] = 1e-3,
    optimizer: MakeOptimizer | PyroOptim | None = None,
    seed: int = 0,
    patience: int | None = None,
    clip: float | None = None,
    directory: str | os.PathLike[str] | None = None,
    resume: bool = False,
    plate: str | None = None,
    index: str | None = None,
    data_size: int | None = None,
    progress: bool = True,
    report_every: int | None = None,
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
        or a Dataset or DataLoader of these; the first dim counts observations. What is no tensor is
        passed on. None, or (), where the model holds its data: each epoch is then one step.
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
        Makes the optimiser of a list of parameters; or an object of `pyro.optim`, such as
        ``pyro.optim.ClippedAdam({"lr": 0.01})``.
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
    index
        The argument of model and guide that gets the numbers of a batch's rows, (B,), where they
        keep something of each row. Latents of each datum need no network then: with
        ``pyro.plate("data", N, subsample=index)``, also as ``create_plates`` of an AutoGuide.
    data_size
        Observations in the data set, where a DataLoader does not know.
    progress
        Show a progress bar, in a terminal or a notebook; else print a line now and then.
    report_every
        Epochs from one report of the bound to the next; the last epoch is always reported. By
        default 1; but 10 where all data are one batch and no report decides anything (no
        ``validation``, ``patience`` or ``updates``), since a report then costs half a step.
    accelerator, devices, strategy
        As Lightning's Fabric takes them: ``accelerator="gpu", devices=2, strategy="ddp"``. Several
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
        Of an argument or of data that cannot be used; or another process trains in the folder.
    PairError
        Of a pair that does not fit its data.
    NonFiniteError
        The loss or a gradient is NaN or infinite; names the site or parameter, epoch and batch.
        The parameters, and the folder, are those before that step.
    CheckpointError
        The folder holds another run, or cannot be read or written (which is tried before
        training begins).

    Notes
    -----
    ``bound`` in the history is taken at the end of each reported epoch over a fixed random part of
    the training data (one in 32, at least 256 observations; all, if the epoch is one batch; the
    first 256 of a DataLoader), always with the same noise. So bounds are comparable between epochs
    and with validation, whatever the objective, for about 2 % of the time.

    Pyro's validation of values, where it is on, watches the first epoch, in which it sees every
    datum; after that only NaN and infinite numbers are looked for.

    Modules with a method ``set_step(step)`` are given each step's number, from 0; and 0 before the
    pair is first looked at. A target rate,
    penalties and updates with a method ``reset()`` are reset by each new run.

    A first Ctrl-C finishes the step, saves, and returns with ``interrupted``; a second one stops at
    once. The global random generators and Pyro's param store are left as they were.
    """
    settings = dict(locals())  # every argument by its name
    check_settings(settings)
    with seeded(seed):
        model, guide, plan = prepare(model, guide, data, settings)
        processes = Processes(accelerator, devices, strategy)
        session = Session(TrainedPair(model, guide, plan), plan, processes)
        session.pair.auxiliary.refuse_several(processes.count)
        folder = plan.folder
        with folder.hold(session.space()) if folder and processes.leads else nullcontext():
            session.take_up(folder.open(resume) if folder else None)
            before = marks(session.pair.trained())
            if not plan.is_over(session.progress):
                with session.interrupt, pyro.get_param_store().scope():
                    processes.run(train, session)
            after = marks(session.pair.trained())
            session.end()
    return _run(session, [*_notes(session), *how_it_ended(session.progress, before, after)])


def _run(session: Session, notes: list[str]) -> Run:
    """Make the answer."""
    at, plan = session.progress, session.plan
    return Run(
        model=session.pair.model,
        guide=session.pair.guide,
        history=at.history,
        best_bound=at.best_bound if judged_by_a_bound(at.history) else None,
        best_epoch=at.best_epoch,
        epochs=at.epoch,
        interrupted=session.interrupt.asked,
        directory=None if plan.folder is None else plan.folder.path,
        notes=tuple(notes),
        seconds=at.seconds,
        unit=session.pair.unit,
    )


def _notes(session: Session) -> Iterator[str]:
    """Say what a reader of the summary should know of how training ended."""
    at, plan = session.progress, session.plan
    if at.epoch < plan.epochs and (plan.stale(at) or not session.interrupt.asked):
        reason = f"no better bound for {plan.patience} epochs" if plan.stale(at) else "no more data"
        yield f"Stopped early: {reason}."
    if (scales := scale_note(session.pair.guide)) is not None:
        yield scales
    weight = plan.objective.unfinished_warmup(at.step)
    if weight is not None and at.history:  # else it is meant to stay below 1
        yield (
            f"The KL weight had only reached {weight:.2g} when training ended, so it was not the "
            "bound that was maximised: train for longer than the warm-up, or shorten that."
        )
