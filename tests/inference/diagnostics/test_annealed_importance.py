from __future__ import annotations

import pytest
import torch

from inference.diagnostics.annealed_importance import annealed_log_partition
from ppl_models.rbm import RBM


@pytest.mark.parametrize("kind", ["bits", "real"])
def test_the_estimate_is_the_exact_sum_within_its_error(kind: str, untouched: None) -> None:
    with torch.random.fork_rng():
        model = RBM(8, 6, kind=kind)
        with torch.no_grad():
            model.weight.copy_(torch.randn(8, 6))
            model.hidden_bias.copy_(torch.randn(6))
    found = annealed_log_partition(model, temperatures=200, chains=200)
    exact = model.log_partition().item()
    assert abs(exact - model.base_log_partition().item()) > 1  # there is a way to go
    assert 0 < found.error < 0.2
    assert abs(found.value - exact) < 4 * found.error
    assert "log C" in str(found) and 1 < found.ess <= 200


def test_too_short_a_way_is_an_error() -> None:
    with pytest.raises(ValueError, match="temperatures"):
        annealed_log_partition(RBM(3, 2), temperatures=1)
