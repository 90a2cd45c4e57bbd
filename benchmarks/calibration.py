"""Do the credible boxes of q(s | o) hold what they say? Coverage of 50, 80 and 95 % intervals.

    python -m benchmarks.calibration [--prior deepar] [--clips 100] [--seed 0]
    python -m benchmarks.calibration DATA... --tool mot3t.py

Without DATA: clips told by the story itself (MixDVAE with that prior: 3 objects, 60 frames, 30 %
of the boxes missing, a gap of a quarter of the clip for each object, clutter, shuffled), and
followed by `track`, which sees the detections only. Per cent of true coordinates (centre x and y,
log width and height) inside their interval, objects matched by the best IoU over the clip; clips in
which an object was lost (mean IoU below 0.5) are counted, and told, apart. With DATA: the same of
real windows, hardened; the ground truth there is another annotator's box, not the detector's mean.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from scipy.stats import norm

from benchmarks.tracking import HARDENINGS, load_tool, windows_of
from inference.randomness import seeded
from inference.tasks.tracking import Prior, Tracks, source_pair, to_centre, to_ltwh, track
from ppl_models.data.motchallenge import Boxes
from ppl_models.mixdvae import MixDVAE

LEVELS = (0.5, 0.8, 0.95)
FRAMES, OBJECTS, IMAGE = 60, 3, (1920.0, 1080.0)


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(1)
    if not arguments.data:
        boxes, truth = simulated(arguments.clips, arguments.seed, arguments.prior)
        settings = {"frames": (1, FRAMES), "image_size": IMAGE, "prior": arguments.prior}
        report("simulated", track(boxes, objects=OBJECTS, **settings), truth)
        return
    tool = load_tool(arguments.tool)
    windows = windows_of(tool, arguments.data, FRAMES, arguments.max)
    for kind in HARDENINGS:
        clips = [tool.harden(window, kind, i) for i, window in enumerate(windows)]
        boxes = [Boxes.from_padded(clip["det"], name=clip["seq"]) for clip in clips]
        tracks = track(boxes, objects=OBJECTS, frames=(1, FRAMES), prior=arguments.prior)
        report(kind, tracks, [np.moveaxis(to_centre(clip["gt"]), 0, 1) for clip in clips])


def simulated(
    clips: int, seed: int, prior: Prior = "linear"
) -> tuple[list[Boxes], list[np.ndarray]]:
    """Tell clips by the story; return their detections, and true paths (N, T, 4) of centres."""
    rng = np.random.default_rng(seed)
    height = rng.uniform(80, 300, (clips, OBJECTS))
    centre = rng.uniform((300, 250), (1620, 830), (clips, OBJECTS, 2))
    origin = np.concatenate(
        [centre, np.log(0.4 * height)[..., None], np.log(height)[..., None]], -1
    )
    unit = np.stack([height, height, np.ones_like(height), np.ones_like(height)], -1)
    mask, size = _seen(rng, clips), np.ones((clips, FRAMES, OBJECTS + 1, 4))
    size[..., :OBJECTS, :2] = np.stack([0.4 * height, height], -1)[:, None]
    region = np.array([[0, 0, 2.0, 3.0], [*IMAGE, 6.0, 7.0]])[None].repeat(clips, 0)
    arrays = [torch.as_tensor(x) for x in (mask, size, origin, unit, region)]
    story = MixDVAE(source_pair(prior)[0], phi_strength=None).double()
    with seeded(seed), torch.no_grad():
        paths = story(None, *arrays).numpy()
        # Priors of motion are the same everywhere: tell the paths on from where they are placed
        paths += origin[:, :, None] - paths[:, :, :1]
        o = _detections(rng, paths, mask)
    order = rng.permuted(np.broadcast_to(np.arange(o.shape[2]), o.shape[:3]), axis=2)
    o = np.take_along_axis(o, order[..., None], 2)
    boxes = [Boxes.from_padded(to_ltwh(one), name=f"clip {i}") for i, one in enumerate(o)]
    return boxes, list(paths)


def _seen(rng: np.random.Generator, clips: int) -> np.ndarray:
    """Which of N objects, and of one piece of clutter, are boxed: (B, T, N + 1)."""
    seen = rng.random((clips, FRAMES, OBJECTS + 1)) < [*[0.7] * OBJECTS, 0.3]
    gap = FRAMES // 4
    begin = rng.integers(5, FRAMES - gap, (clips, 1, OBJECTS))
    frame = np.arange(FRAMES)[None, :, None]
    seen[..., :OBJECTS] &= (frame < begin) | (frame >= begin + gap)
    seen[:, :5, :OBJECTS], seen[:, :5, OBJECTS] = True, False
    return seen


def _detections(rng: np.random.Generator, paths: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """One box an object, its noise the story's; clutter anywhere. (B, T, N + 1, 4), NaN unseen."""
    boxes = np.moveaxis(paths, 1, 2)  # (B, T, N, 4)
    size = np.exp(boxes[..., 2:])
    scale = np.concatenate([size, np.ones_like(size)], -1)
    seen = boxes + 0.04 * scale * rng.standard_normal(boxes.shape)
    low, high = (0.0, 0.0, 3.0, 4.0), (*IMAGE, 5.0, 6.0)
    clutter = rng.uniform(low, high, (*boxes.shape[:2], 1, 4))
    o = np.concatenate([seen, clutter], 2)
    o[~mask] = np.nan
    return o


def report(name: str, tracks: Sequence[Tracks], truth: Sequence[np.ndarray]) -> dict[float, float]:
    """Print and return coverage in per cent by level."""
    standard, lost = [], 0
    for one, path in zip(tracks, truth, strict=True):
        overlap = _overlap(one.boxes, to_ltwh(path))
        mine, theirs = linear_sum_assignment(-overlap)
        if overlap[mine, theirs].min() < 0.5:
            lost += 1
            continue
        standard.append((path[theirs] - one.mean[mine]) / one.sd[mine])
    errors = np.stack(standard)
    result = {}
    for level in LEVELS:
        inside = np.abs(errors) < norm.ppf(0.5 + level / 2)
        by_clip = 100 * inside.mean((1, 2, 3))
        result[level] = float(by_clip.mean())
        spread = by_clip.std(ddof=1) / np.sqrt(len(by_clip))
        by_coordinate = "  ".join(f"{100 * x:.0f}" for x in inside.mean((0, 1, 2)))
        print(
            f"{name:9s} {100 * level:.0f} % boxes hold {result[level]:5.1f} +- {spread:.1f} %"
            f"   (x, y, log w, log h: {by_coordinate})"
        )
    print(f"{name:9s} {len(errors)} clips, {lost} with an object lost\n", flush=True)
    return result


def _overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Mean IoU over frames of paths of boxes (N, T, 4), each of a with each of b."""
    a, b = a[:, None], b[None]
    low = np.maximum(a[..., :2], b[..., :2])
    high = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    common = np.clip(high - low, 0, None).prod(-1)
    return (common / (a[..., 2:].prod(-1) + b[..., 2:].prod(-1) - common)).mean(-1)


def _arguments() -> Any:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="*")
    parser.add_argument("--tool", default="../shared/tools/mot3t.py")
    parser.add_argument("--prior", default="deepar", choices=get_args(Prior))
    parser.add_argument("--clips", type=int, default=100)
    parser.add_argument("--max", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
