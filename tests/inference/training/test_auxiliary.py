from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from inference import Aggressive, FreeBits, Objective, Run, TargetRate, fit
from inference.errors import CheckpointError, NonFiniteError
from inference.objectives import PairTrace
from inference.randomness import seeded
from inference.tracing.data import HeldSource, columns
from inference.training import epoch_report
from inference.training.auxiliary import ROWS, AuxiliaryModules, some_rows
from inference.training.run_folder import RunFolder
from ppl_models.errors import InputError
from tests import pairs
from tests.inference.training.fitting import QUIET, conjugate, data, interrupt_at, same, train


@pytest.fixture(autouse=True)
def save_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save at each epoch's end, however short the epochs are."""
    monkeypatch.setattr(RunFolder, "SHARE", 0.0)


class Judge(nn.Module):
    """A penalty with a critic and an optimiser of its own; all its state is in its state_dict."""

    def __init__(self) -> None:
        super().__init__()
        with seeded(8):
            self.critic = nn.Linear(1, 1)
        self.optimizer = torch.optim.Adam(self.critic.parameters(), 0.05)

    def forward(self, view: PairTrace) -> Tensor:
        return 0.1 * self.critic(view.codes("z")[:, None]).mean()

    def learn(self, view: PairTrace) -> None:
        self.optimizer.zero_grad()
        z = view.codes("z")[:, None]
        (self.critic(torch.randn_like(z)).mean() - self.critic(z).mean()).square().backward()
        self.optimizer.step()

    def get_extra_state(self) -> dict[str, Any]:
        return self.optimizer.state_dict()

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state)


class Turns(nn.Module):
    """The guide, the model and both in turn, for as long as the information is asked for."""

    mode = "in turn"

    def __init__(self, ask: bool = False) -> None:
        super().__init__()
        self.count, self.epochs, self.ask, self.losses = 0, 0, ask, list[float]()

    def turn(self, step: int) -> str:
        return ("guide", "model", "both")[(self.count + self.epochs) % 3]

    def after_step(self, loss: float) -> None:
        self.count += 1
        self.losses.append(loss)

    def after_epoch(self, information: Callable[[], float]) -> None:
        self.epochs += 1
        if self.ask:
            information()

    def reset(self) -> None:
        self.count, self.epochs, self.losses = 0, 0, []

    def get_extra_state(self) -> dict[str, Any]:
        return {"count": self.count, "epochs": self.epochs, "losses": list(self.losses)}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.count, self.epochs, self.losses = state["count"], state["epochs"], state["losses"]

    def extra_repr(self) -> str:
        return f"ask={self.ask}"


CASES: dict[str, Callable[[], dict[str, Any]]] = {
    "target rate": lambda: {"objective": Objective(kl_weight=TargetRate(0.5, step=0.1))},
    "critic": lambda: {"objective": Objective(penalties=(Judge(),))},
    "updates": lambda: {"updates": Turns()},
    "aggressive": lambda: {"updates": Aggressive(most=4, check=1, look=1)},
    "many draws": lambda: {"objective": Objective("iwae", num_particles=3)},
    "free bits": lambda: {"objective": Objective(free_bits=FreeBits(0.4))},
    "all": lambda: {
        "objective": Objective(
            kl_weight=TargetRate(0.5), penalties=(Judge(),), free_bits=FreeBits(0.2)
        ),
        "updates": Turns(),
    },
}


def state(settings: dict[str, Any]) -> list[Any]:
    """What there is beside the pair, as numbers."""
    objective = settings.get("objective", Objective())
    parts = [objective.kl_weight, *objective.penalties, settings.get("updates")]
    return [part.state_dict() for part in parts if isinstance(part, nn.Module)]


