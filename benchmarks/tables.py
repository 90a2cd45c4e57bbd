"""Tables with gaps against imputers: people's hearing (NHANES), and what a table's target needs.

::

    python -m benchmarks.tables ../shared/data/nhanes --out RUNS         # five folds, minutes each
    python -m benchmarks.tables ../shared/data/nhanes --out RUNS --table # what is there

NHANES 2011-12: thresholds of seven frequencies at both ears, and age, which is known. A tone that
was not heard counts as 120 dB, censored for `PartialVAE`. Four parts of five are trained on, one is
measured again, each method with its best order (chosen on a tenth of the training data), ours and
those with a posterior also by look-ahead. RMSE over all 15 columns in standard units, pooled over
people. Rivals: scikit-learn's IterativeImputer and KNNImputer, PPCA, a Gaussian process an ear.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inference.randomness import seeded
from inference.tasks.acquisition import (
    FixedOrder,
    LookAhead,
    PairPredictor,
    PPCAPredictor,
    Predictor,
    ProcessPredictor,
    acquire,
    design_for,
    fit_pair,
    greedy_order,
    interval_coverage,
)
from ppl_models import PPCA
from ppl_models.acquisition import GPAudiogram
from ppl_models.data import Column, nhanes
from ppl_models.data.files import write_whole

AGE, LIMIT, FOLDS, LATENT = 14, 120.0, 5, 6
STEPS, DRAWS, JUDGES = (0, 2, 4, 7), 500, 256
LEVELS = (0.5, 0.8, 0.95)
NAMES = [f"{ear}{hz}" for ear in "lr" for hz in (500, 1000, 2000, 3000, 4000, 6000, 8000)] + ["age"]
Impute = Callable[[np.ndarray], np.ndarray]


def main() -> None:
    """Train and judge the folds that are not there yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("nhanes", type=Path, help="folder of AUX_G.xpt and DEMO_G.XPT")
    parser.add_argument("--out", type=Path, required=True, help="folder of results")
    parser.add_argument("--folds", type=int, nargs="*", default=list(range(FOLDS)))
    parser.add_argument("--steps", type=int, default=6000, help="of training")
    parser.add_argument("--table", action="store_true", help="print what is there, and end")
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    people = nhanes(given.nhanes, no_response=LIMIT)
    parts = np.array_split(np.random.default_rng(0).permutation(len(people.x)), FOLDS)
    for fold in given.folds:
        path = given.out / f"fold {fold}.json"
        if given.table or path.exists():
            continue
        test = torch.from_numpy(parts[fold])
        rest = torch.from_numpy(np.concatenate([parts[k] for k in range(FOLDS) if k != fold]))
        found = judge(people, rest, test, given.steps, fold)
        write_whole(path, json.dumps(found).encode())
        print(f"fold {fold}: {found['rmse']}", flush=True)
    print(table(given.out))


def judge(people: Any, rest: Tensor, test: Tensor, steps: int, seed: int) -> dict[str, Any]:
    """Return the RMSE of each method after 0, 2, 4, 7 measurements, and how ours is calibrated."""
    kept, rows = rest[: len(rest) // 10], rest[len(rest) // 10 :]
    x, mask = people.x, people.mask
    sd = torch.tensor(np.nanstd(x[rows].numpy(), axis=0))
    centre = torch.tensor(np.nanmean(x[rows].numpy(), axis=0))
    columns = [Column(name, "censored", upper=LIMIT) for name in NAMES[:AGE]] + [Column("age")]
    model, guide = design_for(columns).pair(seed)
    order = torch.cat([rows, kept])
    last = torch.arange(len(rows), len(order))
    fit_pair(model, guide, x[order], mask[order], kept=last, seed=seed, steps=steps)
    ours = PairPredictor(model, guide)
    standard = ((x - centre) / sd).float()
    process = _processes(x[rows], mask[rows], centre, sd)
    given: dict[str, tuple[Predictor, Tensor]] = {
        "PartialVAE": (ours, x),
        "PPCA": (_ppca(standard[rows], mask[rows]), standard),
        "GP, each ear": (process, x),
    }
    found: dict[str, Any] = {"rmse": {}}
    for name, (predictor, values) in given.items():
        found["rmse"][name] = _with_posterior(predictor, values, mask, kept, test)
    for name, impute in _imputers(standard[rows], mask[rows]).items():
        found["rmse"][name] = _imputed(impute, standard, mask, kept, test)
    three = torch.zeros_like(mask[test])
    three[:, [AGE, *greedy_order(ours, x[kept], mask=mask[kept], measured=[AGE], steps=3)]] = True
    three &= mask[test]
    inside = interval_coverage(ours, x[test], three, LEVELS, num_samples=DRAWS, seed=seed)
    asked = ~three & mask[test]
    unheard = asked & people.no_response[test]
    found["coverage"] = {
        str(level): [float(some[asked].double().mean()), float(some[unheard].double().mean())]
        for level, some in zip(LEVELS, inside, strict=True)
    }
    found["unheard"] = int(unheard.sum())
    return found


def _with_posterior(
    predictor: Predictor, x: Tensor, mask: Tensor, kept: Tensor, test: Tensor
) -> dict[str, list[float]]:
    """Return pooled RMSE at each number of measurements, by the fixed order and by look-ahead."""
    known = {"measured": [AGE], "num_samples": DRAWS, "steps": max(STEPS)}
    judges = kept[:JUDGES]
    order = greedy_order(predictor, x[judges], mask=mask[judges], **known)
    found = {}
    for name, reward in (("fixed", FixedOrder(order)), ("look-ahead", LookAhead())):
        curve = acquire(predictor, x[test], reward, mask=mask[test], **known)
        counts = mask[test].sum(1).double()
        square = (curve.rmse.double().square() * counts[:, None]).sum(0) / counts.sum()
        found[name] = square.sqrt()[list(STEPS)].tolist()
    return found


def _ppca(x: Tensor, mask: Tensor) -> PPCAPredictor:
    """Fit PPCA to data with gaps, in standard units, by its exact evidence."""
    with seeded(0):
        model = PPCA(x.shape[1], LATENT)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-2)
    for _ in range(300):
        optimizer.zero_grad()
        (-model.evidence(x, mask).mean()).backward()
        optimizer.step()
    return PPCAPredictor(model, NAMES, torch.ones(x.shape[1]))


