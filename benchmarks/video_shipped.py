r"""Train the model of videos that ships, ``srvp``: moving digits at 32 x 32.

::

    python -m benchmarks.video_shipped ../shared/data/mnist --out RUN      # hours of one core
    python -m benchmarks.video_shipped ../shared/data/mnist --out RUN2 --epochs 5 \
        --start RUN/video.safetensors --rate 0.003 --seed 1                # and on, new clips
    python -m benchmarks.video_shipped ../shared/data/mnist --out RUN3 --epochs 14 \
        --start RUN2/video.safetensors --rate 0.004 --batch 64 --seed 5
    python -m benchmarks.video_shipped ../shared/data/mnist --out RUN4 --epochs 5 \
        --start RUN3/video.safetensors --rate 0.003 --batch 64 --seed 6
    cp RUN4/video.safetensors ppl_models/weights/srvp.safetensors

One to three digits of MNIST's training set, by both random processes and at several speeds: who
scores it may bring clips of another generator's setting. Stopped, the same command goes on.

The weights that ship are older than this file: six parts, z weighted in the last four, and in all
but the last a tenth of the clips were mirrors (docs/video.md).
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from inference.randomness import derive
from inference.tasks.video import fit_clips, load_video, recipe, save_video
from ppl_models.data import mnist, moving_digits

SHARES = (  # of the clips: digits, process, greatest speed
    (0.35, 1, "srvp", 4),
    (0.35, 2, "srvp", 4),
    (0.05, 3, "srvp", 4),
    (0.05, (1, 2), "srvp", 6),
    (0.10, (1, 2), "svg", 4),
    (0.10, (1, 2), "srvp", 4),
)
CLIPS, EPOCHS = 60_000, 20


def main() -> None:
    """Train, and write the pair."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mnist", type=Path, help="mnist.npz, or a folder with it")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--clips", type=int, default=CLIPS)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--start", help="weights to go on from: a run, a file, or srvp")
    parser.add_argument("--rate", type=float, default=5e-3, help="greatest learning rate")
    parser.add_argument("--batch", type=int, default=16, help="clips a step")
    parser.add_argument("--seed", type=int, default=0, help="of the clips")
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
            seed=derive(given.seed, seed) if given.seed else seed,
        ).frames
        for seed, (share, digits, process, speed) in enumerate(SHARES)
    ]
    chosen = replace(recipe("SRVP"), learning_rate=given.rate, batch_size=given.batch)
    model, guide = chosen.design.pair()
    if given.start:
        found = load_video(given.start)
        model.load_state_dict(found.model.state_dict())
        guide.load_state_dict(found.guide.state_dict())
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
