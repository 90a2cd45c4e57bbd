"""What a VEM iteration costs, against one encoder and one decoder recursion in plain torch.

    python -m benchmarks.vem_speed [--rounds 9] [--clips 24] [--frames 60]

The rivals are interleaved; ratios are medians over rounds of process time, one thread. Then: the
bound and accuracy (root mean square error of the centre, in heights) by iteration on simulated
clips, and memory as a clip grows (T frames, N objects, K detections a frame).
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchmarks.calibration import FRAMES, IMAGE, OBJECTS, simulated
from benchmarks.overhead import plain_recursions, race, table
from guides.dvae import Evidence
from inference.tasks.tracking import (
    TrackerSettings,
    coordinate_ascent,
    mixture_of,
    prepare,
    source_pair,
    starts_of,
)
from inference.vem import vem
from ppl_models.dvae import SRNN, Motion

MODEL = TrackerSettings()


def iteration_of(pair: tuple[Any, Any], batch: Any, start: Tensor) -> Callable[[], object]:
    """Return one whole VEM iteration: E-S, E-Z, M and E-W, of all clips."""
    model, guide = pair
    noise = torch.randn(*start.shape[:-1], model.latent_dim, dtype=start.dtype)
    mixture = mixture_of(batch, start, MODEL)

    def run() -> object:
        return vem(
            mixture,
            start,
            lambda precision, weighted, mean: guide.source_posterior(
                Evidence(precision, weighted), mean, noise
            ),
            iterations=1,
        )

    return run


def paper_pair(smooth: bool) -> tuple[Any, Any]:
    """SRNN of the paper's sizes (nothing trained: the cost is the same), in the object frame."""
    from guides.dvae import SRNNGuide

    model = SRNN(likelihood=Motion(increments=True))
    return model, SRNNGuide(model, smooth=smooth)


def speed(clips: int, frames: int, rounds: int) -> None:
    boxes, _ = simulated(clips, 0)
    batch = prepare([one.padded(1, FRAMES) for one in boxes], IMAGE)
    batch = type(batch)(*(x if x.dtype == torch.bool else x.float() for x in batch))
    repeats = -(-frames // FRAMES)
    batch = batch._replace(
        **{
            name: getattr(batch, name).repeat(1, repeats, 1, *([1] * (name != "mask")))[:, :frames]
            for name in ("o", "mask", "size")
        }
    )
    start = starts_of(batch, [frames] * clips, OBJECTS, MODEL)[0].float()
    path = torch.randn(clips * OBJECTS, frames, 4)
    rivals: dict[str, Callable[[], object]] = {
        "the two recursions, plain torch": plain_recursions(path),
        "VEM iteration, SRNN, filtered": iteration_of(paper_pair(False), batch, start),
        "VEM iteration, SRNN, smoothed": iteration_of(paper_pair(True), batch, start),
    }
    for prior in ("srnn", "deepar", "linear"):
        model, guide = source_pair(prior)  # type: ignore[arg-type]
        rivals[f"VEM iteration, {prior}, smoothed"] = iteration_of(
            (model.float(), guide.float()), batch, start
        )
    title = f"{clips} clips of {OBJECTS} objects, T {frames}, SRNN of the paper's sizes"
    table(title, race(rivals, rounds), next(iter(rivals)))


def convergence(clips: int) -> None:
    boxes, truth = simulated(clips, 1)
    batch = prepare([one.padded(1, FRAMES) for one in boxes], IMAGE)
    start = starts_of(batch, [FRAMES] * clips, OBJECTS, MODEL)[0]
    print(f"\n{clips} simulated clips, SRNN: iterations, objective, ELBO (nats a clip), error")
    for iterations in (1, 2, 3, 5, 10, 20, 40):
        end = coordinate_ascent(batch, start, "srnn", replace(MODEL, iterations=iterations))
        nats = f"{float(end.objective[-1].mean()):10.3f} {float(end.elbo.mean()):10.3f}"
        print(f"{iterations:4d} {nats} {_error(end.mean, truth):8.4f}")


def _error(mean: Tensor, truth: list[np.ndarray]) -> float:
    squares = []
    for mine, path in zip(mean.numpy(), truth, strict=True):
        distance = np.linalg.norm(mine[:, None, :, :2] - path[None, :, :, :2], axis=-1)
        nearest = distance.mean(-1).argmin(1)
        height = np.exp(path[nearest][..., 3])
        own = np.linalg.norm(mine[..., :2] - path[nearest][..., :2], axis=-1)
        squares.append(((own / height) ** 2).mean())
    return float(np.sqrt(np.mean(squares)))


def memory() -> None:
    """Print bytes that one iteration allocates, net of what it frees: the peak, near enough."""
    print("\nmemory of a VEM iteration (linear prior), by size of the clip")
    doubled = ((250, 10, 20), (500, 10, 20), (1000, 10, 20), (250, 20, 20), (250, 10, 40))
    for t, n, k in (*doubled, (1000, 20, 40)):
        batch, start = _large(t, n, k)
        run = iteration_of(source_pair("linear"), batch, start)
        gc.collect()
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
            run()
        sizes = [e.self_cpu_memory_usage for e in record.events()]
        peak = max(np.cumsum(sizes))
        cell = peak / (t * n * k)
        print(f"T {t:5d}  N {n:3d}  K {k:3d} {peak / 2**20:8.1f} MiB {cell:7.1f} bytes a cell")


def _large(frames: int, objects: int, places: int) -> tuple[Any, Tensor]:
    rng = np.random.default_rng(0)
    steps = rng.normal(0, 2, (objects, frames, 2))
    centres = rng.uniform((0, 0), IMAGE, (objects, 1, 2)) + steps.cumsum(1)
    paths = np.concatenate([centres, np.broadcast_to(np.log([60.0, 150.0]), centres.shape)], -1)
    of = rng.integers(0, objects, (frames, places))
    boxes = paths[of, np.arange(frames)[:, None]]
    size = np.exp(boxes[..., 2:])
    ltwh = np.concatenate([boxes[..., :2] - size / 2, size], -1)
    return prepare([ltwh], IMAGE), torch.as_tensor(paths)[None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--frames", type=int, default=60)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    speed(options.clips, options.frames, options.rounds)
    speed(1, options.frames, options.rounds)
    convergence(options.clips)
    memory()


if __name__ == "__main__":
    main()
