r"""What a trained SRVP answers: content swapped, far futures, other settings, a way between two.

::

    python -m benchmarks.video_answers srvp ../shared/data/mnist
    python -m benchmarks.video_answers RUN ../shared/data/mnist --part swap --clips 50
    python -m benchmarks.video_answers srvp ../shared/data/mnist --part street \
        --street ../shared/data/video/vtest.npz --out RUNS --minutes 8

Digits are of MNIST's test set, which no story has seen. A path is that of the centroid of what is
bright; which digit a frame shows is what `inference.metrics.digit_classifier` finds most probable.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.video_rows import LENGTH, PAST, RESOLUTION, TEST_SEED
from benchmarks.video_street import report
from inference.metrics import (
    digit_classifier,
    future_calibration,
    locate,
    psnr,
    video_scores,
)
from inference.tasks.video import forecast, interpolate, load_video, swap_content
from ppl_models.data import Digits, MovingDigits, mnist, moving_digits

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float64]
DARK = 25  # grey levels that are haze, and have no say in where a digit is
FAR, NEAR, LONG = 95, 10, 95
PROCESSES, SPEEDS = ("srvp", "svg", "deterministic"), (2, 4, 6)


def test_digits(digits: Digits, size: int, seed: int = TEST_SEED, **setting: Any) -> MovingDigits:
    """Draw clips of digits of the test set."""
    setting = {"num_digits": 1, "length": LENGTH, **setting}
    return moving_digits(digits.test_images, digits.test_labels, size=size, seed=seed, **setting)


# --- where a digit is, and which it is ------------------------------------------------------------


def centroids(frames: Bytes) -> Floats:
    """Return the centroid (..., 2) of what is bright in frames (..., H, W), pixels."""
    light = np.where(frames > DARK, frames, 0).astype(float)
    mass = light.sum((-2, -1))
    rows, columns = (light.sum(axis) @ np.arange(light.shape[-1]) for axis in (-1, -2))
    middle = (light.shape[-1] - 1) / 2  # of a dark frame
    some = np.where(mass, mass, 1)
    return np.stack([np.where(mass, part / some, middle) for part in (rows, columns)], -1)


def path_correlations(one: Floats, other: Floats) -> Floats:
    """Correlate paths (B, T, 2) over frames and axes, each axis about its own mean: (B,)."""
    a, b = (path - path.mean(1, keepdims=True) for path in (one, other))
    norm: Floats = np.sqrt((a * a).sum((1, 2)) * (b * b).sum((1, 2)))
    product: Floats = (a * b).sum((1, 2))
    return product / np.maximum(norm, 1e-12)


def most_probable(classifier: Any, frames: Bytes) -> NDArray[np.int64]:
    """Return the digit that clips (B, T, H, W) show, by the mean probability over frames: (B,)."""
    found: NDArray[np.int64] = classifier.probabilities(frames).mean(1).argmax(-1).numpy()
    return found


class Swap(NamedTuple):
    """How well the content of some clips goes the way of others."""

    correlation: float
    digit: float
    """Share of clips that show the digit of the content."""
    reconstructed: float
    """The same share of clips in their own content and motion: what the decoder loses anyway."""
    true_digit: float
    """The same share of the very clips: the classifier's own errors."""


def swap(model: Any, guide: Any, digits: Digits, size: int) -> Swap:
    """Show the content of clips in the motion of others, 15 frames each, one digit."""
    motion, content = (test_digits(digits, size, seed, length=15) for seed in (11, 12))
    read, label = digit_classifier(), content.labels[:, 0]
    made = swap_content(model, guide, motion.frames, content.frames)[0]
    again = swap_content(model, guide, content.frames, content.frames)[0]
    shares = [
        float((most_probable(read, x) == label).mean()) for x in (made, again, content.frames)
    ]
    paths = centroids(made), centroids(motion.frames)
    return Swap(float(path_correlations(*paths).mean()), *shares)


# --- far futures ----------------------------------------------------------------------------------


def far(model: Any, guide: Any, digits: Digits, size: int, samples: int = 10) -> dict[int, float]:
    """Return the classifier's mean confidence by frame, counted from 1, of futures of 95 frames."""
    test = test_digits(digits, size)
    predicted = forecast(
        model, guide, test.frames[:, :PAST], length=LONG, num_samples=samples
    ).frames
    sure = digit_classifier().confidence(predicted).mean((0, 1))
    return {frame: float(sure[frame - 1]) for frame in (NEAR, 25, 50, 75, FAR)}


# --- other settings -------------------------------------------------------------------------------


def settings() -> Iterator[dict[str, Any]]:
    """Yield the generator's settings: those of training are one or two digits, srvp, speed 4."""
    for num_digits in (1, 2):
        for process in PROCESSES:
            for speed in SPEEDS:
                yield {"num_digits": num_digits, "process": process, "max_speed": speed}


