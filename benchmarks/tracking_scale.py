"""CPU time of `track` on long clips with many detections a frame.

    python -m benchmarks.tracking_scale [--frames 5000] [--objects 20] [--detections 30]

Prints a row a scene: ``people`` (objects that walk about an image, seen in 9 frames of 10, among
clutter) and ``noise`` (detections anywhere: every pair of them might belong together, and nothing
can be joined beyond doubt). CPU seconds are of one thread; those a detection say how they grow.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
import torch

from inference.tasks.tracking import track
from ppl_models.data.motchallenge import Boxes, FloatArray

IMAGE = np.array([1920.0, 1080.0])
NOISE = 0.04  # of a detection, in its size


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(1)
    print("scene   frames  detections  CPU seconds  us a detection  peak GiB")
    for scene in arguments.scenes:
        draw = np.random.default_rng(0)
        moving = arguments.objects if scene == "people" else 0
        for frames in arguments.frames:
            people = walking(frames, moving, draw)
            boxes = [people, anywhere(frames, arguments.detections - moving, draw)]
            clip = Boxes.from_padded(np.concatenate(boxes, 1))
            began = time.process_time()
            track([clip], objects=arguments.objects)
            spent = time.process_time() - began
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            each = 1e6 * spent / len(clip)
            print(f"{scene:7s} {frames:6d} {len(clip):11d} {spent:12.0f} {each:15.0f} {peak:9.1f}")


def walking(frames: int, count: int, draw: np.random.Generator) -> FloatArray:
    """Boxes (T, N, 4) of objects that walk about the image; NaN where one is not detected."""
    height = np.exp(draw.normal(4.8, 0.2, count))
    size = np.stack([0.4 * height, height], -1)
    place, speed = draw.uniform(0, IMAGE, (count, 2)), draw.normal(0, 3, (count, 2))
    boxes = np.full((frames, count, 4), np.nan)
    for t in range(frames):
        speed = 0.98 * speed + draw.normal(0, 0.3, speed.shape)
        place = place + speed
        out = (place < 0) | (place > IMAGE)
        speed, place = np.where(out, -speed, speed), place.clip(0, IMAGE)
        seen = size * np.exp(draw.normal(0, NOISE, size.shape))
        centre = place + NOISE * size * draw.normal(size=place.shape)
        boxes[t] = np.concatenate([centre - seen / 2, seen], -1)
    boxes[draw.random((frames, count)) < 0.1] = np.nan
    return boxes


def anywhere(frames: int, count: int, draw: np.random.Generator) -> FloatArray:
    """Boxes (T, K, 4) of clutter."""
    place = draw.uniform(0, IMAGE, (frames, count, 2))
    return np.concatenate([place, draw.uniform([30, 80], [80, 200], place.shape)], -1)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, nargs="+", default=[5000])
    parser.add_argument("--objects", type=int, default=20)
    parser.add_argument("--detections", type=int, default=30)
    parser.add_argument("--scenes", nargs="+", default=["people", "noise"])
    return parser.parse_args()


if __name__ == "__main__":
    main()
