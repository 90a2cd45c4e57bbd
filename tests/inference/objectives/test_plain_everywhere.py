"""Options that change nothing: each, for every odd pair, is the plain bound to rounding."""

from __future__ import annotations

from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

from inference.errors import PairError
from inference.objectives import FreeBits, Objective, SubsetObjective, TargetRate
from inference.randomness import seeded
from inference.schedules import constant
from inference.tracing import bind
from tests import pairs
from tests.inference.diagnostics import odd_pairs
from tests.modalities import WIDTHS, exact_pair

X = torch.tensor([0.5, -3.0, 2.5, 0.1, -0.2, 1.4])
Y = torch.tensor([1.0, -1.0, 2.0, 0.0, 0.4, 0.9])
FRAMES = torch.linspace(-1, 2, 24).reshape(4, 3, 2)
MASK = torch.arange(3) < torch.tensor([3, 1, 2, 3])[:, None]


class Taught(nn.Module):
    """Any pair's model with a parameter, since Pyro refuses a bound without one."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.idle = model, nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, *args: Any) -> None:
        self.model(x + self.idle, *args)


class OwnSubsample(nn.Module):
    """z_i in a plate that takes half of the data itself, and mu for all."""

    index = torch.tensor([4, 0, 1])

    def forward(self, x: Tensor) -> None:
        mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(x), subsample=self.index, dim=-1) as rows:
            z = pyro.sample("z", dist.Normal(mu, 1.0).expand([3]))
            pyro.sample("x", dist.Normal(z, 0.5), obs=x[rows])


class OwnSubsampleGuide(nn.Module):
    def forward(self, x: Tensor) -> None:
        pyro.sample("mu", dist.Normal(0.2, 0.6))
        with pyro.plate("data", len(x), subsample=OwnSubsample.index, dim=-1) as rows:
            pyro.sample("z", dist.Normal(0.7 * x[rows], 0.6))


class Local(OwnSubsample):
    """Without a global latent: every site in the subsampling plate."""

    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x), subsample=self.index, dim=-1) as rows:
            z = pyro.sample("z", dist.Normal(torch.zeros(3), 1.0))
            pyro.sample("x", dist.Normal(z, 0.5), obs=x[rows])


class LocalGuide(nn.Module):
    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x), subsample=OwnSubsample.index, dim=-1) as rows:
            pyro.sample("z", dist.Normal(0.7 * x[rows], 0.6))


class NoPlate(nn.Module):
    """mu ~ N(0, 1), data of one event."""

    def forward(self, x: Tensor) -> None:
        mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
        pyro.sample("x", dist.Normal(mu.expand(len(x)), 1.0).to_event(1), obs=x)


class NoPlateGuide(nn.Module):
    def forward(self, x: Tensor) -> None:
        pyro.sample("mu", dist.Normal(0.2, 0.6))


class Flat(nn.Module):
    """A latent with a flat prior, one with a scale of the user's, and a factor."""

    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            flat = pyro.sample("flat", dist.Normal(torch.zeros(len(x)), 1.0).mask(False))
            with pyro.poutine.scale(scale=0.3):
                z = pyro.sample("z", dist.StudentT(4.0, flat, 1.0))
            pyro.factor("soft", -((z - 1) ** 2))
            pyro.sample("x", dist.Normal(z, 0.5), obs=x)


class FlatGuide(nn.Module):
    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            flat = pyro.sample("flat", dist.Normal(0.3 * x, 0.5))
            with pyro.poutine.scale(scale=0.3):
                pyro.sample("z", dist.Normal(flat, 0.6))


PAIRS: dict[str, tuple[nn.Module, nn.Module, tuple[Tensor, ...]]] = {
    "conjugate": (pairs.Conjugate(), pairs.ConjugateGuide(), (X,)),
    "global": (pairs.GlobalMean(), pairs.GlobalMeanGuide(), (X,)),
    "mixture": (pairs.TwoComponents(), pairs.NoLatents(), (X,)),
    "mixture prior": (pairs.MixturePrior(), pairs.ConjugateGuide(), (X,)),
    "masked frames": (odd_pairs.Sequence(), odd_pairs.SequenceGuide(), (FRAMES, MASK)),
    "assignments": (odd_pairs.Tracks(), odd_pairs.TracksGuide(), (FRAMES,)),
    "one by one": (odd_pairs.LoopedTracks(), odd_pairs.TracksGuide(), (FRAMES,)),
    "two views": (odd_pairs.TwoViews(), odd_pairs.TwoViewsGuide(), (X, Y)),
    "shared switch": (odd_pairs.SharedSwitch(), odd_pairs.LocalGuide(), (X,)),
    "hierarchy": (odd_pairs.Hierarchy(), odd_pairs.HierarchyGuide(), (X,)),
    "own noise": (odd_pairs.IndexingModel(), odd_pairs.OwnNoiseGuide(), (X,)),
    "own subsample": (OwnSubsample(), OwnSubsampleGuide(), (X,)),
    "own subsample, local": (Local(), LocalGuide(), (X,)),
    "no plate": (NoPlate(), NoPlateGuide(), (X,)),
    "flat and scaled": (Flat(), FlatGuide(), (X,)),
}


