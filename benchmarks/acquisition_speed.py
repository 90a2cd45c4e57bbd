"""What a step of training costs against plain torch, and a choice against the drawing alone.

::

    python -m benchmarks.acquisition_speed                      # --rounds 40 for steadier numbers
    python -m benchmarks.acquisition_speed --part choices --people 1000 --samples 100

PartialVAE of 15 real columns (nothing trained: the cost is the same), one thread, half of the
columns measured at random. A step is the loss, its gradient and the optimiser, for 256 rows: by the
recipe of `fit_table` (five draws, a full covariance), and by the plain bound. The rival has copies
of the same networks and a loss written by hand, and is refused unless both have one loss for the
same noise. Choices are of the next of 14 columns. Rivals take turns, as in `benchmarks.overhead`:
medians of the rounds' own ratios of CPU time.
"""

from __future__ import annotations

import argparse
import resource
from collections.abc import Callable
from copy import deepcopy
from statistics import median, quantiles
from typing import Any

import pyro
import torch
from torch import Tensor

from benchmarks.acquisition_rival import PlainPartialVAE
from benchmarks.overhead import Work, race, table, training, unvalidated
from guides.acquisition import PartialVAEGuide
from inference import Objective
from inference.randomness import seeded
from inference.tasks.acquisition import (
    Information,
    LookAhead,
    PairPredictor,
    Reward,
    State,
    TargetInformation,
    Variance,
    design_for,
)
from ppl_models.acquisition import PartialVAE
from ppl_models.data import Column

Loss = Callable[[], Tensor]
ROWS, PARTICLES, TOLERANCE = 256, 5, 1e-4


def recipe_pair() -> tuple[PartialVAE, PartialVAEGuide]:
    """Return the pair that `fit_table` would train on 15 real columns."""
    return design_for([Column(f"x{d}") for d in range(15)]).pair(0)


def plain_pair() -> tuple[PartialVAE, PartialVAEGuide]:
    """Return a pair of default sizes, with a diagonal covariance."""
    with seeded(0):
        model = PartialVAE(15, 4)
        return model, PartialVAEGuide(model)


STEPS: dict[str, tuple[Callable[[], Any], int]] = {
    "recipe": (recipe_pair, PARTICLES),
    "plain bound": (plain_pair, 0),
}
"""What is trained, and draws of its bound; 0 is the KL in closed form."""


def losses(name: str, rows: int = ROWS) -> dict[str, tuple[Loss, Any]]:
    """Return the loss of a pair and that of its rival, each with the pair that it is of.

    Raises
    ------
    ValueError
        They are not equal for the same noise.
    """
    make, particles = STEPS[name]
    with seeded(1):
        x, mask = torch.randn(rows, 15), torch.rand(rows, 15) < 0.5
    x = 20 + 10 * x.cumsum(1)
    mask[0] = False
    pair = make()
    pair[0].start_from(x, mask)
    with seeded(2), torch.no_grad():  # away from where much is zero
        for parameter in torch.nn.ModuleList(pair).parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    copied = deepcopy(pair)
    rival = PlainPartialVAE(*copied, particles)
    objective = Objective("iwae", num_particles=particles) if particles else Objective("meanfield")
    ours: Loss = lambda: objective.loss(*pair, (), {"x": x, "mask": mask})  # noqa: E731
    found: dict[str, tuple[Loss, Any]] = {
        "ours": (ours, pair),
        "plain": (lambda: rival(x, mask), copied),
    }
    _check_equal(name, *(loss for loss, _ in found.values()))
    return found


def _check_equal(name: str, ours: Loss, plain: Loss) -> None:
    values = []
    for loss in (ours, plain):
        with seeded(3):
            values.append(float(loss().detach()))
    if abs(values[1] - values[0]) > TOLERANCE * abs(values[0]):
        raise ValueError(f"{name}: a loss of {values[0]}, and the rival's is {values[1]}")


def steps(rounds: int) -> None:
    """Print what a step takes: rounds of ten steps."""
    print(f"A training step of {ROWS} rows / in plain torch: median, quartiles; CPU ms")
    for name in STEPS:
        work = {
            rival: unvalidated(_repeated(training(loss, *pair)))
            for rival, (loss, pair) in losses(name).items()
        }
        times = race(work, rounds)
        laps = [a / b for a, b in zip(times["ours"], times["plain"], strict=True)]
        low, middle, high = quantiles(laps, n=4, method="inclusive")
        cost = ", ".join(f"{rival} {median(each) / 10:.2f}" for rival, each in times.items())
        print(f"{name:12}{middle:6.3f} ({low:.3f} to {high:.3f}); {cost}", flush=True)


def _repeated(work: Work, times: int = 10) -> Work:
    def run() -> None:
        for _ in range(times):
            work()

    return run


def rivals(people: int, samples: int) -> dict[str, Work]:
    """Return choices by each reward, and the drawing alone."""
    torch.manual_seed(0)
    model = PartialVAE(15, 4)
    predictor = PairPredictor(model, PartialVAEGuide(model))
    x = torch.randn(people, 15)
    model.start_from(x)
    mask = torch.rand(people, 15) < 0.5
    mask[:, -1] = True

    def choose(reward: Reward) -> Work:
        def work() -> object:
            draws = predictor.draws(x, mask, samples, 0)
            return reward(State(draws, x, mask)).argmax(1)

        return work

    rewards: dict[str, Reward] = {
        "variance": Variance(),
        "information about z": Information(),
        "information about the last column": TargetInformation([14]),
        "look-ahead": LookAhead(),
    }
    alone: dict[str, Work] = {"drawing alone": lambda: predictor.draws(x, mask, samples, 0)}
    return alone | {name: choose(reward) for name, reward in rewards.items()}


def choices(rounds: int, people: int, samples: int) -> None:
    """Print what choosing takes."""
    with torch.no_grad():
        times = race(rivals(people, samples), rounds)
    table(f"{people} people, {samples} draws, one choice of 14", times, "drawing alone")
    print(f"largest memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10:.0f} MiB")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--part", choices=("steps", "choices"))
    parser.add_argument("--people", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=100)
    given = parser.parse_args()
    torch.set_num_threads(1)
    pyro.enable_validation(False)
    if given.part in (None, "steps"):
        steps(given.rounds)
    if given.part in (None, "choices"):
        choices(max(3, given.rounds // 4), given.people, given.samples)


if __name__ == "__main__":
    main()
