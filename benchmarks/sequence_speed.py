"""Training steps of the dynamical VAEs: against plain torch, a naive loop, and one fused LSTM.

Run ``python -m benchmarks.sequence_speed`` (``--rounds 20`` for steadier numbers, ``--part`` for
one of ``steps``, ``handover``, ``compile``, ``long``). Sizes: 32 pieces of 50 frames of 513 powers,
L = 16, the networks of `benchmarks.speech`; a step is the loss and its gradient. Rivals take turns
in one process and one thread, as in `benchmarks.overhead`; what is printed are medians of the
rounds' own ratios of CPU time.

``long`` measures memory as the bytes that the graph keeps for the way back, and as what a process
of its own grew by at its peak.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from collections.abc import Callable
from statistics import median, quantiles
from time import process_time
from typing import Any

import pyro
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

import guides
import ppl_models
from benchmarks.overhead import Work, race
from benchmarks.rival_parts import Rival
from benchmarks.sequence_rivals import (
    PlainDKF,
    PlainRVAE,
    PlainSRNN,
    PlainSTORN,
    PlainVAE,
    PlainVRNN,
)
from benchmarks.transformer_rival import PlainHiT
from inference import Objective
from inference.randomness import seeded
from ppl_models.likelihoods import ComplexGaussian
from ppl_models.networks import Span

RIVALS: dict[str, Any] = {
    "VAE": PlainVAE,
    "STORN": PlainSTORN,
    "DKF": PlainDKF,
    "RVAE": PlainRVAE,
    "SRNN": PlainSRNN,
    "VRNN": PlainVRNN,
    "HiT": PlainHiT,
}
ZOO = {"VAE": 51, "STORN": 140, "DKF": 168, "RVAE": 267, "SRNN": 220, "VRNN": 414}
"""CPU ms of a step of the public implementations, B = 32, T = 50, one thread of two busy cores."""


SRNN = {"input_dim": 256, "recurrent_dim": 128, "prior_dims": (64, 32), "emission_dims": (256,)}
SRNN_GUIDE = {"hidden_dims": (64, 32), "causal": False, "backward_dim": 128, "input_dim": 256}
STORIES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "VAE": ("FrameVAE", {}, {}),
    "STORN": ("STORN", {}, {}),
    "DKF": ("DKF", {}, {}),
    "RVAE": ("RVAE", {}, {}),
    "SRNN": ("SRNN", SRNN, SRNN_GUIDE),
    "VRNN": ("VRNN", {}, {}),
    "HiT": ("HiTDVAE", {"global_dim": 32}, {}),
    "LigHT": ("LigHTDVAE", {"global_dim": 32}, {}),
}
LATENT = 16


def pair_of(name: str, s: Tensor) -> tuple[Any, Any]:
    """The story and guide of the speech benchmark's sizes, for frames (B, T, D) of any D."""
    story, options, guide_options = STORIES[name]
    likelihood = ComplexGaussian(s.shape[-1]).start_from(s)
    with seeded(0):
        model = getattr(ppl_models, story)(s.shape[-1], LATENT, likelihood=likelihood, **options)
        guide = getattr(guides, f"{story}Guide")(model, **guide_options)
    return model, guide


def rival_of(name: str, pair: tuple[Any, Any], naive: bool = False) -> Rival:
    """The rival with the weights of a pair."""
    story, _ = pair
    option = {"forget": story.forget} if name == "HiT" else {"naive": naive}
    rival: Rival = RIVALS[name](story.likelihood.reader, story.data_dim, LATENT, **option)
    with torch.no_grad():
        for mine, theirs in zip(rival.parameters(), nn.ModuleList(pair).parameters(), strict=True):
            if mine.shape != theirs.shape:
                raise ValueError(f"{name}: {tuple(mine.shape)} stands for {tuple(theirs.shape)}")
            mine.copy_(theirs)
    return rival


def noises(pair: tuple[Any, Any], s: Tensor) -> tuple[Tensor, ...]:
    """The noise of a step, drawn in the order in which the guide draws it: of w, then of z."""
    w = [torch.randn(len(s), pair[0].global_dim)] if pair[0].global_dim else []
    return torch.randn(*s.shape[:2], LATENT), *w


