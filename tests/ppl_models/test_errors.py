from __future__ import annotations

import pickle

import pytest
from pyro import poutine

from ppl_models.errors import InputError, original


def test_message_says_what_where_and_the_cure() -> None:
    error = InputError("x", "shape (3,)", "shape (N, 2)", "reshape it")
    for part in ("x", "shape (3,)", "shape (N, 2)", "reshape it"):
        assert part in str(error)
    assert isinstance(error, ValueError)


def test_survives_a_worker_process() -> None:
    error = pickle.loads(pickle.dumps(InputError("x", "a", "b", "c")))
    assert (error.argument, error.found, error.expected, error.cure) == ("x", "a", "b", "c")


def test_survives_a_trace_of_pyro_s() -> None:
    """Pyro raises a model's ValueError again, from a string."""

    def model() -> None:
        raise InputError("x", "shape (3,)", "shape (N, 2)", "reshape it")

    with pytest.raises(InputError, match=r"shape \(N, 2\)") as caught:
        poutine.trace(poutine.trace(model).get_trace).get_trace()
    assert original(caught.value).cure == "reshape it"  # type: ignore[attr-defined]


def test_the_original_of_an_error_of_another_kind_is_itself() -> None:
    try:
        try:
            raise KeyError("a")
        except KeyError as cause:
            raise InputError("x", "a", "b", "c") from cause
    except InputError as error:
        assert original(error) is error
