"""Train the sources of the separation table: speech of AN4, and a flute's melodies.

    python -m benchmarks.source_training ../shared/data --out runs/sources

writes OUT/speech-RVAE, OUT/flute-RVAE and so on, which `benchmarks.separation --runs OUT` reads,
and goes on where it was stopped. Every utterance is heard twice and every melody once, at a random
level of -20 to 5 dB against a largest modulus of 1, so that latents know levels: in a mixture a
source is softer than alone. ``--ship`` copies RVAE-NC (not causal, KL weight 1) to the package. The
weights that ship were trained by the same recipe from other draws of melodies and levels.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.sound_sets import SoundSets
from inference.randomness import derive
from inference.tasks.speech import RECIPES, Recipe, save_speech
from ppl_models.data import STFT, melodies
from ppl_models.data.speech import chunks

MELODIES, SECONDS, BATCH = 700, 4.7, 16


@dataclass(frozen=True)
class Row:
    """What is trained, for how long."""

    architecture: str
    epochs: dict[str, int]
    kl_weight: float = 0.1
    options: dict[str, Any] = field(default_factory=dict)

    def recipe(self) -> Recipe:
        """Return the recipe of speech with this row's changes."""
        base = RECIPES[self.architecture]
        design = replace(base.design, options=dict(base.design.options) | self.options)
        return replace(base, design=design, kl_weight=self.kl_weight, batch_size=BATCH)


ROWS = {
    "FrameVAE": Row("FrameVAE", {"speech": 22, "flute": 22}),
    "RVAE": Row("RVAE", {"speech": 22, "flute": 22}),
    "SRNN": Row("SRNN", {"speech": 30, "flute": 16}),
    "DeepAR": Row("DeepAR", {"speech": 16, "flute": 16}),
    "RVAE-NC": Row("RVAE", {"speech": 40, "flute": 26}, 1.0, {"causal": False}),
}


def pieces_of(sets: SoundSets, source: str, seed: int = 0) -> Tensor:
    """Return pieces (N, 50, F) of powers."""
    rng = np.random.default_rng(derive(seed, "levels", source))
    if source == "speech":
        waves = [wave for wave in sets.speech("train") for _ in range(2)]
    else:
        samples = round(SECONDS * 16000)
        rows = melodies(sets.notes("train"), samples, MELODIES, seed=derive(seed, "melodies"))
        waves = [row / row.abs().max() for row in rows if row.any()]
    levels = 10 ** (rng.uniform(-20, 5, len(waves)) / 20)
    stft = STFT()
    return chunks([stft.power(float(a) * w) for a, w in zip(levels, waves, strict=True)], 50)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/sources"))
    parser.add_argument("--only", nargs="+", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--sources", nargs="+", default=["speech", "flute"])
    parser.add_argument("--ship", action="store_true")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    sets = SoundSets(chosen.data)
    for source in chosen.sources:
        pieces = pieces_of(sets, source)
        for name in chosen.only:
            recipe, folder = ROWS[name].recipe(), chosen.out / f"{source}-{name}"
            epochs = ROWS[name].epochs[source]
            run = recipe.train(pieces, folder, epochs=epochs, resume=folder.exists())
            path = save_speech(folder, recipe.design, run.model, run.guide, {"epochs": run.epochs})
            print(f"{source}-{name}: {run}", flush=True)
            if chosen.ship and name == "RVAE-NC":
                shutil.copy(path, Path("ppl_models/weights") / f"{source}.safetensors")


if __name__ == "__main__":
    main()
