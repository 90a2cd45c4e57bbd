"""The rows of the separation table: oracles, filters, factorisations, and grids of trained sources.

A row is a function of a batch of mixtures. Rows that know the sources are named so; all others are
wrapped in `blind`, which hands them the mixtures alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import mixit
from benchmarks.bin_kalman import bin_kalman
from benchmarks.factor_rows import factored, learned, temporal
from benchmarks.separation_scores import SOURCES, Estimates, Row, blind
from benchmarks.sound_sets import SoundSets
from inference.metrics import ideal_binary_mask, ideal_ratio_mask, masked
from inference.tasks.speech import analyse, decode_forced, load_speech
from ppl_models.data import STFT, Mix

STEM = "{source}-{architecture}"
"""Name of a trained source's run."""
_STFT = STFT()


def mixture(mixed: Mix) -> Estimates:
    """The mixture itself, for both."""
    return Estimates(mixed.mixture[:, None].expand(-1, 2, -1))


def oracle(mask: Callable[[Tensor], Tensor]) -> Row:
    """Filter by an ideal mask."""

    def row(mixed: Mix) -> Estimates:
        shares = mask(_STFT.power(mixed.parts).transpose(0, 1))
        return Estimates(masked(mixed.mixture, shares, _STFT).transpose(0, 1))

    return row


def kalman_oracle(mixed: Mix) -> Estimates:
    """The Kalman filter whose variances are the sources' true powers."""
    powers = _STFT.power(mixed.parts).transpose(0, 1)
    return _inverted(bin_kalman(_STFT.analyse(mixed.mixture), powers), mixed.mixture)


def dvae_start(runs: Sequence[Path]) -> Row:
    """Each source as its model decodes the mixture's latents: its moduli, the mixture's phases."""

    def separate(mixture: Tensor) -> Estimates:
        bins = _STFT.analyse(mixture)
        moduli = torch.stack(decoded(runs, bins)).sqrt()
        return _inverted(torch.polar(moduli, bins.angle().expand_as(moduli)), mixture)

    return blind(separate)


def kalman_start(runs: Sequence[Path]) -> Row:
    """The Kalman filter whose variances are those that the models decode from the mixture."""

    def separate(mixture: Tensor) -> Estimates:
        bins = _STFT.analyse(mixture)
        return _inverted(bin_kalman(bins, torch.stack(decoded(runs, bins))), mixture)

    return blind(separate)


@torch.no_grad()
def decoded(runs: Sequence[Path], bins: Tensor) -> list[Tensor]:
    """Return the powers (M, T, F) that each model decodes from the latents of the mixture's."""
    found, power = [], bins.abs().square()
    for run in runs:
        pair = load_speech(run)
        latents = analyse(pair.model, pair.guide, power, forced=True)
        found.append(decode_forced(pair.model, latents, power))
    return found


def mask_network(file: Path) -> Row:
    """MixIT; it knows which of its four sounds are nearest to which source."""
    network = mixit.MaskNetwork(_STFT.bins)
    network.load_state_dict(torch.load(file, weights_only=True)["network"])

    def row(mixed: Mix) -> Estimates:
        return Estimates(mixit.separated(network.eval(), mixed.mixture, mixed.parts))

    return row


def posterior(sources: Sequence[str | Path], share: str, settings: Any = None) -> Row:
    """The task's own inference, as ``ppl separate`` calls it."""
    from inference.tasks.separation import separate_many

    def separate(mixture: Tensor) -> Estimates:
        found = separate_many(list(mixture), sources, share=share, seed=0, settings=settings)
        waves = torch.stack([one.waves for one in found])
        bound = torch.stack([torch.as_tensor(one.bound) for one in found])
        errors = torch.stack([torch.as_tensor(one.bound_error) for one in found])
        mean, variance = (
            torch.stack([getattr(one, name) for one in found]) for name in ("mean", "variance")
        )
        made = Estimates(waves, mean=mean, variance=variance)
        return made._replace(**{"bound" if errors.isfinite().all() else "objective": bound})

    return blind(separate)


def trained(runs: Path, architecture: str) -> list[Path] | None:
    """Return the runs of both sources, or None where one is not there."""
    names = [STEM.format(source=source, architecture=architecture) for source in SOURCES]
    found = [
        next((p for p in (runs / n, runs / f"{n}.safetensors") if p.exists()), None) for n in names
    ]
    return [path for path in found if path] if all(found) else None


def architectures(runs: Path) -> list[str]:
    """Return those architectures of which both sources are trained."""
    first = SOURCES[0] + "-"
    names = {p.stem.removeprefix(first) for p in runs.glob(f"{first}*")} if runs.is_dir() else set()
    return sorted(name for name in names if trained(runs, name))


def rows(sets: SoundSets, out: Path, runs: Path) -> dict[str, Callable[[], Row]]:
    """Return what makes each row that there is; nothing is loaded before it is asked for."""
    spectra = out / "nmf.safetensors"
    made: dict[str, Callable[[], Row]] = {
        "mixture": lambda: mixture,
        "oracle Wiener": lambda: oracle(ideal_ratio_mask),
        "oracle binary": lambda: oracle(ideal_binary_mask),
        "NMF": lambda: factored(learned(sets, spectra)),
        "temporal NMF": lambda: factored(temporal(learned(sets, spectra))),
        "VKF-Oracle": lambda: kalman_oracle,
    }
    if (file := out / "mixit.pt").exists():
        made["MixIT"] = lambda: mask_network(file)
    if srnn := trained(runs, "SRNN"):
        made["DVAE-init"] = lambda: dvae_start(srnn)
        made["VKF-DVAE-init"] = lambda: kalman_start(srnn)
    if deep := trained(runs, "DeepAR"):
        made["Deep AR"] = lambda: posterior(deep, "own")
    if srnn:
        made["MixDVAE"] = lambda: posterior(srnn, "own", _published(steps=4))
        made["MixDVAE encoder"] = lambda: posterior(srnn, "own", _published(steps=0))
    made["default"] = lambda: posterior(SOURCES, "add")
    for name in architectures(runs):
        for share in ("own", "add"):
            made[f"{share} {name}"] = _grid(runs, name, share)
    return made


def _published(steps: int) -> Any:
    """Start at what each source makes of the mixture; E-Z by gradients, or by the encoder alone."""
    from inference.tasks.separation import Ownership, SeparationSettings

    return SeparationSettings(start="mixture", own=Ownership(iterations=30, steps=steps))


def _grid(runs: Path, architecture: str, share: str) -> Callable[[], Row]:
    pair = trained(runs, architecture)
    assert pair is not None
    return lambda: posterior(pair, share)


def _inverted(sources: Tensor, mixture: Tensor) -> Estimates:
    """Turn bins (2, M, T, F) into sounds."""
    return Estimates(_STFT.invert(sources, mixture.shape[-1]).transpose(0, 1))
