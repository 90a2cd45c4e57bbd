"""Does one modality tell the other's digit? Pictures of MNIST and sounds of FSDD, paired by label.

A picture's code is read from the picture alone, a sound is told from it, and a classifier that
learned on real sounds says which digit that is; and the other way round. The share that is right is
the coherence (Shi et al. 2019, section 4.2). By chance it is 0.1; the classifiers' own accuracy on
real test data bounds it from above.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pyro import poutine
from torch import Tensor, nn

from guides.multimodal import DMVAEGuide, MVAEGuide
from inference import Run, fit
from inference.objectives import SubsetObjective
from inference.randomness import derive, seeded
from inference.schedules import cosine
from ppl_models.data.fsdd import SpokenDigits
from ppl_models.data.mnist import Digits
from ppl_models.data.pairs import broken_pairs, partners
from ppl_models.likelihoods import Bernoulli, Gaussian
from ppl_models.multimodal import DMVAE, MVAE
from ppl_models.networks import ResidualMLP

MODALITIES = ("image", "sound")
BATCH = 128


@dataclass(frozen=True)
class Recipe:
    """What is trained, on what, and for how long.

    ``broken`` is the share of pairs of which one modality is lost; of the others each is shown
    ``repeats`` times an epoch, or they would be one row in a hundred.
    """

    model: str
    broken: float = 0.0
    epochs: int = 6
    latent_dim: int = 16
    private_dim: int = 4
    hidden_dim: int = 256
    noise: float = 0.5  # of a cell of a sound, whose range is 1: less, and the voice counts more
    learning_rate: float = 2e-3
    repeats: int = 20
    seed: int = 0

    def pair(self) -> tuple[Any, Any]:
        """Build story and guide: two layers each way, the second one residual."""
        parts = {"image": Bernoulli(784, grey=True), "sound": Gaussian(1024, self.noise)}
        private = self.private_dim if self.model == "DMVAE" else 0
        code, wide = self.latent_dim + private, self.hidden_dim
        with seeded(derive(self.seed, "weights")):
            told = {n: ResidualMLP(code, wide, wide, part.raw_dim) for n, part in parts.items()}
            read = {
                n: ResidualMLP(part.feature_dim, wide, wide, 2 * code) for n, part in parts.items()
            }
        if not private:
            model = MVAE(parts, self.latent_dim, decoders=told)
            return model, MVAEGuide(model, encoders=read)
        story = DMVAE(parts, self.latent_dim, private_dim=private, decoders=told)
        return story, DMVAEGuide(story, encoders=read)

    def rows(self, digits: Digits, spoken: SpokenDigits) -> dict[str, Tensor]:
        """Pair every picture with a sound of its digit, and break pairs."""
        seed = derive(self.seed, "pairs")
        sounds = spoken.train_sounds[partners(digits.train_labels, spoken.train_labels, seed)]
        mask = broken_pairs(len(sounds), self.broken, seed=derive(self.seed, "broken"))
        data = {"image": digits.train_images, "sound": sounds, "mask": mask}
        whole = mask.all(1).nonzero()[:, 0]
        again = whole.repeat(self.repeats - 1 if self.broken else 0)
        return {name: torch.cat([x, x[again]]) for name, x in data.items()}

    def train(self, data: dict[str, Tensor], out: Path | None) -> Run:
        """Train, or go on."""
        steps = self.epochs * -(-len(data["mask"]) // BATCH)
        name = f"{self.model}-{self.epochs}-broken{self.broken:g}-seed{self.seed}"
        return fit(
            *self.pair(),
            data,
            epochs=self.epochs,
            batch_size=BATCH,
            objective=SubsetObjective("meanfield", modalities=MODALITIES, terms="cross"),
            learning_rate=cosine(steps, self.learning_rate, warmup=min(50, steps)),
            seed=self.seed,
            directory=out and out / name,
            resume=out is not None,
        )


def classifier(data: Tensor, labels: Tensor, epochs: int, seed: int = 0) -> nn.Module:
    """Train a small classifier of real data (N, D)."""
    with seeded(derive(seed, "classifier")):
        net = nn.Sequential(
            nn.Linear(data.shape[1], 256), nn.ReLU(), nn.Dropout(0.3), nn.Linear(256, 10)
        )
        optimizer = torch.optim.Adam(net.parameters(), 1e-3)
        for _ in range(epochs):
            for rows in torch.randperm(len(data)).split(BATCH):
                loss = nn.functional.cross_entropy(net(data[rows]), labels[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return net.eval()


def accuracy(judge: nn.Module, data: Tensor, labels: Tensor) -> tuple[float, float]:
    """Return the share that a classifier names right, and its standard error."""
    with torch.no_grad():
        right = (judge(data).argmax(1) == labels).double()
    return right.mean().item(), (right.var() / len(right)).sqrt().item()


@torch.no_grad()
def tell(run: Run, sense: str, seed: int = 0, **given: Tensor) -> Tensor:
    """Draw a code from what is given, one a row, and return the mean of another modality."""
    with seeded(derive(seed, "tell")):
        codes = poutine.trace(run.guide).get_trace(**given)
        told = poutine.trace(poutine.replay(run.model, codes)).get_trace(**given)
    site: Any = told.nodes[sense]
    mean: Tensor = site["fn"].mean
    return mean


def report(
    stories: list[str], shares: list[float], digits: Digits, spoken: SpokenDigits, options: Any
) -> None:
    """Train and judge, a line each."""
    see = classifier(digits.train_images, digits.train_labels, 6)
    hear = classifier(spoken.train_sounds, spoken.train_labels, 30)
    real = {
        "pictures": accuracy(see, digits.test_images, digits.test_labels),
        "sounds": accuracy(hear, spoken.test_sounds, spoken.test_labels),
    }
    for name, (share, error) in real.items():
        print(f"real {name}: the classifier names {share:.3f} ± {error:.3f} right")
    print(f"{'story':<8}{'broken':>8}{'image -> sound':>20}{'sound -> image':>20}   seed")
    for broken in shares:
        for story in stories:
            began = time.process_time()
            recipe = Recipe(story, broken, epochs=options.epochs, seed=options.seed)
            run = recipe.train(recipe.rows(digits, spoken), options.out)
            heard = tell(run, "sound", image=digits.test_images)
            seen = tell(run, "image", sound=spoken.test_sounds)
            cells = (
                accuracy(hear, heard, digits.test_labels),
                accuracy(see, seen, spoken.test_labels),
            )
            figures = "".join(f"{share:>13.3f} ± {error:.3f}" for share, error in cells)
            minutes = (time.process_time() - began) / 60
            print(
                f"{story:<8}{broken:>8.2f}{figures}   {recipe.seed} ({minutes:.1f} CPU min now)",
                flush=True,
            )
