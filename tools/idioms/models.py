"""Things to write in a model, in the regression of `tools.idioms.regression` unless said."""

from __future__ import annotations

from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.contrib import gp
from pyro.infer import autoguide
from pyro.infer.reparam import LocScaleReparam
from torch import Tensor, nn
from torch.distributions import constraints

from tools.idioms.regression import KINDS, Exact, truth
from tools.idioms.truth import NEW, Pair, Truth, X, Y


def weights(scale: float = 1.0) -> tuple[Tensor, Tensor]:
    return tuple(pyro.sample(f"b{i}", dist.Normal(0.0, scale)) for i in range(2))


def in_plate() -> Pair:
    def model(x: Tensor, y: Tensor | None = None) -> None:
        b0, b1 = weights()
        with pyro.plate("data", len(x), dim=-1):
            mean = pyro.deterministic("mean", b0 * x[:, 0] + b1 * x[:, 1])
            pyro.sample("y", dist.Normal(mean, 1.0), obs=y)

    return _with(model, mean="deterministic")


def beside_plate() -> Pair:
    def model(x: Tensor, y: Tensor | None = None) -> None:
        b0, b1 = weights()
        mean = pyro.deterministic("mean", b0 * x[:, 0] + b1 * x[:, 1])
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("y", dist.Normal(mean, 1.0), obs=y)

    return _with(model, mean="deterministic")


def scalar() -> Pair:
    def model(x: Tensor, y: Tensor | None = None) -> None:
        b0, b1 = weights()
        total = pyro.deterministic("total", b0 + b1)
        with pyro.plate("data", len(x), dim=-1):
            mean = (total - b1) * x[:, 0] + b1 * x[:, 1]
            pyro.sample("y", dist.Normal(mean, 1.0), obs=y)

    return _with(model, total="deterministic")


def _with(model: Any, guide: Any = None, amortised: bool = True, **kinds: str) -> Pair:
    known = truth({**KINDS, **kinds})
    return Pair(model, guide or Exact(), (X, Y), known, (NEW,), amortised)


def factor() -> Pair:
    """The prior's precision of two is that of a sample site of one, and of a factor of one."""

    def model(x: Tensor, y: Tensor | None = None) -> None:
        b0, b1 = weights(2.0**0.5)
        narrow, wide = dist.Normal(0.0, 0.5**0.5), dist.Normal(0.0, 2.0**0.5)
        for name, b in (("first", b0), ("second", b1)):
            pyro.factor(name, narrow.log_prob(b) - wide.log_prob(b))
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("y", dist.Normal(b0 * x[:, 0] + b1 * x[:, 1], 1.0), obs=y)

    kinds = {**KINDS, "first": "factor", "second": "factor"}
    return Pair(model, Exact(2.0), (X, Y), truth(kinds, precision=2.0), (NEW,), True)


def mask() -> Pair:
    seen = torch.tensor([True, True, False, True, True, False])

    def model(x: Tensor, y: Tensor | None = None) -> None:
        b0, b1 = weights()
        with pyro.plate("data", len(x), dim=-1), poutine.mask(mask=seen if len(x) == 6 else True):
            pyro.sample("y", dist.Normal(b0 * x[:, 0] + b1 * x[:, 1], 1.0), obs=y)

    known = truth(x=X[seen], y=Y[seen])
    return Pair(model, autoguide.AutoMultivariateNormal(model), (X, Y), known, (NEW,))


def scale() -> Pair:
    def model(x: Tensor, y: Tensor | None = None) -> None:
        b0, b1 = weights()
        with pyro.plate("data", len(x), dim=-1), poutine.scale(scale=0.5):
            pyro.sample("y", dist.Normal(b0 * x[:, 0] + b1 * x[:, 1], 1.0), obs=y)

    return Pair(model, Exact(power=0.5), (X, Y), truth(power=0.5), (NEW,), True)


