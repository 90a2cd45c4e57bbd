"""Whole videos on simulated scenes: how many objects, and whether probabilities and bands hold.

    python -m benchmarks.whole_scenes --scenes 12

For scenes of 0 to 30 people (`ppl_models.data.simulate_scenes`), by kind of camera: objects found
against people that were ever detected; of boxes by their p(present) in each tenth, the share that
overlaps (IoU 0.5, one with one) with someone who is there; and how often the credible bands of a
box hold the true one.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from inference.tasks.tracking import LiveTracks, to_centre, track
from ppl_models.data import Scene, simulate_scenes
from ppl_models.data.motchallenge import Boxes

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=12)
    parser.add_argument("--length", type=int, default=250)
    parser.add_argument("--cameras", nargs="+", default=["still", "pan", "walk"])
    parser.add_argument("--rate", type=float, default=25.0, help="frames a second, given")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    for camera in chosen.cameras:
        present, right, inside = list[np.ndarray](), list[np.ndarray](), list[np.ndarray]()
        counts = []
        for i, number in enumerate(np.linspace(0, 30, chosen.scenes)):
            options = {"length": chosen.length, "camera": camera, "seed": i}
            [scene] = simulate_scenes(1, people=float(number), **options)
            size = tuple(float(x) for x in scene.image_size)
            [found] = track(
                [scene.detections],
                image_size=size,  # type: ignore[arg-type]
                rate=chosen.rate,
                frames=(1, chosen.length),
            )
            counts.append((people(scene), len(np.unique(found.object[found.there()]))))
            match = matched(found, scene.truth)
            present.append(found.present)
            right.append(match >= 0)
            rows = match >= 0
            error = found.mean[rows] - to_centre(scene.truth.ltwh[match[rows]])
            inside.append(np.abs(error) / found.sd[rows])
        report(camera, np.array(counts), *(np.concatenate(x) for x in (present, right, inside)))


def report(
    camera: str, counts: np.ndarray, present: np.ndarray, right: np.ndarray, inside: np.ndarray
) -> None:
    """Print one camera's figures."""
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
