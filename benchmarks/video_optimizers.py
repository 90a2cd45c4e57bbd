"""How fast a story of videos learns by Adam and by Muon, from the same start, on the same clips.

::

    python -m benchmarks.video_optimizers ../shared/data/mnist --steps 2000 --seeds 0 1 2

After each quarter of the steps, each of 16 clips: the bound of clips that were held out, nats, and
CPU seconds so far. Rates are those that did best in short trials (Adam: 1, 2, 5 thousandths, the
gradient's norm clipped at 100; Muon: 5 and 20 thousandths). ``--last-gain`` is for SRVP: how large
the last layer of f is at first; 1.41 in its paper, a tenth of that in our recipe.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.video_rows import clips
from inference.tasks.video import STORIES, Recipe, fit_clips, recipe
from ppl_models.data import flat_frames, mnist

QUARTERS = 4


def rivals(story: str, last_gain: float | None = None) -> dict[str, Recipe]:
    """Return the recipe by both optimisers."""
    muon = replace(recipe(story), batch_size=16, learning_rate=5e-3)
    if last_gain is not None:
        options = {**muon.design.options, "last_gain": last_gain}
        muon = replace(muon, design=replace(muon.design, options=options))
    adam = replace(muon, optimizer=None, learning_rate=2e-3, clip=100.0)
    return {"Adam": adam, "Muon": muon}


def learn(chosen: Recipe, digits: object, steps: int, seed: int) -> list[tuple[int, float, float]]:
    """Return steps, held-out bound and CPU seconds, after each quarter."""
    size = chosen.batch_size * max(1, steps // QUARTERS)
    train = clips(digits, "one digit", size, seed).frames  # type: ignore[arg-type]
    held_out = clips(digits, "one digit", 256, seed + 1_000).frames  # type: ignore[arg-type]
    start = time.process_time()
    rows: list[tuple[int, float]] = []
    pair = chosen.design.pair(seed)
    run = fit_clips(
        *pair,
        train,
        chosen,
        epochs=QUARTERS,
        seed=seed,
        progress=False,
        validation={"s": flat_frames(held_out)},
        on_step=lambda step, loss: rows.append((step, time.process_time() - start)),
    )
    spent = dict(rows)
    return [(e["step"], e["validation_bound"], spent[e["step"]]) for e in run.history]


def main() -> None:
    """Train by both, in turn, and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mnist", type=Path, help="mnist.npz, or a folder with it")
    parser.add_argument("--story", choices=STORIES, default="SRVP")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--optimisers", nargs="*", choices=rivals("SRVP"), default=rivals("SRVP"))
    parser.add_argument("--last-gain", type=float, help="of SRVP; by default the recipe's")
    given = parser.parse_args()
    if given.last_gain is not None and given.story != "SRVP":
        parser.error("--last-gain is for SRVP")
    torch.set_num_threads(1)
    digits = mnist(given.mnist)
    print("| seed | optimiser | steps: bound of held-out clips (CPU seconds) |")
    print("|---|---|---|")
    for seed in given.seeds:
        for name, chosen in rivals(given.story, given.last_gain).items():
            if name not in given.optimisers:
                continue
            found = learn(chosen, digits, given.steps, seed)
            cells = (f"{step}: {bound:.0f} ({spent:.0f})" for step, bound, spent in found)
            print(f"| {seed} | {name} | {', '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
