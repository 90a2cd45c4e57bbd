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
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from inference import NonFiniteError, Objective, PairError, Run, fit
from inference.schedules import linear
from ppl_models.errors import InputError
from tests import pairs

QUIET: dict[str, Any] = {"progress": False}


def data(size: int = 100, seed: int = 1) -> Tensor:
    return 2 * torch.randn(size, generator=torch.Generator().manual_seed(seed)) + 0.5


def conjugate(exact: bool = False) -> tuple[nn.Module, nn.Module]:
    return pairs.Conjugate(), pairs.ConjugateGuide(exact)


def parameters(run: Run) -> list[Tensor]:
    return [*run.model.state_dict().values(), *run.guide.state_dict().values()]


def same(left: Run, right: Run) -> bool:
    equal = all(torch.equal(a, b) for a, b in zip(parameters(left), parameters(right), strict=True))
    return equal and repr(left.history) == repr(right.history)


class PointGuide(nn.Module):
    """q(mu) is a point: the bound of `pairs.GlobalMean` without any noise."""

    def __init__(self, loc: float = 0.3) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.tensor(loc))

    def forward(self, x: Tensor | None = None, num_data: int = 1) -> None:
        pyro.sample("mu", dist.Delta(self.loc))


# -- what is learned ---------------------------------------------------------------------------


def test_the_exact_posterior_of_a_global_latent_is_found() -> None:
    """Adam at a rate of 0.03 stays within about that of the optimum: 0.2 of a posterior s.d."""
    x = data(50)
    guide = pairs.GlobalMeanGuide(loc=0.0, scale=0.3)
    exact = pairs.GlobalMean().posterior(x)
    rate = {"learning_rate": 0.03, "objective": Objective("meanfield")}
    fit(pairs.GlobalMean(), guide, x, epochs=40, batch_size=25, **rate, **QUIET)
    assert abs(guide.loc.item() - exact.loc.item()) < 0.5 * exact.scale.item()
    assert guide.log_scale.exp().item() == pytest.approx(exact.scale.item(), rel=0.3)


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


# -- forms of data -----------------------------------------------------------------------------


