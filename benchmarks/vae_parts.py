"""What priors and conditions of a VAE cost: training steps in Pyro against plain torch.

Run ``python -m benchmarks.vae_parts`` (add ``--rounds 40`` for steadier numbers). It measures as
`benchmarks.overhead` does.
"""

from __future__ import annotations

import argparse
from typing import Any

import pyro
import torch
from torch import Tensor, nn

from benchmarks.overhead import Pair, Work, pyro_vae, race, table, training
from guides.cvae import CVAEGuide
from guides.vae import VAEGuide
from ppl_models.cvae import CVAE
from ppl_models.networks import MLP
from ppl_models.priors import MixturePrior, VampPrior
from ppl_models.vae import VAE


def prior_pair(prior: str) -> Pair:
    """VAE 784-400-50 with 500 pseudo-data, or ten components."""
    torch.manual_seed(0)
    encoder = MLP(784, 400, 100)
    parts = {
        "vamp": lambda: VampPrior(encoder, torch.rand(500, 784)),
        "mixture": lambda: MixturePrior(50, 10),
        "mixture, summed": lambda: MixturePrior(50, 10, summed=True),
    }
    model = VAE(784, 50, hidden_dims=(400,), likelihood="bernoulli", prior=parts[prior]())
    return model, VAEGuide(model, encoder=encoder)


def plain_prior(x: Tensor, prior: str) -> Work:
    """A mixture of Gaussians as a prior, by matrix products in single precision."""
    model, guide = prior_pair(prior)
    part: Any = model.prior

    def components() -> tuple[Tensor, Tensor]:
        if prior == "vamp":
            return guide.encoder(part.raw_inputs.sigmoid()).chunk(2, -1)
        return part.loc, part.log_scale

    def loss() -> Tensor:
        (loc, spread), (mean, log_scale) = components(), guide.encoder(x).chunk(2, -1)
        e, w = torch.randn_like(mean), (-2 * spread).exp()
        z = mean + log_scale.exp() * e
        product = torch.cat([z * z, z], -1) @ torch.cat([-0.5 * w, loc * w], -1).T
        log_p = product - (0.5 * loc * loc * w + spread).sum(-1)
        if prior != "vamp":
            log_p = log_p + part.logits.log_softmax(-1)
        logits = model.decoder(z)
        data = nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="sum")
        rate = -(0.5 * e * e + log_scale).sum() - log_p.logsumexp(-1).sum()
        return (data + rate) / len(x)

    return training(loss, model, guide)


def cvae_pair() -> Pair:
    torch.manual_seed(0)
    model = CVAE(392, 392, 50, hidden_dims=(400,), prior="learned", likelihood="bernoulli")
    return model, CVAEGuide(model)


def plain_cvae(x: Tensor, c: Tensor) -> Work:
    model, guide = cvae_pair()

    def loss() -> Tensor:
        mean, log_scale = guide.encoder(torch.cat([x, c], -1)).chunk(2, -1)
        prior, log_width = model.prior.network(c).chunk(2, -1)
        scale, width = log_scale.exp(), log_width.exp()
        z = mean + scale * torch.randn_like(mean)
        apart = ((mean - prior) / width) ** 2 + (scale / width) ** 2
        rate = (0.5 * (apart - 1) + log_width - log_scale).sum()
        logits = model.decoder(torch.cat([z, c], -1))
        data = nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="sum")
        return (data + rate) / len(x)

    return training(loss, model, guide)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    pyro.enable_validation(False)
    x = torch.rand(128, 784).round()
    for size, names in ((500, ["vamp"]), (10, ["mixture", "mixture, summed"])):
        rivals = {"plain torch": plain_prior(x, names[0])}
        rivals |= {name: pyro_vae(prior_pair(name), (x,), "auto") for name in names}
        title = f"VAE 784-400-50, batch 128, prior of {size} parts"
        table(title, race(rivals, rounds), "plain torch")
    halves = x[:, :392], x[:, 392:]
    rivals = {"plain torch": plain_cvae(*halves)}
    rivals["CVAE"] = pyro_vae(cvae_pair(), halves, "meanfield")
    table("CVAE 392-400-50, learned prior, batch 128", race(rivals, rounds), "plain torch")


if __name__ == "__main__":
    main()
