"""Accuracy of tracking on three-person windows of real MOT17, against three simple trackers.

    python -m benchmarks.tracking DATA... --tool mot3t.py [--T 60 120 300] [--max 24]
    python -m benchmarks.tracking DATA... --tool mot3t.py --compare priors
    python -m benchmarks.tracking DATA... --tool mot3t.py --compare inference
    python -m benchmarks.tracking DATA... --tool mot3t.py --compare starts
    python -m benchmarks.tracking DATA... --tool mot3t.py --compare paper
    python -m benchmarks.tracking DATA... --tool mot3t.py --shake 0.05 --compare camera

DATA are folders with gt.txt, det.txt and seqinfo.ini; ``mot3t.py`` cuts the windows, hardens them
and holds the rivals. Prints MOTA / IDF1 (and MOTP, IDS) in per cent,
and the mean ELBO with its standard error from draws. ``default`` is what
``ppl track --objects 3`` does: only the detections are passed on.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from inference.tasks.tracking import TrackerSettings, track
from ppl_models.data.motchallenge import Boxes

HARDENINGS = ("none", "gaps", "drop", "all")
ALLOWED = {"gaps": 0.6, "all": 0.4}
"""Share of the best rival's remaining error that is allowed; elsewhere 0.5 points below it."""


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(1)
    tool = load_tool(arguments.tool)
    for length in arguments.T:
        windows = windows_of(tool, arguments.data, length, arguments.max)
        if arguments.shake:
            windows = [shaken(window, arguments.shake, i) for i, window in enumerate(windows)]
        for kind in arguments.harden:
            clips = [tool.harden(window, kind, i) for i, window in enumerate(windows)]
            if not clips:
                print(f"T={length}: no windows")
                break
            COMPARISONS[arguments.compare](tool, clips, length, kind)


def accuracy(tool: Any, clips: list[dict[str, Any]], length: int, kind: str) -> None:
    """Ours against the rivals, and against what is allowed."""
    rivals = {name: tool.score(clips, [f(c) for c in clips]) for name, f in tool.RIVALS}
    ours, seconds = _scored(tool, clips, length)
    for name, score in (*rivals.items(), ("default", ours)):
        _row(length, kind, name, score)
    best = max(score["MOTA"] for score in rivals.values())
    floor = 100 - ALLOWED[kind] * (100 - best) if kind in ALLOWED else best - 0.5
    verdict = "reached" if ours["MOTA"] >= floor else "NOT reached"
    print(f"T={length:3d} {kind:4s} asked  MOTA {floor:5.1f}  {verdict}  ({seconds:.0f} s)\n")


def priors(tool: Any, clips: list[dict[str, Any]], length: int, kind: str) -> None:
    """Three priors in the same mixture, with the paper's E-S step (it filters) and smoothed."""
    settings: dict[str, dict[str, Any]] = {
        f"{name}, {'smoothed' if smooth else 'filtered'}": {
            "prior": prior,
            "settings": TrackerSettings(smooth=smooth),
        }
        for smooth in (False, True)
        for name, prior in (("SRNN", "srnn"), ("DeepAR", "deepar"), ("linear", "linear"))
    }
    _compare(tool, clips, length, kind, settings)


def inference(tool: Any, clips: list[dict[str, Any]], length: int, kind: str) -> None:
    """VEM against SVI, on the same starts and prior."""
    settings: dict[str, dict[str, Any]] = {"VEM": {}, "SVI": {"method": "svi"}}
    _compare(tool, clips, length, kind, settings)


def camera(tool: Any, clips: list[dict[str, Any]], length: int, kind: str) -> None:
    """The camera read from the boxes, or taken to stand; and the rivals."""
    for name, follow in tool.RIVALS:
        _row(length, kind, name, tool.score(clips, [follow(clip) for clip in clips]))
    read = {"camera": {}, "standing": {"settings": TrackerSettings(camera=False)}}
    _compare(tool, clips, length, kind, read)


def paper(tool: Any, clips: list[dict[str, Any]], length: int, kind: str) -> None:
    """Two steps of the paper: the encoder fine-tuned inside VEM, and its cascade of starts."""
    options: dict[str, dict[str, Any]] = {
        "default": {},
        "E-Z, 1 step": {"fine_tune": 1},
        "E-Z, 5 steps": {"fine_tune": 5},
        "cascade": {"start": "cascade"},
    }
    settings = {name: {"settings": TrackerSettings(**some)} for name, some in options.items()}
    _compare(tool, clips, length, kind, settings)


