"""Whole videos: how many objects are found, and whether probabilities and bands hold.

    python -m benchmarks.whole_scenes --scenes 7 [--detector worse]
    python -m benchmarks.whole_scenes --data ../shared/data/mot17

Of real videos, a folder each with det.txt and gt.txt, or of scenes of 0 to 30 people
(`ppl_models.data.simulate_scenes`), by kind of camera: objects found against people that were ever
detected; of boxes by their p(present) in each tenth, the share that overlaps (IoU 0.5, one with
one) with someone who is there; and how often the credible bands of a box hold the true one.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from inference.tasks.tracking import LiveTracks, to_centre, track
from ppl_models.data import DetectorLaw, Scene, simulate_scenes
from ppl_models.data.motchallenge import Boxes, read_boxes, read_ground_truth

WORSE = DetectorLaw(detection=0.75, clutter=6.0, object_score=(4.0, 2.0), clutter_score=(2.5, 3.0))
"""Misses a quarter, six boxes of clutter a frame, scores that overlap."""

BANDS = {0.5: 0.6745, 0.8: 1.2816, 0.95: 1.96}
"""Credible share, and its half width in standard deviations."""


def overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes (A, 4) and (B, 4), left, top, width, height."""
    low = np.maximum(a[:, None, :2], b[:, :2])
    high = np.minimum(a[:, None, :2] + a[:, None, 2:], b[:, :2] + b[:, 2:])
    both = (high - low).clip(min=0).prod(-1)
    return both / (a[:, 2:].prod(-1)[:, None] + b[:, 2:].prod(-1) - both)


def matched(found: LiveTracks, truth: Boxes) -> np.ndarray:
    """Row of the truth that each row of the tracks overlaps with, one with one; or -1."""
    match = np.full(len(found.frame), -1)
    for t in np.unique(found.frame):
        mine, true = np.flatnonzero(found.frame == t), np.flatnonzero(truth.frame == t)
        if len(true):
            shared = overlap(found.boxes[mine], truth.ltwh[true])
            rows, columns = linear_sum_assignment(-shared)
            good = shared[rows, columns] >= 0.5
            match[mine[rows[good]]] = true[columns[good]]
    return match


def people(scene: Scene) -> int:
    """People who were detected at least three times."""
    _, count = np.unique(scene.source[scene.source > 0], return_counts=True)
    return int((count >= 3).sum())


class Found:
    """What is gathered over videos: counts of people, and how right each box is."""

    def __init__(self) -> None:
        self.counts = list[tuple[int, int]]()
        self.present, self.right, self.inside = (list[np.ndarray]() for _ in range(3))

    def add(self, found: LiveTracks, truth: Boxes, number: int) -> None:
        """Add a video, in which so many people could be found."""
        self.counts.append((number, len(np.unique(found.object[found.there()]))))
        match = matched(found, truth)
        rows = (match >= 0) & found.there()
        error = found.mean[rows] - to_centre(truth.ltwh[match[rows]])
        self.present.append(found.present)
        self.right.append(match >= 0)
        self.inside.append(np.abs(error) / found.sd[rows])

    def report(self, name: str) -> None:
        """Print the figures of all videos together."""
        parts = (np.concatenate(x) for x in (self.present, self.right, self.inside))
        report(name, np.array(self.counts), *parts)


def real(folder: Path) -> None:
    """Print the figures of each video in a folder."""
    for video in sorted(path for path in folder.iterdir() if path.is_dir()):
        truth, found = read_ground_truth(video / "gt.txt"), Found()
        [tracks] = track([read_boxes(video / "det.txt")])
        found.add(tracks, truth, len(np.unique(truth.id)))
        found.report(video.name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of real videos")
    parser.add_argument("--scenes", type=int, default=12)
    parser.add_argument("--length", type=int, default=250)
    parser.add_argument("--cameras", nargs="+", default=["still", "pan", "shake", "walk"])
    parser.add_argument("--rate", type=float, default=25.0, help="frames a second, given")
    parser.add_argument("--detector", choices=["usual", "worse"], default="usual")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    if chosen.data:
        return real(chosen.data)
    detector = WORSE if chosen.detector == "worse" else DetectorLaw()
    for camera in chosen.cameras:
        found = Found()
        for i, number in enumerate(np.linspace(0, 30, chosen.scenes)):
            options = {"length": chosen.length, "camera": camera, "seed": i, "detector": detector}
            [scene] = simulate_scenes(1, people=float(number), **options)
            width, height = scene.image_size
            [tracks] = track(
                [scene.detections],
                image_size=(width, height),
                rate=chosen.rate,
                frames=(1, chosen.length),
            )
            found.add(tracks, scene.truth, people(scene))
        found.report(camera)


def report(
    camera: str, counts: np.ndarray, present: np.ndarray, right: np.ndarray, inside: np.ndarray
) -> None:
    """Print the figures of one kind of video."""
    error = np.abs(counts[:, 1] - counts[:, 0]).sum() / max(1, counts[:, 0].sum())
    print(f"\n{camera}: people | found, a scene: " + ", ".join(f"{a}|{b}" for a, b in counts))
    print(f"absolute error of the number: {error:.1%}")
    tenth, total = (10 * present).astype(int).clip(max=9), 0.0
    for k in range(10):
        some = tenth == k
        if some.any():
            total += some.mean() * abs(present[some].mean() - right[some].mean())
            said, is_so = present[some].mean(), right[some].mean()
            print(f"said {said:.2f}: right {is_so:.2f} ({some.sum():,} boxes)")
    print(f"expected error of p(present): {total:.3f}")
    for share, width in BANDS.items():
        held = ", ".join(f"{x:.0%}" for x in (inside < width).mean(0))
        print(f"{share:.0%} bands hold x, y, log width, log height: {held}")


if __name__ == "__main__":
    main()
