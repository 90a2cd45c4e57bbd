"""The stories, data and judge of `benchmarks.video`: one row is a story, a kind of data, a seed."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from inference.diagnostics import rates
from inference.metrics import future_calibration, locate, video_scores
from inference.randomness import derive
from inference.tasks.video import Forecast, Recipe, fit_clips, forecast, recipe
from ppl_models.data import Digits, MovingDigits, digit_futures, float_frames, moving_digits

PAST, LENGTH, SAMPLES = 5, 25, 100
DATA: dict[str, dict[str, Any]] = {
    "one digit": {"num_digits": 1},
    "two digits": {"num_digits": 2},
    "mirrors": {"num_digits": 1, "process": "deterministic"},
}
TEST_SEED = 4242
PASSES = 8
"""Times that each clip is seen."""
RESOLUTION = 0.5
"""Pixels within which a place can be read off a frame, for calibration before a bounce."""


def variants() -> dict[str, Recipe]:
    """Return the recipes of the rows.

    SRVP's recipe weighs the KL of z, and SVG-LP's does not: each is also there the other way.
    """
    rows = {name: recipe(name) for name in ("SRVP", "SVGLP", "SVGFP", "SV2P", "DKF", "VRNN")}
    rows["SRVP without z"] = replace(_with(rows["SRVP"], stochastic=False), kl_weight=1.0)
    rows["SRVP, z unweighted"] = replace(rows["SRVP"], kl_weight=1.0)
    rows["SVGLP, z weighted"] = replace(rows["SVGLP"], kl_weight=rows["SRVP"].kl_weight)
    rows["SV2P, z a frame"] = _with(rows["SV2P"], time_variant=True)
    return rows


def _with(chosen: Recipe, **options: Any) -> Recipe:
    return replace(
        chosen, design=replace(chosen.design, options={**chosen.design.options, **options})
    )


def clips(digits: Digits, data: str, size: int, seed: int) -> MovingDigits:
    """Draw clips of 15 frames of the digits to train on."""
    return moving_digits(digits.train_images, size=size, seed=derive(seed, data), **DATA[data])


def test_clips(digits: Digits, data: str, size: int) -> MovingDigits:
    """Draw clips of 25 frames of digits that no story has seen: the same for all."""
    given: dict[str, Any] = {"size": size, "length": LENGTH, "seed": TEST_SEED}
    return moving_digits(digits.test_images, digits.test_labels, **given, **DATA[data])


def step_seconds(chosen: Recipe, frames: np.ndarray) -> float:
    """CPU seconds of a training step: a fit of 20 steps more than another, without the start."""

    def spent(epochs: int) -> float:
        pair = chosen.design.pair()
        start = time.process_time()
        fit_clips(*pair, frames, chosen, epochs=epochs, progress=False, report_every=100)
        return time.process_time() - start

    few = len(frames) // chosen.batch_size
    return (spent(3) - spent(1)) / (2 * few)


def train(
    chosen: Recipe, digits: Digits, data: str, seed: int, steps: int, folder: Path
) -> tuple[Any, Any]:
    """Fit a story for so many steps, or go on with it; return the pair."""
    size = chosen.batch_size * max(1, steps // PASSES)
    model, guide = chosen.design.pair(seed)
    frames = clips(digits, data, size, seed).frames
    fit_clips(
        model, guide, frames, chosen, folder, epochs=PASSES, seed=seed, resume=folder.exists()
    )
    return model, guide


def judge(model: Any, guide: Any, test: MovingDigits, process: str = "srvp") -> dict[str, Any]:
    """Score futures of test clips of a process: of each clip, and of all."""
    start = time.process_time()
    predicted = forecast(model, guide, test.frames[:, :PAST], length=LENGTH, num_samples=SAMPLES)
    seconds = time.process_time() - start
    scores = video_scores(test.frames, predicted.frames, past=PAST)
    found: dict[str, Any] = {
        "psnr": scores.psnr.value.tolist(),
        "psnr of one": scores.psnr.mean.tolist(),
        "ssim": scores.ssim.value.tolist(),
        "ssim of one": scores.ssim.mean.tolist(),
        "copied psnr": scores.copied_psnr.tolist(),
        "copied ssim": scores.copied_ssim.tolist(),
        "frames a second": predicted.frames.shape[0] * predicted.frames.shape[1] * LENGTH / seconds,
    }
    table = rates(model, guide, s=float_frames(test.frames[:, :15]), num_samples=4)
    found["kl"] = sum(row.nats for row in table.rows if row.kind == "rate")
    if test.places.shape[2] == 1:
        found |= calibration(predicted, test, process)
    return found


def calibration(predicted: Forecast, test: MovingDigits, process: str) -> dict[str, Any]:
    """Compare the places of futures with where the digit went, and with the true law's."""
    ours, true = (locate(x, test.digits)[..., 0, :] for x in (predicted.frames, test.frames))
    bounced = np.logical_or.accumulate(test.bounces[:, PAST:, 0], 1)
    last = test.places[:, PAST - 1], test.velocities[:, PAST - 1]
    setting: dict[str, Any] = {"process": process, "seed": TEST_SEED}
    law = digit_futures(*last, steps=LENGTH - PAST, samples=SAMPLES, **setting)[..., 0, :]
    exact = torch.from_numpy(law), torch.from_numpy(test.places[:, PAST:, 0])
    result = future_calibration(
        ours[:, :, PAST:], true[:, PAST:], bounced, exact=exact, resolution=RESOLUTION
    )
    return {
        f"{of} {part}": getattr(getattr(result, of), part)
        for of in ("before", "after", "exact_before", "exact_after")
        for part in ("coverage", "coverage_error", "crps", "energy")
        if getattr(result, of) is not None
    }