def _processes(x: Tensor, mask: Tensor, centre: Tensor, sd: Tensor) -> ProcessPredictor:
    """Fit a Gaussian process to ears, each by itself."""
    ears = torch.cat([x[:, :7], x[:, 7:AGE]]), torch.cat([mask[:, :7], mask[:, 7:AGE]])
    process = GPAudiogram().fit_evidence(*ears)
    groups = [range(7), range(7, AGE)]
    return ProcessPredictor([process], groups, centre.to(x), sd.to(x), NAMES)


def _imputers(x: Tensor, mask: Tensor) -> dict[str, Impute]:
    """Fit scikit-learn's imputers, in standard units."""
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer, KNNImputer

    gaps = np.where(mask, x, np.nan)
    found: dict[str, Any] = {
        "IterativeImputer": IterativeImputer(max_iter=20, random_state=0),
        "KNNImputer": KNNImputer(n_neighbors=20, weights="distance"),
    }
    return {name: imputer.fit(gaps).transform for name, imputer in found.items()}


def _imputed(
    impute: Impute, x: Tensor, mask: Tensor, kept: Tensor, test: Tensor
) -> dict[str, list[float]]:
    """Return pooled RMSE at each number of measurements, by the best order found greedily."""

    def error(rows: Tensor, columns: list[int]) -> float:
        known = torch.zeros_like(mask[rows])
        known[:, [AGE, *columns]] = True
        known &= mask[rows]
        guess = torch.from_numpy(impute(np.where(known, x[rows], np.nan)))
        squares = torch.where(mask[rows] & ~known, (guess - x[rows]).square(), 0.0)
        return float((squares.sum() / mask[rows].sum()).sqrt())

    order: list[int] = []
    while len(order) < max(STEPS):
        left = [d for d in range(AGE) if d not in order]
        order.append(min(left, key=lambda d: error(kept[:JUDGES], [*order, d])))
    return {"fixed": [error(test, order[:count]) for count in STEPS]}


def table(out: Path) -> str:
    """Return RMSE of each method, means over folds, and the coverage of intervals."""
    folds = [json.loads(file.read_text()) for file in sorted(out.glob("fold *.json"))]
    if not folds:
        return f"nothing in {out} yet"
    lines = [f"RMSE, standard units, {len(folds)} folds"]
    lines += ["| method | policy | " + " | ".join(f"{m}" for m in STEPS) + " |", "|---" * 6 + "|"]
    for name, policies in folds[0]["rmse"].items():
        for policy in policies:
            errors = np.mean([fold["rmse"][name][policy] for fold in folds], 0)
            lines.append(f"| {name} | {policy} | " + " | ".join(f"{e:.3f}" for e in errors) + " |")
    lines += [
        "coverage after 3 measurements",
        "| interval | all | tones not heard |",
        "|---|---|---|",
    ]
    for level in folds[0]["coverage"]:
        every, unheard = np.mean([fold["coverage"][level] for fold in folds], 0)
        lines.append(f"| {level} | {every:.3f} | {unheard:.3f} |")
    lines.append(f"tones not heard: {sum(fold['unheard'] for fold in folds)}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
