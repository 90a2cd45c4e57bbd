"""What declaring a model costs: training steps in Pyro against the same networks in plain torch.

Run ``python -m benchmarks.overhead`` (add ``--rounds 40`` for steadier numbers).

Each step is a whole one: loss, gradient, optimiser. Rivals take turns in one process and one
thread; a figure is the median CPU time over rounds, a ratio the median of the rounds' own ratios,
so that a busy machine slows both sides alike. Validation of arguments is off, as `fit` has it
after its first epoch. The tables of `fit` (``--only fit``) hold all that it does: batches, checks
and reports of the bound included.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from itertools import repeat
from statistics import median
from time import process_time
from typing import Any

import pyro
import torch
from pyro.distributions import LogNormal, Normal
from pyro.infer import SVI, Trace_ELBO
from pyro.infer.autoguide import AutoNormal
from torch import Tensor, nn
from torch.nn.functional import linear

from guides.dvae import Evidence, SRNNGuide
from guides.vae import VAEGuide
from inference import Objective, fit
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

    step.loss = loss  # type: ignore[attr-defined]  # for the test that rivals agree
    return step


# --- SRNN -----------------------------------------------------------------------------------------


def srnn_pair(smooth: bool = False) -> tuple[SRNN, SRNNGuide]:
    torch.manual_seed(0)
    model = SRNN(likelihood=Motion(increments=smooth, inertia=smooth))
    return model, SRNNGuide(model, smooth=smooth)


def plain_srnn(s: Tensor, analytic: bool) -> Work:
    """The same networks and the same estimate of the bound, with nothing of Pyro's."""
    model, guide = srnn_pair()

    def loss() -> Tensor:
        h = model.recurrence.cell(model.reader(shift(s)))[0]
        encoder, noise = guide.encoder, torch.randn(*s.shape[:-1], 4).unbind(1)
        z, steps = torch.zeros(len(s), 4), []
        of_z, of_h = guide.encoder.input.weight.split([4, model.recurrence.hidden_dim], 1)
        frames = (encoder.project(s) + linear(h, of_h)).unbind(1)
        for projected, e in zip(frames, noise, strict=True):
            mean, scale = encoder.split(encoder.head(projected + linear(z, of_z)))
            z = mean + scale * e
            steps.append((z, mean, scale))
        z, mean, scale = (torch.stack(part, 1) for part in zip(*steps, strict=True))
        p = model.prior(h, shift(z))
        if analytic:
            kl = normal_kl((mean, scale), p).sum()
        else:
            kl = log_normal(z, mean, scale) - log_normal(z, *p)
        return (kl - log_normal(s, *emitted(model, h, z))) / len(s)

    return training(loss, model, guide)


