from __future__ import annotations

import numpy as np
import pytest
import torch

from inference.randomness import derive, reseed, seeded
from ppl_models.errors import InputError


@pytest.mark.usefixtures("untouched")
def test_a_block_draws_what_its_seed_says_and_leaves_the_global_generator() -> None:
    with seeded(3):
        drawn = torch.randn(4)
    torch_own = torch.randn(4, generator=torch.Generator().manual_seed(3))
    assert torch.equal(drawn, torch_own)


def test_the_generator_is_given_back_after_an_error_too() -> None:
    before = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="inside"), seeded(3):
        torch.randn(4)
        raise RuntimeError("inside")
    assert torch.equal(torch.get_rng_state(), before)


def test_blocks_nest() -> None:
    with seeded(1):
        first = torch.rand(())
        with seeded(2):
            torch.rand(7)
        second = torch.rand(())
    with seeded(1):
        assert torch.equal(torch.stack([first, second]), torch.rand(2))


def test_derived_seeds_depend_on_every_part_of_the_name_and_fit_a_generator() -> None:
    names = [
        (0,),
        (1,),
        (0, "step"),
        (0, "step", 1),
        (0, "step", 11),
        (0, "step", 1, 1),
        (0, "s", 1),
    ]
    seeds = [derive(*name) for name in names]
    assert len(set(seeds)) == len(names)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derive(0, "step", 1) == 4238720567276977853  # the same on every machine, for ever
    with seeded(0):
        reseed(derive(0, "step", 1))
        first = torch.rand(3)
        reseed(derive(0, "step", 2))
        assert not torch.equal(first, torch.rand(3))


def test_neighbouring_names_give_unrelated_numbers() -> None:
    """A thousand first draws at neighbouring steps are uniform: mean within 4 standard errors."""
    with seeded(0):
        draws = []
        for step in range(1000):
            reseed(derive(0, "step", step))
            draws.append(torch.rand(()).item())
    assert abs(np.mean(draws) - 0.5) < 4 * (1 / 12) ** 0.5 / 1000**0.5
    assert abs(np.corrcoef(draws[1:], draws[:-1])[0, 1]) < 4 / 1000**0.5


@pytest.mark.parametrize("seed", [1.5, "1", None])
def test_a_seed_that_is_no_integer_is_refused(seed: object) -> None:
    with pytest.raises(TypeError), seeded(seed):  # type: ignore[arg-type]
        pass


def test_numpy_integers_are_seeds() -> None:
    with seeded(np.int64(4)):  # type: ignore[arg-type]
        drawn = torch.rand(2)
    with seeded(4):
        assert torch.equal(drawn, torch.rand(2))


def test_a_seed_that_torch_does_not_take_is_named() -> None:
    before = torch.get_rng_state()
    for seed in (10**23, -(10**23), 2**64):
        with pytest.raises(InputError, match=f"seed: saw {seed}"), seeded(seed):
            pass
    for seed in (2**64 - 1, -(2**63)):
        with seeded(seed):
            torch.rand(1)
    assert torch.equal(torch.get_rng_state(), before)