@pytest.mark.parametrize(
    "name",
    [n if n in ("all", "aggressive") else pytest.param(n, marks=pytest.mark.slow) for n in CASES],
)
def test_an_interrupted_run_goes_on_to_the_same_numbers(tmp_path: Path, name: str) -> None:
    """Step 6 is within the second of four epochs."""
    whole, first, second = (CASES[name]() for _ in range(3))
    unbroken = train(**whole)
    broken = train(directory=tmp_path, on_step=interrupt_at(6), **first)
    assert broken.interrupted
    resumed = train(directory=tmp_path, resume=True, **second)
    assert same(resumed, unbroken) and not resumed.interrupted
    assert repr(state(second)) == repr(state(whole))  # tensors of few numbers print all of them
    if name not in ("many draws", "free bits"):
        assert repr(state(first)) != repr(state(whole))


@pytest.mark.parametrize("name", ["target rate", "updates"])
def test_a_new_run_starts_from_the_beginning(name: str) -> None:
    settings = CASES[name]()
    assert same(train(epochs=2, **settings), train(epochs=2, **settings))


def test_another_setting_is_another_run(tmp_path: Path) -> None:
    train(epochs=1, directory=tmp_path, objective=Objective(kl_weight=TargetRate(0.5)))
    with pytest.raises(CheckpointError, match="another run"):
        again = Objective(kl_weight=TargetRate(0.6))
        train(epochs=1, directory=tmp_path, resume=True, objective=again)
    train(epochs=1, directory=tmp_path / "updates", updates=Turns())
    with pytest.raises(CheckpointError, match="updates was"):
        train(epochs=1, directory=tmp_path / "updates", resume=True, updates=Turns(ask=True))


def test_the_history_says_what_was_measured() -> None:
    settings = CASES["all"]()
    run = train(epochs=2, **settings)
    for row in run.history:
        assert {"rate", "Judge", "updates"} <= set(row) and "information" not in row
        assert row["rate"] > 0 and row["updates"] == "in turn"
    assert run.history[-1]["kl_weight"] == settings["objective"].kl_weight.weight != 1.0
    assert len(settings["updates"].losses) == 8
    assert not set(train(epochs=1).history[0]) & {"rate", "updates"}


def test_the_rate_in_the_history_is_its_mean_over_the_epoch() -> None:
    seen: list[float] = []

    class Watched(TargetRate):
        def update(self, rate: float) -> None:
            seen.append(rate)

    run = train(epochs=1, objective=Objective(kl_weight=Watched(0.5)))
    # batches of 30, 30, 30 and 10; the split is of 100 data for training
    expected = (30 * sum(seen[:3]) + 10 * seen[3]) / 100
    assert math.isclose(run.history[0]["rate"], expected, rel_tol=1e-6)


# -- whose turn it is


def moved(turn: str) -> tuple[set[str], Run]:
    class Always(Turns):
        def turn(self, step: int) -> str:
            return turn

    model, guide = conjugate()
    before = {n: p.clone() for m in (model, guide) for n, p in m.named_parameters()}
    run = fit(model, guide, data(), epochs=1, batch_size=30, updates=Always(), **QUIET)
    after = {n: p for m in (run.model, run.guide) for n, p in m.named_parameters()}
    return {n for n in before if not torch.equal(before[n], after[n])}, run


@pytest.mark.parametrize(
    ("turn", "names"),
    [
        ("guide", {"slope", "log_scale"}),
        ("model", {"log_noise"}),
        ("both", {"slope", "log_scale", "log_noise"}),
    ],
)
def test_only_those_move_whose_turn_it_is(turn: str, names: set[str]) -> None:
    assert moved(turn)[0] == names


def test_an_unknown_turn_is_refused() -> None:
    with pytest.raises(InputError, match="both, guide or model"):
        moved("decoder")
    with pytest.raises(InputError, match="updates=Aggressive"):
        train(updates="aggressive")


def moving(model: nn.Module, guide: nn.Module, turn: str) -> set[int]:
    """Which parameters keep their gradient in a turn, by identity."""
    modules = AuxiliaryModules(Objective(), Turns(), model, guide)
    every = [*model.parameters(), *guide.parameters()]
    for p in every:
        p.grad = torch.ones_like(p)
    modules.turn = turn
    modules.freeze()
    return {id(p) for p in every if p.grad is not None}


