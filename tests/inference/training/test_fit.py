from __future__ import annotations

import logging
import math
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoNormal
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from inference import CheckpointError, Objective, PairError, Run, fit
from inference.schedules import cosine, linear
from inference.tracing.bind import bind
from ppl_models import InputError
from tests import pairs
from tests.inference.training.fitting import QUIET, conjugate, data, same


class PointGuide(nn.Module):
    """q(mu) is a point: the bound of `pairs.GlobalMean` without any noise."""

    def __init__(self, loc: float = 0.3) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.tensor(loc))

    def forward(self, x: Tensor | None = None, size: int = 1) -> None:
        pyro.sample("mu", dist.Delta(self.loc))


# -- what is learned -------------------------------------------------------------------------------


def test_the_exact_posterior_of_a_global_latent_is_found() -> None:
    """Adam's iterates jitter by up to six rates of 0.03, the tolerance; a batch that was taken for
    the data set would widen the posterior by sqrt 2, 0.35 in its logarithm.
    """
    x = data(50)
    guide = pairs.GlobalMeanGuide(loc=0.0, scale=0.3)
    exact = pairs.GlobalMean().posterior(x)
    rate = {"learning_rate": 0.03, "objective": Objective("meanfield")}
    fit(pairs.GlobalMean(), guide, x, epochs=80, batch_size=25, **rate, **QUIET)
    assert abs(guide.loc.item() - exact.loc.item()) < 6 * 0.03
    assert abs(guide.log_scale.item() - exact.scale.log().item()) < 6 * 0.03


def test_amortised_training_reaches_the_evidence() -> None:
    """The gap at the end is that of a guide within a few hundredths of the posterior's s.d."""
    x = data(256)
    model, guide = conjugate()
    run = fit(model, guide, x, epochs=20, batch_size=32, learning_rate=0.02, **QUIET)
    evidence = model.evidence(x).mean().item()  # the best that any guide reaches
    assert run.history[0]["bound"] < evidence - 0.02
    assert run.history[-1]["bound"] == pytest.approx(evidence, abs=0.01)
    assert run.history[-1]["bound"] > run.history[0]["bound"]


@pytest.mark.parametrize("batch_size", [3, 32, 100, 1000])
def test_the_loss_over_minibatches_is_that_of_the_data_set(batch_size: int) -> None:
    """An exact guide's bound is the evidence at every draw, so there is no noise to allow for."""
    x = data(100)
    model, guide = conjugate(exact=True)
    evidence = model.evidence(x).mean().item()
    still = {"learning_rate": 1e-12, "epochs": 1, "batch_size": batch_size}
    run = fit(model, guide, x, **still, **QUIET)
    assert -run.history[0]["loss"] == pytest.approx(evidence, abs=1e-5)
    assert run.history[0]["bound"] == pytest.approx(evidence, abs=1e-5)
    spread = model.evidence(x).std().item() / 10
    assert run.history[0]["bound_se"] == pytest.approx(spread, rel=1e-4)
    assert run.history[0]["step"] == math.ceil(100 / batch_size)


@pytest.mark.parametrize("batch_size", [7, 32, 100])
def test_a_global_latent_counts_once_in_the_data_set(batch_size: int) -> None:
    x = data(100)
    prior, noise = dist.Normal(0.0, 3.0), dist.Normal(0.3, 1.0)
    whole = (noise.log_prob(x).sum() + prior.log_prob(torch.tensor(0.3))).item() / 100
    still = {"learning_rate": 1e-12, "epochs": 1, "batch_size": batch_size}
    run = fit(pairs.GlobalMean(), PointGuide(), x, **still, **QUIET)
    assert -run.history[0]["loss"] == pytest.approx(whole, abs=1e-5)
    assert run.history[0]["bound"] == pytest.approx(whole, abs=1e-5)
    if batch_size == 100:
        assert math.isnan(run.history[0]["bound_se"])
    else:  # the batches' spread estimates that of the data, give or take their small number
        assert run.history[0]["bound_se"] == pytest.approx(noise.log_prob(x).std() / 10, rel=1)


def test_a_weight_on_the_kl_changes_the_loss_and_not_the_bound() -> None:
    x = data(100)
    plain, weighted = (
        fit(*conjugate(), x, epochs=1, learning_rate=1e-12, objective=objective, **QUIET)
        for objective in (Objective(), Objective(kl_weight=0.0))
    )
    assert weighted.history[0]["bound"] == pytest.approx(plain.history[0]["bound"], abs=1e-6)
    assert weighted.history[0]["loss"] < plain.history[0]["loss"] - 0.1
    assert weighted.history[0]["kl_weight"] == 0