def setting_scores(
    model: Any, guide: Any, test: MovingDigits, samples: int = 100
) -> dict[str, float]:
    """Score futures of clips: PSNR and SSIM of the best, the copied frame, the past; coverage."""
    predicted = forecast(model, guide, test.frames[:, :PAST], length=LENGTH, num_samples=samples)
    parts = video_scores(test.frames, predicted.frames, past=PAST).summary()
    wanted = ("psnr best", "psnr mean", "psnr copied", "ssim best", "ssim copied")
    found = {name: parts[name][0] for name in wanted}
    past = psnr(test.frames[:, :PAST], predicted.frames[:, :, :PAST])
    found["psnr past"] = float(past.mean())
    if test.places.shape[2] == 1:
        ours, true = (
            locate(x, test.digits)[..., PAST:, 0, :] for x in (predicted.frames, test.frames)
        )
        met = np.logical_or.accumulate(test.bounces[:, PAST:, 0], 1)
        held = future_calibration(ours, true, met, resolution=RESOLUTION)
        found |= {"80 % before": held.before.coverage[1], "80 % after": held.after.coverage[1]}
    return found


# --- between two starts ---------------------------------------------------------------------------


def forward_steps(model: Any, guide: Any, digits: Digits, size: int, steps: int = 9) -> float:
    """Return the share of steps from one clip's start to another's that go towards the end."""
    pairs = [test_digits(digits, size, seed, length=15).frames for seed in (21, 22)]
    shares = []
    for first, last in zip(*pairs, strict=True):
        made = interpolate(model, guide, first, last, steps=steps, length=15)
        shares.append(share_forward(centroids(made[:, 0])))
    return float(np.mean(shares))


def share_forward(way: Floats) -> float:
    """Return the share of steps of a way (N, 2) that go in the direction from start to end."""
    return float((np.diff(way, axis=0) @ (way[-1] - way[0]) > 0).mean())


# --- tables ---------------------------------------------------------------------------------------


def _swap(pair: Any, digits: Digits, size: int) -> None:
    found = swap(*pair, digits, size)
    print(f"\nContent swapped, one digit, {size} pairs of clips")
    print(f"correlation of centroids {found.correlation:.3f} (asked: above 0.9)")
    print(f"its own digit {found.digit:.3f} (asked: above 0.9)", end="; ")
    print(f"reconstructed {found.reconstructed:.3f}; the clips {found.true_digit:.3f}")


def _far(pair: Any, digits: Digits, size: int) -> None:
    found = far(*pair, digits, size)
    print(f"\nForecasts of {PAST} to {LONG} frames: confidence that a frame shows a digit")
    print(", ".join(f"frame {at}: {value:.3f}" for at, value in found.items()), end="; ")
    print(f"ratio {found[FAR] / found[NEAR]:.3f} (asked: at least 0.8)")
    true = digit_classifier().confidence(test_digits(digits, size).frames).mean()
    print(f"of true digits {float(true):.3f}: a story of no digits keeps its ratio, too")


def _settings(pair: Any, digits: Digits, size: int) -> None:
    print(f"\nOther settings, {size} clips, best of 100")
    for setting in settings():
        found = setting_scores(*pair, test_digits(digits, size, **setting))
        name = " ".join(map(str, setting.values()))
        print(f"{name:20}" + ", ".join(f"{k} {v:.3g}" for k, v in found.items()), flush=True)


def _between(pair: Any, digits: Digits, size: int) -> None:
    share = forward_steps(*pair, digits, size)
    print(f"\nBetween two starts, {size} pairs: {share:.3f} of steps go towards the end")


PARTS = {"swap": _swap, "far": _far, "between": _between, "settings": _settings}


def main() -> None:
    """Print the answers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="a run's folder, a file, or srvp")
    parser.add_argument("mnist", type=Path, help="mnist.npz, or a folder with it")
    parser.add_argument("--part", nargs="*", choices=[*PARTS, "street"], default=[*PARTS])
    parser.add_argument("--clips", type=int, default=100)
    parser.add_argument("--street", type=Path, help="vtest.npz: trains a model of its own")
    parser.add_argument("--out", type=Path, help="folder of that model's run")
    parser.add_argument("--minutes", type=float, default=8.0, help="CPU minutes of its training")
    given = parser.parse_args()
    torch.set_num_threads(1)
    parts = [name for name in given.part if name in PARTS]
    if parts:
        loaded = load_video(given.model)
        digits = mnist(given.mnist)
        for name in parts:
            partial(PARTS[name], (loaded.model, loaded.guide), digits)(given.clips)
    if given.street is not None:
        if given.out is None:
            parser.error("--street trains a model: give --out, a folder of its run")
        report(given.street, given.out, given.minutes)


if __name__ == "__main__":
    main()