def test_parameters_of_both_move_in_the_models_turn() -> None:
    model, guide = conjugate()
    guide.log_scale = model.log_noise
    assert moving(model, guide, "guide") == {id(guide.slope)}
    assert moving(model, guide, "model") == {id(model.log_noise)}


def test_a_guide_that_shares_all_it_has_still_has_its_turn() -> None:
    """The encoder of a VampPrior's guide is its model's, too."""
    model, guide = conjugate()
    model.guide = guide
    assert moving(model, guide, "guide") == {id(guide.slope), id(guide.log_scale)}
    assert moving(model, guide, "model") == {id(model.log_noise)}


def test_updates_are_given_the_information(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def stub(model: Any, guide: Any, found: Any, seed: int, plate: Any) -> float:
        sizes.append(found.size)
        return 0.25 * len(sizes)

    monkeypatch.setattr(epoch_report, "information", stub)
    run = train(epochs=3, updates=Turns(ask=True))
    assert [row["information"] for row in run.history] == [0.25, 0.5, 0.75]
    assert sizes == [40, 40, 40]  # the validation data


def test_the_information_is_that_of_the_pair() -> None:
    x = data(200)
    run = fit(*conjugate(True), x, epochs=1, learning_rate=1e-9, updates=Turns(ask=True), **QUIET)
    # x ~ N(0.5, 4), q(z | x) = N(0.94 x, 0.485): the marginal's variance against the posterior's
    exact = 0.5 * math.log(1 + (4 / 4.25) ** 2 * x.var().item() * 4.25)
    assert abs(run.history[0]["information"] - exact) < 0.2  # 200 draws of a log of spread 1


def test_information_is_of_so_many_rows() -> None:
    held = [columns((torch.arange(700.0), "kept"), "data"), columns((torch.ones(700), "kept"), "")]
    found = some_rows(HeldSource(held), seed=0)
    assert found.size == ROWS == len(found.args[0]) and found.args[1] == "kept"
    named = some_rows(HeldSource([columns({"x": torch.ones(3)}, "data")] * 2), seed=0)
    assert named.size == 6 and len(named.kwargs["x"]) == 6


# -- what is refused


def test_a_penalty_that_is_not_finite_is_named() -> None:
    class Broken(nn.Module):
        def forward(self, view: PairTrace) -> Tensor:
            return view.codes("z").mean() * math.nan

    with pytest.raises(NonFiniteError, match=r"Broken(.|\n)*epoch 1, batch 1"):
        train(objective=Objective(penalties=(Broken(),)))


def test_the_optimiser_never_sees_a_critic() -> None:
    seen: list[int] = []

    def optimizer(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        seen.append(len(parameters))
        return torch.optim.Adam(parameters)

    judge = Judge()
    train(epochs=1, objective=Objective(penalties=(judge,)), optimizer=optimizer)
    assert seen == [3]
    assert all(p.grad is None for p in judge.parameters())

    class Known(pairs.Conjugate):  # a model whose prior is read off a critic
        def __init__(self) -> None:
            super().__init__()
            self.critic = judge.critic

    objective = Objective(penalties=(judge,))
    fit(Known(), pairs.ConjugateGuide(), data(), epochs=1, objective=objective, **QUIET)
    fit(
        Known(),
        pairs.ConjugateGuide(),
        data(),
        epochs=1,
        objective=objective,
        optimizer=optimizer,
        **QUIET,
    )
    assert seen == [3, 3]


@pytest.mark.parametrize("name", ["target rate", "critic", "updates", "free bits"])
def test_several_processes_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="which look at a batch as a whole"):
        train(accelerator="cpu", devices=2, strategy="ddp_spawn", **CASES[name]())


def test_a_steered_run_keeps_its_last_weights() -> None:
    run = train(objective=Objective(kl_weight=TargetRate(0.01, step=1.0, start=1.0)))
    bounds = [row["validation_bound"] for row in run.history]
    assert bounds.index(max(bounds)) < 3 and run.best_epoch == 4
