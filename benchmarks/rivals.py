"""Epochs a second of MNIST's VAE: this project against the Pythae library.

Run ``python -m benchmarks.rivals --env FOLDER``. Pythae is installed there, into an environment of
its own with the same torch, unless the folder has one already; it is no dependency.

The same network (784-400-50, tanh), bits, batch (128), optimiser (Adam, 1e-3) and machine, a thread
each. The rivals are processes that take turns, an epoch each: a figure is the median CPU time over
rounds, a ratio the median of the rounds' own ratios, so that a busy machine slows all alike. Of
ours, ``fit`` does what it always does, its bound at each epoch's end included, and the loop is the
three lines of `inference.fit`'s docstring. Of Pythae's trainer, progress bars and log are left out,
and with torch's fused Adam it is run too, which is not its default.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import venv
from pathlib import Path
from statistics import median

import pyro
import torch

from benchmarks.turns import Turns, Worker

ROOT = Path(__file__).parents[1]
SIZES, BATCH = (784, 400, 50), 128


def environment(folder: Path) -> Path:
    """Return the Python of an environment with Pythae, made if it is not there."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    if not list(folder.glob("lib/*/site-packages/pythae")):
        pinned = ["-c", str(ROOT / "constraints.txt")]
        command = [python, "-m", "pip", "install", "--quiet", "pythae==0.1.2", *pinned]
        subprocess.run(command, check=True)
    return python


def ours(way: str, rows: int) -> None:
    """Train by ``fit``, or by a loop, an epoch a turn."""
    from guides.vae import VAEGuide
    from inference import Objective, fit
    from ppl_models.vae import VAE

    torch.set_num_threads(1)
    data, hidden, latent = SIZES
    x = torch.rand(rows, data, generator=torch.Generator().manual_seed(0)).round()
    model = VAE(data, latent, hidden_dims=(hidden,), likelihood="bernoulli")
    guide = VAEGuide(model)
    objective, turns, steps = Objective("meanfield"), Turns(), -(-rows // BATCH)
    if way == "fit":

        def on_step(step: int, loss: float) -> None:
            if step % steps == 0:
                turns.done()

        options = {"batch_size": BATCH, "objective": objective, "progress": False}
        fit(model, guide, x, epochs=1000, on_step=on_step, **options)
    pyro.enable_validation(False)
    optimizer = torch.optim.Adam([*model.parameters(), *guide.parameters()], 1e-3, fused=True)
    while True:
        for rows_of_batch in torch.randperm(rows).split(BATCH):
            optimizer.zero_grad()
            objective.loss(model, guide, (x[rows_of_batch],), data_size=rows).backward()
            optimizer.step()
        turns.done()


def race(workers: dict[str, Worker], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of each rival's epochs, after one that is not counted."""
    times: dict[str, list[float]] = {name: [] for name in workers}
    for lap in range(rounds + 1):
        for name, worker in workers.items():
            seconds = worker.work()
            if lap:
                times[name].append(seconds)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--env", type=Path, default=Path("pythae-env"))
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--rows", type=int, default=12800, help="of data; MNIST has 60,000")
    parser.add_argument("--ours", choices=("fit", "loop"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ours:
        return ours(options.ours, options.rows)
    python, rows = str(environment(options.env)), str(options.rows)
    theirs = [python, str(ROOT / "benchmarks" / "pythae_epochs.py"), rows, str(BATCH)]
    mine = [sys.executable, "-m", "benchmarks.rivals", "--rows", rows, "--ours"]
    sizes = [str(size) for size in SIZES]
    commands = {
        "Pythae": [*theirs, "0", *sizes],
        "Pythae, fused Adam": [*theirs, "1", *sizes],
        "fit": [*mine, "fit"],
        "loop": [*mine, "loop"],
    }
    workers = {name: Worker(command) for name, command in commands.items()}
    times = race(workers, options.rounds)
    for worker in workers.values():
        worker.stop()
    print(f"{'':24s}{'s an epoch':>12s}{'epochs a s':>12s}{'of Pythae':>12s}")
    for name, laps in times.items():
        faster = median(b / a for a, b in zip(laps, times["Pythae"], strict=True))
        print(f"{name:24s}{median(laps):12.3f}{1 / median(laps):12.3f}{faster:12.2f}")


if __name__ == "__main__":
    main()
