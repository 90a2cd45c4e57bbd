"""Without a data plate every function speaks of all data together, and says so."""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoNormal

from inference import check, fit, importance
from inference.diagnostics import rates


def autoregression(y):
    phi = pyro.sample("phi", dist.Normal(0.0, 1.0))
    pyro.sample("y", dist.Normal(phi * y[:-1], 1.0).to_event(1), obs=y[1:])


def test_check_fit_importance_and_rates_agree_in_nats_in_all():
    y = torch.randn(200)
    guide = AutoNormal(autoregression)
    report = check(autoregression, guide, y)
    assert "nats in all (no data plate)" in str(report)
    run = fit(
        autoregression, guide, y, epochs=150, batch_size=200, learning_rate=0.02, progress=False
    )
    assert "nats in all on the training data" in str(run)
    found = importance(autoregression, guide, y, num_samples=2000)
    table = rates(autoregression, guide, y, num_samples=2000)
    assert "nats in all" in str(found) and "nats in all" in str(table)
    # exact evidence: y[1:] is normal with covariance I + y[:-1] y[:-1]'
    x, z = y[:-1], y[1:]
    covariance = torch.eye(199) + torch.outer(x, x)
    exact = float(dist.MultivariateNormal(torch.zeros(199), covariance).log_prob(z))
    assert exact < -200  # of one observation it would be about -1.4
    bound = run.history[-1]["bound"]
    assert bound == pytest.approx(exact, abs=1.0)  # one draw of the guide: an error of 0.7
    assert report.bound < -200  # one draw of a guide that is not fitted
    assert found.elbo_mean[0] == pytest.approx(exact, abs=0.1)
    assert table.bound == pytest.approx(found.elbo_mean[0], abs=0.1)