def powers(size: int, length: int, data_dim: int = 513) -> Tensor:
    with seeded(0):
        return torch.empty(size, length, data_dim).exponential_()


def backward(loss: Callable[[], Tensor], *modules: nn.Module) -> Work:
    """A step without its optimiser."""
    whole = nn.ModuleList(modules)

    def step() -> None:
        whole.zero_grad()
        loss().backward()

    return step


def elbo(pair: tuple[Any, Any], s: Tensor) -> Callable[[], Tensor]:
    objective = Objective("meanfield")
    return lambda: objective.loss(*pair, (s,))


def fused(s: Tensor) -> Work:
    """The yardstick: torch's fused LSTM, 256 to 128, over as many frames."""
    net, x = nn.LSTM(256, 128, batch_first=True), torch.randn(*s.shape[:2], 256)
    return backward(lambda: net(x)[0].sum(), net)


# --- a step ---------------------------------------------------------------------------------------


def steps(rounds: int, names: list[str]) -> None:
    s = powers(32, 50)
    work = {"LSTM": fused(s)}
    for name in names:
        pair = pair_of(name, s)
        work[name] = backward(elbo(pair, s), *pair)
        for kind, naive in (("plain", False), ("naive", True)):
            if naive and name == "HiT":
                continue
            rival = rival_of(name, pair, naive)
            work[f"{name} {kind}"] = backward(_loss_of(rival, pair, s), rival)
    times = race(work, rounds)

    def ratio(a: str, b: str) -> str:
        if a not in times or b not in times:
            return f"{'':>14}"
        laps = zip(times[a], times[b], strict=True)
        return f"{median(x / y for x, y in laps):14.2f}"

    heads = (
        "ours / plain",
        "naive / ours",
        "ours / LSTM",
        "zoo / LSTM",
        "plain / LSTM",
        "ours / VAE",
    )
    print("\nA training step, as ratios\n" + f"{'':8}" + "".join(f"{head:>14}" for head in heads))
    for name in names:
        zoo = f"{ZOO[name] / median(times['LSTM']):14.2f}" if name in ZOO else f"{'':>14}"
        print(
            f"{name:8}{ratio(name, name + ' plain')}{ratio(name + ' naive', name)}"
            f"{ratio(name, 'LSTM')}{zoo}{ratio(name + ' plain', 'LSTM')}{ratio(name, 'VAE plain')}"
        )


def _loss_of(rival: Rival, pair: tuple[Any, Any], s: Tensor) -> Callable[[], Tensor]:
    return lambda: rival.loss(s, *noises(pair, s))


# --- what the guide hands over --------------------------------------------------------------------


def handover(rounds: int) -> None:
    """A step whose model computes again what its guide has, over one whose model takes it."""
    s = powers(32, 50)
    print("\nA step without what the guide hands over / with it: median, quartiles")
    for name in ("SRNN", "VRNN"):
        for probability in (0.0, 0.5):
            work: dict[str, Work] = {}
            for kind in ("with", "without"):
                pair = pair_of(name, s)
                pair[0].sampling_probability = probability
                if kind == "without":
                    pair[0].leave = lambda rollout: None
                work[kind] = backward(elbo(pair, s), *pair)
            times = race(work, rounds)
            laps = [b / a for a, b in zip(times["with"], times["without"], strict=True)]
            low, middle, high = quantiles(laps, n=4, method="inclusive")
            print(f"{name}, p = {probability}: {middle:.2f} ({low:.2f} to {high:.2f})", flush=True)


# --- torch.compile --------------------------------------------------------------------------------


PARTS = ["networks", "loop", "bound"]


