"""What declaring a story costs: training steps in Pyro against the same networks in plain torch.

Run ``python -m benchmarks.overhead`` (add ``--rounds 40`` for steadier numbers).

Each step is a whole one: loss, gradient, optimiser. Rivals take turns in one process and one
thread; a figure is the median CPU time over rounds, a ratio the median of the rounds' own ratios,
so that a busy machine slows both sides alike. Validation of arguments is off, as `fit` has it
after its first step.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from statistics import median
from time import process_time
from typing import Any

import pyro
import torch
from pyro.distributions import Normal
from pyro.infer import Trace_ELBO
from torch import Tensor, nn

from guides.dvae import Evidence, SRNNGuide
from guides.vae import VAEGuide
from inference.objectives import Objective
from ppl_models.distributions import normal_kl
from ppl_models.dvae import SRNN, Motion
from ppl_models.sequences import shift
from ppl_models.vae import VAE

Work = Callable[[], object]
Pair = tuple[Any, Any]


def race(rivals: dict[str, Work], rounds: int) -> dict[str, list[float]]:
    """CPU milliseconds of each rival in each round, after one round that is not counted."""
    times: dict[str, list[float]] = {name: [] for name in rivals}
    for lap in range(rounds + 1):
        for name, work in rivals.items():
            began = process_time()
            work()
            if lap:
                times[name].append(1e3 * (process_time() - began))
    return times


def table(title: str, times: dict[str, list[float]], against: str) -> None:
    print(f"\n{title}\n{'':34s}{'ms':>9s}{'ratio':>9s}")
    for name, laps in times.items():
        ratio = median(a / b for a, b in zip(laps, times[against], strict=True))
        print(f"{name:34s}{median(laps):9.2f}{ratio:9.2f}")


def training(loss: Callable[[], Tensor], *modules: nn.Module) -> Work:
    parameters = nn.ModuleList(modules).parameters()  # a shared one once
    optimizer = torch.optim.Adam(parameters, lr=1e-3, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    return step


# --- SRNN -----------------------------------------------------------------------------------------


def srnn_pair(smooth: bool = False) -> tuple[SRNN, SRNNGuide]:
    torch.manual_seed(0)
    story = SRNN(likelihood=Motion(increments=smooth, inertia=smooth))
    return story, SRNNGuide(story, smooth=smooth)


def plain_srnn(s: Tensor, analytic: bool) -> Work:
    """The same networks and the same estimate of the bound, with nothing of Pyro's."""
    story, guide = srnn_pair()

    def loss() -> Tensor:
        h = story.recurrence.cell(story.reader(shift(s)))[0]
        encoder, noise = guide.encoder, torch.randn(*s.shape[:-1], 4).unbind(1)
        z, steps = torch.zeros(len(s), 4), []
        frames = encoder.project(torch.cat([h, s], -1)).unbind(1)
        for projected, e in zip(frames, noise, strict=True):
            mean, scale = encoder.step(projected, z)
            z = mean + scale * e
            steps.append((z, mean, scale))
        z, mean, scale = (torch.stack(part, 1) for part in zip(*steps, strict=True))
        p = story.prior(h, shift(z))
        if analytic:
            kl = normal_kl((mean, scale), p).sum()
        else:
            kl = log_normal(z, mean, scale) - log_normal(z, *p)
        return (kl - log_normal(s, *story.emission(h, z))) / len(s)

    return training(loss, story, guide)


