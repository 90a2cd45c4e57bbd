"""Train the model of videos that ships, ``srvp``: moving digits at 32 x 32.

::

    python -m benchmarks.video_shipped ../shared/data/mnist --out RUN      # hours of one core
    cp RUN/video.safetensors ppl_models/weights/srvp.safetensors

One to three digits of MNIST's training set, by the three published processes and at several speeds:
who scores it may bring clips of another generator's setting. Stopped, the same command goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from inference.tasks.video import fit_clips, recipe, save_video
from ppl_models.data import mnist, moving_digits

SHARES = (  # of the clips: digits, process, greatest speed
    (0.35, 1, "srvp", 4),
    (0.35, 2, "srvp", 4),
    (0.05, 3, "srvp", 4),
    (0.05, (1, 2), "srvp", 6),
    (0.10, (1, 2), "svg", 4),
    (0.10, (1, 2), "deterministic", 4),
)
CLIPS, EPOCHS = 60_000, 20


def main() -> None:
    """Train, and write the pair."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mnist", type=Path, help="mnist.npz, or a folder with it")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--clips", type=int, default=CLIPS)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    images = mnist(given.mnist).train_images
    parts = [
        moving_digits(
            images,
            size=max(1, round(share * given.clips)),
            num_digits=digits,
            process=process,
            max_speed=speed,
            seed=seed,
        ).frames
        for seed, (share, digits, process, speed) in enumerate(SHARES)
    ]
    chosen = recipe("SRVP")
    model, guide = chosen.design.pair()
    run = fit_clips(
        model,
        guide,
        np.concatenate(parts),
        chosen,
        given.out,
        epochs=given.epochs,
        resume=given.out.exists(),
    )
    print(run)
    print(save_video(given.out, chosen.design, model, guide, {"epochs": run.epochs}))


if __name__ == "__main__":
    main()
