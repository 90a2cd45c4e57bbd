from __future__ import annotations

import pyro
import pytest
import torch
from pyro.infer.autoguide import AutoNormalMessenger

from inference.objectives import Objective
from inference.randomness import seeded
from inference.tracing.bind import bind
from inference.tracing.layout import layout
from inference.tracing.reading import read_draws, read_pair
from tests import pairs
from tests.inference.objectives.test_pathwise_elbo import AUTO, NAMES, case


@pytest.mark.parametrize("name", NAMES + AUTO)
def test_a_checked_reading_has_the_terms_of_an_unchecked_one(name: str) -> None:
    model, guide, x = case(name)
    shape, found = layout(model, guide, (x,)), []
    for validation in (True, False):
        with pyro.validation_enabled(validation), seeded(3):
            terms = read_pair(model, guide, (x,), {}, shape)
        rows = [row for row in terms.rows if row.kind != "deterministic"]
        found.append({(r.name, r.kind): terms.log_density(r.site).sum() for r in rows})
    assert list(found[0]) == list(found[1])
    for key, value in found[0].items():
        torch.testing.assert_close(value, found[1][key], rtol=1e-12, atol=1e-12)


def test_a_guide_that_is_a_handler_is_read_from_its_own_run() -> None:
    x = torch.randn(5)
    model = pairs.Conjugate()
    model, guide = bind(model, AutoNormalMessenger(model), x)
    terms = read_draws(model, guide, (x,), {}, "data", None, 1)
    assert [(row.name, row.kind) for row in terms.rows] == [("z", "latent"), ("x", "observed")]
    losses = []
    for objective in (Objective("iwae"), Objective("trace")):
        with seeded(1):
            losses.append(objective.loss(model, guide, (x,)).item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)  # one draw of both, in float32
