"""NMF rows of the separation table: a dictionary a source, learned on sounds of one class.

64 spectra are learned of 8,000 training frames of speech, and 64 of the flute's, by `LEARNING`
updates from frames drawn at random, `SEEDS` times each: how well they separate depends much on the
draw (by 4 dB here), so that the pair is taken that separates validation mixtures best. In a mixture
the spectra are kept, and the activations of both sources found from equal shares of each frame's
power by `ITERATIONS` updates of all at once. Activations have a flat prior, as in the papers. The
temporal row has the same spectra, and Virtanen's continuity with a weight a source, `CONTINUITY`.
Weights and iterations were chosen by SI-SDR on validation mixtures of all four ratios. Weights of
0.1 and more lower it by half a dB and more, so that the row, whose weight is 0.01, is little else
than the row without:

    python -m benchmarks.factor_rows ../shared/data --out runs/separation     (prints that table)
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks.separation_scores import SOURCES, Estimates, Row, blind
from benchmarks.sound_sets import RATIOS, SoundSets, training_powers
from inference.metrics import ideal_ratio_mask, masked, si_sdr
from inference.randomness import seeded
from ppl_models.audio import NMF, TemporalNMF
from ppl_models.data import STFT, Mix

COMPONENTS, TRAINING, LEARNING, SEEDS, ITERATIONS = 64, 8000, 100, 4, 30
CONTINUITY = (0.01, 0.01)
"""Weights of speech and of the flute: 0.1 and more separate worse."""
START = 1e-3
"""Of the mean spectrum, added to the frames that W starts from."""
FLAT = -30.0
"""Log rate of a prior of activations that says nothing."""
_STFT = STFT()


def learned(sets: SoundSets, file: Path) -> list[NMF]:
    """Return the models of speech and of the flute, learned if the file is not there."""
    if not file.exists():
        powers = training_powers(sets, TRAINING)
        tried = [
            [fitted(powers[n], COMPONENTS, LEARNING, s) for s in range(SEEDS)] for n in SOURCES
        ]
        mixed = [sets.mixtures("validation", 100, ratio, 10) for ratio in (-10.0, 0.0)]
        best = max(product(*tried), key=lambda pair: float(_decibels(factored(pair, 30), mixed)))
        models = dict(zip(SOURCES, best, strict=True))
        tensors = {f"{n}.{k}": v for n, one in models.items() for k, v in one.state_dict().items()}
        save_file(tensors, file)
    tensors, found = load_file(file), []
    for name in SOURCES:
        model = NMF(_STFT.bins, COMPONENTS)
        start = f"{name}."
        model.load_state_dict(
            {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
        )
        found.append(model)
    return found


@torch.no_grad()
def fitted(power: Tensor, components: int, iterations: int, seed: int = 0) -> NMF:
    """Return an NMF of powers (T, F), of a flat prior, from frames drawn by the seed."""
    with seeded(seed):
        model = NMF(power.shape[-1], components)
        rows = torch.randperm(len(power))[:components]
    spectra = power[rows] + START * power.mean(0)
    model.log_weights.copy_((spectra / spectra.sum(-1, keepdim=True)).log())
    model.log_rate.fill_(FLAT)
    h = model.activations(power, iterations=1)
    for _ in range(iterations):
        h = model.update_activations(power, h)
        model.update_weights(power, h)
    return model


def temporal(models: Sequence[NMF], weights: Sequence[float] = CONTINUITY) -> list[NMF]:
    """Return the same models with continuity, a weight a source; those of weight 0 as they are."""
    found: list[NMF] = []
    for model, weight in zip(models, weights, strict=True):
        if weight:
            smooth = TemporalNMF(model.bins, model.num_components, continuity=weight)
            smooth.load_state_dict(model.state_dict())
            model = smooth
        found.append(model)
    return found


@torch.no_grad()
def explained(models: Sequence[NMF], power: Tensor, iterations: int) -> tuple[Tensor, Tensor]:
    """Return variances (N, ..., T, F) of the sources of powers (..., T, F), and log p(o, h).

    The bound that an update climbs is a sum over components: all are updated at once.
    """
    start = power / len(models)
    h = [model.activations(start, iterations=0) for model in models]
    v = torch.stack([m.variances({"h": a}) for m, a in zip(models, h, strict=True)])
    for _ in range(iterations):
        total = v.sum(0)
        h = [
            m.update_activations(power, a, rest=total - own)
            for m, a, own in zip(models, h, v, strict=True)
        ]
        v = torch.stack([m.variances({"h": a}) for m, a in zip(models, h, strict=True)])
    whole = [
        m.log_joint(power, a, rest=v.sum(0) - own) for m, a, own in zip(models, h, v, strict=True)
    ]
    fit = -(v.sum(0).log() + power / v.sum(0) + math.log(math.pi))
    return v, torch.stack(whole).sum(0) - (len(models) - 1) * fit.sum((-1, -2))


def factored(models: Sequence[NMF], iterations: int = ITERATIONS) -> Row:
    """The Wiener filter of the variances of two models."""

    def separate(mixture: Tensor) -> Estimates:
        v, value = explained(models, _STFT.power(mixture), iterations)
        waves = masked(mixture, ideal_ratio_mask(v), _STFT)
        return Estimates(waves.transpose(0, 1), objective=value)

    return blind(separate)


def _decibels(row: Row, mixed: Sequence[Mix]) -> Tensor:
    """Return the mean SI-SDR of both sources."""
    return torch.stack([si_sdr(m.parts, row(m).waves.contiguous()).mean() for m in mixed]).mean()


def tuned(sets: SoundSets, file: Path, count: int) -> None:
    """Print mean SI-SDR on validation mixtures, by iterations and by weights of continuity."""
    models = learned(sets, file)
    mixed = [sets.mixtures("validation", 100, ratio, count) for ratio in RATIOS]

    def line(label: str, row: Row) -> None:
        began = time.process_time()
        waves = [row(one).waves for one in mixed]
        spent = (time.process_time() - began) / sum(one.mixture.numel() / 16000 for one in mixed)
        means = torch.stack(
            [si_sdr(m.parts, w.contiguous()).mean(0) for m, w in zip(mixed, waves, strict=True)]
        )
        cells = "  ".join(f"{a:5.2f} |{b:6.2f}" for a, b in [*means.tolist(), means.mean(0)])
        print(f"{label:26s}{cells}{spent:8.3f}", flush=True)

    print(f"{'':26s}" + "  ".join(f"{ratio:+9g} dB " for ratio in RATIOS) + "    mean       s / s")
    for iterations in (30, 60, 100):
        line(f"{iterations} iterations", factored(models, iterations))
    for pair in ((0.01, 0.01), (0.1, 0.1), (0.3, 0.3), (0.0, 0.1), (0.0, 0.3), (0.0, 1.0)):
        line(f"continuity {pair[0]:g}, {pair[1]:g}", factored(temporal(models, pair)))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="the folder of an4/ and flute/")
    parser.add_argument("--out", type=Path, default=Path("runs/separation"))
    parser.add_argument("--count", type=int, default=20, help="mixtures of a ratio")
    chosen = parser.parse_args(arguments)
    chosen.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    tuned(SoundSets(chosen.data), chosen.out / "nmf.safetensors", chosen.count)


if __name__ == "__main__":
    main()
