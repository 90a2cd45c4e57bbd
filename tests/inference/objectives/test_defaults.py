"""Defaults that are quoted from papers, and where."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from inference.objectives import FreeBits, Objective, SubsetKL, SubsetObjective, TargetRate
from inference.objectives.penalties import WassersteinCritic


@pytest.mark.parametrize(
    ("what", "argument", "value"),
    [
        (Objective, "alpha", 0.5),  # Li and Turner 2016, section 5: between ELBO and IWAE
        (Objective, "kl_weight", 1.0),
        (Objective, "num_particles", 1),  # Kingma and Welling 2014, section 2.3: L = 1
        (SubsetKL, "weight", 0.1),  # Suzuki et al. 2016, section 4: best of those tried
        (SubsetKL, "random", 0),
        (SubsetObjective, "terms", "own"),  # Wu and Goodman 2018, equation 5
        (SubsetObjective, "random", 0),
        (WassersteinCritic, "gradient_penalty", 10.0),  # Gulrajani et al. 2017, algorithm 1
        (WassersteinCritic, "critic_steps", 5),  # the same
        (TargetRate, "step", 0.01),  # Dieleman et al. 2021, section 3.2
        (TargetRate, "tolerance", 0.01),
        (TargetRate, "start", 1.0),
        (FreeBits, "per", "step"),
    ],
)
def test_a_default_is_that_of_its_source(what: Any, argument: str, value: Any) -> None:
    assert inspect.signature(what).parameters[argument].default == value
