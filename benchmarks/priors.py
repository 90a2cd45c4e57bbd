"""Which prior knows best how people move: SRNN, DeepAR, or constant velocity.

Run ``python -m benchmarks.priors`` (a minute). On walkers that no training has seen:

1. nats a frame of whole paths: bounds for SRNN (one draw, and 50 importance-weighted ones), exact
   for DeepAR and for a random walk of the increments with the training data's variances;
2. paths from simulated detections (noise of 4 % of a box, a quarter of each clip unseen), each
   prior with its own E-S step, started from held detections.
"""

from __future__ import annotations

import argparse
from math import log

import pyro
import torch
from pyro import poutine
from torch import Tensor
from torch.distributions import Normal

from guides.dvae import Evidence, SourcePosterior
from guides.linear_motion import LinearMotionGuide
from inference.randomness import seeded
from inference.tasks.tracking import DETECTION_SCALE, held_out_bound, pretrained
from ppl_models.data.trajectories import walking_trajectories
from ppl_models.linear_motion import LinearMotion


def importance_bound(name: str, s: Tensor, draws: int = 50) -> float:
    """Nats a frame of the importance-weighted bound."""
    model, guide = pretrained(name)
    totals = []
    with torch.no_grad(), seeded(0):
        for part in s.split(100):
            with pyro.plate("draws", draws, dim=-2):
                guided = poutine.trace(guide).get_trace(part)
                scored = poutine.trace(poutine.replay(model, guided)).get_trace(part)
            scored.compute_log_prob()
            guided.compute_log_prob()
            weight = scored.nodes["s"]["log_prob"]
            if "z" in scored.nodes:
                weight = weight + scored.nodes["z"]["log_prob"] - guided.nodes["z"]["log_prob"]
            totals.append(weight.logsumexp(0) - log(draws))
    return (torch.cat(totals).mean() / s.shape[1]).item()


def random_walk_of_increments(train: Tensor, s: Tensor, start: float = 0.5) -> float:
    """Nats a frame of the constant-velocity model, its variances those of the training paths."""
    first, change = train.diff(dim=1)[:, 0], train.diff(dim=1).diff(dim=1)
    steps = s.diff(dim=1)
    total = (
        Normal(0.0, start).log_prob(s[:, 0]).sum()
        + Normal(0.0, first.std(0)).log_prob(steps[:, 0]).sum()
        + Normal(0.0, change.std((0, 1))).log_prob(steps.diff(dim=1)).sum()
    )
    return (total / s.shape[0] / s.shape[1]).item()


def detect(s: Tensor) -> tuple[Evidence, Tensor, Tensor]:
    """Detections with one gap of T/4 a path: evidence, held detections, which frames are seen."""
    size, length = s.shape[:2]
    scale = torch.tensor(DETECTION_SCALE)
    o = s + scale * torch.randn_like(s)
    start = torch.randint(5, length - length // 4, (size, 1))
    t = torch.arange(length)
    seen = (t < start) | (t >= start + length // 4)
    precision = (seen[..., None] / scale**2).expand(s.shape)
    last = torch.where(seen, t, torch.zeros_like(t)).cummax(1).values
    return Evidence(precision, precision * o), o.gather(1, last[..., None].expand(s.shape)), seen


def judge(q: SourcePosterior, s: Tensor, seen: Tensor) -> str:
    """Root mean squared errors of place and log size, and coverage of 95 % intervals."""
    error, width = q.mean - s, 1.96 * q.variance.sqrt()
    cells = []
    for frames in (seen, ~seen):
        e = error[frames]
        cells += [
            f"{e[:, :2].square().mean().sqrt():8.4f}",
            f"{e[:, 2:].square().mean().sqrt():8.4f}",
        ]
        cells.append(f"{100 * (e.abs() < width[frames]).float().mean():7.1f}")
    return " ".join(cells)


def linear(train: Tensor) -> LinearMotion:
    steps, change = train.diff(dim=1), train.diff(dim=1).diff(dim=1)
    return LinearMotion(steps.std((0, 1)).tolist(), change.std((0, 1)).tolist(), decay=(1.0,) * 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--paths", type=int, default=500)
    parser.add_argument("--length", type=int, default=60)
    parser.add_argument("--iterations", type=int, default=8)
    options = parser.parse_args()
    torch.set_num_threads(1)
    pyro.enable_validation(False)
    train = walking_trajectories(4_000, seed=1)
    s = walking_trajectories(options.paths, length=options.length, seed=987_654)
    print("nats a frame of held-out paths")
    for name in ("srnn",):
        bounds = held_out_bound(pretrained(name)), importance_bound(name, s)
        print(f"  {name:16s} {bounds[0]:8.3f}   with 50 draws {bounds[1]:8.3f}")
    for name in ("deepar", "deepar_causal"):
        print(f"  {name:16s} {importance_bound(name, s, 1):8.3f}   (exact)")
    print(f"  {'constant velocity':16s} {random_walk_of_increments(train, s):8.3f}   (exact)")
    with seeded(0):
        evidence, held, seen = detect(s)
        noise = torch.randn(*s.shape[:2], 4)
    print(f"\nE-S step, {options.iterations} iterations; errors in body heights and in log size")
    print(f"{'':28s}{'seen':^25s}{'gap':^25s}")
    print(f"{'':28s}{'   place     size   95 % ' * 2}")
    model = linear(train)
    for name, guide in (
        ("linear, smoothed", LinearMotionGuide(model)),
        ("linear, filtered", LinearMotionGuide(model, causal=True)),
        *((name, pretrained(name)[1]) for name in ("srnn", "deepar", "deepar_causal")),
    ):
        mean = held
        for _ in range(options.iterations):
            q = guide.source_posterior(evidence, mean, noise)
            mean = q.mean
        print(f"{name:28s}{judge(q, s, seen)}")


if __name__ == "__main__":
    main()
