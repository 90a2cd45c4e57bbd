"""One person's path from a detector's boxes: whole videos' smoother against dynamical VAEs.

    python -m benchmarks.smoothing ../shared/data/mot17

Of people of the truth of each video, windows of so many frames whose boxes are known to be theirs
(IoU 0.5); in the middle some frames' boxes are hidden. Printed: mean IoU with the truth where boxes
are hidden, and where they are not, of straight lines between boxes (and the boxes themselves), of
the smoother of `ppl track` (velocities, errors that last), and of MixDVAE of one object whose prior
is linear, SRNN or DeepAR. Means over people's windows, with standard errors of the difference to
lines.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from benchmarks.whole_scenes import overlap
from inference.cli.track_jobs import frame_rate
from inference.tasks.tracking import track
from inference.tasks.tracking.batch import to_ltwh
from inference.tasks.tracking.whole.errors import ErrorLaw, learn_errors
from inference.tasks.tracking.whole.law import MATCHING
from inference.tasks.tracking.whole.smoothing import smooth
from inference.tasks.tracking.whole.time_scale import USUAL
from inference.tasks.tracking.whole.video import Video
from ppl_models.data.motchallenge import Boxes, read_boxes, read_ground_truth

IMAGE = (1920.0, 1080.0)


class Clip(NamedTuple):
    """One person: boxes that are left, the truth (T, 4), which frames are hidden (T,), the rate."""

    boxes: Boxes
    truth: np.ndarray
    hidden: np.ndarray
    rate: float


def clips_of(folder: Path, length: int, hidden: int, most: int, seed: int) -> list[Clip]:
    """Return windows of people, hidden in the middle, of one video."""
    truth, found = read_ground_truth(folder / "gt.txt"), read_boxes(folder / "det.txt")
    owner = np.full(len(found), -1)
    for t in np.unique(found.frame):
        mine, true = np.flatnonzero(found.frame == t), np.flatnonzero(truth.frame == t)
        shared = overlap(found.ltwh[mine], truth.ltwh[true])
        rows, columns = linear_sum_assignment(-shared)
        good = shared[rows, columns] > 0.5
        owner[mine[rows[good]]] = truth.id[true[columns[good]]]
    rate = frame_rate(folder / "det.txt") or USUAL
    clips, middle = [], slice((length - hidden) // 2, (length + hidden) // 2)
    for person in np.unique(truth.id):
        mine = truth.select(truth.id == person)
        for begin in range(int(mine.frame[0]), int(mine.frame[-1]) - length + 2, length // 2):
            path, boxes = mine.between(begin, begin + length - 1), found.select(owner == person)
            boxes = boxes.between(begin, begin + length - 1)
            known = np.isin(np.arange(begin, begin + length), boxes.frame)
            if len(path) < length or known.mean() < 0.8 or not known[[0, 1, -2, -1]].all():
                continue
            dark = np.zeros(length, bool)
            dark[middle] = True
            kept = boxes.select(~dark[boxes.frame - begin])
            kept = Boxes(kept.frame - begin + 1, kept.id * 0 - 1, kept.ltwh, kept.score, "clip")
            clips.append(Clip(kept, path.ltwh, dark, rate))
    rng = np.random.default_rng(seed)
    return [clips[i] for i in sorted(rng.permutation(len(clips))[:most].tolist())]


def lines(clips: list[Clip]) -> list[np.ndarray]:
    """Boxes themselves, and straight lines between them."""
    return [
        np.stack(
            [
                np.interp(np.arange(1, len(clip.truth) + 1), clip.boxes.frame, side)
                for side in clip.boxes.ltwh.T
            ],
            -1,
        )
        for clip in clips
    ]


def smoother(clips: list[Clip]) -> list[np.ndarray]:
    """The smoother of whole videos, its errors learned from all clips of the same rate."""
    errors = {
        rate: learned([c for c in clips if c.rate == rate]) for rate in {c.rate for c in clips}
    }
    found = []
    for clip in clips:
        video = Video(clip.boxes, 1, len(clip.truth), IMAGE, clip.rate)
        mean, _ = smooth(video, [np.arange(len(clip.boxes))], MATCHING, errors[clip.rate])
        found.append(to_ltwh(mean[0]))
    return found


def learned(clips: list[Clip]) -> ErrorLaw:
    """Errors of all clips, one after the other in one video."""
    length = 2 * len(clips[0].truth)
    frame = [clip.boxes.frame + i * length for i, clip in enumerate(clips)]
    parts = [
        np.concatenate([getattr(c.boxes, name) for c in clips]) for name in ("id", "ltwh", "score")
    ]
    joined = Boxes(np.concatenate(frame), *parts, "clips")
    ends = np.cumsum([len(clip.boxes) for clip in clips])
    video = Video(joined, 1, length * len(clips), IMAGE, clips[0].rate)
    return learn_errors(video, np.split(np.arange(ends[-1]), ends[:-1]), ErrorLaw())


def mixdvae(prior: str) -> object:
    """MixDVAE of one object, with a prior."""

    def follow(clips: list[Clip]) -> list[np.ndarray]:
        options = {"frames": (1, len(clips[0].truth)), "image_size": IMAGE, "clutter": False}
        found = track([clip.boxes for clip in clips], objects=1, prior=prior, **options)
        return [one.boxes[0] for one in found]

    return follow


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """IoU of boxes (T, 4), one with one."""
    return np.array([overlap(x[None], y[None])[0, 0] for x, y in zip(a, b, strict=True)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of real videos")
    parser.add_argument("--length", type=int, default=60)
    parser.add_argument("--hidden", type=int, nargs="+", default=[10, 20, 30])
    parser.add_argument("--most", type=int, default=100, help="clips a video")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    ways = {"lines": lines, "smoother": smoother}
    ways |= {f"MixDVAE, {prior}": mixdvae(prior) for prior in ("linear", "srnn", "deepar")}
    videos = sorted(path for path in chosen.data.iterdir() if path.is_dir())
    for hidden in chosen.hidden:
        options = (chosen.length, hidden, chosen.most, chosen.seed)
        clips = [clip for video in videos for clip in clips_of(video, *options)]
        print(f"\n{len(clips)} clips of {chosen.length} frames, {hidden} hidden", flush=True)
        first: np.ndarray | None = None
        for name, way in ways.items():
            overlaps = [iou(a, c.truth) for a, c in zip(way(clips), clips, strict=True)]
            pairs = zip(overlaps, clips, strict=True)
            means = np.array([(x[c.hidden].mean(), x[~c.hidden].mean()) for x, c in pairs])
            first = means if first is None else first
            gain = means - first
            error = gain.std(0) / np.sqrt(len(clips))
            dark, light = (
                f"{100 * m:.1f} ({100 * g:+.1f} ± {100 * e:.1f})"
                for m, g, e in zip(means.mean(0), gain.mean(0), error, strict=True)
            )
            print(f"{name:18s} hidden {dark}   seen {light}", flush=True)


if __name__ == "__main__":
    main()
