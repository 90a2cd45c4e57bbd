"""Every dynamical VAE fitted to its own data: the gap of its guide, and recovery from scratch.

Run ``python -m benchmarks.recovery`` (``--only DKF SRNN``, ``--seed 1``). A model with large random
weights, the truth, generates sequences of 20 frames of 4 numbers, from latents of 2 a frame. Then

* its guide is trained with the truth held still. ``gap`` is what its bound lacks of the truth's
  evidence on sequences not trained on, KL(q(z | s) || p(z | s)); 50, 80 and 95 the share of true
  latents inside their credible interval of that width, by the ranks of simulation-based
  calibration; ``rate`` how many nats the latents are worth.
* another model and guide of the same sizes learn from the truth's sequences alone. ``learned`` is
  their evidence on sequences not trained on, less the truth's; ``timeless`` that of a FrameVAE
  learned alike, which says how much there was to be learned about time.

All in nats a frame; +- is the standard error over 200 sequences. Evidence is by 1,000 particles
(`inference.tasks.particle_filter`), whose ``ess`` is the median over frames. Calibration of some
guides cannot be perfect: what they read is less than what the posterior depends on
(docs/dynamical.md), and all are Gaussian given what they read.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from guides.dvae import (
    DKFGuide,
    DSAEGuide,
    FrameVAEGuide,
    HiTDVAEGuide,
    KVAEGuide,
    LigHTDVAEGuide,
    RVAEGuide,
    SRNNGuide,
    STORNGuide,
    VRNNGuide,
)
from inference import Objective, fit, importance, sbc
from inference.diagnostics import rates
from inference.randomness import derive, seeded
from inference.schedules import cosine
from inference.tasks.particle_filter import particle_filter
from ppl_models.dvae import DKF, DSAE, KVAE, RVAE, SRNN, STORN, VRNN, FrameVAE, HiTDVAE, LigHTDVAE
from ppl_models.likelihoods import Gaussian

D, L, LENGTH = 4, 2, 20
PATHS, HELD_OUT, BATCH, PARTICLES = 2000, 200, 50, 1000
LEVELS = (0.5, 0.8, 0.95)

Pair = tuple[Any, Any]
Make = Callable[[Gaussian], Pair]


def _pair(family: Any, guide: Any, options: Any = None, guide_options: Any = None) -> Make:
    def make(likelihood: Gaussian) -> Pair:
        model = family(D, L, likelihood=likelihood, **(options or {}))
        return model, guide(model, **(guide_options or {}))

    return make


WIDE: dict[str, Any] = {"emission_dims": (32,)}
READER: dict[str, Any] = {"input_dim": 32, "recurrent_dim": 32, "hidden_dims": (32,)}
FEEDING: dict[str, Any] = {"input_dim": 16, "recurrent_dim": 32, **WIDE}
ATTENTIVE: dict[str, Any] = {"global_dim": 2, "dim": 32, "num_layers": 1, "heads": 4, "forget": 0.0}

FAMILY: dict[str, Make] = {
    "FrameVAE": _pair(FrameVAE, FrameVAEGuide, WIDE, {"hidden_dims": (64,)}),
    "DKF": _pair(DKF, DKFGuide, WIDE, READER),
    "RVAE": _pair(
        RVAE, RVAEGuide, {"recurrent_dim": 16}, {"recurrent_dim": 32, "hidden_dims": (32,)}
    ),
    "DSAE": _pair(DSAE, DSAEGuide, {"global_dim": 2, "recurrent_dim": 16, **WIDE}),
    "KVAE": _pair(KVAE, KVAEGuide, {"latent_dim": 3, "num_modes": 2, "hidden_dims": (32,)}),
    "STORN": _pair(STORN, STORNGuide, FEEDING, READER),
    "VRNN": _pair(VRNN, VRNNGuide, FEEDING, {"hidden_dims": (32,)}),
    "SRNN": _pair(
        SRNN,
        SRNNGuide,
        FEEDING | {"prior_dims": (32,)},
        {"hidden_dims": (32,), "causal": False, "backward_dim": 32, "input_dim": 32},
    ),
    "HiTDVAE": _pair(HiTDVAE, HiTDVAEGuide, ATTENTIVE),
    "LigHTDVAE": _pair(LigHTDVAE, LigHTDVAEGuide, ATTENTIVE),
}
GAIN, NOISE = 1.5, 0.7
"""How much larger a truth's weights are than those a model begins with; noise in sd of frames."""


class Row(NamedTuple):
    """What came out, in nats a frame but for the shares (%); errors are standard errors."""

    rate: float
    ess: float
    gap: tuple[float, float]
    inside: dict[str, list[float]]
    learned: tuple[float, float]
    timeless: tuple[float, float]


