"""Speech re-synthesis and generation by the dynamical VAE family, on AN4's five test speakers.

``python -m benchmarks.speech ../shared/data/an4`` trains what is not trained yet, goes on where it
was stopped, and prints the table; ``--only SRNN LigHT --seeds 0`` takes some of it, ``--epochs 2``
makes a quick pass. Each run is a folder, ``OUT/STORY-SEED``, which ``ppl resynth --model`` takes.

``forced`` and ``own`` are the SI-SDR where true frames are read, and where the model's own are;
``known_w`` is the Frechet distance of speech whose codes are those of training pieces.

Trained by `inference.tasks.speech.recipes` on AN4's 68 training speakers (33 minutes of speech,
124,000 frames). Test: whole utterances, re-synthesised from posterior means in a closed loop.
Generation: 100 sounds of 2.4 seconds, by Griffin-Lim, against a quarter of the training speech;
what the size of the sets adds to the distance is taken off.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from inference.diagnostics import rates
from inference.metrics import FrechetDistance, frechet_speech_distance
from inference.metrics.speech import mean_scores, si_sdr, speech_scores
from inference.tasks.speech import (
    RECIPES,
    Recipe,
    analyse,
    decode_forced,
    generate,
    load_speech,
    resynthesise,
    save_speech,
)
from ppl_models.data.speech import an4, padded, sounds, spectra
from ppl_models.data.stft import STFT
from ppl_models.dvae import DynamicalVAE

SRNN = RECIPES["SRNN"]
ROWS = {
    "VAE": RECIPES["FrameVAE"],
    "DKF": RECIPES["DKF"],
    "RVAE": RECIPES["RVAE"],
    "SRNN": SRNN,
    "SRNN-TF": Recipe(replace(SRNN.design, scheduled=False)),
    "HiT": RECIPES["HiTDVAE"],
    "LigHT": RECIPES["LigHTDVAE"],
    # nats of w as cheap as those of z
    "LigHT-w": replace(RECIPES["LigHTDVAE"], global_weight=0.01),
    "STORN": RECIPES["STORN"],
    "VRNN": RECIPES["VRNN"],
    "DSAE": RECIPES["DSAE"],
    "KVAE": RECIPES["KVAE"],
}
ORDERED = ("VAE", "DKF", "RVAE", "SRNN", "HiT", "LigHT")
SEEDS = {name: 3 if name in ORDERED else 1 for name in ROWS}


@dataclass(frozen=True)
class Data:
    """AN4: pieces to train on, the test speakers' sounds and spectra, speech to compare with."""

    pieces: Tensor
    waves: list[Tensor]
    powers: list[Tensor]
    recorded: list[Tensor]

    @classmethod
    def read(cls, path: Path) -> Data:
        """Read the corpus."""
        corpus = an4(path)
        return cls(
            RECIPES["FrameVAE"].pieces(corpus.train)[0],
            sounds(corpus.test),
            spectra(corpus.test),
            sounds(corpus.train[::4]),
        )


def parameters(model: Any, guide: Any) -> int:
    """Return the number of trainable numbers of a pair."""
    return sum(p.numel() for module in (model, guide) for p in module.parameters())


def reading(model: Any, guide: Any, wave: Tensor) -> dict[str, float]:
    """Return the SI-SDR where a model reads the true frames, or all frames that it generated.

    The second is the closed loop, unless the model can forget frames: then that reads none.
    """
    stft = STFT()
    spectra = stft.analyse(wave)
    power = spectra.abs().square()[None]
    latents = analyse(model, guide, power)
    own = model.likelihood.point(DynamicalVAE.closed_loop(model, latents.z, latents.w))
    scores = {}
    seen = decode_forced(model, analyse(model, guide, power, forced=True), power)
    for name, power in (("forced", seen), ("own", own)):
        back = stft.invert(torch.polar(power[0].sqrt(), spectra.angle()), length=len(wave))
        scores[name] = si_sdr(wave, back).item()
    return scores


def judge(run: Any, data: Data) -> dict[str, float]:
    """Score a run on the test speakers: nats a frame, and what the re-synthesis sounds like."""
    model, guide = run.model.eval(), run.guide.eval()
    rows = [speech_scores(wave, resynthesise(model, guide, wave).wave) for wave in data.waves]
    if model.autoregressive:
        extra = (reading(model, guide, wave) for wave in data.waves)
        rows = [row | more for row, more in zip(rows, extra, strict=True)]
    scores = {name: mean.mean for name, mean in mean_scores(rows).items()}
    s, mask = padded(data.powers)
    terms, frames = rates(model, guide, s, mask, num_samples=2), mask.sum().item() / len(mask)
    rate = sum(row.nats for row in terms.rows if row.kind == "rate") / frames
    return scores | {
        "bound": terms.bound / frames,
        "rate": rate,
        "distortion": -terms.bound / frames - rate,
        "parameters": float(parameters(model, guide)),
    }


