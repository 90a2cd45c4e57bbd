"""The digit classifier: train it, and print how often it is right on digits it has not met.

    python -m benchmarks.digit_classifier ../shared/data/mnist

prints the table of the weights that ship; ``--train`` trains (five minutes of one core) and prints
it of those, ``--ship`` also copies them to the package. Frames are of MNIST's test digits.
"""

from __future__ import annotations

import argparse
import copy
import time
from pathlib import Path

import torch

from inference.checkpoint import save
from inference.metrics.digits import (
    DigitClassifier,
    digit_classifier,
    painted,
    shuffled,
    train_digit_classifier,
)
from ppl_models.data.mnist import Digits, mnist

WEIGHTS = Path(__file__).parents[1] / "ppl_models" / "weights" / "digits.safetensors"


def rates(classifier: DigitClassifier, data: Digits, size: int = 5000) -> dict[str, float]:
    """Return how often it is right, of frames with one test digit and with two different ones.

    It is right if each digit that is there has a larger probability than all that are not. Also
    the mean confidence in both, and in frames of which blocks of 4 x 4 pixels changed places.
    """
    found, generator = {}, torch.Generator().manual_seed(1)
    for count, name in ((1, "one"), (2, "two")):
        batches = [
            painted(data.test_images, data.test_labels, 250, generator, (count, count))
            for _ in range(size // 250)
        ]
        frames, shown = (torch.cat(part) for part in zip(*batches, strict=True))
        frames, shown = frames[shown.sum(1) == count], shown[shown.sum(1) == count]
        probability = classifier.probabilities((255 * frames).round().byte())
        least = probability.masked_fill(shown == 0, 1).amin(-1)
        most = probability.masked_fill(shown == 1, 0).amax(-1)
        found[f"right, {name}"] = float((least > most).float().mean())
        found[f"confidence, {name}"] = float(probability.amax(-1).mean())
    blocks = (255 * shuffled(frames, generator)).round().byte()
    return found | {"confidence, blocks": float(classifier.confidence(blocks).mean())}


def ship(classifier: DigitClassifier, report: dict[str, float], steps: int) -> None:
    """Copy its weights, in half precision, to the package."""
    half = copy.deepcopy(classifier).half()
    extra = {"steps": steps, "test": {name: round(rate, 4) for name, rate in report.items()}}
    config = {"widths": list(classifier.widths)}
    save(WEIGHTS, half, model="DigitClassifier", config=config, extra=extra)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--ship", action="store_true")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    data = mnist(chosen.data)
    if chosen.train or chosen.ship:
        begun = time.monotonic()
        images, labels = data.train_images, data.train_labels
        classifier = train_digit_classifier(images, labels, steps=chosen.steps, seed=chosen.seed)
        print(f"trained in {time.monotonic() - begun:.0f} s")
    else:
        classifier = digit_classifier()
    report = rates(classifier, data)
    if chosen.ship:
        ship(classifier, report, chosen.steps)
    for name, rate in report.items():
        print(f"{name:20} {rate:8.4f}")


if __name__ == "__main__":
    main()
