"""UCI tables: what predicting a target needs, and imputation, against the usual ways.

::

    python -m benchmarks.uci_tables ../shared/data/uci --out RUNS [--only yacht] [--seeds 0 1 2]
    python -m benchmarks.uci_tables ../shared/data/uci --out RUNS --table

Nine rows of ten train, one is measured. *Target*: the last column is predicted from the features
measured so far; areas under its RMSE, in standard units, over m = 1 .. M, the policy that a method
names choosing each next feature, with one and the same PartialVAE. *Imputation*: half of all values
are hidden; MIWAE is PartialVAE with a diagonal guide that reads zeros and mask, and 20 draws.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inference.objectives import Objective
from inference.randomness import derive
from inference.tasks.acquisition import (
    EDDI,
    FixedOrder,
    LookAhead,
    PairPredictor,
    RandomOrder,
    TableDesign,
    TargetInformation,
    acquire,
    design_for,
    fit_pair,
)
from ppl_models.data import ColumnTable, read_columns
from ppl_models.data.files import write_whole

NAMES = ("housing", "concrete", "energy", "wine", "yacht")
DRAWS, ROWS = 200, 200
"""Draws of the posterior, and most rows that are measured."""


def main() -> None:
    """Train and judge what is not there yet, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("uci", type=Path, help="folder of NAME.csv.gz")
    parser.add_argument("--out", type=Path, required=True, help="folder of results")
    parser.add_argument("--only", nargs="*", choices=NAMES, default=[*NAMES])
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=3000, help="of training")
    parser.add_argument("--table", action="store_true", help="print what is there, and end")
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    for seed in given.seeds:
        for name in given.only:
            path = given.out / f"{name}, {seed}.json"
            if given.table or path.exists():
                continue
            read = read_columns(given.uci / f"{name}.csv.gz", header=False)
            found = judge(read, seed, given.steps)
            write_whole(path, json.dumps(found).encode())
            print(f"{name}, {seed}: {found}", flush=True)
    print(table(given.out))


