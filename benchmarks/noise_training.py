"""Train the noise networks of the enhancement table on noisy speech alone (U-ND).

    python -m benchmarks.noise_training ../shared/data --out runs/noise

writes OUT/LV, OUT/NO and OUT/NOLV, which `benchmarks.enhancement --runs OUT` reads, and goes on
where it was stopped. Pieces of 64 frames: AN4's training speakers in n1 to n60, at -8 to 8 dB,
a quarter of a piece or more. Only the mixtures are kept. ``--ship`` copies LV to the package.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.sound_sets import SoundSets
from inference.randomness import derive
from inference.tasks.enhancement import fit_noise, fresh, save_noise
from ppl_models.data import STFT, looped, mix, read_sound, stretches
from ppl_models.likelihoods import to_bins

FRAMES, LOW, HIGH = 64, -8.0, 8.0


def noisy_pieces(sets: SoundSets, count: int, seed: int = 0) -> Tensor:
    """Return bins (N, T, 2 F) of speech in noise, each brought to a largest modulus of 1."""
    stft, rng = STFT(), np.random.default_rng(derive(seed, "noisy pieces"))
    samples = stft.samples(FRAMES)
    said = stretches(sets.speech("train"), samples, count, seed=derive(seed, "said"))
    waves = [wave for one in sets.nonspeech.train if (wave := read_sound(one.file).wave).any()]
    pieces = list[Tensor]()
    for i, speech in enumerate(said):
        heard = looped(waves[rng.integers(len(waves))], samples, seed=derive(seed, "noise", i))
        if not heard.any() or not speech.any():
            continue
        mixed = mix(speech, heard, float(rng.uniform(LOW, HIGH))).mixture
        pieces.append(to_bins(stft.analyse(mixed / mixed.abs().max())))
    return torch.stack(pieces)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/noise"))
    parser.add_argument("--kinds", nargs="+", default=["LV", "NO", "NOLV"])
    parser.add_argument("--speech", default="speech", help="a source, by name or run")
    parser.add_argument("--pieces", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--resolution", type=int, default=65, help="1 is the paper's")
    parser.add_argument("--ship", action="store_true")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    pieces = noisy_pieces(SoundSets(chosen.data), chosen.pieces)
    for kind in chosen.kinds:
        folder = chosen.out / kind
        found = fresh(chosen.speech, kind, chosen.resolution)
        run = fit_noise(found, pieces, folder, epochs=chosen.epochs, resume=folder.exists())
        path = save_noise(folder, found, {"epochs": run.epochs})
        print(f"{kind}: {run}\n{path}", flush=True)
        if chosen.ship and kind == "LV":
            shutil.copy(path, Path("ppl_models/weights/noise.safetensors"))


if __name__ == "__main__":
    main()
