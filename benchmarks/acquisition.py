"""Which measurement next, on simulated audiograms: policies, how near the ideal, when to stop.

::

    python -m benchmarks.acquisition --out RUNS                  # ten models, some minutes each
    python -m benchmarks.acquisition --out RUNS --table          # what is there

People of one simulated population (`audiograms`, archetypes of seed 0): 3,072 to train on, 512 for
the fixed order and the stopping rule, 200 to be measured. Errors are in dB against thresholds
without noise, so that they end near the noise of 5 dB. The ideal knows the archetypes, and its
posterior is exact (importance over a library of blends). Stopped, the same command goes on.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

from inference.tasks.acquisition import (
    ArchetypePredictor,
    Curve,
    FixedOrder,
    Information,
    LookAhead,
    PairPredictor,
    Predictor,
    RandomOrder,
    Variance,
    acquire,
    best_constant,
    design_for,
    fit_pair,
    greedy_order,
    score_stops,
    stopping_report,
)
from ppl_models.acquisition import ArchetypalAudiogram
from ppl_models.data import Audiograms, Column, audiograms
from ppl_models.data.files import write_whole

TRAIN, VALIDATION, TEST = 3072, 512, 200
LATENT, STEPS, DRAWS, JUDGES = 4, 8000, 200, 128
IDEAL_DRAWS = 2048
"""Of the ideal, whose draws are of the prior: most have no weight."""
THRESHOLD = 5.0
"""dB, below which one stops."""
POLICIES = ("random", "fixed", "variance", "information", "lookahead")
RULES = ("oracle", "regression", "baseline", "best constant", "posterior")
"""To stop by. Files of results from before there was a best constant lack it: their row is "-"."""
STOPPED = ("offset", "error", "index")


def main() -> None:
    """Train and judge the models that are not there yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of results")
    parser.add_argument("--seeds", type=int, nargs="*", default=list(range(10)))
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--table", action="store_true", help="print what is there, and end")
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    if not given.table:
        people = audiograms(TRAIN + VALIDATION + TEST, seed=0)
        _ideal(given.out / "ideal.json", people)
        for seed in given.seeds:
            _model(given.out / f"model {seed}.json", people, seed, given.steps)
    print(table(given.out))


def _ideal(path: Path, people: Audiograms) -> None:
    if not path.exists():
        spread = people.x[:TRAIN].std(0)
        model = ArchetypalAudiogram(people.archetypes)
        predictor = ArchetypePredictor(model, people.names, spread)
        write_whole(path, json.dumps(judge(predictor, people, IDEAL_DRAWS)).encode())


def _model(path: Path, people: Audiograms, seed: int, steps: int) -> None:
    if path.exists():
        return
    columns = [Column(name, unit=u) for name, u in zip(people.names, people.units, strict=True)]
    model, guide = design_for(columns, LATENT).pair(seed)
    x = people.x[: TRAIN + VALIDATION]
    rows = torch.arange(len(x))
    fit_pair(
        model, guide, x, kept=rows[TRAIN:], seed=seed, steps=steps, batch_size=256, progress=True
    )
    found = judge(PairPredictor(model, guide), people) | {"steps": steps}
    write_whole(path, json.dumps(found).encode())
    print(f"model {seed}: {found['area']}", flush=True)


def judge(predictor: Predictor, people: Audiograms, num_samples: int = DRAWS) -> dict[str, Any]:
    """Return areas of each policy, person by person, and what stopping comes to."""
    kept, test = slice(TRAIN, TRAIN + VALIDATION), slice(TRAIN + VALIDATION, None)
    known: dict[str, Any] = {"measured": ["age"], "num_samples": num_samples, "units": "data"}
    judges = slice(TRAIN, TRAIN + JUDGES)
    order = greedy_order(predictor, people.x[judges], truth=people.y[judges], **known)
    rewards = {
        "random": RandomOrder(),
        "fixed": FixedOrder(order),
        "variance": Variance(units="data"),
        "information": Information(),
        "lookahead": LookAhead(error="means", units="data"),
    }
    curves: dict[str, Curve] = {}
    found: dict[str, Any] = {"area": {}, "areas": {}, "rmse": {}, "nll": {}}
    for name, reward in rewards.items():
        curve = acquire(predictor, people.x[test], reward, truth=people.y[test], **known)
        curves[name] = curve
        found["area"][name] = float(curve.area().mean())
        found["areas"][name] = curve.area().tolist()
        found["rmse"][name] = curve.mean().tolist()
        found["nll"][name] = curve.mean("nll").tolist()
    tried = acquire(predictor, people.x[kept], rewards["variance"], truth=people.y[kept], **known)
    found["stop"] = stops(tried, curves["variance"])
    return found


def stops(validation: Curve, test: Curve) -> dict[str, dict[str, float]]:
    """Return what each rule's stops come to, on people that none of them was fitted on."""
    everybody = torch.full((len(test.rmse),), best_constant(validation, THRESHOLD))
    scores = {
        **stopping_report(validation, test, THRESHOLD).scores,
        "best constant": score_stops(test, everybody, THRESHOLD),
    }
    return {
        name: dict(zip(STOPPED, (score.offset, score.error, score.mean_stop), strict=True))
        for name, score in scores.items()
    }


def table(out: Path) -> str:
    """Return areas and stops: the ideal's, and means over models with their spread."""
    ideal = json.loads((out / "ideal.json").read_text())
    models = [json.loads(file.read_text()) for file in sorted(out.glob("model *.json"))]
    lines = [f"areas, dB, m = 1..14, {len(models)} models", "| | ideal | models | to the ideal |"]
    lines.append("|---" * 4 + "|")
    for name in POLICIES:
        areas = [model["area"][name] for model in models]
        best = ideal["area"][name]
        lines.append(f"| {name} | {best:.1f} | {_spread(areas)} | {_share(areas, best)} |")
    for name in POLICIES[2:]:
        apart = [model["area"][name] - model["area"]["fixed"] for model in models]
        against = ideal["area"][name] - ideal["area"]["fixed"]
        lines.append(f"{name} less fixed, paired: {_spread(apart, '+.2f')} (ideal {against:+.2f})")
    shown = [ideal, *models[:1]]
    for name, found in zip(("ideal", "first model"), shown, strict=False):
        errors = ", ".join(f"{e:.1f}" for e in found["rmse"]["variance"])
        nats = ", ".join(f"{e:.1f}" for e in found["nll"]["variance"])
        lines += [f"{name}, variance: RMSE {errors}", f"{name}, variance: NLL {nats}"]
    lines += [f"stopping at {THRESHOLD:g} dB", "| rule | offset | error at the stop | stop |"]
    lines.append("|---" * 4 + "|")
    for rule in RULES if models else ():
        judged = [model["stop"][rule] for model in models if rule in model["stop"]]
        cells = (_spread([one[key] for one in judged], ".2f") for key in STOPPED)
        few = f" ({len(judged)} models)" if 0 < len(judged) < len(models) else ""
        lines.append(f"| {rule}{few} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _spread(values: list[float], form: str = ".1f") -> str:
    if not values:
        return "-"
    around = f" +- {stdev(values):{form.lstrip('+')}}" if len(values) > 1 else ""
    return f"{mean(values):{form}}{around}"


def _share(values: list[float], ideal: float) -> str:
    return f"{100 * (mean(values) / ideal - 1):+.1f} %" if values else "-"


if __name__ == "__main__":
    main()
