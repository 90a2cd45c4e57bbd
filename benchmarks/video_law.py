"""What futures of the true law would score, painted as sharply as a run paints.

::

    python -m benchmarks.video_law ../shared/data/mnist --run "RUNS/one digit, SRVP, 0"
    python -m benchmarks.video_law ../shared/data/mnist --run srvp --data "two digits"

Futures are places drawn from the law (`digit_futures`), painted with the clip's own digits
(`paint_digits`). To their squared error that of the run's frames where it need not predict is
added: of the known ones, reconstructed. The law knows place and velocity exactly, which five frames
do not show; so it is also asked with velocities that are wrong by a little, independent in each
future.

A yardstick, and no bound: errors of place and of painting need not add up, and blurred or
too various futures can score better than true ones.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.video_rows import DATA, LENGTH, PAST, SAMPLES, TEST_SEED, test_clips
from inference.metrics import psnr
from inference.tasks.video import forecast, load_video
from ppl_models.data import Digits, MovingDigits, digit_futures, mnist, paint_digits

ERRORS = (0.0, 0.02, 0.05, 0.1, 0.2)
"""Standard deviations of velocities, pixels a frame and axis."""


def main() -> None:
    """Print a row for each error of velocities, and the run's own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mnist", type=Path, help="mnist.npz, or a folder with it")
    parser.add_argument("--run", required=True, help="a run, a file, or srvp")
    parser.add_argument("--data", choices=[*DATA], default="one digit")
    parser.add_argument("--clips", type=int, default=100, help="test clips")
    given = parser.parse_args()
    digits = mnist(given.mnist)
    test = test_clips(digits, given.data, given.clips)
    model, guide, *_ = load_video(given.run)
    known, best, one = scores(model, guide, test)
    print(f"{given.data}, {given.run}: known frames reconstructed to {known:.2f} dB")
    print(f"| futures | best of {SAMPLES}, dB | one |\n|---|---|---|")
    print(f"| of the run | {best:.2f} | {one:.2f} |")
    process = DATA[given.data].get("process", "srvp")
    for error in ERRORS:
        best, one = law_scores(digits, test, known, error, process=process)
        print(f"| of the law, velocities to ± {error:g} px | {best:.2f} | {one:.2f} |", flush=True)


def scores(model: Any, guide: Any, test: MovingDigits) -> tuple[float, float, float]:
    """Return PSNR of known frames reconstructed, of the best future, and of one.

    The first frame is left out of the known ones: to SVG and SV2P it is data.
    """
    found = forecast(model, guide, test.frames[:, :PAST], length=LENGTH, num_samples=SAMPLES)
    each = np.asarray(psnr(test.frames, found.frames))
    later = each[..., PAST:].mean(-1)
    return float(each[..., 1:PAST].mean()), float(later.max(0).mean()), float(later.mean())


def law_scores(
    digits: Digits,
    test: MovingDigits,
    known: float,
    error: float,
    *,
    samples: int = SAMPLES,
    process: str = "srvp",
) -> tuple[float, float]:
    """Return PSNR, dB, of the best and of one future of the law.

    Parameters
    ----------
    known
        PSNR of painting, without any error of place.
    error
        Standard deviation of velocities, pixels a frame.
    """
    rng = np.random.default_rng(TEST_SEED)
    now, speed = test.places[:, PAST - 1], test.velocities[:, PAST - 1]
    how: dict[str, Any] = {"steps": test.frames.shape[1] - PAST, "samples": 1, "process": process}
    misplaced = []
    for seed in range(samples):  # one by one: two hundred thousand frames are not kept
        wrong = speed + error * rng.normal(size=speed.shape)
        places = digit_futures(now, wrong, seed=seed, **how)[0]
        painted = paint_digits(digits.test_images, test.images_index, places, process=process)
        misplaced.append(_squared_error(psnr(test.frames[:, PAST:], painted).double().numpy()))
    each = -10 * np.log10(np.stack(misplaced) + _squared_error(known)).mean(-1)
    return float(each.max(0).mean()), float(each.mean())


def _squared_error(decibels: Any) -> Any:
    return 10 ** (-decibels / 10)


if __name__ == "__main__":
    main()
