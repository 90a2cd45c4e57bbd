from __future__ import annotations

import torch
from pyro import poutine

from guides.cvae import CVAEGuide
from ppl_models.cvae import CVAE
from ppl_models.likelihoods.discrete import DiscretizedLogistic


def test_the_posterior_is_that_of_each_datum_and_its_condition() -> None:
    guide = CVAEGuide(CVAE(5, 3, 2, likelihood=DiscretizedLogistic(5, 9)))
    c = torch.randn(6, 3)
    x = torch.randint(0, 9, (6, 5))

    def posterior(x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return poutine.trace(guide).get_trace(x, c).nodes["z"]["fn"].base_dist.loc

    whole = posterior(x, c)
    assert whole.shape == (6, 2)
    assert torch.allclose(whole[2:3], posterior(x[2:3], c[2:3]), atol=1e-6)
    assert not torch.allclose(whole, posterior(x, c.flip(0)))
    assert not torch.allclose(whole, posterior(x.flip(0), c))
