"""What Ctrl-C does in a run."""

from __future__ import annotations

import signal
import sys
import threading
from typing import Any


class Interrupt:
    """Ctrl-C within the block sets `asked`; a second one interrupts at once, as usual."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> Interrupt:
        self._here = threading.current_thread() is threading.main_thread()
        self.watch()
        return self

    def watch(self) -> None:
        """Listen, in a child of the process that entered the block, too."""
        if self._here and signal.getsignal(signal.SIGINT) != self._ask:
            self._previous = signal.signal(signal.SIGINT, self._ask)

    def _ask(self, number: int, frame: Any) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        print("\nstopping after this step (Ctrl-C again: at once)", file=sys.stderr)

    def __exit__(self, *error: object) -> None:
        if self._here:
            signal.signal(signal.SIGINT, self._previous or signal.default_int_handler)
