"""Rates and what they buy: the four findings of a thesis on audiograms, held or refuted.

::

    python -m benchmarks.acquisition_rates --out RUNS                  # a file of results a model
    python -m benchmarks.acquisition_rates --out RUNS --seeds 0 1 --table    # what is there

`PartialVAE` of simulated audiograms, as in the thesis (networks of two hidden layers, a diagonal
guide, four latents), trained at seven target rates (`inference.tasks.rate_distortion`), two ways:

* *static*: what is missing of each person is drawn once, for good;
* *dynamic*: it is drawn anew in every step, and thresholds get noise of the 5 dB scale they are
  read on (dequantisation).

Both see the same people, and as many steps. Judged are rate and distortion given random masks, on
people they were trained on and others; and acquisition by predictive variance, stopped by the
regression that validation people made. Other people are of the same population (*home*), and of
those whose archetypes moved by 5 % (*small*) or 50 % (*large*) of the standard deviation of all
data: the same blends and the same noise, so that differences are paired. Draws are the guide's own:
importance weights would mend a rate that is too small. Stopped, the same command goes on.

References
----------
Høegh, "On Learning Useful Variational Autoencoder Representations", DTU 2022, appendix A, section
4.6 (figures 7 to 10).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.acquisition_findings import DOMAINS, RULES, TARGETS, WAYS, report
from guides.acquisition import PartialVAEGuide
from inference import Objective, TargetRate, cosine, rate_distortion
from inference.diagnostics import rates
from inference.randomness import derive
from inference.tasks.acquisition import (
    Curve,
    PairPredictor,
    StopScore,
    Variance,
    acquire,
    best_constant,
    score_stops,
    stopping_report,
)
from ppl_models.acquisition import PartialVAE
from ppl_models.data import Audiograms, Column, HideMore, audiograms, random_mask
from ppl_models.data.files import write_whole
from ppl_models.likelihoods import Columns

CORRUPTION = {"home": 0.0, "small": 0.05, "large": 0.5}
TRAIN, VALIDATION, MOVES, PEOPLE = 1536, 192, 4, 48
"""People; to test on, so many from each of so many populations."""
LATENT, BATCH, EPOCHS, RATE = 4, 128, 130, 4e-3
DRAWS, THRESHOLD, DEQUANTISE = 50, 5.0, 5.0


def main() -> None:
    """Train and judge the models that are not there yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of results")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of 12 steps")
    parser.add_argument("--table", action="store_true", help="print what is there, and end")
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    for seed in given.seeds:
        for target in TARGETS:
            for way in WAYS:
                path = given.out / f"{way} {target:g} {seed}.json"
                if given.table or path.exists():
                    continue
                found = judge(people(), way, target, seed, given.epochs)
                write_whole(path, json.dumps(found).encode())
                areas = ", ".join(f"{name} {found[name]['area']:.1f}" for name in DOMAINS)
                print(f"{path.stem}: {areas}", flush=True)
    print(report(read(given.out, given.seeds)))


def read(out: Path, seeds: list[int]) -> dict[int, dict[tuple[str, float], Any]]:
    """Return results by seed, and by way and target, of the seeds that have them all."""
    found = {}
    for seed in seeds:
        files = {(w, t): out / f"{w} {t:g} {seed}.json" for w in WAYS for t in TARGETS}
        if all(file.exists() for file in files.values()):
            found[seed] = {key: json.loads(file.read_text()) for key, file in files.items()}
    return found


def people() -> dict[str, Audiograms]:
    """Return people to train on, to make rules by, and to test on in each of `DOMAINS`."""
    train = audiograms(TRAIN, seed=0)
    found = {
        "train": train,
        "validation": audiograms(VALIDATION, seed=100, archetypes=train.archetypes),
    }
    for name, corruption in CORRUPTION.items():
        how: dict[str, Any] = {"archetypes": train.archetypes, "corruption": corruption}
        some = [audiograms(PEOPLE, seed=200 + move, **how) for move in range(MOVES)]
        x, y = (torch.cat([getattr(one, field) for one in some]) for field in ("x", "y"))
        found[name] = train._replace(x=x, y=y)
    return found


def judge(
    people: Mapping[str, Audiograms], way: str, target: float, seed: int, epochs: int
) -> dict[str, Any]:
    """Train a model, and return what it does in each domain."""
    train, kept = people["train"], people["validation"]
    mask = random_mask(*train.x.shape, seed=derive(seed, "masks"))
    pairs: list[tuple[PartialVAE, PartialVAEGuide]] = []

    def pair() -> tuple[PartialVAE, PartialVAEGuide]:
        columns = Columns([Column(name) for name in train.names])
        model = PartialVAE(15, LATENT, likelihood=columns).start_from(train.x, mask)
        pairs.append((model, PartialVAEGuide(model)))
        return pairs[-1]

    steps = epochs * (len(train.x) // BATCH)
    swept = rate_distortion(
        pair,
        {"x": train.x, "mask": mask},
        [TargetRate(target, step=0.02)],
        objective=Objective("meanfield"),
        seed=seed,
        epochs=epochs,
        batch_size=BATCH,
        learning_rate=cosine(steps, RATE, warmup=steps // 20 + 1),
        transform=masked_anew if way == "dynamic" else None,
        report_every=epochs,
        progress=False,
        num_samples=DRAWS,
    )
    (point,) = swept.points
    model, guide = (part.eval() for part in pairs[-1])
    predictor = PairPredictor(model, guide, weighted=False)
    rule = measured(predictor, kept)
    found: dict[str, Any] = {
        "beta": point.beta,
        "train": {"rate": point.train_rate, "distortion": point.train_distortion},
    }
    for name in DOMAINS:
        some = people[name]
        hidden = random_mask(*some.x.shape, seed=derive(0, "test masks"))
        table = rates(model, guide, some.x, hidden, num_samples=DRAWS)
        found[name] = {
            "rate": table["z"].nats,
            "distortion": table["x"].nats,
            "bound": table.bound,
            **judged(rule, measured(predictor, some)),
        }
    return found


def masked_anew(batch: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return a batch with other gaps than its own, and noise of the scale on its thresholds."""
    return HideMore(step=(DEQUANTISE,) * 14 + (0.0,))({"x": batch["x"]})


def measured(predictor: PairPredictor, some: Audiograms) -> Curve:
    """Measure tone after tone of people whose age is known, by predictive variance in dB."""
    policy = Variance(units="data")
    how: dict[str, Any] = {"measured": ["age"], "units": "data", "num_samples": DRAWS}
    return acquire(predictor, some.x, policy, truth=some.y, **how)


def judged(rule: Curve, curve: Curve) -> dict[str, Any]:
    """Return the figures of a curve: errors, nats, and stops by rules that another curve made."""
    scores = dict(stopping_report(rule, curve, THRESHOLD).scores)
    stop = torch.full((len(curve.rmse),), best_constant(rule, THRESHOLD))
    scores["constant"] = score_stops(curve, stop, THRESHOLD)
    return {
        "area": float(curve.area().mean()),
        "rmse": float(curve.rmse.double()[:, 4].mean()),
        "nll": float(curve.nll.double()[:, 1:].mean()),
        **{name: _stops(scores[name]) for name in RULES},
    }


def _stops(score: StopScore) -> dict[str, float]:
    return {"offset": score.offset, "stop": score.mean_stop, "error": score.error}


if __name__ == "__main__":
    main()
