"""The loop of training: epochs of steps, reports at their ends, and pauses to save or to stop."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing

from inference.training.epoch_report import information_now, make_row
from inference.training.progress_bar import Bar
from inference.training.session import Session, Share
from inference.training.step import Stepper

AGREE_EVERY = 16  # steps between two questions to all processes whether to pause


def train(session: Session) -> None:
    """Run the epochs that are left of a plan, in each of the processes that share it.

    Raises
    ------
    KeyboardInterrupt
        After a second Ctrl-C.
    """
    try:
        loop = _Loop(session)
        with closing(loop.bar):
            while not session.plan.is_over(session.progress) and loop.run_epoch():
                pass
    finally:
        session.pair.cpu().eval()


class _Loop:
    """Runs epochs of a session."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.stepper = Stepper(session, session.begin())
        self.bar = Bar(session.plan, session.progress, session.processes.rank)

    def run_epoch(self) -> bool:
        """Run what is left of an epoch; whether to go on after it."""
        session = self.session
        batches = session.shares(session.plan.batches(session.progress))
        for share, last in _with_last(batches):
            self._step(share)
            if not last and self._stops_within():
                return False
        if session.progress.batch == 0:  # a stream of data has come to its end
            return not self._pause(within_epoch=False, over=True)
        return self._end_epoch()

    def _step(self, share: Share) -> None:
        loss = self.stepper.take(share)
        self.bar.step()
        if self.session.plan.on_step is not None:
            self.session.plan.on_step(self.session.progress.step, loss)

    def _stops_within(self) -> bool:
        """Pause between two steps; several processes must agree on it, which takes time."""
        alone = self.session.processes.count == 1
        if not alone and self.session.progress.batch % AGREE_EVERY:
            return False
        return self._pause(within_epoch=True)

    def _end_epoch(self) -> bool:
        """Report the epoch, keep the best weights, save; whether to go on."""
        session, at, plan = self.session, self.session.progress, self.session.plan
        asked = session.interrupt.asked = session.processes.agree(session.interrupt.asked)
        row = make_row(session) if asked or plan.reports(at.epoch + 1) else None
        of_updates = session.pair.auxiliary.end_epoch(lambda: information_now(session))
        at.count_epoch()
        if row is not None:
            row |= of_updates
            # while a weight is steered, early weights have another rate: the last ones are kept
            better = at.note(row, keep_last=session.pair.auxiliary.steered)
            if better and plan.validation is not None:
                session.keep_weights()
            self.bar.epoch(row)
        return not self._pause(within_epoch=False)

    def _pause(self, within_epoch: bool, over: bool = False) -> bool:
        """Save if it is time to, or the last time to; whether to stop."""
        session, folder, agree = (
            self.session,
            self.session.plan.folder,
            self.session.processes.agree,
        )
        session.interrupt.asked = agree(session.interrupt.asked)
        done = not within_epoch and session.plan.is_over(session.progress)
        stop = over or done or session.interrupt.asked
        session.gather()
        if folder is not None:
            due = session.processes.rank == 0 and folder.due(within_epoch)
            if agree(due or stop):
                session.save()
        return stop


def _with_last(shares: Iterable[Share]) -> Iterator[tuple[Share, bool]]:
    """Say of each batch whether it is the last of its epoch."""
    coming = iter(shares)
    for held in coming:
        for share in coming:
            yield held, False
            held = share
        yield held, True
