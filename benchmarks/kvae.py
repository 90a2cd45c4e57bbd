"""A ball bounces in a box, and eight frames in the middle are hidden: what a Kalman VAE fills in.

Run ``python -m benchmarks.kvae`` (four minutes on a free core). The task is that of Fraccaro et
al., NeurIPS 2017, section 5.1, with smaller pictures (`ppl_models.data.balls`): 20 frames of
16 x 16 bits; frames 7 to 14 are hidden from everyone. A Kalman VAE with one mode (a linear
dynamical system of codes) and one with three are trained alike, and fill in by their smoother, or
by their filter, which sees no frame after the gap. Beside them: the last frame held, the nearer of
the two frames at the ends of the gap, and their mixture by distance in time.

``bits`` are wrong pixels of a filled-in frame (a probability above 1/2 is a one), the ball having
some 12 of its 256; ``squares`` is the squared error of its probabilities; both are means over
frames, with the standard error over paths. ``bound`` is in nats a frame, of unseen paths that are
seen in full.

The recipe is the paper's, in small: process and noise covariances fixed at 0.08 I and 0.03 I, the
modes' weights left alone for the first steps, learning rate 0.007 with decay, clipped gradients,
and the likelihood of frames weighted by 0.3 (``--reconstruction 1`` is the plain bound).
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import torch
from pyro import settings
from torch import Tensor

from guides.dvae import KVAEGuide, impute
from inference.objectives import Objective
from inference.randomness import derive, seeded
from ppl_models.data.balls import bouncing_balls
from ppl_models.dvae import KVAE

HIDDEN = range(6, 14)
LENGTH, PIXELS, PATHS, HELD_OUT, BATCH = 20, 256, 2000, 500, 32
RATE, DECAYS, FACTOR, CLIP = 7e-3, 15, 0.85, 10.0
ALONE = 300  # steps before the modes' weights are learned

Pair = tuple[KVAE, KVAEGuide]


@dataclass
class Score:
    """Mean errors of filled-in frames, with standard errors over paths."""

    bits: float
    bits_se: float
    squares: float
    squares_se: float

    def __str__(self) -> str:
        return (
            f"{self.bits:5.2f} +- {self.bits_se:.2f}   {self.squares:5.2f} +- {self.squares_se:.2f}"
        )


def score(filled: Tensor, s: Tensor) -> Score:
    """Compare the hidden frames of ``filled`` (B, T, D) with those of ``s``."""
    given, truth = filled[:, HIDDEN], s[:, HIDDEN]
    bits = ((given > 0.5) != (truth > 0.5)).sum(-1).float().mean(-1)
    squares = (given - truth).square().sum(-1).mean(-1)
    se = len(s) ** -0.5
    return Score(
        bits.mean().item(),
        bits.std().item() * se,
        squares.mean().item(),
        squares.std().item() * se,
    )


def rivals(s: Tensor) -> dict[str, Tensor]:
    """Fill in the hidden frames of ``s`` (B, T, D) from the two around them, without a model."""
    before, after = HIDDEN[0] - 1, HIDDEN[-1] + 1
    share = (torch.arange(LENGTH) - before)[:, None] / (after - before)
    first, last = s[:, before, None], s[:, after, None]
    filled = {
        "last frame held": first.expand_as(s),
        "nearest frame": torch.where(share < 0.5, first, last),
        "linear mixture": first + share * (last - first),
    }
    return {name: torch.where(visible(s)[..., None], s, other) for name, other in filled.items()}


def visible(s: Tensor) -> Tensor:
    """Return which frames of ``s`` are seen (B, T)."""
    seen = torch.ones(s.shape[:2], dtype=torch.bool)
    seen[:, HIDDEN] = False
    return seen


def train(
    s: Tensor, modes: int, latent_dim: int, steps: int, seed: int, reconstruction: float
) -> Pair:
    """Train a pair on ``s`` (B, T, D); a step is a batch of 32 paths."""
    objective = Objective("trace", kl_weight=1 / reconstruction)
    with seeded(derive(seed, "build", modes)):
        sizes = PIXELS, 2, latent_dim, modes
        model = KVAE(*sizes, hidden_dims=(128,), likelihood="bernoulli")
        guide = KVAEGuide(model, hidden_dims=(128,))
    parameters = [*model.parameters(), *guide.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=RATE)
    decay = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: FACTOR ** (DECAYS * n / steps))
    model.modes.requires_grad_(False)
    for step in range(steps):
        if step == ALONE:
            model.modes.requires_grad_(True)
        with seeded(derive(seed, "step", step)):
            batch = s[torch.randint(len(s), (BATCH,))]
            optimizer.zero_grad()
            (objective.loss(model, guide, (batch,)) * reconstruction / LENGTH).backward()
        torch.nn.utils.clip_grad_norm_(parameters, CLIP)
        optimizer.step()
        decay.step()
    return model, guide


@torch.no_grad()
def bound(pair: Pair, s: Tensor) -> float:
    """Return the bound of held-out paths, in nats a frame."""
    with seeded(0):
        return -Objective("trace").loss(*pair, (s,)).item() / LENGTH


def main() -> None:
    """Train both, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--modes", type=int, nargs="+", default=[1, 3])
    parser.add_argument("--latent", type=int, default=4, help="N, numbers of the hidden state")
    parser.add_argument("--reconstruction", type=float, default=0.3, help="weight of frames")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    s = bouncing_balls(PATHS, length=LENGTH, seed=derive(options.seed, "train")).pictures
    unseen = bouncing_balls(HELD_OUT, length=LENGTH, seed=derive(options.seed, "test")).pictures
    print(f"{'filled in by':<28}{'bits':>14}{'squares':>16}")
    for name, filled in rivals(unseen).items():
        print(f"{name:<28}{score(filled, unseen)}")
    with settings.context(validate_distributions_pyro=False):
        for modes in options.modes:
            start = time.process_time()
            sizes = modes, options.latent, options.steps
            pair = train(s, *sizes, options.seed, options.reconstruction)
            seconds = time.process_time() - start
            for name, smooth in (("filter", False), ("smoother", True)):
                filled = impute(*pair, unseen, visible(unseen), smooth=smooth)
                print(f"{f'KVAE, K = {modes}, {name}':<28}{score(filled, unseen)}")
            print(
                f"    bound {bound(pair, unseen):.2f} nats a frame, {seconds:.0f} cpu-s", flush=True
            )


if __name__ == "__main__":
    main()