def talk(run: Any, data: Data, recipe: Recipe, seed: int) -> dict[str, float]:
    """Return how far speech from the prior is from recorded speech; also with known codes."""
    model, count, point = run.model.eval(), 100, recipe.design.scheduled

    def distance(code: Tensor | None = None) -> FrechetDistance:
        waves = generate(model, count, 150, w=code, seed=seed, point=point).wave
        return frechet_speech_distance(data.recorded, list(waves), seed=seed)

    found = distance()
    scores = {"frechet": found.distance - found.bias, "frechet_error": found.error}
    if model.global_dim:
        some = data.pieces[:: len(data.pieces) // count][:count]
        found = distance(analyse(model, run.guide.eval(), some).w)
        scores["known_w"] = found.distance - found.bias
    return scores


def spent(folder: Path, minutes: float) -> float:
    """Add CPU minutes to those of earlier goes; return their sum."""
    kept = folder / "minutes.json"
    minutes += json.loads(kept.read_text()) if kept.exists() else 0.0
    kept.write_text(json.dumps(minutes))
    return minutes


def results(name: str, seed: int, data: Data, out: Path, epochs: int | None) -> dict[str, float]:
    """Train a run if need be, judge it, and keep what came out beside it."""
    recipe, folder = ROWS[name], out / f"{name}-{seed}"
    kept = folder / "scores.json"
    if kept.exists():
        found: dict[str, float] = json.loads(kept.read_text())
        return found
    began = time.process_time()
    run = recipe.train(data.pieces, folder, seed=seed, epochs=epochs, resume=True)
    minutes = spent(folder, (time.process_time() - began) / 60)
    if run.interrupted:
        raise SystemExit(f"{folder} is not trained to its end: the same command goes on")
    scores = judge(run, data) | talk(run, data, recipe, seed) | {"minutes": minutes}
    save_speech(folder, recipe.design, run.model, run.guide, scores)
    partial = kept.with_suffix(".part")
    partial.write_text(json.dumps(scores, indent=1))
    partial.rename(kept)
    return scores


COLUMNS = {
    "bound": "9.1f",
    "rate": "8.1f",
    "distortion": "11.1f",
    "si_sdr": "8.2f",
    "forced": "8.2f",
    "own": "7.2f",
    "pesq_wb": "8.2f",
    "pesq_raw": "9.2f",
    "estoi": "7.3f",
    "rmse": "8.4f",
    "frechet": "9.1f",
    "known_w": "9.1f",
    "minutes": "8.1f",
}


def table(found: dict[str, list[dict[str, float]]]) -> str:
    """Return a row a model: means over its seeds, and the range of SI-SDR."""
    lines = [
        f"{'model':<9}{'seeds':>6}{'parameters':>11}"
        + "".join(f"{name:>{int(form.split('.')[0])}}" for name, form in COLUMNS.items())
        + "  SI-SDR of each"
    ]
    for name, rows in found.items():
        line = f"{name:<9}{len(rows):>6}{rows[0]['parameters']:>11.0f}"
        for column, form in COLUMNS.items():
            values = [row[column] for row in rows if column in row]
            width = int(form.split(".")[0])
            line += f"{statistics.mean(values):{form}}" if values else " " * width
        lines.append(line + "  " + " ".join(f"{row['si_sdr']:.2f}" for row in rows))
    return "\n".join(lines)


def ship(folder: Path, file: Path) -> None:
    """Write a run's pair in half precision: half the bytes, for 0.001 dB."""
    run = load_speech(folder)
    extra = {"corpus": "AN4, 68 training speakers", "run": folder.name}
    save_speech(file, run.design, run.model.half(), run.guide.half(), extra)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="AN4's folder, with train/ and test/")
    parser.add_argument("--out", type=Path, default=Path("runs/speech"))
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--seeds", type=int, nargs="+", help="by default as many as are asked for")
    parser.add_argument("--epochs", type=int, help="fewer, for a quick pass")
    parser.add_argument("--ship", type=Path, metavar="FILE", help="write LigHT-0 there, halved")
    chosen = parser.parse_args(arguments)
    data, found = Data.read(chosen.data), dict[str, list[dict[str, float]]]()
    for name in chosen.only:
        for seed in chosen.seeds or range(SEEDS[name]):
            row = results(name, seed, data, chosen.out, chosen.epochs)
            found.setdefault(name, []).append(row)
            print(f"{name}-{seed}: SI-SDR {row['si_sdr']:.2f} dB", flush=True)
    print(table(found))
    if chosen.ship is not None:
        ship(chosen.out / "LigHT-0", chosen.ship)


if __name__ == "__main__":
    main()