class Regression(nn.Module):
    """y_i ~ N(a x_i, 1), with a free scale for masked rows; z_i unused but latent."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(0.0))

    def forward(
        self, x: Tensor, y: Tensor | None = None, mask: Tensor | None = None, power: int = 1
    ) -> None:
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(()), 1.0))
            noise = dist.Normal(self.slope * x**power + z, 1.0)
            noise = noise if mask is None else noise.mask(mask)
            pyro.sample("y", noise, obs=y)


class RegressionGuide(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(0.1))

    def forward(
        self, x: Tensor, y: Tensor | None = None, mask: Tensor | None = None, power: int = 1
    ) -> None:
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(self.gain * y, 1.0))


X, Y = data(40, 2), data(40, 3)
FORMS: dict[str, Any] = {
    "tuple": (X, Y),
    "list": [X, Y],
    "dict": {"y": Y, "x": X},
    "none": (X, Y, None),
    "number": {"x": X, "y": Y, "mask": None, "power": 1},
    "mask": {"x": X, "y": Y, "mask": torch.ones(40, dtype=torch.bool)},
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_same_data_trains_the_same(form: str) -> None:
    options = {"epochs": 2, "batch_size": 16, **QUIET}
    usual = fit(Regression(), RegressionGuide(), FORMS["tuple"], **options)
    other = fit(Regression(), RegressionGuide(), FORMS[form], **options)
    assert usual.model.slope.item() != 0
    for a, b in zip(parameters(usual), parameters(other), strict=True):
        assert torch.allclose(a, b, rtol=1e-5)


class Rows(Dataset):
    """Data sets that give dicts."""

    def __len__(self) -> int:
        return 40

    def __getitem__(self, i: int) -> dict[str, Tensor]:
        return {"x": X[i], "y": Y[i]}


class Stream(IterableDataset):
    def __iter__(self) -> Any:
        yield from zip(X, Y, strict=True)


@pytest.mark.parametrize("kind", ["tuples", "dicts", "stream"])
def test_a_dataloader_trains_like_the_tensors_in_it(kind: str) -> None:
    sets = {"tuples": TensorDataset(X, Y), "dicts": Rows(), "stream": Stream()}
    size = 40 if kind == "stream" else None
    loader = DataLoader(sets[kind], batch_size=16)
    run = fit(Regression(), RegressionGuide(), loader, epochs=3, data_size=size, **QUIET)
    assert [row["step"] for row in run.history] == [3, 6, 9]  # 16 + 16 + 8
    again = fit(Regression(), RegressionGuide(), loader, epochs=3, data_size=size, **QUIET)
    assert same(run, again)


def test_a_dataloader_that_shuffles_follows_the_seed() -> None:
    def run(seed: int, generator: torch.Generator | None = None) -> Run:
        loader = DataLoader(TensorDataset(X, Y), 16, shuffle=True, generator=generator)
        return fit(Regression(), RegressionGuide(), loader, epochs=2, seed=seed, **QUIET)

    assert same(run(0), run(0))
    assert not same(run(0), run(1))
    assert same(run(0, torch.Generator()), run(0, torch.Generator().manual_seed(9)))


def test_a_whole_epoch_sees_every_row_once_in_another_order_each_time() -> None:
    seen: list[Tensor] = []

    class Watch(pairs.Conjugate):
        def forward(self, x: Tensor | None = None, num_data: int = 1) -> Tensor:
            if torch.is_grad_enabled() and x is not None:  # a training step
                seen.append(x.detach().clone())
            return super().forward(x, num_data)

    x = torch.arange(50.0) / 50
    fit(Watch(), pairs.ConjugateGuide(), x, epochs=2, batch_size=20, **QUIET)
    assert [len(batch) for batch in seen] == [20, 20, 10] * 2
    first, second = torch.cat(seen[:3]), torch.cat(seen[3:])
    assert torch.equal(first.sort().values, x) and torch.equal(second.sort().values, x)
    assert not torch.equal(first, second) and not torch.equal(first, x)


# -- kinds of pairs ----------------------------------------------------------------------------


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
        def forward(self, x: Tensor | None = None, num_data: int = 1) -> None:
            shift = pyro.param("shift", torch.tensor(0.0))
            with pyro.plate("data", len(x), dim=-1):
                pyro.sample("z", dist.Normal(self.slope * x + shift, self.log_scale.exp()))

    with pytest.raises(PairError, match="shift"):
        fit(pairs.Conjugate(), Stray(), data(), **QUIET)


def test_a_pair_without_parameters_is_refused() -> None:
    with pytest.raises(PairError, match="no parameter to train"):
        fit(pairs.GlobalMean(), pairs.GlobalMeanGuide().requires_grad_(False), data(), **QUIET)


# -- settings ----------------------------------------------------------------------------------


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


def test_hooks_are_told_the_step() -> None:
    told: list[int] = []

    class Scheduled(pairs.ConjugateGuide):
        def set_step(self, step: int) -> None:
            told.append(step)

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
    assert told == [0, 1, 2, 3]
    assert steps == [1, 2, 3, 4]


def test_a_warm_up_longer_than_training_is_said() -> None:
    options = {"epochs": 2, "batch_size": 50, **QUIET}
    slow = fit(*conjugate(), data(), objective=Objective(kl_weight=linear(100)), **options)
    assert slow.history[-1]["kl_weight"] == pytest.approx(0.03)
    assert "KL weight had only reached 0.03" in str(slow)
    quick = fit(*conjugate(), data(), objective=Objective(kl_weight=linear(2)), **options)
    assert not quick.notes and "KL weight" not in str(quick)


def test_modules_end_in_evaluation_mode_and_the_report_leaves_their_buffers() -> None:
    class Normed(pairs.ConjugateGuide):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(1)

        def forward(self, x: Tensor | None = None, num_data: int = 1) -> None:
            x = self.norm(x[:, None])[:, 0]  # type: ignore[index]
            super().forward(x, num_data)

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


# -- manners -----------------------------------------------------------------------------------


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
    told = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
    assert told.stdout.split() == ["False", "False"]


# -- mistakes ----------------------------------------------------------------------------------

MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "no rows": ({"data": torch.zeros(0)}, "data: saw no row"),
    "no tensor": ({"data": (3,)}, "data: saw no tensor with rows"),
    "an array": ({"data": np.zeros(3)}, r"ndarray[\s\S]*torch.as_tensor"),
    "an array inside": ({"data": {"x": np.zeros(3)}}, r"data: x: saw a ndarray"),
    "lengths": ({"data": {"x": data(5), "num_data": data(4)}}, "5 rows of x, 4 rows of num_data"),
    "lengths by name": ({"data": (data(5), data(4))}, "5 rows of x, 4 rows of num_data"),
    "keyword": ({"data": {"x": data(5), "y": data(5)}}, r"'y'[\s\S]*what the model takes"),
    "too many": ({"data": (data(5),) * 4}, "too many positional"),
    "batch_size": ({"batch_size": 0}, "batch_size: saw 0"),
    "batch_size kind": ({"batch_size": 2.5}, "batch_size: saw 2.5"),
    "epochs": ({"epochs": -1}, "epochs: saw -1"),
    "patience": ({"patience": 0}, "patience: saw 0"),
    "seed": ({"seed": "a"}, "seed: saw 'a'"),
    "rate": ({"learning_rate": -1.0}, "learning_rate: saw -1.0"),
    "rate nan": ({"learning_rate": math.nan}, "learning_rate: saw nan"),
    "clip": ({"clip": 0}, "clip: saw 0"),
    "optimizer": ({"optimizer": "adam"}, "optimizer: saw a str"),
    "resume": ({"resume": True}, "directory: saw None"),
    "fraction": ({"validation": 1.0}, "validation: saw 1.0 of 100"),
    "validation": ({"validation": 3}, "validation: saw a int"),
    "validation rows": ({"validation": torch.zeros(0)}, "validation: saw no row"),
    "loader": (
        {"data": DataLoader(TensorDataset(X)), "validation": 0.1},
        "a fraction of a DataLoader",
    ),
    "stream": ({"data": DataLoader(Stream(), 8)}, "data_size: saw a DataLoader without a length"),
    "empty loader": (
        {"data": DataLoader(TensorDataset(X), 64, drop_last=True)},
        "a DataLoader without a batch",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named(mistake: str) -> None:
    settings, message = MISTAKES[mistake]
    with pytest.raises(InputError, match=message):
        fit(*conjugate(), **{"data": data(), **settings}, **QUIET)


def test_an_optimizer_that_was_made_already_is_refused() -> None:
    model, guide = conjugate()
    with pytest.raises(InputError, match="optimizer=lambda parameters"):
        fit(model, guide, data(), optimizer=torch.optim.Adam(model.parameters()), **QUIET)  # type: ignore[arg-type]


@pytest.mark.parametrize("validated", [True, False])
def test_nan_in_the_data_is_named_with_its_place(validated: bool) -> None:
    x = data()
    x[[3, 70]] = math.nan
    with pyro.validation_enabled(validated), pytest.raises(NonFiniteError) as raised:
        fit(*conjugate(), x, batch_size=25, **QUIET)
    assert raised.value.site in ("x", "z")
    for words in ("epoch 1", "batch ", "x is NaN or infinite in 2 of 100 rows"):
        assert words in str(raised.value)


def test_a_gradient_that_is_not_finite_stops_before_it_is_taken() -> None:
    """sqrt has an infinite slope at 0, where the guide's second datum is; the loss is finite."""

    class Rooted(pairs.ConjugateGuide):
        def forward(self, x: Tensor | None = None, num_data: int = 1) -> None:
            with pyro.plate("data", len(x), dim=-1):
                loc = (self.slope * x.abs()).sqrt()
                pyro.sample("z", dist.Normal(loc, self.log_scale.exp()))

    x = data(64)
    x[40] = 0.0
    guide = Rooted()
    with pytest.raises(NonFiniteError, match=r"gradient of this parameter \(epoch 1, batch ") as e:
        fit(pairs.Conjugate(), guide, x, batch_size=16, **QUIET)
    assert e.value.site == "guide.slope"
    assert all(p.isfinite().all() for p in guide.parameters())


def test_a_loss_that_diverges_names_a_site_and_leaves_finite_parameters() -> None:
    model, guide = conjugate()
    with pytest.raises(NonFiniteError, match="epoch ") as raised:
        fit(model, guide, 1e18 * data(), learning_rate=50.0, epochs=50, batch_size=20, **QUIET)
    assert raised.value.site in ("x", "z", "guide.slope", "guide.log_scale", "model.log_noise")
    assert all(p.isfinite().all() for m in (model, guide) for p in m.parameters())


def test_huge_but_finite_gradients_are_no_error() -> None:
    """The norm of float32 gradients of 1e20 overflows; Adam does not mind."""
    x = 1e10 * data(20)
    run = fit(*conjugate(), x, epochs=1, learning_rate=1e-3, **QUIET)
    assert run.epochs == 1


def test_an_error_of_the_model_itself_is_not_hidden() -> None:
    class Broken(pairs.Conjugate):
        def forward(self, x: Tensor | None = None, num_data: int = 1) -> Tensor:
            raise ValueError("my own mistake")

    with pytest.raises(ValueError, match="my own mistake"):
        fit(Broken(), pairs.ConjugateGuide(), data(), **QUIET)