def emitted(model: SRNN, h: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of frames from the emission, which gives the log variance."""
    mean, log_variance = model.emission(h, z).chunk(2, -1)
    return mean, (0.5 * log_variance).exp()


def log_normal(x: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    z = (x - mean) / scale
    return -(0.5 * z * z + scale.log()).sum() - 0.9189385332046727 * x.numel()


def sequence_srnn(s: Tensor, kind: str) -> Work:
    model, guide = srnn_pair()
    objective = Objective(kind=kind)  # type: ignore[arg-type]
    return training(lambda: objective.loss(model, guide, (s,)), model, guide)


def frame_srnn(s: Tensor) -> Work:
    """One pair of sites a frame, as tutorials write it."""
    model, guide = srnn_pair()

    def frames() -> Iterator[tuple[int, Tensor, Tensor]]:
        state, x = model.recurrence.start((len(s),), s), torch.zeros_like(s[:, 0])
        for t in range(s.shape[1]):
            state = model.recurrence.step(model.reader(x), state)
            x = s[:, t]
            yield t, state[0], x

    def generate() -> None:
        z = torch.zeros(len(s), 4)
        with pyro.plate("data", len(s), dim=-1):
            for t, h, x in frames():
                z = pyro.sample(f"z_{t}", Normal(*model.prior(h, z)).to_event(1))
                pyro.sample(f"s_{t}", Normal(*emitted(model, h, z)).to_event(1), obs=x)

    def infer() -> None:
        z = torch.zeros(len(s), 4)
        with pyro.plate("data", len(s), dim=-1):
            for t, h, x in frames():
                moments = guide.encoder(x, torch.cat([z, h], -1))
                z = pyro.sample(f"z_{t}", Normal(*moments).to_event(1))

    elbo = Trace_ELBO()
    return training(lambda: elbo.differentiable_loss(generate, infer) / len(s), model, guide)


# --- VAE ------------------------------------------------------------------------------------------


def vae_pair() -> Pair:
    torch.manual_seed(0)
    model = VAE(784, 50, hidden_dims=(400,), likelihood="bernoulli")
    return model, VAEGuide(model)


def plain_vae(x: Tensor | Iterator[Tensor]) -> Work:
    """Steps in plain torch on one batch, or on the next of many each time."""
    model, guide = vae_pair()
    batches = repeat(x) if isinstance(x, Tensor) else x

    def loss() -> Tensor:
        x = next(batches)
        mean, log_scale = guide.encoder(x).chunk(2, -1)
        scale = log_scale.exp()
        z = mean + scale * torch.randn_like(mean)
        rate = 0.5 * (mean * mean + scale * scale - 1 - 2 * log_scale).sum()
        logits = model.decoder(z)
        data = nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="sum")
        return (data + rate) / len(x)

    return training(loss, model, guide)


def pyro_vae(pair: Pair, data: tuple[Tensor, ...], kind: str) -> Work:
    objective = Objective(kind=kind)  # type: ignore[arg-type]
    return training(lambda: objective.loss(*pair, data), *pair)


# --- fit ------------------------------------------------------------------------------------------


def race_fit(
    pair: Pair, data: Any, rivals: dict[str, Work], rounds: int, steps: int, **settings: Any
) -> dict[str, list[float]]:
    """CPU milliseconds a step of ``fit``, reports included, and of rivals, in each round.

    A round is an epoch, or as many epochs as make ``steps``. After every tenth step of ``fit`` each
    rival takes ten. The first round, in which ``fit`` lets Pyro validate, is not counted.
    """
    times = {name: [0.0] * (rounds + 1) for name in ("fit", *rivals)}
    began, turn = process_time(), 10

    def on_step(step: int, loss: float) -> None:
        nonlocal began
        if step % turn:
            return
        lap = (step - 1) // steps
        times["fit"][lap] += 1e3 * (process_time() - began) / steps
        for name, work in rivals.items():
            began = process_time()
            for _ in range(turn):
                work()
            times[name][lap] += 1e3 * (process_time() - began) / steps
        began = process_time()

    epochs = (rounds + 1) * steps // -(-len(data[0]) // settings["batch_size"])
    fit(*pair, data, epochs=epochs, on_step=on_step, progress=False, **settings)
    return {name: laps[1:] for name, laps in times.items()}


def unvalidated(work: Work) -> Work:
    def run() -> object:
        with pyro.validation_enabled(False):
            return work()

    return run


def shuffled(x: Tensor, size: int) -> Iterator[Tensor]:
    """Batches of data in a new order each epoch, without end."""
    while True:
        for rows in torch.randperm(len(x)).split(size):
            yield x[rows]


def fit_vae(rounds: int) -> dict[str, list[float]]:
    """MNIST's VAE on 12,800 images: 100 steps an epoch."""
    x = torch.rand(12800, 784).round()
    objective = Objective(kind="meanfield")
    rivals = {
        "plain torch": plain_vae(x[:128]),
        "plain torch, choosing batches": plain_vae(shuffled(x, 128)),
        "a loop of one's own": unvalidated(pyro_vae(vae_pair(), (x[:128],), "meanfield")),
    }
    return race_fit(vae_pair(), (x,), rivals, rounds, 100, batch_size=128, objective=objective)


class Regression(nn.Module):
    """Bayesian linear regression: two global latents, 500 data at once."""

    def forward(self, x: Tensor, y: Tensor | None = None) -> None:
        """Draw weights, the noise's scale, and y (N,) of x (N, D)."""
        weight = pyro.sample("weight", Normal(torch.zeros(x.shape[-1]), 1.0).to_event(1))
        scale = pyro.sample("scale", LogNormal(0.0, 1.0))
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("y", Normal(x @ weight, scale), obs=y)


def fit_regression(rounds: int) -> dict[str, list[float]]:
    x = torch.randn(500, 5)
    data, model = (x, x.sum(-1) + torch.randn(500)), Regression()

    def svi() -> Work:
        own = Regression()
        optimizer = pyro.optim.Adam({"lr": 1e-2})  # type: ignore[attr-defined]
        inference = SVI(own, AutoNormal(own), optimizer, Trace_ELBO())
        return lambda: inference.step(*data)

    rivals = {"SVI": svi(), "SVI, validation off": unvalidated(svi())}
    settings = {"batch_size": 500, "learning_rate": 1e-2}
    return race_fit((model, AutoNormal(model)), data, rivals, rounds, 100, **settings)


# --- the E-S step ---------------------------------------------------------------------------------


def plain_recursions(s: Tensor) -> Work:
    """One encoder and one decoder recursion over T frames: the floor of a VEM iteration."""
    model, guide = srnn_pair()

    @torch.no_grad()
    def run() -> Tensor:
        h = model.recurrence.cell(model.reader(shift(s)))[0]
        encoder, noise = guide.encoder, torch.randn(*s.shape[:-1], 4).unbind(1)
        z, zs = torch.zeros(len(s), 4), []
        of_z, of_h = guide.encoder.input.weight.split([4, model.recurrence.hidden_dim], 1)
        frames = (encoder.project(s) + linear(h, of_h)).unbind(1)
        for projected, e in zip(frames, noise, strict=True):
            mean, scale = encoder.split(encoder.head(projected + linear(z, of_z)))
            z = mean + scale * e
            zs.append(z)
        state, x, out = model.recurrence.start((len(s),), s), torch.zeros_like(s[:, 0]), []
        for z in zs:
            state = model.recurrence.step(model.reader(x), state)
            x, scale = emitted(model, state[0], z)
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
    parser.add_argument("--only", choices=("fit", "losses"), help="one half of the tables")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.only != "losses":
        table("VAE through fit, batch 128", fit_vae(options.rounds), "plain torch")
        title = "AutoNormal through fit, all data at once, against a plain Pyro loop"
        table(title, fit_regression(options.rounds), "SVI")
    if options.only != "fit":
        losses(options)


def losses(options: argparse.Namespace) -> None:
    """Tables of steps in loops of one's own."""
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
