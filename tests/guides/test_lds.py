"""The guide's draws against dense conditioning."""

from __future__ import annotations

import pytest
import torch
from pyro import poutine
from torch.distributions import MultivariateNormal

from guides.lds import LDSGuide
from ppl_models.errors import InputError
from tests.dense import conditioned
from tests.ppl_models.test_lds import CLOSE, ENDS, B, L, T, build, dense, ragged


def test_its_density_is_that_of_dense_conditioning() -> None:
    model = build("joint")
    s, mask = ragged(model)
    posterior = model.posterior(s, mask)
    z = torch.randn(B, T, L).double()
    log_prob = posterior.log_prob(z)
    for row, n in enumerate(ENDS.tolist()):
        distribution = MultivariateNormal(*conditioned(*dense(model, n), s[row, :n].flatten()))
        assert torch.allclose(log_prob[row], distribution.log_prob(z[row, :n].flatten()), **CLOSE)


def test_its_draws_have_the_moments_of_dense_conditioning() -> None:
    model = build("joint")
    s, mask = ragged(model)
    draws = model.posterior(s, mask).sample((4000,)).detach()
    for row, n in enumerate(ENDS.tolist()):
        mean, cov = (p.detach() for p in conditioned(*dense(model, n), s[row, :n].flatten()))
        z, deviation = draws[:, row, :n].flatten(1), cov.diag().sqrt()
        assert ((z.mean(0) - mean).abs() < 5 * deviation / 4000**0.5).all()  # 5 standard errors
        scale = torch.outer(deviation, deviation)
        error = (z - mean).T @ (z - mean) / 4000 - cov
        assert (error.abs() / scale < 5 * ((1 + (cov / scale) ** 2) / 4000).sqrt()).all()


def test_it_has_the_latent_sites_of_its_model() -> None:
    for form, sites in (("exact", set()), ("joint", {"z", "data"})):
        model = build(form)
        trace = poutine.trace(LDSGuide(model)).get_trace(model(size=2, length=3).detach())
        assert {name for name in trace.nodes if not name.startswith("_")} == sites
    with pytest.raises(InputError, match="simulate with the model"):
        LDSGuide(model)()
    assert not list(LDSGuide(model).parameters())
