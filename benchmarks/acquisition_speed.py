"""What choosing the next of 14 columns costs, against drawing the posterior alone.

    python -m benchmarks.acquisition_speed [--rounds 5] [--people 1000] [--samples 100]

PartialVAE of 15 real columns (nothing trained: the cost is the same), one thread, half of the
columns measured at random. Rivals take turns: medians of rounds of CPU time, and their ratios to
the drawing.
"""

from __future__ import annotations

import argparse
import resource

import torch

from benchmarks.overhead import Work, race, table
from guides.acquisition import PartialVAEGuide
from inference.tasks.acquisition import (
    Information,
    LookAhead,
    PairPredictor,
    Reward,
    State,
    TargetInformation,
    Variance,
)
from ppl_models.acquisition import PartialVAE


def rivals(people: int, samples: int) -> dict[str, Work]:
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--people", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=100)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with torch.no_grad():
        times = race(rivals(options.people, options.samples), options.rounds)
    title = f"{options.people} people, {options.samples} draws, one choice of 14"
    table(title, times, "drawing alone")
    print(f"largest memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10:.0f} MiB")


if __name__ == "__main__":
    main()
