from __future__ import annotations

import pickle

from inference.errors import NonFiniteError, PairError


def test_errors_pickle_and_say_four_things() -> None:
    error = NonFiniteError("z", "a NaN", "a number", "look")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is NonFiniteError and str(again) == str(error)
    assert [again.site, again.seen, again.expected, again.cure] == [
        "z",
        "a NaN",
        "a number",
        "look",
    ]
    assert len(str(error).splitlines()) == 4 and isinstance(error, PairError)
