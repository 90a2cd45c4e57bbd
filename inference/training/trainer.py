"""Training on Lightning's Trainer. `inference.fit` imports this when it is called, not before.

Every random choice is a function of the seed and of where it is made (the order of epoch 3, the
noise of step 1200), so that a run that goes on after an interruption draws what it would have
drawn. Where the run stands is kept by the learner; of Lightning we use its loops, devices and
strategies.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning.pytorch as lightning
from lightning.fabric.utilities.warnings import PossibleUserWarning

from inference.randomness import derive
from inference.training.lightning_module import Batch, Learner


class Feed:
    """An epoch of this process's shares of the batches; Lightning asks for it each epoch."""

    def __init__(self, learner: Learner) -> None:
        self.learner = learner

    def __iter__(self) -> Iterator[Batch]:
        at, plan = self.learner.progress, self.learner.plan
        batches = plan.source.batches(derive(plan.seed, "order", at.epoch), at.batch)
        return self.learner.shares(batches)


def train(learner: Learner, clip: float | None, **hardware: Any) -> None:
    """Run the epochs that are left of a plan.

    Parameters
    ----------
    learner
        The pair, its plan, and where it stands.
    clip
        Largest norm of the gradient.
    **hardware
        ``accelerator``, ``devices`` and ``strategy`` of Lightning's Trainer.

    Raises
    ------
    InputError
        Several processes, and what only one can do.
    KeyboardInterrupt
        After a second Ctrl-C.
    """
    learner.train()
    with quiet(), learner.interrupt:
        trainer = lightning.Trainer(
            **hardware,
            max_epochs=learner.plan.epochs - learner.progress.epoch,
            gradient_clip_val=clip,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        learner.extras.refuse_several(trainer.world_size)
        try:
            trainer.fit(learner, Feed(learner))
        except SystemExit as stop:  # Lightning's word for it
            if isinstance(stop.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from None
            raise
        finally:
            learner.eval()
            if learner.bar is not None:
                learner.bar.close()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep back Lightning's notes on hardware and on settings that are ours to choose."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PossibleUserWarning)
            warnings.filterwarnings("ignore", "GPU available but not used")
            warnings.filterwarnings("ignore", ".*treespec, LeafSpec", FutureWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