def test_a_large_data_set_is_reported_on_a_part_of_it() -> None:
    x = data(20_000)
    model, guide = conjugate(exact=True)
    run = fit(model, guide, x, epochs=1, batch_size=5000, learning_rate=1e-12, **QUIET)
    row = run.history[0]
    assert row["bound_se"] == pytest.approx(model.evidence(x).std().item() / 625**0.5, rel=0.15)
    assert abs(row["bound"] - model.evidence(x).mean().item()) < 4 * row["bound_se"]


def test_a_loop_of_ones_own_needs_three_lines() -> None:
    """As in the docstring of `inference.fit`; it ends near where `fit` does."""
    x = data(256)
    model, guide = bind(*conjugate(), x[:5])
    optimizer = torch.optim.Adam([*model.parameters(), *guide.parameters()], 0.02)
    for step in range(160):
        optimizer.zero_grad()
        batch = x[torch.randint(256, (32,))]
        Objective().loss(model, guide, (batch,), step=step, data_size=len(x)).backward()
        optimizer.step()
    bound = Objective().bound(model, guide, (x,)).mean().item()
    assert bound == pytest.approx(model.evidence(x).mean().item(), abs=0.01)


# -- kinds of pairs --------------------------------------------------------------------------------


def test_two_plain_functions_are_trained_and_the_store_stays_empty(untouched: None) -> None:
    x = data(60)
    run = fit(
        pairs.function_model,
        pairs.function_guide,
        x,
        epochs=25,
        batch_size=30,
        learning_rate=0.05,
        **QUIET,
    )
    values = dict(run.guide.named_parameters())
    assert values["loc_unconstrained"].item() == pytest.approx(x.mean().item(), abs=0.3)
    assert run.history[-1]["bound"] > run.history[0]["bound"]


def test_an_autoguide_of_a_global_latent() -> None:
    x = data(60)
    model = pairs.GlobalMean()
    guide = AutoNormal(model)
    fit(model, guide, x, epochs=25, batch_size=30, learning_rate=0.05, **QUIET)
    exact = model.posterior(x)
    assert guide.median()["mu"].item() == pytest.approx(exact.loc.item(), abs=0.3)


def test_an_autoguide_of_local_latents_takes_all_data_at_once() -> None:
    x = data(300)
    model = pairs.Conjugate()
    guide = AutoNormal(model)
    run = fit(model, guide, x, epochs=20, batch_size=300, learning_rate=0.05, **QUIET)
    assert guide.median(x)["z"].shape == (300,)
    assert run.history[-1]["bound"] > run.history[0]["bound"]


def test_enumerated_sites_are_summed() -> None:
    x = torch.cat([data(60) - 3, data(60) + 3])
    model = pairs.TwoComponents()
    start = model.evidence(x).mean().item()
    run = fit(model, pairs.NoLatents(), x, epochs=20, batch_size=40, learning_rate=0.1, **QUIET)
    assert run.history[-1]["bound"] == pytest.approx(model.evidence(x).mean().item(), abs=1e-4)
    assert run.history[-1]["bound"] > start + 0.5


def test_a_module_that_hides_parameters_in_the_store_is_refused(untouched: None) -> None:
    class Stray(pairs.ConjugateGuide):
        def forward(self, x: Tensor | None = None, size: int = 1) -> None:
            shift = pyro.param("shift", torch.tensor(0.0))
            with pyro.plate("data", len(x), dim=-1):
                pyro.sample("z", dist.Normal(self.slope * x + shift, self.log_scale.exp()))

    with pytest.raises(PairError, match="shift"):
        fit(pairs.Conjugate(), Stray(), data(), **QUIET)


def test_a_pair_without_parameters_is_refused() -> None:
    with pytest.raises(PairError, match="no parameter to train"):
        fit(pairs.GlobalMean(), pairs.GlobalMeanGuide().requires_grad_(False), data(), **QUIET)


# -- settings --------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_run_and_another_seed_another(untouched: None) -> None:
    def run(seed: int) -> Run:
        options = {"epochs": 3, "batch_size": 16, "validation": 0.2}
        return fit(*conjugate(), data(), seed=seed, **options, **QUIET)

    first = run(3)
    torch.rand(3)
    assert same(first, run(3))
    assert not same(first, run(4))
    torch.manual_seed(0)


