from __future__ import annotations

from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoGuideList, AutoLowRankMultivariateNormal, AutoNormal
from torch import Tensor, nn

from guides.vae import VAEGuide
from inference.objectives.objective import Objective
from inference.objectives.pathwise_elbo import pathwise_bound
from inference.randomness import seeded
from inference.tracing.layout import layout
from ppl_models.vae import VAE
from tests import pairs


class Masked(nn.Module):
    """Two latents in nested plates, the second without a closed form; a mask, scales, a factor."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.3))

    def forward(self, x: Tensor) -> None:
        scale = self.weight.exp()
        with pyro.plate("data", len(x), dim=-2):
            u = pyro.sample("u", dist.Normal(0 * scale, scale).mask(x[:, :1] > 0))
            with pyro.plate("frames", x.shape[1], dim=-1), pyro.poutine.scale(scale=0.5):
                z = pyro.sample("z", dist.Laplace(u, scale))
                pyro.deterministic("twice", 2 * z)
                pyro.sample("x", dist.Normal(z, scale).mask(x.abs() < 1), obs=x)
        pyro.factor("tax", -(self.weight**2))


class MaskedGuide(nn.Module):
    """With a site of its own, as a flow has."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(-0.2))

    def forward(self, x: Tensor) -> None:
        scale = self.weight.exp()
        with pyro.plate("data", len(x), dim=-2):
            noise = dist.Normal(0 * scale, scale)
            e = pyro.sample("e", noise, infer={"is_auxiliary": True})
            pyro.sample("u", dist.Normal(e, scale).mask(x[:, :1] > 0))
            with pyro.plate("frames", x.shape[1], dim=-1):
                pyro.sample("z", dist.Normal(self.weight * x, scale))


class Subsampled(nn.Module):
    """z_i ~ N(0, 1), x_i ~ N(z_i, exp weight) for four data of all, drawn at each call."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.2))

    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x), subsample_size=4, dim=-1) as chosen:
            z = pyro.sample("z", dist.Normal(0 * x[chosen], 1.0))
            pyro.sample("x", dist.Normal(z, self.weight.exp()), obs=x[chosen])


class SubsampledGuide(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.4))

    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x), subsample_size=4, dim=-1) as chosen:
            pyro.sample("z", dist.Normal(self.weight * x[chosen], self.weight.exp()))


def auto(model: nn.Module, kind: Any, x: Tensor) -> tuple[nn.Module, nn.Module]:
    guide = kind(model)
    guide(x)
    return model, guide


def parts(model: nn.Module, x: Tensor) -> tuple[nn.Module, nn.Module]:
    guide = AutoGuideList(model)
    guide.append(AutoNormal(pyro.poutine.block(model, hide=["x"])))
    guide(x)
    return model, guide


def vae(likelihood: str = "gaussian") -> tuple[nn.Module, nn.Module]:
    model = VAE(5, 2, likelihood=likelihood)
    return model, VAEGuide(model)


def case(name: str) -> tuple[nn.Module, nn.Module, Tensor]:
    x = torch.randn(6, 5, dtype=torch.float64)
    made: dict[str, Any] = {
        "vae": vae,
        "bits": lambda: vae("bernoulli"),
        "global": lambda: (pairs.GlobalMean(), pairs.GlobalMeanGuide()),
        "local": lambda: (pairs.Conjugate(), pairs.ConjugateGuide()),
        "masked": lambda: (Masked(), MaskedGuide()),
        "subsampled": lambda: (Subsampled(), SubsampledGuide()),
        "autonormal": lambda: auto(pairs.GlobalMean(), AutoNormal, x[:, 0]),
        "autolowrank": lambda: auto(VAE(5, 2), AutoLowRankMultivariateNormal, x.float()),
        "autolist": lambda: parts(pairs.GlobalMean(), x[:, 0]),
    }
    model, guide = made[name]()
    x = x if name in ("vae", "masked", "autolowrank") else (x > 0).double()
    x = x if name in ("vae", "masked", "bits", "autolowrank") else x[:, 0]
    return model.double(), guide.double(), x


NAMES = ["vae", "bits", "global", "local", "masked", "subsampled"]
AUTO = ["autonormal", "autolowrank", "autolist"]


def loss_and_gradient(
    objective: Objective, model: nn.Module, guide: nn.Module, x: Tensor, data_size: int | None
) -> tuple[Tensor, tuple[Tensor, ...]]:
    with seeded(5):
        loss = objective.loss(model, guide, (x,), data_size=data_size)
    trained = [p for p in (*model.parameters(), *guide.parameters()) if p.requires_grad]
    return loss.detach(), torch.autograd.grad(loss, trained, allow_unused=True)


@pytest.mark.parametrize(
    ("name", "kind"),
    [(n, k) for n in NAMES for k in ("trace", "meanfield")] + [(n, "trace") for n in AUTO],
)
@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_value_and_gradient_are_those_of_pyro(
    name: str, kind: Any, weight: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, guide, x = case(name)
    size = None if name == "subsampled" else 60
    objective = Objective(kind, kl_weight=weight, num_particles=2)
    assert layout(model, guide, (x,)).pathwise
    with pyro.validation_enabled(False):
        ours = loss_and_gradient(objective, model, guide, x, size)
        monkeypatch.setattr("inference.objectives.plain_elbo.pathwise_bound", lambda *args: None)
        pyros = loss_and_gradient(objective, model, guide, x, size)
    torch.testing.assert_close(ours, pyros, rtol=1e-12, atol=1e-12)  # sums in another order
    watched = loss_and_gradient(objective, model, guide, x, size)
    torch.testing.assert_close(watched, pyros, rtol=0, atol=0)


def test_pathwise_runs_where_validation_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    model, guide, x = case("vae")
    calls = []

    def counted(*args: Any) -> Tensor | None:
        calls.append(args)
        return pathwise_bound(*args)

    monkeypatch.setattr("inference.objectives.plain_elbo.pathwise_bound", counted)
    Objective().loss(model, guide, (x,))
    assert not calls
    with pyro.validation_enabled(False):
        Objective().loss(model, guide, (x,))
        assert len(calls) == 1
        Objective("enum").loss(model, guide, (x,))
    assert len(calls) == 1


class Coin(nn.Module):
    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Bernoulli(0.5 + 0 * x))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)


class CoinGuide(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(0.5))

    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Bernoulli(logits=self.slope * x))


def test_a_draw_without_a_path_is_left_to_pyro() -> None:
    x = torch.randn(4)
    assert not layout(Coin(), CoinGuide(), (x,)).pathwise
    assert not layout(pairs.Conjugate(), pairs.NoLatents(), (x,)).pathwise  # z from its prior
    assert pathwise_bound(Coin(), CoinGuide(), (x,), {}, closed_form=False) is None
    with pyro.validation_enabled(False):
        guide = CoinGuide()
        Objective().loss(Coin(), guide, (x,)).backward()
    assert guide.slope.grad is not None and guide.slope.grad != 0
