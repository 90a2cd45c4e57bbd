"""MixIT: a network of masks that learns to separate from sums of mixtures alone.

``python -m benchmarks.mixit ../shared/data --out runs/mixit`` trains it, at most ``--minutes`` of
process time in all; the same command goes on where it was stopped.

Two mixtures of a voice and a flute are added up, the network splits the sum into four sounds, and
the loss gives each of these to one of the two mixtures, in the best of the 16 ways. The network: a
dense layer that reads log powers, two bidirectional LSTM layers, and masks that sum to 1 in each
bin. Nothing says which of its sounds is speech: where a mixture is separated, each sound goes to
the source it is nearest to, in the best of the 16 ways too (so the row knows more than others do).

Source: S. Wisdom et al., "Unsupervised sound separation using mixture invariant training", NeurIPS
2020, arXiv:2006.12701, equations 1 to 4 (loss, threshold of 30 dB); its own network is larger.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.sound_sets import RATIOS, SoundSets
from inference.randomness import derive, seeded
from ppl_models.data import STFT, melodies, mix, stretches

OUTPUTS, FRAMES, BATCH, STEPS, RATE = 4, 64, 8, 1500, 1e-3
MOST = 1e-3
"""Of the power of a mixture: what is softer is no longer an error (30 dB)."""
_WAYS = torch.tensor(list(product((0.0, 1.0), repeat=OUTPUTS)))


class MaskNetwork(nn.Module):
    """Masks (B, T, 4, F) of powers (B, T, F), from their logs less the sound's mean log."""

    def __init__(self, bins: int, hidden_dim: int = 192) -> None:
        super().__init__()
        self.reader = nn.Linear(bins, hidden_dim)
        self.memory = nn.LSTM(hidden_dim, hidden_dim // 2, 2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * hidden_dim, OUTPUTS * bins)

    def forward(self, powers: Tensor) -> Tensor:
        """Read a batch."""
        level = (powers + 1e-7).log()
        read = (self.reader((level - level.mean((1, 2), keepdim=True)) / 3)).tanh()
        seen = torch.cat([read, self.memory(read)[0]], -1)
        return self.head(seen).unflatten(-1, (OUTPUTS, -1)).softmax(-2)


def loss(mixtures: Tensor, sounds: Tensor) -> Tensor:
    """Return the loss (B,) of bins (B, 2, T, F) and (B, 4, T, F): dB of what is not explained.

    10 log10(|x - A s|^2 + 0.001 |x|^2) - 10 log10 |x|^2, summed over both mixtures, in the best
    assignment A.
    """
    x, s = (torch.view_as_real(bins).flatten(2) for bins in (mixtures, sounds))
    ways = _WAYS.to(s)
    shares = torch.stack([ways, 1 - ways], 1)  # (16, 2, 4)
    power = x.square().sum(-1)[:, None]
    # |x - a s|^2 of every way from inner products of x and s alone
    cross = torch.einsum("wms,bms->bwm", shares, x @ s.mT)
    within = torch.einsum("wms,bsu,wmu->bwm", shares, s @ s.mT, shares)
    error = (power - 2 * cross + within).clamp(min=0)
    ratio = (error + MOST * power) / power.clamp(min=1e-12)
    return 10 * ratio.log10().sum(-1).amin(-1)


def example(sets: SoundSets, step: int, count: int = BATCH) -> Tensor:
    """Return bins (count, 2, T, F) of two mixtures each, of training sounds."""
    stft = STFT()
    samples = stft.samples(FRAMES)
    rng = np.random.default_rng(derive(0, "mixit", step))
    said = stretches(sets.speech("train"), samples, 2 * count, seed=derive(1, "mixit", step))
    played = melodies(sets.notes("train"), samples, 2 * count, seed=derive(2, "mixit", step))
    ratios = rng.uniform(min(RATIOS), max(RATIOS), 2 * count)
    waves = torch.stack(
        [mix(s, p, r).mixture for s, p, r in zip(said, played, ratios, strict=True)]
    )
    return stft.analyse(waves).unflatten(0, (count, 2))


def train(sets: SoundSets, file: Path, minutes: float, steps: int = STEPS) -> MaskNetwork:
    """Train, or go on training, until there are so many steps or minutes of process time."""
    with seeded(0):
        network = MaskNetwork(STFT().bins)
    optimizer = torch.optim.Adam(network.parameters(), RATE)
    state: dict[str, Any] = {"step": 0, "seconds": 0.0}
    if file.exists():
        state = torch.load(file, weights_only=True)
        network.load_state_dict(state.pop("network"))
        optimizer.load_state_dict(state.pop("optimizer"))
    began = time.process_time() - state["seconds"]
    for step in range(state["step"], steps):
        share = max(step / steps, (time.process_time() - began) / 60 / minutes)
        if share >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, 4 * (1 - share))  # the last quarter falls to 0
        mixtures = example(sets, step)
        total = mixtures.sum(1)
        sounds = network(total.abs().square()).transpose(1, 2) * total[:, None]
        found = loss(mixtures, sounds).mean()
        optimizer.zero_grad()
        found.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        state = {"step": step + 1, "seconds": time.process_time() - began}
        if (step + 1) % 50 == 0:
            _keep(file, network, optimizer, state)
            told = f"{step + 1:5d} {float(found.detach()):7.2f} dB {state['seconds']:6.0f} s"
            print(told, flush=True)
    _keep(file, network, optimizer, state)
    return network.eval()


@torch.no_grad()
def separated(network: MaskNetwork, mixture: Tensor, parts: Tensor) -> Tensor:
    """Return two sounds (M, 2, N) of mixtures (M, N): the best split of the network's four."""
    stft = STFT()
    bins = stft.analyse(mixture)
    sounds = stft.invert(
        network(bins.abs().square()).transpose(1, 2) * bins[:, None], mixture.shape[-1]
    )
    shares = torch.stack([_WAYS, 1 - _WAYS], 1)
    ways = torch.einsum("wps,bsn->bwpn", shares, sounds)
    best = (ways - parts[:, None]).square().sum((-1, -2)).argmin(1)
    return ways[torch.arange(len(ways)), best]


def _keep(file: Path, network: nn.Module, optimizer: Any, state: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".part")
    whole = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), **state}
    torch.save(whole, partial)
    partial.rename(file)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="the folder of an4/ and flute/")
    parser.add_argument("--out", type=Path, default=Path("runs/separation"))
    parser.add_argument("--minutes", type=float, default=6.0, help="of process time, in all")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    train(SoundSets(chosen.data), chosen.out / "mixit.pt", chosen.minutes)


if __name__ == "__main__":
    main()