def test_two_fits_in_one_process_do_not_meet() -> None:
    """The second runs inside the first; both end as they do alone."""
    inner: list[Run] = []

    def nest(step: int, loss: float) -> None:
        if step == 3:
            inner.append(fit(*conjugate(), data(seed=5), epochs=2, batch_size=30, **QUIET))

    options = {"epochs": 2, "batch_size": 40, **QUIET}
    outer = fit(*conjugate(), data(), on_step=nest, **options)
    assert same(outer, fit(*conjugate(), data(), **options))
    assert same(inner[0], fit(*conjugate(), data(seed=5), epochs=2, batch_size=30, **QUIET))


def test_the_best_weights_by_validation_remain() -> None:
    """A rate that is too high makes later epochs worse than some before."""
    model, guide = conjugate()
    options = {"epochs": 12, "batch_size": 10, "learning_rate": 0.5, "validation": 0.3}
    kept: list[dict[str, Tensor]] = []

    def watch(step: int, loss: float) -> None:
        if step % 7 == 0:
            kept.append({name: t.detach().clone() for name, t in guide.state_dict().items()})

    run = fit(model, guide, data(), on_step=watch, **options, **QUIET)
    bounds = [row["validation_bound"] for row in run.history]
    assert run.best_epoch == 1 + int(np.argmax(bounds)) < 12
    assert run.best_bound == max(bounds)
    best = kept[run.best_epoch - 1]
    assert all(torch.equal(best[name], tensor) for name, tensor in guide.state_dict().items())
    assert "whose weights these are" in str(run)


def test_validation_data_of_their_own_are_judged_in_every_form() -> None:
    model, guide = conjugate(exact=True)
    held = data(30, seed=8)
    options = {"epochs": 1, "learning_rate": 1e-12, **QUIET}
    evidence = model.evidence(held).mean().item()
    for validation in (held, (held,), {"x": held}, DataLoader(TensorDataset(held), 8)):
        run = fit(model, guide, data(), validation=validation, **options)
        assert run.history[0]["validation_bound"] == pytest.approx(evidence, abs=1e-5)
        assert run.history[0]["validation_bound_se"] > 0


def test_patience_stops_after_so_many_epochs_without_a_better_bound() -> None:
    options = {"learning_rate": 1e-12, "epochs": 50, "validation": 0.5, "patience": 3}
    run = fit(*conjugate(), data(), **options, **QUIET)
    assert run.epochs == len(run.history) == run.best_epoch + 3
    assert "Stopped early: no better bound for 3 epochs" in str(run)


def test_clipping_bounds_the_step() -> None:
    places: list[Tensor] = []
    model, guide = conjugate()

    def watch(step: int, loss: float) -> None:
        both = [*model.parameters(), *guide.parameters()]
        places.append(torch.cat([p.detach().flatten() for p in both]))

    def sgd(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=1.0)

    options = {"epochs": 3, "optimizer": sgd, "on_step": watch, **QUIET}
    fit(model, guide, 9 * data(), clip=0.01, **options)
    steps = torch.stack(places).diff(dim=0).norm(dim=1)
    assert (steps < 0.01 * (1 + 1e-4)).all()
    assert (steps > 0.009).any()


def test_hooks_are_given_the_step() -> None:
    steps_seen: list[int] = []

    class Scheduled(pairs.ConjugateGuide):
        def set_step(self, step: int) -> None:
            steps_seen.append(step)

    steps: list[int] = []
    fit(
        pairs.Conjugate(),
        Scheduled(),
        data(),
        epochs=2,
        batch_size=50,
        on_step=lambda step, loss: steps.append(step),
        **QUIET,
    )
    assert steps_seen == [0, 0, 1, 2, 3]  # the first before the pair is looked at
    assert steps == [1, 2, 3, 4]


def test_a_warm_up_longer_than_training_is_said() -> None:
    options = {"epochs": 2, "batch_size": 50, **QUIET}
    slow = fit(*conjugate(), data(), objective=Objective(kl_weight=linear(100)), **options)
    assert slow.history[-1]["kl_weight"] == pytest.approx(0.03)
    assert "KL weight had only reached 0.03" in str(slow)
    quick = fit(*conjugate(), data(), objective=Objective(kl_weight=linear(2)), **options)
    assert not quick.notes and "KL weight" not in str(quick)
    low = linear(2, end=0.1)  # a weight that is meant to stay there
    assert not fit(*conjugate(), data(), objective=Objective(kl_weight=low), **options).notes


