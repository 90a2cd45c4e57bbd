"""Speech re-synthesis and generation by the dynamical VAE family, on AN4's five test speakers.

``python -m benchmarks.speech ../shared/data/an4`` trains what is not trained yet, goes on where it
was stopped, and prints the tables; ``--only SRNN LigHT`` takes some of the stories, ``--epochs 2``
makes a quick pass. Each run is a folder, ``OUT/STORY-SEED``, that ``ppl resynth --model`` takes.

All stories: AN4's 68 training speakers (33 minutes of speech, 124,000 frames) in pieces of 50
frames, L = 16, KL weight 0.01 as in the hierarchical models' own code, Adam with a cosine, batches
of 8. Sizes of the networks are those of the benchmark of Bie et al. 2021, and those of the
Transformers are ours. Test: whole utterances, posterior means, closed loop.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import Tensor

from inference import Objective, fit
from inference.diagnostics.rates import rates
from inference.metrics.frechet import FrechetDistance, frechet_speech_distance
from inference.metrics.speech import mean_scores, speech_scores
from inference.randomness import derive, seeded
from inference.schedules import cosine, linear
from inference.tasks.speech import generate, resynthesise
from ppl_models.data.speech import an4, chunks, padded, sounds, spectra
from ppl_models.recurrent import SamplingSchedule
from ppl_models.spectra import ComplexGaussian

FREQUENCIES, LATENT, PIECE, BATCH, BETA = 513, 16, 50, 8, 0.01
SRNN = {"input_dim": 256, "recurrent_dim": 128, "prior_dims": (64, 32), "emission_dims": (256,)}
SRNN_GUIDE = {"hidden": (64, 32), "causal": False, "backward_dim": 128, "input_dim": 256}
HIERARCHICAL = {"code_dim": 32}


@dataclass(frozen=True)
class Recipe:
    """A story, its sizes, and how it is trained."""

    story: str
    file: str
    epochs: int = 60
    rate: float = 2e-3
    options: dict[str, Any] = field(default_factory=dict)
    guide_options: dict[str, Any] = field(default_factory=dict)
    scheduled: bool = False
    seeds: int = 1
    generates: bool = True

    def pair(self, frames: Tensor, seed: int) -> tuple[Any, Any]:
        """Build the pair for frames (..., F) of powers."""
        story = getattr(import_module(f"ppl_models.{self.file}"), self.story)
        guide = getattr(import_module(f"guides.{self.file}"), self.story + "Guide")
        likelihood = ComplexGaussian(FREQUENCIES).start_from(frames)
        with seeded(derive(seed, "weights")):
            model = story(FREQUENCIES, LATENT, likelihood=likelihood, **self.options)
            return model, guide(model, **self.guide_options)

    def train(self, pieces: Tensor, seed: int, out: Path, epochs: int | None = None) -> Any:
        """Train a new pair, or go on; return the run."""
        model, guide = self.pair(pieces, seed)
        steps = (epochs or self.epochs) * -(-len(pieces) // BATCH)
        if self.scheduled:
            model.sampling = SamplingSchedule(steps // 10, steps // 2)
        return fit(
            model,
            guide,
            pieces,
            epochs=epochs or self.epochs,
            batch_size=BATCH,
            objective=Objective("meanfield", kl_weight=Warm(steps // 20 + 1)),
            learning_rate=cosine(steps, self.rate, warmup=steps // 20 + 1),
            clip=10.0,
            seed=seed,
            directory=out,
            resume=True,
        )


@dataclass(frozen=True)
class Warm:
    """A KL weight that rises to `BETA`."""

    steps: int

    def __call__(self, step: int) -> float:
        """Return the weight of a step."""
        return BETA * linear(self.steps)(step)


RECIPES = {
    "VAE": Recipe("FrameVAE", "latent_chains", seeds=3),
    "DKF": Recipe("DKF", "latent_chains"),
    "RVAE": Recipe("RVAE", "latent_chains", seeds=3),
    "SRNN": Recipe("SRNN", "dvae", options=SRNN, guide_options=SRNN_GUIDE, scheduled=True, seeds=3),
    "SRNN-TF": Recipe("SRNN", "dvae", options=SRNN, guide_options=SRNN_GUIDE),
    "HiT": Recipe("HiTDVAE", "transformer_dvae", options=HIERARCHICAL),
    "LigHT": Recipe("LigHTDVAE", "transformer_dvae", options=HIERARCHICAL, seeds=3),
    "STORN": Recipe("STORN", "frame_chains"),
    "VRNN": Recipe("VRNN", "frame_chains"),
    "DSAE": Recipe("DSAE", "latent_chains", options={"code_dim": 16}),
}


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
            chunks(spectra(corpus.train), PIECE),
            sounds(corpus.test),
            spectra(corpus.test),
            sounds(corpus.train[::4]),
        )


def parameters(model: Any, guide: Any) -> int:
    """Return the number of trainable numbers of a pair."""
    return sum(p.numel() for module in (model, guide) for p in module.parameters())


def judge(run: Any, data: Data) -> dict[str, float]:
    """Score a run on the test speakers: nats a frame, and what the re-synthesis sounds like."""
    model, guide = run.model.eval(), run.guide.eval()
    rows = [speech_scores(wave, resynthesise(model, guide, wave).wave) for wave in data.waves]
    scores = {name: mean.mean for name, mean in mean_scores(rows).items()}
    s, mask = padded(data.powers)
    terms, frames = rates(model, guide, s, mask, draws=2), mask.sum().item() / len(mask)
    rate = sum(row.nats for row in terms.rows if row.kind == "rate") / frames
    return scores | {
        "bound": terms.bound / frames,
        "rate": rate,
        "distortion": -terms.bound / frames - rate,
        "parameters": float(parameters(model, guide)),
    }


def talk(run: Any, data: Data, recipe: Recipe, seed: int) -> FrechetDistance:
    """Return how far speech from the prior is from recorded speech."""
    model, count, frames = run.model.eval(), 100, 150
    told = generate(model, count, frames, seed=seed, point=recipe.scheduled).wave
    return frechet_speech_distance(data.recorded, list(told), seed=seed)


def results(name: str, seed: int, data: Data, out: Path, epochs: int | None) -> dict[str, float]:
    """Train a run if need be, judge it, and keep what came out beside it."""
    recipe, folder = RECIPES[name], out / f"{name}-{seed}"
    kept = folder / "scores.json"
    if kept.exists():
        found: dict[str, float] = json.loads(kept.read_text())
        return found
    began = time.process_time()
    run = recipe.train(data.pieces, seed, folder, epochs)
    minutes = (time.process_time() - began) / 60
    scores = judge(run, data) | {"minutes": minutes}
    if recipe.generates:
        distance = talk(run, data, recipe, seed)
        scores |= {"frechet": distance.distance - distance.bias, "frechet_error": distance.error}
    partial = kept.with_suffix(".part")
    partial.write_text(json.dumps(scores, indent=1))
    partial.rename(kept)
    return scores


COLUMNS = {
    "bound": "9.1f",
    "rate": "8.1f",
    "distortion": "11.1f",
    "si_sdr": "8.2f",
    "pesq_wb": "8.2f",
    "pesq_raw": "9.2f",
    "estoi": "7.3f",
    "rmse": "8.4f",
    "frechet": "9.1f",
    "minutes": "8.1f",
}


def table(found: dict[str, list[dict[str, float]]]) -> str:
    """Return a row a story: means over its seeds, and the range of SI-SDR."""
    lines = [
        f"{'story':<9}{'seeds':>6}{'parameters':>11}"
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


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="AN4's folder, with train/ and test/")
    parser.add_argument("--out", type=Path, default=Path("runs/speech"))
    parser.add_argument("--only", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--seeds", type=int, nargs="+", help="by default as many as are asked for")
    parser.add_argument("--epochs", type=int, help="fewer, for a quick pass")
    chosen = parser.parse_args(arguments)
    data, found = Data.read(chosen.data), dict[str, list[dict[str, float]]]()
    for name in chosen.only:
        for seed in chosen.seeds or range(RECIPES[name].seeds):
            row = results(name, seed, data, chosen.out, chosen.epochs)
            found.setdefault(name, []).append(row)
            print(f"{name}-{seed}: SI-SDR {row['si_sdr']:.2f} dB", flush=True)
    print(table(found))


if __name__ == "__main__":
    main()
