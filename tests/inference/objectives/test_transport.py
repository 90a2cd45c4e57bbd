from __future__ import annotations

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

from inference import fit
from inference.objectives import MMD, Objective, TrainingObjective, TransportObjective
from inference.randomness import seeded
from ppl_models.distributions.implicit import Implicit
from ppl_models.errors import InputError
from tests.pairs import Conjugate, ConjugateGuide

X = torch.tensor([0.5, -3.0, 2.5, 0.1])


class Made(nn.Module):
    """z = e^3, x ~ N(z, 0.5)."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: Tensor) -> Tensor:
        with pyro.plate("data", len(x), dim=-1):
            draw = Implicit(lambda s: self.scale * torch.randn(*s, 1) ** 3, 1, (len(x),))
            z = pyro.sample("z", draw)
            return pyro.sample("x", dist.Normal(z[..., 0], 0.5), obs=x)


class MadeGuide(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.tensor(0.0))

    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            draw = Implicit(lambda s: (x + self.shift).expand(s)[..., None], 1, (len(x),))
            pyro.sample("z", draw)


def test_it_keeps_the_protocol_and_its_figure_is_the_likelihood_at_a_draw() -> None:
    objective = TransportObjective(MMD(0.7))
    assert isinstance(objective, TrainingObjective) and objective.steered
    model, guide = Made(), MadeGuide()
    known = dist.Normal(X, 0.5).log_prob(X)
    assert torch.allclose(objective.bound(model, guide, (X,)), known)
    measured = objective.measure(model, guide, (X,))
    assert torch.allclose(measured.loss, -known.mean() + measured.figures["MMD"])


def test_where_densities_are_known_it_is_the_objective_without_rates() -> None:
    losses = []
    for objective in (
        TransportObjective((MMD(0.7),)),
        Objective(kl_weight=0.0, penalties=(MMD(0.7),)),
    ):
        with seeded(3):
            losses.append(
                objective.loss(*PAIR, (X,))
                if isinstance(objective, Objective)
                else objective.measure(*PAIR, (X,)).loss
            )
    torch.testing.assert_close(*losses)


PAIR = Conjugate(), ConjugateGuide()


def test_fit_trains_by_it_and_the_pair_without_a_density_is_moved() -> None:
    model, guide = Made(), MadeGuide()
    guide.shift.data.fill_(2.0)
    run = fit(model, guide, X, objective=TransportObjective(MMD(0.1)), epochs=60,
              learning_rate=0.05, progress=False)  # fmt: skip
    assert abs(float(guide.shift.detach())) < 0.5 and run.history[-1]["epoch"] == 60


def test_something_must_compare_codes_with_the_prior() -> None:
    with pytest.raises(InputError, match="penalties"):
        TransportObjective(())


def test_what_is_no_bound_is_nowhere_called_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = fit(Made(), MadeGuide(), X, objective=TransportObjective(MMD(0.1)), epochs=8,
              validation=X + 1, learning_rate=0.05)  # fmt: skip
    last = run.history[-1]
    assert not [name for name in last if "bound" in name] and run.best_bound is None
    assert {"log_likelihood", "log_likelihood_se", "validation_log_likelihood"} <= last.keys()
    known = dist.Normal(X + run.guide.shift.detach(), 0.5).log_prob(X).mean()
    assert last["log_likelihood"] == pytest.approx(float(known), abs=1e-5)
    said = str(run) + capsys.readouterr().err
    assert "Log likelihood (no bound)" in said and "at best" not in said
    assert "Bound" not in said and "bound -" not in said and "The bound" not in said
