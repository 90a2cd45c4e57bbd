"""The hidden Markov model's guide samples nothing; the posterior of states is the model's."""

from __future__ import annotations

import torch
from pyro import poutine

from guides.hmm import HMMGuide
from inference import enumerated
from ppl_models.hmm import HMM


def test_it_samples_nothing() -> None:
    guide = HMMGuide(HMM(2, 3))
    trace = poutine.trace(guide).get_trace(torch.zeros(2, 4, 2))
    assert not [name for name, site in trace.nodes.items() if site["type"] == "sample"]
    assert not list(guide.parameters())


def test_enumeration_of_the_pair_agrees_with_the_model() -> None:
    model = HMM(2, 3, form="enumerated").double()
    s = model(size=4, length=5).detach()
    found = enumerated(model, HMMGuide(model), s)
    probs = torch.stack([found[f"z_{t}"].probs for t in range(1, 6)], 1)
    assert torch.allclose(probs, model.smooth(s), rtol=0, atol=1e-8)
    path = torch.stack([found[f"z_{t}"].map for t in range(1, 6)], 1)
    assert torch.equal(path, model.viterbi(s))