def obs_mask() -> Pair:
    """Entries that are not observed are latent: they add nothing, and are drawn."""
    seen = torch.tensor([True, True, False, True, True, False])

    def model(x: Tensor, y: Tensor | None = None) -> None:
        b0, b1 = weights()
        kept = None if y is None else seen
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("y", dist.Normal(b0 * x[:, 0] + b1 * x[:, 1], 1.0), obs=y, obs_mask=kept)

    class Guide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = Exact()

        def forward(self, x: Tensor, y: Tensor | None = None) -> None:
            part = seen[:, None].to(x) if len(x) == 6 else 1.0
            b0, b1 = self.weights.draw(x * part, Y if y is None else y)
            if y is not None:
                with pyro.plate("data", len(x), dim=-1), poutine.mask(mask=~seen):
                    loc = b0 * x[:, 0] + b1 * x[:, 1]
                    pyro.sample("y_unobserved", dist.Normal(loc, 1.0))

    kinds = {
        "b0": "latent",
        "b1": "latent",
        "y_observed": "observed",
        "y_unobserved": "latent",
        "y": "deterministic",
    }
    return Pair(model, Guide(), (X, Y), truth(kinds, x=X[seen], y=Y[seen]))


def reparam() -> Pair:
    """A prior moved off its site: what is drawn has another name, and the site is computed."""

    def model(x: Tensor, y: Tensor | None = None) -> None:
        b0, b1 = weights()
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("y", dist.Normal(b0 * x[:, 0] + b1 * x[:, 1], 1.0), obs=y)

    moved = poutine.reparam(model, config={"b0": LocScaleReparam(0.0)})
    known = truth({**KINDS, "b0": "deterministic", "b0_decentered": "latent"})
    return Pair(moved, autoguide.AutoMultivariateNormal(moved), (X, Y), known, (NEW,))


def flat() -> Pair:
    def model(x: Tensor, y: Tensor | None = None) -> None:
        prior = dist.ImproperUniform(constraints.real, (), ())
        b0, b1 = (pyro.sample(f"b{i}", prior) for i in range(2))
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("y", dist.Normal(b0 * x[:, 0] + b1 * x[:, 1], 1.0), obs=y)

    return Pair(model, Exact(0.0), (X, Y), truth(precision=0.0), (NEW,), True)


def closure() -> Pair:
    def model() -> None:
        b0, b1 = weights()
        with pyro.plate("data", len(X), dim=-1):
            pyro.sample("y", dist.Normal(b0 * X[:, 0] + b1 * X[:, 1], 1.0), obs=Y)

    return Pair(model, autoguide.AutoNormal(model), (), truth())


def nested() -> Pair:
    """The six data as two groups of three, in two plates."""
    x, y = X.reshape(2, 3, 2), Y.reshape(2, 3)

    def model(x: Tensor, y: Tensor | None = None) -> None:
        b0, b1 = weights()
        with pyro.plate("groups", len(x), dim=-2), pyro.plate("rows", x.shape[1], dim=-1):
            pyro.sample("y", dist.Normal(b0 * x[..., 0] + b1 * x[..., 1], 1.0), obs=y)

    return Pair(model, autoguide.AutoNormal(model), (x, y), truth())


def conditional() -> Pair:
    """A plate that only one branch of the code enters."""

    def model(x: Tensor, y: Tensor | None = None, some: bool = True) -> None:
        b0, b1 = weights()
        loc = b0 * x[:, 0] + b1 * x[:, 1]
        if some:
            with pyro.plate("data", len(x), dim=-1):
                pyro.sample("y", dist.Normal(loc, 1.0), obs=y)

    return Pair(model, autoguide.AutoNormal(model), (X, Y), truth(), (NEW,))


X_LOCAL, HALF = torch.linspace(-2.0, 2.0, 8), 4


