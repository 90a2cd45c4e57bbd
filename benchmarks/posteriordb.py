"""Guides and Markov chains against posteriors that others computed.

Run ``python -m benchmarks.posteriordb FOLDER`` (``--only eight gp``, ``--seed 1``, ``--mcmc`` to
run chains for every posterior, ``--guides AutoMultivariateNormal`` for some guides). FOLDER holds
the JSON files of posteriordb's data and reference moments (means and standard deviations of 10,000
draws of long chains). The models are in ``benchmarks/posteriordb_models.py``.

Each posterior is fitted by each guide as a user would: by `inference.start` (Pathfinder, four
climbs); where the row says so, then by `fit`, 1,000 steps on all data with a rate that falls from
0.02 to 0, for all models alike. Then 4,000 draws are exported twice, raw and weighted. Columns:
k-hat and its standard error, over the draws that were weighed; the worst error of a mean, in
reference standard deviations, and the smallest and largest ratio of standard deviations to the
reference's, raw and weighted; whether the row is flagged, by k-hat or by a warning of `start`;
seconds. Where every guide's row is flagged, chains are run: then the columns have the largest
r-hat, and the chains' own moments.

A row with k-hat + 2 errors < 0.7 is *right* if its weighted means are within 0.15 sd and its
standard deviations within 10 %; the last lines count.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pyro.infer.autoguide import AutoMultivariateNormal, AutoNormal

from benchmarks.posteriordb_models import POSTERIORS
from inference import cosine, fit, mcmc, posterior, start

GUIDES = {  # and whether `fit` follows the start
    "AutoMultivariateNormal": (AutoMultivariateNormal, False),
    "AutoMultivariateNormal, fit": (AutoMultivariateNormal, True),
    "AutoNormal, fit": (AutoNormal, True),
}
STEPS, RATE, DRAWS = 1000, 0.02, 4000
MEAN_ERROR, SD_ERROR, KHAT = 0.15, 0.10, 0.7


class Case(NamedTuple):
    """A model, its data, and moments of its posterior by name (``beta[1]``): mean and sd."""

    name: str
    model: Any
    data: tuple[Any, ...]
    reference: dict[str, dict[str, float]]


class Moments(NamedTuple):
    """The worst error of a mean, in sds, and the range of ratios of sds."""

    error: float
    low: float
    high: float

    def right(self) -> bool:
        """Say whether all are within what is asked."""
        return self.error < MEAN_ERROR and 1 - SD_ERROR < self.low and self.high < 1 + SD_ERROR

    def __str__(self) -> str:
        return f"{self.error:5.2f} {self.low:5.2f}-{self.high:4.2f}"


class Row(NamedTuple):
    """One fit, judged."""

    name: str
    guide: str
    khat: float
    khat_error: float
    raw: Moments | None
    weighted: Moments
    flagged: bool
    seconds: float

    def __str__(self) -> str:
        shape = f"{self.khat:6.2f} +- {self.khat_error:.2f}"
        raw = "" if self.raw is None else str(self.raw)
        verdict = "flagged" if self.flagged else "right" if self.weighted.right() else "WRONG"
        return (
            f"{self.name:7} {self.guide:27} {shape:14} {raw:16} {self.weighted!s:16} "
            f"{verdict:8} {self.seconds:6.0f}"
        )


def moments(draws: Any, reference: dict[str, dict[str, float]]) -> Moments:
    """Compare exported draws with reference moments."""
    errors, ratios = [], []
    for name, known in reference.items():
        site, _, index = name.partition("[")
        values = draws[site].values.reshape(-1, *draws[site].shape[2:])
        values = values[:, int(index[:-1]) - 1] if index else values
        errors.append(abs(values.mean() - known["mean"]) / known["sd"])
        ratios.append(values.std() / known["sd"])
    return Moments(max(errors), min(ratios), max(ratios))


def _trained(model: Any, guide: Any, data: Any, seed: int) -> None:
    how: dict[str, Any] = {"epochs": STEPS, "batch_size": len(data[0]), "seed": seed}
    rate = cosine(STEPS, start=RATE, end=0.0)
    fit(model, guide, data, learning_rate=rate, progress=False, **how)


def by_guide(case: Case, guide: str, seed: int) -> Row:
    """Fit one posterior by one guide."""
    name, model, data, known = case
    before = time.perf_counter()
    family, trained = GUIDES[guide]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        fitted = start(model, family, *data, seed=seed)
    modes = any("several modes" in str(warning.message) for warning in told)
    if trained:
        _trained(model, fitted, data, seed)
    lean: dict[str, Any] = {"predictive": False, "log_likelihood": False, "seed": seed}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of k-hat, which is printed
        pair = model, fitted, *data
        weighted = posterior(*pair, num_samples=DRAWS, weighted=True, **lean)["posterior"]
    seconds = time.perf_counter() - before
    raw = posterior(*pair, num_samples=DRAWS, **lean)["posterior"]
    said = weighted.attrs
    flagged = said["khat"] + 2 * said["khat_error"] >= KHAT or not said["reliable"] or modes
    found = moments(raw, known), moments(weighted, known)
    return Row(name, guide, said["khat"], said["khat_error"], *found, flagged, seconds)


def by_chains(case: Case, seed: int) -> Row:
    """Draw from one posterior by four chains."""
    import arviz

    before = time.perf_counter()
    found = mcmc(
        case.model,
        *case.data,
        num_samples=1000,
        num_warmup=500,
        seed=seed,
        progress=False,
        predictive=False,
        log_likelihood=False,
    )
    seconds = time.perf_counter() - before
    rhat = max(float(np.max(v.values)) for v in arviz.rhat(found).data_vars.values())
    judged = moments(found["posterior"], case.reference)
    return Row(case.name, "mcmc (r-hat)", rhat, 0.0, None, judged, rhat > 1.01, seconds)


def rows(cases: Iterable[Case], seed: int, chains: bool, guides: list[str]) -> Iterator[Row]:
    """Fit and judge, one after the other."""
    for case in cases:
        found = []
        for guide in guides:
            found.append(by_guide(case, guide, seed))
            yield found[-1]
        if chains or (found and all(row.flagged for row in found)):
            yield by_chains(case, seed)


def report(found: Iterable[Row]) -> None:
    """Print rows as they come, and count."""
    print(f"{'model':7} {'guide':27} {'k-hat':14} {'raw: mean, sds':16} {'weighted':16} {'':8} sec")
    done = []
    for row in found:
        print(row, flush=True)
        done.append(row)
    trusted = [row for row in done if not row.flagged]
    wrong = [row for row in trusted if not row.weighted.right()]
    reached = {row.name for row in trusted if row.raw and row.weighted.right()}
    print(f"{len(trusted)} of {len(done)} rows not flagged, of which {len(wrong)} wrong")
    print(f"{len(reached)} of {len({row.name for row in done})} posteriors reached by a guide")


def of_files(folder: Path, names: list[str]) -> Iterator[Case]:
    """Read posteriordb's data and reference moments."""
    for name in names:
        content = json.loads((folder / f"{name}.json").read_text())
        model, arguments = POSTERIORS[name]
        yield Case(name, model, arguments(content["data"]), content["reference"])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", default=list(POSTERIORS), choices=list(POSTERIORS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--mcmc", action="store_true")
    parser.add_argument("--guides", nargs="*", default=list(GUIDES), choices=list(GUIDES))
    options = parser.parse_args()
    cases = of_files(options.folder, options.only)
    report(rows(cases, options.seed, options.mcmc, options.guides))


if __name__ == "__main__":
    main()