class Nothing(nn.Module):
    """A penalty of nothing."""

    def forward(self, pair: Any) -> Tensor:
        return torch.zeros(())


ONE = constant(1.0)
MANY = {"iwae": {"kind": "iwae"}, "renyi": {"kind": "renyi", "alpha": 0.3}}
OPTIONS: dict[str, dict[str, Any]] = {
    "free bits": {"free_bits": FreeBits(0.0)},
    "free bits in all": {"free_bits": FreeBits(0.0, per="total")},
    "target rate": {"kl_weight": TargetRate(1.0, start=1.0)},
    "schedule": {"kl_weight": ONE},
    "a penalty of nothing": {"penalties": (Nothing(),)},
    "closed forms": {"kind": "meanfield"},
    "iwae": {"kind": "iwae"},
    "renyi": {"kind": "renyi", "alpha": 0.3},
    "renyi at one": {"kind": "renyi", "alpha": 1.0},
    "chunks": {"kind": "iwae", "chunk": 1},
    "free bits and a target rate": {
        "free_bits": FreeBits(0.0),
        "kl_weight": TargetRate(1.0, start=1.0),
    },
    "free bits and a penalty": {"free_bits": FreeBits(0.0), "penalties": (Nothing(),)},
    "a target rate and a penalty": {
        "kl_weight": TargetRate(1.0, start=1.0),
        "penalties": (Nothing(),),
    },
    "iwae and a penalty": {"kind": "iwae", "penalties": (Nothing(),)},
    "renyi, a schedule and chunks": {"kind": "renyi", "kl_weight": ONE, "chunk": 3},
}
# what an option refuses of a pair, with reasons: everything else must work
SUMMED = {"mixture", "mixture prior", "assignments", "one by one", "two views", "shared switch"}
OUTSIDE = {"global", "hierarchy", "own subsample", "no plate", "shared switch"}
NO_PATH = {"own noise"}


def refuses(name: str, option: dict[str, Any]) -> bool:
    many = option.get("kind") in ("iwae", "renyi")
    if option.get("kind") == "meanfield" or "penalties" in option:
        if name in SUMMED:
            return True
    if many:
        return name in OUTSIDE
    rates = "free_bits" in option or isinstance(option.get("kl_weight"), TargetRate)
    if isinstance(option.get("kl_weight"), TargetRate) and name == "mixture":
        return True  # no latent has a rate
    return rates and name == "shared switch"


def loss_of(objective: Objective, name: str, **more: Any) -> Tensor:
    model, guide, data = PAIRS[name]
    model, guide = bind(Taught(model), guide, *data)
    with seeded(7), pyro.validation_enabled(more.pop("checked", True)):
        return objective.loss(model, guide, data, **more)


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("name", PAIRS)
def test_an_option_that_changes_nothing_is_the_plain_bound(name: str, option: str) -> None:
    chosen = OPTIONS[option]
    objective = Objective(**chosen)
    if refuses(name, chosen):
        with pytest.raises((PairError, ValueError)):
            loss_of(objective, name)
        return
    # closed forms of the rates, where the option takes them
    closed = name not in SUMMED and (
        chosen.get("kind") == "meanfield"
        or "free_bits" in chosen
        or isinstance(chosen.get("kl_weight"), TargetRate)
    )
    plain = Objective("meanfield" if closed else "auto")
    for size in (None, 60) if name not in ("no plate", "shared switch") else (None,):
        if size and PAIRS[name][0].__class__.__name__ in ("OwnSubsample", "Local"):
            size = None  # it says N itself
        expected = loss_of(plain, name, data_size=size)
        found = loss_of(objective, name, data_size=size)
        torch.testing.assert_close(found, expected, rtol=2e-5, atol=2e-5)
        torch.testing.assert_close(
            loss_of(objective, name, data_size=size, checked=False), expected, rtol=2e-5, atol=2e-5
        )


@pytest.mark.parametrize("name", PAIRS)
def test_subsets_of_what_has_no_modalities_are_the_plain_bound(name: str) -> None:
    found = loss_of(SubsetObjective(), name)
    torch.testing.assert_close(found, loss_of(Objective(), name), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("terms", ["own", "cross"])
def test_subsets_of_rows_with_one_modality_are_the_plain_bound(terms: Any) -> None:
    model, guide = exact_pair()
    data = {n: torch.randn(5, width).double() for n, width in WIDTHS.items()}
    mask = torch.eye(3).bool()[torch.tensor([0, 1, 2, 1, 0])]
    losses = []
    for objective in (Objective(), SubsetObjective(modalities=tuple(WIDTHS), terms=terms)):
        with seeded(3):
            losses.append(objective.loss(model, guide, (), data | {"mask": mask}))
    torch.testing.assert_close(*losses)
