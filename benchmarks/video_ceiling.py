"""What the best of N futures can reach: the true law's own, painted as sharply as a story paints.

::

    python -m benchmarks.video_ceiling ../shared/data/mnist --run "RUNS/one digit, SRVP, 0"
    python -m benchmarks.video_ceiling ../shared/data/mnist --run srvp --data "two digits"

Futures are places drawn from the law (`digit_futures`), painted with the clip's own digits
(`paint_digits`). To their squared error that of the run's frames where it need not predict is
added: of the known ones, reconstructed. The law knows place and velocity exactly, which five frames
do not show; so it is also asked with velocities that are wrong by a little, independent in each
future.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.video_rows import DATA, LENGTH, PAST, SAMPLES, TEST_SEED, test_clips
from inference.metrics import psnr
from inference.tasks.video import forecast, load_video
from ppl_models.data import Digits, MovingDigits, digit_futures, mnist, paint_digits

ERRORS = (0.0, 0.02, 0.05, 0.1, 0.2)
"""Standard deviations of velocities, pixels a frame and axis."""
Floats = NDArray[np.float64]


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
        best, one = ceiling(digits, test, known, error, process=process)
        print(f"| of the law, velocities to ± {error:g} px | {best:.2f} | {one:.2f} |", flush=True)


def scores(model: Any, guide: Any, test: MovingDigits) -> tuple[float, float, float]:
    """Return PSNR of known frames reconstructed, of the best future, and of one.

    The first frame is left out of the known ones: to SVG and SV2P it is data.
    """
    found = forecast(model, guide, test.frames[:, :PAST], length=LENGTH, num_samples=SAMPLES)
    each = np.asarray(psnr(test.frames, found.frames))
    later = each[..., PAST:].mean(-1)
    return float(each[..., 1:PAST].mean()), float(later.max(0).mean()), float(later.mean())


def ceiling(
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
    painting = 10 ** (-known / 10)
    rows = []
    for seed in range(samples):
        noise = error * rng.normal(size=test.velocities[:, PAST - 1].shape)
        law = digit_futures(
            test.places[:, PAST - 1],
            test.velocities[:, PAST - 1] + noise,
            steps=test.frames.shape[1] - PAST,
            samples=1,
            process=process,
            seed=seed,
        )[0]
        painted = paint_digits(digits.test_images, test.images_index, law, process=process)
        rows.append(_error(painted, test.frames[:, PAST:]))
    each = -10 * np.log10(np.stack(rows) + painting).mean(-1)
    return float(each.max(0).mean()), float(each.mean())


def _error(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> Floats:
    """Return the mean squared error (N, T) of frames, white being 1."""
    differences = (a.astype(np.float64) - b) / 255
    return np.asarray((differences**2).mean((-2, -1)))


if __name__ == "__main__":
    main()
