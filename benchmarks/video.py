"""Stories of videos side by side: what happens next, and how sure they are.

::

    python -m benchmarks.video ../shared/data/mnist --out RUNS --minutes 10    # some ten core hours
    python -m benchmarks.video ../shared/data/mnist --out RUNS --table         # what is there

Each story gets as many CPU minutes, the same clips, and a Gaussian of one scale; all but SV2P,
which moves pixels, have the same encoder and decoder (SVG's with its skip connections); test clips
are of digits that none has seen. Stopped, the same command goes on. ``--only`` and ``--stories``
pick rows, so that two processes can share the work. The published sizes at 64 x 64 are a recipe for
a GPU: ``ppl fit-video CLIPS.npz --sizes published --accelerator gpu --out RUN``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch

from benchmarks.video_rows import DATA, clips, judge, step_seconds, test_clips, train, variants
from inference.tasks.video import save_video
from ppl_models.data import mnist
from ppl_models.data.files import write_whole

TIMED_CLIPS = 320
"""Of an epoch whose steps are timed: ten, or twenty."""


def main() -> None:
    """Train and judge the rows that are not there yet, and print the table."""
    given = _arguments()
    torch.set_num_threads(1)
    if not given.table:
        _run(given)
    for data in given.only:
        print(table(given.out, data, given.stories))


def _arguments() -> Any:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mnist", type=Path, help="mnist.npz, or a folder with it")
    parser.add_argument("--out", type=Path, required=True, help="folder of runs and results")
    parser.add_argument("--minutes", type=float, default=10.0, help="CPU minutes of a row")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--only", nargs="*", choices=[*DATA], default=[*DATA])
    parser.add_argument("--stories", nargs="*", choices=[*variants()], default=[*variants()])
    parser.add_argument("--clips", type=int, default=100, help="test clips")
    parser.add_argument("--table", action="store_true", help="print what is there, and end")
    return parser.parse_args()


def _run(given: Any) -> None:
    digits, recipes = mnist(given.mnist), variants()
    plan = _plan(given.out, digits, recipes)
    for seed in given.seeds:
        for data in given.only:
            test = test_clips(digits, data, given.clips)
            for name in given.stories:
                folder = given.out / f"{data}, {name}, {seed}"
                result = folder / "result.json"
                if result.exists() or (data == "mirrors" and not name.startswith("SRVP")):
                    continue
                steps = int(60 * given.minutes / plan[name])
                model, guide = train(recipes[name], digits, data, seed, steps, folder)
                save_video(folder, recipes[name].design, model, guide, {"steps": steps})
                process = DATA[data].get("process", "srvp")
                found = judge(model, guide, test, process)
                found |= {"steps": steps, "minutes": given.minutes}
                write_whole(result, json.dumps(found).encode())
                print(f"{data}, {name}, seed {seed}: {steps} steps, {mean(found['psnr']):.2f} dB")


def _plan(out: Path, digits: Any, recipes: dict[str, Any]) -> dict[str, float]:
    """Time a step of every story, three times in turn; the least counts, and is kept."""
    out.mkdir(parents=True, exist_ok=True)
    file = out / "steps.json"
    kept: dict[str, float] = json.loads(file.read_text()) if file.exists() else {}
    new = [name for name in recipes if name not in kept]
    if not new:
        return kept
    frames = clips(digits, "one digit", TIMED_CLIPS, 0).frames
    times: dict[str, list[float]] = {name: [] for name in new}
    for _ in range(3):
        for name in new:
            times[name].append(step_seconds(recipes[name], frames))
    plan = kept | {name: min(of) for name, of in times.items()}
    write_whole(file, json.dumps(plan).encode())
    return plan


COLUMNS = {"best PSNR": "psnr", "of one": "psnr of one", "best SSIM": "ssim"}


def table(out: Path, data: str, stories: list[str]) -> str:
    """Return the rows of one kind of data: means over seeds, and their spread."""
    lines = [f"\n{data}", "| story | seeds | steps | best of 100, dB | one | SSIM | KL, nats |"]
    lines[-1] += " before: 50 / 80 / 95 % | after a bounce | CRPS before, after |"
    lines.append("|---" * 10 + "|")
    copied: list[dict[str, Any]] = []
    for name in stories:
        files = sorted(out.glob(f"{data}, {name}, [0-9]*/result.json"))
        found = [json.loads(file.read_text()) for file in files]
        if found:
            lines.append(_line(name, found))
            copied = found
    if copied:
        values = np.mean(copied[0]["copied psnr"]), np.mean(copied[0]["copied ssim"])
        lines.append(f"| the last frame | | | {values[0]:.2f} | | {values[1]:.3f} |" + " |" * 4)
        if "exact_after crps" in copied[0]:
            lines.append(_exact(copied[0]))
    return "\n".join(lines)


def _line(name: str, found: list[dict[str, Any]]) -> str:
    cells = [name, str(len(found)), str(round(mean(f["steps"] for f in found)))]
    for key, form in (("psnr", ".2f"), ("psnr of one", ".2f"), ("ssim", ".3f")):
        cells.append(_spread([float(np.mean(f[key])) for f in found], form))
    cells.append(_spread([f["kl"] for f in found], ".1f"))
    if "before crps" in found[0]:
        for part in ("before", "after"):
            shares = np.mean([f[f"{part} coverage"] for f in found], 0)
            cells.append(" / ".join(f"{100 * share:.0f}" for share in shares))
        both = (mean(f[f"{part} crps"] for f in found) for part in ("before", "after"))
        cells.append(", ".join(f"{value:.2f}" for value in both))
    return "| " + " | ".join(cells + [""] * (10 - len(cells))) + " |"


def _exact(found: dict[str, Any]) -> str:
    parts = ("exact_before", "exact_after")
    shares = (" / ".join(f"{100 * x:.0f}" for x in found[f"{part} coverage"]) for part in parts)
    both = ", ".join(f"{found[f'{part} crps']:.2f}" for part in parts)
    return f"| the true law |{' |' * 6} {' | '.join(shares)} | {both} |"


def _spread(values: list[float], form: str) -> str:
    if len(values) < 2:
        return f"{values[0]:{form}}"
    return f"{mean(values):{form}} ± {stdev(values):{form}}"


if __name__ == "__main__":
    main()
