from __future__ import annotations

import pyro
import torch

from guides.text_vae import TextVAEGuide
from ppl_models.text_vae import TextVAE


def test_the_code_depends_on_the_whole_sentence():
    guide = TextVAEGuide(TextVAE(5, 2))
    x = torch.zeros(4, 6, dtype=torch.long)
    x[1, 0], x[2, -1] = 3, 3
    fn = pyro.poutine.trace(guide).get_trace(x).nodes["z"]["fn"]
    assert fn.batch_shape == (4,) and fn.event_shape == (2,)
    mean = fn.mean.detach()
    assert not torch.allclose(mean[0], mean[1]) and not torch.allclose(mean[0], mean[2])
    assert torch.equal(mean[0], mean[3])


def test_the_code_of_a_short_sentence_does_not_depend_on_its_padding():
    guide = TextVAEGuide(TextVAE(5, 2))
    x = torch.randint(5, (3, 6))
    mask = (torch.arange(6) < 4).expand(3, 6)
    short = pyro.poutine.trace(guide).get_trace(x[:, :4]).nodes["z"]["fn"].mean
    padded = pyro.poutine.trace(guide).get_trace(x.masked_fill(~mask, -1), mask)
    assert torch.allclose(short, padded.nodes["z"]["fn"].mean, atol=1e-6)


def test_its_sizes_are_the_model_s_unless_it_has_its_own():
    model = TextVAE(5, 2, embedding_dim=4, hidden_dim=6)
    guide = TextVAEGuide(model)
    assert guide.embedding.weight.shape == (5, 4) and guide.recurrence.hidden_dim == 6
    guide = TextVAEGuide(model, embedding_dim=3, hidden_dim=7)
    assert guide.embedding.weight.shape == (5, 3) and guide.moments.in_features == 7