def starts(tool: Any, clips: list[dict[str, Any]], length: int, kind: str) -> None:
    """Each set of starting paths alone, and the best of them by the bound."""
    tracking = importlib.import_module("inference.tasks.tracking.known_number")
    everything = tracking.MOTION_SCALES
    for chosen in (*((scale,) for scale in everything), everything):
        tracking.MOTION_SCALES = chosen
        score, seconds = _scored(tool, clips, length)
        _row(length, kind, f"starts {chosen}", score, seconds)
    tracking.MOTION_SCALES = everything


COMPARISONS: dict[str, Callable[..., None]] = {
    "rivals": accuracy,
    "priors": priors,
    "inference": inference,
    "starts": starts,
    "paper": paper,
    "camera": camera,
}


def _compare(
    tool: Any,
    clips: list[dict[str, Any]],
    length: int,
    kind: str,
    settings: dict[str, dict[str, Any]],
) -> None:
    for name, options in settings.items():
        score, seconds = _scored(tool, clips, length, **options)
        _row(length, kind, name, score, seconds)


def _scored(
    tool: Any, clips: list[dict[str, Any]], length: int, **options: Any
) -> tuple[dict[str, Any], float]:
    boxes = [Boxes.from_padded(clip["det"], name=clip["seq"]) for clip in clips]
    begin = time.process_time()
    tracks = track(boxes, objects=3, frames=(1, length), **options)
    seconds = time.process_time() - begin
    score = tool.score(clips, [t.boxes.transpose(1, 0, 2) for t in tracks])
    score["bound"] = float(np.mean([t.elbo for t in tracks]))
    score["error"] = float(np.sqrt(np.sum([t.elbo_error**2 for t in tracks])) / len(tracks))
    score["objective"] = float(np.mean([t.objective[-1] for t in tracks]))
    return score, seconds


def _row(
    length: int, kind: str, name: str, score: dict[str, Any], seconds: float | None = None
) -> None:
    text = (
        f"T={length:3d} {kind:4s} {name:24s} MOTA {score['MOTA']:5.1f}  IDF1 {score['IDF1']:5.1f}"
    )
    text += f"  MOTP {score['MOTP']:4.1f}  IDS {score['IDS']:2d}"
    if "bound" in score and seconds is not None:
        text += f"  ELBO {score['bound']:8.1f} +- {score['error']:.1f} nats a clip"
        text += f" (objective {score['objective']:8.1f})  {seconds:.0f} CPU s"
    print(text, flush=True)


def windows_of(tool: Any, folders: Sequence[str], length: int, most: int) -> list[dict[str, Any]]:
    """Cut and choose windows as the tool's own command does."""
    windows = [window for folder in folders for window in tool.windows(folder, length)]
    chosen = np.random.default_rng(1).permutation(len(windows))[:most]
    return [windows[i] for i in chosen]


def shaken(window: dict[str, Any], size: float, seed: int) -> dict[str, Any]:
    """Shake truth and detections alike, as a carried camera does, by ``size`` median heights.

    Each axis by itself: an AR(1) of that standard deviation, correlated by exp(-1/4) a frame.
    """
    rng, shift, kept = np.random.default_rng(seed), np.zeros((len(window["gt"]), 4)), np.exp(-1 / 4)
    for t in range(1, len(shift)):
        push = np.sqrt(1 - kept**2) * rng.standard_normal(2)
        shift[t, :2] = kept * shift[t - 1, :2] + push
    shift *= size * np.median(window["gt"][..., 3])
    return window | {name: window[name] + shift[:, None] for name in ("gt", "det")}


def load_tool(path: str) -> Any:
    if not Path(path).is_file():
        raise SystemExit(f"--tool: no file {path}; it is mot3t.py of the project's shared tools")
    spec = importlib.util.spec_from_file_location("mot3t", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="+", help="folders of MOT17 sequences")
    parser.add_argument("--tool", default="../shared/tools/mot3t.py")
    parser.add_argument("--T", type=int, nargs="+", default=[60, 120, 300])
    parser.add_argument("--harden", nargs="+", default=list(HARDENINGS), choices=HARDENINGS)
    parser.add_argument("--max", type=int, default=24, help="most windows a length")
    parser.add_argument("--shake", type=float, default=0.0, help="of the camera, in heights")
    parser.add_argument("--compare", default="rivals", choices=list(COMPARISONS))
    return parser.parse_args()


if __name__ == "__main__":
    main()
