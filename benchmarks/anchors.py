"""The exact anchors of the sequence wing: how exact, and what the exact sums cost.

Run ``python -m benchmarks.anchors`` (a minute on a busy core); with ``--dkf``, a dynamical VAE is
trained and held against its exact evidence instead (`benchmarks.linear_dkf`; another half minute).

Differences are the largest of all numbers compared, in double precision: nats a path of an
evidence, probabilities of posteriors, units of moments. Rivals take turns in one process and one
thread, as in `benchmarks.overhead`; a step is the evidence of a batch, and its gradient.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from benchmarks import linear_dkf
from benchmarks.overhead import Work, race, table
from guides.hmm import HMMGuide
from guides.lds import LDSGuide
from guides.slds import SLDSGuide
from inference import Objective
from ppl_models.hmm import HMM
from ppl_models.lds import LDS
from ppl_models.slds import SLDS

Rows = Iterator[tuple[str, float]]


def off(a: Tensor, b: Tensor) -> float:
    """The largest difference."""
    return (a - b).abs().max().item()


def scattered(model: Any, std: float = 0.7) -> Any:
    """The model in double precision, no two of its numbers alike."""
    for parameter in model.double().parameters():
        nn.init.normal_(parameter, std=std)
    return model


def bound(model: nn.Module, guide: nn.Module, s: Tensor) -> Tensor:
    """The bound of one draw of the guide, summed."""
    with torch.enable_grad():  # Pyro's sums over enumerated sites are made to be differentiated
        return -len(s) * Objective().loss(model, guide, (s,))


# --- exactness ------------------------------------------------------------------------------------


@torch.no_grad()
def hmm_by_hand() -> Rows:
    """All paths of four states in six frames, 4,096 of them."""
    model = scattered(HMM(3, 4))
    s = model(size=8, length=6)
    paths = torch.cartesian_prod(*[torch.arange(4)] * 6)
    said = model.observation(model.emission).log_prob(s[:, :, None])  # (B, T, K)
    initial, step = model.initial_logits.log_softmax(-1), model.transition_logits.log_softmax(-1)
    scores = initial[paths[:, 0]] + step[paths[:, :-1], paths[:, 1:]].sum(-1)
    scores = scores + said[:, torch.arange(6), paths].sum(-1)  # (B, K^T)
    evidence, states = scores.logsumexp(-1), nn.functional.one_hot(paths, 4).double()
    smoothed = torch.einsum("bp,ptk->btk", scores.softmax(-1), states)
    yield "HMM evidence, all paths", off(model.log_evidence(s), evidence)
    yield "HMM smoother, all paths", off(model.smooth(s), smoothed)
    wrong = (model.viterbi(s) != paths[scores.argmax(-1)]).double().mean().item()
    yield "HMM Viterbi, share of states that differ", wrong
    forms: tuple[Literal["scan", "enumerated"], ...] = "scan", "enumerated"
    for form in forms:
        model.form = form
        difference = abs(bound(model, HMMGuide(model), s) - evidence.sum()).item()
        yield f"HMM bound, {form}, all paths", difference


@torch.no_grad()
def hmm_and_hmmlearn() -> Rows:
    from hmmlearn.hmm import GaussianHMM

    model = scattered(HMM(3, 5))
    s, distribution = model(size=1, length=500), model.observation(model.emission)
    theirs = GaussianHMM(5, "diag")
    theirs.startprob_ = model.initial_logits.softmax(-1).numpy()
    theirs.transmat_ = model.transition_logits.softmax(-1).numpy()
    theirs.means_, theirs.covars_ = distribution.mean.numpy(), distribution.variance.numpy()
    score, posterior = theirs.score_samples(s[0].numpy())
    yield "HMM evidence, hmmlearn, T 500", abs(model.log_evidence(s).item() - score)
    yield "HMM smoother, hmmlearn, T 500", off(model.smooth(s)[0], torch.from_numpy(posterior))


@torch.no_grad()
def lds_and_dense() -> Rows:
    """One Gaussian of all frames: z = W z + push + noise, s = C z + d + noise."""
    model, length = scattered(LDS(4, 3), 0.5), 20
    s, p = model(size=8, length=length), model.dynamics()
    before = torch.eye(length).double().roll(1, 0).tril(-1)
    still = torch.eye(3 * length).double() - torch.kron(before, p.transition[0])
    noise = torch.block_diag(p.initial_cov, *[p.process_cov[0]] * (length - 1))
    push = torch.cat([p.initial_mean, p.transition_offset[0].repeat(length - 1)])
    z_mean = torch.linalg.solve(still, push)
    z_cov = torch.linalg.solve(still, torch.linalg.solve(still, noise).T)
    emission = torch.block_diag(*[p.emission[0]] * length)
    s_mean = emission @ z_mean + p.emission_offset[0].repeat(length)
    s_cov = emission @ z_cov @ emission.T + p.noise_variance[0].repeat(length).diag()
    evidence = MultivariateNormal(s_mean, s_cov).log_prob(s.flatten(1))
    gain = torch.linalg.solve(s_cov, emission @ z_cov).T
    smoothed = z_mean + (s.flatten(1) - s_mean) @ gain.T
    yield "LDS evidence, dense Gaussian", off(model.log_evidence(s), evidence)
    yield "LDS smoother's mean, dense Gaussian", off(model.smooth(s).mean.flatten(1), smoothed)
    yield "LDS evidence, Pyro's GaussianHMM", off(gaussian_hmm(model, length).log_prob(s), evidence)
    model.form = "joint"
    difference = abs(bound(model, LDSGuide(model), s) - evidence.sum()).item()
    yield "LDS bound of one draw of z, dense Gaussian", difference


@torch.no_grad()
def slds_by_hand() -> Rows:
    model = scattered(SLDS(3, 2, 3))
    s = model(size=200, length=7)
    k, scores = model.joint(s)
    evidence, exact = scores.logsumexp(0), scores.log_softmax(0)
    model.form = "enumerated"
    yield (
        "SLDS bound, enumerated, 2,187 filters",
        off(bound(model, SLDSGuide(model), s), evidence.sum()),
    )
    model.form = "sampled"
    q = SLDSGuide(model).regimes(s).log_prob(k[:, None])
    yield (
        "SLDS, KL(Kim's regimes || exact), nats a path",
        ((q.exp() * (q - exact)).sum(0).mean().item()),
    )
    entropy = -(exact.exp() * exact).sum(0).mean().item()
    yield "  where the exact regimes have entropy", entropy
    for particles in (10, 100, 1000):
        ratio = (model.log_evidence(s, num_particles=particles) - evidence).exp()
        name = f"SLDS evidence, {particles} particles, deviation of ratio"
        yield name, (ratio - 1).square().mean().sqrt().item()


def gaussian_hmm(model: LDS, length: int) -> dist.GaussianHMM:
    """The same model as Pyro has it, with a step before the first frame: to N(m, P)."""
    p, size = model.dynamics(), model.latent_dim
    zeros = torch.zeros_like(p.initial_cov)
    steps = p.transition.mT.expand(length - 1, size, size)
    offsets = p.transition_offset.expand(length - 1, size)
    covs = p.process_cov.expand(length - 1, size, size)
    return dist.GaussianHMM(
        dist.MultivariateNormal(zeros[0], zeros + torch.eye(size, dtype=zeros.dtype)),
        torch.cat([zeros[None], steps]),
        dist.MultivariateNormal(
            torch.cat([p.initial_mean[None], offsets]), torch.cat([p.initial_cov[None], covs])
        ),
        p.emission.mT,
        dist.MultivariateNormal(p.emission_offset, p.noise_variance.diag_embed()),
    )


# --- speed ----------------------------------------------------------------------------------------


def step(loss: Callable[[], Tensor], model: nn.Module) -> Work:
    parameters = list(model.parameters())
    return lambda: torch.autograd.grad(loss(), parameters)


def hmm_speed(length: int, states: int, rounds: int, batch: int) -> None:
    scan = HMM(8, states)
    s = scan(size=batch, length=length).detach()
    enumerated = HMM(8, states, form="enumerated")
    rivals = {
        "parallel scan (form='scan')": step(lambda: -bound(scan, HMMGuide(scan), s), scan),
        "forward algorithm, a loop": step(lambda: scan.log_evidence(s).sum(), scan),
        "TraceEnum_ELBO (form='enumerated')": step(
            lambda: -bound(enumerated, HMMGuide(enumerated), s), enumerated
        ),
    }
    title = f"HMM, K {states}, T {length}, batch {batch}: evidence and gradient"
    table(title, race(rivals, rounds), next(iter(rivals)))


def lds_speed(length: int, rounds: int, batch: int) -> None:
    model = LDS(8, 4)
    s = model(size=batch, length=length).detach()
    mask = torch.ones(s.shape[:2], dtype=torch.bool)
    rivals = {
        "Kalman filter (form='exact')": step(lambda: model.log_evidence(s).sum(), model),
        "the same, ragged (a mask)": step(lambda: model.log_evidence(s, mask).sum(), model),
        "Pyro's GaussianHMM": step(lambda: gaussian_hmm(model, length).log_prob(s).sum(), model),
    }
    title = f"LDS, L 4, D 8, T {length}, batch {batch}: evidence and gradient"
    table(title, race(rivals, rounds), next(iter(rivals)))


EXACTNESS = (hmm_by_hand, hmm_and_hmmlearn, lds_and_dense, slds_by_hand)
"""Sections of the first table: each yields (what, how far off). A model's own goes here."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--dkf", action="store_true", help="train a linear DKF, and nothing else")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if options.dkf:
        linear_dkf.show(linear_dkf.compare())
        return
    for section in EXACTNESS:
        print()
        for name, value in section():
            print(f"{name:56s}{value:10.2g}", flush=True)
    pyro.enable_validation(False)
    for length in (60, 300):
        hmm_speed(length, 5, options.rounds, options.batch)
    hmm_speed(60, 50, options.rounds, options.batch)
    for length in (60, 300):
        lds_speed(length, options.rounds, options.batch)


if __name__ == "__main__":
    main()
