from __future__ import annotations

import pickle

import pytest
from pyro import poutine

from inference.errors import NonFiniteError, PairError


def test_errors_pickle_and_say_four_things() -> None:
    error = NonFiniteError("z", "a NaN", "a number", "look")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is NonFiniteError and str(again) == str(error)
    assert [again.site, again.found, again.expected, again.cure] == [
        "z",
        "a NaN",
        "a number",
        "look",
    ]
    assert len(str(error).splitlines()) == 4 and isinstance(error, PairError)


@pytest.mark.parametrize("kind", [PairError, NonFiniteError])
def test_errors_are_what_they_were_after_pyro_raised_them_again(kind: type[PairError]) -> None:
    error = kind("z", "a NaN", "a number", "look")

    def model() -> None:
        raise error

    with pytest.raises(kind) as raised:
        poutine.trace(poutine.trace(model)).get_trace()
    assert raised.value is not error and raised.value.__cause__ is not None
    assert raised.value.args == error.args and str(raised.value) == str(error)
