"""The recurrent VAE: its emission, by steps of its LSTMs."""

from __future__ import annotations

import torch

from ppl_models.dvae.rvae import RVAE
from tests.sequences import conditionals, paths


def test_an_rvae_that_is_not_causal_reads_both_ways() -> None:
    """Its emission, by steps of two LSTMs from either end."""
    model = RVAE(3, 2, causal=False).double()
    values = paths(model, 2, 5)
    z, read = values["z"], []
    for lstm, frames in ((model.recurrence, range(5)), (model.backward, range(4, -1, -1))):
        assert lstm is not None
        state, outputs = lstm.start((2,), z), {}
        for t in frames:
            state = lstm.step(z[:, t], state)
            outputs[t] = state[0]
        read.append(torch.stack([outputs[t] for t in range(5)], 1))
    wanted = model.emission(torch.cat(read, -1))
    assert torch.allclose(conditionals(model, values["s"], z, None)[1], wanted)
