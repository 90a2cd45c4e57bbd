"""The next second of a real street: against the picture that stands still.

A film whose camera stands is cut in time: clips of its first three quarters train an SRVP with skip
connections, and clips of the last quarter judge it. `benchmarks.video_answers` prints the table.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.video_rows import step_seconds
from inference.metrics import psnr
from inference.tasks.video import Recipe, fit_clips, forecast, load_video, recipe, save_video
from ppl_models.data import clips_of, read_video, resize_frames, to_grey
from ppl_models.data.files import write_whole

Bytes = NDArray[np.uint8]
PAST, LENGTH, STRIDE, SIDE = 5, 15, 3, 32
"""Frames known, and in all: a second of 10 frames is predicted. The film has 10 a second."""


class Street(NamedTuple):
    """Clips of a film."""

    training: Bytes
    """(N, 15, 32, 32), of the first three quarters."""
    test: Bytes
    """(M, 15, 32, 32), of the last quarter: no frame is in both."""


def street(path: Path, side: int = SIDE) -> Street:
    """Cut a film, grey, the square in its middle."""
    frames = resize_frames(to_grey(read_video(path)), side)
    end = 3 * len(frames) // 4
    parts = (clips_of(part, LENGTH, stride=STRIDE) for part in (frames[:end], frames[end:]))
    return Street(*parts)


def street_recipe(**options: Any) -> Recipe:
    """SRVP for a scene that stands still but for what moves in it.

    Maps of a frame go to the decoder; there are no layers before it, and z is not weighted: with
    both, two minutes of training gave the background, and nothing more. Steps are of 16 clips.
    """
    small = recipe("SRVP")
    chosen = {**small.design.options, "skips": True, "decoder_dims": [], **options}
    steps: dict[str, Any] = {"kl_weight": 1.0, "batch_size": 16, "learning_rate": 5e-3}
    return replace(small, design=replace(small.design, options=chosen), **steps)


def train(chosen: Recipe, clips: Bytes, folder: Path, minutes: float) -> tuple[Any, Any]:
    """Fit for so many CPU minutes, go on with a fit that was stopped, or read a finished one."""
    if (folder / "video.safetensors").exists():
        model, guide, *_ = load_video(folder)
        return model, guide
    folder.mkdir(parents=True, exist_ok=True)
    plan = folder / "plan.json"
    if not plan.exists():
        few = clips[np.arange(10 * chosen.batch_size) % len(clips)]
        epochs = 60 * minutes / (step_seconds(chosen, few) * -(-len(clips) // chosen.batch_size))
        write_whole(plan, json.dumps({"epochs": max(1, round(epochs))}).encode())
    epochs = json.loads(plan.read_text())["epochs"]
    model, guide = chosen.design.pair()
    resume = (folder / "resume.ckpt").exists()
    fit_clips(model, guide, clips, chosen, folder / "run", epochs=epochs, resume=resume)
    save_video(folder, chosen.design, model, guide, {"epochs": epochs, "minutes": minutes})
    return model.eval(), guide.eval()


def next_second(model: Any, guide: Any, clips: Bytes, samples: int = 50) -> dict[str, float]:
    """Return PSNR, dB, means over clips and the ten frames to come; and how much moves.

    What stands still, between the last frame and the background, beats the last frame in PSNR:
    only if futures change about as much as the film does was motion predicted.
    """
    predicted = forecast(model, guide, clips[:, :PAST], length=LENGTH, num_samples=samples).frames
    moved = {
        "levels that change": motion(predicted[:, :, PAST:]),
        "in truth": motion(clips[:, PAST:]),
    }
    return second_scores(clips, predicted) | moved


def second_scores(clips: Bytes, predicted: Bytes) -> dict[str, float]:
    """Score futures (S, B, T, H, W) of clips (B, T, H, W)."""
    came, futures = clips[:, PAST:], predicted[:, :, PAST:]
    each = psnr(came, futures).mean(-1)
    middle = np.rint(futures.mean(0)).astype(np.uint8)
    still = np.broadcast_to(clips[:, PAST - 1 : PAST], came.shape)
    return {
        "one future": float(each.mean()),
        "the best future": float(each.amax(0).mean()),
        "the futures' mean": float(psnr(came, middle).mean()),
        "the last frame": float(psnr(came, still).mean()),
        "the first frame predicted": float(psnr(came, futures)[..., 0].mean()),
        "the same, copied": float(psnr(came, still)[:, 0].mean()),
        "the past, again": float(psnr(clips[:, :PAST], predicted[:, :, :PAST]).mean()),
    }


def motion(frames: Bytes) -> float:
    """Return by how much pixels (..., T, H, W) change from frame to frame: rms, grey levels."""
    change = np.diff(frames.astype(float), axis=-3)
    return float(np.sqrt((change * change).mean()))


def report(path: Path, folder: Path, minutes: float) -> None:
    """Train, or go on, and print the table."""
    clips = street(path)
    pair = train(street_recipe(), clips.training, folder, minutes)
    print(f"\nThe next second of a street, {len(clips.test)} clips of the last quarter: PSNR, dB")
    for name, value in next_second(*pair, clips.test).items():
        print(f"{name:22}{value:8.2f}")
