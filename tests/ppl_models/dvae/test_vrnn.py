"""VRNN: the paper's equations, frame by frame."""

from __future__ import annotations

import torch

from ppl_models.dvae.vrnn import VRNN
from tests.ppl_models.dvae.test_storn import frames
from tests.sequences import conditionals, paths


def test_vrnn_reads_frame_and_latent_before_and_adds_the_latent_of_now() -> None:
    model = VRNN(3, 2).double()
    values = paths(model, 2, 5)
    (mean, scale), raw = conditionals(model, values["s"], values["z"], None)
    state = model.recurrence.start((2,), raw)
    steps = zip(*frames(model, values["s"], values["z"]), strict=True)
    for t, (s, z, last) in enumerate(steps):
        read = torch.cat([model.reader(s), model.latent_reader(last)], -1)
        state = model.recurrence.step(read, state)
        wanted = model.prior(state[0])
        assert torch.allclose(mean[:, t], wanted[0]) and torch.allclose(scale[:, t], wanted[1])
        assert torch.allclose(raw[:, t], model.emission(state[0], model.latent_reader(z)))
