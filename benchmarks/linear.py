"""A linear VAE is probabilistic PCA: how near its bound comes to the exact evidence.

Run ``python -m benchmarks.linear`` (two minutes on a busy core). On scikit-learn's
digits, 1,500 to learn from and 297 held out, with ``fit``:

* ``PPCA``, full guide: the guide's family holds the posterior whatever W;
* ``PPCA``, diagonal guide, and ``VAE(decoder=nn.Linear)`` with ``VAEGuide(encoder=nn.Linear)``: it
  does only where the columns of W are orthogonal, and training turns W so.

``gap`` is what the bound loses to the exact evidence of the same weights (the mean, and the worst
datum), ``regret`` what these weights lose to the maximum of likelihood, both in nats a held-out
digit; ``angle`` the largest between the spans of W and of PCA, in radians; ``columns`` the largest
cosine between two columns of W.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import pyro
import torch
from pyro import poutine
from torch import Tensor, nn

from guides.ppca import PPCAGuide
from guides.vae import VAEGuide
from inference import fit
from inference.metrics.linear import principal_angles
from inference.randomness import derive, seeded
from inference.schedules import cosine
from ppl_models.ppca import PPCA
from ppl_models.vae import VAE

EPOCHS, BATCH = 200, 100


@dataclass
class Result:
    """The columns of the table."""

    gap: float
    worst: float
    regret: float
    angle: float
    columns: float


@dataclass
class Trained:
    """A pair, and the same model as a PPCA, whose evidence is known."""

    model: nn.Module
    guide: nn.Module
    ppca: PPCA

    @torch.no_grad()
    def judge(self, x: Tensor, exact: PPCA) -> Result:
        """Compare with the exact evidence on ``x``, and with the best model there is."""
        evidence = self.ppca.evidence(x)
        gap = evidence - expected_bound(self.model, self.guide, x)
        lengths = nn.functional.normalize(self.ppca.weight, dim=0)
        cosines = (lengths.T @ lengths).fill_diagonal_(0).abs().max().item()
        return Result(
            gap.mean().item(),
            gap.max().item(),
            (exact.evidence(x) - evidence).mean().item(),
            principal_angles(self.ppca.weight, exact.weight).max().item(),
            cosines,
        )


def expected_bound(model: nn.Module, guide: nn.Module, x: Tensor, draws: int = 400) -> Tensor:
    """The bound of each datum (N,), its expectation taken over draws that come in pairs.

    The integrand is quadratic in z, so a draw and its mirror image cancel what is odd.
    """
    with seeded(0):
        q = poutine.trace(guide).get_trace(x).nodes["z"]["fn"]
        z = q.sample((draws,))
        both = torch.cat([z, 2 * q.mean - z])
    total = q.log_prob(both)
    with pyro.plate("draws", 2 * draws, dim=-2):
        joint = poutine.trace(poutine.condition(model, {"z": both})).get_trace(x)
    joint.compute_log_prob()
    return (joint.nodes["z"]["log_prob"] + joint.nodes["x"]["log_prob"] - total).mean(0)


def train(model: nn.Module, guide: nn.Module, x: Tensor, seed: int) -> None:
    steps = EPOCHS * -(-len(x) // BATCH)
    fit(
        model,
        guide,
        x,
        epochs=EPOCHS,
        batch_size=BATCH,
        learning_rate=cosine(steps, start=0.03),
        seed=seed,
        progress=False,
    )


def ppca(x: Tensor, latent_dim: int, covariance: str, seed: int) -> Trained:
    data_dim = x.shape[1]
    with seeded(derive(seed, "start")):
        ppca = PPCA(data_dim, latent_dim)
        guide = PPCAGuide(ppca, covariance=covariance)
    train(ppca, guide, x, seed)
    return Trained(ppca, guide, ppca)


def linear_vae(x: Tensor, latent_dim: int, seed: int) -> Trained:
    data_dim = x.shape[1]
    with seeded(derive(seed, "start")):
        decoder, encoder = nn.Linear(latent_dim, data_dim), nn.Linear(data_dim, 2 * latent_dim)
        model = VAE(data_dim, latent_dim, decoder=decoder)
        guide = VAEGuide(model, encoder=encoder)
    train(model, guide, x, seed)
    return Trained(model, guide, as_ppca(model, x))


@torch.no_grad()
def as_ppca(model: VAE, x: Tensor) -> PPCA:
    """The same model, read off a VAE with a linear decoder."""
    ppca = PPCA(model.data_dim, model.latent_dim)
    zeros = torch.zeros(1, model.latent_dim)
    ppca.mean.copy_(model.observation(zeros).mean[0])
    ppca.weight.copy_((model.observation(torch.eye(model.latent_dim)).mean - ppca.mean).T)
    ppca.log_scale.copy_(model.observation(zeros).stddev[0, 0].log())
    return ppca


def main() -> None:
    from sklearn.datasets import load_digits

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--latents", type=int, nargs="+", default=[4])
    options = parser.parse_args()
    torch.set_num_threads(1)
    pyro.enable_validation(False)
    with seeded(0):
        x = torch.tensor(load_digits().data / 16, dtype=torch.float32)[torch.randperm(1797)]
    x = x - x[:1500].mean(0)  # or the biases take long to find it
    print("                              gap     worst    regret    angle  columns  seconds")
    for latents in options.latents:
        exact = PPCA(64, latents).fit_exact(x[:1500])
        for name, make in (
            ("PPCA, full guide", lambda seed, n=latents: ppca(x[:1500], n, "full", seed)),
            ("PPCA, diagonal", lambda seed, n=latents: ppca(x[:1500], n, "diagonal", seed)),
            ("linear VAE", lambda seed, n=latents: linear_vae(x[:1500], n, seed)),
        ):
            for seed in range(options.seeds):
                start = time.perf_counter()
                r = make(seed).judge(x[1500:], exact)
                row = f"{r.gap:9.5f} {r.worst:9.5f} {r.regret:9.4f} {r.angle:8.4f} {r.columns:8.4f}"
                seconds = time.perf_counter() - start
                print(f"{name:16s} L={latents:<3d} {seed} {row} {seconds:8.1f}", flush=True)


if __name__ == "__main__":
    main()
