"""Try a set of planted errors, keep the results in a JSON file, and go on where it stopped."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import torch

from tools.mutants.first import FIRST
from tools.mutants.planting import Mutant, misplaced
from tools.mutants.second import SECOND
from tools.mutants.third import THIRD
from tools.mutants.trial import STAGES, copy_of, try_one

SETS = {"first": FIRST, "second": SECOND, "third": THIRD}
Results = dict[str, dict[str, Any]]


def main() -> None:
    """Read the command line, and run."""
    parser = argparse.ArgumentParser(prog="python -m tools.mutants", description=__doc__)
    parser.add_argument("--set", choices=SETS, default="first", help="which errors")
    parser.add_argument("--commit", default="HEAD", help="the code and tests to try them on")
    parser.add_argument("--results", default="mutants.json", help="kept and read: a JSON file")
    parser.add_argument("--last", choices=STAGES, default="suite", help="the last stage to run")
    parser.add_argument("--only", default="", help="errors in files whose path contains this")
    parser.add_argument("--seconds", type=float, default=1800.0, help="the most a stage may take")
    parser.add_argument("--again", action="store_true", help="try what was not noticed once more")
    parser.add_argument("--check", action="store_true", help="only look whether each has its place")
    chosen = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg", "PYTHONDONTWRITEBYTECODE": "1"}
    torch.set_num_threads(1)
    mutants = [m for m in SETS[chosen.set] if chosen.only in m.file]
    if chosen.check:
        raise SystemExit("\n".join(misplaced(Path.cwd(), mutants)) or 0)
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy_of(Path.cwd(), chosen.commit, Path(folder))
        if wrong := misplaced(Path(folder), mutants):
            raise SystemExit("\n".join(["no unique place for:", *wrong]))
        found = run(
            Path(folder),
            mutants,
            Path(chosen.results),
            chosen.last,
            chosen.seconds,
            again=chosen.again,
        )
    print(summary(mutants, found))


def run(
    root: Path,
    mutants: list[Mutant],
    file: Path,
    last: str,
    seconds: float,
    *,
    again: bool = False,
) -> Results:
    """Try those that have no result yet, or none of so late a stage; return all results."""
    results: Results = json.loads(file.read_text()) if file.exists() else {}
    for mutant in mutants:
        known = results.get(mutant.key)
        late = known and STAGES.index(known["stage"]) >= STAGES.index(last)
        if known and (known["noticed"] or (late and not again)):
            continue
        results[mutant.key] = try_one(root, mutant, last, seconds)
        file.write_text(json.dumps(results, indent=1))
        print(line(mutant, results[mutant.key]), flush=True)
    return results


def line(mutant: Mutant, result: dict[str, Any]) -> str:
    """Return what came of one error."""
    what = f"noticed by {result['by']}" if result["noticed"] else f"UNNOTICED ({result['stage']})"
    return f"{mutant.file}: {mutant.why}: {what} [{result['seconds']} s]"


def summary(mutants: list[Mutant], results: Results) -> str:
    """Return the rate, and what was not noticed."""
    noticed = [m for m in mutants if results[m.key]["noticed"]]
    left = [m for m in mutants if not results[m.key]["noticed"]]
    rate = f"{len(noticed)} of {len(mutants)} noticed ({len(noticed) / max(len(mutants), 1):.0%})"
    return "\n".join([rate, *(f"not noticed: {m.file}: {m.old!r} -> {m.new!r}" for m in left)])
