"""Posterior collapse, and four remedies, where the truth is known.

Run ``python -m benchmarks.collapse`` (``--part gaussian`` or ``text``, ``--seeds 3``, ``--quick``).

1. Gaussian decoders of a fixed variance gamma (Dai, Wang and Wipf 2020, "The usual suspects?
   Reassessing blame for VAE posterior collapse", section 3). A linear one loses every direction of
   the data whose variance is below gamma, at its best and not for want of training: the rate is the
   sum of log(variance / gamma) / 2 over the others. Learning gamma brings the directions back.
2. Sentences of ten tokens, with a topic z ~ Normal(0, I): x_t ~ softmax((A + B z)[x_{t-1}]), where
   what a topic does to a token depends on the token before. Importance sampling knows the mutual
   information of topics and sentences. The learned decoder sees one token of its past, so codes
   are worth much to it. But they can only be read off pairs of tokens, which a guide is slow to
   learn; meanwhile the decoder learns to do without ("lagging inference", He et al. 2019: a failure
   of the optimiser, the bound is better with codes). What is measured is I_q(x; z) on fresh
   sentences.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from functools import partial
from statistics import mean, stdev
from time import process_time
from typing import Any

import pyro
import torch
from torch import Tensor, nn

from guides.text_vae import TextVAEGuide
from guides.vae import VAEGuide
from inference import Objective, mutual_information, rates
from inference.objectives import FreeBits
from inference.randomness import derive, seeded
from inference.schedules import cosine, cyclical, linear
from inference.training import Aggressive, fit
from ppl_models.text_vae import TextVAE
from ppl_models.vae import VAE

VARIANCES = (4.0, 2.0, 1.0, 0.5, 0.25, 0.1)
COMMON = 0.08  # of a topic, without which no guide would find it
RATE = 0.5  # of plain SGD; the paper's is 1, of larger networks


def whitened(variances: tuple[float, ...] = VARIANCES, size: int = 500) -> Tensor:
    """Data (N, D) whose own covariance has these eigenvalues exactly, in a random rotation."""
    with seeded(1):
        x = torch.randn(size, len(variances), dtype=torch.double)
        turn = torch.linalg.qr(torch.randn(len(variances), len(variances), dtype=torch.double))[0]
    x = x - x.mean(0)
    x = x @ torch.linalg.inv(torch.linalg.cholesky(x.T @ x / size)).T
    return (x * torch.tensor(variances).double().sqrt() @ turn.T).float()


def expected_rate(gamma: float, latent_dim: int) -> tuple[float, int]:
    """Nats a datum of the best linear VAE of noise gamma, and its number of active units."""
    kept = [v for v in VARIANCES[:latent_dim] if v > gamma]
    return sum(0.5 * math.log(v / gamma) for v in kept), len(kept)


def linear_vae(gamma: float | None, latent_dim: int = 4, epochs: int = 200) -> tuple[float, float]:
    """Fit a linear VAE of noise variance gamma (None: learned); return its rate and its gamma."""
    x = whitened()
    with seeded(2):
        model = VAE(
            x.shape[1],
            latent_dim,
            decoder=nn.Linear(latent_dim, x.shape[1]),
            scale=None if gamma is None else math.sqrt(gamma),
        )
        guide = VAEGuide(model, encoder=nn.Linear(x.shape[1], 2 * latent_dim))
    steps = epochs * math.ceil(len(x) / 100)
    fit(
        model,
        guide,
        x,
        objective=Objective("meanfield"),
        epochs=epochs,
        batch_size=100,
        learning_rate=cosine(steps, 0.02),
        progress=False,
    )
    scale = model.observation(torch.zeros(1, latent_dim)).base_dist.scale.detach().flatten()[0]
    return rates(model, guide, x, num_samples=100)["z"].nats, float(scale**2)


def gaussian() -> None:
    print("Linear VAE of four codes, data of variances", *VARIANCES)
    print(f"{'gamma':>8s} {'rate':>8s} {'known':>8s}  directions kept")
    for gamma in (0.2, 0.75, 1.5, 3.0, 6.0):
        rate, _ = linear_vae(gamma)
        known, kept = expected_rate(gamma, 4)
        print(f"{gamma:8.2f} {rate:8.3f} {known:8.3f}  {kept}")
    rate, gamma = linear_vae(None)
    known, kept = expected_rate(sum(VARIANCES[4:]) / 2, 4)
    print(
        f"learned: {gamma:.3f} (known {sum(VARIANCES[4:]) / 2:.3f}), rate {rate:.3f} ({known:.3f})"
    )


@dataclass(frozen=True)
class Sentences:
    """A known language: tables (V + 1, V) and (V + 1, V, 2), by the token before."""

    bigrams: Tensor
    topics: Tensor
    length: int = 10

    @staticmethod
    def random(num_tokens: int = 20, common: float = COMMON, seed: int = 0) -> Sentences:
        """Draw the tables; ``common`` is how much of a topic is the same after every token."""
        with seeded(seed):
            bigrams = 2.0 * torch.randn(num_tokens + 1, num_tokens)
            same = torch.randn(1, num_tokens, 2)
            own = torch.randn(num_tokens + 1, num_tokens, 2)
        return Sentences(bigrams, math.sqrt(common) * same + math.sqrt(1 - common) * own)

    @property
    def num_tokens(self) -> int:
        """V."""
        return self.bigrams.shape[1]

    def draw(self, size: int, seed: int) -> tuple[Tensor, Tensor]:
        """Codes (N, 2) and sentences (N, T)."""
        with seeded(seed):
            z = torch.randn(size, 2)
            said = [torch.full((size,), self.num_tokens)]
            for _ in range(self.length):
                logits = self.bigrams[said[-1]] + (self.topics[said[-1]] @ z.unsqueeze(-1))[..., 0]
                said.append(torch.distributions.Categorical(logits=logits).sample())
        return z, torch.stack(said[1:], -1)

    def log_prob(self, x: Tensor, z: Tensor) -> Tensor:
        """Log p(x | z) of every sentence (N, T) under every code (M, 2): (M, N)."""
        before = torch.cat([torch.full_like(x[:, :1], self.num_tokens), x[:, :-1]], 1)
        tables = self.bigrams + torch.einsum("uvk,mk->muv", self.topics, z)
        return tables.log_softmax(-1)[:, before, x].sum(-1).double()

    def information(self, size: int = 400, draws: int = 4000, seed: int = 5) -> tuple[float, float]:
        """I(x; z) in nats and its error: log p(x) by draws from the prior of codes."""
        z, x = self.draw(size, seed)
        with seeded(derive(seed, "codes")):
            others = torch.randn(draws, 2)
        own = torch.cat([self.log_prob(x[i : i + 1], z[i : i + 1])[0] for i in range(size)])
        density = torch.cat([self.log_prob(x, part) for part in others.split(100)])
        nats = own - (density.logsumexp(0) - math.log(draws))
        return float(nats.mean()), float(nats.std() / math.sqrt(size))


class OneWord(nn.Module):
    """In place of the decoder's LSTM: all that it has of its past is the token before."""

    def __init__(self, input_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.layer = nn.Linear(input_dim, hidden_dim)
        with torch.no_grad():
            self.layer.weight[:, -2:] *= 4.0  # a young decoder listens to its code

    def forward(self, read: Tensor) -> Tensor:
        """From a token and a code (..., T, input_dim) to a state (..., T, hidden_dim)."""
        state: Tensor = self.layer(read).tanh()
        return state


def pair(num_tokens: int, seed: int) -> tuple[TextVAE, TextVAEGuide]:
    """A decoder that sees one token of its past, and a guide that reads the sentence."""
    with seeded(seed):
        model = TextVAE(num_tokens, embedding_dim=16, hidden_dim=48)
        model.register_module("recurrence", OneWord(16 + 2, 48))
        return model, TextVAEGuide(model, hidden_dim=32)


def remedies(steps: int, nats: float) -> dict[str, dict[str, Any]]:
    """What each remedy gives to `fit`, for so many steps and a known information."""
    plain = Objective("meanfield")
    warm = Objective("meanfield", kl_weight=linear(steps // 2))
    return {
        "plain": {"objective": plain},
        "annealing": {"objective": warm},
        "cyclical": {"objective": Objective("meanfield", kl_weight=cyclical(steps // 4, 0.7))},
        "free bits": {"objective": Objective("meanfield", free_bits=FreeBits(nats, per="total"))},
        "aggressive": {
            "objective": plain,
            "updates": Aggressive(most=15, check=7, patience=3, look=15),
        },
    }


@dataclass(frozen=True)
class Result:
    """What one fit came to, in nats a sentence it has not seen; and CPU seconds."""

    information: float
    rate: float
    bound: float
    seconds: float


def train(source: Sentences, how: dict[str, Any], seed: int, epochs: int, size: int) -> Result:
    """Fit a VAE to sentences of the source; judge its last weights."""
    _, x = source.draw(size, derive(seed, "train"))
    _, test = source.draw(1000, derive(seed, "test"))
    model, guide = pair(source.num_tokens, derive(seed, "pair"))
    steps, began = epochs * math.ceil(size / 32), process_time()
    fit(
        model,
        guide,
        x,
        epochs=epochs,
        batch_size=32,
        optimizer=partial(torch.optim.SGD, lr=RATE),
        learning_rate=cosine(steps, RATE),
        clip=5.0,
        seed=seed,
        progress=False,
        **how,
    )
    seconds = process_time() - began
    terms = rates(model, guide, test, num_samples=10)
    found = mutual_information(model, guide, test)
    return Result(found.nats, terms["z"].nats, terms.bound, seconds)


def text(
    seeds: int, only: str | None = None, epochs: int = 32, size: int = 8000
) -> dict[str, list[Result]]:
    """Fit every remedy; print and return what it came to."""
    source = Sentences.random()
    truth, error = source.information()
    print(f"\nSentences: known I(x; z) = {truth:.2f} +- {error:.2f} nats")
    print(f"{'':12s}{'I_q(x; z)':>16s}{'recovered':>12s}{'rate':>8s}{'bound':>16s}{'CPU s':>8s}")
    results: dict[str, list[Result]] = {}
    for name in remedies(100, truth) if only is None else (only,):
        steps = epochs * math.ceil(size / 32)
        results[name] = [
            train(source, remedies(steps, truth)[name], seed, epochs, size) for seed in range(seeds)
        ]
        print(f"{name:12s}{_row(results[name], truth)}", flush=True)
    return results


def _row(found: list[Result], truth: float) -> str:
    nats, bound = _told([r.information for r in found]), _told([r.bound for r in found])
    share = mean(r.information for r in found) / truth
    rate, seconds = mean(r.rate for r in found), mean(r.seconds for r in found)
    return f"{nats:>16s}{share:11.0%} {rate:8.2f}{bound:>16s}{seconds:8.1f}"


def _told(values: list[float]) -> str:
    """Mean and standard error over seeds."""
    if len(values) < 2:
        return f"{values[0]:.2f}"
    return f"{mean(values):.2f} +- {stdev(values) / math.sqrt(len(values)):.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=("gaussian", "text"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one seed")
    parser.add_argument("--only", help="one remedy of the second part")
    options = parser.parse_args()
    torch.set_num_threads(1)
    pyro.enable_validation(False)
    if options.part != "text":
        gaussian()
    if options.part != "gaussian":
        text(1 if options.quick else options.seeds, options.only)


if __name__ == "__main__":
    main()
