"""A long video of a crowd: how seconds and memory of `track` grow with its length.

    python -m benchmarks.long_video

People come to a street at random, walk through it and go, so that about 50 are boxed in each frame;
the video is made in a time that is linear in its length. Each length is followed, without the
number of people, in a process of its own. Printed are CPU seconds and the peak of memory above that
of a short video (the imports), both also as ratios to the first length: linear growth has the
ratios of the frames.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np

from ppl_models.data.motchallenge import Boxes

IMAGE_SIZE, RATE = (1920.0, 1080.0), 25.0
STAY = 8.0
"""Mean seconds that somebody is there."""
DETECTED, NOISE, CLUTTER = 0.95, 0.02, 1.0
"""Share of boxes that are found, their error in heights, and expected boxes a frame of nobody."""


def crowd(frames: int, people: float, seed: int = 0) -> Boxes:
    """Return the detections of a video, frames from 1, about ``people`` of them in each."""
    rng, width, height = np.random.default_rng(seed), *IMAGE_SIZE
    later = rng.integers(1, frames, int(people * frames / (STAY * RATE)))
    begin = np.r_[np.zeros(int(people), int), later]
    rows = [_walk(rng, first, frames) for first in begin.tolist()]
    clutter = rng.poisson(CLUTTER, frames)
    tall = rng.uniform(60, 250, clutter.sum())
    place = rng.uniform(0, 1, (len(tall), 2)) * [width, height]
    score = rng.beta(1.5, 3.5, len(tall))
    frame = np.repeat(np.arange(frames), clutter).astype(float)
    rows.append(np.c_[frame, place, 0.4 * tall, tall, score])
    every = np.concatenate(rows)
    every = every[rng.permutation(len(every))]
    ltwh = np.c_[every[:, 1:3] - every[:, 3:5] / 2, every[:, 3:5]]
    return Boxes(every[:, 0].astype(int) + 1, np.full(len(every), -1), ltwh, every[:, 5], "crowd")


def _walk(rng: np.random.Generator, first: int, frames: int) -> np.ndarray:
    """Return rows (frame, x, y, width, height, score) of one who comes in a frame and goes."""
    t = np.arange(first, min(frames, first + 1 + int(rng.exponential(STAY * RATE))))
    tall, seconds = rng.uniform(80, 220), (t - first)[:, None] / RATE
    start = rng.uniform(0, 1, 2) * [IMAGE_SIZE[0], 600] + [0, 300]
    speed = tall * rng.normal(0, [0.5, 0.05])  # pixels a second: a body's height in two
    sway = 0.05 * tall * np.sin(seconds * rng.uniform(2, 5) + rng.uniform(0, 6))
    place = start + seconds * speed + sway * [1.0, 0.3]
    box = np.c_[place, np.tile([0.4 * tall, tall], (len(t), 1))]
    error = NOISE * tall * rng.standard_normal(box.shape) * [1, 1, 0.4, 1]
    score = rng.beta(6, 1.5, len(t))
    found = rng.random(len(t)) < DETECTED
    return np.c_[t, box + error, score][found]


def follow(frames: int, people: float) -> dict[str, float]:
    """Follow a video in this process; return what it took."""
    from inference.tasks.tracking import track

    track([crowd(10, 2.0)], rate=RATE, image_size=IMAGE_SIZE)  # what is imported late
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    boxes = crowd(frames, people)
    began = time.process_time()
    [found] = track([boxes], rate=RATE, image_size=IMAGE_SIZE, frames=(1, frames))
    seconds = time.process_time() - began
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    counts = {"boxes": len(boxes), "objects": found.objects, "rows": len(found.object)}
    return {"frames": frames, "seconds": seconds, "MiB": memory / 1024, **counts}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, nargs="+", default=[1250, 2500, 5000, 10_000])
    parser.add_argument("--people", type=float, default=50.0, help="boxed in each frame, about")
    parser.add_argument("--one", type=int, help="follow so many frames in this process; print JSON")
    chosen = parser.parse_args()
    if chosen.one is not None:
        print(json.dumps(follow(chosen.one, chosen.people)))
        return
    print("  frames    boxes  objects  seconds  ratio  frames/s  memory, MiB  ratio")
    first: dict[str, float] = {}
    for frames in chosen.frames:
        command = [sys.executable, "-m", "benchmarks.long_video", "--one", str(frames)]
        command += ["--people", str(chosen.people)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        now = json.loads(done.stdout.splitlines()[-1])
        first = first or now
        print(
            f"{frames:8,d} {now['boxes']:8,.0f} {now['objects']:8,.0f}"
            f" {now['seconds']:8.1f} {now['seconds'] / first['seconds']:6.2f}"
            f" {frames / now['seconds']:9.0f} {now['MiB']:12.0f} {now['MiB'] / first['MiB']:6.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
