"""Tones that were not heard are missing because hearing is bad: what ignoring that costs.

::

    python -m benchmarks.unheard_tones ../shared/data/nhanes --out RUNS           # a file a model
    python -m benchmarks.unheard_tones ../shared/data/nhanes --out RUNS --table   # what is there

Three tables of thresholds and age: *simulated* audiograms, by an audiometer whose loudest tone is
50 dB; NHANES 2011-12 by one of *60 dB*; and *NHANES* as it is (no response at the loudest tone,
120 dB here: 45 tones of 3,865 people). Of the first two the thresholds of tones not heard are
known, and are what predictions are judged by; of the last it is known only that they are higher.

Three models of the same networks learn what was heard of four people of five:

* *ignored*: `PartialVAE`, as if tones were missing by lot;
* *censored*: `PartialVAE` whose columns know "at least so much";
* *NotMIWAE*: p(mask | x) with it, a logistic function of each threshold that falls with it.

Of the others, each tone in turn is predicted from the rest, for all who did not hear it, and one in
four of those who did: first as if it had not been tried (with how probable no response is), then
told that it was not heard, which *ignored* cannot use. An interval of 80 % covers a threshold that
is inside, or, where only "higher than the limit" is known, if it reaches the limit.

References
----------
Ipsen, Mattei and Frellsen, "not-MIWAE: Deep Generative Modelling with Missing not at Random Data",
ICLR 2021, arXiv:2006.12871.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.unheard_predictions import Prediction, predict, weighted
from guides.acquisition import NotMIWAEGuide, PartialVAEGuide
from inference import Objective, cosine, fit
from inference.randomness import derive, seeded
from inference.tasks.acquisition import PairPredictor
from ppl_models.acquisition import NotMIWAE, PartialVAE
from ppl_models.data import Column, audiograms, nhanes
from ppl_models.data.files import write_whole
from ppl_models.likelihoods import Columns

MODELS = ("ignored", "censored", "NotMIWAE")
TABLES = ("simulated", "NHANES, 60 dB", "NHANES")
AGE, LATENT, PARTICLES, DRAWS = 14, 4, 20, 300
EPOCHS, BATCH, RATE = 40, 256, 4e-3
PEOPLE, EVERY = 3072, 4
"""Simulated people; and of those who heard a tone, each of which it is predicted for."""


@dataclass(frozen=True)
class Tones:
    """People of whom some tones were not heard.

    Parameters
    ----------
    x
        Thresholds and age (N, 15), as measured, where they exist.
    exists
        What was tried and would have had an answer, of an audiometer loud enough.
    unheard
        Where the loudest tone was not heard.
    limit
        The loudest tone, dB.
    truth
        Whether x holds thresholds of tones that were not heard.
    """

    x: Tensor
    exists: Tensor
    unheard: Tensor
    limit: float
    truth: bool

    def rows(self, some: Tensor) -> Tones:
        """Return some of the people."""
        parts = (self.x[some], self.exists[some], self.unheard[some])
        return Tones(*parts, self.limit, self.truth)

    @property
    def heard(self) -> Tensor:
        """What was measured, (N, 15)."""
        return self.exists & ~self.unheard


def tones_of(table: str, folder: Path | None) -> Tones:
    """Return one of `TABLES`; of NHANES, from its folder."""
    if table == "simulated":
        x = audiograms(PEOPLE, seed=0).x
        return _with_limit(x, torch.ones_like(x, dtype=torch.bool), 50.0)
    assert folder is not None
    people = nhanes(folder)
    if table == "NHANES":
        x = torch.where(people.no_response, 120.0, people.x)
        return Tones(x, people.mask | people.no_response, people.no_response, 120.0, False)
    return _with_limit(people.x, people.mask, 60.0)


def _with_limit(x: Tensor, exists: Tensor, limit: float) -> Tones:
    unheard = exists & (x >= limit)
    unheard[:, AGE] = False
    return Tones(x, exists, unheard, limit, True)


def main() -> None:
    """Train and judge the models that are not there yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("nhanes", type=Path, help="folder of AUX_G.xpt and DEMO_G.XPT")
    parser.add_argument("--out", type=Path, required=True, help="folder of results")
    parser.add_argument("--folds", type=int, nargs="*", default=[0, 1])
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--table", action="store_true", help="print what is there, and end")
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    for fold in given.folds:
        for name in () if given.table else TABLES:
            tones = tones_of(name, given.nhanes)
            for model in MODELS:
                path = given.out / f"{name} {model} {fold}.json"
                if not path.exists():
                    found = judge(tones, model, fold, given.epochs)
                    write_whole(path, json.dumps(found).encode())
                    print(f"{path.stem}: {found}", flush=True)
    print(report(given.out))


def judge(tones: Tones, model: str, fold: int, epochs: int) -> dict[str, Any]:
    """Train a model on four people of five, and judge what it predicts of the others."""
    order = np.random.default_rng(0).permutation(len(tones.x))
    parts = [torch.from_numpy(part) for part in np.array_split(order, 5)]
    train = tones.rows(torch.cat([part for k, part in enumerate(parts) if k != fold]))
    pair = trained(train, model, fold, epochs)
    found = score(pair, model, tones.rows(parts[fold]))
    if isinstance(pair[0], NotMIWAE):
        found["slope"] = float(pair[0].slopes().detach().mean())
    return found


