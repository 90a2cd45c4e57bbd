"""The E-Z step with gradients changes the encoder only, and raises the bound that it climbs."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from guides.dvae import Evidence, White
from inference.tasks.tracking import TrackerSettings, source_pair, track
from inference.tasks.tracking.fine_tuning import FineTuning
from ppl_models.errors import InputError
from tests.clips import walkers


def scene() -> tuple[Any, Any, tuple[Any, ...], White]:
    """A pair whose encoder was disturbed, evidence of a walk, and draws to judge it by."""
    source, guide = source_pair("srnn")
    source.requires_grad_(False)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in guide.parameters():
            parameter += 0.5 * torch.randn(parameter.shape, generator=draw).double()
    s = 0.02 * torch.arange(12.0).double()[:, None] * torch.ones(2, 12, 4).double()
    precision = torch.full_like(s, 600.0)
    precision[:, 4:8] = 0.0
    mask = torch.ones(2, 12, dtype=torch.bool)
    given = Evidence(precision, precision * s), s, torch.zeros(2, 12, 4).double(), mask
    white = White(
        torch.randn(2, 60, 2, 12, 4, generator=draw).double(),
        torch.randn(60, 2, 12, 4, generator=draw).double(),
    )
    return source, guide, given, white


def test_steps_lower_the_true_rate_and_leave_the_model() -> None:
    """By many nats, of an encoder that was disturbed: judged by draws that no step has used."""
    source, guide, given, white = scene()
    before = {name: x.clone() for name, x in source.state_dict().items()}
    rates = []
    for steps in (0, 25):
        tuning = FineTuning(guide, steps)
        for group in tuning.optimizer.param_groups:
            group["lr"] = 0.03
        tuning.step(*given)
        evidence, previous, noise, mask = given
        with torch.no_grad():
            rates.append(guide.rate_draws(evidence, previous, white, noise, mask))
    gain = rates[0] - rates[1]
    assert (gain.mean(0) > 5 * gain.std(0) / 60**0.5).all() and gain.mean() > 1.0
    assert all(torch.equal(x, before[name]) for name, x in source.state_dict().items())


@pytest.mark.usefixtures("untouched")
def test_tracking_takes_the_step_and_repeats() -> None:
    clip = walkers(5, 2, seed=1)
    options: dict[str, Any] = {"objects": 2, "prior": "srnn", "image_size": (1000.0, 800.0)}
    plain, tuned, again = (
        track([clip.boxes], **options, settings=TrackerSettings(fine_tune=n, iterations=2))[0]
        for n in (0, 2, 2)
    )
    assert tuned.elbo == again.elbo != plain.elbo
    assert abs(tuned.elbo - plain.elbo) < 5.0  # four steps of 0.001 change little


@pytest.mark.parametrize("prior", ["deepar", "linear"])
def test_without_an_encoder_there_is_nothing_to_tune(prior: Any) -> None:
    clip = walkers(5, 2)
    with pytest.raises(InputError, match=r"(?s)fine_tune.*prior=.srnn"):
        track([clip.boxes], objects=2, prior=prior, settings=TrackerSettings(fine_tune=1))


@pytest.mark.parametrize("number", [-1, 1.5, True])
def test_steps_are_counted(number: Any) -> None:
    with pytest.raises(InputError, match="fine_tune"):
        TrackerSettings(fine_tune=number)
