from __future__ import annotations

import torch

from guides.dialog_wae import DialogWAEGuide
from ppl_models.dialog_wae import DialogWAE


def test_codes_are_made_of_each_answer_and_its_context_by_a_generator_of_its_own() -> None:
    model = DialogWAE(5, 3, 2)
    guide = DialogWAEGuide(model, hidden_dims=(7,))
    x, c = torch.randn(6, 5), torch.randn(6, 3)

    def mean(x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(1)
        return guide.posterior(x, c).rsample(torch.Size([200])).mean(0)

    whole = mean(x, c)
    assert whole.shape == (6, 2) and guide(x, c).shape == (6, 2)
    assert not torch.allclose(whole, mean(x, c.flip(0)))
    assert not torch.allclose(whole, mean(x.flip(0), c))
    assert not {id(p) for p in guide.parameters()} & {id(p) for p in model.parameters()}