def log_normal(x: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    z = (x - mean) / scale
    return -(0.5 * z * z + scale.log()).sum() - 0.9189385332046727 * x.numel()


def sequence_srnn(s: Tensor, kind: str) -> Work:
    story, guide = srnn_pair()
    objective = Objective(kind=kind)  # type: ignore[arg-type]
    return training(lambda: objective.loss(story, guide, (s,)), story, guide)


def frame_srnn(s: Tensor) -> Work:
    """One pair of sites a frame, as tutorials write it."""
    story, guide = srnn_pair()

    def frames() -> Iterator[tuple[int, Tensor, Tensor]]:
        state, x = story.recurrence.start((len(s),), s), torch.zeros_like(s[:, 0])
        for t in range(s.shape[1]):
            state = story.recurrence.step(story.reader(x), state)
            x = s[:, t]
            yield t, state[0], x

    def model() -> None:
        z = torch.zeros(len(s), 4)
        with pyro.plate("data", len(s), dim=-1):
            for t, h, x in frames():
                z = pyro.sample(f"z_{t}", Normal(*story.prior(h, z)).to_event(1))
                pyro.sample(f"s_{t}", Normal(*story.emission(h, z)).to_event(1), obs=x)

    def look_back() -> None:
        z = torch.zeros(len(s), 4)
        with pyro.plate("data", len(s), dim=-1):
            for t, h, x in frames():
                moments = guide.encoder(torch.cat([h, x], -1), z)
                z = pyro.sample(f"z_{t}", Normal(*moments).to_event(1))

    elbo = Trace_ELBO()
    return training(lambda: elbo.differentiable_loss(model, look_back) / len(s), story, guide)


# --- VAE ------------------------------------------------------------------------------------------


def vae_pair() -> Pair:
    torch.manual_seed(0)
    return VAE(784, 50, hidden_dim=400, likelihood="bernoulli"), VAEGuide(784, 50, hidden_dim=400)


def plain_vae(x: Tensor) -> Work:
    story, guide = vae_pair()

    def loss() -> Tensor:
        mean, log_scale = guide.encoder(x).chunk(2, -1)
        scale = log_scale.exp()
        z = mean + scale * torch.randn_like(mean)
        rate = 0.5 * (mean * mean + scale * scale - 1 - 2 * log_scale).sum()
        logits = story.decoder(z)
        data = nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="sum")
        return (data + rate) / len(x)

    return training(loss, story, guide)


def pyro_vae(pair: Pair, data: tuple[Tensor, ...], kind: str) -> Work:
    objective = Objective(kind=kind)  # type: ignore[arg-type]
    return training(lambda: objective.loss(*pair, data), *pair)


# --- the E-S step ---------------------------------------------------------------------------------


def plain_recursions(s: Tensor) -> Work:
    """One encoder and one decoder recursion over T frames: the floor of a VEM iteration."""
    story, guide = srnn_pair()

    @torch.no_grad()
    def run() -> Tensor:
        h = story.recurrence.cell(story.reader(shift(s)))[0]
        encoder, noise = guide.encoder, torch.randn(*s.shape[:-1], 4).unbind(1)
        z, zs = torch.zeros(len(s), 4), []
        frames = encoder.project(torch.cat([h, s], -1)).unbind(1)
        for projected, e in zip(frames, noise, strict=True):
            mean, scale = encoder.step(projected, z)
            z = mean + scale * e
            zs.append(z)
        state, x, out = story.recurrence.start((len(s),), s), torch.zeros_like(s[:, 0]), []
        for z in zs:
            state = story.recurrence.step(story.reader(x), state)
            x, scale = story.emission(state[0], z)
            out.append(x)
        return torch.stack(out, 1)

    return run


def es_step(s: Tensor, smooth: bool) -> Work:
    _, guide = srnn_pair(smooth)
    evidence = Evidence(torch.full_like(s, 100.0), 100.0 * s)
    return lambda: guide.source_posterior(evidence, s)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--batch", type=int, default=128)
    options = parser.parse_args()
    torch.set_num_threads(1)
    pyro.enable_validation(False)
    s = torch.randn(options.batch, 60, 4)
    for kind, analytic in (("trace", False), ("meanfield", True)):
        rivals = {"plain torch": plain_srnn(s, analytic)}
        rivals["one site a sequence"] = sequence_srnn(s, kind)
        if kind == "trace":
            rivals["one site a frame"] = frame_srnn(s)
        title = f"SRNN, paper's sizes, batch {options.batch}, T 60, {kind} bound"
        table(title, race(rivals, options.rounds), "plain torch")
    x = torch.rand(128, 784).round()
    rivals = {"plain torch": plain_vae(x), "VAE": pyro_vae(vae_pair(), (x,), "meanfield")}
    rivals["VAE, sampled KL"] = pyro_vae(vae_pair(), (x,), "trace")
    table("VAE 784-400-50, batch 128", race(rivals, options.rounds), "plain torch")
    for size in (3, 96):
        s = torch.randn(size, 60, 4)
        rivals = {
            "the two recursions, plain torch": plain_recursions(s),
            "E-S step": es_step(s, False),
        }
        rivals["E-S step, smoothing"] = es_step(s, True)
        table(f"E-S step, {size} sources, T 60", race(rivals, options.rounds), next(iter(rivals)))


if __name__ == "__main__":
    main()
