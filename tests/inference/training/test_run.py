"""What is shown of a run."""

from __future__ import annotations

from inference import fit
from tests.inference.training.fitting import QUIET, conjugate, data


def test_a_run_is_shown_in_a_line_and_printed_in_words() -> None:
    run = fit(*conjugate(), data(), epochs=30, **QUIET)
    assert len(repr(run)) < 120 and "Conjugate, ConjugateGuide" in repr(run)
    assert f"best_bound={run.best_bound:.5g}" in repr(run)
    assert str(run).startswith("Trained 30 epochs")
    assert all(note in str(run) for note in run.notes)
    assert ("notes" in repr(run)) == bool(run.notes)


def test_a_run_that_was_not_trained_is_shown_too() -> None:
    assert "best_bound=None" in repr(fit(*conjugate(), data(), epochs=0, **QUIET))
