"""One recording into its sources: speech in a flute, every way of the papers' tables and our own.

    python -m benchmarks.mixit ../shared/data --out runs/separation      (its row; six minutes)
    python -m benchmarks.separation ../shared/data --out runs/separation --runs runs/sources

prints, for each length T (frames of 16 ms) and ratio of speech to flute, the mean over the mixtures
of SI-SDR, RMSE and PESQ, speech | flute; the seconds of process time a second of sound, all
mixtures in one batch; the bound where a row has one, nats a frame (in brackets the objective that
it climbs, which is none); and the share of mixtures in which it beats temporal NMF. What is done is
kept in OUT, and the same command goes on; ``--again ROW`` makes a row again. ``--T``, ``--ratios``,
``--count``, ``--only`` take some of it; ``--speed`` prints seconds a second of one recording.

Mixtures are of AN4's test speakers and the flute's test clips, which no row was trained or tuned
on: dictionaries, MixIT and the sources in RUNS (named speech-SRNN, flute-SRNN, ...) come from the
training parts, iterations and weights of the NMF rows from validation mixtures (``--part
validation`` prints those). Oracle rows know the sources; MixIT, which of its sounds is which.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.kept import Kept, mean, wins
from benchmarks.overhead import race
from benchmarks.separation_rows import rows
from benchmarks.separation_scores import LEVELS, SOURCES, Row, judged
from benchmarks.sound_sets import FRAMES, RATIOS, SoundSets
from ppl_models.data import Mix
from ppl_models.errors import InputError

RIVAL = "temporal NMF"
Results = dict[str, dict[str, Any]]


def heading() -> str:
    """Return the names of the columns."""
    return (
        f"{'':16s}{'SI-SDR, dB':>14s}{'RMSE':>16s}{'PESQ':>12s}"
        f"{'s / s':>8s}{'nats a frame':>15s}  wins, %"
    )


def line(name: str, found: dict[str, Any], rival: dict[str, Any] | None, frames: int) -> str:
    """Return a row of the table."""
    text = f"{name:16s}" + _both(found, "si_sdr", "6.2f") + _both(found, "rmse", "7.4f")
    text += _both(found, "pesq", "5.2f") + f"{found['seconds'] / found['sound']:8.3f}"
    text += f"{_nats(found, frames):>15s}"
    if rival is not None:
        shares = [wins(found[s]["si_sdr"], rival[s]["si_sdr"]) for s in SOURCES]
        text += "  " + " | ".join(f"{100 * share:3.0f}" for share in shares)
    return text


def gains(results: list[Results], name: str) -> str:
    """Return the mean gain of a row on temporal NMF over all cells, and its paired wins."""
    pairs = [(cell[name], cell[RIVAL]) for cell in results if name in cell and RIVAL in cell]
    text = []
    for source in SOURCES:
        mine = [x for one, _ in pairs for x in one[source]["si_sdr"]]
        theirs = [x for _, one in pairs for x in one[source]["si_sdr"]]
        gain = mean([a - b for a, b in zip(mine, theirs, strict=True)])
        text.append(f"{gain:6.2f} dB, wins {100 * wins(mine, theirs):3.0f} %")
    return f"{name:16s}" + " | ".join(text)


def coverage(results: list[Results], names: Sequence[str]) -> str:
    """Return how many true bins lie in regions of each posterior, a line a row that has one."""
    levels = ", ".join(f"{100 * level:g}" for level in LEVELS)
    lines = [f"\ntrue bins in the {levels} % regions of q(s), %: speech | flute"]
    for name in names:
        cells = [one[name] for one in results if name in one and "regions" in one[name][SOURCES[0]]]
        sides = []
        for source in SOURCES if cells else ():
            shares = zip(*(one[source]["regions"] for one in cells), strict=True)
            sides.append("".join(f"{100 * mean(share):6.1f}" for share in shares))
        lines += [f"{name:16s}" + " |".join(sides)] if sides else []
    return "\n".join(lines) if len(lines) > 1 else ""


def cell(
    made: dict[str, Callable[[], Row]], sets: SoundSets, kept: Kept, chosen: Any, frames: int
) -> Callable[[float], Results]:
    """Return the function that judges all rows at a ratio."""

    def at(ratio: float) -> Results:
        mixed = cache(lambda: sets.mixtures(chosen.part, frames, ratio, chosen.count))
        found: Results = {}
        for name, make in made.items():
            key = f"{name} {chosen.part} T{frames} {ratio:+g} n{chosen.count}"
            try:
                found[name] = kept.result(key, partial(_judged, make, mixed, not chosen.fast))
            except (ImportError, InputError) as error:
                print(f"{name}: not here ({str(error).splitlines()[0]})", file=sys.stderr)
        return found

    return at


def _judged(make: Callable[[], Row], mixed: Callable[[], Mix], perceptual: bool) -> dict[str, Any]:
    return judged(make(), mixed(), perceptual)


def speed(made: dict[str, Callable[[], Row]], sets: SoundSets, rounds: int) -> None:
    """Print seconds of process time a second of one recording of 300 frames, in turns."""
    mixed = sets.mixtures("validation", 300, 0.0, 1)
    ready = {name: make() for name, make in made.items()}
    works: dict[str, Callable[[], object]] = {n: partial(r, mixed) for n, r in ready.items()}
    seconds = mixed.mixture.numel() / 16000
    print(f"\none recording of {seconds:.2f} s alone, median of {rounds} rounds: s / s")
    for name, laps in race(works, rounds).items():
        print(f"{name:16s}{median(laps) / 1000 / seconds:8.3f}")


def main(arguments: Sequence[str] | None = None) -> None:
    chosen = _arguments().parse_args(arguments)
    torch.set_num_threads(1)
    sets, kept = SoundSets(chosen.data), Kept(chosen.out / "scores", chosen.again)
    made = rows(sets, chosen.out, chosen.runs)
    if chosen.only:
        made = {name: make for name, make in made.items() if name in chosen.only}
    if chosen.speed:
        speed(made, sets, chosen.rounds)
        return
    results = []
    for frames in chosen.T:
        judge = cell(made, sets, kept, chosen, frames)
        for ratio in chosen.ratios:
            found = judge(ratio)
            results.append(found)
            print(f"\nT={frames}, {ratio:+g} dB, {chosen.count} mixtures\n{heading()}")
            for name, one in found.items():
                print(line(name, one, found.get(RIVAL), frames), flush=True)
    print(coverage(results, list(made)))
    print(f"\nagainst {RIVAL}, all mixtures: SI-SDR of speech | flute")
    for name in made:
        if any(name in one and RIVAL in one for one in results):
            print(gains(results, name))


def _both(found: dict[str, Any], score: str, form: str) -> str:
    return " |".join(f"{mean(found[s].get(score, [])):{form}}" for s in SOURCES)


def _nats(found: dict[str, Any], frames: int) -> str:
    if found["bound"] is not None:
        return f"{mean(found['bound']) / frames:.2f}"
    if found["objective"] is not None:
        return f"({mean(found['objective']) / frames:.2f})"
    return ""


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="the folder of an4/ and flute/")
    parser.add_argument("--out", type=Path, default=Path("runs/separation"))
    parser.add_argument("--runs", type=Path, default=Path("runs/sources"), help="trained sources")
    parser.add_argument("--T", type=int, nargs="+", default=list(FRAMES))
    parser.add_argument("--ratios", type=float, nargs="+", default=list(RATIOS), help="dB")
    parser.add_argument("--count", type=int, default=30, help="mixtures of a length and ratio")
    parser.add_argument("--only", nargs="+", metavar="ROW", help="by its name in the table")
    parser.add_argument("--again", nargs="+", default=[], metavar="ROW", help="not those kept")
    parser.add_argument("--part", default="test", choices=("test", "validation"))
    parser.add_argument("--fast", action="store_true", help="without PESQ (kept as it is)")
    parser.add_argument("--speed", action="store_true", help="only what one recording costs")
    parser.add_argument("--rounds", type=int, default=5, help="of --speed")
    return parser


if __name__ == "__main__":
    main()
