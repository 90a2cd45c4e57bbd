from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import autoguide
from torch import Tensor, nn

from inference import fit, load, save
from inference.errors import CheckpointError

X = torch.linspace(-1.0, 1.0, 6)


def story(x: Tensor, y: Tensor | None = None) -> None:
    b = pyro.sample("b", dist.Normal(0.0, 1.0))
    s = pyro.sample("s", dist.HalfNormal(1.0))
    with pyro.plate("data", len(x)):
        pyro.sample("y", dist.Normal(b * x, s), obs=y)


def listed(model: Any) -> autoguide.AutoGuideList:
    guide = autoguide.AutoGuideList(model)
    guide.append(autoguide.AutoNormal(poutine.block(model, expose=["b"])))
    guide.append(autoguide.AutoDelta(poutine.block(model, expose=["s"])))
    return guide


KINDS = [
    autoguide.AutoNormal,
    autoguide.AutoDelta,
    autoguide.AutoDiagonalNormal,
    autoguide.AutoMultivariateNormal,
    autoguide.AutoLowRankMultivariateNormal,
    autoguide.AutoIAFNormal,
    autoguide.AutoLaplaceApproximation,
    autoguide.AutoStructured,
    autoguide.AutoGaussian,
    autoguide.AutoNormalMessenger,
    autoguide.AutoHierarchicalNormalMessenger,
    autoguide.AutoRegressiveMessenger,
    listed,
]


def draws(guide: Any) -> dict[str, Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        found = guide(X, 2 * X)
    return {name: found[name] for name in ("b", "s")}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_autoguide_is_loaded_before_it_has_met_data(
    kind: Callable[[Any], nn.Module], tmp_path: Path
) -> None:
    path, guide = tmp_path / "guide.safetensors", kind(story)
    fit(story, guide, (X, 2 * X), epochs=3, learning_rate=0.1, progress=False)
    save(path, guide, model="m", config={})
    fresh = kind(story)
    load(path, into=fresh)
    saved = guide.state_dict()
    waiting = fresh.state_dict()
    assert waiting.keys() == saved.keys()
    assert all(torch.equal(waiting[name], saved[name]) for name in saved)
    ours, theirs = draws(guide), draws(fresh)  # by hand: the first run of the fresh one
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert type(fresh) is type(guide)
    filled = fresh.state_dict()
    assert all(torch.equal(filled[name], saved[name]) for name in saved)


def test_a_loaded_autoguide_goes_on_where_the_saved_one_stood(tmp_path: Path) -> None:
    path, guide = tmp_path / "guide.safetensors", autoguide.AutoNormal(story)
    fit(story, guide, (X, 2 * X), epochs=3, learning_rate=0.1, progress=False)
    save(path, {"guide": guide}, model="m", config={})
    fresh = autoguide.AutoNormal(story)
    load(path, into={"guide": fresh})
    again = [
        fit(story, g, (X, 2 * X), epochs=3, progress=False, seed=4).history[-1]["bound"]
        for g in (guide, fresh)
    ]
    assert again[0] == again[1]


def test_the_first_run_names_the_file_that_does_not_fit(tmp_path: Path) -> None:
    path, other = tmp_path / "guide.safetensors", autoguide.AutoNormal(story)
    fit(story, other, (X, 2 * X), epochs=1, progress=False)
    save(path, other, model="m", config={})
    fresh = autoguide.AutoDelta(story)
    load(path, into=fresh)
    for _ in range(2):  # and again: nothing was filled by halves
        with pytest.raises(CheckpointError, match="does not fit") as error:
            fresh(X, 2 * X)
        assert error.value.path == path


def test_a_file_is_loaded_twice_before_the_first_run(tmp_path: Path) -> None:
    path, guide = tmp_path / "guide.safetensors", autoguide.AutoNormal(story)
    fit(story, guide, (X, 2 * X), epochs=1, progress=False)
    save(path, guide, model="m", config={})
    fresh = autoguide.AutoNormal(story)
    load(path, into=fresh)
    load(path, into=fresh)
    assert draws(fresh) == draws(guide)


def test_a_module_around_an_autoguide_has_its_own_weights_at_once(tmp_path: Path) -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(2))
            self.inner = autoguide.AutoNormal(story)

        def forward(self, *args: Any) -> Any:
            return self.inner(*args)

    path, both = tmp_path / "both.safetensors", Both()
    both.weight.data.fill_(3.0)
    both(X, X)
    save(path, both, model="m", config={})
    fresh = Both()
    load(path, into=fresh)
    assert fresh.weight.tolist() == [3.0, 3.0]
    assert draws(fresh) == draws(both)
