"""What pairs with several codes or several modalities cost: steps in Pyro against plain torch.

Run ``python -m benchmarks.pair_steps`` (add ``--rounds 40`` for steadier numbers). It measures as
`benchmarks.overhead` does; the rivals have the pair's own networks, and nothing of Pyro's.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any

import pyro
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot

from benchmarks.overhead import Pair, Work, pyro_vae, race, table, training
from guides.hierarchical_vae import HierarchicalVAEGuide
from guides.multimodal import DMVAEGuide, JMVAEGuide, MMVAEGuide, MoPoEGuide, MVAEGuide
from ppl_models.hierarchical_vae import HierarchicalVAE
from ppl_models.likelihoods import Bernoulli, Categorical
from ppl_models.multimodal import DMVAE, JMVAE, MMVAE, MVAE, MoPoE

BATCH, LATENT, WIDTH, PRIVATE = 128, 40, 400, 4
Experts = list[tuple[Tensor, Tensor]]


def kl(mean: Tensor, log_scale: Tensor) -> Tensor:
    """KL(N(mean, exp(log_scale)^2) || N(0, I)), summed."""
    return 0.5 * (mean * mean + (2 * log_scale).exp() - 1 - 2 * log_scale).sum()


def draw(mean: Tensor, log_scale: Tensor) -> Tensor:
    return mean + log_scale.exp() * torch.randn_like(mean)


# --- codes on several levels ----------------------------------------------------------------------


def ladder() -> Pair:
    torch.manual_seed(0)
    model = HierarchicalVAE(784, (10, 20, 20), hidden_dim=WIDTH, likelihood="bernoulli")
    return model, HierarchicalVAEGuide(model)


def plain_ladder(x: Tensor) -> Work:
    model, guide = ladder()

    def loss() -> Tensor:
        h, features = guide.first(x), []
        for block in reversed(guide.up):
            h = block(h)
            features.insert(0, h)
        mean, log_scale = guide.head[0](features[0]).chunk(2, -1)
        rate, z = kl(mean, log_scale), draw(mean, log_scale)
        stream = model.block[0](model.write[0](z))
        for n in range(1, len(features)):
            size = 2 * model.latent_dims[n]
            said, drift = model.head[n - 1](stream).split([size, WIDTH], -1)
            loc, spread = said.chunk(2, -1)
            moved, widened = guide.head[n](torch.cat([features[n], stream], -1)).chunk(2, -1)
            rate = rate + kl(moved, widened)  # relative to the prior, which then drops out
            z = draw(loc + spread.exp() * moved, spread + widened)
            stream = model.block[n](stream + drift + model.write[n](z))
        logits = model.decoder(stream)
        data = binary_cross_entropy_with_logits(logits, x, reduction="sum")
        return (data + rate) / len(x)

    return training(loss, model, guide)


# --- several modalities ---------------------------------------------------------------------

KINDS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "JMVAE": (JMVAE, JMVAEGuide),
    "MVAE": (MVAE, MVAEGuide),
    "DMVAE": (DMVAE, DMVAEGuide),
    "MMVAE": (MMVAE, MMVAEGuide),
    "MoPoE": (MoPoE, MoPoEGuide),
}


def modalities(kind: str) -> Pair:
    """An image and its label."""
    torch.manual_seed(0)
    make, guide = KINDS[kind]
    own = {"private_dim": PRIVATE} if kind == "DMVAE" else {}
    parts = {"image": Bernoulli(784), "label": Categorical(1, 10)}
    model = make(parts, LATENT, hidden_dims=(WIDTH,), **own)
    return model, guide(model)


def plain_modalities(kind: str, image: Tensor, label: Tensor) -> Work:
    model, guide = modalities(kind)
    classes = label[:, 0].long()

    def read() -> dict[str, Tensor]:
        return {"image": image, "label": one_hot(classes, 10).to(image.dtype)}

    def distortion(z: dict[str, Tensor]) -> Tensor:
        logits = model.decoders["image"](z["image"])
        data = binary_cross_entropy_with_logits(logits, image, reduction="sum")
        return data + cross_entropy(model.decoders["label"](z["label"]), classes, reduction="sum")

    def both(z: Tensor) -> dict[str, Tensor]:
        return {"image": z, "label": z}

    def joint() -> Tensor:
        heads = [guide.heads[name](x).relu() for name, x in read().items()]
        mean, log_scale = guide.joint(torch.cat(heads, -1)).chunk(2, -1)
        return distortion(both(draw(mean, log_scale))) + kl(mean, log_scale)

    def experts() -> Experts:
        return [tuple(guide.encoders[name](x).chunk(2, -1)) for name, x in read().items()]

    def product(parts: Experts) -> tuple[Tensor, Tensor]:
        weights = [(-2 * log_scale).exp() for _, log_scale in parts]
        total = 1 + sum(weights)
        mean = sum(w * loc for w, (loc, _) in zip(weights, parts, strict=True)) / total
        return mean, -0.5 * total.log()

    def of_product() -> Tensor:
        mean, log_scale = product(experts())
        return distortion(both(draw(mean, log_scale))) + kl(mean, log_scale)

    def private() -> Tensor:
        shared, codes, rate = [], {}, torch.zeros(())
        for name, x in read().items():
            raw = guide.encoders[name](x)
            shared.append(tuple(raw[:, : 2 * LATENT].chunk(2, -1)))
            own = raw[:, 2 * LATENT :].chunk(2, -1)
            codes[name], rate = draw(*own), rate + kl(*own)
        moments = product(shared)
        z = draw(*moments)
        codes = {name: torch.cat([z, code], -1) for name, code in codes.items()}
        return distortion(codes) + rate + kl(*moments)

    def mixture() -> Tensor:
        parts = experts()
        if kind == "MoPoE":
            parts = [product(parts[:1]), product(parts[1:]), product(parts)]
        loc, log_scale = (torch.stack(moment, 1) for moment in zip(*parts, strict=True))
        taken = torch.randint(len(parts), (len(image), 1, 1)).expand(-1, 1, LATENT)
        z = draw(loc.gather(1, taken)[:, 0], log_scale.gather(1, taken)[:, 0])
        apart = (z[:, None] - loc) * (-log_scale).exp()
        log_q = -(0.5 * apart * apart + log_scale).sum(-1)
        rate = (log_q.logsumexp(1) + 0.5 * (z * z).sum(-1) - math.log(len(parts))).sum()
        return distortion(both(z)) + rate

    losses = {"JMVAE": joint, "MVAE": of_product, "DMVAE": private}
    loss = losses.get(kind, mixture)
    return training(lambda: loss() / len(image), model, guide)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    pyro.enable_validation(False)
    x = torch.rand(BATCH, 784).round()
    rivals = {
        "plain torch": plain_ladder(x),
        "HierarchicalVAE": pyro_vae(ladder(), (x,), "meanfield"),
    }
    table("HierarchicalVAE, three levels, batch 128", race(rivals, rounds), "plain torch")
    data = x, torch.randint(10, (BATCH, 1))
    for kind in KINDS:
        bound = "trace" if kind in ("MMVAE", "MoPoE") else "meanfield"
        rivals = {
            "plain torch": plain_modalities(kind, *data),
            kind: pyro_vae(modalities(kind), data, bound),
        }
        table(f"{kind}, image and label, 400-40, batch 128", race(rivals, rounds), "plain torch")


if __name__ == "__main__":
    main()
