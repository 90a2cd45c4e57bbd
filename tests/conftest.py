"""What holds in every test: one thread, no screen, Pyro's validation, no state of another test."""

from __future__ import annotations

import random
from collections.abc import Iterator

import matplotlib
import numpy as np
import pyro
import pytest
import torch

matplotlib.use("Agg")
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    """Each test starts with seed 0 and an empty param store, and gives the generator back."""
    pyro.enable_validation(True)
    pyro.clear_param_store()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield
    pyro.clear_param_store()


@pytest.fixture
def untouched() -> Iterator[None]:
    """Fail a test that asks for this if it changes a global generator or the param store."""
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    yield
    assert torch.equal(torch.get_rng_state(), before[0]), "torch's global generator moved"
    numpy_state = np.random.get_state()[1]  # noqa: NPY002
    assert np.array_equal(numpy_state, before[1]), "NumPy's global generator moved"
    assert random.getstate() == before[2], "Python's global generator moved"
    assert not list(pyro.get_param_store().keys()), "a parameter was left in the param store"
