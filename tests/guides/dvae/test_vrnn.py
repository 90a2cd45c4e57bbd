"""The guide of VRNN: it shares the model's reading of frames."""

from __future__ import annotations

import torch
from pyro import poutine

from guides.dvae.vrnn import VRNNGuide
from inference import Objective
from inference.randomness import seeded
from ppl_models.dvae.vrnn import VRNN
from tests.sequences import paths


def test_vrnn_s_guide_reads_h_and_s_with_the_model_s_own_networks() -> None:
    model = VRNN(3, 2).double()
    guide = VRNNGuide(model).double()
    values = paths(model, 2, 5)
    s, z = values["s"], values["z"]
    state, distribution = model.recurrence.start((2,), s), guide(s)
    assert distribution.shape == z.shape
    site = poutine.trace(guide).get_trace(s).nodes["z"]["fn"]
    mean, _ = site.moments(z)
    before = torch.zeros(2, 3).double(), torch.zeros(2, 2).double()
    for t in range(5):
        read = torch.cat([model.reader(before[0]), model.latent_reader(before[1])], -1)
        state = model.recurrence.step(read, state)
        wanted, _ = guide.encoder(model.reader(s[:, t]), state[0])
        assert torch.allclose(mean[:, t], wanted)
        before = s[:, t], z[:, t]


def test_h_left_by_vrnn_s_guide_gives_the_same_loss_and_gradient() -> None:
    model = VRNN(3, 2).double()
    guide, s = VRNNGuide(model).double(), torch.randn(2, 5, 3).double()
    found = []
    for left in (True, False):
        if not left:
            model.leave = lambda reading: None  # type: ignore[method-assign]
        with seeded(0):
            loss = Objective(kind="meanfield").loss(model, guide, (s,))
        parameters = [*model.parameters(), *guide.parameters()]
        found.append([loss, *torch.autograd.grad(loss, parameters)])
    assert all(torch.allclose(a, b) for a, b in zip(*found, strict=True))
