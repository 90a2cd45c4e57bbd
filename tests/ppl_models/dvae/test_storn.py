"""STORN: the paper's equations, frame by frame."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ppl_models.dvae.storn import STORN
from tests.sequences import conditionals, paths


def frames(model: Any, s: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return s_{t-1}, z_t and z_{t-1}, each (T, B, .)."""
    zero_s, zero_z = torch.zeros_like(s[:, :1]), torch.zeros_like(z[:, :1])
    before_s, before_z = torch.cat([zero_s, s], 1)[:, :-1], torch.cat([zero_z, z], 1)[:, :-1]
    return before_s.transpose(0, 1), z.transpose(0, 1), before_z.transpose(0, 1)


def test_storn_reads_the_frame_before_and_the_noise_of_now() -> None:
    model = STORN(3, 2).double()
    values = paths(model, 2, 5)
    (mean, scale), raw = conditionals(model, values["s"], values["z"], None)
    assert (mean == 0).all() and (scale == 1).all()
    state = model.recurrence.start((2,), raw)
    for t, (s, z, _) in enumerate(zip(*frames(model, values["s"], values["z"]), strict=True)):
        state = model.recurrence.step(
            torch.cat([model.reader(s), model.latent_reader(z)], -1), state
        )
        assert torch.allclose(raw[:, t], model.emission(state[0]))
