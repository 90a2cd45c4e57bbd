from __future__ import annotations

import torch
from pyro import poutine

from guides.ivae import IVAEGuide
from ppl_models.ivae import IVAE


def test_a_code_is_inferred_from_datum_and_condition_though_the_data_are_the_same() -> None:
    guide = IVAEGuide(IVAE(5, 3, 2))
    x, c = torch.randn(6, 5), torch.randn(6, 3)

    def means(x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return poutine.trace(guide).get_trace(x, c).nodes["z"]["fn"].mean

    assert means(x, c).shape == (6, 2)
    assert not torch.allclose(means(x, c), means(x, c.flip(0)))
    assert not torch.allclose(means(x, c), means(x.flip(0), c))
