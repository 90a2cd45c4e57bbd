from __future__ import annotations

import itertools

import pyro
import pytest
import torch

from guides.text_vae import TextVAEGuide
from inference import check
from inference.objectives.objective import Objective
from ppl_models.errors import InputError
from ppl_models.text_vae import TextVAE


def build() -> TextVAE:
    return TextVAE(3, 2, length=4, embedding_dim=4, hidden_dim=6)


def test_the_probabilities_of_all_sentences_add_up_to_one():
    every = torch.tensor(list(itertools.product(range(3), repeat=4)))
    distribution = build().observation(torch.randn(1, 2).expand(len(every), 2))
    assert float(distribution.log_prob(every).logsumexp(0).detach()) == pytest.approx(0.0, abs=1e-5)


def test_simulated_sentences_have_the_frequencies_that_are_scored():
    model, z = build(), torch.tensor([[1.0, -0.5]])
    drawn = model.generate(z.expand(40_000, 2), 2)
    scored = model.observation(z.expand(9, 2)).log_prob
    every = torch.tensor(list(itertools.product(range(3), repeat=2)))
    with torch.no_grad():
        probability = scored(every).exp()
    counts = torch.stack([(drawn == pair).all(-1).float().mean() for pair in every])
    # a frequency of 40,000 has a standard error of at most 0.0025
    assert (counts - probability).abs().max() < 0.01


def test_a_token_is_decoded_from_those_before_it_and_the_code():
    model, z = build(), torch.randn(1, 2)
    x = torch.tensor([[0, 1, 2, 0]])
    other = torch.tensor([[0, 1, 1, 2]])
    with torch.no_grad():
        a, b = model.logits(x, z), model.logits(other, z)
        assert torch.equal(a[:, :3], b[:, :3]) and not torch.allclose(a[:, 3], b[:, 3])
        assert not torch.allclose(a, model.logits(x, z + 1))


def test_padding_counts_for_nothing_and_reaches_no_gradient():
    model = build()
    guide = TextVAEGuide(model)
    mask = torch.tensor([[True, True, False, False], [True] * 4])
    x = torch.tensor([[0, 1, 2, 0], [2, 2, 1, 0]])
    other = x.masked_fill(~mask, -7)
    losses = []
    for tokens in (x, other):
        torch.manual_seed(1)
        loss = Objective().loss(model, guide, (tokens, mask))
        losses.append((loss, torch.autograd.grad(loss, list(model.parameters()))))
    assert torch.equal(losses[0][0], losses[1][0])
    for one, two in zip(losses[0][1], losses[1][1], strict=True):
        assert torch.equal(one, two)
    short = model.observation(torch.zeros(1, 2)).log_prob(x[:1, :2])
    masked = model.observation(torch.zeros(1, 2), x[:1], mask[:1]).log_prob(other[:1])
    assert torch.allclose(short, masked)


def test_any_length_and_an_outer_plate_of_draws():
    model = build()
    guide = TextVAEGuide(model)
    x = torch.randint(3, (5, 7))
    assert check(model, guide, x).sites
    with pyro.plate("draws", 3, dim=-2):
        trace = pyro.poutine.trace(model).get_trace(x)
    trace.compute_log_prob()
    assert trace.nodes["x"]["log_prob"].shape == (3, 5)


@pytest.mark.parametrize(
    ("x", "mask", "words"),
    [
        (torch.zeros(2, 4), None, "float32"),
        (torch.zeros(4, dtype=torch.long), None, r"\(4,\)"),
        ([[0, 1]], None, "list"),
        (torch.full((2, 4), 3), None, "tokens from 3 to 3"),
        (torch.zeros(2, 4, dtype=torch.long), torch.ones(2, 3, dtype=torch.bool), r"\(2, 3\)"),
    ],
)
def test_what_is_no_sentence_says_so(x, mask, words):
    for call in (build(), TextVAEGuide(build())):
        with pytest.raises(InputError, match=words):
            call(x, mask)


def test_the_codes_decide_the_batch_shape():
    distribution = build().observation(torch.zeros(2, 2))
    assert distribution.expand([2]) is distribution
    with pytest.raises(NotImplementedError):
        distribution.expand([3, 2])
    assert distribution.sample((5,)).shape == (5, 2, 4)
