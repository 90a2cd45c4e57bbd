"""Small sources of sound, with their guides, in double precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyro
import torch
from torch import Tensor, nn

from guides.audio import HumGuide, NMFGuide
from guides.dvae import DeepARGuide, DKFGuide, LigHTDVAEGuide, RVAEGuide, SRNNGuide
from guides.dvae.base import DynamicalGuide
from ppl_models.audio import NMF, Hum
from ppl_models.audio.parts import zero_mean
from ppl_models.dvae import DKF, RVAE, SRNN, DeepAR, LigHTDVAE
from ppl_models.likelihoods import ComplexBins, ComplexGaussian

F, T = 5, 4
Pair = tuple[Any, Any]
SMALL: dict[str, Any] = {"dim": 8, "heads": 2, "num_layers": 1, "window": 4, "forget": 0.0}


def rvae(likelihood: Any = None, **options: Any) -> Pair:
    likelihood = likelihood or ComplexBins(F)
    model = RVAE(likelihood.data_dim, 2, recurrent_dim=4, likelihood=likelihood, **options)
    return model.double(), RVAEGuide(model, recurrent_dim=4).double()


def dkf() -> Pair:
    model = DKF(2 * F, 2, likelihood=ComplexBins(F), transition_dim=4, emission_dims=(5,))
    guide = DKFGuide(model, input_dim=5, recurrent_dim=4, latent_dims=(4,), hidden_dims=(5,))
    return model.double(), guide.double()


def srnn(likelihood: Any = None) -> Pair:
    likelihood = likelihood or ComplexBins(F)
    model = SRNN(likelihood.data_dim, 2, likelihood=likelihood)
    return model.double(), SRNNGuide(model, causal=False, backward_dim=4).double()


def deepar() -> Pair:
    model = DeepAR(2 * F, likelihood=ComplexBins(F))
    return model.double(), DeepARGuide(model).double()


def light() -> Pair:
    model = LigHTDVAE(2 * F, 2, global_dim=2, likelihood=ComplexBins(F), **SMALL)
    return model.double(), LigHTDVAEGuide(model, num_layers=1).double()


def nmf() -> Pair:
    model = NMF(F, 3).double()
    return model, NMFGuide(model).double()


def hum() -> Pair:
    model = Hum(F).double()
    model.log_spectrum.data.normal_()
    return model, HumGuide(model).double()


def given() -> Pair:
    """Variances known beforehand, as a user's own part: two plain classes."""
    model = Given(torch.rand(T, F).double() + 0.2)
    return model, Nothing()


class Given(nn.Module):
    """s ~ N_c(0, v) with v (T, F) known."""

    def __init__(self, v: Tensor) -> None:
        super().__init__()
        self.v, self.data_dim = nn.Parameter(v), 2 * v.shape[-1]

    def path(self, length: int, s: Tensor | None = None, mask: Any = None) -> tuple[None, Tensor]:
        return None, pyro.sample("s", zero_mean(self.v[:length], mask), obs=s)

    def variances(self, latents: Any, s: Any = None, mask: Any = None) -> Tensor:
        return self.v


class Nothing(nn.Module):
    """Its guide."""

    def path(self, s: Tensor, mask: Tensor | None = None) -> None: ...


SOURCES: dict[str, Callable[[], Pair]] = {
    "rvae": rvae,
    "rvae, not causal": lambda: rvae(causal=False),
    "dkf": dkf,
    "srnn": srnn,
    "deepar": deepar,
    "light": light,
    "nmf": nmf,
    "hum": hum,
    "given": given,
}


def several(*kinds: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return parts and guides of such sources, named by their place and kind."""
    pairs = {f"{i} {kind}": SOURCES[kind]() for i, kind in enumerate(kinds)}
    parts, guides = ({name: pair[k] for name, pair in pairs.items()} for k in (0, 1))
    return parts, guides


def powers_pair(kind: str) -> tuple[Any, DynamicalGuide[Any]]:
    """Return a pair that is trained on powers (T, F)."""
    likelihood = ComplexGaussian(F)
    likelihood.reader.centre.normal_()
    return {"rvae": rvae, "srnn": srnn}[kind](likelihood)


class KnownVariances:
    """E-S of sources whose variances v (B, N, T F, 2) are known: exact, and its rate."""

    def __init__(self, v: Tensor) -> None:
        self.v = v

    def __call__(self, precision: Tensor, weighted: Tensor, path: Tensor) -> Any:
        self.variance = 1 / (precision + 1 / self.v)
        self.mean = self.variance * weighted
        ratio = self.variance / self.v
        rate = 0.5 * (ratio + self.mean**2 / self.v - 1 - ratio.log())
        self.rate = rate.sum((-1, -2))
        return self
