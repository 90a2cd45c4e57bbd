from __future__ import annotations

import pickle

from ppl_models.errors import InputError


def test_message_says_what_where_and_the_cure() -> None:
    error = InputError("x", "shape (3,)", "shape (N, 2)", "reshape it")
    for part in ("x", "shape (3,)", "shape (N, 2)", "reshape it"):
        assert part in str(error)
    assert isinstance(error, ValueError)


def test_survives_a_worker_process() -> None:
    error = pickle.loads(pickle.dumps(InputError("x", "a", "b", "c")))
    assert (error.argument, error.seen, error.expected, error.cure) == ("x", "a", "b", "c")
