"""Processes that take turns: each does a piece of work when it is asked, and says what it cost."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from time import process_time


class Turns:
    """A worker's side: call `done` after each piece of work, one before the first of them too."""

    def __init__(self) -> None:
        self.began: float | None = None

    def done(self) -> None:
        """Report the CPU seconds since the last call, and wait for the word to go on."""
        if self.began is not None:
            os.write(int(os.environ["TURNS"]), f"{process_time() - self.began}\n".encode())
        if not sys.stdin.readline().strip():
            os._exit(0)
        self.began = process_time()


class Worker:
    """The other side: start a command, then ask for its work a piece at a time."""

    def __init__(self, command: list[str]) -> None:
        mine, its = os.pipe()
        self.words = tempfile.TemporaryFile("w+")  # a pipe that nobody reads would fill
        settings = os.environ | {"TURNS": str(its), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self.words,
            pass_fds=[its],
            env=settings,
            text=True,
        )
        os.close(its)
        self.answers = os.fdopen(mine)

    def work(self) -> float:
        """Return the CPU seconds of one piece."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        answer = self.answers.readline()
        if not answer:
            self.words.seek(0)
            sys.exit(f"{self.process.args} ended:\n{self.words.read()[-2000:]}")
        return float(answer)

    def stop(self) -> None:
        """Let the process end."""
        self.process.communicate()
        self.answers.close()
        self.words.close()
