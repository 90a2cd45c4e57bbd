"""How fast stories of videos learn and forecast: against plain torch, and against one another.

::

    python -m benchmarks.video_speed                 # --rounds 40 for steadier numbers
    python -m benchmarks.video_speed --part memory   # or steps, fit, forecasts

Sizes are those of `inference.tasks.video.recipe`: 16 clips of 15 frames of 32 x 32, one thread. A
step is the loss, its gradient and the optimiser; `fit` has besides bytes to be made floats, the
choice of batches, the gradient's norm and its checks. The rival has copies of the same networks and
a loss written by hand, and is refused unless both have one loss for the same noise. Rivals take
turns in one process, as in `benchmarks.overhead`: medians of the rounds' own ratios of CPU time.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from statistics import median, quantiles
from typing import Any

import numpy as np
import pyro
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.overhead import Work, race, race_fit, training, unvalidated
from benchmarks.video_rivals import RIVALS
from inference.randomness import seeded
from inference.tasks.video import Recipe, forecast, recipe
from ppl_models.data import float_frames, moving_digits

Bytes = NDArray[np.uint8]
Loss = Callable[[], Tensor]
CLIPS, LENGTH = 16, 15
FORECASTS = ("SRVP", "SVGLP", "SVGFP", "SV2P", "DKF", "VRNN")
LENGTHS = (25, 95, 200)
SAMPLES = 100
"""Futures of one clip: with 200 frames, as many as are painted at once."""
TOLERANCE = 1e-4


def clips(size: int, length: int = LENGTH) -> Bytes:
    """Draw clips of two digits, of noise: what they show does not matter."""
    images = np.random.default_rng(0).integers(0, 256, (10, 28, 28), np.uint8)
    return moving_digits(images, size=size, length=length).frames


def losses(story: str, s: Tensor, chosen: Recipe) -> dict[str, tuple[Loss, tuple[Any, Any]]]:
    """Return the loss of the story and that of its rival, each with the pair that it is of.

    Raises
    ------
    ValueError
        They are not equal for the same noise.
    """
    pair, objective = chosen.design.pair(), chosen.objective(1000)
    copied = deepcopy(pair)
    weight = objective.weight()
    z_weight = weight.get("z", 1.0) if isinstance(weight, dict) else weight
    rival = RIVALS[story](*copied, z_weight)
    found = {
        "ours": (lambda: objective.loss(*pair, (s,)), pair),
        "plain": (lambda: rival(s), copied),
    }
    _check_equal(story, *(loss for loss, _ in found.values()))
    return found


def rivals(story: str, s: Tensor) -> dict[str, Work]:
    """Return a step of the story, and one of its rival, which has copies of its networks."""
    found = losses(story, s, recipe(story))
    return {name: training(loss, *pair) for name, (loss, pair) in found.items()}


def _check_equal(story: str, *both: Loss) -> None:
    found = []
    for loss in both:
        with seeded(1):
            found.append(float(loss().detach()))
    if abs(found[1] - found[0]) > TOLERANCE * abs(found[0]):
        raise ValueError(f"{story}: a loss of {found[0]}, and the rival's is {found[1]}")


def steps(rounds: int) -> None:
    """Print what a step takes."""
    s = float_frames(clips(CLIPS))
    print("\nA training step / in plain torch: median, quartiles; CPU ms")
    for story in RIVALS:
        work = {name: unvalidated(step) for name, step in rivals(story, s).items()}
        _line(story, race(work, rounds), "ours")


def whole_fit(rounds: int) -> None:
    """Print what `fit` takes a step: rounds of ten steps."""
    frames = clips(10 * CLIPS)
    print("\nThe whole of fit, per step / a step in plain torch")
    for story in RIVALS:
        chosen = recipe(story)
        plain = rivals(story, float_frames(frames[:CLIPS]))["plain"]
        times = race_fit(
            chosen.design.pair(),
            (torch.from_numpy(frames).flatten(2),),
            {"plain": plain},
            rounds,
            10,
            batch_size=CLIPS,
            objective=chosen.objective(1000),
            transform=lambda s: s.float() / 255,
            clip=chosen.clip,
            report_every=10**6,
        )
        _line(story, times, "fit")


def _line(story: str, times: dict[str, list[float]], of: str) -> None:
    laps = [a / b for a, b in zip(times[of], times["plain"], strict=True)]
    low, middle, high = quantiles(laps, n=4, method="inclusive")
    cost = ", ".join(f"{name} {median(each):.0f}" for name, each in times.items())
    print(f"{story:8}{middle:6.3f} ({low:.3f} to {high:.3f}); {cost}", flush=True)


def forecasts(rounds: int, samples: int = 20, names: tuple[str, ...] = FORECASTS) -> None:
    """Print frames predicted a second."""
    known, work = clips(2)[:, :5], dict[str, Work]()
    for name in names:
        model, guide = (part.eval() for part in recipe(name).design.pair())
        work[name] = partial(forecast, model, guide, known, length=25, num_samples=samples)
    times = race(work, rounds)
    print("\nFrames predicted a second: of SRVP, and ratios to it")
    for name in names:
        laps = zip(times[names[0]], times[name], strict=True)
        speed = 1e3 * 2 * samples * 20 / median(times[name])
        print(f"{name:8}{median(a / b for a, b in laps):6.2f}{speed:10,.0f}", flush=True)


def memory(lengths: tuple[int, ...] = LENGTHS) -> None:
    """Print how much a process grows at its peak, forecasting so many frames."""
    print(f"\nMemory of {SAMPLES} futures of a clip: MB at the peak, above what imports take")
    grown = list[float]()
    for i, length in enumerate(lengths):
        command = [sys.executable, "-m", "benchmarks.video_speed", "--probe", str(length)]
        out = subprocess.run(command, capture_output=True, text=True, check=True)
        grown.append(float(out.stdout))
        more = (grown[i] - grown[i - 1]) / (length - lengths[i - 1]) if i else grown[0] / length
        print(f"{length:8} frames{grown[-1]:8.0f}; each frame more adds {more:.2f}", flush=True)


def probe(length: int) -> float:
    """Return MB by which a forecast of so many frames makes the process grow."""
    model, guide = (part.eval() for part in recipe("SRVP").design.pair())
    with torch.no_grad():  # untrained steps make the state grow until it is no number
        for part in model.step.parameters():
            part.mul_(0.1)
    known = clips(1)[:, :5]
    predict = partial(forecast, model, guide, known, num_samples=SAMPLES)
    forecast(model, guide, known, length=6, num_samples=1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    predict(length=length)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--part", choices=("steps", "fit", "forecasts", "memory"))
    parser.add_argument("--probe", type=int, help=argparse.SUPPRESS)
    given: Any = parser.parse_args()
    torch.set_num_threads(1)
    pyro.enable_validation(False)
    if given.probe:
        print(probe(given.probe))
        return
    parts: dict[str, Callable[[], None]] = {
        "steps": partial(steps, given.rounds),
        "fit": partial(whole_fit, given.rounds),
        "forecasts": partial(forecasts, max(3, given.rounds // 4)),
        "memory": memory,
    }
    for name, part in parts.items():
        if given.part in (None, name):
            part()


if __name__ == "__main__":
    main()