def judge(read: ColumnTable, seed: int, steps: int) -> dict[str, Any]:
    """Return areas of the target's RMSE by policy, and RMSE of imputation by method."""
    generator = torch.Generator().manual_seed(derive(seed, "split"))
    order = torch.randperm(len(read.x), generator=generator)
    tested = len(order) // 10
    test, rest = order[:tested][:ROWS], order[tested:]
    kept = torch.arange(len(rest) - len(rest) // 10, len(rest))
    design = design_for(read.columns)
    ours = _trained(design, read, rest, kept, seed, steps)
    hidden = torch.rand(read.x[test].shape, generator=generator) < 0.5
    miwae = TableDesign(
        design.columns, design.latent_dim, design.options, {"reader": "zeros", "hidden_dims": [96]}
    )
    draws20 = {"objective": Objective("iwae", num_particles=20)}
    other = _trained(miwae, read, rest, kept, seed, steps, **draws20)
    x = read.x[test]
    imputed = {
        "PartialVAE": _imputed(ours, x, hidden),
        "MIWAE": _imputed(other, x, hidden),
        "IterativeImputer": _iterative(ours, read.x[rest], x, hidden),
    }
    return {"area": _areas(ours, read, rest, x, seed), "imputation": imputed}


def _trained(
    design: TableDesign, read: ColumnTable, rest: Tensor, kept: Tensor, seed: int, steps: int,
    **settings: Any,
) -> PairPredictor:  # fmt: skip
    model, guide = design.pair(seed)
    x, mask = read.x[rest], read.mask[rest]
    settings = {"progress": False, "seed": seed, "steps": steps} | settings
    fit_pair(model, guide, x, mask, kept=kept, **settings)
    return PairPredictor(model, guide)


# --- a target -------------------------------------------------------------------------------------


def _areas(
    predictor: PairPredictor, read: ColumnTable, rest: Tensor, x: Tensor, seed: int
) -> dict[str, float]:
    target = x.shape[1] - 1
    rewards = {
        "target information": TargetInformation([target]),
        "EDDI": EDDI(predictor, [target], num_values=20),
        "look-ahead": LookAhead([target]),
        "LASSO order": FixedOrder(_lasso(predictor, read.x[rest])),
        "random": RandomOrder(),
    }
    areas = {}
    for name, reward in rewards.items():
        features = list(range(target))
        curve = acquire(
            predictor, x, reward, acquirable=features, num_samples=DRAWS, seed=derive(seed, "walk")
        )
        areas[name] = sum(_target_errors(predictor, x, curve.order, target)[1:])
    return areas


def _target_errors(predictor: PairPredictor, x: Tensor, order: Tensor, target: int) -> list[float]:
    """Return the RMSE of the target after 0 .. M measurements, standard units."""
    place = predictor.table.owner.tolist().index(target)
    unit = predictor.table.spread[place]
    known, errors = torch.zeros_like(x, dtype=torch.bool), []
    for step in range(order.shape[1] + 1):
        if step:
            known[torch.arange(len(x)), order[:, step - 1]] = True
        guess = predictor.draws(x, known, DRAWS).expected[:, place]
        errors.append(float(((guess - x[:, target]) / unit).square().mean().sqrt()))
    return errors


def _lasso(predictor: PairPredictor, x: Tensor) -> list[int]:
    """Return features in the order in which the LASSO's path takes them up."""
    from sklearn.linear_model import lars_path

    x = ((x - x.mean(0)) / predictor.table.spread[: x.shape[1]]).double().numpy()
    taken = list(lars_path(x[:, :-1], x[:, -1], method="lasso")[1])
    return [int(d) for d in dict.fromkeys(taken)]


# --- imputation -----------------------------------------------------------------------------------


def _imputed(predictor: PairPredictor, x: Tensor, hidden: Tensor) -> float:
    guess = predictor.draws(x, ~hidden, 1000).expected
    return _error(guess, x, hidden, predictor.table.spread)


def _iterative(predictor: PairPredictor, train: Tensor, x: Tensor, hidden: Tensor) -> float:
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer

    unit = predictor.table.spread
    imputer = IterativeImputer(max_iter=20, random_state=0).fit((train / unit).numpy())
    gaps = np.where(hidden, np.nan, x / unit)
    return _error(torch.from_numpy(imputer.transform(gaps)) * unit, x, hidden, unit)


def _error(guess: Tensor, x: Tensor, hidden: Tensor, unit: Tensor) -> float:
    return float(((guess - x) / unit)[hidden].square().mean().sqrt())


def table(out: Path) -> str:
    """Return areas and errors, means over seeds; and ours less the others', paired, with its sd."""
    lines = []
    for part in ("area", "imputation"):
        found = {name: _results(out, name, part) for name in NAMES}
        lines += _table(part, {f"{n} ({len(f)})": _means(f) for n, f in found.items() if f})
        lines += _table(f"{part}: the first less the others", _paired(found))
    return "\n".join(lines)


def _results(out: Path, name: str, part: str) -> list[dict[str, float]]:
    """Return what was found for one table, a seed each."""
    files = sorted(out.glob(f"{name}, *.json"))
    return [json.loads(file.read_text())[part] for file in files]


def _means(found: list[dict[str, float]]) -> dict[str, str]:
    return {key: f"{mean(one[key] for one in found):.3f}" for key in found[0]}


def _paired(found: dict[str, list[dict[str, float]]]) -> dict[str, dict[str, str]]:
    rows: dict[str, dict[str, str]] = {}
    for name, seeds in found.items():
        if len(seeds) > 1:
            first, *others = seeds[0]
            gaps = {key: [one[first] - one[key] for one in seeds] for key in others}
            rows[name] = {key: f"{mean(g):+.3f} ± {stdev(g):.3f}" for key, g in gaps.items()}
    return rows


def _table(title: str, rows: dict[str, dict[str, str]]) -> list[str]:
    if not rows:
        return []
    methods = list(next(iter(rows.values())))
    head = [f"\n{title}", f"| | {' | '.join(methods)} |", "|---" * (1 + len(methods)) + "|"]
    return head + [f"| {name} | {' | '.join(row.values())} |" for name, row in rows.items()]


if __name__ == "__main__":
    main()