def _local(kind: str) -> Pair:
    """A latent of each datum, z ~ N(0, 1) and x ~ N(z, 1), in a plate that takes half of them."""
    data = X_LOCAL

    def plate(size: int) -> Any:
        rows = None if kind != "subsample" else torch.tensor([1, 3, 4, 6])
        return pyro.plate(
            "data", size, subsample_size=HALF if rows is None else None, subsample=rows
        )

    def model(x: Tensor) -> None:
        with plate(len(x)) as index:
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x[index])

    class Guide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shift, self.log_scale = (
                nn.Parameter(torch.tensor(0.3)),
                nn.Parameter(torch.zeros(())),
            )

        def forward(self, x: Tensor) -> None:
            with plate(len(x)) as index:
                scale = 0.5**0.5 * self.log_scale.exp()
                pyro.sample("z", dist.Normal(0.5 * x[index] + self.shift, scale))

    own = Guide()
    guide: Any = own
    if kind == "create_plates":
        guide = autoguide.AutoNormal(
            model, create_plates=lambda x: pyro.plate("data", len(x), subsample_size=HALF)
        )
    each = dist.Normal(0.0, 2.0**0.5).log_prob(data).double()
    known = Truth(
        {"z": "latent", "x": "observed"},
        each,
        {"z": data.double() / 2},
        {"z": torch.full((8,), 0.5**0.5).double()},
    )
    return Pair(model, guide, (data,), lambda model: known, amortised=guide is own)


def gaussian_process() -> Pair:
    x, y = torch.linspace(0.0, 3.0, 6), torch.linspace(0.0, 3.0, 6).sin()
    module = gp.models.GPRegression(x, y, gp.kernels.RBF(1), noise=torch.tensor(0.1))

    def known(model: Any) -> Truth:
        with torch.no_grad():
            spread = module.kernel(x).double() + module.noise.double() * torch.eye(6).double()
            spread = spread + module.jitter * torch.eye(6).double()
        normal = torch.distributions.MultivariateNormal(torch.zeros(6).double(), spread)
        return Truth({"y": "observed"}, float(normal.log_prob(y.double())))

    return Pair(module.model, module.guide, (), known)


def sparse_process() -> Pair:
    """Pyro takes q(u) into the likelihood: its bound is sum log E_q p(y | f) - KL(q(u) || p(u))."""
    x = torch.linspace(0.0, 3.0, 4)
    y, likelihood = x.sin(), gp.likelihoods.Gaussian(torch.tensor(0.5))
    module = gp.models.VariationalSparseGP(
        x, y, gp.kernels.RBF(1), x[::2].clone(), likelihood, whiten=True
    )

    def known(model: Any) -> Truth:
        with torch.no_grad():
            q = dist.MultivariateNormal(module.u_loc, scale_tril=module.u_scale_tril)
            prior = dist.MultivariateNormal(torch.zeros(2), torch.eye(2))
            loc, variance = module(x)
            scale = (variance + module.likelihood.variance).sqrt()
            bound = dist.Normal(loc, scale).log_prob(y).sum() - torch.distributions.kl_divergence(
                q, prior
            )
        kinds = {"u": "latent", "likelihood.y": "observed"}
        return Truth(kinds, float(bound), is_bound=True)

    return Pair(module.model, module.guide, (), known)


MODELS: dict[str, Any] = {
    "`deterministic`, a scalar": scalar,
    "`deterministic` in a plate": in_plate,
    "`deterministic` beside a plate of its size": beside_plate,
    "`factor`": factor,
    "`poutine.mask` over data": mask,
    "`poutine.scale`": scale,
    "`obs_mask`": obs_mask,
    "`poutine.reparam`": reparam,
    "nested plates": nested,
    "a plate in a branch": conditional,
    "`ImproperUniform` prior": flat,
    "a model that holds its data": closure,
    "`plate(subsample_size=)`": lambda: _local("subsample_size"),
    "`plate(subsample=)`": lambda: _local("subsample"),
    "`AutoNormal(create_plates=)`": lambda: _local("create_plates"),
    "`gp.models.GPRegression`": gaussian_process,
    "`gp.models.VariationalSparseGP`": sparse_process,
}
