"""Ctrl-C in a run."""

from __future__ import annotations

import os
import signal

import pytest

from tests.inference.training.fitting import interrupt_at, train


def test_ctrl_c_without_a_folder_returns_what_there_is() -> None:
    run = train(on_step=interrupt_at(6))
    assert run.interrupted and run.epochs == 1 and str(run).startswith("Interrupted after 1 epoch")


def test_ctrl_c_in_the_first_epoch_is_said() -> None:
    run = train(on_step=interrupt_at(1))
    assert run.interrupted and run.history == []
    assert str(run) == "Interrupted in the first epoch."


def test_a_second_ctrl_c_stops_at_once_and_gives_the_keyboard_back() -> None:
    def impatient(step: int, loss: float) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(on_step=impatient)
    assert signal.getsignal(signal.SIGINT) is handler