def test_modules_end_in_evaluation_mode_and_the_report_leaves_their_buffers() -> None:
    class Normed(pairs.ConjugateGuide):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(1)

        def forward(self, x: Tensor | None = None, size: int = 1) -> None:
            x = self.norm(x[:, None])[:, 0]  # type: ignore[index]
            super().forward(x, size)

    guide = Normed()
    run = fit(pairs.Conjugate(), guide, data(), epochs=2, batch_size=50, validation=0.1, **QUIET)
    assert guide.norm.num_batches_tracked.item() in (2, 4)  # of the best epoch: 2 steps each
    assert not run.model.training and not guide.norm.training


def test_no_epoch_at_all() -> None:
    run = fit(*conjugate(), data(), epochs=0, **QUIET)
    assert run.history == [] and run.best_bound is None and run.epochs == 0
    assert "Not trained" in str(run)


def test_the_summary_reads_well() -> None:
    run = fit(*conjugate(), data(), epochs=2, batch_size=50, **QUIET)
    assert str(run).startswith("Trained 2 epochs (4 steps) in ")
    assert "nats per observation on the training data." in str(run)


# -- manners ---------------------------------------------------------------------------------------


def test_nothing_is_printed_warned_or_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    level = logging.getLogger("lightning.pytorch").level
    handler = signal.getsignal(signal.SIGINT)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(*conjugate(), data(), epochs=2)  # no terminal: no bar
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())
    assert logging.getLogger("lightning.pytorch").level == level
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_terminal_gets_a_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    fit(*conjugate(), data(), epochs=3, batch_size=50)
    shown = capsys.readouterr().err
    assert "6/6" in shown and "epoch 3/3" in shown and "bound -" in shown


def test_importing_inference_does_not_import_lightning() -> None:
    code = "import sys, inference; print('lightning' in sys.modules, 'torch' in sys.modules)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.split() == ["False", "False"]


def test_a_schedule_sets_the_rate_of_any_optimiser_before_each_step() -> None:
    seen: list[float] = []

    class Watched(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            loss = super().step(closure)
            seen.append(self.param_groups[0]["lr"])
            return loss

    rate = cosine(10, 0.01, warmup=2)
    options = {"optimizer": lambda p: Watched(p, 1.0), "learning_rate": rate, "epochs": 3}
    fit(*conjugate(), data(), batch_size=25, **options, **QUIET)
    assert seen == [rate(step) for step in range(12)]
    assert seen[:3] == [0.005, 0.01, 0.01] and seen[-1] == 0.0


def test_a_transform_sees_each_batch_under_the_seed_of_its_step(tmp_path: Path) -> None:
    def shaken(x: Tensor) -> Tensor:
        return x + torch.randn_like(x)

    whole = fit(*conjugate(), data(), transform=shaken, epochs=4, batch_size=30, **QUIET)
    plain = fit(*conjugate(), data(), epochs=4, batch_size=30, **QUIET)
    assert whole.history[-1]["bound"] < plain.history[-1]["bound"] - 0.05  # noise costs nats
    options: dict[str, Any] = {"transform": shaken, "batch_size": 30, "directory": tmp_path}
    fit(*conjugate(), data(), epochs=2, **options, **QUIET)
    again = fit(*conjugate(), data(), epochs=4, resume=True, **options, **QUIET)
    assert same(whole, again)
    with pytest.raises(CheckpointError, match="transform was"):
        fit(*conjugate(), data(), **{**options, "transform": torch.relu}, resume=True, **QUIET)


def test_a_transform_gets_and_gives_the_form_of_the_data() -> None:
    forms = {"tensor": data(), "tuple": (data(),), "dict": {"x": data()}}
    for form in forms.values():
        got: list[Any] = []
        fit(*conjugate(), form, transform=lambda x, got=got: got.append(x) or x, epochs=1, **QUIET)
        single = not isinstance(form, dict)
        assert isinstance(got[0], Tensor if single else dict)
    with pytest.raises(InputError, match="as many rows"):
        fit(*conjugate(), data(), transform=lambda x: x[:3], epochs=1, **QUIET)
    with pytest.raises(InputError, match="a function of a batch"):
        fit(*conjugate(), data(), transform=3, epochs=1, **QUIET)