@torch.no_grad()
def truth_of(name: str, seed: int) -> Pair:
    """Return a model with large random weights, held still, and an untrained guide of it."""
    with seeded(derive(seed, "truth", name)):
        model, guide = FAMILY[name](Gaussian(D))
        for site, weight in model.named_parameters():
            if weight.dim() > 1 and "transition" not in site:  # what moves z would explode
                weight.mul_(GAIN)
        model.likelihood.log_scale.fill_(-3)
        sd = model(size=200, length=LENGTH).std()
        model.likelihood.log_scale.fill_(float(sd.log()) + math.log(NOISE))
    return model.eval().requires_grad_(False), guide


def simulated(model: Any, size: int, seed: int) -> Tensor:
    """Return sequences (size, T, D)."""
    with seeded(seed), torch.no_grad():
        s: Tensor = model(size=size, length=LENGTH)
    return s


def learn(model: Any, guide: Any, s: Tensor, epochs: int, seed: int) -> Pair:
    """Train a pair, or what of it is not held still."""
    steps = epochs * len(s) // BATCH
    run = fit(
        model,
        guide,
        s,
        epochs=epochs,
        batch_size=BATCH,
        objective=Objective("meanfield"),
        learning_rate=cosine(steps, 5e-3, warmup=steps // 50 + 1),
        clip=10.0,
        seed=seed,
        progress=False,
    )
    return run.model.eval(), run.guide.eval()


def evidence(pair: Pair, s: Tensor) -> tuple[Tensor, float]:
    """Return log p(s) (N,) in nats a frame, and the median number of particles that counted."""
    run = particle_filter(pair[0], s, num_particles=PARTICLES)
    return run.log_evidence / LENGTH, float(run.ess.median())


def mean(x: Tensor) -> tuple[float, float]:
    """Return the mean, and its standard error."""
    return float(x.mean()), float(x.std() / len(x) ** 0.5)


def inside(pair: Pair, s: Tensor) -> dict[str, list[float]]:
    """Return by site the share (%) of true latents inside central intervals of each width."""
    ranks, found = sbc(*pair, s, simulations=2000, num_samples=99), {}
    for site in ranks.ranks:
        off = 2 * (ranks.uniform(site) - 0.5).abs()
        found[site] = [100 * float((off < level).double().mean()) for level in LEVELS]
    return found


def recover(name: str, epochs: int, seed: int, size: int = PATHS) -> Row:
    """Train the three pairs of a model, and compare."""
    model, guide = truth_of(name, seed)
    s, new = (simulated(model, n, derive(seed, name, n)) for n in (size, HELD_OUT))
    known = learn(model, guide, s, epochs, seed)
    best, ess = evidence(known, new)
    bound = importance(*known, new, num_samples=50).elbo / LENGTH
    others = []
    for family in (name, "FrameVAE"):
        with seeded(derive(seed, "fresh", family)):
            fresh = FAMILY[family](Gaussian(D))
        others.append(mean(evidence(learn(*fresh, s, epochs, seed), new)[0] - best))
    worth = sum(r.nats for r in rates(*known, new, num_samples=5).rows if r.kind == "rate") / LENGTH
    return Row(worth, ess, mean(best - bound), inside(known, new), *others)


def main() -> None:
    """Print a row a model, as it is done."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=FAMILY, default=list(FAMILY))
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--paths", type=int, default=PATHS, help="to train on")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.paths <= HELD_OUT:
        parser.error(f"--paths: saw {options.paths}, expected more than {HELD_OUT}")
    torch.set_num_threads(1)
    levels = "".join(f"{100 * level:6.0f}" for level in LEVELS)
    head = f"{'model':<10}{'rate':>6}{'ess':>6}{'gap':>16}  site{levels}"
    print(head + f"{'learned':>17}{'timeless':>17}")
    for name in options.only:
        row = recover(name, options.epochs, options.seed, options.paths)
        texts = ["{:7.3f} +- {:.3f}".format(*x) for x in (row.gap, row.learned, row.timeless)]
        first, *rest = [
            f"{site:>4}" + "".join(f"{share:6.1f}" for share in shares)
            for site, shares in row.inside.items()
        ]
        line = f"{name:<10}{row.rate:6.2f}{row.ess:6.0f}{texts[0]:>16}  {first}"
        print(line + f"{texts[1]:>17}{texts[2]:>17}", flush=True)
        for more in rest:
            print(f"{'':<40}{more}", flush=True)


if __name__ == "__main__":
    main()
