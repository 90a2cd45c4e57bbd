from __future__ import annotations

from typing import Any

import pyro
import pytest
import torch
from torch import Tensor, nn

from inference.errors import PairError
from inference.objectives import FreeBits, Objective, PairTrace, TargetRate
from inference.randomness import seeded
from inference.schedules import cyclical
from tests import pairs
from tests.inference.objectives.test_pathwise_elbo import AUTO, NAMES, case


class Pull(nn.Module):
    """The mean square of the codes, times a weight."""

    def __init__(self, weight: float = 0.7) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, view: PairTrace) -> Tensor:
        return self.weight * view.codes("z").square().mean()


class Judge(nn.Module):
    """A critic: what it says of the codes is the penalty; it learns to say what a prior's are."""

    def __init__(self) -> None:
        super().__init__()
        self.critic = nn.Linear(2, 1, dtype=torch.float64)
        self.optimizer = torch.optim.SGD(self.critic.parameters(), 0.1)
        self.seen: list[PairTrace] = []

    def forward(self, view: PairTrace) -> Tensor:
        return self.critic(view.codes("z")).mean()

    def learn(self, view: PairTrace) -> None:
        self.seen.append(view)
        assert all(p.grad is None for p in self.parameters())  # nothing of the loss's
        z = view.codes("z")
        assert not z.requires_grad
        (self.critic(torch.randn_like(z)).mean() - self.critic(z).mean()).backward()
        self.optimizer.step()


@pytest.mark.parametrize("particles", [1, 3])
@pytest.mark.parametrize("validation", [True, False])
def test_everything_composes(particles: int, validation: bool) -> None:
    model, guide, x = case("vae")
    free, weight = FreeBits(1.2, "element"), cyclical(10)
    penalties = (Pull(), Pull(2.0))
    objective = Objective("auto", weight, particles, free_bits=free, penalties=penalties)
    losses: dict[str, Tensor] = {}
    parts = {
        "whole": objective,
        "free": Objective("auto", 0.6, particles, free_bits=free),
        "penalised": Objective("meanfield", 0.6, particles, penalties=penalties),
        "plain": Objective("meanfield", 0.6, particles),
    }
    with pyro.validation_enabled(validation):
        for name, part in parts.items():
            with seeded(5):
                losses[name] = part.loss(model, guide, (x,), step=3, data_size=60)
    together = losses["free"] + losses["penalised"] - losses["plain"]
    torch.testing.assert_close(losses["whole"], together, rtol=1e-10, atol=1e-10)
    ours, theirs = (
        torch.autograd.grad(loss, [*model.parameters(), *guide.parameters()], retain_graph=True)
        for loss in (losses["whole"], together)
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", ["auto", "trace", "meanfield", "iwae", "renyi"])
def test_a_penalty_adds_to_every_kind(kind: Any) -> None:
    model, guide, x = case("vae")
    with seeded(5):
        plain = Objective(kind, num_particles=2).loss(model, guide, (x,))
    with seeded(5):
        found = Objective(kind, num_particles=2, penalties=(Pull(), Pull(0.0))).measure(
            model, guide, (x,)
        )
    assert set(found.figures) == {"rate", "Pull", "Pull 2"}
    assert found.figures["Pull 2"] == 0
    torch.testing.assert_close(found.loss, plain + found.figures["Pull"])
    with seeded(5):
        bound = Objective(kind, penalties=(Pull(),)).bound(model, guide, (x,))
    with seeded(5):
        same = Objective("trace" if kind in ("iwae", "renyi") else kind).bound(model, guide, (x,))
    assert torch.equal(bound, same)


def test_a_critic_learns_from_draws_as_constants() -> None:
    model, guide, x = case("vae")
    judge = Judge()
    objective = Objective(penalties=(judge,))
    before = judge.critic.weight.clone()
    measured = objective.measure(model, guide, (x,), step=7, data_size=60)
    measured.loss.backward()
    assert judge.critic.weight.grad is not None
    trained = {n: p.grad.clone() for n, p in guide.named_parameters() if p.grad is not None}
    objective.after_step(measured)
    assert not torch.equal(judge.critic.weight, before)
    assert all(p.grad is None for p in judge.parameters())
    assert all(torch.equal(trained[n], p.grad) for n, p in guide.named_parameters())
    (view,) = judge.seen
    assert (view.step, view.batch, view.data_size) == (7, 6, 60)


def test_critics_are_left_alone_where_gradients_are_off() -> None:
    model, guide, x = case("vae")
    with torch.no_grad():
        objective = Objective(penalties=(Judge(),))
        objective.after_step(objective.measure(model, guide, (x,)))


def test_one_penalty_need_not_be_a_tuple() -> None:
    pull = Pull()
    assert Objective(penalties=pull).penalties == (pull,)  # type: ignore[arg-type]
    assert Objective(penalties=[pull]).penalties == (pull,)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected nn.Modules"):
        Objective(penalties=(lambda view: 0.0,))  # type: ignore[arg-type]


def test_a_pair_with_sites_summed_out_has_no_view() -> None:
    for kind in ("auto", "enum", "iwae"):
        objective = Objective(kind, penalties=(Pull(),))  # type: ignore[arg-type]
        with pytest.raises(PairError, match="summed out"):
            objective.loss(pairs.TwoComponents(), pairs.NoLatents(), (torch.randn(3),))


def test_what_is_plain_stays_as_it_was() -> None:
    assert not Objective(kl_weight=cyclical(5)).whole_batch
    assert repr(Objective()) == "Objective(kind='auto', kl_weight=1.0, num_particles=1)"
    assert repr(Objective(alpha=0.2)).endswith("num_particles=1, alpha=0.2)")
    assert Objective(kl_weight=TargetRate(1.0)).whole_batch


class Nothing(nn.Module):
    """A penalty of nothing: the loss is taken apart, and put together again."""

    def forward(self, view: PairTrace) -> Tensor:
        return torch.zeros(())


@pytest.mark.parametrize(
    ("name", "kind"),
    [(n, k) for n in NAMES for k in ("trace", "meanfield")] + [(n, "trace") for n in AUTO],
)
@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_taken_apart_it_is_the_plain_loss(name: str, kind: Any, weight: float) -> None:
    model, guide, x = case(name)
    trained = [p for p in (*model.parameters(), *guide.parameters()) if p.requires_grad]
    size = None if name == "subsampled" else 60
    found = []
    for penalties in ((), (Nothing(),)):
        objective = Objective(kind, weight, 2, penalties=penalties)
        with seeded(5), pyro.validation_enabled(False):
            loss = objective.loss(model, guide, (x,), data_size=size)
        found.append((loss, torch.autograd.grad(loss, trained, allow_unused=True)))
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-10)
