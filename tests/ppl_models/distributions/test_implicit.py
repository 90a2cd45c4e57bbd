from __future__ import annotations

import pytest
import torch

from ppl_models.distributions.implicit import Implicit
from ppl_models.errors import InputError


def test_draws_are_the_generators_of_any_batch_and_carry_gradients() -> None:
    weight = torch.tensor([1.0, 2.0], requires_grad=True)
    fn = Implicit(lambda shape: weight * torch.ones(*shape, 1), 2).expand([3])
    assert fn.batch_shape == (3,) and fn.event_shape == (2,) and fn.has_rsample
    z = fn.rsample(torch.Size([4]))
    assert z.shape == (4, 3, 2) and torch.equal(z[1, 2], weight)
    z.sum().backward()
    assert weight.grad is not None and weight.grad.tolist() == [12.0, 12.0]


def test_there_is_no_density() -> None:
    with pytest.raises(InputError, match="without a density"):
        Implicit(lambda shape: torch.zeros(*shape, 2), 2).log_prob(torch.zeros(2))
