"""Random numbers that begin at a seed, and that leave the caller's own stream as they found it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from operator import index

import torch

from ppl_models.errors import InputError


def derive(seed: int, *keys: int | str) -> int:
    """Turn a seed and the name of a place into a seed for that place.

    Randomness that is a function of *where* it is drawn (epoch 3, batch 7), not of what was drawn
    before, makes an interrupted run continue with the numbers of an unbroken one.

    Parameters
    ----------
    seed
        The run's seed.
    *keys
        The name of the place, e.g. ``"step", 1200``. Different names give unrelated seeds.

    Returns
    -------
    int
        A seed in ``[0, 2**63)``: 63 bits of BLAKE2b, the same on every machine.
    """
    names = (key if isinstance(key, str) else index(key) for key in keys)
    text = repr((index(seed), *names)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1


def reseed(seed: int) -> None:
    """Set torch's generators (CPU, and CUDA where it is in use); only inside `seeded`."""
    torch.default_generator.manual_seed(index(seed))
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(index(seed))


@contextmanager
def seeded(seed: int = 0) -> Iterator[None]:
    """Draw from `seed` within the block; afterwards the global generators are as before it.

    Parameters
    ----------
    seed
        Any integer that ``torch.manual_seed`` takes; the block draws what it would draw after it.

    Raises
    ------
    TypeError
        If the seed is no integer.
    InputError
        If torch takes no integer of that size.
    """
    seed = index(seed)
    if not -(2**63) <= seed < 2**64:
        raise InputError("seed", f"{seed}", "an integer from -2^63 to 2^64 - 1", "seed=0")
    cpu = torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    reseed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(cpu)
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)
        elif torch.cuda.is_initialized():  # first used in the block: give it its usual first seed
            torch.cuda.manual_seed_all(torch.initial_seed())
