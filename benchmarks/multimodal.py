"""Modalities of a digit: the likelihood of MNIST by JMVAE, and one modality from another.

``python -m benchmarks.multimodal jmvae ../shared/data/mnist`` trains JMVAE on MNIST and its labels,
goes on where it was stopped, and prints the test log likelihood of the images: K = 1000 importance
samples of the joint posterior, the image alone scored. Sizes, likelihoods, bits drawn again, alpha
and warm-up are the published recipe's; the second layer of a network is residual, and the learning
rate falls along a cosine, which takes 64 epochs where that takes 500.

``python -m benchmarks.multimodal coherence ../shared/data/mnist ../shared/data/fsdd`` trains MVAE
and DMVAE on pictures and sounds of digits, whole pairs and 99 % of them broken
(`benchmarks.coherence`).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.coherence import report
from guides.multimodal import JMVAEGuide
from inference import Objective, Run, fit, importance
from inference.objectives import SubsetKL
from inference.randomness import derive, seeded
from inference.schedules import cosine, linear
from ppl_models.data.fsdd import fsdd
from ppl_models.data.mnist import Digits, fixed_bits, mnist
from ppl_models.likelihoods import Bernoulli, Categorical
from ppl_models.multimodal import JMVAE
from ppl_models.networks import ResidualMLP

PUBLISHED = "-86.86 (Suzuki et al. 2016), -86.85 (MultiVae)"
MODALITIES = ("image", "label")
LATENT, WIDTH, BATCH = 64, 512, 128


def binarise(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Draw new bits for the images."""
    return batch | {"image": torch.bernoulli(batch["image"])}


def jmvae_pair(seed: int = 0) -> tuple[JMVAE, JMVAEGuide]:
    """Build JMVAE: 64 latents, two layers of 512 units each way, the second one residual."""
    with seeded(derive(seed, "weights")):
        modalities = {"image": Bernoulli(784), "label": Categorical(1, 10)}
        decoders = {"image": mlp(LATENT, 784), "label": mlp(LATENT, 10)}
        model = JMVAE(modalities, LATENT, hidden_dims=(WIDTH, WIDTH), decoders=decoders)
        encoders = {"image": mlp(784, 2 * LATENT), "label": mlp(10, 2 * LATENT)}
        return model, JMVAEGuide(model, encoders=encoders)


def mlp(inputs: int, outputs: int) -> ResidualMLP:
    """Build a network of two layers of 512 units."""
    return ResidualMLP(inputs, WIDTH, WIDTH, outputs)


def train_jmvae(digits: Digits, epochs: int, alpha: float, out: Path | None, seed: int = 0) -> Run:
    """Train, or go on: KL warm-up over a tenth of the steps, a learning rate that falls to 0."""
    images, labels = digits.train_images, digits.train_labels
    steps = epochs * -(-len(images) // BATCH)
    return fit(
        *jmvae_pair(seed),
        {"image": images, "label": labels[:, None]},
        epochs=epochs,
        batch_size=BATCH,
        objective=Objective(
            "meanfield",
            kl_weight=linear(max(steps // 10, 1)),
            penalties=(SubsetKL(MODALITIES, alpha),),
        ),
        learning_rate=cosine(steps, 2e-3, warmup=min(500, steps // 10)),
        transform=binarise,
        seed=seed,
        directory=out,
        resume=out is not None,
    )


def image_likelihood(run: Run, digits: Digits, test: int, draws: int) -> tuple[Tensor, Tensor]:
    """Return the IWAE bound and the ELBO of each test image, in fixed bits, label unscored."""
    bits = fixed_bits(digits.test_images)[:test]
    labels = digits.test_labels[:test, None]
    observed = torch.tensor([True, False])
    tight, plain = [], []
    for image, label in zip(bits.split(250), labels.split(250), strict=True):
        size = len(image), 2
        masks = {"mask": observed.expand(size), "observed": (observed | True).expand(size)}
        weights = importance(run.model, run.guide, image, label, num_samples=draws, **masks)
        tight.append(weights.iwae)
        plain.append(weights.elbo)
    return torch.cat(tight), torch.cat(plain)


def report_jmvae(options: argparse.Namespace) -> None:
    """Train, and print the likelihood."""
    digits = mnist(options.data)
    folder = options.out / f"jmvae-{options.epochs}-seed{options.seed}"
    began = time.process_time()
    run = train_jmvae(digits, options.epochs, options.alpha, folder, options.seed)
    print(run, f"({(time.process_time() - began) / 60:.1f} CPU min now)", flush=True)
    tight, plain = image_likelihood(run, digits, options.test, options.draws)
    error = tight.std().item() / len(tight) ** 0.5
    print(
        f"log p(image), {len(tight)} test digits, K = {options.draws}, joint posterior, seed "
        f"{options.seed}: {tight.mean():.2f} ± {error:.2f} (K = 1: {plain.mean():.2f}); "
        f"published {PUBLISHED}"
    )


def report_coherence(options: argparse.Namespace) -> None:
    """Train, and print the coherence."""
    spoken = fsdd(options.sounds, test=options.speakers or "takes")
    report(options.model, options.broken, mnist(options.data), spoken, options)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    jmvae = commands.add_parser("jmvae", help="likelihood of MNIST's images")
    jmvae.add_argument("data", type=Path, nargs="?", help="mnist.npz, or its folder")
    jmvae.add_argument("--epochs", type=int, default=64)
    jmvae.add_argument("--alpha", type=float, default=0.1)
    jmvae.add_argument("--test", type=int, default=10_000, help="test digits")
    jmvae.add_argument("--draws", type=int, default=1000, help="K of IWAE-K")
    jmvae.set_defaults(run=report_jmvae)
    coherence = commands.add_parser("coherence", help="of one modality with the other")
    coherence.add_argument("data", type=Path, help="mnist.npz, or its folder")
    coherence.add_argument("sounds", type=Path, help="the folder of FSDD")
    both = ["MVAE", "DMVAE"]
    coherence.add_argument("--model", choices=both, nargs="*", default=both)
    coherence.add_argument("--broken", type=float, nargs="*", default=[0.0, 0.99])
    coherence.add_argument("--epochs", type=int, default=6)
    coherence.add_argument("--speakers", nargs="*", help="to test on; default: takes 0 to 4 of all")
    coherence.set_defaults(run=report_coherence)
    for command in (jmvae, coherence):
        command.add_argument("--out", type=Path, default=Path("runs/multimodal"))
        command.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    options.run(options)


if __name__ == "__main__":
    main()
