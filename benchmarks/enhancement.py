"""Speech out of noise: unsupervised enhancement against its rivals, by ratio and by kind of noise.

    python -m benchmarks.enhancement ../shared/data --out runs/enhancement --runs runs/noise

prints, for each ratio, the means over the utterances of SI-SDR, RMSE, PESQ (wide band) and ESTOI,
the iterations and the seconds of process time a second of sound; then SI-SDR by kind of noise; then
the pairs of VoiceBank-DEMAND, one by one. Rows: the noisy speech; the ideal Wiener filter, which
knows speech and noise; noisereduce and RNNoise (supervised), from PyPI in an environment of their
own (``--env FOLDER``; without it they are left out); the methods of ``ppl enhance``; and, for each
model of RUNS (LV, NO, NOLV, ...: files or folders of ``ppl enhance --train-noise``), its methods.

Utterances are of AN4's test speakers; unseen noises are n61 to n80 (water, wind, bells).
``--noises seen`` takes n1 to n60 in their place, crowd and machines among them: sounds heard in
training, under speech that was not. What is done is kept in OUT, and the same command goes on.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.denoisers import denoised, environment
from benchmarks.kept import Kept, mean
from benchmarks.sound_sets import Noisy, SoundSets
from inference.metrics import estoi, ideal_ratio_mask, masked, pesq_wb, rmse, si_sdr
from ppl_models.data import STFT, Utterance
from ppl_models.errors import InputError

RATIOS = (-5.0, 0.0, 5.0)
METHODS = ("nmf", "una", "und", "unda")
SCORES: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], str]] = {
    "si_sdr": (si_sdr, "8.2f"),
    "rmse": (rmse, "8.4f"),
    "pesq": (pesq_wb, "7.2f"),
    "estoi": (estoi, "7.3f"),
}
ABLATIONS: dict[str, dict[str, Any]] = {
    "one start": {"other": 0.0},
    "RVAE-VEM": {"num_components": 8, "resolution": 1, "hum": False, "other": 0.0},
    "free + hum": {"num_components": 8, "resolution": 1, "hum": True, "other": 0.0},
    "smooth, no hum": {"hum": False, "other": 0.0},
    "smooth, K=2": {"num_components": 2, "other": 0.0},
}
"""Noises of the recording itself, beside the default's: K = 8, smooth over 65 bins, and a hum, from
two starts."""
Row = Callable[[list[Noisy]], tuple[list[Tensor], dict[str, Any]]]
"""What makes sounds of noisy ones, and what it cost: ``seconds``, and ``iterations`` if any."""


def unchanged(noisy: list[Noisy]) -> tuple[list[Tensor], dict[str, Any]]:
    """The noisy speech."""
    return [one.mixture for one in noisy], {}


def ideal(noisy: list[Noisy]) -> tuple[list[Tensor], dict[str, Any]]:
    """The Wiener filter of the true powers."""
    stft = STFT()
    shares = [ideal_ratio_mask(stft.power(torch.stack([n.speech, n.noise]))) for n in noisy]
    return [masked(n.mixture, s, stft)[0] for n, s in zip(noisy, shares, strict=True)], {}


def rival(folder: Path, name: str) -> Row:
    """A package of PyPI, in an environment of its own."""
    python = environment(folder)

    def row(noisy: list[Noisy]) -> tuple[list[Tensor], dict[str, Any]]:
        waves = [one.mixture.double().numpy() for one in noisy]
        found, seconds = denoised(python, name, waves)
        return [torch.from_numpy(wave).float() for wave in found], {"seconds": seconds}

    return row


def ours(method: str, model: Path | None = None) -> Row:
    """``ppl enhance --method``, one recording after the other."""
    from inference.tasks.enhancement import enhance

    def row(noisy: list[Noisy]) -> tuple[list[Tensor], dict[str, Any]]:
        began, found = time.process_time(), []
        for one in noisy:
            found.append(enhance(one.mixture, method=method, model=model, seed=0))
        cost: dict[str, Any] = {"seconds": time.process_time() - began}
        counts = [getattr(one, "iterations", None) for one in found]
        if all(isinstance(count, int) for count in counts):
            cost["iterations"] = counts
        return [one.wave for one in found], cost

    return row


def judged(row: Row, noisy: list[Noisy]) -> dict[str, Any]:
    """Run a row; return a list a score, what kind of noise each was, and what it cost."""
    waves, cost = row(noisy)
    found: dict[str, Any] = {"kinds": [n.kind for n in noisy], "names": [n.name for n in noisy]}
    found["sound"] = sum(len(n.mixture) for n in noisy) / 16000
    for name, (score, _) in SCORES.items():
        pairs = zip(noisy, waves, strict=True)
        found[name] = [float(score(n.speech, wave)) for n, wave in pairs]
    return found | cost


def rows(chosen: argparse.Namespace) -> dict[str, Callable[[], Row]]:
    """Return what makes each row; nothing is loaded before it is asked for."""
    made: dict[str, Callable[[], Row]] = {
        "noisy": lambda: unchanged,
        "ideal Wiener": lambda: ideal,
    }
    if chosen.env is not None:
        for name in ("noisereduce", "RNNoise"):
            made[name] = partial(rival, chosen.env, name)
    made["default"] = _default
    for name, options in ABLATIONS.items():
        made[name] = partial(_ablated, options)
    for method in METHODS:
        made[method] = partial(ours, method)
    for model in sorted(chosen.runs.glob("*")) if chosen.runs.is_dir() else []:
        for method in ("und", "una", "unda"):
            made[f"{model.stem} {method}"] = partial(ours, method, model)
    if chosen.only:
        made = {name: make for name, make in made.items() if name in chosen.only}
    return made


def table(found: dict[str, dict[str, Any]]) -> str:
    """Return a line a row: means, iterations, seconds a second."""
    widths = {name: int(form.split(".")[0]) for name, (_, form) in SCORES.items()}
    head = "".join(f"{name:>{width}}" for name, width in widths.items())
    lines = [f"{'':16s}{head}{'iterations':>12s}{'s / s':>8s}"]
    for name, one in found.items():
        text = "".join(f"{mean(one[score]):{form}}" for score, (_, form) in SCORES.items())
        count = f"{mean(one['iterations']):.0f}" if "iterations" in one else ""
        cost = f"{one['seconds'] / one['sound']:.3f}" if "seconds" in one else ""
        lines.append(f"{name:16s}{text}{count:>12s}{cost:>8s}")
    return "\n".join(lines)


def by_kind(results: Sequence[dict[str, dict[str, Any]]]) -> str:
    """Return SI-SDR, all ratios together, a line a row and a column a kind of noise."""
    names = list(dict.fromkeys(name for cell in results for name in cell))
    kinds = sorted({kind for cell in results for one in cell.values() for kind in one["kinds"]})
    lines = [f"{'':16s}" + "".join(f"{kind:>12s}" for kind in kinds)]
    for name in names:
        cells = [cell[name] for cell in results if name in cell]
        pairs = [pair for c in cells for pair in zip(c["kinds"], c["si_sdr"], strict=True)]
        means = (mean([score for kind, score in pairs if kind == wanted]) for wanted in kinds)
        lines.append(f"{name:16s}" + "".join(f"{value:12.2f}" for value in means))
    return "\n".join(lines)


def one_by_one(found: dict[str, dict[str, Any]]) -> str:
    """Return SI-SDR and PESQ of each utterance, a line a row."""
    first = next(iter(found.values()))
    lines = [f"{'':16s}" + "".join(f"{name:>15s}" for name in first["names"])]
    for name, one in found.items():
        pairs = zip(one["si_sdr"], one["pesq"], strict=True)
        lines.append(f"{name:16s}" + "".join(f"{a:8.2f} {b:6.2f}" for a, b in pairs))
    return "\n".join(lines)


def evaluated(
    made: dict[str, Callable[[], Row]], kept: Kept, noisy: list[Noisy], key: str
) -> dict[str, dict[str, Any]]:
    """Judge all rows on a set; those that are not there yet are named and left out."""
    found = {}
    for name, make in made.items():
        try:
            found[name] = kept.result(f"{name} {key}", partial(_judged, make, noisy))
        except (ImportError, InputError) as error:
            print(f"{name}: not here ({str(error).splitlines()[0]})", file=sys.stderr)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    chosen = _arguments().parse_args(arguments)
    torch.set_num_threads(1)
    sets, kept = SoundSets(chosen.data), Kept(chosen.out / "scores", chosen.again)
    made, among = rows(chosen), _among(sets, chosen.noises)
    results = []
    for ratio in chosen.ratios:
        noisy = sets.noisy(chosen.part, ratio, chosen.count, among)
        key = f"{chosen.part} {chosen.noises} {ratio:+g} n{chosen.count}"
        results.append(evaluated(made, kept, noisy, key))
        print(f"\n{ratio:+g} dB, {len(noisy)} utterances\n{table(results[-1])}", flush=True)
    print(f"\nSI-SDR by kind of noise, all ratios\n{by_kind(results)}")
    if pairs := sets.voicebank_pairs():
        found = evaluated(made, kept, pairs, "voicebank")
        print(f"\nVoiceBank-DEMAND: SI-SDR, PESQ\n{one_by_one(found)}")


def _judged(make: Callable[[], Row], noisy: list[Noisy]) -> dict[str, Any]:
    return judged(make(), noisy)


def _default() -> Row:
    """``ppl enhance`` as a user gets it who asks for nothing."""
    from inference.tasks.enhancement import enhance

    def row(noisy: list[Noisy]) -> tuple[list[Tensor], dict[str, Any]]:
        began = time.process_time()
        waves = [enhance(one.mixture).wave for one in noisy]
        return waves, {"seconds": time.process_time() - began}

    return row


def _ablated(options: dict[str, Any]) -> Row:
    """The method ``nmf`` with another noise."""
    from inference.tasks.enhancement import EnhancementSettings, NMFNoise, enhance

    settings = EnhancementSettings(nmf=NMFNoise(**options))

    def row(noisy: list[Noisy]) -> tuple[list[Tensor], dict[str, Any]]:
        began = time.process_time()
        waves = [enhance(one.mixture, settings=settings).wave for one in noisy]
        iterations = [settings.nmf.ascent.iterations] * len(waves)
        return waves, {"seconds": time.process_time() - began, "iterations": iterations}

    return row


def _among(sets: SoundSets, which: str) -> list[Utterance]:
    return sets.nonspeech.test if which == "unseen" else sets.nonspeech.train


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="the folder of an4/, nonspeech/, voicebank_demand/")
    parser.add_argument("--out", type=Path, default=Path("runs/enhancement"))
    parser.add_argument("--runs", type=Path, default=Path("runs/noise"), help="noise models")
    parser.add_argument("--env", type=Path, help="environment of noisereduce and RNNoise")
    parser.add_argument("--ratios", type=float, nargs="+", default=list(RATIOS), help="dB")
    parser.add_argument("--count", type=int, default=20, help="utterances of a ratio")
    parser.add_argument("--noises", default="unseen", choices=("unseen", "seen"))
    parser.add_argument("--only", nargs="+", metavar="ROW", help="by its name in the table")
    parser.add_argument("--again", nargs="+", default=[], metavar="ROW", help="not those kept")
    parser.add_argument("--part", default="test", choices=("test", "validation"))
    return parser


if __name__ == "__main__":
    main()
