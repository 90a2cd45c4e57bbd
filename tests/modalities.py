"""Linear-Gaussian modalities of one code: every posterior and every evidence is known."""

from __future__ import annotations

from itertools import product

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from guides.multimodal import MVAEGuide
from ppl_models.likelihoods.basic import Gaussian
from ppl_models.multimodal import MultimodalVAE

WIDTHS = {"sight": 4, "sound": 3, "touch": 5}
LATENT, NOISE = 2, 0.6
ALL = torch.ones(3, dtype=torch.bool)
PATTERNS = torch.tensor(list(product([True, False], repeat=3)))  # all eight


class Expert(nn.Module):
    """log p(x | z) as a function of z: mean and log scale, (N, 2 L)."""

    def __init__(self, decoder: nn.Linear) -> None:
        super().__init__()
        weight = decoder.weight.detach()
        precision = (weight**2).sum(0) / NOISE**2  # its columns are orthogonal
        self.register_buffer("reader", weight / NOISE**2 / precision)
        self.register_buffer("bias", decoder.bias.detach())
        self.register_buffer("log_scale", -0.5 * precision.log())

    def forward(self, x: Tensor) -> Tensor:
        loc = (x - self.bias) @ self.reader
        return torch.cat([loc, self.log_scale.expand_as(loc)], -1)


def exact_pair() -> tuple[MultimodalVAE, MVAEGuide]:
    """Return the model, and the guide that is its posterior; both in double precision."""
    decoders = {}
    for name, width in WIDTHS.items():
        linear = nn.Linear(LATENT, width).double()
        columns = torch.linalg.qr(torch.randn(width, LATENT).double())[0]
        linear.weight.data = columns * torch.tensor([1.5, 0.4])
        decoders[name] = linear
    parts = {name: Gaussian(width, scale=NOISE) for name, width in WIDTHS.items()}
    model = MultimodalVAE(parts, LATENT, decoders=decoders).double()
    encoders = {name: Expert(linear) for name, linear in decoders.items()}
    return model, MVAEGuide(model, encoders=encoders).double()


def joint(model: MultimodalVAE, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return bias and weight of all modalities of a pattern (M,), one below the other."""
    linear = [model.decoders[n] for n, there in zip(WIDTHS, mask, strict=True) if there]
    return torch.cat([d.bias for d in linear]), torch.cat([d.weight for d in linear])


def evidence(model: MultimodalVAE, data: dict[str, Tensor], mask: Tensor) -> Tensor:
    """Return log p of what a row has, for rows (N, D_m) of one pattern (M,): (N,)."""
    if not mask.any():
        return torch.zeros(len(data["sight"])).double()
    bias, weight = joint(model, mask)
    x = torch.cat([data[n] for n, there in zip(WIDTHS, mask, strict=True) if there], -1)
    covariance = weight @ weight.T + NOISE**2 * torch.eye(len(bias)).double()
    return dist.MultivariateNormal(bias, covariance).log_prob(x).detach()


def posterior(
    model: MultimodalVAE, data: dict[str, Tensor], mask: Tensor
) -> dist.MultivariateNormal:
    """Return p(z | what a row has), for rows of one pattern."""
    precision, weighted = torch.eye(LATENT).double(), torch.zeros(len(data["sight"]), LATENT)
    if mask.any():
        bias, weight = joint(model, mask)
        x = torch.cat([data[n] for n, there in zip(WIDTHS, mask, strict=True) if there], -1)
        precision = precision + weight.T @ weight / NOISE**2
        weighted = (x - bias) @ weight / NOISE**2
    mean = torch.linalg.solve(precision, weighted.double().T).T
    return dist.MultivariateNormal(mean, precision_matrix=precision)


def simulated(model: MultimodalVAE, size: int) -> dict[str, Tensor]:
    """Draw rows of all modalities."""
    with torch.no_grad():
        return {name: x.detach() for name, x in model(size=size).items()}
