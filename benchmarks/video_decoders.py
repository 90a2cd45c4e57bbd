"""What a small decoder can draw, and how soon: layers before its first maps, or more channels.

::

    python -m benchmarks.video_decoders ../shared/data/mnist --seconds 45

A `ConvDecoder` is told places and shapes (40 principal components) of two halved digits, and paints
them at 32 x 32; PSNR of frames with digits it has not met. Each has as many CPU seconds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from inference.randomness import seeded
from inference.schedules import cosine
from inference.training import Muon
from ppl_models.data import mnist
from ppl_models.networks import ConvDecoder

SIDE, SMALL, SHAPES, BATCH, RATE = 32, 14, 40, 240, 5e-3
CODE = 2 * (SHAPES + 2)
DECODERS: dict[str, dict[str, object]] = {
    "width 8": {"width": 8},
    "width 16": {"width": 16},
    "width 8, layers 128": {"width": 8, "hidden_dims": (128,)},
    "width 8, layers 128, 128, 128": {"width": 8, "hidden_dims": (128, 128, 128)},
}


def main() -> None:
    """Train each decoder in turn, and print what it reaches."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mnist", type=Path, help="mnist.npz, or a folder with it")
    parser.add_argument("--seconds", type=float, default=45.0, help="CPU seconds of a decoder")
    given = parser.parse_args()
    torch.set_num_threads(1)
    images = mnist(given.mnist).train_images[:30_000].float().reshape(-1, 1, 28, 28)
    small = torch.nn.functional.interpolate(images / images.max(), size=SMALL, mode="area")[:, 0]
    flat = small.flatten(1)
    _, lengths, axes = torch.linalg.svd(flat[:8000] - flat.mean(0), full_matrices=False)
    shapes = (flat - flat.mean(0)) @ axes[:SHAPES].T / (lengths[:SHAPES] / 8000**0.5)
    print("| decoder | numbers | steps | PSNR, dB |\n|---|---|---|---|")
    for name, options in DECODERS.items():
        with seeded(0):
            decoder = ConvDecoder((1, SIDE, SIDE), CODE, **options)  # type: ignore[arg-type]
            steps = fit(decoder, lambda: frames(small, shapes, 0, 29_000), given.seconds)
            code, truth = frames(small, shapes, 29_000, 30_000, 1000)
        with torch.no_grad():
            error = (decoder(code).sigmoid() - truth).square().mean(-1)
        numbers = sum(part.numel() for part in decoder.parameters())
        print(f"| {name} | {numbers:,} | {steps} | {-10 * error.log10().mean():.2f} |", flush=True)


def frames(
    small: Tensor, shapes: Tensor, low: int, high: int, size: int = BATCH
) -> tuple[Tensor, Tensor]:
    """Draw codes (B, 84) of two digits and their frames (B, 1024)."""
    codes, canvas = [], torch.zeros(size, SIDE, SIDE)
    for _ in range(2):
        which = torch.randint(low, high, (size,))
        places = torch.randint(0, SIDE - SMALL + 1, (size, 2))
        rows, columns = (places[:, [axis]] + torch.arange(SMALL) for axis in (0, 1))
        at = torch.arange(size)[:, None, None], rows[:, :, None], columns[:, None]
        canvas.index_put_(at, small[which], accumulate=True)
        codes += [shapes[which], (places - (SIDE - SMALL) / 2) / 5.4]
    return torch.cat(codes, 1), canvas.clamp(max=1).flatten(1)


def fit(decoder: ConvDecoder, draw: Callable[[], tuple[Tensor, Tensor]], seconds: float) -> int:
    """Fit a decoder for so many CPU seconds, those of the data apart; return its steps."""
    optimizer, spent, steps = Muon(decoder.parameters(), lr=RATE), 0.0, 0
    rate = cosine(1000, RATE, warmup=50)
    while spent < seconds:
        code, truth = draw()
        start = time.process_time()
        optimizer.param_groups[0]["lr"] = max(rate(int(1000 * spent / seconds)), 1e-5)
        optimizer.zero_grad()
        (decoder(code).sigmoid() - truth).square().sum(-1).mean().backward()
        optimizer.step()
        spent += time.process_time() - start
        steps += 1
    return steps


if __name__ == "__main__":
    main()
