"""Epochs, reports at their ends, and pauses: where the loop goes on and where it stops."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyro.infer.autoguide import AutoNormal
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from inference import Objective, Run, TargetRate, fit
from inference.training.loop import _with_last
from inference.training.prepare import REPORT_EVERY
from inference.training.run_folder import RunFolder
from tests import pairs
from tests.inference.training.fitting import (
    QUIET,
    conjugate,
    data,
    interrupt_at,
    parameters,
    same,
    train,
)


@pytest.fixture(autouse=True)
def save_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save at each epoch's end, however short the epochs are."""
    monkeypatch.setattr(RunFolder, "SHARE", 0.0)


def whole(**settings: Any) -> Run:
    """Train with all data in one batch: an epoch is a step."""
    return fit(*conjugate(), data(), **{"epochs": 25, "batch_size": 100, **QUIET, **settings})


def epochs(run: Run) -> list[int]:
    return [row["epoch"] for row in run.history]


def test_the_last_batch_of_an_epoch_is_known_as_such() -> None:
    for count in range(4):
        made = list(_with_last(iter(range(count))))  # type: ignore[arg-type]
        assert made == [(i, i == count - 1) for i in range(count)]


# -- reports


def test_epochs_of_one_step_are_reported_now_and_then_and_at_the_end() -> None:
    assert epochs(whole()) == [REPORT_EVERY, 2 * REPORT_EVERY, 25]
    assert epochs(whole(epochs=3)) == [3]
    assert epochs(whole(report_every=1)) == list(range(1, 26))
    assert epochs(whole(report_every=8)) == [8, 16, 24, 25]
    assert epochs(train(report_every=3)) == [3, 4]


def test_reports_that_decide_something_are_made_each_epoch() -> None:
    for decides in ({"validation": 0.3}, {"patience": 30}, {"batch_size": 50}):
        assert epochs(whole(epochs=3, **decides)) == [1, 2, 3]


def test_a_report_changes_neither_training_nor_other_reports() -> None:
    often, seldom = whole(report_every=1), whole()
    assert all(a.equal(b) for a, b in zip(parameters(often), parameters(seldom), strict=True))
    kept = [row for row in often.history if row["epoch"] in epochs(seldom)]
    assert kept == seldom.history


def test_patience_is_a_matter_of_reports() -> None:
    """The bound of a guide that stays is always the same: the first report is the best."""
    still = {"learning_rate": 1e-12, "objective": Objective("meanfield"), "report_every": 4}
    run = whole(patience=6, epochs=100, **still)
    assert run.best_epoch + 6 <= run.epochs < 100
    assert run.epochs % 4 == 0 and epochs(run)[-1] == run.epochs
    assert "Stopped early: no better bound for 6 epochs" in str(run)


# -- going on


@pytest.mark.parametrize("first", [5, 10, 13])
def test_a_run_of_single_steps_goes_on_to_the_same_rows(tmp_path: Path, first: int) -> None:
    """The first session reports its last epoch, which the unbroken run passes over."""
    assert epochs(whole(epochs=first, directory=tmp_path))[-1] == first
    resumed = whole(directory=tmp_path, resume=True)
    assert same(resumed, whole())
    assert (resumed.best_epoch, resumed.best_bound) == (whole().best_epoch, whole().best_bound)


def test_a_run_of_single_steps_is_reported_where_it_was_interrupted(tmp_path: Path) -> None:
    broken = whole(directory=tmp_path, on_step=interrupt_at(13))
    assert broken.interrupted and epochs(broken) == [10, 13]
    assert str(broken).startswith("Interrupted after 13 epochs (13 steps)")
    again = whole(epochs=13, directory=tmp_path, resume=True)  # nothing is left to do
    assert same(again, broken)
    assert same(whole(directory=tmp_path, resume=True), whole())


def test_a_steered_run_of_single_steps_keeps_its_last_report(tmp_path: Path) -> None:
    def steered(**settings: Any) -> Run:
        return whole(objective=Objective(kl_weight=TargetRate(0.5)), **settings)

    steered(epochs=13, directory=tmp_path)
    resumed = steered(directory=tmp_path, resume=True)
    assert same(resumed, steered()) and resumed.best_epoch == 25


def test_an_interruption_before_the_first_report_is_said() -> None:
    run = train(epochs=9, report_every=9, on_step=interrupt_at(10))  # within the third epoch
    assert str(run) == "Interrupted after 2 epochs, before the first report."


@pytest.mark.parametrize("seed", range(4))
def test_ctrl_c_at_random_moments_loses_nothing(tmp_path: Path, seed: int) -> None:
    """A thread sends it up to 30 ms after some step, wherever training then is."""
    draws = random.Random(seed)

    def soon(step: int, loss: float) -> None:
        if step == first:
            wait = draws.uniform(0, 0.03)
            threading.Timer(wait, os.kill, (os.getpid(), signal.SIGINT)).start()

    step, sessions = 0, 0
    while step < 16 and sessions < 20:
        first, sessions = draws.randint(step + 1, 16), sessions + 1
        handler = signal.signal(signal.SIGINT, lambda *args: None)  # for one that comes too late
        run = train(directory=tmp_path, resume=True, on_step=soon)
        for thread in threading.enumerate():
            if isinstance(thread, threading.Timer):
                thread.join()
        signal.signal(signal.SIGINT, handler)
        step = 4 * run.epochs
    assert same(run, train())


# -- data that end


class Stream(IterableDataset):
    """Rows that can be read so many times."""

    def __init__(self, passes: int) -> None:
        self.passes = passes

    def __iter__(self) -> Iterator[Tensor]:
        self.passes -= 1
        return iter(data() if self.passes >= 0 else [])


def test_training_ends_with_a_stream_of_data(tmp_path: Path) -> None:
    """One pass is for the part that is reported on."""
    options = {"epochs": 9, "data_size": 100, "directory": tmp_path, **QUIET}
    run = fit(*conjugate(), DataLoader(Stream(3), 30), **options)
    assert run.epochs == 2 and epochs(run) == [1, 2] and not run.interrupted
    assert "Stopped early: no more data." in str(run)


def test_an_autoguide_of_all_data_at_once_learns_between_reports() -> None:
    model = pairs.GlobalMean()
    guide, x = AutoNormal(model), data(60)
    run = fit(model, guide, x, epochs=60, learning_rate=0.05, **QUIET)
    assert epochs(run) == [10, 20, 30, 40, 50, 60]
    exact = model.posterior(x).loc.item()
    assert guide.median()["mu"].item() == pytest.approx(exact, abs=0.3)  # Adam's jitter
