"""One run a folder at a time, and nobody is locked out by the dead."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from inference.training import lock
from inference.training.lock import LOCK, locked
from inference.training.processes import Processes
from inference.training.run_folder import RESUME, WEIGHTS
from ppl_models.errors import InputError
from tests.inference.training.fitting import same, train

HOLD = """
import sys, time
from pathlib import Path
from inference.training.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process, which holds the folder."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_run_in_a_folder_is_refused_and_the_first_is_named(
    tmp_path: Path, other: subprocess.Popen[str]
) -> None:
    with pytest.raises(InputError) as raised:
        train(directory=tmp_path, epochs=1)
    found = raised.value.found
    assert f"process {other.pid} on {socket.gethostname()}, since 2" in found
    assert os.listdir(tmp_path) == [LOCK]


def test_what_a_killed_process_held_is_free(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert (tmp_path / LOCK).exists()  # as it was killed
    run = train(directory=tmp_path, epochs=1)
    assert run.epochs == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == [WEIGHTS, RESUME]


def test_a_run_within_a_run_is_refused_too(tmp_path: Path) -> None:
    refused: list[str] = []

    def again(step: int, loss: float) -> None:
        with pytest.raises(InputError, match=f"process {os.getpid()} ") as raised:
            train(directory=tmp_path, epochs=1)
        refused.append(str(raised.value))

    assert same(train(directory=tmp_path, on_step=again), train())
    assert refused


def test_a_folder_is_free_after_an_error_and_an_empty_one_goes(tmp_path: Path) -> None:
    def fail(step: int, loss: float) -> None:
        raise ArithmeticError

    for _ in range(2):
        with pytest.raises(ArithmeticError):
            train(directory=tmp_path / "run", on_step=fail)
        assert not (tmp_path / "run").exists()


def test_where_the_system_has_no_locks_a_file_that_names_the_living_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    if lock.fcntl is not None:
        monkeypatch.setattr(lock.fcntl, "flock", none)
    with (
        locked(tmp_path),
        pytest.raises(InputError, match=f"process {os.getpid()} "),
        locked(tmp_path),
    ):
        pass
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    gone = {"process": dead.pid, "host": socket.gethostname(), "since": "then"}
    (tmp_path / LOCK).write_text(json.dumps(gone))
    with locked(tmp_path):
        pass
    (tmp_path / LOCK).write_text(json.dumps({**gone, "host": "elsewhere"}))
    with pytest.raises(InputError, match="on elsewhere, since then"), locked(tmp_path):
        pass


def test_of_several_processes_that_a_launcher_started_the_first_holds_the_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    processes = Processes()
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert processes.leads  # alone, whatever the environment says
    processes.count = 2
    assert not processes.leads
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert processes.leads
    monkeypatch.setenv("RANK", "4")  # the first of another machine
    assert not processes.leads
