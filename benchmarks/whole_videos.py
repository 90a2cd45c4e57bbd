"""Whole videos of MOT17, boxes as they are and hardened: ours, installed rivals, an oracle.

    python -m benchmarks.whole_videos DATA/mot17 --tool mot_whole.py --env ENV

prints, of all videos together, HOTA, MOTA, IDF1 and more of `track` without the number of objects,
the frame rate or the image's size, and its CPU seconds, files and pictures left out; then what the
project's shared tool ``mot_whole.py`` prints of SORT, ByteTrack, OC-SORT, C-BIoU, BoT-SORT and an
oracle on the same boxes. Three forms: as they are, 40 % of the boxes gone, every third frame only.
ENV is an environment with numpy, scipy, trackers==2.6.1, supervision and trackeval, made if it is
not there.

With ``--ablate``, each part of the tracker is left out in turn, and no rival is run.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
import venv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from inference.tasks.tracking import WholeSettings, track
from ppl_models.data.motchallenge import read_boxes

FORMS = {"as they are": [], "40 % gone": ["--drop", ".4"], "every third": ["--stride", "3"]}
NEEDED = ["numpy", "scipy", "trackers==2.6.1", "supervision", "trackeval"]


def environment(folder: Path) -> Path:
    """Return the Python of an environment with the rivals, made if it is not there."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    if not list(folder.glob("lib/*/site-packages/trackeval")):
        subprocess.run([python, "-m", "pip", "install", "--quiet", *NEEDED], check=True)
    return python


def variants() -> dict[str, WholeSettings]:
    """Return the tracker, and the same with each part left out."""
    whole = WholeSettings()
    design, errors = whole.design, whole.errors
    brief = replace(errors, lasting=(1e-3,) * 4, strength=1e9)  # of one frame, and known
    fixed = replace(errors, strength=1e9)

    def changed(**parts: Any) -> WholeSettings:
        return replace(whole, design=replace(design, **parts))

    return {
        "all": whole,
        "moves": changed(moves=None),
        "scores": whole,  # taken from the detections, see `follow`
        "camera": replace(whole, camera=None),
        "lasting errors": replace(whole, errors=brief),
        "errors learned": replace(whole, errors=fixed),
        "scores and links in turn": changed(rounds=1),
        "last links": changed(last_links=replace(design.last_links, stages=())),
        "long gaps": changed(last_links=replace(design.last_links, stages=(2.5,))),
        "large errors": changed(
            matching=replace(design.matching, outliers=1e-6),
            linking=replace(design.linking, outliers=1e-6),
            smoothing=replace(design.smoothing, outliers=1e-6),
        ),
        "who hides whom": changed(
            links=replace(design.links, uncovered=0.0),
            last_links=replace(design.last_links, uncovered=0.0),
        ),
    }


def follow(boxes: Path, out: Path, left_out: str = "all") -> tuple[float, int]:
    """Follow everyone in each file; return seconds of process time, and frames."""
    seconds, frames, settings = 0.0, 0, variants()[left_out]
    for file in sorted(boxes.glob("*.txt")):
        detections = read_boxes(file)
        if left_out == "scores":
            detections = replace(detections, score=np.full(len(detections), -1.0))
        began = time.process_time()
        [found] = track([detections], settings=settings)
        seconds, frames = seconds + time.process_time() - began, frames + found.length
        found.write(out / file.stem)
    return seconds, frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="the folder of MOT17-04/, MOT17-05/, ...")
    parser.add_argument("--tool", type=Path, required=True, help="mot_whole.py")
    parser.add_argument("--env", type=Path, required=True, help="environment of the rivals")
    parser.add_argument("--no-rivals", action="store_true", help="only ours")
    parser.add_argument("--each", action="store_true", help="a line a video, too")
    parser.add_argument("--ablate", action="store_true", help="leave out part by part")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    python = environment(chosen.env)
    videos = sorted(path for path in chosen.data.iterdir() if path.is_dir())
    for form, options in FORMS.items():
        print(f"\n{form}", flush=True)
        command = [python, chosen.tool, *videos, *options, *(["--all"] if chosen.each else [])]
        with tempfile.TemporaryDirectory() as scratch:
            boxes, tracks = Path(scratch) / "boxes", Path(scratch) / "tracks"
            subprocess.run([*command, "--write", boxes], check=True)
            for left_out in variants() if chosen.ablate else ("all",):
                seconds, frames = follow(boxes, tracks / left_out, left_out)
                if chosen.ablate:
                    print(f"without {left_out}" if left_out != "all" else "all parts", flush=True)
                subprocess.run([*command, "--tracks", tracks / left_out], check=True)
                speed = f"{frames / seconds:.0f} frames a second"
                print(f"{'':10s} {seconds:.1f} s of process time, {speed}")
        if not (chosen.no_rivals or chosen.ablate):
            subprocess.run([*command, "--rivals"], check=True)


if __name__ == "__main__":
    main()