def trained(train: Tones, model: str, seed: int, epochs: int) -> tuple[Any, Any]:
    """Train a model of `MODELS`."""
    x = train.x.clamp(max=train.limit) if model == "censored" else train.x
    x = torch.cat([x[:, :AGE], train.x[:, AGE:]], -1)  # ages have no limit
    mask = train.exists if model == "censored" else train.heard
    with seeded(derive(seed, "pair")):
        pair = untrained(model, train.limit)
    pair[0].start_from(torch.where(mask, x, torch.nan), mask)
    steps = epochs * -(-len(x) // BATCH)
    fit(
        *pair,
        {"x": torch.where(mask, x, torch.nan), "mask": mask},
        epochs=epochs,
        batch_size=BATCH,
        objective=Objective("iwae", num_particles=PARTICLES),
        learning_rate=cosine(steps, RATE, warmup=steps // 20 + 1),
        seed=seed,
        progress=False,
        report_every=epochs,
    )
    return pair


def untrained(model: str, limit: float) -> tuple[Any, Any]:
    """Return a pair; all of `MODELS` have the same networks."""
    how: dict[str, Any] = {"kind": "censored", "upper": limit} if model == "censored" else {}
    columns = Columns([*(Column(f"tone {d}", **how) for d in range(AGE)), Column("age")])
    sizes: dict[str, Any] = {"likelihood": columns, "hidden_dims": (64, 64)}
    if model == "NotMIWAE":
        tones = [column.name for column in columns.columns[:AGE]]
        story = NotMIWAE(15, LATENT, missing="known sign", not_at_random=tones, **sizes)
        return story, NotMIWAEGuide(story, proposal="learned")
    plain = PartialVAE(15, LATENT, **sizes)
    return plain, PartialVAEGuide(plain)


@torch.no_grad()
def score(pair: tuple[Any, Any], model: str, test: Tones) -> dict[str, Any]:
    """Return what is predicted of each tone from the others, and how good that is."""
    found: dict[str, list[float]] = {}
    for tone in range(AGE):
        some = test.rows(_asked(test, tone))
        known = some.exists if model == "censored" else some.heard
        known = known.clone()
        known[:, tone] = False
        x = torch.where(some.unheard, some.limit, some.x).nan_to_num()
        predictor = PairPredictor(*pair)
        draws = predictor.draws(x, known, DRAWS, derive(0, "draws", tone))
        if model == "NotMIWAE":
            quiet = some.unheard.clone()
            quiet[:, tone] = False
            draws = replace(draws, weights=weighted(pair[0], draws, quiet))
        for told in (False, True):
            said = predict(pair[0], model, draws, tone, test.limit, told)
            for key, values in _errors(said, some, tone, told).items():
                found.setdefault(key, []).extend(values.double().tolist())
    count = len(found["told mean"])
    figures = {
        key: float(np.square(values).mean() ** 0.5 if "error" in key else np.mean(values))
        for key, values in found.items()
        if values
    }
    share = float(test.unheard.sum() / test.exists[:, :AGE].sum())
    of_all = share * figures["silent, of unheard"] + (1 - share) * figures["silent, of heard"]
    return {"unheard": count, "share unheard": share, "silent, of all": of_all, **figures}


def _asked(test: Tones, tone: int) -> Tensor:
    """Return people who did not hear a tone, and one in `EVERY` of those who did."""
    quiet = test.unheard[:, tone].nonzero()[:, 0]
    return torch.cat([quiet, test.heard[:, tone].nonzero()[::EVERY, 0]])


def _errors(said: Prediction, some: Tones, tone: int, told: bool) -> dict[str, Tensor]:
    """Return figures, person by person, of those who did not hear the tone, and who did."""
    quiet, x = some.unheard[:, tone], some.x[:, tone]
    if some.truth:
        inside = (said.low <= x) & (x <= said.high)
    else:
        inside = said.high >= some.limit  # of one that was not heard
    name = "told" if told else "before"
    found = {f"{name} mean": said.mean[quiet], f"{name} coverage": inside[quiet]}
    if some.truth:
        found |= {f"{name} error": (said.mean - x)[quiet], "truth mean": x[quiet]}
    if not told:
        found |= {
            "silent, of unheard": said.silent[quiet],
            "silent, of heard": said.silent[~quiet],
            "heard error": (said.mean - x)[~quiet],
        }
    return found


def report(out: Path) -> str:
    """Return a row a table and model: means over folds, and their spread."""
    lines = []
    for name in TABLES:
        lines += ["", f"{name}", f"| | {' | '.join(HEADS)} |", "|---" * (len(HEADS) + 1) + "|"]
        lines += list(_rows(out, name))
    return "\n".join(lines)


HEADS = {
    "unheard": "unheard",
    "P(no response)": "silent, of all",
    "truly": "share unheard",
    "P, of unheard": "silent, of unheard",
    "mean before": "before mean",
    "RMSE before": "before error",
    "80 % before": "before coverage",
    "mean told": "told mean",
    "RMSE told": "told error",
    "80 % told": "told coverage",
    "true mean": "truth mean",
    "RMSE of heard": "heard error",
}


def _rows(out: Path, name: str) -> Iterator[str]:
    for model in MODELS:
        files = [json.loads(f.read_text()) for f in sorted(out.glob(f"{name} {model} ?.json"))]
        if files:
            cells = (_spread([f[key] for f in files if key in f]) for key in HEADS.values())
            yield f"| {model} ({len(files)} folds) | {' | '.join(cells)} |"


def _spread(values: list[float]) -> str:
    if not values:
        return "-"
    form = ".3f" if abs(mean(values)) < 1.5 else ".1f"
    around = f" +- {stdev(values):{form}}" if len(values) > 1 else ""
    return f"{mean(values):{form}}{around}"


if __name__ == "__main__":
    main()