def compiled(rounds: int, names: list[str], length: int = 10) -> None:
    """Few frames: Dynamo unrolls a loop over frames, and 50 of them compile for minutes."""
    s = powers(32, length)
    story, guide = pair_of("RVAE", s)
    dkf, _ = pair_of("DKF", s)
    z, seen = torch.randn(32, length, LATENT), story.features(s)
    eager: dict[str, Callable[[], Tensor]] = {
        "networks": lambda: -dkf.likelihood(dkf.emission(z)).log_prob(s).sum(),
        "loop": lambda: guide.chain(s, seen, None, None, 1.0).draw(z.shape[:1]).sum(),
        "bound": elbo((story, guide), s),
    }
    print(f"\ntorch.compile, T = {length}: compiled / eager; what compiling costs; graph breaks")
    for name in names:
        plain = backward(eager[name], story, guide, dkf)
        plain()
        torch._dynamo.reset()
        counters = torch._dynamo.utils.counters
        counters.clear()
        began = process_time()
        try:
            fast = backward(torch.compile(eager[name]), story, guide, dkf)
            fast()
        except Exception as error:  # whatever the compiler raises is the finding
            print(f"{name:10} fails: {type(error).__name__}: {str(error).splitlines()[0][:90]}")
            continue
        spent = 1e3 * (process_time() - began)
        times = race({"eager": plain, "compiled": fast}, rounds)
        ratio = median(b / a for a, b in zip(*times.values(), strict=True))
        cost = spent / median(times["eager"])
        print(
            f"{name:10}{ratio:6.2f}{cost:8.0f} steps{sum(counters['graph_break'].values()):4d}",
            flush=True,
        )


# --- long sequences -------------------------------------------------------------------------------

SPANS = {"whole": Span(), "checkpointed": Span(100), "truncated": Span(100, truncated=True)}


def kept_bytes(loss: Callable[[], Tensor], *modules: nn.Module) -> int:
    """Bytes of the tensors that a loss's graph holds, its parameters apart."""
    apart = {p.untyped_storage().data_ptr() for m in modules for p in m.parameters()}
    held: dict[int, Tensor] = {}

    def keep(x: Tensor) -> Tensor:
        held.setdefault(x.untyped_storage().data_ptr(), x)
        return x

    with saved_tensors_hooks(keep, lambda x: x):
        graph = loss()  # keeps what is held alive, so that no address comes twice
    total = sum(x.untyped_storage().nbytes() for at, x in held.items() if at not in apart)
    del graph
    return total


def long(lengths: tuple[int, ...] = (750, 1500, 3000)) -> None:
    print("\nMemory of a step, 2 sequences, in units of the shortest whole one: kept / grown by")
    print(f"{'':24}" + "".join(f"{f'T = {length:,}':>18}" for length in lengths))
    for name in ("RVAE", "SRNN", "LigHT"):
        unit: list[float] = []
        for span in SPANS if name != "LigHT" else ("whole",):
            cells = []
            for length in lengths:
                command = [sys.executable, "-m", "benchmarks.sequence_speed", "--probe"]
                out = subprocess.run(
                    [*command, name, span, str(length)], capture_output=True, text=True, check=True
                )
                found = [float(x) for x in out.stdout.split()]
                unit = unit or found
                cells.append(f"{found[0] / unit[0]:8.2f} /{found[1] / unit[1]:6.2f}")
            print(f"{name + ', ' + span:24}" + "".join(f"{cell:>18}" for cell in cells))


def probe(name: str, span: str, length: int) -> None:
    """Print the bytes kept, and by how much one step makes the process grow at its peak."""
    pair = pair_of(name, powers(2, 60))
    pair[1].span = SPANS[span]
    short, s = powers(2, 60), powers(2, length)
    backward(elbo(pair, short), *pair)()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    backward(elbo(pair, s), *pair)()
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    print(kept_bytes(elbo(pair, s), *pair), grown)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--only", nargs="+", choices=RIVALS, default=list(RIVALS))
    parser.add_argument("--part", choices=("steps", "handover", "compile", "long"))
    parser.add_argument("--compile", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--probe", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    pyro.enable_validation(False)
    if options.probe:
        probe(options.probe[0], options.probe[1], int(options.probe[2]))
        return
    if options.part in (None, "steps"):
        steps(options.rounds, options.only)
    if options.part in (None, "handover"):
        handover(options.rounds)
    if options.part in (None, "compile"):
        compiled(options.rounds, options.compile)
    if options.part in (None, "long"):
        long()


if __name__ == "__main__":
    main()
